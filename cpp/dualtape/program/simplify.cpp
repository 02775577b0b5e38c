// SPDX-License-Identifier: MIT
// The rules of algebra that keep every bit of every finite and infinite result. Each line says what becomes of one
// op; a rule may use the rules for what it appends.
#include <cmath>

#include "dualtape/program/passes.hpp"
#include "dualtape/program/rewrite.hpp"

namespace dualtape::program {
namespace {

using ops::Op;

class Algebra {
 public:
  explicit Algebra(Rewrite& rewrite) : rewrite_(rewrite) {}

  NodeId rewrite(const Node& node) {
    if (node.kind == NodeKind::shaped) return shaped(node);
    if (node.kind != NodeKind::elementwise) return rewrite_.append(node);
    const NodeId done = elementwise(node);
    return done == kNone ? rewrite_.append(node) : done;
  }

 private:
  NodeId op(Op code, std::initializer_list<NodeId> operands, const Node& like) {
    Node node = like;
    node.kind = NodeKind::elementwise;
    node.op = code;
    node.operands = Operands(operands);
    return rewrite(node);
  }
  /// A constant of the dtype of `like`, and of its shape where that is a constant too.
  NodeId number(double value, const Node& like) {
    const Dims& shape = rewrite_.out().shapes[like.kind == NodeKind::constant ? like.shape : 0];
    return rewrite_.append_constant(
        Array::full(like.dtype, like.kind == NodeKind::constant ? Shape(shape) : Shape(), value), like.line);
  }
  /// What x is the negative of, or kNone.
  NodeId negated(NodeId x) const { return rewrite_.is_op(x, Op::negative) ? rewrite_.node(x).operands[0] : kNone; }
  /// x itself may stand for the node: same dtype and shape.
  NodeId itself(NodeId x, const Node& node) const { return rewrite_.alike(x, node) ? x : kNone; }

  NodeId elementwise(const Node& node) {
    if (!array::is_float(node.dtype)) return kNone;
    const NodeId a = node.operands[0], b = node.operands.size() > 1 ? node.operands[1] : kNone;
    const auto one_of = [&](double value, NodeId x) { return x != kNone && rewrite_.number(x) == value; };
    const auto minus_zero = [&](NodeId x) { return one_of(0.0, x) && std::signbit(*rewrite_.number(x)); };
    const auto plus_zero = [&](NodeId x) { return one_of(0.0, x) && !std::signbit(*rewrite_.number(x)); };
    switch (node.op) {
      case Op::positive:
        return itself(a, node);
      case Op::negative:
        return negative(node, a);
      case Op::add:
        if (minus_zero(b)) return itself(a, node);
        if (minus_zero(a)) return itself(b, node);
        if (negated(b) != kNone) return op(Op::subtract, {a, negated(b)}, node);
        if (negated(a) != kNone) return op(Op::subtract, {b, negated(a)}, node);
        return kNone;
      case Op::subtract:
        if (plus_zero(b)) return itself(a, node);
        if (negated(b) != kNone) return op(Op::add, {a, negated(b)}, node);
        return kNone;
      case Op::strong_multiply:
        return strong(node, a, b);
      case Op::multiply:
        return product(node, a, b);
      case Op::true_divide:
        return quotient(node, a, b);
      case Op::integer_power:
        return power(node, a, b);
      default:
        return kNone;
    }
  }

  NodeId product(const Node& node, NodeId a, NodeId b) {
    for (const auto& [x, c] : {std::pair(a, b), std::pair(b, a)}) {
      const std::optional<double> factor = rewrite_.number(c);
      if (factor == 1.0) return itself(x, node);
      if (factor == -1.0 && rewrite_.alike(x, node)) return op(Op::negative, {x}, node);
    }
    // A sign outside of a product can be taken into a sum.
    if (negated(a) != kNone && negated(b) != kNone) return op(Op::multiply, {negated(a), negated(b)}, node);
    if (negated(a) != kNone) return op(Op::negative, {op(Op::multiply, {negated(a), b}, node)}, node);
    if (negated(b) != kNone) return op(Op::negative, {op(Op::multiply, {a, negated(b)}, node)}, node);
    return kNone;
  }

  /// With a finite factor other than zero, a strong product is a product.
  NodeId strong(const Node& node, NodeId a, NodeId b) {
    for (const auto& c : {a, b}) {
      const std::optional<double> factor = rewrite_.number(c);
      if (factor && std::isfinite(*factor) && *factor != 0.0) return op(Op::multiply, {a, b}, node);
    }
    return kNone;
  }

  NodeId negative(const Node& node, NodeId x) {
    if (negated(x) != kNone) return itself(negated(x), node);
    // The sign of a product with a number goes into the number.
    if (!rewrite_.is_op(x, Op::multiply) || !rewrite_.alike(x, node)) return kNone;
    const NodeId a = rewrite_.node(x).operands[0], b = rewrite_.node(x).operands[1];
    if (rewrite_.number(a)) return op(Op::multiply, {number(-*rewrite_.number(a), rewrite_.node(a)), b}, node);
    if (rewrite_.number(b)) return op(Op::multiply, {a, number(-*rewrite_.number(b), rewrite_.node(b))}, node);
    return kNone;
  }

  NodeId quotient(const Node& node, NodeId a, NodeId b) {
    const std::optional<double> divisor = rewrite_.number(b);
    if (!divisor) return kNone;
    if (divisor == 1.0) return itself(a, node);
    // Division by a power of two is multiplication by its reciprocal, which is exact where it is no subnormal.
    int exponent = 0;
    const double fraction = std::frexp(std::abs(*divisor), &exponent);
    const int most = node.dtype == DType::f32 ? 125 : 1000;
    if (fraction != 0.5 || std::abs(exponent) > most || rewrite_.node(b).dtype != node.dtype) return kNone;
    return op(Op::multiply, {a, number(1.0 / *divisor, node)}, node);
  }

  /// The products that ops::repeated_product makes, in the same order.
  NodeId power(const Node& node, NodeId x, NodeId exponent) {
    const std::optional<double> n = rewrite_.number(exponent);
    if (!n || *n != std::trunc(*n) || std::abs(*n) < 2 || std::abs(*n) > 32 || !rewrite_.alike(x, node)) return kNone;
    NodeId product = kNone, square = x;
    for (unsigned bits = static_cast<unsigned>(std::abs(*n)); bits; bits >>= 1) {
      if (bits & 1) product = product == kNone ? square : op(Op::multiply, {product, square}, node);
      if (bits > 1) square = op(Op::square, {square}, node);
    }
    return *n < 0 ? op(Op::true_divide, {number(1.0, node), product}, node) : product;
  }

  NodeId shaped(const Node& node) {
    // A view of the same shape, as broadcasting and its transpose often leave behind.
    const std::string_view name = node.rule->name();
    const bool same = node.operands.size() == 1 && rewrite_.alike(node.operands[0], node);
    if (same && (name == "reshape" || name == "broadcast_to" || name == "sum_to_shape" || name == "cast")) {
      return node.operands[0];
    }
    return rewrite_.append(node);
  }

  Rewrite& rewrite_;
};

}  // namespace

Graph simplify(const Graph& graph) {
  Rewrite rewrite(graph);
  Algebra algebra(rewrite);
  return rewrite.run([&](const Node& node) { return algebra.rewrite(node); });
}

}  // namespace dualtape::program
