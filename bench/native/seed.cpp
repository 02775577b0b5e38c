// SPDX-License-Identifier: MIT
// The seed's loop with its gradient by hand: descent on (x2 - x1^2)^2 + (1 - x1)^2.
#include <cstdint>

// result: x1, x2, and the loss before the last step.
extern "C" void descend(std::int64_t iterations, double rate, double x1, double x2, double* result) {
  double loss = 0.0;
  for (std::int64_t k = 0; k < iterations; ++k) {
    const double a = x2 - x1 * x1;
    const double b = 1.0 - x1;
    loss = a * a + b * b;
    const double d2 = 2.0 * a;
    x1 -= rate * (-2.0 * d2 * x1 - 2.0 * b);
    x2 -= rate * d2;
  }
  result[0] = x1;
  result[1] = x2;
  result[2] = loss;
}
