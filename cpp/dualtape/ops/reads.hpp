// SPDX-License-Identifier: MIT
// Reads: a number type that holds no number, only which operands went into it. Evaluating a partial on it tells what
// the partial needs kept (OpInfo::reads), so that nobody writes that down beside the rule.
#pragma once

#include <cstdint>

#include "dualtape/ops/rules.hpp"

namespace dualtape::ops {

struct Reads {
  std::uint8_t operands = 0;

  Reads() = default;
  Reads(double) {}
  static Reads of(int operands) {
    Reads out;
    out.operands = static_cast<std::uint8_t>(operands);
    return out;
  }

  friend Reads select(Reads mask, Reads a, Reads b) { return Reads::joined(mask, a, b); }
#define DUALTAPE_UNARY(name, ...) \
  friend Reads name(Reads x) { return x; }
#define DUALTAPE_BINARY(name, ...) \
  friend Reads name(Reads a, Reads b) { return joined(a, b, Reads()); }
#define DUALTAPE_TERNARY(name, ...) \
  friend Reads name(Reads a, Reads b, Reads c) { return joined(a, b, c); }
#include "dualtape/ops/ops.def"
#define DUALTAPE_OPERATOR1(symbol, name) \
  friend Reads operator symbol(Reads x) { return x; }
#define DUALTAPE_OPERATOR2(symbol, name) \
  friend Reads operator symbol(Reads a, Reads b) { return joined(a, b, Reads()); }
#define DUALTAPE_MASK_OPERATOR1 DUALTAPE_OPERATOR1
#define DUALTAPE_MASK_OPERATOR2 DUALTAPE_OPERATOR2
#include "dualtape/ops/operators.def"

 private:
  static Reads joined(Reads a, Reads b, Reads c) { return of(a.operands | b.operands | c.operands); }
};

}  // namespace dualtape::ops
