// SPDX-License-Identifier: MIT
// The shaped ops that are not linear. Their derivatives are written with other ops, so they can be differentiated.
#include "dualtape/array/matmul.hpp"
#include "dualtape/array/reduce.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/shaped.hpp"

namespace dualtape::tape {
namespace {

using ops::Op;
using Operands = std::span<const Array* const>;

Var operator*(const Var& a, const Var& b) { return apply(Op::multiply, {a, b}); }
Var operator-(const Var& a, const Var& b) { return apply(Op::subtract, {a, b}); }
Var exp(const Var& x) { return apply(Op::exp, {x}); }

/// max and min. The extreme elements share the derivative evenly; which they are is constant almost everywhere.
struct ExtremeRule final : ShapedRule {
  explicit ExtremeRule(bool greatest) : greatest_(greatest) {}
  std::string_view name() const override { return greatest_ ? "max" : "min"; }
  bool linear() const override { return false; }
  Array forward(Operands in, const Attributes& a) const override {
    return greatest_ ? array::max(*in[0], a.dims, a.flag) : array::min(*in[0], a.dims, a.flag);
  }
  static Var shares(const Call& call) {
    const Var x = call.operands[0].constant();
    const Var extreme = reshape(call.out.constant(), reduced_shape(x.shape(), call.attributes.dims, true));
    const Var hits = cast(apply(Op::equal, {x, extreme}), x.dtype());
    return apply(Op::true_divide, {hits, sum(hits, call.attributes.dims, true)});
  }
  Var vjp(const Call& call, int, const Var& ct) const override {
    return reshape(ct, reduced_shape(call.shapes[0], call.attributes.dims, true)) * shares(call);
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    return sum(*tangents[0] * shares(call), call.attributes.dims, call.attributes.flag);
  }

 private:
  bool greatest_;
};

struct LogsumexpRule final : ShapedRule {
  std::string_view name() const override { return "logsumexp"; }
  bool linear() const override { return false; }
  Array forward(Operands in, const Attributes& a) const override { return array::logsumexp(*in[0], a.axis, a.flag); }
  Var vjp(const Call& call, int, const Var& ct) const override {
    const Dims kept = reduced_shape(call.shapes[0], Dims{call.attributes.axis}, true);
    return reshape(ct, kept) * softmax(call.operands[0], call.attributes.axis);
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    const Attributes& a = call.attributes;
    return sum(softmax(call.operands[0], a.axis) * *tangents[0], Dims{a.axis}, a.flag);
  }
};

struct SoftmaxRule final : ShapedRule {
  std::string_view name() const override { return "softmax"; }
  bool linear() const override { return false; }
  Array forward(Operands in, const Attributes& a) const override { return array::softmax(*in[0], a.axis); }
  // The Jacobian diag(y) - y y' is symmetric, so tangents and cotangents take the same way.
  static Var times_jacobian(const Call& call, const Var& v) {
    return call.out * (v - sum(v * call.out, Dims{call.attributes.axis}, true));
  }
  Var vjp(const Call& call, int, const Var& ct) const override { return times_jacobian(call, ct); }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    return times_jacobian(call, *tangents[0]);
  }
};

struct LogSoftmaxRule final : ShapedRule {
  std::string_view name() const override { return "log_softmax"; }
  bool linear() const override { return false; }
  Array forward(Operands in, const Attributes& a) const override { return array::log_softmax(*in[0], a.axis); }
  Var vjp(const Call& call, int, const Var& ct) const override {
    return ct - exp(call.out) * sum(ct, Dims{call.attributes.axis}, true);
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    const Var& t = *tangents[0];
    return t - sum(exp(call.out) * t, Dims{call.attributes.axis}, true);
  }
};

struct MatmulRule final : ShapedRule {
  std::string_view name() const override { return "matmul"; }
  bool linear() const override { return false; }
  void check(Operands in, const Attributes&) const override { check_count(*this, in.size(), 2); }
  Array forward(Operands in, const Attributes&) const override { return array::matmul(*in[0], *in[1]); }
  /// `flag`: the last axis of everything is one of lanes.
  Attributes over_lanes(const Attributes& attributes, std::span<const Dims>, std::int64_t) const override {
    Attributes out = attributes;
    out.flag = true;
    return out;
  }
  void forward_into(Array& out, Operands in, const Attributes& attributes) const override {
    attributes.flag ? array::matmul_lanes_into(out, *in[0], *in[1]) : array::matmul_into(out, *in[0], *in[1]);
  }
  Var vjp(const Call& call, int i, const Var& ct) const override {
    const Var& a = call.operands[0];
    const Var& b = call.operands[1];
    return i == 0 ? matmul(ct, swap_last(b)) : matmul(swap_last(a), ct);
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    const Var& a = call.operands[0];
    const Var& b = call.operands[1];
    if (!tangents[0]) return matmul(a, *tangents[1]);
    if (!tangents[1]) return matmul(*tangents[0], b);
    return add(matmul(*tangents[0], b), matmul(a, *tangents[1]));
  }
};

Attributes along(std::int64_t axis, bool keepdims = false) {
  Attributes attributes;
  attributes.axis = axis;
  attributes.flag = keepdims;
  return attributes;
}

Attributes over(Axes axes, bool keepdims) {
  Attributes attributes;
  attributes.dims = Dims(axes);
  attributes.flag = keepdims;
  return attributes;
}

}  // namespace

