// SPDX-License-Identifier: MIT
#include "dualtape/loop/worker.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "dualtape/array/convert.hpp"

namespace dualtape::loop {
namespace {

constexpr std::int64_t kPoll = 256;
constexpr std::int64_t kRowsEvery = 64;        // records further apart than this end a stretch
constexpr std::int64_t kPollBytes = 64 << 20;  // a poll after so many bytes of values, if that is sooner

/// body(word) with an unsigned number of an item's size.
template <class Body>
void by_size(std::int64_t item, Body&& body) {
  item == 8 ? body(std::uint64_t{}) : item == 4 ? body(std::uint32_t{}) : body(std::uint8_t{});
}

}  // namespace

Queue::Queue(const Runs& runs) : runs_(runs) {
  for (std::int64_t run = 0; run < runs.count; ++run) {
    if (runs.stopped[static_cast<std::size_t>(run)] == Stop::running) order_.push_back(run);
  }
  const auto earlier = [&](std::int64_t a, std::int64_t b) {
    return runs.iterations[static_cast<std::size_t>(a)] < runs.iterations[static_cast<std::size_t>(b)];
  };
  if (!std::is_sorted(order_.begin(), order_.end(), earlier)) {
    std::stable_sort(order_.begin(), order_.end(), earlier);
  }
}

std::vector<std::int64_t> Queue::take(std::int64_t most, bool same_iteration) {
  const std::lock_guard lock(mutex_);
  std::vector<std::int64_t> out;
  while (next_ < order_.size() && static_cast<std::int64_t>(out.size()) < most) {
    const std::int64_t run = order_[next_];
    const auto at = [&](std::int64_t r) { return runs_.iterations[static_cast<std::size_t>(r)]; };
    if (same_iteration && !out.empty() && at(run) != at(out[0])) break;
    out.push_back(run);
    ++next_;
  }
  return out;
}

Worker::Worker(const Plan& plan, Runs& runs, Control& control, Queue& queue, const std::atomic<bool>& halt,
               Clock::time_point deadline)
    : plan_(plan),
      runs_(runs),
      control_(control),
      queue_(queue),
      halt_(halt),
      deadline_(deadline),
      runner_(plan.step().code, plan.capacity()),
      tables_(plan),
      states_(plan.settings().states + plan.watches()) {
  const exec::Code& code = runner_.code();
  if (plan.settings().batches) order_.emplace(*plan.settings().batches);
  const std::int64_t bytes = std::max<std::int64_t>(code.per_lane * plan.lanes(), 1);
  poll_ = std::clamp<std::int64_t>(kPollBytes / bytes, 1, kPoll);
  for (std::size_t k = states_; k < code.inputs.size(); ++k) {
    if (plan.level(k) == Level::once) runner_.home().load(code.inputs[k], plan.once_value(k).raw_data());
  }
  saved_.resize(states_);
  for (std::size_t i = 0; i < states_; ++i) {
    saved_[i].resize(static_cast<std::size_t>(code.values[code.inputs[i]].bytes() * runner_.capacity()));
  }
  const auto column = [&](std::size_t k, array::Array& runs_of, bool state) {
    const exec::Value& value = code.values[code.inputs[k]];
    columns_.push_back({code.inputs[k], static_cast<char*>(runs_of.raw_writable_data()), value.bytes(),
                        array::item_size(value.dtype), value.size == 1, state});
  };
  for (std::size_t i = 0; i < plan.settings().states; ++i) {
    if (runs.state[i].size()) column(i, runs.state[i], true);
  }
  for (std::size_t k = states_; k < code.inputs.size(); ++k) {
    if (plan.level(k) != Level::lane) continue;
    array::Array values = plan.lane_values(k);
    column(k, values, false);
  }
  if (plan.asynchronous()) tables_.fill_all();
  if (plan.machine()) machine_.emplace(*plan.machine(), runner_.home());
  runner_.home().fuse(plan.fusion(runner_.home()));
}

std::optional<Missing> Worker::work() {
  while (fill_block()) {
    if (!iterate()) {
      const exec::Unknown& unknown = runner_.unknown();
      const Missing missing{run_[unknown.lane], done_[unknown.lane] + 1, unknown.segment, unknown.outcome};
      come_home();
      return missing;
    }
    if (lanes_ > 0) {
      come_home();
      return std::nullopt;
    }
  }
  return std::nullopt;
}

/// All lanes in use, in order.
std::span<const std::int64_t> Worker::first_lanes() {
  while (static_cast<std::int64_t>(numbers_.size()) < lanes_) {
    numbers_.push_back(static_cast<std::int64_t>(numbers_.size()));
  }
  return {numbers_.data(), static_cast<std::size_t>(lanes_)};
}

bool Worker::fill_block() {
  if (halt_ || control_.stop) return false;
  const std::vector<std::int64_t> taken = queue_.take(plan_.lanes(), !plan_.asynchronous());
  lanes_ = static_cast<std::int64_t>(taken.size());
  run_.resize(taken.size());
  done_.resize(taken.size());
  finite_start_ = true;
  load(first_lanes(), taken);
  values_good_ = going_home_ = false;
  careful_ = limit_ = 0;
  return lanes_ > 0;
}

void Worker::load(std::span<const std::int64_t> lanes, std::span<const std::int64_t> runs) {
  const exec::Code& code = runner_.code();
  exec::Workspace& home = runner_.home();
  for (std::size_t k = 0; k < runs.size(); ++k) {
    run_[static_cast<std::size_t>(lanes[k])] = runs[k];
    done_[static_cast<std::size_t>(lanes[k])] = runs_.iterations[static_cast<std::size_t>(runs[k])];
  }
  for (const Column& column : columns_) {
    if (column.number) {
      by_size(column.item, [&](auto word) {
        using Word = decltype(word);
        const Word* from = reinterpret_cast<const Word*>(column.entries);
        Word* to = home.at<Word>(column.id);
        for (std::size_t k = 0; k < runs.size(); ++k) to[lanes[k]] = from[runs[k]];
      });
    } else {
      for (std::size_t k = 0; k < runs.size(); ++k) {
        home.load(column.id, column.entries + runs[k] * column.bytes, lanes[k]);
      }
    }
    if (machine_ && column.state) {
      array::dispatch(code.values[column.id].dtype, [&]<class T>() {
        const T* from = reinterpret_cast<const T*>(column.entries);
        for (const std::int64_t run : runs) finite_start_ &= std::isfinite(static_cast<double>(from[run]));
      });
    }
  }
  for (std::size_t i = plan_.settings().states; i < states_; ++i) {
    const std::vector<char> zeros(static_cast<std::size_t>(code.values[code.inputs[i]].bytes()));
    for (const std::int64_t lane : lanes.first(runs.size())) home.load(code.inputs[i], zeros.data(), lane);
  }
}

/// Iterations until something has to be looked at.
std::int64_t Worker::stretch() const {
  if (careful_ > 0) return 1;
  std::int64_t out = limit_ > 0 ? std::min(poll_, limit_) : poll_;
  const std::int64_t every = plan_.settings().record_every;
  for (std::int64_t lane = 0; lane < lanes_; ++lane) {
    const std::int64_t done = done_[static_cast<std::size_t>(lane)];
    out = std::min(out, plan_.settings().iterations - done);
    if (every) out = std::min(out, every - done % every);
  }
  return out;
}

/// False where a decision is missing at the very next iteration of a lane.
bool Worker::iterate() {
  while (lanes_ > 0) {
    // Machine code has neither decisions nor a way to stop at the iteration in which a lane breaks.
    const bool by_machine = machine_ && careful_ == 0;
    if (!(by_machine ? iterate_by_machine() : iterate_once_through())) return false;
    if (going_home_) return true;
  }
  return true;
}

/// One stretch, instruction by instruction. False where a decision is missing at once.
bool Worker::iterate_once_through() {
  const std::int64_t most = stretch();
  by_machine_ = false;
  save();
  std::int64_t j = 0;
  bool known = true;
  while (j < most) {
    known = step(j);
    if (!known) break;
    ++j;
    const bool stops = plan_.settings().until && any_done();
    // What the step returned is computed only where somebody looks at it.
    if (j == most || stops) runner_.run_tail(lanes_);
    commit();
    if (stops) break;
  }
  values_good_ = known && j > 0;
  control_.computed += (lanes_ + 7) / 8 * 8 * j;
  if (!known && j == 0) return false;
  const bool broken = any_broken();
  if (!known || (broken && j > 1)) {
    // Once more: up to the iteration that has no path, or one by one to find where a lane broke.
    restore();
    if (broken) careful_ = j;
    limit_ = known ? 0 : j;
    return true;
  }
  const bool missing_next = limit_ > 0;
  limit_ = 0;
  if (careful_ > 0) --careful_;
  control_.done += lanes_ * j;
  for (std::int64_t& done : done_) done += j;
  record();
  finish_stretch(broken, missing_next);
  return true;
}

/// One stretch as a single call.
bool Worker::iterate_by_machine() {
  const std::int64_t every = plan_.settings().values ? plan_.settings().record_every : 0;
  const bool keep_rows = every > 0 && every <= kRowsEvery;
  std::int64_t most = machine_->most(lanes_);
  if (keep_rows) most = std::min(most, machine_->most_rows());
  if (Clock::now() >= deadline_) most = 1;  // there is no time for more than getting on at all
  for (const std::int64_t done : done_) {
    most = std::min(most, plan_.settings().iterations - done);
    if (every && !keep_rows) most = std::min(most, every - done % every);
  }
  std::vector<const char*> tables;
  const bool own = plan_.asynchronous();
  if (!own && !tables_.inputs().empty()) most = std::min(most, tables_.see(done_[0] + 1));
  for (std::size_t i = 0; i < tables_.inputs().size(); ++i) tables.push_back(tables_.at(i, own ? 1 : done_[0] + 1));
  save();
  by_machine_ = true;
  const bool trust = machine_->trusting() && plan_.finite() && tables_.finite() && finite_start_;
  bool clean = machine_->run(lanes_, most, tables, done_, keep_rows, trust);
  if (!clean && plan_.machine()->watching()) {
    // Something was not finite, which need not be a state.
    restore();
    machine_->run(lanes_, most, tables, done_, keep_rows, false);
    clean = !any_broken();
    if (clean) machine_->disappoint();
  } else if (!trust) {
    clean = !any_broken();
  }
  // (A decision of a lane that broke may have no path just because it broke.)
  clean = clean && !machine_->missing(lanes_);
  values_good_ = clean;
  if (!clean) {
    restore();
    careful_ = most;
    return true;
  }
  const std::vector<std::int64_t> before = done_;
  std::int64_t sum = 0, computed = 0;
  for (std::int64_t lane = 0; lane < lanes_; ++lane) {
    done_[static_cast<std::size_t>(lane)] += machine_->done(lane);
    sum += machine_->done(lane);
    if (lane % 8 == 0) computed += 8 * machine_->done(lane);
  }
  control_.done += sum;
  control_.computed += computed;
  keep_rows ? record_rows(before) : record();
  finish_stretch(false, false);
  return true;
}

/// What comes after a stretch that is done.
void Worker::finish_stretch(bool broken, bool missing_next) {
  const bool going = halt_ || control_.stop || missing_next || Clock::now() >= deadline_;
  if (going) {
    // Before lanes are moved: what the last iteration returned belongs to the state that comes home.
    store_values(first_lanes(), runs_.value, run_);
  }
  settle(broken);
  going_home_ = going && !missing_next;
}

/// Computes iteration done + 1 + ahead of every lane.
bool Worker::step(std::int64_t ahead) {
  const exec::Code& code = runner_.code();
  exec::Workspace& home = runner_.home();
  for (std::size_t i = 0; i < tables_.inputs().size(); ++i) {
    const exec::ValueId id = code.inputs[tables_.inputs()[i]];
    if (!plan_.asynchronous()) {
      std::memcpy(home.data(id), tables_.at(i, done_[0] + 1 + ahead), static_cast<std::size_t>(tables_.item(i)));
      continue;
    }
    const char* table = tables_.at(i, 1);
    const auto gather = [&](auto word) {
      using Word = decltype(word);
      const Word* from = reinterpret_cast<const Word*>(table) + ahead;
      Word* to = home.at<Word>(id);
      for (std::int64_t lane = 0; lane < lanes_; ++lane) to[lane] = from[done_[static_cast<std::size_t>(lane)]];
    };
    if (code.values[id].size != 1) {
      for (std::int64_t lane = 0; lane < lanes_; ++lane) {
        home.load(id, tables_.at(i, done_[static_cast<std::size_t>(lane)] + 1 + ahead), lane);
      }
    } else if (tables_.item(i) == 8) {
      gather(std::uint64_t{});
    } else if (tables_.item(i) == 4) {
      gather(std::uint32_t{});
    } else {
      gather(std::uint8_t{});
    }
  }
  if (order_) {
    const auto rows = order_->rows(done_[0] + 1 + ahead);
    for (std::size_t k = states_; k < code.inputs.size(); ++k) {
      if (plan_.level(k) != Level::batch) continue;
      BatchOrder::gather(plan_.settings().batches->data[plan_.source(k).leaf], rows, home.at<char>(code.inputs[k]));
    }
  }
  return runner_.run_head(lanes_);
}

/// Makes the new state the state.
void Worker::commit() {
  const exec::Code& code = runner_.code();
  exec::Workspace& home = runner_.home();
  const auto copy = [&](exec::ValueId to, const void* from) {
    const exec::Value& value = code.values[to];
    const std::int64_t bytes =
        value.size == 1 ? lanes_ * array::item_size(value.dtype) : value.bytes() * home.capacity();
    std::memcpy(home.data(to), from, static_cast<std::size_t>(bytes));
  };
  if (code.branches()) {
    for (std::size_t i = 0; i < states_; ++i) copy(code.inputs[i], runner_.result(i));
  } else {
    for (const auto& [from, to] : code.moves) copy(to, home.data(from));
  }
}

/// Where result i (of the step, with the watches) of a lane lies.
Worker::Place Worker::result_place(std::size_t i, std::int64_t lane) const {
  if (by_machine_) {
    return {runner_.result_dtype(i), machine_->record(i - states_, -1, lane), 1};
  }
  const bool varies = runner_.result_varies(i) && runner_.capacity() > 1;
  const char* first = static_cast<const char*>(runner_.result(i));
  const DType dtype = runner_.result_dtype(i);
  if (!varies) return {dtype, first, 1};
  return {dtype, first + lane * array::item_size(dtype), runner_.capacity()};
}

bool Worker::wants_stop(std::int64_t lane) const {
  const Place stop = result_place(states_ + plan_.settings().values, lane);
  return array::dispatch(stop.dtype, [&]<class T>() { return *reinterpret_cast<const T*>(stop.first) != T(0); });
}

bool Worker::any_done() const {
  const std::size_t i = states_ + plan_.settings().values;
  const std::int64_t count = runner_.result_varies(i) ? lanes_ : 1;
  return array::dispatch(runner_.result_dtype(i), [&]<class T>() {
    const T* stop = static_cast<const T*>(runner_.result(i));
    bool any = false;
    for (std::int64_t lane = 0; lane < count; ++lane) any |= stop[lane] != T(0);
    return any;
  });
}

void Worker::save() {
  for (std::size_t i = 0; i < states_; ++i) {
    std::memcpy(saved_[i].data(), runner_.home().data(runner_.code().inputs[i]), saved_[i].size());
  }
}
void Worker::restore() {
  for (std::size_t i = 0; i < states_; ++i) {
    std::memcpy(runner_.home().data(runner_.code().inputs[i]), saved_[i].data(), saved_[i].size());
  }
}

bool Worker::broken(std::int64_t lane) const {
  const exec::Code& code = runner_.code();
  for (std::size_t i = plan_.settings().states; i < states_; ++i) {
    const exec::Value& value = code.values[code.inputs[i]];
    const std::int64_t stride = runner_.capacity() == 1 ? 1 : runner_.capacity();
    const bool found = array::dispatch(value.dtype, [&]<class T>() {
      const T* x = runner_.home().at<T>(code.inputs[i]);
      for (std::int64_t e = 0; e < value.size; ++e) {
        if (x[e * stride + lane] != x[e * stride + lane]) return true;
      }
      return false;
    });
    if (found) return true;
  }
  return false;
}

bool Worker::any_broken() const {
  const exec::Code& code = runner_.code();
  for (std::size_t i = plan_.settings().states; i < states_; ++i) {
    const exec::Value& value = code.values[code.inputs[i]];
    const bool found = array::dispatch(value.dtype, [&]<class T>() {
      const T* x = runner_.home().at<T>(code.inputs[i]);
      bool any = false;
      for (std::int64_t e = 0; e < value.size; ++e) {
        for (std::int64_t lane = 0; lane < lanes_; ++lane)
          any |= x[e * runner_.capacity() + lane] != x[e * runner_.capacity() + lane];
      }
      return any;
    });
    if (found) return true;
  }
  return false;
}

/// Copies what the step returned for lanes to as many entries of arrays with a leading axis.
void Worker::store_values(std::span<const std::int64_t> lanes, std::vector<array::Array>& to,
                          std::span<const std::int64_t> entries) {
  if (lanes.empty()) return;
  for (std::size_t v = 0; v < plan_.settings().values; ++v) {
    array::Array& target = to[v];
    const std::int64_t size = target.shape()[0] ? target.size() / target.shape()[0] : 0;
    array::dispatch(runner_.result_dtype(states_ + v), [&]<class From>() {
      array::dispatch(target.dtype(), [&]<class To>() {
        To* const first = static_cast<To*>(target.raw_writable_data());
        for (std::size_t k = 0; k < lanes.size(); ++k) {
          const Place at = result_place(states_ + v, lanes[k]);
          const From* from = reinterpret_cast<const From*>(at.first);
          To* out = first + entries[k] * size;
          for (std::int64_t e = 0; e < size; ++e) out[e] = static_cast<To>(from[e * at.stride]);
        }
      });
    });
  }
}

/// Copies the records of the last call to the history. `before`: the iterations that lanes had done.
void Worker::record_rows(std::span<const std::int64_t> before) {
  const std::int64_t every = plan_.settings().record_every, records = runs_.history[0].shape()[1];
  for (std::size_t v = 0; v < plan_.settings().values; ++v) {
    array::dispatch(runner_.result_dtype(states_ + v), [&]<class From>() {
      array::dispatch(runs_.history[v].dtype(), [&]<class To>() {
        To* const history = static_cast<To*>(runs_.history[v].raw_writable_data());
        for (std::int64_t lane = 0; lane < lanes_; ++lane) {
          const std::int64_t start = before[static_cast<std::size_t>(lane)];
          To* const out = history + run_[static_cast<std::size_t>(lane)] * records;
          for (std::int64_t row = every - 1 - start % every; row < machine_->done(lane); row += every) {
            out[(start + row + 1) / every - 1] =
                static_cast<To>(*reinterpret_cast<const From*>(machine_->record(v, row, lane)));
          }
        }
      });
    });
  }
}

void Worker::record() {
  const std::int64_t every = plan_.settings().record_every;
  if (!every || !plan_.settings().values) return;
  const std::int64_t records = runs_.history[0].shape()[1];
  std::vector<std::int64_t> lanes, entries;
  for (std::int64_t lane = 0; lane < lanes_; ++lane) {
    const std::int64_t done = done_[static_cast<std::size_t>(lane)];
    if (done % every) continue;
    lanes.push_back(lane);
    entries.push_back(run_[static_cast<std::size_t>(lane)] * records + done / every - 1);
  }
  if (lanes.empty()) return;
  // (runs, records, ...) in C order is (runs * records, ...).
  std::vector<array::Array> flat;
  for (const array::Array& history : runs_.history) {
    Dims shape(history.shape());
    shape[0] *= shape[1];
    shape.erase(1);
    flat.push_back(array::reshape(history, shape));
  }
  store_values(lanes, flat, entries);
}

/// Lets go of the lanes that are done, and gives their places to runs that wait. `some_broken`: the stretch was one
/// iteration long and a lane is not finite any more.
void Worker::settle(bool some_broken) {
  std::vector<std::int64_t> free, by_stop[3];
  for (std::int64_t lane = 0; lane < lanes_; ++lane) {
    const bool last = done_[static_cast<std::size_t>(lane)] == plan_.settings().iterations;
    const Stop stop = some_broken && broken(lane)                  ? Stop::nonfinite
                      : plan_.settings().until && wants_stop(lane) ? Stop::until
                      : last                                       ? Stop::iterations
                                                                   : Stop::running;
    if (stop == Stop::running) continue;
    by_stop[stop == Stop::nonfinite ? 0 : stop == Stop::until ? 1 : 2].push_back(lane);
    free.push_back(lane);
  }
  if (free.empty()) return;
  leave(by_stop[0], Stop::nonfinite, &saved_);
  leave(by_stop[1], Stop::until, nullptr);
  leave(by_stop[2], Stop::iterations, nullptr);
  std::size_t used = 0;
  if (plan_.asynchronous() && !halt_ && !control_.stop) {
    const std::vector<std::int64_t> taken = queue_.take(static_cast<std::int64_t>(free.size()), false);
    load(free, taken);
    used = taken.size();
  }
  // From the highest down, so that the last lane, which takes the place, is never itself free.
  for (std::size_t i = free.size(); i-- > used;) drop(free[i]);
  values_good_ = false;
}

/// `state`: what the states were an iteration ago, where they count rather than the new ones.
void Worker::leave(std::span<const std::int64_t> lanes, Stop stop, const std::vector<std::vector<char>>* state) {
  if (lanes.empty()) return;
  std::vector<std::int64_t> runs;
  for (const std::int64_t lane : lanes) runs.push_back(run_[static_cast<std::size_t>(lane)]);
  store_states(lanes, runs, state);
  store_values(lanes, runs_.value, runs);
  for (std::size_t k = 0; k < lanes.size(); ++k) {
    runs_.iterations[static_cast<std::size_t>(runs[k])] = done_[static_cast<std::size_t>(lanes[k])];
    runs_.stopped[static_cast<std::size_t>(runs[k])] = stop;
  }
  control_.finished += static_cast<std::int64_t>(lanes.size());
}

void Worker::store_states(std::span<const std::int64_t> lanes, std::span<const std::int64_t> runs,
                          const std::vector<std::vector<char>>* state) {
  const std::int64_t stride = runner_.capacity() == 1 ? 0 : runner_.capacity();
  std::size_t i = 0;
  for (const Column& column : columns_) {
    if (!column.state) continue;
    while (runner_.code().inputs[i] != column.id) ++i;  // (states without elements have no column)
    by_size(column.item, [&](auto word) {
      using Word = decltype(word);
      const Word* from = state ? reinterpret_cast<const Word*>((*state)[i].data()) : runner_.home().at<Word>(column.id);
      const std::int64_t size = column.bytes / column.item;
      for (std::size_t k = 0; k < lanes.size(); ++k) {
        Word* to = reinterpret_cast<Word*>(column.entries) + runs[k] * size;
        if (stride == 0) {
          std::memcpy(to, from, static_cast<std::size_t>(column.bytes));
        } else {
          for (std::int64_t e = 0; e < size; ++e) to[e] = from[e * stride + lanes[k]];
        }
      }
    });
  }
}

/// The last lane takes the place of one that is gone.
void Worker::drop(std::int64_t lane) {
  const std::int64_t last = --lanes_;
  const exec::Code& code = runner_.code();
  if (lane != last) {
    for (std::size_t k = 0; k < code.inputs.size(); ++k) {
      const exec::Value& value = code.values[code.inputs[k]];
      if (!value.varying) continue;
      by_size(array::item_size(value.dtype), [&](auto word) {
        auto* number = runner_.home().at<decltype(word)>(code.inputs[k]);
        for (std::int64_t e = 0; e < value.size; ++e, number += runner_.capacity()) number[lane] = number[last];
      });
    }
    run_[static_cast<std::size_t>(lane)] = run_[static_cast<std::size_t>(last)];
    done_[static_cast<std::size_t>(lane)] = done_[static_cast<std::size_t>(last)];
  }
  run_.resize(static_cast<std::size_t>(lanes_));
  done_.resize(static_cast<std::size_t>(lanes_));
}

/// Puts all lanes back, so that they can be taken up again.
void Worker::come_home() {
  store_states(first_lanes(), run_, nullptr);
  if (values_good_) store_values(first_lanes(), runs_.value, run_);
  for (std::size_t lane = 0; lane < run_.size(); ++lane) {
    runs_.iterations[static_cast<std::size_t>(run_[lane])] = done_[lane];
  }
  lanes_ = 0;
}

}  // namespace dualtape::loop
