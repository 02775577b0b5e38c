// SPDX-License-Identifier: MIT
// The code of a loop's step as a body for machine code.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dualtape/exec/code.hpp"
#include "dualtape/machine/body.hpp"

namespace dualtape::exec {

/// What code does not say about the loop that it is the step of.
struct LoopLayout {
  std::int64_t capacity = 1;        // of the workspaces in which it runs
  std::size_t states = 0;           // the first inputs, and the first results
  std::size_t watches = 0;          // those of them, the last ones, that watch the others
  bool until = false;               // the last result says whether a lane is done
  bool own_iterations = false;      // tables are read at the lanes' own iterations
  std::vector<std::int64_t> table;  // of each input: the number of its table, or -1
};

struct LoopPart {
  bool values = true;   // record the results behind the states one after another, each for all lanes of the workspace
  bool finite = false;  // leave the watches out: the results count only if nothing became infinite or NaN
};

/// One iteration of the step, with all its paths: each vector of lanes goes through those that some lane takes. Where a
/// lane comes to a decision that no path has, the number in the last record says so, and the lane is done.
/// Nothing where the step is more than a few numbers per lane: then it is interpreted.
std::optional<machine::Body> loop_body(const Code& code, const LoopLayout& layout, const LoopPart& part);

}  // namespace dualtape::exec
