// SPDX-License-Identifier: MIT
// Special functions that the math library lacks, for plain numbers and lanes, without branches: recurrence up to
// where the asymptotic series has converged, reflection for negative arguments. And sinc.
// Formulas: Abramowitz & Stegun 6.3, 6.4, 23.2; NIST DLMF 5.5, 5.11, 5.15, 25.11.
#pragma once

#include "dualtape/ops/functions.hpp"

namespace dualtape::ops {

inline constexpr double kPi = 3.14159265358979323846;
inline constexpr double kLn2 = 0.69314718055994530942;
inline constexpr double kLog2E = 1.44269504088896340736;
inline constexpr double kLog10E = 0.43429448190325182765;
inline constexpr double kTwoOverSqrtPi = 1.12837916709551257390;
inline constexpr double kOneOverSqrtPi = 0.56418958354775628695;
inline constexpr double kHalfSqrtPi = 0.88622692545275801365;
inline constexpr double kSqrtTwoPi = 2.50662827463100050242;
inline constexpr double kHalfLog2Pi = 0.91893853320467274178;
inline constexpr double kSqrtHalf = 0.70710678118654752440;
inline constexpr double kInfinity = __builtin_inf();
inline constexpr double kNaN = __builtin_nan("");

/// coefficients[0] + x * (coefficients[1] + x * ...)
template <class T, int N>
T polynomial(const double (&coefficients)[N], const T& x) {
  T sum = T(coefficients[N - 1]);
  for (int i = N - 2; i >= 0; --i) sum = sum * x + T(coefficients[i]);
  return sum;
}

template <class T>
T sinc_value(const T& x) {
  const T angle = x * T(kPi);
  return select(x == 0, 1, sin(angle) / angle);
}
/// (cos(t) - sin(t)/t) / x with t = pi x, and its series where the difference would cancel.
template <class T>
T sinc_slope(const T& x) {
  // (-1)^k 2k / (2k+1)!
  constexpr double series[] = {-0.3333333333333333,     0.03333333333333333,    -0.0011904761904761906,
                               2.2045855379188714e-05,  -2.505210838544172e-07, 1.9270852604185937e-09,
                               -1.0706029224547743e-11, 4.498331606952833e-14,  -1.4797143443923793e-16};
  const T angle = x * T(kPi);
  const T square_angle = angle * angle;
  return select(absolute(angle) < 1, T(kPi) * angle * polynomial(series, square_angle),
                (cos(angle) - sin(angle) / angle) / x);
}

/// The derivative of log(gamma(x)); -inf at 0, NaN at the other poles.
template <class T>
T digamma_value(const T& x) {
  constexpr double bernoulli[] = {1.0 / 12, -1.0 / 120, 1.0 / 252, -1.0 / 240, 1.0 / 132, -691.0 / 32760, 1.0 / 12};
  const auto reflect = x <= 0;
  T z = select(reflect, 1 - x, x), sum = T(0);
  for (int i = 0; i < 10; ++i) {
    const auto small = z < 10;
    sum = select(small, sum - 1 / z, sum);
    z = select(small, z + 1, z);
  }
  const T w = 1 / (z * z);
  const T value = sum + (log(z) - T(0.5) / z - w * polynomial(bernoulli, w));
  const auto pole = (x < 0) & (x == floor(x));
  return select(pole, T(kNaN), select(reflect, value - T(kPi) / tan(T(kPi) * select(x == 0, x, x - rint(x))), value));
}

/// The derivative of digamma.
template <class T>
T trigamma_value(const T& x) {
  constexpr double bernoulli[] = {1.0 / 6,  -1.0 / 30,     1.0 / 42, -1.0 / 30,
                                  5.0 / 66, -691.0 / 2730, 7.0 / 6,  -3617.0 / 510};
  const auto reflect = x <= 0;
  T z = select(reflect, 1 - x, x), sum = T(0);
  for (int i = 0; i < 10; ++i) {
    const auto small = z < 10;
    sum = select(small, sum + 1 / (z * z), sum);
    z = select(small, z + 1, z);
  }
  const T r = 1 / z, w = r * r;
  const T value = sum + (r + w * (T(0.5) + r * polynomial(bernoulli, w)));
  const T sine = T(kPi) / sin(T(kPi) * (x - rint(x)));
  return select(reflect, sine * sine - value, value);
}

/// The n-th derivative of digamma for x > 0: (-1)^(n+1) n! zeta(n + 1, x), by ten terms and Euler-Maclaurin.
template <class T>
T polygamma_value(const T& n, const T& x) {
  // B_2j / (2j)!
  constexpr double bernoulli[] = {8.333333333333333e-02,  -1.388888888888889e-03, 3.306878306878307e-05,
                                  -8.267195767195767e-07, 2.0876756987868100e-08, -5.284190138687493e-10,
                                  1.3382536530684679e-11, -3.389680296322583e-13};
  const T s = n + 1;
  T sum = T(0), z = x, factorial = T(1);
  for (int i = 0; i < 10; ++i) {
    sum = sum + integer_power(z, -s);
    z = z + 1;
  }
  const T last = integer_power(z, -s), r = 1 / z;
  sum = sum + last * (z / n + T(0.5));
  T rising = s * r;  // s (s+1) ... (s+2j-2) / z^(2j-1)
  for (int j = 0; j < 8; ++j) {
    sum = sum + last * rising * T(bernoulli[j]);
    rising = rising * ((s + (2 * j + 1)) * r) * ((s + (2 * j + 2)) * r);
  }
  for (int i = 2; i <= 20; ++i) factorial = select(n >= i, factorial * i, factorial);
  const T half = n * T(0.5);
  const T value = select(half == floor(half), -factorial, factorial) * sum;
  return select(x < 0, T(kNaN), value);
}

}  // namespace dualtape::ops
