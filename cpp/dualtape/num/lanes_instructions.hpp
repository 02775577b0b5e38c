// SPDX-License-Identifier: MIT
// What is a single instruction (or two) on lanes: rounding, square root, fused multiply-add, sign bits, powers of
// two. All exact or correctly rounded, so the bits are the same at every width. For kernel sources.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "dualtape/num/lanes.hpp"
#include "dualtape/num/math.hpp"
#include "dualtape/num/polynomials.hpp"

namespace dualtape::num {
template <int W>
inline constexpr bool kSingle<DUALTAPE_ISA::lanes<float, W>> = true;
}

namespace dualtape::DUALTAPE_ISA {

// The forms for 8 doubles, 16 floats, 4 doubles and 8 floats, as far as this instruction set has them. (The masks of
// all ones in the first two are there because GCC warns about its own header for the forms without.)
#if defined(DUALTAPE_ISA_avx512)
#define DUALTAPE_INSTRUCTION(d8, f16, d4, f8)                                        \
  if constexpr (sizeof(T) * W == 64 && sizeof(T) == 8) return lanes<T, W>::wrap(d8); \
  if constexpr (sizeof(T) * W == 64 && sizeof(T) == 4) return lanes<T, W>::wrap(f16);
#elif defined(DUALTAPE_ISA_avx2)
#define DUALTAPE_INSTRUCTION(d8, f16, d4, f8)                                        \
  if constexpr (sizeof(T) * W == 32 && sizeof(T) == 8) return lanes<T, W>::wrap(d4); \
  if constexpr (sizeof(T) * W == 32 && sizeof(T) == 4) return lanes<T, W>::wrap(f8);
#else
#define DUALTAPE_INSTRUCTION(d8, f16, d4, f8)
#endif

#define DUALTAPE_ROUNDING(name, mode)                                                                              \
  template <class T, int W>                                                                                        \
  DUALTAPE_INLINE lanes<T, W> name(lanes<T, W> x) {                                                                \
    DUALTAPE_INSTRUCTION(_mm512_maskz_roundscale_pd(-1, x.raw, mode), _mm512_maskz_roundscale_ps(-1, x.raw, mode), \
                         _mm256_round_pd(x.raw, mode), _mm256_round_ps(x.raw, mode))                               \
    if constexpr (W == 1) return lanes<T, W>::wrap(num::name(x.raw));                                              \
  }
DUALTAPE_ROUNDING(rint, _MM_FROUND_NO_EXC | _MM_FROUND_TO_NEAREST_INT)
DUALTAPE_ROUNDING(floor, _MM_FROUND_NO_EXC | _MM_FROUND_TO_NEG_INF)
DUALTAPE_ROUNDING(ceil, _MM_FROUND_NO_EXC | _MM_FROUND_TO_POS_INF)
DUALTAPE_ROUNDING(trunc, _MM_FROUND_NO_EXC | _MM_FROUND_TO_ZERO)
#undef DUALTAPE_ROUNDING

template <class T, int W>
DUALTAPE_INLINE lanes<T, W> sqrt(lanes<T, W> x) {
  DUALTAPE_INSTRUCTION(_mm512_maskz_sqrt_pd(-1, x.raw), _mm512_maskz_sqrt_ps(-1, x.raw), _mm256_sqrt_pd(x.raw),
                       _mm256_sqrt_ps(x.raw))
  if constexpr (W == 1) return lanes<T, W>::wrap(num::sqrt(x.raw));
}
/// a * b + c, rounded once.
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> fma(lanes<T, W> a, lanes<T, W> b, lanes<T, W> c) {
  DUALTAPE_INSTRUCTION(_mm512_fmadd_pd(a.raw, b.raw, c.raw), _mm512_fmadd_ps(a.raw, b.raw, c.raw),
                       _mm256_fmadd_pd(a.raw, b.raw, c.raw), _mm256_fmadd_ps(a.raw, b.raw, c.raw))
  if constexpr (W == 1) return lanes<T, W>::wrap(num::fma(a.raw, b.raw, c.raw));
}

/// The lower and the higher of two, and x where it is NaN.
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> at_most(lanes<T, W> x, lanes<T, W> bound) {
  DUALTAPE_INSTRUCTION(_mm512_maskz_min_pd(-1, bound.raw, x.raw), _mm512_maskz_min_ps(-1, bound.raw, x.raw),
                       _mm256_min_pd(bound.raw, x.raw), _mm256_min_ps(bound.raw, x.raw))
  return select(bound < x, bound, x);
}
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> at_least(lanes<T, W> x, lanes<T, W> bound) {
  DUALTAPE_INSTRUCTION(_mm512_maskz_max_pd(-1, bound.raw, x.raw), _mm512_maskz_max_ps(-1, bound.raw, x.raw),
                       _mm256_max_pd(bound.raw, x.raw), _mm256_max_ps(bound.raw, x.raw))
  return select(bound > x, bound, x);
}

/// The bits of the numbers, as signed integers of the same size.
template <class T, int W>
using bits = typename detail::Raw<typename detail::Bits<T>::type, W>::type;
template <class T, int W>
DUALTAPE_INLINE bits<T, W> to_bits(lanes<T, W> x) {
  using To = bits<T, W>;
  return __builtin_bit_cast(To, x.raw);
}
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> from_bits(bits<T, W> x) {
  using To = typename lanes<T, W>::Raw;
  return lanes<T, W>::wrap(__builtin_bit_cast(To, x));
}
template <class T>
inline constexpr
    typename detail::Bits<T>::type kSignBit = static_cast<typename detail::Bits<T>::type>(1) << (8 * sizeof(T) - 1);

template <class T, int W>
DUALTAPE_INLINE lanes<T, W> absolute(lanes<T, W> x) {
  return from_bits<T, W>(to_bits(x) & ~kSignBit<T>);
}
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> copysign(lanes<T, W> a, lanes<T, W> b) {
  return from_bits<T, W>((to_bits(a) & ~kSignBit<T>) | (to_bits(b) & kSignBit<T>));
}
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> largest(lanes<T, W>) {
  return lanes<T, W>(sizeof(T) == 8 ? __DBL_MAX__ : __FLT_MAX__);
}

using num::polynomials::kBiasedRounder, num::polynomials::kRounder;
/// 2^n, in the range of normal numbers, for a whole n to which kBiasedRounder was added.
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> power_from_bits(lanes<T, W> biased) {
  return from_bits<T, W>(to_bits(biased) << (sizeof(T) == 8 ? 52 : 23));
}
/// x * 2^n for a whole n, rounded once, for x near 1: the product may overflow or be subnormal.
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> scale(lanes<T, W> x, lanes<T, W> n) {
#if defined(DUALTAPE_ISA_avx512)
  if constexpr (sizeof(T) * W == 64 && sizeof(T) == 8)
    return lanes<T, W>::wrap(_mm512_maskz_scalef_pd(-1, x.raw, n.raw));
  if constexpr (sizeof(T) * W == 64 && sizeof(T) == 4)
    return lanes<T, W>::wrap(_mm512_maskz_scalef_ps(-1, x.raw, n.raw));
#endif
  const lanes<T, W> half = n * T(0.5) + kRounder<T> - kRounder<T>;
  return x * power_from_bits(half + kBiasedRounder<T>) * power_from_bits(n - half + kBiasedRounder<T>);
}

/// Exact as in C, and as slow: one lane after the other.
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> fmod(lanes<T, W> a, lanes<T, W> b) {
  T from[W], by[W];
  a.store(from);
  b.store(by);
  for (int i = 0; i < W; ++i) from[i] = num::fmod(from[i], by[i]);
  return lanes<T, W>::load(from);
}

}  // namespace dualtape::DUALTAPE_ISA
