// SPDX-License-Identifier: MIT
// The longer expressions of the table, under names. A helper that appears in a partial is written for every number
// type (double, lanes, duals, traced values), under the rules of ops.def; one that appears only in a value is called
// with plain numbers and lanes alone. Functions of real numbers that need series: special.hpp.
#pragma once

#include <type_traits>

#include "dualtape/ops/bessel.hpp"
#include "dualtape/ops/functions.hpp"
#include "dualtape/ops/normal.hpp"
#include "dualtape/ops/special.hpp"

namespace dualtape::ops {

// Division with remainder, as NumPy (and Python) has it: the remainder has the sign of the divisor.

template <class T>
constexpr T floor_remainder(const T& a, const T& b) {
  const T rest = fmod(a, b);
  const auto wrap = (rest != 0) & ((b < 0) ^ (rest < 0));
  return select(wrap, rest + b, select((rest == 0) & (b != 0), copysign(T(0), b), rest));
}

template <class T>
constexpr T floor_quotient(const T& a, const T& b) {
  const T rest = fmod(a, b);
  const auto wrap = (rest != 0) & ((b < 0) ^ (rest < 0));
  const T exact = (a - rest) / b;
  const T quotient = select(wrap, exact - 1, exact);  // a whole number, but for rounding
  const T below = floor(quotient);
  const T whole = select(quotient - below > T(0.5), below + 1, below);
  return select(b == 0, a / b, select(quotient == 0, copysign(T(0), a / b), whole));
}

// Products

/// a * b, and 0 where a factor is 0, whatever the other is. (The sign of a zero is that of the product.)
template <class T>
constexpr T strong_product(const T& a, const T& b) {
  const T product = a * b;
  return select(isnan(product) & ((a == 0) | (b == 0)), 0, product);
}

/// a * b + c, rounded once, and c where a factor is 0, whatever the other is.
template <class T>
constexpr T strong_product_and_sum(const T& a, const T& b, const T& c) {
  const T sum = fma(a, b, c);
  return select(isnan(sum) & ((a == 0) | (b == 0)), c, sum);
}

// Powers

/// x to the power of a whole number, -32 to 32 (its derivatives go below), by repeated multiplication: x*x for 2.
template <class T>
constexpr T repeated_product(const T& x, const T& n) {
  if constexpr (std::is_floating_point_v<T>) {
    T product = 1, power = x;
    for (unsigned bits = static_cast<unsigned>(absolute(n)); bits; bits >>= 1) {
      if (bits & 1) product = product * power;
      power = power * power;
    }
    return n < 0 ? 1 / product : product;
  } else {
    T product = 1, power = x, rest = absolute(n);
    for (int bit = 0; bit < 6; ++bit) {
      const T half = floor(rest * T(0.5));
      product = select(rest != half + half, product * power, product);
      power = power * power;
      rest = half;
    }
    return select(n < 0, 1 / product, product);
  }
}
template <class T>
constexpr T integer_power_slope(const T& x, const T& n) {
  return select(n == 0, 0, n * integer_power(x, n - 1));
}
/// The guard is as narrow as can be, so that the derivative of the slope at b = 0 is right elsewhere.
template <class T>
constexpr T power_base_slope(const T& a, const T& b) {
  return select((b == 0) & !(absolute(a) > 0), 0, b * power(a, b - 1));
}
template <class T>
constexpr T power_exponent_slope(const T& a, const T& b, const T& y) {
  return select((a == 0) & (b > 0), 0, y * log(a));
}

constexpr bool all_of(bool one) { return one; }
/// 1 - a^b, which takes no power where that is lost beside 1: a^b is at most exp(-b (1 - a)).
template <class T>
constexpr T complement_of_power(const T& a, const T& b) {
  if constexpr (requires { all_of(a > b); }) {
    if (all_of((a >= 0) & (a < 1) & (b * (1 - a) > 40))) return T(1);
  }
  return 1 - power(a, b);
}

// Extremes

/// The part of maximum's derivative that a gets: 1, 0, or 1/2 for a tie.
template <class T>
constexpr T larger_share(const T& a, const T& b) {
  return select(a > b, T(1), select(a == b, T(0.5), T(0)));
}
/// The same for fmax and fmin, which drop a NaN beside a number.
template <class T>
constexpr T number_share(const T& a, const T& b, const T& share) {
  return select(isnan(b), T(1), select(isnan(a), T(0), share));
}

// Logarithms of sums

/// a - b, and 0 for equal infinities.
template <class T>
constexpr T finite_difference(const T& a, const T& b) {
  return select(isinf(a) & (a == b), 0, a - b);
}
template <class T>
constexpr T log_add_exp(const T& a, const T& b) {
  const T distance = absolute(a - b);
  return select(a == b, a + T(kLn2), select(isnan(distance), distance, maximum(a, b) + log1p(exp(-distance))));
}
template <class T>
constexpr T log_add_exp2(const T& a, const T& b) {
  const T distance = absolute(a - b);
  const T more = T(kLog2E) * log1p(exp2(-distance));
  return select(a == b, a + 1, select(isnan(distance), distance, maximum(a, b) + more));
}

/// log(x / (1 - x)), by the difference from 1/2 where that is what matters.
template <class T>
constexpr T logit_value(const T& x) {
  const T twice = 2 * x - 1;
  return select(absolute(twice) < T(0.4), log1p(twice) - log1p(-twice), log(x / (1 - x)));
}

// Entropies

template <class T>
constexpr T entropy(const T& x) {
  return select(x > 0, -x * log(x), select(x == 0, 0, select(isnan(x), x, T(-kInfinity))));
}
/// log(a / b) for positive numbers, also where a / b is next to 1 or no normal number.
template <class T>
constexpr T log_ratio(const T& a, const T& b) {
  const T ratio = a / b;
  const T far = select((ratio > T(1e-30)) & (ratio < T(1e30)), log(ratio), log(a) - log(b));
  return select((ratio > T(0.5)) & (ratio < 2), log1p((a - b) / b), far);
}
template <class T>
constexpr T relative_entropy(const T& a, const T& b) {
  const T wrong = select(isnan(a) | isnan(b), T(kNaN), T(kInfinity));
  return select((a > 0) & (b > 0), a * log_ratio(a, b), select((a == 0) & (b >= 0), 0, wrong));
}
template <class T>
constexpr T divergence(const T& a, const T& b) {
  const T wrong = select(isnan(a) | isnan(b), T(kNaN), T(kInfinity));
  return select((a > 0) & (b > 0), a * log_ratio(a, b) - a + b, select((a == 0) & (b >= 0), b, wrong));
}

// Others

/// a / x, and the limit 1/2 of i1(x) / x and j1(x) / x at 0.
template <class T>
constexpr T over_argument(const T& a, const T& x) {
  return select(x == 0, T(0.5), a / x);
}
/// b / (a*a + b*b) without overflow.
template <class T>
constexpr T angle_slope(const T& b, const T& a) {
  const T radius = hypot(a, b);
  return select(radius == 0, 0, b / radius / radius);
}
template <class T>
constexpr T finite_value(const T& x) {
  return select(isnan(x), 0, select(x == T(kInfinity), largest(x), select(x == T(-kInfinity), -largest(x), x)));
}
template <class T>
constexpr T logistic_value(const T& x) {
  const T e = exp(-absolute(x));
  return select(x < 0, e, T(1)) / (1 + e);
}
template <class T>
constexpr T normal_cdf(const T& x) {
  return T(0.5) * erfc(x * T(-kSqrtHalf));
}
template <class T>
constexpr T normal_density(const T& x) {
  return T(kSqrtHalf * kTwoOverSqrtPi * 0.5) * exp(T(-0.5) * square(x));
}

}  // namespace dualtape::ops
