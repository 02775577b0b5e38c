// SPDX-License-Identifier: MIT
// Running rolled loops, forwards and backwards, for a block of lanes at a time.
//
// In a while_loop each lane has a count of its own. The block goes on until the last lane is done; what a lane computes
// after its end is not looked at: its carry is taken when it ends, and on the way back it gets its cotangent when the
// pass comes to its last step.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "dualtape/array/convert.hpp"
#include "dualtape/loop/rolled.hpp"

namespace dualtape::loop {

void (*poll)() = nullptr;

namespace {

constexpr std::int64_t kPollEvery = 1 << 16;  // steps

const char* bytes_of(const Array& x) { return static_cast<const char*>(x.raw_data()); }

/// Gives a step its entries.
class Feed {
 public:
  Feed(const Rolled& rolled, std::span<const Array> operands, Stepper::Lent& to, std::size_t first_input) {
    const Rolled::Parts& parts = rolled.parts();
    const std::size_t first = parts.carry + parts.outside;
    for (std::size_t i = 0; i < parts.entries; ++i) {
      ports_.emplace_back(to.input(first_input + i), bytes_of(operands[first + i]));
    }
  }
  void operator()(std::int64_t row) const {
    for (const auto& [port, from] : ports_) port.copy_from(from + static_cast<std::size_t>(row) * port.bytes);
  }

 private:
  std::vector<std::pair<Port, const char*>> ports_;
};

/// A loop on its way: where it is, and its state in the workspace of a stepper.
class Walk {
 public:
  Walk(const Rolled& rolled, std::span<const Array> operands, std::int64_t lanes)
      : rolled_(rolled),
        lent_(rolled.stepper().lend(lanes)),
        feed_(rolled, operands, lent_, rolled.parts().carry + rolled.parts().outside) {
    const Rolled::Parts& parts = rolled.parts();
    for (std::size_t i = 0; i < parts.carry + parts.outside; ++i) lent_.input(i).copy_from(bytes_of(operands[i]));
    bytes_ = lent_.bytes(0, parts.carry);
    state_ = bytes_ ? lent_.inputs(0) : nullptr;
  }

  std::int64_t at() const { return at_; }
  std::size_t bytes() const { return bytes_; }
  Stepper::Lent& lent() { return lent_; }
  const char* state() const { return state_; }
  void go_to(std::int64_t step, const char* state) {
    if (at_ == step) return;
    copy_bytes(state_, state, bytes_);
    at_ = step;
  }
  std::int64_t row(std::int64_t step) const {
    return rolled_.parts().reverse ? rolled_.parts().length - 1 - step : step;
  }
  void step() {
    if (at_ % kPollEvery == 0 && poll && at_) poll();
    feed_(row(at_));
    lent_.step();
    ++at_;
  }

 private:
  const Rolled& rolled_;
  Stepper::Lent lent_;
  Feed feed_;
  std::size_t bytes_ = 0;
  char* state_ = nullptr;
  std::int64_t at_ = 0;
};

/// The lanes of a while_loop that go on, and how often each has gone round.
class Counts {
 public:
  Counts(const Rolled& rolled, std::span<const Array> operands, std::int64_t lanes, const tape::ActiveLanes& active)
      : counts_(static_cast<std::size_t>(lanes), 0) {
    Stepper::Lent lent = rolled.starter().lend(lanes);
    for (std::size_t i = 0; i < rolled.operand_count(); ++i) lent.input(i).copy_from(bytes_of(operands[i]));
    lent.step();
    answers_.resize(counts_.size());
    lent.result(0).store(answers_.data());
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      if (active.has(lane) && answers_[static_cast<std::size_t>(lane)] != 0.0) running_.push_back(lane);
    }
  }
  bool any() const { return !running_.empty(); }
  const std::vector<std::int64_t>& counts() const { return counts_; }
  /// After a step; `ended(lane)` for each lane that does not go on.
  template <class Ended>
  void look(const Port& answer, Ended&& ended) {
    answer.store(answers_.data());
    std::size_t kept = 0;
    for (const std::int64_t lane : running_) {
      ++counts_[static_cast<std::size_t>(lane)];
      if (answers_[static_cast<std::size_t>(lane)] != 0.0) {
        running_[kept++] = lane;
      } else {
        ended(lane);
      }
    }
    running_.resize(kept);
  }

