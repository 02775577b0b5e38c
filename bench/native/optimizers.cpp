// SPDX-License-Identifier: MIT
// One step of every optimizer in one pass over the arrays: parameters, gradients, and up to three states that are
// zero before iteration t = 1.  Learning rate 0.01, PyTorch's other defaults.  Start with `adam`.
#include <cmath>
#include <cstdint>

namespace {

constexpr double kRate = 0.01, kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

inline double sign(double x) { return static_cast<double>((x > 0.0) - (x < 0.0)); }

// Runs an update f(p, g, a, b, c) over all parameters.  States that it leaves alone are not touched in memory.
template <class F>
inline void each(std::int64_t n, double* p, const double* g, double* a, double* b, double* c, F f) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) f(p[i], g[i], a[i], b[i], c[i]);
}

inline double correction(double beta, std::int64_t t) { return 1.0 - std::pow(beta, static_cast<double>(t)); }

}  // namespace

#define STEP(name)                                                                                         \
  extern "C" void name(std::int64_t n, std::int64_t t, double* __restrict p_, const double* __restrict g_, \
                       double* __restrict a_, double* __restrict b_, double* __restrict c_)
#define EACH each(n, p_, g_, a_, b_, c_, [=](double& p, double g, double& a, double& b, double& c)
#define UNUSED(...) (void)sizeof(__VA_ARGS__)

STEP(sgd) {
  UNUSED(t);
  EACH {
    UNUSED(a + b + c);
    p -= kRate * g;
  });
}

STEP(sgd_with_momentum) {
  UNUSED(t);
  EACH {
    UNUSED(b + c);
    a = 0.9 * a + g;
    p -= kRate * a;
  });
}

STEP(adam) {
  const double root = std::sqrt(correction(kBeta2, t));
  const double rate = kRate * root / correction(kBeta1, t), epsilon = kEpsilon * root;
  EACH {
    UNUSED(c);
    a = kBeta1 * a + (1.0 - kBeta1) * g;
    b = kBeta2 * b + (1.0 - kBeta2) * g * g;
    p -= rate * a / (std::sqrt(b) + epsilon);
  });
}

STEP(adamw) {
  const double root = std::sqrt(correction(kBeta2, t));
  const double rate = kRate * root / correction(kBeta1, t), epsilon = kEpsilon * root;
  EACH {
    UNUSED(c);
    a = kBeta1 * a + (1.0 - kBeta1) * g;
    b = kBeta2 * b + (1.0 - kBeta2) * g * g;
    p = p * (1.0 - kRate * 0.01) - rate * a / (std::sqrt(b) + epsilon);
  });
}

STEP(amsgrad) {
  const double root = std::sqrt(correction(kBeta2, t));
  const double rate = kRate * root / correction(kBeta1, t), epsilon = kEpsilon * root;
  EACH {
    a = kBeta1 * a + (1.0 - kBeta1) * g;
    b = kBeta2 * b + (1.0 - kBeta2) * g * g;
    c = c > b ? c : b;
    p -= rate * a / (std::sqrt(c) + epsilon);
  });
}

STEP(nadam) {
  const auto mu = [](std::int64_t k) { return kBeta1 * (1.0 - 0.5 * std::pow(0.96, static_cast<double>(k) * 4e-3)); };
  double product = 1.0;
  for (std::int64_t k = 1; k <= t; ++k) product *= mu(k);
  const double root = std::sqrt(correction(kBeta2, t)), epsilon = kEpsilon * root;
  const double of_g = kRate * root * (1.0 - mu(t)) / (1.0 - product);
  const double of_m = kRate * root * mu(t + 1) / (1.0 - product * mu(t + 1));
  EACH {
    UNUSED(c);
    a = kBeta1 * a + (1.0 - kBeta1) * g;
    b = kBeta2 * b + (1.0 - kBeta2) * g * g;
    p -= (of_g * g + of_m * a) / (std::sqrt(b) + epsilon);
  });
}

STEP(radam) {
  const double correct = correction(kBeta2, t), limit = 2.0 / (1.0 - kBeta2) - 1.0;
  const double length = limit - 2.0 * static_cast<double>(t) * (1.0 - correct) / correct;
  const double rate = kRate / correction(kBeta1, t);
  const bool rectified = length > 5.0;
  const double factor = rectified ? rate * std::sqrt((length - 4.0) * (length - 2.0) * limit * correct /
                                                     ((limit - 4.0) * (limit - 2.0) * length))
                                  : rate;
  if (rectified) {
    EACH {
      UNUSED(c);
      a = kBeta1 * a + (1.0 - kBeta1) * g;
      b = kBeta2 * b + (1.0 - kBeta2) * g * g;
      p -= factor * a / (std::sqrt(b) + kEpsilon);
    });
  } else {
    EACH {
      UNUSED(c);
      a = kBeta1 * a + (1.0 - kBeta1) * g;
      b = kBeta2 * b + (1.0 - kBeta2) * g * g;
      p -= factor * a;
    });
  }
}

STEP(adamax) {
  const double rate = kRate / correction(kBeta1, t);
  EACH {
    UNUSED(c);
    a = kBeta1 * a + (1.0 - kBeta1) * g;
    const double old = kBeta2 * b, now = std::fabs(g) + kEpsilon;
    b = old > now ? old : now;
    p -= rate * a / b;
  });
}

STEP(rmsprop) {
  UNUSED(t);
  EACH {
    UNUSED(b + c);
    a = 0.99 * a + 0.01 * g * g;
    p -= kRate * g / (std::sqrt(a) + kEpsilon);
  });
}

STEP(adagrad) {
  UNUSED(t);
  EACH {
    UNUSED(b + c);
    a += g * g;
    p -= kRate * g / (std::sqrt(a) + 1e-10);
  });
}

STEP(adadelta) {
  UNUSED(t);
  EACH {
    UNUSED(c);
    a = 0.9 * a + 0.1 * g * g;
    const double step = std::sqrt((b + 1e-6) / (a + 1e-6)) * g;
    b = 0.9 * b + 0.1 * step * step;
    p -= kRate * step;
  });
}

// a: the gradient before; b: the size of the step.
STEP(rprop) {
  const bool first = t == 1;
  EACH {
    UNUSED(c);
    const double agreement = g * a;
    const double size = (first ? kRate : b) * (agreement > 0.0 ? 1.2 : agreement < 0.0 ? 0.5 : 1.0);
    b = size < 1e-6 ? 1e-6 : size > 50.0 ? 50.0 : size;
    a = agreement < 0.0 ? 0.0 : g;
    p -= sign(a) * b;
  });
}

STEP(lion) {
  UNUSED(t);
  EACH {
    UNUSED(b + c);
    p -= kRate * sign(kBeta1 * a + (1.0 - kBeta1) * g);
    a = 0.99 * a + 0.01 * g;
  });
}