namespace {
template <class Rule>
const Rule& the() {
  static const Rule rule;
  return rule;
}
const ExtremeRule& extreme(bool greatest) {
  static const ExtremeRule most(true), least(false);
  return greatest ? most : least;
}
const RegisterRule registered[] = {
    RegisterRule(extreme(true)),      RegisterRule(extreme(false)),        RegisterRule(the<LogsumexpRule>()),
    RegisterRule(the<SoftmaxRule>()), RegisterRule(the<LogSoftmaxRule>()), RegisterRule(the<MatmulRule>()),
};
}  // namespace

Var max(const Var& x, Axes axes, bool keepdims) { return apply(extreme(true), std::span(&x, 1), over(axes, keepdims)); }
Var min(const Var& x, Axes axes, bool keepdims) {
  return apply(extreme(false), std::span(&x, 1), over(axes, keepdims));
}
Var logsumexp(const Var& x, std::int64_t axis, bool keepdims) {
  return apply(the<LogsumexpRule>(), std::span(&x, 1), along(axis, keepdims));
}
Var softmax(const Var& x, std::int64_t axis) { return apply(the<SoftmaxRule>(), std::span(&x, 1), along(axis)); }
Var log_softmax(const Var& x, std::int64_t axis) { return apply(the<LogSoftmaxRule>(), std::span(&x, 1), along(axis)); }

Var matmul(const Var& a, const Var& b) {
  const MatmulRule& rule = the<MatmulRule>();
  if (a.ndim() == 0 || b.ndim() == 0) {
    throw ShapeError("matmul(" + to_string(a.shape()) + ", " + to_string(b.shape()) +
                     "): a scalar is no matrix; use * to multiply by a scalar.");
  }
  const std::int64_t inner_a = a.shape().back();
  const std::int64_t inner_b = b.shape()[static_cast<std::size_t>(b.ndim() >= 2 ? b.ndim() - 2 : 0)];
  if (inner_a != inner_b) {
    throw ShapeError("matmul(" + to_string(a.shape()) + ", " + to_string(b.shape()) + "): the inner extents differ, " +
                     std::to_string(inner_a) + " and " + std::to_string(inner_b) +
                     "; the last axis of the first must match the last but one of the second.");
  }
  if (a.ndim() >= 2 && b.ndim() >= 2) {
    const Var operands[] = {a, b};
    return apply(rule, operands);
  }
  // A vector is a matrix with an axis of extent 1, which the result loses again.
  const Var left = a.ndim() == 1 ? reshape(a, Dims{1, a.size()}) : a;
  const Var right = b.ndim() == 1 ? reshape(b, Dims{b.size(), 1}) : b;
  const Var operands[] = {left, right};
  const Var out = apply(rule, operands);
  Dims shape(out.shape());
  if (b.ndim() == 1) shape.erase(shape.size() - 1);
  if (a.ndim() == 1) shape.erase(shape.size() - (b.ndim() == 1 ? 1 : 2));
  return reshape(out, shape);
}

}  // namespace dualtape::tape
