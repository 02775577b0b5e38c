// SPDX-License-Identifier: MIT
// Math functions of one double or float, under NumPy's names, with the bits of the vector functions of
// lanes_math.hpp. Most are SLEEF's deterministic family, the one with FMA where the machine has it. Which one is
// decided when the library is loaded; a call goes through a table of function pointers. math.def lists them.
#pragma once

#include <type_traits>

namespace dualtape::num {

/// The functions of math.def for numbers of type T, before repairs.
template <class T>
struct MathTable {
#define DUALTAPE_SLEEF1(name, sleef, accuracy) T (*name)(T);
#define DUALTAPE_SLEEF2(name, sleef, accuracy) T (*name)(T, T);
#define DUALTAPE_OWN1(name) T (*name)(T);
#include "dualtape/num/math.def"
};
extern const MathTable<double> math_f64;
extern const MathTable<float> math_f32;

#define DUALTAPE_SLEEF1(name, sleef, accuracy)                                     \
  [[gnu::always_inline]] inline double name(double x) { return math_f64.name(x); } \
  [[gnu::always_inline]] inline float name(float x) { return math_f32.name(x); }
#define DUALTAPE_SLEEF2(name, sleef, accuracy)                                                  \
  [[gnu::always_inline]] inline double name(double a, double b) { return math_f64.name(a, b); } \
  [[gnu::always_inline]] inline float name(float a, float b) { return math_f32.name(a, b); }
#define DUALTAPE_OWN1(name) DUALTAPE_SLEEF1(name, own, own)
#include "dualtape/num/math.def"

[[gnu::always_inline]] inline double sqrt(double x) { return __builtin_sqrt(x); }
[[gnu::always_inline]] inline float sqrt(float x) { return __builtin_sqrtf(x); }
[[gnu::always_inline]] inline double absolute(double x) { return __builtin_fabs(x); }
[[gnu::always_inline]] inline float absolute(float x) { return __builtin_fabsf(x); }
[[gnu::always_inline]] inline double floor(double x) { return __builtin_floor(x); }
[[gnu::always_inline]] inline float floor(float x) { return __builtin_floorf(x); }
[[gnu::always_inline]] inline double ceil(double x) { return __builtin_ceil(x); }
[[gnu::always_inline]] inline float ceil(float x) { return __builtin_ceilf(x); }
[[gnu::always_inline]] inline double trunc(double x) { return __builtin_trunc(x); }
[[gnu::always_inline]] inline float trunc(float x) { return __builtin_truncf(x); }
[[gnu::always_inline]] inline double rint(double x) { return __builtin_rint(x); }
[[gnu::always_inline]] inline float rint(float x) { return __builtin_rintf(x); }
[[gnu::always_inline]] inline double copysign(double a, double b) { return __builtin_copysign(a, b); }
[[gnu::always_inline]] inline float copysign(float a, float b) { return __builtin_copysignf(a, b); }
/// Exact, as C has it.
[[gnu::always_inline]] inline double fmod(double a, double b) { return __builtin_fmod(a, b); }
[[gnu::always_inline]] inline float fmod(float a, float b) { return __builtin_fmodf(a, b); }
/// a * b + c, rounded once, on every machine.
[[gnu::always_inline]] inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
[[gnu::always_inline]] inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

/// `mask ? a : b`, spelled so that it also works on lanes.
template <class A, class B>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
[[gnu::always_inline]] inline std::common_type_t<A, B> select(bool mask, A a, B b) { return mask ? a : b; }

/// The largest finite number of a's type.
[[gnu::always_inline]] inline double largest(double) { return __DBL_MAX__; }
[[gnu::always_inline]] inline float largest(float) { return __FLT_MAX__; }

}  // namespace dualtape::num

#include "dualtape/num/repairs.hpp"

namespace dualtape::num {

#define DUALTAPE_REPAIRED1(name, sleef, accuracy)                                   \
  [[gnu::always_inline]] inline double name(double x) { return repaired::name(x); } \
  [[gnu::always_inline]] inline float name(float x) { return repaired::name(x); }
#define DUALTAPE_REPAIRED2(name, sleef, accuracy)                                                \
  [[gnu::always_inline]] inline double name(double a, double b) { return repaired::name(a, b); } \
  [[gnu::always_inline]] inline float name(float a, float b) { return repaired::name(a, b); }
#include "dualtape/num/math.def"

}  // namespace dualtape::num
