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

bool is_finite(DType dtype, const char* number) {
  return array::dispatch(
      dtype, [&]<class T>() { return std::isfinite(static_cast<double>(*reinterpret_cast<const T*>(number))); });
}

}  // namespace

Queue::Queue(const Runs& runs) : runs_(runs) {
  for (std::int64_t run = 0; run < runs.count; ++run) {
    if (runs.stopped[static_cast<std::size_t>(run)] == Stop::running) order_.push_back(run);
  }
  std::stable_sort(order_.begin(), order_.end(), [&](std::int64_t a, std::int64_t b) {
    return runs.iterations[static_cast<std::size_t>(a)] < runs.iterations[static_cast<std::size_t>(b)];
  });
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

bool Worker::fill_block() {
  if (halt_ || control_.stop) return false;
  const std::vector<std::int64_t> taken = queue_.take(plan_.lanes(), !plan_.asynchronous());
  lanes_ = static_cast<std::int64_t>(taken.size());
  run_.resize(taken.size());
  done_.resize(taken.size());
  finite_start_ = true;
  for (std::int64_t lane = 0; lane < lanes_; ++lane) load(lane, taken[static_cast<std::size_t>(lane)]);
  values_good_ = going_home_ = false;
  careful_ = limit_ = 0;
  return lanes_ > 0;
}

char* Worker::place(array::Array& runs, std::int64_t entry) const {
  const std::int64_t extent = runs.shape()[0];
  return static_cast<char*>(runs.raw_writable_data()) + entry * (runs.size() / extent) * array::item_size(runs.dtype());
}

void Worker::load(std::int64_t lane, std::int64_t run) {
  const exec::Code& code = runner_.code();
  exec::Workspace& home = runner_.home();
  run_[static_cast<std::size_t>(lane)] = run;
  done_[static_cast<std::size_t>(lane)] = runs_.iterations[static_cast<std::size_t>(run)];
  for (std::size_t i = 0; i < plan_.settings().states; ++i) {
    if (!runs_.state[i].size()) continue;
    home.load(code.inputs[i], place(runs_.state[i], run), lane);
    if (machine_) finite_start_ = finite_start_ && is_finite(runs_.state[i].dtype(), place(runs_.state[i], run));
  }
  for (std::size_t i = plan_.settings().states; i < states_; ++i) {
    const std::vector<char> zeros(static_cast<std::size_t>(code.values[code.inputs[i]].bytes()));
    home.load(code.inputs[i], zeros.data(), lane);
  }
  for (std::size_t k = states_; k < code.inputs.size(); ++k) {
    if (plan_.level(k) != Level::lane) continue;
    array::Array values = plan_.lane_values(k);
    home.load(code.inputs[k], place(values, run), lane);
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
    for (std::int64_t lane = 0; lane < lanes_; ++lane) {
      store_values(lane, runs_.value, run_[static_cast<std::size_t>(lane)]);
    }
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

/// Copies what the step returned for a lane to entry `entry` of arrays with a leading axis.
void Worker::store_values(std::int64_t lane, std::vector<array::Array>& to, std::int64_t entry) {
  for (std::size_t v = 0; v < plan_.settings().values; ++v) {
    const Place place_of = result_place(states_ + v, lane);
    array::Array& target = to[v];
    const std::int64_t size = target.shape()[0] ? target.size() / target.shape()[0] : 0;
    array::dispatch(place_of.dtype, [&]<class From>() {
      const From* from = reinterpret_cast<const From*>(place_of.first);
      array::dispatch(target.dtype(), [&]<class To>() {
        To* out = reinterpret_cast<To*>(place(target, entry));
        for (std::int64_t e = 0; e < size; ++e) out[e] = static_cast<To>(from[e * place_of.stride]);
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
        To* const history = reinterpret_cast<To*>(place(runs_.history[v], 0));
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
  for (std::int64_t lane = 0; lane < lanes_; ++lane) {
    const std::int64_t done = done_[static_cast<std::size_t>(lane)];
    if (done % every) continue;
    // (runs, records, ...) in C order is (runs * records, ...).
    std::vector<array::Array> flat;
    for (const array::Array& history : runs_.history) {
      Dims shape(history.shape());
      shape[0] *= shape[1];
      shape.erase(1);
      flat.push_back(array::reshape(history, shape));
    }
    store_values(lane, flat, run_[static_cast<std::size_t>(lane)] * records + done / every - 1);
  }
}

/// Lets go of the lanes that are done, and gives their places to runs that wait. `some_broken`: the stretch was one
/// iteration long and a lane is not finite any more.
void Worker::settle(bool some_broken) {
  std::vector<std::int64_t> free;
  for (std::int64_t lane = 0; lane < lanes_; ++lane) {
    const bool last = done_[static_cast<std::size_t>(lane)] == plan_.settings().iterations;
    if (some_broken && broken(lane)) {
      leave(lane, Stop::nonfinite, &saved_);
    } else if (plan_.settings().until && wants_stop(lane)) {
      leave(lane, Stop::until, nullptr);
    } else if (last) {
      leave(lane, Stop::iterations, nullptr);
    } else {
      continue;
    }
    free.push_back(lane);
  }
  if (free.empty()) return;
  std::size_t used = 0;
  if (plan_.asynchronous() && !halt_ && !control_.stop) {
    for (const std::int64_t run : queue_.take(static_cast<std::int64_t>(free.size()), false)) load(free[used++], run);
  }
  // From the highest down, so that the last lane, which takes the place, is never itself free.
  for (std::size_t i = free.size(); i-- > used;) drop(free[i]);
  values_good_ = false;
}

void Worker::leave(std::int64_t lane, Stop stop, const std::vector<std::vector<char>>* state) {
  const exec::Code& code = runner_.code();
  const std::int64_t run = run_[static_cast<std::size_t>(lane)];
  for (std::size_t i = 0; i < plan_.settings().states; ++i) {
    if (!runs_.state[i].size()) continue;
    char* to = place(runs_.state[i], run);
    if (!state) {
      runner_.home().store(code.inputs[i], to, lane);
      continue;
    }
    const exec::Value& value = code.values[code.inputs[i]];
    const auto item = static_cast<std::size_t>(array::item_size(value.dtype));
    for (std::int64_t e = 0; e < value.size; ++e) {
      const std::int64_t from = runner_.capacity() == 1 ? e : e * runner_.capacity() + lane;
      std::memcpy(to + static_cast<std::size_t>(e) * item, (*state)[i].data() + static_cast<std::size_t>(from) * item,
                  item);
    }
  }
  store_values(lane, runs_.value, run);
  runs_.iterations[static_cast<std::size_t>(run)] = done_[static_cast<std::size_t>(lane)];
  runs_.stopped[static_cast<std::size_t>(run)] = stop;
  ++control_.finished;
}

/// The last lane takes the place of one that is gone.
void Worker::drop(std::int64_t lane) {
  const std::int64_t last = --lanes_;
  const exec::Code& code = runner_.code();
  if (lane != last) {
    for (std::size_t k = 0; k < code.inputs.size(); ++k) {
      const exec::Value& value = code.values[code.inputs[k]];
      if (!value.varying) continue;
      std::vector<char> column(static_cast<std::size_t>(value.bytes()));
      runner_.home().store(code.inputs[k], column.data(), last);
      runner_.home().load(code.inputs[k], column.data(), lane);
    }
    run_[static_cast<std::size_t>(lane)] = run_[static_cast<std::size_t>(last)];
    done_[static_cast<std::size_t>(lane)] = done_[static_cast<std::size_t>(last)];
  }
  run_.resize(static_cast<std::size_t>(lanes_));
  done_.resize(static_cast<std::size_t>(lanes_));
}

/// Puts all lanes back, so that they can be taken up again.
void Worker::come_home() {
  const exec::Code& code = runner_.code();
  for (std::int64_t lane = 0; lane < lanes_; ++lane) {
    const std::int64_t run = run_[static_cast<std::size_t>(lane)];
    for (std::size_t i = 0; i < plan_.settings().states; ++i) {
      if (runs_.state[i].size()) runner_.home().store(code.inputs[i], place(runs_.state[i], run), lane);
    }
    if (values_good_) store_values(lane, runs_.value, run);
    runs_.iterations[static_cast<std::size_t>(run)] = done_[static_cast<std::size_t>(lane)];
  }
  lanes_ = 0;
}

}  // namespace dualtape::loop
