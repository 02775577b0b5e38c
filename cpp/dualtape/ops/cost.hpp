// SPDX-License-Identifier: MIT
// Cost: a number type that holds no number, only about how many instructions made it. Evaluating a rule on it tells
// which loops are worth unrolling: those of light ops, whose time is loads, stores and counting.
#pragma once

#include "dualtape/ops/rules.hpp"

namespace dualtape::ops {

struct Cost {
  int instructions = 0;

  constexpr Cost(double) {}
  static constexpr Cost of(int instructions) {
    Cost out(0.0);
    out.instructions = instructions;
    return out;
  }

  friend constexpr Cost select(Cost mask, Cost a, Cost b) { return sum(1, mask, a, b); }
  friend constexpr Cost fma(Cost a, Cost b, Cost c) { return sum(1, a, b, c); }
  friend constexpr Cost largest(Cost x) { return x; }
#define DUALTAPE_UNARY_NATIVE(name, ...) \
  friend constexpr Cost name(Cost x) { return sum(kCall, x); }
#define DUALTAPE_BINARY_NATIVE(name, ...) \
  friend constexpr Cost name(Cost a, Cost b) { return sum(kCall, a, b); }
#define DUALTAPE_UNARY(name, ...) \
  friend constexpr Cost name(Cost x) { return sum(kSome, x); }
#define DUALTAPE_BINARY(name, ...) \
  friend constexpr Cost name(Cost a, Cost b) { return sum(kSome, a, b); }
#define DUALTAPE_TERNARY(name, ...) \
  friend constexpr Cost name(Cost a, Cost b, Cost c) { return sum(kSome, a, b, c); }
#include "dualtape/ops/ops.def"
#define DUALTAPE_OPERATOR1(symbol, name) \
  friend constexpr Cost operator symbol(Cost x) { return sum(1, x); }
#define DUALTAPE_OPERATOR2(symbol, name) \
  friend constexpr Cost operator symbol(Cost a, Cost b) { return sum(1, a, b); }
#define DUALTAPE_MASK_OPERATOR1 DUALTAPE_OPERATOR1
#define DUALTAPE_MASK_OPERATOR2 DUALTAPE_OPERATOR2
#include "dualtape/ops/operators.def"

 private:
  static constexpr int kCall = 100, kSome = 4;  // a function of series; one made of operators
  template <class... Operands>
  static constexpr Cost sum(int own, const Operands&... operands) {
    return of((own + ... + operands.instructions));
  }
};

namespace detail {
template <class Rule>
constexpr int cost_of() {
  if constexpr (Rule::arity == 1) {
    return Cost(Rule::value(Cost(0.0))).instructions;
  } else if constexpr (Rule::arity == 2) {
    return Cost(Rule::value(Cost(0.0), Cost(0.0))).instructions;
  } else {
    return Cost(Rule::value(Cost(0.0), Cost(0.0), Cost(0.0))).instructions;
  }
}
template <int N>
struct IsConstant;
}  // namespace detail

/// Whether a rule is made of operators and functions, and not of loops over the terms of a series.
template <class Rule>
constexpr bool is_made_of_operators() {
  return requires { typename detail::IsConstant<detail::cost_of<Rule>()>; };
}
/// What an op costs, by its rule; rules that need more than operators and functions are not worth a look.
template <class Rule>
constexpr int cost() {
  if constexpr (is_made_of_operators<Rule>()) {
    return detail::cost_of<Rule>();
  } else {
    return 1000;
  }
}

}  // namespace dualtape::ops
