// SPDX-License-Identifier: MIT
// The functions of the table for plain numbers, as declarations, so that helpers and rules can call them by name.
// Native ones come from num/math.hpp, the others are defined from their rules at the end of rules.hpp.
#pragma once

#include "dualtape/num/math.hpp"

namespace dualtape::ops {

using num::fma;
using num::largest;
using num::select;

#define DUALTAPE_UNARY_NATIVE(name, ...) using num::name;
#define DUALTAPE_BINARY_NATIVE(name, ...) using num::name;
#define DUALTAPE_UNARY(name, ...) \
  inline double name(double x);   \
  inline float name(float x);
#define DUALTAPE_BINARY(name, ...)        \
  inline double name(double a, double b); \
  inline float name(float a, float b);
#define DUALTAPE_TERNARY(name, ...)                 \
  inline double name(double a, double b, double c); \
  inline float name(float a, float b, float c);
#define DUALTAPE_PREDICATE1(name, ...) \
  inline bool name(double x);          \
  inline bool name(float x);
#define DUALTAPE_PREDICATE2(name, ...)  \
  inline bool name(double a, double b); \
  inline bool name(float a, float b);
#include "dualtape/ops/ops.def"

}  // namespace dualtape::ops
