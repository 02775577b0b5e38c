// SPDX-License-Identifier: MIT
// Rewrite: the walk that the passes share. It goes through the tree in order and asks a rule what each node becomes;
// the rule answers with a node of the new graph: one that is there (`find` nothing new), or one that it appends.
#pragma once

#include <optional>

#include "dualtape/program/graph.hpp"

namespace dualtape::program {

class Rewrite {
 public:
  explicit Rewrite(const Graph& from);

  const Graph& out() const { return out_; }
  const Node& node(NodeId id) const { return out_.nodes[id]; }

  /// What the nodes of the new graph become, one by one: `rule(node)` gets a node of the old graph whose operands are
  /// places in the new one. `leave(segment)` is called when the walk goes back behind a segment.
  template <class Rule, class Leave>
  Graph run(Rule&& rule, Leave&& leave);
  template <class Rule>
  Graph run(Rule&& rule) {
    return run(rule, [](std::uint32_t) {});
  }

  /// Appends to the segment that the walk is in.
  NodeId append(Node node);
  NodeId append_constant(const Array& value, std::uint32_t line);
  /// Appends an op with the dtype, shape and line of `like`.
  NodeId append_op(ops::Op op, std::initializer_list<NodeId> operands, const Node& like);

  bool is_op(NodeId id, ops::Op op) const { return node(id).kind == NodeKind::elementwise && node(id).op == op; }
  /// The number that a node is a constant of, in every element; nothing for other nodes.
  std::optional<double> number(NodeId id) const;
  /// True where both have the same dtype and shape.
  bool alike(NodeId id, const Node& like) const { return node(id).dtype == like.dtype && node(id).shape == like.shape; }

 private:
  const Graph& from_;
  Graph out_;
  std::uint32_t at_ = 0;
  std::vector<NodeId> ids_;  // of the old graph's nodes in the new one
};

template <class Rule, class Leave>
Graph Rewrite::run(Rule&& rule, Leave&& leave) {
  from_.walk(
      [&](std::uint32_t number) {
        at_ = number;
        const Segment& segment = from_.segments[number];
        for (NodeId id : segment.nodes) {
          Node mapped = from_.nodes[id];
          for (NodeId& operand : mapped.operands) operand = ids_[operand];
          ids_[id] = rule(mapped);
        }
        Segment& to = out_.segments[number];
        if (segment.decision != kNone) to.decision = ids_[segment.decision];
        for (NodeId& result : to.results) result = ids_[result];
      },
      leave);
  return std::move(out_);
}

}  // namespace dualtape::program
