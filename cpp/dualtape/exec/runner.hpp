// SPDX-License-Identifier: MIT
// Runner: code on a block of lanes, from the root to the results. Where lanes decide differently they part into
// groups. A group that is a large part of its workspace stays where it is, and the lanes between are computed along in
// vain; a small one is copied together into a workspace of its own. Lanes come home when their path is done.
//
// Groups that stay in one workspace go on in the order of the branches: storage is given out so that a branch leaves
// what a later one reads as it is (program/assemble.cpp).
#pragma once

#include <memory>
#include <vector>

#include "dualtape/exec/workspace.hpp"

namespace dualtape::exec {

/// A decision came out in a way that no path of the code has.
struct Unknown {
  std::uint32_t lane = 0;  // of the block, where it happened first
  std::uint32_t segment = 0;
  std::int64_t outcome = 0;
};

class Runner {
 public:
  Runner(std::shared_ptr<const Code> code, std::int64_t capacity);

  const Code& code() const { return home_.code(); }
  /// Where inputs are loaded and, without decisions, results are.
  Workspace& home() { return home_; }
  const Workspace& home() const { return home_; }
  std::int64_t capacity() const { return home_.capacity(); }

  /// Runs the first `lanes` lanes. With decisions, results land in `result(i)`; the inputs are still what they were.
  /// False where a lane's decision is unknown: then no result is good.
  bool run(std::int64_t lanes);
  /// The same without the instructions that only values need; `run_tail` computes them. (With decisions all is one.)
  bool run_head(std::int64_t lanes) {
    if (code().branches()) return run(lanes);
    home_.run_head(lanes);
    return true;
  }
  void run_tail(std::int64_t lanes) {
    if (!code().branches()) home_.run_tail(lanes);
  }
  const Unknown& unknown() const { return unknown_; }

  /// Result i (of the first leaf's numbering: all leaves have as many), lanes innermost, strides as in the workspace.
  const void* result(std::size_t i) const {
    return code().branches() ? results_[i].data() : home_.data(code().segments[0].results[i]);
  }
  DType result_dtype(std::size_t i) const { return code().values[leaf_->results[i]].dtype; }
  bool result_varies(std::size_t i) const;

 private:
  /// A workspace that is lent to groups.
  struct Lent {
    std::unique_ptr<Workspace> workspace;
    int groups = 0;
  };
  /// A set of lanes of a workspace, as bits (kernels/part.hpp); no bits where it holds all of them.
  struct Set {
    std::unique_ptr<std::uint64_t[]> bits;
    std::int64_t count = 0;
  };
  struct Group {
    std::uint32_t segment = 0;
    Lent* lent = nullptr;             // null: at home
    std::int64_t width = 0;           // lanes of the workspace that are computed,
    Set members;                      // and those of them that belong to the group
    std::vector<std::uint32_t> home;  // the lane of the block that lane k of the workspace is; empty: lane k
    std::uint32_t at_home(std::uint32_t lane) const { return home.empty() ? lane : home[lane]; }
  };
  /// The lanes of a group that take a branch.
  struct Share {
    std::uint32_t segment;
    Set lanes;
  };
  Workspace& workspace(const Group& group) { return group.lent ? *group.lent->workspace : home_; }
  bool run_tree(std::int64_t lanes);
  bool decide(Group& group);
  bool part(const Group& group);
  bool part_by_truth(const Group& group);
  bool part_by_number(const Group& group);
  bool refuse(const Group& group, std::uint32_t lane, std::int64_t outcome);
  void stay(const Group& group, Share& share);
  void leave(const Group& group, Share& share);
  void finish(const Group& group);
  Lent* borrow(std::int64_t lanes);
  Set set();
  std::vector<std::uint32_t> list();
  void release(Set& set);
  void release(Group& group);

  Workspace home_;
  const Segment* leaf_ = nullptr;  // any: all return the same dtypes and shapes
  /// Of each segment: what a lane costs from there on, roughly, and what copying one costs, in elements computed.
  std::vector<double> work_, copying_;
  std::vector<std::unique_ptr<Lent>> pool_;
  std::vector<Group> waiting_;
  std::vector<Share> shares_;  // of the decision at hand, in the order of the branches
  std::vector<Set> spare_;     // sets and lists that nobody uses
  std::vector<std::vector<std::uint32_t>> spare_lists_;
  bool first_home_ = true;  // no group has come home yet
  std::vector<std::vector<char>> results_;
  Unknown unknown_;
};

}  // namespace dualtape::exec
