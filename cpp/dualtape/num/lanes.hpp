// SPDX-License-Identifier: MIT
// lanes<T, W>: W numbers that are computed with as one, on GCC's vector extensions, and their masks. W = 1 is plain
// scalar code. For kernel sources: everything lives in the namespace of the instruction set (see isa.hpp).
//
// Operators are hidden friends and numbers convert to lanes, so a rule of the table reads the same on lanes and on
// double. Math functions of lanes are in lanes_math.hpp.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "dualtape/num/isa.hpp"

#define DUALTAPE_INLINE [[gnu::always_inline]] inline

namespace dualtape::DUALTAPE_ISA {

#if defined(DUALTAPE_ISA_avx512)
inline constexpr int kVectorBytes = 64;
#elif defined(DUALTAPE_ISA_avx2)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 0;
#endif
/// How many numbers of type T a register of this instruction set holds.
template <class T>
inline constexpr int kWidth = kVectorBytes ? kVectorBytes / static_cast<int>(sizeof(T)) : 1;

namespace detail {
template <class T, int W>
struct Raw {
  typedef T type __attribute__((vector_size(W * sizeof(T))));
};
template <class T>
struct Raw<T, 1> {
  using type = T;
};
template <class T>
struct Bits;
template <>
struct Bits<double> {
  using type = std::int64_t;
};
template <>
struct Bits<float> {
  using type = std::int32_t;
};
}  // namespace detail

template <class T, int W>
struct lanes;

/// What a comparison of lanes gives: true or false for each.
template <class T, int W>
struct mask {
  using Numbers = typename detail::Raw<T, W>::type;
  using Raw = decltype(Numbers{} < Numbers{});
  Raw raw;

  DUALTAPE_INLINE static mask wrap(Raw raw) {
    mask out;
    out.raw = raw;
    return out;
  }
  DUALTAPE_INLINE friend mask operator&(mask a, mask b) { return wrap(a.raw & b.raw); }
  DUALTAPE_INLINE friend mask operator|(mask a, mask b) { return wrap(a.raw | b.raw); }
  DUALTAPE_INLINE friend mask operator^(mask a, mask b) { return wrap(a.raw ^ b.raw); }
  DUALTAPE_INLINE friend mask operator!(mask a) {
    if constexpr (W == 1) {
      return wrap(!a.raw);
    } else {
      return wrap(~a.raw);
    }
  }
  DUALTAPE_INLINE friend bool all_of(mask m) {
#if defined(DUALTAPE_ISA_avx512)
    if constexpr (sizeof(Raw) == 64 && sizeof(T) == 8) return _mm512_movepi64_mask((__m512i)m.raw) == 0xFF;
    if constexpr (sizeof(Raw) == 64 && sizeof(T) == 4) return _mm512_movepi32_mask((__m512i)m.raw) == 0xFFFF;
#elif defined(DUALTAPE_ISA_avx2)
    if constexpr (sizeof(Raw) == 32) return _mm256_movemask_epi8((__m256i)m.raw) == -1;
#endif
    if constexpr (W == 1) return m.raw;
  }
  /// a where the mask is true, else b. A friend of the mask, so that a and b may both be plain numbers.
  DUALTAPE_INLINE friend lanes<T, W> select(mask where, lanes<T, W> a, lanes<T, W> b) {
    return lanes<T, W>::wrap(where.raw ? a.raw : b.raw);
  }
  /// Writes the first `count` bools.
  DUALTAPE_INLINE void store_part(bool* to, int count) const {
    bool bools[W];
    store(bools);
    for (int i = 0; i < count; ++i) to[i] = bools[i];
  }
  /// Writes W bools.
  DUALTAPE_INLINE void store(bool* to) const {
    if constexpr (W == 1) {
      *to = raw;
    } else {
      using Bytes = typename detail::Raw<std::int8_t, W>::type;
      const Bytes bytes = __builtin_convertvector(raw, Bytes) & 1;
      __builtin_memcpy(to, &bytes, W);
    }
  }
};

template <class T, int W>
struct lanes {
  using Number = T;
  using Raw = typename detail::Raw<T, W>::type;
  using Mask = mask<T, W>;
  static constexpr int width = W;
  Raw raw;

