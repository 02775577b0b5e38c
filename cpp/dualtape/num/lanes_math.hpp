// SPDX-License-Identifier: MIT
// Math functions of lanes, with the bits of math.hpp's scalars: SLEEF's vector functions and those of
// polynomials.hpp. For kernel sources.
#pragma once

#include "dualtape/num/lanes_instructions.hpp"

#if defined(__x86_64__)
#include <sleef.h>
#endif

namespace dualtape::DUALTAPE_ISA {

#define DUALTAPE_OWN1(name)                         \
  template <class T, int W>                         \
  DUALTAPE_INLINE lanes<T, W> name(lanes<T, W> x) { \
    return num::polynomials::name<T>(x);            \
  }
#include "dualtape/num/math.def"

#define DUALTAPE_SLEEF1(name, sleef, accuracy)      \
  template <class T>                                \
  DUALTAPE_INLINE lanes<T, 1> name(lanes<T, 1> x) { \
    return lanes<T, 1>::wrap(num::name(x.raw));     \
  }
#define DUALTAPE_SLEEF2(name, sleef, accuracy)                     \
  template <class T>                                               \
  DUALTAPE_INLINE lanes<T, 1> name(lanes<T, 1> a, lanes<T, 1> b) { \
    return lanes<T, 1>::wrap(num::name(a.raw, b.raw));             \
  }
#include "dualtape/num/math.def"

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
#endif

#if defined(DUALTAPE_F64)
#define DUALTAPE_SLEEF1(name, sleef, accuracy)                                                                \
  DUALTAPE_INLINE f64s name(f64s x) { return f64s::wrap(DUALTAPE_F64(Sleef_finz_##sleef, accuracy)(x.raw)); } \
  DUALTAPE_INLINE f32s name(f32s x) { return f32s::wrap(DUALTAPE_F32(Sleef_finz_##sleef, accuracy)(x.raw)); }
#define DUALTAPE_SLEEF2(name, sleef, accuracy)                                   \
  DUALTAPE_INLINE f64s name(f64s a, f64s b) {                                    \
    return f64s::wrap(DUALTAPE_F64(Sleef_finz_##sleef, accuracy)(a.raw, b.raw)); \
  }                                                                              \
  DUALTAPE_INLINE f32s name(f32s a, f32s b) {                                    \
    return f32s::wrap(DUALTAPE_F32(Sleef_finz_##sleef, accuracy)(a.raw, b.raw)); \
  }
#include "dualtape/num/math.def"
#undef DUALTAPE_F64
#undef DUALTAPE_F32
#endif

#define DUALTAPE_REPAIRED1(name, sleef, accuracy)   \
  template <class T, int W>                         \
  DUALTAPE_INLINE lanes<T, W> name(lanes<T, W> x) { \
    return num::repaired::name(x);                  \
  }
#define DUALTAPE_REPAIRED2(name, sleef, accuracy)                  \
  template <class T, int W>                                        \
  DUALTAPE_INLINE lanes<T, W> name(lanes<T, W> a, lanes<T, W> b) { \
    return num::repaired::name(a, b);                              \
  }
#include "dualtape/num/math.def"

}  // namespace dualtape::DUALTAPE_ISA
