// SPDX-License-Identifier: MIT
// A strip of some columns goes through all rotations while the row that is in two of them stays in registers. Products
// are rounded before they are added, so elements have the same bits at every width.
#include "dualtape/array/kernels/rotations.hpp"

#include "dualtape/array/kernels/vector.hpp"

namespace dualtape::array::DUALTAPE_ISA {
namespace {

constexpr int kW = kWidth<double>;
constexpr int kVectors = 4;  // enough to hide how long a rotation takes

template <int kCount>
void strip(double* at, std::int64_t stride, const double* c, const double* s, std::int64_t count) {
  Vector<double> row[kCount];
#pragma GCC unroll 4
  for (int v = 0; v < kCount; ++v) row[v] = load(at + v * kW);
  for (std::int64_t k = 0; k < count; ++k, at += stride) {
    const Vector<double> cosine = broadcast(c[k]), sine = broadcast(s[k]);
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) {
      const Vector<double> next = load(at + stride + v * kW);
      store(at + v * kW, cosine * row[v] + sine * next);
      row[v] = cosine * next - sine * row[v];
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kCount; ++v) store(at + v * kW, row[v]);
}

void rotate(double* first, std::int64_t stride, std::int64_t n, const double* c, const double* s, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + kVectors * kW <= n; i += kVectors * kW) strip<kVectors>(first + i, stride, c, s, count);
  for (; i + kW <= n; i += kW) strip<1>(first + i, stride, c, s, count);
  for (; i < n; ++i) {
    double* at = first + i;
    double row = *at;
    for (std::int64_t k = 0; k < count; ++k, at += stride) {
      const double next = at[stride];
      *at = c[k] * row + s[k] * next;
      row = c[k] * next - s[k] * row;
    }
    *at = row;
  }
}

}  // namespace

RotateRows rotate_rows() { return rotate; }

}  // namespace dualtape::array::DUALTAPE_ISA
