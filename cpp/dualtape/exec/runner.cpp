// SPDX-License-Identifier: MIT
#include "dualtape/exec/runner.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "dualtape/array/convert.hpp"
#include "dualtape/exec/kernels/part.hpp"
#include "dualtape/num/isa.hpp"

namespace dualtape::exec {
namespace {

/// What copying an element of a lane to another workspace costs, in elements computed: measured on programs of scalars.
constexpr double kCopyCost = 3.0;

std::int64_t outcome_of(Decision decided, double number) {
  if (decided == Decision::truth) return number != 0.0;
  return std::abs(number) < 0x1p63 ? static_cast<std::int64_t>(number) : INT64_MIN;
}

}  // namespace

const PartKernels& part_kernels() {
#if defined(__x86_64__)
  if (num::current_isa() == num::Isa::avx512) return avx512::part_kernels();
  if (num::current_isa() == num::Isa::avx2) return avx2::part_kernels();
#endif
  return generic::part_kernels();
}

Runner::Runner(std::shared_ptr<const Code> code, std::int64_t capacity) : home_(std::move(code), capacity) {
  const std::vector<Segment>& segments = home_.code().segments;
  for (const Segment& segment : segments) {
    if (segment.decision == kNone) leaf_ = &segment;
  }
  if (!home_.code().branches()) return;
  for (const Segment& segment : segments) {
    if (segment.decision != kNone) continue;
    results_.resize(segment.results.size());
    for (std::size_t i = 0; i < segment.results.size(); ++i) {
      const auto bytes = static_cast<std::size_t>(home_.code().values[segment.results[i]].bytes() * capacity);
      if (results_[i].size() < bytes) results_[i].resize(bytes);
    }
  }
  work_.resize(segments.size());
  copying_.resize(segments.size());
  std::vector<std::uint32_t> order{0};
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (const Branch& branch : segments[order[i]].branches) order.push_back(branch.segment);
  }
  for (std::size_t i = order.size(); i-- > 0;) {
    const Segment& segment = segments[order[i]];
    double& work = work_[order[i]];
    for (const Branch& branch : segment.branches) {
      work += work_[branch.segment] / static_cast<double>(segment.branches.size());
    }
    for (const Instruction& instruction : segment.instructions) {
      work += static_cast<double>(home_.code().values[instruction.out].size);
    }
    for (ValueId id : segment.live) copying_[order[i]] += kCopyCost * static_cast<double>(home_.code().values[id].size);
  }
}

bool Runner::result_varies(std::size_t i) const {
  // The results of different leaves may differ in whether they vary; with decisions all are stored by lane.
  return home_.code().branches() || home_.code().values[home_.code().segments[0].results[i]].varying;
}

/// A workspace for so many lanes, which are few if the block has many: large arrays are computed at full capacity.
Runner::Lent* Runner::borrow(std::int64_t lanes) {
  const auto capacity =
      std::min(home_.capacity(),
               std::max<std::int64_t>(8, static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(lanes)))));
  for (const auto& lent : pool_) {
    if (lent->groups == 0 && lent->workspace->capacity() == capacity) return lent.get();
  }
  pool_.push_back(std::make_unique<Lent>());
  pool_.back()->workspace = std::make_unique<Workspace>(
      std::shared_ptr<const Code>(std::shared_ptr<void>(), &home_.code()), capacity, &home_);
  return pool_.back().get();
}

bool Runner::run(std::int64_t lanes) {
  if (!home_.code().branches()) {
    home_.run(0, lanes);
    return true;
  }
  return run_tree(lanes);
}

bool Runner::run_tree(std::int64_t lanes) {
  Group first;
  first.width = lanes;
  waiting_.push_back(std::move(first));
  first_home_ = true;
  bool known = true;
  while (!waiting_.empty()) {
    Group group = std::move(waiting_.back());
    waiting_.pop_back();
    while (known) {
      workspace(group).run(group.segment, group.width);
      if (home_.code().segments[group.segment].decision == kNone) {
        finish(group);
        break;
      }
      known = decide(group);
    }
    release(group);
  }
  return known;
}

