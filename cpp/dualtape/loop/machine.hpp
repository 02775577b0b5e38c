// SPDX-License-Identifier: MIT
// The step of a loop as machine code, where it can be: many iterations are one call, with the states in registers.
//
//   * MachineStep belongs to a plan: the compiled kernels, shared by all workers.
//   * MachineRun belongs to a worker: the memory that a call needs beside the worker's workspace, and what came out.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "dualtape/exec/loop_body.hpp"
#include "dualtape/exec/runner.hpp"
#include "dualtape/loop/sweep.hpp"
#include "dualtape/machine/kernel.hpp"

namespace dualtape::loop {

class MachineStep {
 public:
  /// Null where the step has to be interpreted. `scalar`: for a single lane.
  static std::unique_ptr<MachineStep> make(const exec::Code& code, const exec::LoopLayout& layout);

  /// Kernels whose results count only if nothing became infinite or NaN: for an iteration without what only values
  /// need (null where that is all there is), and for a whole one (null where a constant is not finite).
  const machine::Kernel* head() const { return head_.get(); }
  const machine::Kernel* finite() const { return finite_.get(); }
  /// The kernel that watches; made when it is needed first. Null where that fails.
  const machine::Kernel* watching() const;
  int width() const { return width_; }
  /// Whether lanes may stop before the others, and whether the last record tells of decisions without a path.
  bool stops() const { return body_.until != machine::kNoLine; }
  bool branches() const { return branches_; }
  const exec::LoopLayout& layout() const { return layout_; }
  std::int64_t item() const { return item_; }
  std::size_t records() const { return records_; }
  std::size_t lines() const { return lines_; }

 private:
  exec::LoopLayout layout_;
  std::unique_ptr<machine::Kernel> head_, finite_;
  machine::Body body_;  // of the kernel that watches
  mutable std::once_flag once_;
  mutable std::unique_ptr<machine::Kernel> watching_;
  int width_ = 1;
  bool branches_ = false;
  std::int64_t item_ = 8;
  std::size_t records_ = 0, lines_ = 0;
};

class MachineRun {
 public:
  MachineRun(const MachineStep& step, exec::Workspace& home);

  /// The most iterations that one call should do: long enough to pay for the call, short enough to be interrupted.
  std::int64_t most(std::int64_t lanes) const;
  /// Rows of records that are kept at most.
  std::int64_t most_rows() const { return most_rows_; }
  /// Whether the fast kernels may be used: not after they have failed a few times without a lane that broke.
  bool trusting() const { return step_.finite() && disappointments_ < 3; }
  void disappoint() { ++disappointments_; }
  /// Runs `iterations` iterations of lanes 0 ... lanes - 1, or fewer where a lane is done. `tables`: where each begins,
  /// at the first iteration, or for iterations of their own at iteration 1. `keep_rows`: the records of all
  /// iterations, rather than those of the last one. `trust`: with the fast kernels. False where these found that
  /// something is not finite: then nothing counts.
  bool run(std::int64_t lanes, std::int64_t iterations, std::span<const char* const> tables,
           std::span<const std::int64_t> iterations_done, bool keep_rows, bool trust);
  /// Whether a lane has come to a decision that no path has: then nothing counts.
  bool missing(std::int64_t lanes) const;
  /// Iterations of a lane in the last call.
  std::int64_t done(std::int64_t lane) const;
  /// Record `which` of a row (-1: the last one) of a lane.
  const char* record(std::size_t which, std::int64_t row, std::int64_t lane) const;

 private:
  void fill_vectors(std::int64_t lanes);

  const MachineStep& step_;
  exec::Workspace& home_;
  std::int64_t row_bytes_, most_rows_, iterations_ = 0;
  bool rows_kept_ = false;
  int disappointments_ = 0;
  std::vector<char> records_, own_, active_, done_;
  std::int64_t active_lanes_ = -1;
};

}  // namespace dualtape::loop
