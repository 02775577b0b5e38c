// SPDX-License-Identifier: MIT
// Logistic regression on shared points for many runs side by side: the innermost loop runs over lanes, so that exp and
// log are the C library's vector functions. To be compiled with -ffast-math, which lets them in at 4 ULP.
// Start with `descend`.
#include <cmath>
#include <cstdint>

namespace {

constexpr int kLanes = 64;  // of a block: its sums stay in the first-level cache

struct Block {
  double w1[kLanes], w2[kLanes], b[kLanes], loss[kLanes];
};

void iterate(Block& lanes, std::int64_t points, const double* x1, const double* x2, const double* label,
             const double* rate) {
  double d1[kLanes] = {}, d2[kLanes] = {}, db[kLanes] = {}, loss[kLanes] = {};
  for (std::int64_t p = 0; p < points; ++p) {
    const double y1 = label[p] * x1[p], y2 = label[p] * x2[p], y = label[p];
#pragma omp simd
    for (int i = 0; i < kLanes; ++i) {
      const double e = std::exp(-(y1 * lanes.w1[i] + y2 * lanes.w2[i] + y * lanes.b[i]));
      const double sum = 1.0 + e, share = e / sum;
      loss[i] += std::log(sum);
      d1[i] += y1 * share;
      d2[i] += y2 * share;
      db[i] += y * share;
    }
  }
  const double each = 1.0 / static_cast<double>(points);
#pragma omp simd
  for (int i = 0; i < kLanes; ++i) {
    lanes.w1[i] += rate[i] * each * d1[i];
    lanes.w2[i] += rate[i] * each * d2[i];
    lanes.b[i] += rate[i] * each * db[i];
    lanes.loss[i] = loss[i] * each;
  }
}

}  // namespace

// n, a multiple of 64, rates. result: first weight, second weight, bias, and last loss, n each.
extern "C" void descend(std::int64_t n, std::int64_t iterations, std::int64_t points, const double* x1,
                        const double* x2, const double* label, const double* rates, double* result) {
  for (std::int64_t first = 0; first < n; first += kLanes) {
    Block lanes = {};
    for (std::int64_t t = 0; t < iterations; ++t) iterate(lanes, points, x1, x2, label, rates + first);
    for (int i = 0; i < kLanes; ++i) {
      const double numbers[] = {lanes.w1[i], lanes.w2[i], lanes.b[i], lanes.loss[i]};
      for (int k = 0; k < 4; ++k) result[k * n + first + i] = numbers[k];
    }
  }
}