Runner::Lanes Runner::list() {
  if (spare_.empty()) {
    return {std::make_unique_for_overwrite<std::uint32_t[]>(static_cast<std::size_t>(home_.capacity() + kListSlack)),
            0};
  }
  Lanes out = std::move(spare_.back());
  spare_.pop_back();
  return out;
}
void Runner::spare(Lanes& lanes) {
  if (lanes.at) spare_.push_back(std::move(lanes));
}

void Runner::release(Group& group) {
  if (group.lent) --group.lent->groups;
  spare(group.members);
  spare(group.home);
}

/// Finds where each lane goes on. The group becomes the first of those it parts into; the others wait.
bool Runner::decide(Group& group) {
  shares_.clear();
  if (!part(group)) return false;
  if (shares_.size() == 1) {
    group.segment = shares_[0].segment;
    spare(shares_[0].lanes);
    return true;
  }
  const auto leaves = [&](const Share& share) {
    const double count = static_cast<double>(std::max<std::int64_t>(share.lanes.size, 8));
    return count * (work_[share.segment] + copying_[share.segment]) <
           static_cast<double>(group.width) * work_[share.segment];
  };
  // The last to wait is the first to go on: those that leave, whose workspaces are free again soon, then those that
  // stay in the order of the branches.
  for (std::size_t i = shares_.size(); i-- > 0;) {
    if (!leaves(shares_[i])) stay(group, shares_[i]);
  }
  for (Share& share : shares_) {
    if (share.lanes.at) leave(group, share);
  }
  release(group);
  group = std::move(waiting_.back());
  waiting_.pop_back();
  return true;
}

void Runner::stay(const Group& group, Share& share) {
  Group stays;
  stays.segment = share.segment;
  stays.lent = group.lent;
  if (stays.lent) ++stays.lent->groups;
  stays.width = group.width;
  stays.members = std::move(share.lanes);
  if (group.home.at) {
    stays.home = list();
    std::copy_n(group.home.at.get(), group.width, stays.home.at.get());
  }
  waiting_.push_back(std::move(stays));
}

void Runner::leave(const Group& group, Share& share) {
  Group leaves;
  leaves.segment = share.segment;
  leaves.width = share.lanes.size;
  leaves.lent = borrow(leaves.width);
  ++leaves.lent->groups;
  leaves.lent->workspace->take(workspace(group), home_.code().segments[share.segment].live, share.lanes.all());
  for (std::int64_t k = 0; k < leaves.width; ++k) share.lanes.at[k] = group.at_home(share.lanes.at[k]);
  leaves.home = std::move(share.lanes);
  waiting_.push_back(std::move(leaves));
}

bool Runner::refuse(const Group& group, std::uint32_t lane, std::int64_t outcome) {
  unknown_ = {group.at_home(lane), group.segment, outcome};
  return false;
}

/// Lists the lanes of each branch. False where a lane takes none.
bool Runner::part(const Group& group) {
  const Segment& segment = home_.code().segments[group.segment];
  const Value& value = home_.code().values[segment.decision];
  if (!value.varying) {
    const std::int64_t outcome = array::dispatch(value.dtype, [&]<class T>() {
      return outcome_of(segment.decided, static_cast<double>(*workspace(group).at<T>(segment.decision)));
    });
    if (segment.after(outcome) == kNone) return refuse(group, group.member(0), outcome);
    shares_.push_back({segment.after(outcome), {}});
    return true;
  }
  return segment.decided == Decision::truth && array::is_float(value.dtype) ? part_by_truth(group)
                                                                            : part_by_number(group);
}

