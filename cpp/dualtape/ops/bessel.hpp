// SPDX-License-Identifier: MIT
// Bessel functions of the orders 0 and 1, for plain numbers and lanes, without branches: Chebyshev series below 8,
// and above it those of the slowly varying factors of the asymptotic forms (NIST DLMF 10.17, 10.40).
#pragma once

#include "dualtape/ops/bessel_tables.hpp"
#include "dualtape/ops/functions.hpp"
#include "dualtape/ops/special.hpp"

namespace dualtape::ops {

/// The sum of coefficients[k] T_k(t), by Clenshaw's recurrence.
template <class T, int N>
T chebyshev(const double (&coefficients)[N], const T& t) {
  const T twice = t + t;
  T next = T(0), sum = T(0);
  for (int k = N - 1; k > 0; --k) {
    const T before = twice * sum - next + T(coefficients[k]);
    next = sum;
    sum = before;
  }
  return t * sum - next + T(coefficients[0]);
}

/// exp(-|x|) I_0(x)
template <class T>
T i0e_value(const T& x) {
  const T size = absolute(x), far = size / T(kBesselBound);
  const T near = select(size == 0, 1, chebyshev(kI0Near, 2 * far - 1));
  return select(size < T(kBesselBound), near, chebyshev(kI0Far, 2 / far - 1) / sqrt(size));
}
/// exp(-|x|) I_1(x)
template <class T>
T i1e_value(const T& x) {
  const T size = absolute(x), far = size / T(kBesselBound);
  const T beyond = copysign(chebyshev(kI1Far, 2 / far - 1) / sqrt(size), x);
  return select(size < T(kBesselBound), x * chebyshev(kI1Near, 2 * far - 1), beyond);
}
/// scaled * exp(|x|), in two steps, because the exponential overflows before the product does.
template <class T>
T with_exponential(const T& scaled, const T& x) {
  const T half = exp(absolute(x) * T(0.5));
  return select(isinf(half), copysign(half, scaled), scaled * half * half);
}

/// P cos(u) - Q sin(u) with u = x - pi/4 for the order 0, where cos(u) sqrt(2) = cos(x) + sin(x).
template <class T>
T j0_value(const T& x) {
  const T size = absolute(x), near = size / T(kBesselBound), far = 1 / near;
  const T t = 2 * far * far - 1, p = chebyshev(kP0, t), q = chebyshev(kQ0, t) / size;
  const T c = cos(size), s = sin(size);
  const T beyond = (p * (c + s) - q * (s - c)) * (T(kOneOverSqrtPi) / sqrt(size));
  const T within = select(size == 0, 1, chebyshev(kJ0Near, 2 * near * near - 1));
  return select(size < T(kBesselBound), within, select(isinf(size), 0, beyond));
}
/// The same with u = x - 3 pi/4 for the order 1, where cos(u) sqrt(2) = sin(x) - cos(x).
template <class T>
T j1_value(const T& x) {
  const T size = absolute(x), near = size / T(kBesselBound), far = 1 / near;
  const T t = 2 * far * far - 1, p = chebyshev(kP1, t), q = chebyshev(kQ1, t) / size;
  const T c = cos(size), s = sin(size);
  const T beyond = (p * (s - c) + q * (s + c)) * (T(kOneOverSqrtPi) / sqrt(size));
  const T odd = select(x < 0, -beyond, beyond);
  return select(size < T(kBesselBound), x * chebyshev(kJ1Near, 2 * near * near - 1), select(isinf(size), 0, odd));
}

}  // namespace dualtape::ops
