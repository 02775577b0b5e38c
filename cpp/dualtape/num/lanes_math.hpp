// SPDX-License-Identifier: MIT
// Math functions of lanes (the ones of math.hpp, with the same bits), for kernel sources.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <sleef.h>

#include "dualtape/num/lanes.hpp"
#include "dualtape/num/math.hpp"

namespace dualtape::DUALTAPE_ISA {

#if defined(DUALTAPE_ISA_avx512)
using f64s = lanes<double, 8>;
using f32s = lanes<float, 16>;
#define DUALTAPE_F64(stem, accuracy) stem##d8_##accuracy##avx512f
#define DUALTAPE_F32(stem, accuracy) stem##f16_##accuracy##avx512f
#elif defined(DUALTAPE_ISA_avx2)
using f64s = lanes<double, 4>;
using f32s = lanes<float, 8>;
#define DUALTAPE_F64(stem, accuracy) stem##d4_##accuracy##avx2
#define DUALTAPE_F32(stem, accuracy) stem##f8_##accuracy##avx2
#else
using f64s = lanes<double, 1>;
using f32s = lanes<float, 1>;
#endif

#if defined(DUALTAPE_F64)
#define DUALTAPE_MATH1(name, sleef, accuracy)                                                                 \
  DUALTAPE_INLINE f64s name(f64s x) { return f64s::wrap(DUALTAPE_F64(Sleef_finz_##sleef, accuracy)(x.raw)); } \
  DUALTAPE_INLINE f32s name(f32s x) { return f32s::wrap(DUALTAPE_F32(Sleef_finz_##sleef, accuracy)(x.raw)); }
#define DUALTAPE_MATH2(name, sleef, accuracy)                                    \
  DUALTAPE_INLINE f64s name(f64s a, f64s b) {                                    \
    return f64s::wrap(DUALTAPE_F64(Sleef_finz_##sleef, accuracy)(a.raw, b.raw)); \
  }                                                                              \
  DUALTAPE_INLINE f32s name(f32s a, f32s b) {                                    \
    return f32s::wrap(DUALTAPE_F32(Sleef_finz_##sleef, accuracy)(a.raw, b.raw)); \
  }
#else
#define DUALTAPE_MATH1(name, sleef, accuracy)                                \
  DUALTAPE_INLINE f64s name(f64s x) { return f64s::wrap(num::name(x.raw)); } \
  DUALTAPE_INLINE f32s name(f32s x) { return f32s::wrap(num::name(x.raw)); }
#define DUALTAPE_MATH2(name, sleef, accuracy)                                               \
  DUALTAPE_INLINE f64s name(f64s a, f64s b) { return f64s::wrap(num::name(a.raw, b.raw)); } \
  DUALTAPE_INLINE f32s name(f32s a, f32s b) { return f32s::wrap(num::name(a.raw, b.raw)); }
#endif
#include "dualtape/num/math.def"

// Rounding, roots and fused multiply-add are instructions. (With a mask of all ones, because GCC warns about its own
// header for the form without; the instruction is the same.)
#if defined(DUALTAPE_ISA_avx512)
#define DUALTAPE_BUILTIN(name, f64, f32)                        \
  DUALTAPE_INLINE f64s name(f64s x) { return f64s::wrap(f64); } \
  DUALTAPE_INLINE f32s name(f32s x) { return f32s::wrap(f32); }
DUALTAPE_BUILTIN(sqrt, _mm512_maskz_sqrt_pd(-1, x.raw), _mm512_maskz_sqrt_ps(-1, x.raw))
DUALTAPE_BUILTIN(rint, _mm512_maskz_roundscale_pd(-1, x.raw, 8), _mm512_maskz_roundscale_ps(-1, x.raw, 8))
DUALTAPE_BUILTIN(floor, _mm512_maskz_roundscale_pd(-1, x.raw, 9), _mm512_maskz_roundscale_ps(-1, x.raw, 9))
DUALTAPE_BUILTIN(ceil, _mm512_maskz_roundscale_pd(-1, x.raw, 10), _mm512_maskz_roundscale_ps(-1, x.raw, 10))
DUALTAPE_BUILTIN(trunc, _mm512_maskz_roundscale_pd(-1, x.raw, 11), _mm512_maskz_roundscale_ps(-1, x.raw, 11))
#undef DUALTAPE_BUILTIN
DUALTAPE_INLINE f64s fma(f64s a, f64s b, f64s c) { return f64s::wrap(_mm512_fmadd_pd(a.raw, b.raw, c.raw)); }
DUALTAPE_INLINE f32s fma(f32s a, f32s b, f32s c) { return f32s::wrap(_mm512_fmadd_ps(a.raw, b.raw, c.raw)); }
#elif defined(DUALTAPE_ISA_avx2)
#define DUALTAPE_BUILTIN(name, f64, f32)                        \
  DUALTAPE_INLINE f64s name(f64s x) { return f64s::wrap(f64); } \
  DUALTAPE_INLINE f32s name(f32s x) { return f32s::wrap(f32); }
DUALTAPE_BUILTIN(sqrt, _mm256_sqrt_pd(x.raw), _mm256_sqrt_ps(x.raw))
DUALTAPE_BUILTIN(rint, _mm256_round_pd(x.raw, 8), _mm256_round_ps(x.raw, 8))
DUALTAPE_BUILTIN(floor, _mm256_round_pd(x.raw, 9), _mm256_round_ps(x.raw, 9))
DUALTAPE_BUILTIN(ceil, _mm256_round_pd(x.raw, 10), _mm256_round_ps(x.raw, 10))
DUALTAPE_BUILTIN(trunc, _mm256_round_pd(x.raw, 11), _mm256_round_ps(x.raw, 11))
#undef DUALTAPE_BUILTIN
DUALTAPE_INLINE f64s fma(f64s a, f64s b, f64s c) { return f64s::wrap(_mm256_fmadd_pd(a.raw, b.raw, c.raw)); }
DUALTAPE_INLINE f32s fma(f32s a, f32s b, f32s c) { return f32s::wrap(_mm256_fmadd_ps(a.raw, b.raw, c.raw)); }
#else
#define DUALTAPE_BUILTIN(name)                                               \
  DUALTAPE_INLINE f64s name(f64s x) { return f64s::wrap(num::name(x.raw)); } \
  DUALTAPE_INLINE f32s name(f32s x) { return f32s::wrap(num::name(x.raw)); }
DUALTAPE_BUILTIN(sqrt)
DUALTAPE_BUILTIN(rint)
DUALTAPE_BUILTIN(floor)
DUALTAPE_BUILTIN(ceil)
DUALTAPE_BUILTIN(trunc)
#undef DUALTAPE_BUILTIN
DUALTAPE_INLINE f64s fma(f64s a, f64s b, f64s c) { return f64s::wrap(num::fma(a.raw, b.raw, c.raw)); }
DUALTAPE_INLINE f32s fma(f32s a, f32s b, f32s c) { return f32s::wrap(num::fma(a.raw, b.raw, c.raw)); }
#endif

/// The bits of the numbers as integers, and back.
template <class T, int W>
using bits = typename detail::Raw<typename detail::Bits<T>::type, W>::type;
template <class T, int W>
DUALTAPE_INLINE bits<T, W> to_bits(lanes<T, W> x) {
  return __builtin_bit_cast(bits<T, W>, x.raw);
}
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> from_bits(bits<T, W> x) {
  return lanes<T, W>::wrap(__builtin_bit_cast(typename lanes<T, W>::Raw, x));
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
/// Exact as in C, and as slow: one lane after the other.
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> fmod(lanes<T, W> a, lanes<T, W> b) {
  T from[W], by[W];
  a.store(from);
  b.store(by);
  for (int i = 0; i < W; ++i)
    from[i] = sizeof(T) == 8 ? __builtin_fmod(from[i], by[i]) : __builtin_fmodf(from[i], by[i]);
  return lanes<T, W>::load(from);
}

}  // namespace dualtape::DUALTAPE_ISA
