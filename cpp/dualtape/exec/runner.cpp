// SPDX-License-Identifier: MIT
#include "dualtape/exec/runner.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "dualtape/array/convert.hpp"

namespace dualtape::exec {

Runner::Runner(std::shared_ptr<const Code> code, std::int64_t capacity) : home_(std::move(code), capacity) {
  for (const Segment& segment : home_.code().segments) {
    if (segment.decision == kNone) leaf_ = &segment;
  }
  if (!home_.code().branches()) return;
  for (const Segment& segment : home_.code().segments) {
    if (segment.decision != kNone) continue;
    results_.resize(segment.results.size());
    for (std::size_t i = 0; i < segment.results.size(); ++i) {
      const auto bytes = static_cast<std::size_t>(home_.code().values[segment.results[i]].bytes() * capacity);
      if (results_[i].size() < bytes) results_[i].resize(bytes);
    }
  }
  outcomes_.resize(static_cast<std::size_t>(capacity));
}

bool Runner::result_varies(std::size_t i) const {
  // The results of different leaves may differ in whether they vary; with decisions all are stored by lane.
  return home_.code().branches() || home_.code().values[home_.code().segments[0].results[i]].varying;
}

Workspace* Runner::borrow() {
  if (idle_.empty()) {
    pool_.push_back(std::make_unique<Workspace>(std::shared_ptr<const Code>(std::shared_ptr<void>(), &home_.code()),
                                                home_.capacity(), &home_));
    return pool_.back().get();
  }
  Workspace* out = idle_.back();
  idle_.pop_back();
  return out;
}

bool Runner::run(std::int64_t lanes) {
  if (!home_.code().branches()) {
    home_.run(0, lanes);
    return true;
  }
  return run_tree(lanes);
}

bool Runner::run_tree(std::int64_t lanes) {
  waiting_.clear();
  waiting_.push_back({&home_, 0, {}, lanes});
  bool known = true;
  // The home workspace must keep its inputs until the end: segments write to other storage, and a group that stays in
  // place is moved to a workspace of its own before its lanes are pushed together.
  while (!waiting_.empty()) {
    Group group = std::move(waiting_.back());
    waiting_.pop_back();
    while (known) {
      const Segment& segment = home_.code().segments[group.segment];
      group.workspace->run(group.segment, group.lanes);
      segment_lanes_ += group.lanes;
      if (segment.decision == kNone) {
        finish(group);
        break;
      }
      known = decide(group);
    }
    if (group.workspace != &home_) idle_.push_back(group.workspace);
  }
  return known;
}

/// Finds where each lane goes on. The group goes on with the largest part of it; the others wait.
bool Runner::decide(Group& group) {
  const Segment& segment = home_.code().segments[group.segment];
  const Value& value = home_.code().values[segment.decision];
  const std::int64_t count = value.varying ? group.lanes : 1;
  const bool truth = segment.decided == Decision::truth;
  array::dispatch(value.dtype, [&]<class T>() {
    const T* x = group.workspace->at<T>(segment.decision);
    for (std::int64_t k = 0; k < count; ++k) {
      const double number = static_cast<double>(x[k]);
      outcomes_[static_cast<std::size_t>(k)] = truth                       ? std::int64_t{number != 0.0}
                                               : std::abs(number) < 0x1p63 ? static_cast<std::int64_t>(number)
                                                                           : INT64_MIN;
    }
  });
  const auto refuse = [&](std::int64_t k) {
    unknown_ = {group.home.empty() ? static_cast<std::uint32_t>(k) : group.home[static_cast<std::size_t>(k)],
                group.segment, outcomes_[static_cast<std::size_t>(k)]};
    return false;
  };
  const std::int64_t first = outcomes_[0];
  if (std::all_of(outcomes_.begin(), outcomes_.begin() + count, [&](std::int64_t x) { return x == first; })) {
    const std::uint32_t after = segment.after(first);
    if (after == kNone) return refuse(0);
    group.segment = after;
    return true;
  }
  // The lanes of each branch, in order.
  std::vector<std::vector<std::uint32_t>> parts(segment.branches.size());
  for (std::int64_t k = 0; k < count; ++k) {
    std::size_t branch = 0;
    while (branch < parts.size() && segment.branches[branch].outcome != outcomes_[static_cast<std::size_t>(k)])
      ++branch;
    if (branch == parts.size()) return refuse(k);
    parts[branch].push_back(static_cast<std::uint32_t>(k));
  }
  std::size_t largest = 0;
  for (std::size_t b = 1; b < parts.size(); ++b) {
    if (parts[b].size() > parts[largest].size()) largest = b;
  }
  const auto part_of = [&](std::size_t b) {
    Group part{borrow(), segment.branches[b].segment, {}, static_cast<std::int64_t>(parts[b].size())};
    for (std::uint32_t k : parts[b]) part.home.push_back(group.home.empty() ? k : group.home[k]);
    part.workspace->take(*group.workspace, home_.code().segments[part.segment].live, parts[b]);
    return part;
  };
  for (std::size_t b = 0; b < parts.size(); ++b) {
    if (b != largest && !parts[b].empty()) waiting_.push_back(part_of(b));
  }
  Group rest = part_of(largest);
  if (group.workspace != &home_) idle_.push_back(group.workspace);
  group = std::move(rest);
  return true;
}

/// Brings the results home.
void Runner::finish(const Group& group) {
  const Segment& segment = home_.code().segments[group.segment];
  const std::int64_t capacity = home_.capacity();
  for (std::size_t i = 0; i < segment.results.size(); ++i) {
    const Value& value = home_.code().values[segment.results[i]];
    const std::int64_t item = array::item_size(value.dtype);
    const char* from = group.workspace->at<char>(segment.results[i]);
    char* to = results_[i].data();
    if (value.varying && group.home.empty()) {
      std::memcpy(to, from, static_cast<std::size_t>(value.bytes() * capacity));
      continue;
    }
    const auto scatter = [&](auto word) {
      using Word = decltype(word);
      const Word* x = reinterpret_cast<const Word*>(from);
      Word* y = reinterpret_cast<Word*>(to);
      for (std::int64_t e = 0; e < value.size; ++e, y += capacity) {
        for (std::int64_t k = 0; k < group.lanes; ++k) {
          const std::int64_t lane = group.home.empty() ? k : group.home[static_cast<std::size_t>(k)];
          y[lane] = x[value.varying ? e * capacity + k : e];
        }
      }
    };
    if (item == 8) scatter(std::uint64_t{});
    if (item == 4) scatter(std::uint32_t{});
    if (item == 1) scatter(std::uint8_t{});
  }
}

}  // namespace dualtape::exec
