// SPDX-License-Identifier: MIT
// exp (0.95 ULP) and tanh (1.0 ULP, 1.3 where the result is next to 1) of our own, inlined into the loops: faster
// than a call of SLEEF. Written for any number type V that holds numbers of type T, with nothing but correctly rounded
// operations, so the bits do not depend on the width: V is lanes of any width (scalars use them at width 1,
// num/kernels/math.cpp), or a number that machine code is made from (machine/recorder.cpp).
//
// Both start from x = n ln 2 + r with |r| <= ln(2)/2 and exp(r) = 1 + r + r^2 q(r); q is a minimax polynomial
// (weight |r|, that is: for the relative error of exp(r) - 1; 1.8e-17 in double, 1.3e-8 in float).
#pragma once

namespace dualtape::num::polynomials {

template <class T>
struct ExpNumbers;
template <>
struct ExpNumbers<double> {
  static constexpr double log2_e = 0x1.71547652b82fep+0, ln2_high = 0x1.62e42fefa39efp-1,
                          ln2_low = 0x1.abc9e3b39803fp-56;
  static constexpr double highest = 710, lowest = -746;  // beyond, exp is inf or 0
};
template <>
struct ExpNumbers<float> {
  static constexpr float log2_e = 0x1.715476p+0f, ln2_high = 0x1.62e43p-1f, ln2_low = -0x1.05c61p-29f;
  static constexpr float highest = 89, lowest = -104;
};

/// 1.5 * 2^52 (or 2^23 for float): added to a small number, it leaves the nearest integer in the lowest bits.
template <class T>
inline constexpr T kRounder = sizeof(T) == 8 ? static_cast<T>(0x1.8p52) : static_cast<T>(0x1.8p23);
/// The same and the exponent's bias.
template <class T>
inline constexpr T kBiasedRounder = kRounder<T> + (sizeof(T) == 8 ? 1023 : 127);

/// F q(F r) for a power of two F, in a tree of little depth.
template <class T, int F, class V>
[[gnu::always_inline]] inline V exp_rest(V r) {
  constexpr double f1 = F, f2 = f1 * f1, f4 = f2 * f2, f8 = f4 * f4;
  const V r2 = r * r;
  if constexpr (sizeof(T) == 8) {
    const V r4 = r2 * r2;
    const V q01 = fma(V(f2 * 0x1.555555555555bp-3), r, V(f1 * 0x1.0000000000005p-1));
    const V q23 = fma(V(f4 * 0x1.111111110eb17p-7), r, V(f2 * f1 * 0x1.55555555520bdp-5));
    const V q45 = fma(V(f4 * f2 * 0x1.a01a01b460405p-13), r, V(f4 * f1 * 0x1.6c16c17f41d84p-10));
    const V q67 = fma(V(f8 * 0x1.71dded576d04bp-19), r, V(f4 * f2 * f1 * 0x1.a019a66cb905dp-16));
    const V q89 = fma(V(f8 * f2 * 0x1.af715f1b49fb1p-26), r, V(f8 * f1 * 0x1.28a2c0903043ep-22));
    const V low = fma(q23, r2, q01), middle = fma(q67, r2, q45);
    return fma(fma(q89, r4, middle), r4, low);
  } else {
    const V q01 = fma(V(f2 * 0.16666542983460095), r, V(f1 * 0.5000000061897683));
    const V q23 = fma(V(f4 * 0.008366584774719707), r, V(f2 * f1 * 0.041666282221812796));
    return fma(fma(V(f4 * f1 * 0.0013946435004777821), r2, q23), r2, q01);
  }
}

template <class T, class V>
[[gnu::always_inline]] inline V exp(V x) {
  using Numbers = ExpNumbers<T>;
  const V capped = at_least(at_most(x, V(Numbers::highest)), V(Numbers::lowest));
  const V n = fma(capped, V(Numbers::log2_e), V(kRounder<T>)) - kRounder<T>;
  const V r = fma(n, V(-Numbers::ln2_low), fma(n, V(-Numbers::ln2_high), capped));
  return scale(1 + fma(r * r, exp_rest<T, 1>(r), r), n);
}

/// (e - 1) / (e + 1) with e = exp(2 |x|). Everything is halved: b = (e + 1) / 2 and b - 1, which is exact, so that
/// only b carries a second part for what rounding leaves over; the quotient is corrected once.
template <class T, class V>
[[gnu::always_inline]] inline V tanh(V x) {
  using Numbers = ExpNumbers<T>;
  const V size = at_most(absolute(x), V(sizeof(T) == 8 ? 20 : 10));  // from there on 1, to the last bit
  const V rounded = fma(size, V(2 * Numbers::log2_e), V(kBiasedRounder<T>));
  const V n = rounded - kBiasedRounder<T>, power = power_from_bits(rounded);
  const V r = fma(n, V(Numbers::ln2_low / -2), fma(n, V(Numbers::ln2_high / -2), size));  // half of the reduced 2 |x|
  const V r2 = r * r, q = exp_rest<T, 2>(r);
  const V part = fma(r2, q, r), part_rest = fma(r2, q, r - part);
  const V base = fma(power, V(0.5), V(0.5)), step = power * part;
  const V b = base + step, b_rest = fma(power, part_rest, step - (b - base));
  const V top = b - 1, inverse = 1 / b, quotient = top * inverse;
  const V missing = fma(-quotient, b, top) + fma(-quotient, b_rest, b_rest);
  return copysign(fma(missing, inverse, quotient), x);
}

}  // namespace dualtape::num::polynomials
