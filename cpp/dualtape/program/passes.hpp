// SPDX-License-Identifier: MIT
// Passes: each makes a new graph from a graph. What a pass does to a node depends on the nodes before it on its path,
// never on what comes after or on other paths: so a path has the same bits whenever, and beside whatever, it was
// recorded. (`dead` looks ahead, but takes away only what nobody reads.)
#pragma once

#include "dualtape/program/graph.hpp"

namespace dualtape::program {

/// Ops on constants become constants.
Graph fold(const Graph& graph);
/// Rules of algebra that keep every bit: x * 1, x - 0, a + -b, x / 2, -(-x), integer powers as products, a strong
/// product with a constant, and the like. (What may change is the sign of a NaN.)
Graph simplify(const Graph& graph);
/// One node for what is computed twice on a path.
Graph share(const Graph& graph);
/// Factors that are powers of two, in products and common to summands, to where they cost least. (What may change is
/// what is near overflow or underflow, and the sign of a sum that is 0.)
Graph regroup(const Graph& graph);
/// a * b + c, a * b - c and c - a * b in one rounding instead of two.
Graph contract(const Graph& graph);
/// Without the nodes that lead to no result and no decision.
Graph dead(const Graph& graph);

/// All of them, in order; `contraction` false leaves out `regroup` and `contract`.
Graph optimize(const Graph& graph, bool contraction);

}  // namespace dualtape::program
