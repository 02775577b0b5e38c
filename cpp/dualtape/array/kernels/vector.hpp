// SPDX-License-Identifier: MIT
// Native vectors for the shaped kernels: the widest of the instruction set being compiled, as GCC vector extensions
// (so +, *, < and ?: work), with what the extensions lack: loads and stores of a few elements, fused multiply-add,
// transposition of a square. For inclusion in kernel sources only.
#pragma once

#include <cstdint>

#include "dualtape/num/isa.hpp"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dualtape::array::DUALTAPE_ISA {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

template <class T>
struct VectorOf;
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(kVectorBytes)));
  typedef std::int64_t mask __attribute__((vector_size(kVectorBytes)));
};
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(kVectorBytes)));
  typedef std::int32_t mask __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Vector = typename VectorOf<T>::type;
/// Elements in a vector.
template <class T>
inline constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));

template <class T>
inline Vector<T> broadcast(T value) {
  return value - Vector<T>{};  // not {} + value, which would turn -0.0 into 0.0
}

template <class T>
inline Vector<T> load(const T* from) {
  Vector<T> v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

template <class T>
inline void store(T* to, Vector<T> v) {
  __builtin_memcpy(to, &v, sizeof v);
}

#if defined(__AVX512F__)

inline __mmask8 first8(int count) { return static_cast<__mmask8>((1u << count) - 1); }
inline __mmask16 first16(int count) { return static_cast<__mmask16>((1u << count) - 1); }
/// The first `count` elements from memory (nothing beyond them is touched), the others from `fill`.
inline Vector<double> load_first(const double* from, int count, Vector<double> fill) {
  return (Vector<double>)_mm512_mask_loadu_pd((__m512d)fill, first8(count), from);
}
inline Vector<float> load_first(const float* from, int count, Vector<float> fill) {
  return (Vector<float>)_mm512_mask_loadu_ps((__m512)fill, first16(count), from);
}
inline void store_first(double* to, int count, Vector<double> v) {
  _mm512_mask_storeu_pd(to, first8(count), (__m512d)v);
}
inline void store_first(float* to, int count, Vector<float> v) { _mm512_mask_storeu_ps(to, first16(count), (__m512)v); }
inline Vector<double> fma(Vector<double> a, Vector<double> b, Vector<double> c) {
  return (Vector<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
inline Vector<float> fma(Vector<float> a, Vector<float> b, Vector<float> c) {
  return (Vector<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

#elif defined(__AVX2__)

inline __m256i first4(int count) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
}
inline __m256i first8(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Vector<double> load_first(const double* from, int count, Vector<double> fill) {
  const __m256i mask = first4(count);
  return (Vector<double>)_mm256_blendv_pd((__m256d)fill, _mm256_maskload_pd(from, mask), (__m256d)mask);
}
inline Vector<float> load_first(const float* from, int count, Vector<float> fill) {
  const __m256i mask = first8(count);
  return (Vector<float>)_mm256_blendv_ps((__m256)fill, _mm256_maskload_ps(from, mask), (__m256)mask);
}
inline void store_first(double* to, int count, Vector<double> v) { _mm256_maskstore_pd(to, first4(count), (__m256d)v); }
inline void store_first(float* to, int count, Vector<float> v) { _mm256_maskstore_ps(to, first8(count), (__m256)v); }
inline Vector<double> fma(Vector<double> a, Vector<double> b, Vector<double> c) {
  return (Vector<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
inline Vector<float> fma(Vector<float> a, Vector<float> b, Vector<float> c) {
  return (Vector<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

#else

template <class T>
inline Vector<T> load_first(const T* from, int count, Vector<T> fill) {
  for (int i = 0; i < count; ++i) fill[i] = from[i];
  return fill;
}
template <class T>
inline void store_first(T* to, int count, Vector<T> v) {
  for (int i = 0; i < count; ++i) to[i] = v[i];
}
inline Vector<double> fma(Vector<double> a, Vector<double> b, Vector<double> c) {
  for (int i = 0; i < kWidth<double>; ++i) c[i] = __builtin_fma(a[i], b[i], c[i]);
  return c;
}
inline Vector<float> fma(Vector<float> a, Vector<float> b, Vector<float> c) {
  for (int i = 0; i < kWidth<float>; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
}

#endif

/// f(i, count) for the vectors of n elements: `count` elements from i on, fewer than a vector only at the end.
template <class T, class F>
inline void for_vectors(std::int64_t n, F f) {
  constexpr int kW = kWidth<T>;
  for (std::int64_t i = 0; i < n; i += kW) f(i, n - i < kW ? static_cast<int>(n - i) : kW);
}
template <class T>
inline Vector<T> load_up_to(const T* from, int count, Vector<T> fill = Vector<T>{}) {
  return count == kWidth<T> ? load(from) : load_first(from, count, fill);
}
template <class T>
inline void store_up_to(T* to, int count, Vector<T> v) {
  if (count == kWidth<T>) {
    store(to, v);
  } else {
    store_first(to, count, v);
  }
}

/// `to[i][j] = from[j][i]` for a square of kWidth rows; the strides are those of rows.
template <class T>
inline void transpose_square(const T* from, std::int64_t from_stride, T* to, std::int64_t to_stride) {
  constexpr int kW = kWidth<T>;
  typedef typename VectorOf<T>::mask Index;
  Vector<T> rows[kW], next[kW];
#pragma GCC unroll 16
  for (int i = 0; i < kW; ++i) rows[i] = load(from + i * from_stride);
  // Each round interleaves row i with row i + kW / 2; log2(kW) perfect shuffles transpose the square.
  Index low, high;
#pragma GCC unroll 16
  for (int j = 0; j < kW; ++j) {
    low[j] = j / 2 + (j % 2) * kW;
    high[j] = kW / 2 + j / 2 + (j % 2) * kW;
  }
#pragma GCC unroll 4
  for (int round = 1; round < kW; round *= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < kW / 2; ++i) {
      next[2 * i] = __builtin_shuffle(rows[i], rows[i + kW / 2], low);
      next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + kW / 2], high);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kW; ++i) rows[i] = next[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < kW; ++i) store(to + i * to_stride, rows[i]);
}

}  // namespace dualtape::array::DUALTAPE_ISA
