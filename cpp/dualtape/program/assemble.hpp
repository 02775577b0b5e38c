// SPDX-License-Identifier: MIT
// Assembling: the instructions of a selection of a graph's nodes, and the storage of their values.
#pragma once

#include <vector>

#include "dualtape/program/lower.hpp"

namespace dualtape::program {

/// The part of a graph that one piece of code computes.
struct Selection {
  std::vector<bool> included;   // nodes to compute
  std::vector<NodeId> inputs;   // nodes whose values are given
  std::vector<bool> varying;    // for each of them: one value per lane?
  std::vector<NodeId> results;  // where `tree` is false
  bool tree = false;            // with the decisions, and the results of the graph's leaves
  std::size_t states = 0;       // so many first results replace as many first inputs,
  std::size_t values = 0;       // and so many behind them are wanted only now and then
};

Part assemble(const Graph& graph, const Selection& selection);

}  // namespace dualtape::program
