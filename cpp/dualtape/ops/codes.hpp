// SPDX-License-Identifier: MIT
// The codes of the elementwise ops, in the order of the table. They are not stable between versions: whatever is
// stored holds names.
#pragma once

#include <cstdint>

namespace dualtape::ops {

/// The elementwise ops.
enum class Op : std::uint16_t {
#define DUALTAPE_UNARY(name, ...) name,
#define DUALTAPE_BINARY(name, ...) name,
#define DUALTAPE_TERNARY(name, ...) name,
#include "dualtape/ops/ops.def"
};

#define DUALTAPE_UNARY(name, ...) +1
#define DUALTAPE_BINARY(name, ...) +1
#define DUALTAPE_TERNARY(name, ...) +1
inline constexpr int kOpCount = 0
#include "dualtape/ops/ops.def"
    ;

/// No elementwise op has more operands.
inline constexpr int kMaxArity = 3;

}  // namespace dualtape::ops
