// SPDX-License-Identifier: MIT
// Powers of two in products. A factor of 2, -4 or 1/2 is exact wherever it stands (but for overflow, and for numbers
// near the smallest ones), so it goes where it costs least: to the factor that is known first, which may be a learning
// rate, the same in all iterations; or into another number. What hangs on the slow factor waits for one product less.
#include <algorithm>
#include <cmath>

#include "dualtape/program/passes.hpp"
#include "dualtape/program/rewrite.hpp"

namespace dualtape::program {
namespace {

using ops::Op;

class Regrouping {
 public:
  explicit Regrouping(Rewrite& rewrite) : rewrite_(rewrite) {}

  NodeId rewrite(const Node& node) {
    const bool product =
        node.kind == NodeKind::elementwise && (node.op == Op::multiply || node.op == Op::strong_multiply);
    if (!product || !array::is_float(node.dtype)) return rewrite_.append(node);
    double scale = 1.0;
    const NodeId a = strip(node.operands[0], node, scale), b = strip(node.operands[1], node, scale);
    const bool apart = a != node.operands[0] || b != node.operands[1];
    if (!apart || !in_range(scale, node.dtype)) return rewrite_.append(node);
    Node out = node;
    out.operands = Operands({a, b});
    if (scale != 1.0) {
      NodeId& early = out.operands[depth(a) <= depth(b) ? 0 : 1];
      early = scaled(early, scale, node);
    }
    return rewrite_.append(out);
  }

 private:
  /// x without a factor that is a power of two, which `scale` is multiplied by.
  NodeId strip(NodeId x, const Node& product, double& scale) {
    while (rewrite_.is_op(x, Op::multiply) && rewrite_.node(x).dtype == product.dtype) {
      const NodeId a = rewrite_.node(x).operands[0], b = rewrite_.node(x).operands[1];
      const bool first = is_power_of_two(a, product);
      if (!first && !is_power_of_two(b, product)) break;
      const NodeId rest = first ? b : a;
      // The number must not have been what gave the product its shape or dtype.
      if (!rewrite_.alike(rest, rewrite_.node(x))) break;
      scale *= *rewrite_.number(first ? a : b);
      x = rest;
    }
    return x;
  }
  bool is_power_of_two(NodeId id, const Node& like) const {
    const std::optional<double> number = rewrite_.number(id);
    int exponent = 0;
    return number && rewrite_.node(id).dtype == like.dtype && std::abs(std::frexp(*number, &exponent)) == 0.5;
  }
  static bool in_range(double scale, DType dtype) {
    return std::abs(std::ilogb(scale)) <= (dtype == DType::f32 ? 24 : 100);
  }
  NodeId scaled(NodeId x, double scale, const Node& like) {
    if (const std::optional<double> number = rewrite_.number(x)) {
      return rewrite_.append_constant(Array::full(like.dtype, rewrite_.out().shape(x), *number * scale), like.line);
    }
    const NodeId factor = rewrite_.append_constant(Array::full(like.dtype, {}, scale), like.line);
    Node product = rewrite_.node(x);
    product.line = like.line;
    return rewrite_.append_op(Op::multiply, {factor, x}, product);
  }

  /// Ops one after another up to here.
  int depth(NodeId id) {
    while (depths_.size() < rewrite_.out().nodes.size()) {
      int most = 0;
      for (const NodeId operand : rewrite_.node(static_cast<NodeId>(depths_.size())).operands) {
        most = std::max(most, depths_[operand] + 1);
      }
      depths_.push_back(most);
    }
    return depths_[id];
  }

  Rewrite& rewrite_;
  std::vector<int> depths_;
};

}  // namespace

Graph regroup(const Graph& graph) {
  Rewrite rewrite(graph);
  Regrouping regrouping(rewrite);
  return rewrite.run([&](const Node& node) { return regrouping.rewrite(node); });
}

}  // namespace dualtape::program
