// SPDX-License-Identifier: MIT
// The normal distribution, for plain numbers and lanes, without branches: quantiles by M. Wichura's algorithm AS 241
// (1988), and the logarithm of the distribution function by its asymptotic series where that underflows
// (Abramowitz & Stegun 26.2.12).
#pragma once

#include "dualtape/ops/functions.hpp"
#include "dualtape/ops/special.hpp"

namespace dualtape::ops {

/// The x whose distribution function is 1/2 + middle; `tail` is the smaller of that and its complement.
template <class T>
T normal_quantile(const T& middle, const T& tail) {
  constexpr double a[] = {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                          1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                          3.3430575583588128105e4, 2.5090809287301226727e3};
  constexpr double b[] = {1.0,
                          4.2313330701600911252e1,
                          6.8718700749205790830e2,
                          5.3941960214247511077e3,
                          2.1213794301586595867e4,
                          3.9307895800092710610e4,
                          2.8729085735721942674e4,
                          5.2264952788528545610e3};
  constexpr double c[] = {1.42343711074968357734e0,  4.63033784615654529590e0, 5.76949722146069140550e0,
                          3.64784832476320460504e0,  1.27045825245236838258e0, 2.41780725177450611770e-1,
                          2.27238449892691845833e-2, 7.74545014278341407640e-4};
  constexpr double d[] = {1.0,
                          2.05319162663775882187e0,
                          1.67638483018380384940e0,
                          6.89767334985100004550e-1,
                          1.48103976427480074590e-1,
                          1.51986665636164571966e-2,
                          5.47593808499534494600e-4,
                          1.05075007164441684324e-9};
  constexpr double e[] = {6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,
                          2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                          2.71155556874348757815e-5, 2.01033439929228813265e-7};
  constexpr double f[] = {1.0,
                          5.99832206555887937690e-1,
                          1.36929880922735805310e-1,
                          1.48753612908506148525e-2,
                          7.86869131145613259100e-4,
                          1.84631831751005468180e-5,
                          1.42151175831644588870e-7,
                          2.04426310338993978564e-15};
  const T w = T(0.180625) - middle * middle, r = sqrt(-log(tail));
  const T near = r - T(1.6), far = r - 5;
  const T inside = middle * (polynomial(a, w) / polynomial(b, w));
  const T outside = select(r <= 5, polynomial(c, near) / polynomial(d, near), polynomial(e, far) / polynomial(f, far));
  const T size = select(tail == 0, T(kInfinity), select(tail < 0, T(kNaN), outside));
  return select(absolute(middle) <= T(0.425), inside, select(middle < 0, -size, size));
}

template <class T>
T ndtri_value(const T& p) {
  const T middle = p - T(0.5);
  return normal_quantile(middle, select(middle < 0, p, 1 - p));
}
template <class T>
T erfinv_value(const T& x) {
  return T(kSqrtHalf) * normal_quantile(x * T(0.5), (1 - absolute(x)) * T(0.5));
}

template <class T>
T log_ndtr_value(const T& x) {
  // (-1)^k (2k - 1)!!
  constexpr double series[] = {1, -1, 3, -15, 105, -945, 10395, -135135, 2027025};
  const T below = T(0.5) * erfc(x * T(-kSqrtHalf)), above = T(0.5) * erfc(x * T(kSqrtHalf));
  const T w = 1 / (x * x);
  const T far = log(polynomial(series, w)) - (T(0.5) * x * x + (log(-x) + T(kHalfLog2Pi)));
  const T near = select(x < -1, log(below), log1p(-above));
  return select(x < -20, select(isinf(x), x, far), near);
}

}  // namespace dualtape::ops
