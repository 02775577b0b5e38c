// SPDX-License-Identifier: MIT
// Dual<U, N>: a value with N tangents over numbers of type U, the number type of forward mode. It is the whole
// table lifted by one template, `lift`; there is no rule here. U may itself be a Dual, for higher orders.
//
// Comparisons look at primals only. A tangent or a slope that is zero contributes exactly zero, also beside infinity.
#pragma once

#include <array>
#include <type_traits>
#include <utility>

#include "dualtape/ops/rules.hpp"

namespace dualtape::dual {

using ops::largest;
using ops::select;
using ops::strong_multiply;

template <class U, int N = 1>
struct Dual {
  /// What a comparison of primals gives.
  using Mask = decltype(std::declval<U>() == std::declval<U>());

  U primal;
  std::array<U, N> tangents;

  Dual() : Dual(U(0)) {}
  Dual(const U& value) : primal(value) { tangents.fill(U(0)); }
  template <class Number>
  requires(std::is_arithmetic_v<Number> && !std::is_same_v<Number, U>) Dual(Number value) : Dual(U(value)) {}
  Dual(const U& value, const U& tangent) requires(N == 1) : primal(value), tangents{tangent} {}
  Dual(const U& value, const std::array<U, N>& directions) : primal(value), tangents(directions) {}

  const U& tangent() const requires(N == 1) { return tangents[0]; }

  /// The op on duals: its value on primals, and the chain rule with its partials.
  template <class Rule, class... Operands>
  static auto lift(const Operands&... x) {
    if constexpr (Rule::predicate) {
      return value<Rule>(x.primal...);
    } else {
      Dual out(value<Rule>(x.primal...));
      lift_operands<Rule>(out, std::index_sequence_for<Operands...>(), x...);
      return out;
    }
  }

  friend Dual select(const Mask& mask, const Dual& a, const Dual& b) {
    Dual out(select(mask, a.primal, b.primal));
    for (int k = 0; k < N; ++k) out.tangents[k] = select(mask, a.tangents[k], b.tangents[k]);
    return out;
  }
  friend Dual largest(const Dual& x) { return Dual(largest(x.primal)); }

#define DUALTAPE_UNARY(name, ...) \
  friend auto name(const Dual& x) { return lift<ops::name##_op>(x); }
#define DUALTAPE_BINARY(name, ...) \
  friend auto name(const Dual& a, const Dual& b) { return lift<ops::name##_op>(a, b); }
#define DUALTAPE_TERNARY(name, ...) \
  friend auto name(const Dual& a, const Dual& b, const Dual& c) { return lift<ops::name##_op>(a, b, c); }
#include "dualtape/ops/ops.def"
#define DUALTAPE_OPERATOR1(symbol, name) \
  friend auto operator symbol(const Dual& x) { return lift<ops::name##_op>(x); }
#define DUALTAPE_OPERATOR2(symbol, name) \
  friend auto operator symbol(const Dual& a, const Dual& b) { return lift<ops::name##_op>(a, b); }
#include "dualtape/ops/operators.def"

 private:
  /// The op on primals, which may be duals themselves: then the rule is applied to those, not its expression.
  template <class Rule>
  static auto value(const auto&... x) {
    if constexpr (requires { U::template lift<Rule>(x...); }) {
      return U::template lift<Rule>(x...);
    } else {
      return Rule::value(x...);
    }
  }
  template <class Rule, std::size_t... I, class... Operands>
  static void lift_operands(Dual& out, std::index_sequence<I...>, const Operands&... x) {
    (lift_operand<Rule, static_cast<int>(I)>(out, x, x.primal...), ...);
  }
  template <class Rule, int I, class... Primals>
  static void lift_operand(Dual& out, const Dual& operand, const Primals&... x) {
    if constexpr (Rule::template differentiable<I>) {
      const U slope = Rule::template partial<I>(x..., out.primal);
      for (int k = 0; k < N; ++k) out.tangents[k] = out.tangents[k] + strong_multiply(operand.tangents[k], slope);
    }
  }
};

}  // namespace dualtape::dual
