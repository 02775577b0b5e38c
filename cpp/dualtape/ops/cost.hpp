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

}  // namespace dualtape::ops
