// SPDX-License-Identifier: MIT
// What is known about each elementwise op beside its rule: a row of information, derived from ops.def.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "dualtape/ops/codes.hpp"

namespace dualtape::ops {

/// Where tests draw an operand: between lo and hi, away from `except`; only whole numbers where `integer`.
struct Domain {
  double lo = 0, hi = 0;
  double except = std::numeric_limits<double>::quiet_NaN();
  bool integer = false;
};

/// One row of the table.
struct OpInfo {
  std::string_view name;
  /// "" where NumPy has no such function.
  std::string_view numpy_name;
  int arity;
  /// The result is boolean.
  bool predicate;
  /// For each operand: whether it has a partial.
  std::array<bool, kMaxArity> differentiable;
  /// For each operand: what its partial reads. Bit i is operand i, bit `arity` the result.
  std::array<std::uint8_t, kMaxArity> reads;
  std::array<Domain, kMaxArity> domains;
  /// What the partials are where there is no derivative.
  std::string_view kink;
};

const OpInfo& info(Op op);
/// The op of that name in the table.
std::optional<Op> find(std::string_view name);

}  // namespace dualtape::ops
