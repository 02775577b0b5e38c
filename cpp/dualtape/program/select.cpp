// SPDX-License-Identifier: MIT
#include "dualtape/program/select.hpp"

#include <algorithm>

namespace dualtape::program {
namespace {

class Selector {
 public:
  explicit Selector(const Graph& graph) : from_(graph), out_(graph), results_(graph.segments.size()) {
    out_.segments.assign(1, Segment());
  }

  std::optional<Graph> run() {
    bool possible = true;
    from_.walk([&](std::uint32_t number) { possible = possible && take(number); },
               [&](std::uint32_t number) { possible = possible && choose(number); });
    if (!possible) return std::nullopt;
    out_.segments[0].results = results_[0];
    return std::move(out_);
  }

 private:
  bool take(std::uint32_t number) {
    for (const NodeId id : from_.segments[number].nodes) {
      const Node& node = from_.nodes[id];
      if (number && node.rule) {
        if (node.rule->has_payload()) return false;
        if (node.rule->name() == "take_along_axis") {
          // On a path that is not taken the places may be any: they give NaN then, and no error.
          Attributes attributes = *node.attributes;
          attributes.flag = true;
          out_.nodes[id].attributes = std::make_shared<const Attributes>(std::move(attributes));
        }
      }
      out_.segments[0].nodes.push_back(id);
    }
    return true;
  }

  bool choose(std::uint32_t number) {
    const Segment& segment = from_.segments[number];
    if (segment.is_leaf()) {
      results_[number] = segment.results;
      return true;
    }
    const std::uint32_t yes = segment.after(1), no = segment.after(0);
    if (segment.decided != Decision::truth || yes == kNone || no == kNone) return false;
    const std::vector<NodeId>&a = results_[yes], &b = results_[no];
    if (a.size() != b.size()) return false;
    const NodeId mask = mask_of(segment.decision);
    for (std::size_t i = 0; i < a.size(); ++i) {
      const Node &x = out_.nodes[a[i]], &y = out_.nodes[b[i]];
      if (x.dtype != y.dtype || x.shape != y.shape) return false;
      results_[number].push_back(a[i] == b[i] ? a[i] : where(mask, a[i], b[i]));
    }
    return true;
  }

  NodeId push(Node node) {
    out_.nodes.push_back(std::move(node));
    out_.segments[0].nodes.push_back(static_cast<NodeId>(out_.nodes.size() - 1));
    return out_.segments[0].nodes.back();
  }
  NodeId elementwise(ops::Op op, std::initializer_list<NodeId> operands, DType dtype, std::uint32_t shape) {
    Node node;
    node.kind = NodeKind::elementwise;
    node.op = op;
    node.dtype = dtype;
    node.shape = shape;
    node.operands = Operands(operands);
    return push(std::move(node));
  }
  NodeId shaped(std::string_view rule, NodeId operand, Attributes attributes, DType dtype, std::uint32_t shape) {
    Node node;
    node.kind = NodeKind::shaped;
    node.rule = tape::find_rule(rule);
    node.attributes = std::make_shared<const Attributes>(std::move(attributes));
    node.dtype = dtype;
    node.shape = shape;
    node.operands = Operands({operand});
    return push(std::move(node));
  }

  /// A decision as a truth without axes.
  NodeId mask_of(NodeId decision) {
    const std::uint32_t scalar = out_.intern_shape({});
    const DType dtype = out_.nodes[decision].dtype;
    if (!out_.shape(decision).empty()) decision = shaped("reshape", decision, {}, dtype, scalar);
    if (dtype == DType::boolean) return decision;
    Node zero;
    zero.kind = NodeKind::constant;
    zero.dtype = dtype;
    zero.shape = scalar;
    zero.which = static_cast<std::uint32_t>(out_.constants.size());
    out_.constants.push_back(Array::full(dtype, {}, 0.0));
    return elementwise(ops::Op::not_equal, {decision, push(std::move(zero))}, DType::boolean, scalar);
  }

  NodeId where(NodeId mask, NodeId a, NodeId b) {
    const DType dtype = out_.nodes[a].dtype;
    const std::uint32_t shape = out_.nodes[a].shape;
    if (array::is_float(dtype)) return elementwise(ops::Op::where, {mask, a, b}, dtype, shape);
    Attributes attributes;
    attributes.dtype = dtype;
    return shaped("cast", elementwise(ops::Op::where, {mask, a, b}, DType::f64, shape), std::move(attributes), dtype,
                  shape);
  }

  const Graph& from_;
  Graph out_;
  std::vector<std::vector<NodeId>> results_;  // of each segment
};

}  // namespace

std::optional<Graph> select_paths(const Graph& graph) { return Selector(graph).run(); }

}  // namespace dualtape::program
