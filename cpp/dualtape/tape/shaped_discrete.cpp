// SPDX-License-Identifier: MIT
// Shaped ops whose results are positions or truths: constant almost everywhere, so they have no derivatives. They are
// rules all the same, because a program must compute them anew on every replay.
#include "dualtape/array/reduce.hpp"
#include "dualtape/array/sort.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/shaped.hpp"

namespace dualtape::tape {
namespace {

using Operands = std::span<const Array* const>;

struct DiscreteRule : ShapedRule {
  explicit DiscreteRule(std::string_view name) : name_(name) {}
  std::string_view name() const override { return name_; }
  // A result that is no float is never recorded on a tape, so nobody asks.
  Var vjp(const Call&, int, const Var&) const override { throw TapeError(std::string(name_) + ": no derivative."); }

 private:
  std::string_view name_;
};

using Find = Array (*)(const Array&, std::optional<std::int64_t>, bool);
struct PositionRule final : DiscreteRule {
  PositionRule(std::string_view name, Find find) : DiscreteRule(name), find_(find) {}
  Array forward(Operands in, const Attributes& a) const override { return find_(*in[0], a.axis, a.flag); }

 private:
  Find find_;
};

using Test = Array (*)(const Array&, array::Axes, bool);
struct TruthRule final : DiscreteRule {
  TruthRule(std::string_view name, Test test) : DiscreteRule(name), test_(test) {}
  Array forward(Operands in, const Attributes& a) const override { return test_(*in[0], a.dims, a.flag); }

 private:
  Test test_;
};

struct ArgsortRule final : DiscreteRule {
  ArgsortRule() : DiscreteRule("argsort") {}
  Array forward(Operands in, const Attributes& a) const override { return array::argsort(*in[0], a.axis); }
};

const ArgsortRule argsort_rule;
const PositionRule argmax_rule("argmax", array::argmax), argmin_rule("argmin", array::argmin);
const TruthRule any_rule("any", array::any), all_rule("all", array::all);
const RegisterRule registered[] = {RegisterRule(argmax_rule), RegisterRule(argmin_rule), RegisterRule(any_rule),
                                   RegisterRule(all_rule), RegisterRule(argsort_rule)};

Var position(const PositionRule& rule, const Var& x, std::optional<std::int64_t> axis, bool keepdims) {
  Attributes attributes;
  attributes.axis = axis.value_or(0);
  attributes.flag = keepdims && axis;
  const Var in = (axis ? x : reshape(x, Dims{x.size()})).constant();
  Var out = apply(rule, std::span(&in, 1), std::move(attributes));
  return keepdims && !axis ? reshape(out, Dims::filled(x.ndim(), 1)) : out;
}

Var truth(const TruthRule& rule, const Var& x, Axes axes, bool keepdims) {
  Attributes attributes;
  attributes.dims = Dims(axes);
  attributes.flag = keepdims;
  const Var in = x.constant();
  return apply(rule, std::span(&in, 1), std::move(attributes));
}

}  // namespace

Var argmax(const Var& x, std::optional<std::int64_t> axis, bool keepdims) {
  return position(argmax_rule, x, axis, keepdims);
}
Var argmin(const Var& x, std::optional<std::int64_t> axis, bool keepdims) {
  return position(argmin_rule, x, axis, keepdims);
}
Var argsort(const Var& x, std::int64_t axis) {
  Attributes attributes;
  attributes.axis = axis;
  const Var in = x.constant();
  return apply(argsort_rule, std::span(&in, 1), std::move(attributes));
}
Var any(const Var& x, Axes axes, bool keepdims) { return truth(any_rule, x, axes, keepdims); }
Var all(const Var& x, Axes axes, bool keepdims) { return truth(all_rule, x, axes, keepdims); }

}  // namespace dualtape::tape
