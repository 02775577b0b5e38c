// SPDX-License-Identifier: MIT
#include "dualtape/program/rewrite.hpp"

namespace dualtape::program {

Rewrite::Rewrite(const Graph& from) : from_(from), ids_(from.nodes.size(), kNone) {
  out_.lines = from.lines;
  out_.shapes = from.shapes;
  out_.nodes.reserve(from.nodes.size());
  out_.constants = from.constants;
  for (const Input& input : from.inputs) {
    ids_[input.node] = static_cast<NodeId>(out_.nodes.size());
    out_.inputs.push_back({input.name, ids_[input.node]});
    out_.nodes.push_back(from.nodes[input.node]);
  }
  // Segments keep their numbers; decisions and results are translated when the walk comes by.
  out_.segments = from.segments;
  for (Segment& segment : out_.segments) segment.nodes.clear();
}

NodeId Rewrite::append(Node node) {
  out_.nodes.push_back(std::move(node));
  const NodeId id = static_cast<NodeId>(out_.nodes.size() - 1);
  out_.segments[at_].nodes.push_back(id);
  return id;
}

NodeId Rewrite::append_constant(const Array& value, std::uint32_t line) {
  Node node;
  node.kind = NodeKind::constant;
  node.dtype = value.dtype();
  node.shape = out_.intern_shape(Dims(value.shape()));
  node.line = line;
  node.which = static_cast<std::uint32_t>(out_.constants.size());
  out_.constants.push_back(value);
  return append(std::move(node));
}

NodeId Rewrite::append_op(ops::Op op, std::initializer_list<NodeId> operands, const Node& like) {
  Node node;
  node.kind = NodeKind::elementwise;
  node.op = op;
  node.dtype = like.dtype;
  node.shape = like.shape;
  node.line = like.line;
  node.weak = like.weak;
  node.operands = Operands(operands);
  return append(std::move(node));
}

std::optional<double> Rewrite::number(NodeId id) const {
  if (node(id).kind != NodeKind::constant) return std::nullopt;
  const Array& value = out_.constant(id);
  if (value.size() != 1) return std::nullopt;
  return value.item();
}

}  // namespace dualtape::program
