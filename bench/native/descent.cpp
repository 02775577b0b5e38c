// SPDX-License-Identifier: MIT
// One long run of Adam on the seed's loss, the gradient by hand. (Plain descent is `descend` in seed.cpp.)
#include <algorithm>
#include <cmath>
#include <cstdint>

// result: x1, x2.
extern "C" void adam(std::int64_t iterations, double rate, double x1, double x2, double* result) {
  constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;
  constexpr double kTiny = 1e-300;  // below lie numbers that take a processor a hundred times as long
  double m1 = 0.0, v1 = 0.0, m2 = 0.0, v2 = 0.0, power1 = 1.0, power2 = 1.0;
  for (std::int64_t t = 0; t < iterations; ++t) {
    power1 = std::max(power1 * kBeta1, kTiny);
    power2 = std::max(power2 * kBeta2, kTiny);
    const double root = std::sqrt(1.0 - power2), factor = rate * root / (1.0 - power1), epsilon = kEpsilon * root;
    const double a = x2 - x1 * x1, b = 1.0 - x1;
    const double d2 = 2.0 * a, d1 = -2.0 * (d2 * x1 + b);
    m1 = kBeta1 * m1 + (1.0 - kBeta1) * d1;
    v1 = kBeta2 * v1 + (1.0 - kBeta2) * (d1 * d1);
    m2 = kBeta1 * m2 + (1.0 - kBeta1) * d2;
    v2 = kBeta2 * v2 + (1.0 - kBeta2) * (d2 * d2);
    x1 -= factor * m1 / (std::sqrt(v1) + epsilon);
    x2 -= factor * m2 / (std::sqrt(v2) + epsilon);
  }
  result[0] = x1;
  result[1] = x2;
}
