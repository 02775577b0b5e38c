// SPDX-License-Identifier: MIT
// The functions of the table for lanes, from their rules; native ones are in num/lanes_math.hpp. For kernel sources.
#pragma once

#include "dualtape/num/lanes_math.hpp"
#include "dualtape/ops/rules.hpp"

namespace dualtape::DUALTAPE_ISA {

#define DUALTAPE_UNARY_NATIVE(name, ...)
#define DUALTAPE_BINARY_NATIVE(name, ...)
#define DUALTAPE_UNARY(name, ...)    \
  template <class T, int W>          \
  auto name(lanes<T, W> x) {         \
    return ops::name##_op::value(x); \
  }
#define DUALTAPE_BINARY(name, ...)          \
  template <class T, int W>                 \
  auto name(lanes<T, W> a, lanes<T, W> b) { \
    return ops::name##_op::value(a, b);     \
  }
#define DUALTAPE_TERNARY(name, ...)                        \
  template <class T, int W>                                \
  auto name(lanes<T, W> a, lanes<T, W> b, lanes<T, W> c) { \
    return ops::name##_op::value(a, b, c);                 \
  }
#include "dualtape/ops/ops.def"

}  // namespace dualtape::DUALTAPE_ISA