  lanes() = default;
  /// The same number in every lane.
  DUALTAPE_INLINE lanes(double value) {
    if constexpr (W == 1) {
      raw = static_cast<T>(value);
    } else {
      raw = static_cast<T>(value) - Raw{};  // minus 0 keeps the sign of -0, plus 0 would not
    }
  }
  /// From the vector itself; a constructor would be taken for that from a number.
  DUALTAPE_INLINE static lanes wrap(Raw raw) {
    lanes out;
    out.raw = raw;
    return out;
  }
  DUALTAPE_INLINE static lanes load(const T* from) {
    lanes out;
    __builtin_memcpy(&out.raw, from, sizeof(Raw));
    return out;
  }
  DUALTAPE_INLINE void store(T* to) const { __builtin_memcpy(to, &raw, sizeof(Raw)); }
  /// The first `count` numbers (fewer than W) and zeros.
  DUALTAPE_INLINE static lanes load_part(const T* from, int count) {
#if defined(DUALTAPE_ISA_avx512)
    const unsigned chosen = (1u << count) - 1;
    if constexpr (sizeof(T) == 8 && W == 8) {
      return wrap(_mm512_maskz_loadu_pd(static_cast<__mmask8>(chosen), from));
    } else if constexpr (sizeof(T) == 4 && W == 16) {
      return wrap(_mm512_maskz_loadu_ps(static_cast<__mmask16>(chosen), from));
    }
#endif
    T numbers[W] = {};
    for (int i = 0; i < count; ++i) numbers[i] = from[i];
    return load(numbers);
  }
  DUALTAPE_INLINE void store_part(T* to, int count) const {
#if defined(DUALTAPE_ISA_avx512)
    const unsigned chosen = (1u << count) - 1;
    if constexpr (sizeof(T) == 8 && W == 8) {
      return _mm512_mask_storeu_pd(to, static_cast<__mmask8>(chosen), raw);
    } else if constexpr (sizeof(T) == 4 && W == 16) {
      return _mm512_mask_storeu_ps(to, static_cast<__mmask16>(chosen), raw);
    }
#endif
    T numbers[W];
    store(numbers);
    for (int i = 0; i < count; ++i) to[i] = numbers[i];
  }

  DUALTAPE_INLINE friend lanes operator-(lanes a) { return wrap(-a.raw); }
  DUALTAPE_INLINE friend lanes operator+(lanes a, lanes b) { return wrap(a.raw + b.raw); }
  DUALTAPE_INLINE friend lanes operator-(lanes a, lanes b) { return wrap(a.raw - b.raw); }
  DUALTAPE_INLINE friend lanes operator*(lanes a, lanes b) { return wrap(a.raw * b.raw); }
  DUALTAPE_INLINE friend lanes operator/(lanes a, lanes b) { return wrap(a.raw / b.raw); }
  DUALTAPE_INLINE friend Mask operator==(lanes a, lanes b) { return Mask::wrap(a.raw == b.raw); }
  DUALTAPE_INLINE friend Mask operator!=(lanes a, lanes b) { return Mask::wrap(a.raw != b.raw); }
  DUALTAPE_INLINE friend Mask operator<(lanes a, lanes b) { return Mask::wrap(a.raw < b.raw); }
  DUALTAPE_INLINE friend Mask operator<=(lanes a, lanes b) { return Mask::wrap(a.raw <= b.raw); }
  DUALTAPE_INLINE friend Mask operator>(lanes a, lanes b) { return Mask::wrap(a.raw > b.raw); }
  DUALTAPE_INLINE friend Mask operator>=(lanes a, lanes b) { return Mask::wrap(a.raw >= b.raw); }
};

}  // namespace dualtape::DUALTAPE_ISA
