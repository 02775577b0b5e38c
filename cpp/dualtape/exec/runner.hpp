// SPDX-License-Identifier: MIT
// Runner: code on a block of lanes, from the root to the results. Where lanes decide differently they part: the larger
// group goes on in place, the others are copied together into workspaces of their own and wait for their turn, so
// that every lane is computed on its own path only. Lanes come home when their path is done.
#pragma once

#include <functional>
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
  /// Lane-runs of segments, and what they would have been without waiting: for statistics.
  std::int64_t segment_lanes() const { return segment_lanes_; }

 private:
  struct Group {
    Workspace* workspace;
    std::uint32_t segment;
    std::vector<std::uint32_t> home;  // lane of the block that lane k of the group is; empty: they are the same
    std::int64_t lanes;
  };
  bool run_tree(std::int64_t lanes);
  bool decide(Group& group);
  void finish(const Group& group);
  Workspace* borrow();

  Workspace home_;
  const Segment* leaf_ = nullptr;  // any: all return the same dtypes and shapes
  std::vector<std::unique_ptr<Workspace>> pool_;
  std::vector<Workspace*> idle_;
  std::vector<Group> waiting_;
  std::vector<std::vector<char>> results_;
  std::vector<std::int64_t> outcomes_;
  Unknown unknown_;
  std::int64_t segment_lanes_ = 0;
};

}  // namespace dualtape::exec
