// SPDX-License-Identifier: MIT
// Vectors of doubles as wide as the machine's, by GCC's and Clang's vector extensions, and what those lack: a
// square root, a comparison as bits, and threads. Start with `Vector`.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int kWidth = 8;
#elif defined(__AVX__)
constexpr int kWidth = 4;
#else
constexpr int kWidth = 2;
#endif

typedef double Vector __attribute__((vector_size(kWidth * sizeof(double))));
typedef std::int64_t Mask __attribute__((vector_size(kWidth * sizeof(double))));

inline Vector load(const double* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store(double* p, Vector v) { std::memcpy(p, &v, sizeof v); }

inline Vector fill(double x) { return Vector{} + x; }

inline Vector square_root(Vector x) {
#if defined(__AVX512F__)
  return (Vector)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX__)
  return (Vector)_mm256_sqrt_pd((__m256d)x);
#else
  for (int i = 0; i < kWidth; ++i) x[i] = std::sqrt(x[i]);
  return x;
#endif
}

// A bit for each lane in which a < b.
inline unsigned less(Vector a, Vector b) {
#if defined(__AVX512F__)
  return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ);
#elif defined(__AVX__)
  return static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd((__m256d)a, (__m256d)b, _CMP_LT_OQ)));
#else
  unsigned bits = 0;
  for (int i = 0; i < kWidth; ++i) bits |= static_cast<unsigned>(a[i] < b[i]) << i;
  return bits;
#endif
}

// f(first, last) on equal parts of n in so many threads; parts are multiples of `grain`.
template <class F>
inline void in_threads(std::int64_t n, std::int64_t threads, std::int64_t grain, F f) {
  if (threads < 2) return f(std::int64_t{0}, n);
  std::vector<std::thread> pool;
  const std::int64_t part = (n / grain + threads - 1) / threads * grain;
  for (std::int64_t first = 0; first < n; first += part) {
    pool.emplace_back([=] { f(first, first + part < n ? first + part : n); });
  }
  for (auto& thread : pool) thread.join();
}
