// SPDX-License-Identifier: MIT
// Gradient descent on (x2 - x1^2)^2 + (1 - x1)^2 / 10 from many starts, with decisions: a gradient that is too long is
// shortened; the rate is halved until the loss falls far enough. Vectors, where lanes that have decided wait under
// a mask, and one run after the other. Start with `clipped_vectors`.
#include "lanes.hpp"

namespace {

constexpr double kFlat = 0.1;

template <class T>
struct Slopes {
  T loss, d1, d2;

  Slopes(T x1, T x2) {
    const T a = x2 - x1 * x1, b = 1.0 - x1;
    loss = a * a + kFlat * (b * b);
    d2 = 2.0 * a;
    d1 = -2.0 * (d2 * x1 + kFlat * b);
  }
};

template <class T>
inline T loss_at(T x1, T x2) {
  const T a = x2 - x1 * x1, b = 1.0 - x1;
  return a * a + kFlat * (b * b);
}

// f(x1, x2) on the states of some vectors at a time, all iterations in registers. n is a multiple of 4 vectors.
template <int kVectors, class F>
inline void over_vectors(std::int64_t n, std::int64_t iterations, double* x1s, double* x2s, F f) {
  for (std::int64_t i = 0; i < n; i += kVectors * kWidth) {
    Vector x1[kVectors], x2[kVectors];
    for (int k = 0; k < kVectors; ++k) {
      x1[k] = load(x1s + i + k * kWidth);
      x2[k] = load(x2s + i + k * kWidth);
    }
    for (std::int64_t t = 0; t < iterations; ++t) f(x1, x2);
    for (int k = 0; k < kVectors; ++k) {
      store(x1s + i + k * kWidth, x1[k]);
      store(x2s + i + k * kWidth, x2[k]);
    }
  }
}

template <class F>
inline void over_runs(std::int64_t n, std::int64_t iterations, double* x1s, double* x2s, F f) {
  for (std::int64_t i = 0; i < n; ++i) {
    double x1 = x1s[i], x2 = x2s[i];
    for (std::int64_t t = 0; t < iterations; ++t) f(x1, x2);
    x1s[i] = x1;
    x2s[i] = x2;
  }
}

}  // namespace

extern "C" void clipped_vectors(std::int64_t n, std::int64_t iterations, double rate, double most, double* x1s,
                                double* x2s) {
  over_vectors<4>(n, iterations, x1s, x2s, [=](Vector* x1, Vector* x2) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const Slopes<Vector> at(x1[k], x2[k]);
      const Vector length = square_root(at.d1 * at.d1 + at.d2 * at.d2), whole = fill(rate);
      const Vector now = length > fill(most) ? rate * most / length : whole;
      x1[k] -= now * at.d1;
      x2[k] -= now * at.d2;
    }
  });
}

extern "C" void clipped(std::int64_t n, std::int64_t iterations, double rate, double most, double* x1s, double* x2s) {
  over_runs(n, iterations, x1s, x2s, [=](double& x1, double& x2) {
    const Slopes<double> at(x1, x2);
    const double square = at.d1 * at.d1 + at.d2 * at.d2;
    double now = rate;
    if (square > most * most) now = rate * most / std::sqrt(square);
    x1 -= now * at.d1;
    x2 -= now * at.d2;
  });
}

// Armijo's rule with 0.3, from the given rate on.
extern "C" void searched_vectors(std::int64_t n, std::int64_t iterations, double rate, double* x1s, double* x2s) {
  over_vectors<2>(n, iterations, x1s, x2s, [=](Vector* x1, Vector* x2) {
    const Slopes<Vector> a(x1[0], x2[0]), b(x1[1], x2[1]);
    const Vector enough_a = 0.3 * (a.d1 * a.d1 + a.d2 * a.d2), enough_b = 0.3 * (b.d1 * b.d1 + b.d2 * b.d2);
    Vector rate_a = fill(rate), rate_b = fill(rate);
    for (;;) {
      const Vector new_a = loss_at(x1[0] - rate_a * a.d1, x2[0] - rate_a * a.d2);
      const Vector new_b = loss_at(x1[1] - rate_b * b.d1, x2[1] - rate_b * b.d2);
      const Vector limit_a = a.loss - rate_a * enough_a, limit_b = b.loss - rate_b * enough_b;
      if (!(less(limit_a, new_a) | less(limit_b, new_b))) break;
      rate_a = new_a > limit_a ? 0.5 * rate_a : rate_a;
      rate_b = new_b > limit_b ? 0.5 * rate_b : rate_b;
    }
    x1[0] -= rate_a * a.d1;
    x2[0] -= rate_a * a.d2;
    x1[1] -= rate_b * b.d1;
    x2[1] -= rate_b * b.d2;
  });
}

extern "C" void searched(std::int64_t n, std::int64_t iterations, double rate, double* x1s, double* x2s) {
  over_runs(n, iterations, x1s, x2s, [=](double& x1, double& x2) {
    const Slopes<double> at(x1, x2);
    const double enough = 0.3 * (at.d1 * at.d1 + at.d2 * at.d2);
    double now = rate;
    while (loss_at(x1 - now * at.d1, x2 - now * at.d2) > at.loss - now * enough) now *= 0.5;
    x1 -= now * at.d1;
    x2 -= now * at.d2;
  });
}
