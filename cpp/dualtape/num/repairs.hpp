// SPDX-License-Identifier: MIT
// SLEEF's functions where they leave their accuracy near the ends of the number range, put right: subnormal
// arguments that come out as 0, and results that overflow early. For numbers and lanes alike.
#pragma once

namespace dualtape::num {

/// Whether T holds float32 numbers.
template <class T>
inline constexpr bool kSingle = false;
template <>
inline constexpr bool kSingle<float> = true;

namespace repaired {

inline constexpr double kLn2 = 0.69314718055994530942;

/// x where it is so small that f(x) = x.
template <class T>
[[gnu::always_inline]] inline T tiny_or(const T& x, const T& y) {
  return select(absolute(x) < (kSingle<T> ? T(1e-30) : T(1e-290)), x, y);
}

template <class T>
[[gnu::always_inline]] inline T log1p(const T& x) {
  const T high = kSingle<T> ? T(0x1p100) : T(0x1p1000), shrink = kSingle<T> ? T(0x1p-60) : T(0x1p-600);
  const auto large = x > high;
  const T y = raw_log1p(select(large, x * shrink, x));
  return tiny_or(x, select(large, y + (kSingle<T> ? T(60 * kLn2) : T(600 * kLn2)), y));
}
template <class T>
[[gnu::always_inline]] inline T tan(const T& x) {
  return tiny_or(x, raw_tan(x));
}
template <class T>
[[gnu::always_inline]] inline T power(const T& a, const T& b) {
  return select(b == 1, a, raw_power(a, b));
}
/// exp(|x|) / 2, for large |x|.
template <class T>
[[gnu::always_inline]] inline T half_exp(const T& x) {
  const T root = exp(absolute(x) * T(0.5));
  return root * T(0.5) * root;
}
template <class T>
[[gnu::always_inline]] inline T sinh(const T& x) {
  const T high = kSingle<T> ? T(88) : T(709);
  return select(absolute(x) > high, copysign(half_exp(x), x), raw_sinh(x));
}
template <class T>
[[gnu::always_inline]] inline T cosh(const T& x) {
  const T high = kSingle<T> ? T(88) : T(709);
  return select(absolute(x) > high, half_exp(x), raw_cosh(x));
}
template <class T>
[[gnu::always_inline]] inline T arcsinh(const T& x) {
  const T high = kSingle<T> ? T(0x1p60) : T(0x1p500), size = absolute(x);
  return tiny_or(x, select(size > high, copysign(log(size) + T(kLn2), x), raw_arcsinh(x)));
}
template <class T>
[[gnu::always_inline]] inline T arccosh(const T& x) {
  const T high = kSingle<T> ? T(0x1p60) : T(0x1p500);
  return select(x > high, log(x) + T(kLn2), raw_arccosh(x));
}

}  // namespace repaired
}  // namespace dualtape::num