 private:
  std::vector<std::int64_t> counts_, running_;
  std::vector<double> answers_;
};

void copy_lane(const double* from, double* to, std::int64_t numbers, std::int64_t lanes, std::int64_t lane) {
  for (std::int64_t e = 0; e < numbers; ++e) to[e * lanes + lane] = from[e * lanes + lane];
}

/// Decides which states of a scan are kept on the way there: those of the first pass of Revolve.
class Schedule {
 public:
  Schedule(const Rolled& rolled, Walk& walk, Kept* kept) : length_(rolled.parts().length), walk_(walk), kept_(kept) {
    if (kept_) keep();
  }
  bool done() const { return next_ < 0; }
  /// After a step.
  void look() {
    if (walk_.at() == next_) keep();
  }

 private:
  void keep() {
    kept_->states->keep(walk_.at(), walk_.state());
    const std::int64_t left = length_ - walk_.at(), free = kept_->places - kept_->states->count();
    next_ = left > 1 && free > 0 ? walk_.at() + next_kept(left, free + 1) : -1;
  }

  std::int64_t length_, next_ = -1;
  Walk& walk_;
  Kept* kept_;
};

constexpr std::int64_t kLikely = 1 << 20;  // steps of a while_loop

}  // namespace

void run(const Rolled& rolled, std::span<const Array> operands, std::int64_t lanes, const tape::ActiveLanes& active,
         double* out, Kept* kept) {
  const Rolled::Parts& parts = rolled.parts();
  Walk walk(rolled, operands, lanes);
  const auto place = [&](std::size_t i) { return out + rolled.offsets()[i] * lanes; };
  const auto store_carry = [&](auto&& target) {
    for (std::size_t i = 0; out && i < parts.carry; ++i) walk.lent().input(i).store(target(i));
  };
  if (kept) {
    kept->operands.assign(operands.begin(), operands.end());
    kept->places = places_for(rolled.is_while() ? kLikely : parts.length, walk.bytes());
    kept->states.emplace(walk.bytes());
  }
  if (!rolled.is_while()) {
    if (kept) kept->counts.assign(static_cast<std::size_t>(lanes), parts.length);
    Schedule schedule(rolled, walk, kept);
    std::vector<Port> outputs;
    for (std::size_t i = 0; out && i < parts.outputs; ++i) outputs.push_back(walk.lent().result(parts.carry + i));
    // Nobody asks for the end: the pull goes on from the last state that is kept.
    for (std::int64_t k = 0; k < parts.length && (out || !schedule.done()); ++k) {
      const std::int64_t row = walk.row(k);
      walk.step();
      schedule.look();
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        outputs[i].store(place(parts.carry + i) + row * rolled.outputs()[i].size * lanes);
      }
    }
    store_carry(place);
    return;
  }
  // Lanes that never begin keep what they had.
  store_carry(place);
  Counts counts(rolled, operands, lanes, active);
  const Port answer = walk.lent().result(parts.carry);
  std::vector<double> ended;
  while (counts.any()) {
    // Half of the places, so that there are some left for what lies between.
    if (kept) kept->states->offer(walk.at(), walk.state(), kept->places / 2);
    walk.step();
    bool stored = false;
    counts.look(answer, [&](std::int64_t lane) {
      if (lanes == 1) return store_carry(place);
      if (!out) return;
      if (!stored) {
        ended.resize(static_cast<std::size_t>(rolled.result_size() * lanes));
        store_carry([&](std::size_t i) { return ended.data() + rolled.offsets()[i] * lanes; });
        stored = true;
      }
      copy_lane(ended.data(), out, rolled.result_size(), lanes, lane);
    });
  }
  if (kept) kept->counts = counts.counts();
}

