// SPDX-License-Identifier: MIT
// Powers of two in products. A factor of 2, -4 or 1/2 is exact wherever it stands (but for overflow, and for numbers
// near the smallest ones), so it goes where it costs least: to the factor that is known first, which may be a learning
// rate, the same in all iterations; or into another number. What hangs on the slow factor waits for one product less.
// A factor that both summands have is taken out of the sum, to go on into a product of which the sum is a factor.
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
    if (node.kind != NodeKind::elementwise || !array::is_float(node.dtype)) return rewrite_.append(node);
    if (node.op == Op::add || node.op == Op::subtract) return sum(node);
    if (!is_product(node)) return rewrite_.append(node);
    double scale = 1.0;
    const NodeId a = strip(node.operands[0], node, scale), b = strip(node.operands[1], node, scale);
    const bool apart = a != node.operands[0] || b != node.operands[1];
    if (!apart || !in_range(scale, node.dtype)) return rewrite_.append(node);
    return product(node, a, b, scale);
  }

 private:
  static bool is_product(const Node& node) {
    return node.kind == NodeKind::elementwise && (node.op == Op::multiply || node.op == Op::strong_multiply);
  }
  /// scale * a * b.
  NodeId product(Node like, NodeId a, NodeId b, double scale) {
    like.operands = Operands({a, b});
    if (scale != 1.0) {
      NodeId& early = like.operands[depth(a) <= depth(b) ? 0 : 1];
      early = scaled(early, scale, like);
    }
    return rewrite_.append(like);
  }

  /// A value as a power of two times a number, or times a product.
  struct Term {
    double scale = 1.0;
    bool is_product = false;
    Node product;         // of
    NodeId a = 0, b = 0;  // or else
  };
  std::optional<Term> term(NodeId x, const Node& sum) {
    const Node node = rewrite_.node(x);
    Term out;
    if (node.dtype != sum.dtype) return std::nullopt;
    out.a = strip(x, sum, out.scale);
    if (out.a != x) return out;
    if (!is_product(node)) return std::nullopt;
    out.is_product = true;
    out.product = node;
    out.a = strip(node.operands[0], node, out.scale);
    out.b = strip(node.operands[1], node, out.scale);
    if (out.a == node.operands[0] && out.b == node.operands[1]) return std::nullopt;
    return out;
  }
  NodeId value(const Term& term, double scale, const Node& like) {
    if (term.is_product) return product(term.product, term.a, term.b, scale);
    return scale == 1.0 ? term.a : scaled(term.a, scale, like);
  }

  NodeId sum(const Node& node) {
    const std::optional<Term> a = term(node.operands[0], node), b = term(node.operands[1], node);
    if (!a || !b || !in_range(a->scale, node.dtype) || !in_range(b->scale, node.dtype)) return rewrite_.append(node);
    // The factor of a number, so that nothing is left of it, rather than that of a product.
    const double by_b = node.op == Op::add ? b->scale : -b->scale, common = a->is_product ? by_b : a->scale;
    const double of_a = a->scale / common, of_b = by_b / common;
    Node out = node;
    if (of_a == -1.0) {
      out.op = Op::subtract;
      out.operands = Operands({value(*b, of_b, node), value(*a, 1.0, node)});
    } else if (of_b == -1.0) {
      out.op = Op::subtract;
      out.operands = Operands({value(*a, of_a, node), value(*b, 1.0, node)});
    } else {
      out.op = Op::add;
      out.operands = Operands({value(*a, of_a, node), value(*b, of_b, node)});
    }
    return scaled(rewrite_.append(out), common, node);
  }

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
