// SPDX-License-Identifier: MIT
// Lowering: from a graph to the code that an executor runs.
//
// A function that is called is one piece of code. The step of a loop is four, by how often something changes: what
// depends on nothing is computed `once`, what depends on a run's hyperparameters once for each `lane`, what depends on
// the iteration alone once for each `iteration` (schedules, Adam's corrections: as a table, the iterations as its
// lanes), and only the rest in each `step` of each lane.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "dualtape/exec/code.hpp"
#include "dualtape/program/graph.hpp"

namespace dualtape::program {

enum class Level : std::uint8_t {
  once,
  lane,       // differs between lanes
  iteration,  // differs between iterations, the same for all lanes
  step,       // both
  batch,      // an input that is filled anew in each iteration, the same for all lanes
};

/// A piece of code, with the nodes that its inputs and results are.
struct Part {
  std::shared_ptr<const exec::Code> code;
  std::vector<NodeId> inputs;
  std::vector<NodeId> results;
};

/// The whole graph; every input varies by lane.
Part lower(const Graph& graph);

struct Stages {
  Part once, lane, iteration, step;
  std::vector<Level> levels;  // of the inputs of `step`
};

/// A step, whose first `states` inputs are the state that its first results replace. `levels` says of each input how
/// often it changes (that of a state is step). `asynchronous`: lanes are at iterations of their own, so that what
/// depends on the iteration differs between lanes too. The `values` results behind the states are wanted only now and
/// then.
Stages lower_step(const Graph& graph, std::span<const Level> levels, std::size_t states, std::size_t values,
                  bool asynchronous);

/// The graph with a watch on its first `states` results: for each dtype and shape among the floating ones a further
/// state, which starts as zeros and becomes NaN once one of these results is not finite, and stays so. The new states
/// stand behind the `states`; their number is returned through `added`.
Graph watch_finite(const Graph& graph, std::size_t states, std::size_t& added);

}  // namespace dualtape::program