void pull(const Rolled& rolled, std::span<const Array> operands, std::int64_t lanes, Kept journey, bool with_entries,
          double* out) {
  const Rolled::Parts& parts = rolled.parts();
  const std::vector<Leaf>& leaves = rolled.operands();
  const Array& cotangent = operands[rolled.operand_count()];
  const double* given = cotangent.data<double>();
  std::vector<Array> samples;
  for (std::size_t i = 0; i < rolled.operand_count(); ++i) {
    samples.push_back(lanes == 1 ? operands[i] : first_lane(operands[i]));
  }
  Stepper::Lent back = rolled.pulled(samples).lend(lanes);

  // Inputs of the pull: sums, cotangents of the carry, the operands of the step, cotangents of the outputs.
  std::vector<std::size_t> sums, carried, entries;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (!leaves[i].differentiable() || (rolled.is_entry(i) && !with_entries)) continue;
    (i < parts.carry ? carried : rolled.is_entry(i) ? entries : sums).push_back(i);
  }
  const std::size_t first_operand = sums.size() + carried.size(), first_output = first_operand + leaves.size();
  for (std::size_t i = parts.carry; i < parts.carry + parts.outside; ++i) {
    back.input(first_operand + i).copy_from(bytes_of(operands[i]));
  }
  const Feed feed(rolled, operands, back, first_operand + parts.carry + parts.outside);
  struct Row {
    Port port;
    std::int64_t first, numbers;  // in the vector that is given or made, and of one step
  };
  std::vector<Row> outputs, pulled;
  for (std::size_t i = 0; i < parts.outputs; ++i) {
    outputs.push_back(
        {back.input(first_output + i), rolled.offsets()[parts.carry + i] * lanes, rolled.outputs()[i].size * lanes});
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    pulled.push_back(
        {back.result(first_operand + i), rolled.pulled_offsets()[entries[i]] * lanes, leaves[entries[i]].size * lanes});
  }
  const auto begin = [&](std::int64_t lane) {
    for (std::size_t s = 0; s < sums.size(); ++s) back.input(s).fill_lane(nullptr, lane, lanes);
    for (std::size_t c = 0; c < carried.size(); ++c) {
      back.input(sums.size() + c).fill_lane(given + rolled.offsets()[carried[c]] * lanes, lane, lanes);
    }
  };

  Walk walk(rolled, operands, lanes);
  Checkpoints& kept = *journey.states;
  const std::int64_t places = journey.places;
  const std::vector<std::int64_t>& counts = journey.counts;
  std::vector<std::int64_t> order(counts.size());  // the lanes that take the most steps first
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return counts[static_cast<std::size_t>(a)] > counts[static_cast<std::size_t>(b)];
  });
  std::int64_t end = counts[static_cast<std::size_t>(order[0])];
  std::size_t begun = 0;
  const auto begin_lanes = [&] {
    for (; begun < order.size() && counts[static_cast<std::size_t>(order[begun])] >= end; ++begun) begin(order[begun]);
  };
  begin_lanes();
  char* state = walk.bytes() ? back.inputs(first_operand) : nullptr;
  while (end > 0) {
    const bool there = kept.last() == end - 1;  // then there is nothing to compute again
    if (!there) walk.go_to(kept.last(), kept.last_state());
    for (std::int64_t left = end - walk.at(); !there && left > 1; left = end - walk.at()) {
      const std::int64_t free = places - kept.count();
      if (left <= free + 1) {  // room for each
        while (walk.at() < end - 1) {
          walk.step();
          kept.keep(walk.at(), walk.state());
        }
        break;
      }
      const std::int64_t target = walk.at() + (free > 0 ? next_kept(left, free + 1) : left - 1);
      while (walk.at() < target) walk.step();
      if (free > 0) kept.keep(walk.at(), walk.state());
    }
    --end;
    copy_bytes(state, there ? kept.last_state() : walk.state(), walk.bytes());
    const std::int64_t row = walk.row(end);
    feed(row);
    for (const Row& output : outputs) output.port.fill(given + output.first + row * output.numbers);
    back.step();
    for (const Row& entry : pulled) entry.port.store(out + entry.first + row * entry.numbers);
    begin_lanes();
    if (kept.last() == end && end > 0) kept.drop();
  }
  for (std::size_t s = 0; s < sums.size(); ++s) back.input(s).store(out + rolled.pulled_offsets()[sums[s]] * lanes);
  for (std::size_t c = 0; c < carried.size(); ++c) {
    back.input(sums.size() + c).store(out + rolled.pulled_offsets()[carried[c]] * lanes);
  }
}

Array first_lane(const Array& x) {
  std::vector<array::Slice> slices;
  for (int axis = 0; axis < x.ndim(); ++axis) {
    slices.push_back({0, 1, axis + 1 == x.ndim() ? 1 : x.shape()[static_cast<std::size_t>(axis)]});
  }
  Dims shape(x.shape());
  shape.erase(shape.size() - 1);
  return array::reshape(array::slice(x, slices), shape);
}

}  // namespace dualtape::loop
