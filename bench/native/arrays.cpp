// SPDX-License-Identifier: MIT
// Elementwise loops into a given array, `calls` times over.  Where the C library has vector versions of its math
// functions (glibc's libmvec on x86-64) the loops use them, declared here because its headers offer them under
// -ffast-math only.
#include <cmath>
#include <cstdint>

#if defined(__GLIBC__) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VECTORISED __attribute__((simd("notinbranch"), const))
extern "C" {
VECTORISED double exp(double) noexcept;
VECTORISED double log(double) noexcept;
VECTORISED double sin(double) noexcept;
#if __GLIBC_PREREQ(2, 35)
VECTORISED double tanh(double) noexcept;
#endif
}
#endif

namespace {

template <class F>
void unary(std::int64_t calls, std::int64_t n, const double* x, double* __restrict y, F f) {
  for (std::int64_t k = 0; k < calls; ++k) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
    asm volatile("" ::: "memory");  // every call counts
  }
}

template <class F>
void binary(std::int64_t calls, std::int64_t n, const double* a, const double* b, double* __restrict y, F f) {
  for (std::int64_t k = 0; k < calls; ++k) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = f(a[i], b[i]);
    asm volatile("" ::: "memory");
  }
}

}  // namespace

#define UNARY(name)                                                                         \
  extern "C" void name##_(std::int64_t calls, std::int64_t n, const double* x, double* y) { \
    unary(calls, n, x, y, [](double v) { return ::name(v); });                              \
  }
UNARY(exp)
UNARY(log)
UNARY(sin)
UNARY(tanh)

#define BINARY(name, sign)                                                                                   \
  extern "C" void name##_(std::int64_t calls, std::int64_t n, const double* a, const double* b, double* y) { \
    binary(calls, n, a, b, y, [](double u, double v) { return u sign v; });                                  \
  }
BINARY(add, +)
BINARY(multiply, *)
