// SPDX-License-Identifier: MIT
// Rosenbrock's function in n dimensions with its derivatives by hand.  One pass each, vectorisable, no
// temporaries.  All three take the point, a direction (used by `forward` alone) and the place of the result.
#include <algorithm>
#include <cstdint>

extern "C" void forward(std::int64_t n, const double* x, const double* v, double* result) {
  double value = 0.0, slope = 0.0;
#pragma omp simd reduction(+ : value, slope)
  for (std::int64_t i = 0; i < n - 1; ++i) {
    const double off = x[i + 1] - x[i] * x[i];
    const double rest = 1.0 - x[i];
    value += 100.0 * off * off + rest * rest;
    slope += 200.0 * off * (v[i + 1] - 2.0 * x[i] * v[i]) - 2.0 * rest * v[i];
  }
  result[0] = value;
  result[1] = slope;
}

// result: the value, then the gradient.
extern "C" void reverse(std::int64_t n, const double* x, const double*, double* result) {
  double* gradient = result + 1;
  // Each entry gathers from both of its terms, so that no iteration waits for the one before.
  const auto inner = [x](std::int64_t i) { return -400.0 * x[i] * (x[i + 1] - x[i] * x[i]) - 2.0 * (1.0 - x[i]); };
  double value = 0.0;
#pragma omp simd reduction(+ : value)
  for (std::int64_t i = 0; i < n - 1; ++i) {
    const double off = x[i + 1] - x[i] * x[i];
    const double rest = 1.0 - x[i];
    value += 100.0 * off * off + rest * rest;
  }
  gradient[0] = inner(0);
#pragma omp simd
  for (std::int64_t i = 1; i < n - 1; ++i) {
    gradient[i] = inner(i) + 200.0 * (x[i] - x[i - 1] * x[i - 1]);
  }
  gradient[n - 1] = 200.0 * (x[n - 1] - x[n - 2] * x[n - 2]);
  result[0] = value;
}

// result: the matrix, row by row.
extern "C" void hessian(std::int64_t n, const double* x, const double*, double* result) {
  std::fill_n(result, n * n, 0.0);
  for (std::int64_t i = 0; i < n - 1; ++i) {
    double* here = result + i * (n + 1);
    here[0] += 1200.0 * x[i] * x[i] - 400.0 * x[i + 1] + 2.0;
    here[1] = here[n] = -400.0 * x[i];
    here[n + 1] = 200.0;
  }
}
