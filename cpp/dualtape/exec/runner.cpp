// SPDX-License-Identifier: MIT
#include "dualtape/exec/runner.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "dualtape/array/convert.hpp"
#include "dualtape/exec/kernels/part.hpp"
#include "dualtape/num/isa.hpp"

namespace dualtape::exec {
namespace {

/// What copying an element of a lane to another workspace costs, in elements computed: measured on programs of scalars.
constexpr double kCopyCost = 3.0;

std::size_t words(std::int64_t lanes) { return static_cast<std::size_t>((lanes + 63) / 64); }

/// Calls body(lane) for the lanes of a set, or for all up to `width` where there are no bits.
template <class Body>
void for_each(const std::uint64_t* bits, std::int64_t width, Body&& body) {
  if (!bits) {
    for (std::uint32_t lane = 0; lane < width; ++lane) body(lane);
    return;
  }
  for (std::size_t word = 0; word < words(width); ++word) {
    for (std::uint64_t rest = bits[word]; rest; rest &= rest - 1) {
      body(static_cast<std::uint32_t>(64 * word) + static_cast<std::uint32_t>(std::countr_zero(rest)));
    }
  }
}

std::uint32_t first_of(const std::uint64_t* bits) {
  if (!bits) return 0;
  std::uint32_t word = 0;
  while (!bits[word]) ++word;
  return 64 * word + static_cast<std::uint32_t>(std::countr_zero(bits[word]));
}

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
  first.width = first.members.count = lanes;
  waiting_.push_back(std::move(first));
  first_home_ = true;
  bool known = true;
  while (!waiting_.empty()) {
    Group group = std::move(waiting_.back());
    waiting_.pop_back();
    while (known) {
      workspace(group).run(group.segment, group.width, group.members.bits.get());
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

/// Room for a set of lanes of the block.
Runner::Set Runner::set() {
  if (spare_.empty()) return {std::make_unique_for_overwrite<std::uint64_t[]>(words(home_.capacity())), 0};
  Set out = std::move(spare_.back());
  spare_.pop_back();
  return out;
}
void Runner::release(Set& set) {
  if (set.bits) spare_.push_back(std::move(set));
}
void Runner::release(Group& group) {
  if (group.lent) --group.lent->groups;
  release(group.members);
  if (group.home.capacity()) spare_lists_.push_back(std::move(group.home));
}

/// Finds where each lane goes on. The group becomes the first of those it parts into; the others wait.
bool Runner::decide(Group& group) {
  shares_.clear();
  if (!part(group)) return false;
  if (shares_.size() == 1) {
    group.segment = shares_[0].segment;
    release(shares_[0].lanes);
    return true;
  }
  const auto leaves = [&](const Share& share) {
    const double count = static_cast<double>(std::max<std::int64_t>(share.lanes.count, 8));
    return count * (work_[share.segment] + copying_[share.segment]) <
           static_cast<double>(group.width) * work_[share.segment];
  };
  // The last to wait is the first to go on: those that leave, whose workspaces are free again soon, then those that
  // stay in the order of the branches.
  for (std::size_t i = shares_.size(); i-- > 0;) {
    if (!leaves(shares_[i])) stay(group, shares_[i]);
  }
  for (Share& share : shares_) {
    if (share.lanes.bits) leave(group, share);
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
  if (!group.home.empty()) {
    stays.home = list();
    stays.home.assign(group.home.begin(), group.home.end());
  }
  waiting_.push_back(std::move(stays));
}

void Runner::leave(const Group& group, Share& share) {
  Group leaves;
  leaves.segment = share.segment;
  leaves.width = leaves.members.count = share.lanes.count;
  leaves.lent = borrow(leaves.width);
  ++leaves.lent->groups;
  leaves.home = list();
  for_each(share.lanes.bits.get(), group.width, [&](std::uint32_t lane) { leaves.home.push_back(lane); });
  leaves.lent->workspace->take(workspace(group), home_.code().segments[share.segment].live, leaves.home);
  for (std::uint32_t& lane : leaves.home) lane = group.at_home(lane);
  release(share.lanes);
  waiting_.push_back(std::move(leaves));
}

std::vector<std::uint32_t> Runner::list() {
  std::vector<std::uint32_t> out;
  if (!spare_lists_.empty()) {
    out = std::move(spare_lists_.back());
    spare_lists_.pop_back();
  }
  out.clear();
  out.reserve(static_cast<std::size_t>(home_.capacity()));
  return out;
}

bool Runner::refuse(const Group& group, std::uint32_t lane, std::int64_t outcome) {
  unknown_ = {group.at_home(lane), group.segment, outcome};
  return false;
}

/// Finds the lanes of each branch. False where a lane takes none.
bool Runner::part(const Group& group) {
  const Segment& segment = home_.code().segments[group.segment];
  const Value& value = home_.code().values[segment.decision];
  if (!value.varying) {
    const std::int64_t outcome = array::dispatch(value.dtype, [&]<class T>() {
      return outcome_of(segment.decided, static_cast<double>(*workspace(group).at<T>(segment.decision)));
    });
    if (segment.after(outcome) == kNone) return refuse(group, first_of(group.members.bits.get()), outcome);
    shares_.push_back({segment.after(outcome), {}});
    return true;
  }
  return segment.decided == Decision::truth && array::is_float(value.dtype) ? part_by_truth(group)
                                                                            : part_by_number(group);
}

bool Runner::part_by_truth(const Group& group) {
  const Segment& segment = home_.code().segments[group.segment];
  Set sides[2] = {set(), set()};
  std::uint64_t *yes = sides[1].bits.get(), *no = sides[0].bits.get();
  const std::uint64_t* members = group.members.bits.get();
  const Workspace& from = workspace(group);
  sides[1].count = home_.code().values[segment.decision].dtype == DType::f64
                       ? part_kernels().split_double(from.at<double>(segment.decision), members, group.width, yes, no)
                       : part_kernels().split_float(from.at<float>(segment.decision), members, group.width, yes, no);
  sides[0].count = group.members.count - sides[1].count;
  bool known = true;
  for (int outcome : {0, 1}) {
    if (known && sides[outcome].count && segment.after(outcome) == kNone) {
      known = refuse(group, first_of(sides[outcome].bits.get()), outcome);
    }
  }
  for (const Branch& branch : segment.branches) {
    if (branch.outcome != 0 && branch.outcome != 1) continue;  // a truth never comes out so
    Set& side = sides[branch.outcome];
    if (known && side.count) shares_.push_back({branch.segment, std::move(side)}), side.count = 0;
  }
  for (Set& side : sides) release(side);
  return known;
}

bool Runner::part_by_number(const Group& group) {
  const Segment& segment = home_.code().segments[group.segment];
  std::vector<Set> sides(segment.branches.size());
  bool known = true;
  array::dispatch(home_.code().values[segment.decision].dtype, [&]<class T>() {
    const T* x = workspace(group).at<T>(segment.decision);
    for_each(group.members.bits.get(), group.width, [&](std::uint32_t lane) {
      const std::int64_t outcome = outcome_of(segment.decided, static_cast<double>(x[lane]));
      std::size_t branch = 0;
      while (branch < sides.size() && segment.branches[branch].outcome != outcome) ++branch;
      if (branch == sides.size()) {
        known = known && refuse(group, lane, outcome);
        return;
      }
      Set& side = sides[branch];
      if (!side.bits) {
        side = set();
        side.count = 0;
        std::fill_n(side.bits.get(), words(group.width), 0);
      }
      side.bits[lane / 64] |= std::uint64_t{1} << lane % 64;
      ++side.count;
    });
  });
  for (std::size_t i = 0; i < sides.size(); ++i) {
    if (known && sides[i].bits) shares_.push_back({segment.branches[i].segment, std::move(sides[i])});
    release(sides[i]);
  }
  return known;
}

/// Brings the results home.
void Runner::finish(const Group& group) {
  const Segment& segment = home_.code().segments[group.segment];
  const Workspace& from = workspace(group);
  // The first to come home may bring what is not its own: the others write over it.
  const std::uint64_t* members = first_home_ && group.home.empty() ? nullptr : group.members.bits.get();
  first_home_ = false;
  for (std::size_t i = 0; i < segment.results.size(); ++i) {
    const Value& value = home_.code().values[segment.results[i]];
    if (!members && group.home.empty() && value.varying && from.stride() == home_.capacity()) {
      std::memcpy(results_[i].data(), from.data(segment.results[i]),
                  static_cast<std::size_t>(value.bytes() * home_.capacity()));
      continue;
    }
    const auto bring = [&](auto word) {
      using Word = decltype(word);
      const Word* x = from.at<Word>(segment.results[i]);
      Word* y = reinterpret_cast<Word*>(results_[i].data());
      for (std::int64_t e = 0; e < value.size; ++e, y += home_.capacity(), x += value.varying ? from.stride() : 1) {
        if (!value.varying) {
          for_each(members, group.width, [&](std::uint32_t lane) { y[group.at_home(lane)] = *x; });
        } else if (!group.home.empty()) {
          for_each(members, group.width, [&](std::uint32_t lane) { y[group.home[lane]] = x[lane]; });
        } else if (!members) {
          std::copy_n(x, group.width, y);
        } else if constexpr (sizeof(Word) == 8) {
          part_kernels().put_8(x, members, group.width, y);
        } else {
          for_each(members, group.width, [&](std::uint32_t lane) { y[lane] = x[lane]; });
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