bool Runner::part_by_truth(const Group& group) {
  const Segment& segment = home_.code().segments[group.segment];
  const std::int64_t count = group.count();
  Lanes sides[2] = {list(), list()};
  std::uint32_t *yes = sides[1].at.get(), *no = sides[0].at.get();
  const Workspace& from = workspace(group);
  const PartKernels& kernels = part_kernels();
  sides[1].size = home_.code().values[segment.decision].dtype == DType::f64
                      ? kernels.split_double(from.at<double>(segment.decision), group.members.at.get(), count, yes, no)
                      : kernels.split_float(from.at<float>(segment.decision), group.members.at.get(), count, yes, no);
  sides[0].size = count - sides[1].size;
  bool known = true;
  for (int outcome : {0, 1}) {
    if (known && sides[outcome].size && segment.after(outcome) == kNone) {
      known = refuse(group, sides[outcome].at[0], outcome);
    }
  }
  for (const Branch& branch : segment.branches) {
    if (known && sides[branch.outcome].size) shares_.push_back({branch.segment, std::move(sides[branch.outcome])});
  }
  for (Lanes& side : sides) spare(side);
  return known;
}

bool Runner::part_by_number(const Group& group) {
  const Segment& segment = home_.code().segments[group.segment];
  std::vector<Lanes> sides(segment.branches.size());
  const bool known = array::dispatch(home_.code().values[segment.decision].dtype, [&]<class T>() {
    const T* x = workspace(group).at<T>(segment.decision);
    for (std::int64_t k = 0; k < group.count(); ++k) {
      const std::uint32_t lane = group.member(k);
      const std::int64_t outcome = outcome_of(segment.decided, static_cast<double>(x[lane]));
      std::size_t branch = 0;
      while (branch < sides.size() && segment.branches[branch].outcome != outcome) ++branch;
      if (branch == sides.size()) return refuse(group, lane, outcome);
      Lanes& side = sides[branch];
      if (!side.at) {
        side = list();
        side.size = 0;
      }
      side.at[side.size++] = lane;
    }
    return true;
  });
  for (std::size_t i = 0; i < sides.size(); ++i) {
    if (known && sides[i].at) shares_.push_back({segment.branches[i].segment, std::move(sides[i])});
    spare(sides[i]);
  }
  return known;
}

/// Brings the results home.
void Runner::finish(const Group& group) {
  const Segment& segment = home_.code().segments[group.segment];
  const std::int64_t capacity = home_.capacity();
  const Workspace& from = workspace(group);
  // The first to come home may bring what is not its own: the others write over it.
  const bool all = !group.home.at && (first_home_ || !group.members.at);
  first_home_ = false;
  for (std::size_t i = 0; i < segment.results.size(); ++i) {
    const Value& value = home_.code().values[segment.results[i]];
    const auto bring = [&](auto word) {
      using Word = decltype(word);
      const Word* x = from.at<Word>(segment.results[i]);
      Word* y = reinterpret_cast<Word*>(results_[i].data());
      for (std::int64_t e = 0; e < value.size; ++e, y += capacity, x += value.varying ? from.stride() : 1) {
        if (!value.varying) {
          for (std::int64_t k = 0; k < group.count(); ++k) y[group.at_home(group.member(k))] = *x;
        } else if (all) {
          std::copy_n(x, group.width, y);
        } else if (!group.members.at) {
          for (std::int64_t lane = 0; lane < group.width; ++lane) y[group.home.at[lane]] = x[lane];
        } else if (!group.home.at) {
          for (const std::uint32_t lane : group.members.all()) y[lane] = x[lane];
        } else {
          for (const std::uint32_t lane : group.members.all()) y[group.home.at[lane]] = x[lane];
        }
      }
    };
    const std::int64_t item = array::item_size(value.dtype);
    if (item == 8) bring(std::uint64_t{});
    if (item == 4) bring(std::uint32_t{});
    if (item == 1) bring(std::uint8_t{});
  }
}

}  // namespace dualtape::exec
