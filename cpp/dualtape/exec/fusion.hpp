// SPDX-License-Identifier: MIT
// Fusion: stretches of instructions as kernels of machine code. What a stretch computes stays in registers; only what
// is read elsewhere goes to memory. The bits are those of the interpreter. There are two kinds:
//
//   * For one lane, instructions on small arrays become a straight line of single numbers (expansion.hpp).
//   * Elementwise instructions on arrays of one shape become a loop over vectors of elements.
//
// Such a loop runs over rows. With several lanes a row is the lanes of one element; with one lane it is a piece of the
// array over which every operand either advances with the result or stays (a row of a matrix, when a vector is added to
// each). Start reading at `Fusion::of`.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dualtape/exec/code.hpp"
#include "dualtape/machine/kernel.hpp"

namespace dualtape::exec {

class Workspace;

/// Where a kernel finds an operand: bytes from the beginning of the varying memory of a workspace, or the shared one.
struct Place {
  bool varying = true;
  std::int64_t offset = 0;
};

struct Stretch {
  std::uint32_t segment = 0, first = 0, last = 0;  // instructions first ... last - 1
  /// For whole vectors of a row, and for what is left of it. Single numbers have the second alone.
  std::unique_ptr<machine::Kernel> vectors, rest;
  bool numbers = false;  // one number per lane: only lanes in use are computed
  std::int64_t rows = 1, row_bytes = 0;
  std::vector<Place> places;      // the same for all rows
  std::vector<Place> row_places;  // of the first row, then of the second, ...
  /// What a workspace holds once and for all: bytes from the beginning of its varying memory, and the number there.
  std::vector<std::pair<std::int64_t, double>> constants;
  bool single = false;  // they are float32
};

class Fusion {
 public:
  /// The stretches of a workspace's code that are worth it, as kernels for it and for every other one of the same code
  /// and capacity. Null where there are none, or no machine code.
  /// `fewest`: numbers that a stretch must compute.
  static std::shared_ptr<const Fusion> of(const Workspace& workspace, std::int64_t fewest = 16);
  /// How many runs of the code it takes until its kernels have paid for their making.
  static std::int64_t pays_from(const Workspace& workspace);

  const std::vector<Stretch>& stretches() const { return stretches_; }
  /// Instructions that are in one of them.
  std::int64_t covered() const;
  machine::Listing kernels() const;

 private:
  std::vector<Stretch> stretches_;
};

}  // namespace dualtape::exec
