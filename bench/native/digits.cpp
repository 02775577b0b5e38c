// SPDX-License-Identifier: MIT
// One training step of the 64-32-10 tanh network on a batch of 64: forward pass, gradient by hand, Adam in one pass.
//
// Sizes are compile-time constants and every product is a loop nest whose innermost loop runs over contiguous columns,
// which the compiler keeps in vector registers: at these sizes that beats a call into a linear-algebra library.
// Start with `train`.
#include <algorithm>
#include <cmath>
#include <cstdint>

#if defined(__GLIBC__) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VECTORISED __attribute__((simd("notinbranch"), const))
extern "C" {
VECTORISED double exp(double) noexcept;
#if __GLIBC_PREREQ(2, 35)
VECTORISED double tanh(double) noexcept;
#endif
}
#endif

namespace {

constexpr int kIn = 64, kOut = 10, kBatch = 64;

// C (M x N) = A (M x K) B (K x N) + row.  kRows rows of C at a time stay in registers.
template <int M, int K, int N, int kRows>
inline void multiply_add(const double* __restrict a, const double* __restrict b, const double* __restrict row,
                         double* __restrict c) {
  for (int i = 0; i < M; i += kRows) {
    double sum[kRows][N];
    for (int r = 0; r < kRows; ++r) std::copy_n(row, N, sum[r]);
    for (int k = 0; k < K; ++k) {
      for (int r = 0; r < kRows; ++r) {
        const double factor = a[(i + r) * K + k];
#pragma omp simd
        for (int j = 0; j < N; ++j) sum[r][j] += factor * b[k * N + j];
      }
    }
    for (int r = 0; r < kRows; ++r) std::copy_n(sum[r], N, c + (i + r) * N);
  }
}

// C (K x N) = A^T B for A (M x K), B (M x N).
template <int M, int K, int N, int kRows>
inline void multiply_transposed(const double* __restrict a, const double* __restrict b, double* __restrict c) {
  for (int k = 0; k < K; k += kRows) {
    double sum[kRows][N] = {};
    for (int i = 0; i < M; ++i) {
      for (int r = 0; r < kRows; ++r) {
        const double factor = a[i * K + k + r];
#pragma omp simd
        for (int j = 0; j < N; ++j) sum[r][j] += factor * b[i * N + j];
      }
    }
    for (int r = 0; r < kRows; ++r) std::copy_n(sum[r], N, c + (k + r) * N);
  }
}

template <int M, int N>
inline void column_sums(const double* __restrict a, double* __restrict sum) {
  double total[N] = {};
  for (int i = 0; i < M; ++i) {
#pragma omp simd
    for (int j = 0; j < N; ++j) total[j] += a[i * N + j];
  }
  std::copy_n(total, N, sum);
}

// params, m and v: W1 (64 x hidden), b1, W2 (hidden x 10), b2, one after the other.  t counts from 1.
template <int kHidden>
inline void step(std::int64_t t, double rate, const double* x, const double* targets, double* __restrict params,
                 double* __restrict m, double* __restrict v) {
  constexpr int kW1 = 0, kB1 = kW1 + kIn * kHidden, kW2 = kB1 + kHidden, kB2 = kW2 + kHidden * kOut;
  constexpr int kCount = kB2 + kOut;
  alignas(64) static thread_local double h[kBatch * kHidden], delta[kBatch * kOut], back[kBatch * kHidden],
      w2_transposed[kOut * kHidden], grads[kCount];

  multiply_add<kBatch, kIn, kHidden, 4>(x, params + kW1, params + kB1, h);
#pragma omp simd
  for (int i = 0; i < kBatch * kHidden; ++i) h[i] = ::tanh(h[i]);
  multiply_add<kBatch, kHidden, kOut, 4>(h, params + kW2, params + kB2, delta);

  // Softmax minus target, over the batch.
  for (int i = 0; i < kBatch; ++i) {
    double* row = delta + i * kOut;
    const double top = *std::max_element(row, row + kOut);
    for (int j = 0; j < kOut; ++j) row[j] -= top;
  }
#pragma omp simd
  for (int i = 0; i < kBatch * kOut; ++i) delta[i] = ::exp(delta[i]);
  for (int i = 0; i < kBatch; ++i) {
    double* row = delta + i * kOut;
    double sum = 0.0;
    for (int j = 0; j < kOut; ++j) sum += row[j];
    for (int j = 0; j < kOut; ++j) row[j] = (row[j] / sum - targets[i * kOut + j]) * (1.0 / kBatch);
  }

  for (int j = 0; j < kHidden; ++j) {
    for (int c = 0; c < kOut; ++c) w2_transposed[c * kHidden + j] = params[kW2 + j * kOut + c];
  }
  static constexpr double kZeros[kHidden] = {};
  multiply_add<kBatch, kOut, kHidden, 4>(delta, w2_transposed, kZeros, back);
#pragma omp simd
  for (int i = 0; i < kBatch * kHidden; ++i) back[i] *= 1.0 - h[i] * h[i];

  multiply_transposed<kBatch, kIn, kHidden, 4>(x, back, grads + kW1);
  column_sums<kBatch, kHidden>(back, grads + kB1);
  multiply_transposed<kBatch, kHidden, kOut, 4>(h, delta, grads + kW2);
  column_sums<kBatch, kOut>(delta, grads + kB2);

  const double root = std::sqrt(1.0 - std::pow(0.999, static_cast<double>(t)));
  const double factor = rate * root / (1.0 - std::pow(0.9, static_cast<double>(t))), epsilon = 1e-8 * root;
#pragma omp simd
  for (int i = 0; i < kCount; ++i) {
    m[i] = 0.9 * m[i] + 0.1 * grads[i];
    v[i] = 0.999 * v[i] + 0.001 * grads[i] * grads[i];
    params[i] -= factor * m[i] / (std::sqrt(v[i]) + epsilon);
  }
}

// Steps 1, 2, ... on the minibatches in turn, which lie one after the other.
template <int kHidden>
inline void steps(std::int64_t count, double rate, std::int64_t batches, const double* x, const double* targets,
                  double* params, double* m, double* v) {
  for (std::int64_t k = 0; k < count; ++k) {
    const std::int64_t batch = k % batches * kBatch;
    step<kHidden>(k + 1, rate, x + batch * kIn, targets + batch * kOut, params, m, v);
  }
}

}  // namespace

extern "C" void train(std::int64_t t, double rate, const double* x, const double* targets, double* params, double* m,
                      double* v) {
  step<32>(t, rate, x, targets, params, m, v);
}

extern "C" void train_long(std::int64_t count, double rate, std::int64_t batches, const double* x,
                           const double* targets, double* params, double* m, double* v) {
  steps<32>(count, rate, batches, x, targets, params, m, v);
}

// Networks with 16 hidden units, each with a rate of its own, one after the other; the first's numbers come first.
extern "C" void train_many(std::int64_t networks, std::int64_t count, const double* rates, std::int64_t batches,
                           const double* x, const double* targets, double* params, double* m, double* v) {
  constexpr std::int64_t kCount = (kIn + 1 + kOut) * 16 + kOut;
  for (std::int64_t i = 0; i < networks; ++i) {
    const std::int64_t here = i * kCount;
    steps<16>(count, rates[i], batches, x, targets, params + here, m + here, v + here);
  }
}
