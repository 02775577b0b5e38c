// SPDX-License-Identifier: MIT
// The seed's descent, and Adam on the same loss, for many learning rates side by side: vectors over rates, and as
// many vectors at once as hide the latency of an iteration. A group of lanes stays in registers from the first
// iteration to the last. Start with `descend`.
#include "lanes.hpp"

namespace {

constexpr int kVectors = 4;                // descent: six operations in a chain, two units
constexpr int kGroup = kVectors * kWidth;  // lanes in registers
constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

// One lane's numbers: x1, x2 from their start to the end.
void descend_group(std::int64_t iterations, const double* rates, double* x1s, double* x2s) {
  Vector x1[kVectors], x2[kVectors], twice[kVectors];
  for (int k = 0; k < kVectors; ++k) {
    x1[k] = load(x1s + k * kWidth);
    x2[k] = load(x2s + k * kWidth);
    twice[k] = 2.0 * load(rates + k * kWidth);
  }
  for (std::int64_t t = 0; t < iterations; ++t) {
#pragma GCC unroll 8
    for (int k = 0; k < kVectors; ++k) {
      const Vector a = x2[k] - x1[k] * x1[k], b = 1.0 - x1[k];
      x2[k] -= twice[k] * a;
      x1[k] += twice[k] * ((a + a) * x1[k] + b);
    }
  }
  for (int k = 0; k < kVectors; ++k) {
    store(x1s + k * kWidth, x1[k]);
    store(x2s + k * kWidth, x2[k]);
  }
}

struct Moments {
  Vector m, v;

  Vector update(Vector g, Vector rate, Vector epsilon) {
    m = kBeta1 * m + (1.0 - kBeta1) * g;
    v = kBeta2 * v + (1.0 - kBeta2) * (g * g);
    return rate * m / (square_root(v) + epsilon);
  }
};

// Two vectors at a time: the divider is busy all the time, and sixteen registers hold them.
void adam_group(std::int64_t iterations, const double* rates, double* x1s, double* x2s) {
  constexpr int kTwo = 2;
  Vector x1[kTwo], x2[kTwo], rate[kTwo];
  Moments first[kTwo] = {}, second[kTwo] = {};
  for (int k = 0; k < kTwo; ++k) {
    x1[k] = load(x1s + k * kWidth);
    x2[k] = load(x2s + k * kWidth);
    rate[k] = load(rates + k * kWidth);
  }
  double power1 = 1.0, power2 = 1.0;
  for (std::int64_t t = 0; t < iterations; ++t) {
    power1 *= kBeta1;
    power2 *= kBeta2;
    const double root = std::sqrt(1.0 - power2);
    const Vector factor = fill(root / (1.0 - power1)), epsilon = fill(kEpsilon * root);
#pragma GCC unroll 8
    for (int k = 0; k < kTwo; ++k) {
      const Vector a = x2[k] - x1[k] * x1[k], b = 1.0 - x1[k];
      const Vector d2 = a + a, d1 = -2.0 * (d2 * x1[k] + b), now = rate[k] * factor;
      x1[k] -= first[k].update(d1, now, epsilon);
      x2[k] -= second[k].update(d2, now, epsilon);
    }
  }
  for (int k = 0; k < kTwo; ++k) {
    store(x1s + k * kWidth, x1[k]);
    store(x2s + k * kWidth, x2[k]);
  }
}

}  // namespace

// n is a multiple of 32; x1 and x2 are where each run starts and, afterwards, where it ended.
extern "C" void descend(std::int64_t n, std::int64_t iterations, std::int64_t threads, const double* rates, double* x1,
                        double* x2) {
  in_threads(n, threads, kGroup, [=](std::int64_t i, std::int64_t last) {
    for (; i < last; i += kGroup) descend_group(iterations, rates + i, x1 + i, x2 + i);
  });
}

extern "C" void adam(std::int64_t n, std::int64_t iterations, std::int64_t threads, const double* rates, double* x1,
                     double* x2) {
  in_threads(n, threads, 2 * kWidth, [=](std::int64_t i, std::int64_t last) {
    for (; i < last; i += 2 * kWidth) adam_group(iterations, rates + i, x1 + i, x2 + i);
  });
}
