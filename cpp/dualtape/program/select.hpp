// SPDX-License-Identifier: MIT
// Programs without decisions: all paths are computed, and each result is chosen among theirs by `where`. For bodies of
// rolled loops, whose lanes and steps decide differently all the time, and whose paths are short.
#pragma once

#include <optional>

#include "dualtape/program/graph.hpp"

namespace dualtape::program {

/// The same function in one segment. Both outcomes of each decision must be there. Nothing where that cannot be done:
/// for decisions on integers, results that differ in dtype or shape, and loops behind a decision, which might never
/// end where they are not meant to begin.
std::optional<Graph> select_paths(const Graph& graph);

}  // namespace dualtape::program
