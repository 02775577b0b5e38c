// SPDX-License-Identifier: MIT
// Fused: code that is called again and again for one lane, with stretches of its instructions as machine code.
//
//   * A stretch on small arrays becomes a straight line of single numbers (expansion.hpp).
//   * A stretch of light elementwise ops on arrays of one size becomes a loop over vectors, which keeps what only the
//     stretch itself reads in registers.
//   * Everything else is interpreted, instruction by instruction.
//
// Bits are those of the interpreter.
#pragma once

#include <memory>
#include <vector>

#include "dualtape/exec/workspace.hpp"
#include "dualtape/machine/kernel.hpp"

namespace dualtape::exec {

class Fused {
 public:
  /// Null where machine code is not wanted, cannot be had or would gain nothing: with decisions, for one. `home` is a
  /// workspace for one lane in which the code has been run once.
  static std::unique_ptr<Fused> make(Workspace& home);

  /// Runs all instructions of the workspace's code.
  void run() const;
  /// How many kernels there are.
  std::size_t kernels() const;

 private:
  struct Step {
    std::unique_ptr<machine::Kernel> kernel;  // null: the instructions first ... last - 1
    machine::Call call;
    std::uint32_t first = 0, last = 0;
  };
  explicit Fused(Workspace& home) : home_(home) {}
  friend class Fuser;

  Workspace& home_;
  std::vector<Step> steps_;
};

}  // namespace dualtape::exec
