// SPDX-License-Identifier: MIT
// A strip of columns is copied to where it lies densely and goes through all rotations there; within a sequence, the
// row that is in two rotations stays in registers. Products are rounded before they are added, so elements have the
// same bits at every width, and nothing slow happens where there is no fused multiply-add.
#include "dualtape/array/kernels/rotations.hpp"

#include "dualtape/array/kernels/vector.hpp"

namespace dualtape::array::DUALTAPE_ISA {
namespace {

constexpr int kW = kWidth<double>;
constexpr int kVectors = 3;  // enough to hide how long a rotation takes
constexpr std::int64_t kStrip = kVectors * kW;
static_assert(kStrip <= kRotationStrip);

void rotate_strip(const RotationTask& t) {
  const double *c = t.c, *s = t.s;
  for (std::int64_t q = 0; q < t.count; ++q) {
    const RotationSequence& sequence = t.sequences[q];
    const std::int64_t step = sequence.step * kStrip;
    double* at = t.scratch + sequence.first * kStrip;
    Vector<double> row[kVectors];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) row[v] = load(at + v * kW);
    for (std::int64_t k = 0; k < sequence.count; ++k, ++c, ++s, at += step) {
      const Vector<double> cosine = broadcast(*c), sine = broadcast(*s);
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) {
        const Vector<double> next = load(at + step + v * kW);
        store(at + v * kW, cosine * row[v] + sine * next);
        row[v] = cosine * next - sine * row[v];
      }
    }
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) store(at + v * kW, row[v]);
  }
}

/// (What the last strip has beyond its columns is rotated too, and dropped.)
inline void copy_row(const double* from, double* to, std::int64_t width) {
  if (width == kStrip) {
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) store(to + v * kW, load(from + v * kW));
  } else {
    for (std::int64_t j = 0; j < width; ++j) to[j] = from[j];
  }
}

void rotate(const RotationTask& t) {
  for (std::int64_t column = 0; column < t.n; column += kStrip) {
    const std::int64_t width = t.n - column < kStrip ? t.n - column : kStrip;
    for (std::int64_t i = 0; i < t.rows; ++i) copy_row(t.at + i * t.n + column, t.scratch + i * kStrip, width);
    rotate_strip(t);
    for (std::int64_t i = 0; i < t.rows; ++i) copy_row(t.scratch + i * kStrip, t.at + i * t.n + column, width);
  }
}

}  // namespace

RotateRows rotate_rows() { return rotate; }

}  // namespace dualtape::array::DUALTAPE_ISA
