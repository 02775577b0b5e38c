// SPDX-License-Identifier: MIT
// Implicit QR steps with shifts: G. Golub, C. Van Loan, "Matrix Computations", sections 8.3.5 (symmetric matrices) and
// 8.6.2 (singular values). Scalars are few, and the same on every machine; nearly all the time goes into
// a kernel, `rotate_rows`.
#include "dualtape/array/linalg_iterations.hpp"

#include <algorithm>
#include <cmath>

#include "dualtape/array/kernels/rotations.hpp"
#include "dualtape/num/isa.hpp"

namespace dualtape::array {
namespace {

constexpr double kUnit = 0x1p-52, kTiny = 0x1p-966;
constexpr std::size_t kStepsForEach = 60;  // (2 are usual)

RotateRows kernel() {
#if defined(__x86_64__)
  switch (num::current_isa()) {
    case num::Isa::avx512:
      return avx512::rotate_rows();
    case num::Isa::avx2:
      return avx2::rotate_rows();
    case num::Isa::generic:
      break;
  }
#endif
  return generic::rotate_rows();
}

/// sqrt(a^2 + b^2) without overflow. (The C library's may differ from machine to machine.)
double length(double a, double b) {
  const double square = a * a + b * b;
  if (square > 1e-280 && square < 1e280) return std::sqrt(square);
  const double most = std::max(std::abs(a), std::abs(b));
  return most == 0 ? 0 : most * std::sqrt((a / most) * (a / most) + (b / most) * (b / most));
}

struct Rotation {
  double c, s, r;
};
/// c, s with c a + s b = r and c b - s a = 0.
Rotation rotation(double a, double b) {
  const double r = length(a, b);
  if (r == 0) return {1, 0, 0};
  if (r < 1e-280) return {a / r, b / r, r};
  const double inverse = 1 / r;
  return {a * inverse, b * inverse, r};
}

/// The rotations of rows, collected, and applied many at a time, so that memory is passed through seldom.
class Rotations {
 public:
  Rotations(const Vectors& vectors, std::size_t rows)
      : vectors_(vectors), rows_(rows), most_(std::max<std::size_t>(32 * rows, 256)) {}
  void add(const Rotation& by) {
    c_.push_back(by.c);
    s_.push_back(by.s);
    ++open_;
  }
  /// What has been added since the last call begins at row `first`, and rotates neighbours.
  void close(std::size_t first) { close(first, 1); }
  /// One rotation of any two rows.
  void pair(std::size_t a, std::size_t b, const Rotation& by) {
    add(by);
    close(a, static_cast<std::int64_t>(b) - static_cast<std::int64_t>(a));
  }
  void apply() {
    if (c_.empty()) return;
    scratch_.resize(rows_ * kRotationStrip);
    static const RotateRows rotate = kernel();
    rotate({vectors_.at, static_cast<std::int64_t>(rows_), vectors_.length, sequences_.data(),
            static_cast<std::int64_t>(sequences_.size()), c_.data(), s_.data(), scratch_.data()});
    c_.clear();
    s_.clear();
    sequences_.clear();
  }

 private:
  void close(std::size_t first, std::int64_t step) {
    sequences_.push_back({static_cast<std::int64_t>(first), step, open_});
    open_ = 0;
    if (c_.size() > most_) apply();
  }

  Vectors vectors_;
  std::size_t rows_, most_;
  std::int64_t open_ = 0;
  std::vector<RotationSequence> sequences_;
  std::vector<double> c_, s_, scratch_;
};

}  // namespace

bool diagonalize_tridiagonal(std::vector<double>& d, std::vector<double>& e, const Vectors& vectors) {
  const std::size_t n = d.size();
  Rotations rotations(vectors, n);
  std::size_t end = n - 1, steps = 0;
  while (end > 0) {
    // The last block without a zero beside the diagonal: rows first to end.
    const auto negligible = [&](std::size_t k) {
      return std::abs(e[k]) <= kTiny + kUnit * (std::abs(d[k]) + std::abs(d[k + 1]));
    };
    if (negligible(end - 1)) {
      e[--end] = 0;
      continue;
    }
    if (++steps > kStepsForEach * n) return false;
    std::size_t first = end - 1;
    while (first > 0 && !negligible(first - 1)) --first;
    // Wilkinson's shift: the eigenvalue of the last two rows that is nearer to the last element.
    const double half = (d[end - 1] - d[end]) / 2, off = e[end - 1], root = length(half, off);
    double x = d[first] - d[end] + off / (half + (half < 0 ? -root : root)) * off, z = e[first];
    for (std::size_t k = first; k < end; ++k) {
      const Rotation by = rotation(x, z);
      if (k > first) e[k - 1] = by.r;
      const double a = by.c * d[k] + by.s * e[k], b = by.c * e[k] + by.s * d[k + 1];
      const double a2 = by.c * e[k] - by.s * d[k], b2 = by.c * d[k + 1] - by.s * e[k];
      d[k] = by.c * a + by.s * b;
      e[k] = x = by.c * b - by.s * a;
      d[k + 1] = by.c * b2 - by.s * a2;
      if (k + 1 < end) {
        z = by.s * e[k + 1];
        e[k + 1] *= by.c;
      }
      rotations.add(by);
    }
    rotations.close(first);
  }
  rotations.apply();
  return true;
}

bool diagonalize_bidiagonal(std::vector<double>& d, std::vector<double>& e, const Vectors& left, const Vectors& right) {
  const std::size_t n = d.size();
  Rotations on_left(left, n), on_right(right, n);
  double scale = 0;
  for (std::size_t k = 0; k < n; ++k) scale = std::max(scale, std::abs(d[k]) + (k + 1 < n ? std::abs(e[k]) : 0));
  // Elements of the diagonal below this are zero, as far as the matrix is known.
  const double nothing = kTiny + kUnit * scale / 4;
  std::size_t end = n - 1, steps = 0;
  while (end > 0) {
    const auto negligible = [&](std::size_t k) {
      return std::abs(e[k]) <= kTiny + kUnit * (std::abs(d[k]) + std::abs(d[k + 1]));
    };
    if (negligible(end - 1)) {
      e[--end] = 0;
      continue;
    }
    if (++steps > kStepsForEach * n) return false;
    std::size_t first = end - 1;
    while (first > 0 && !negligible(first - 1)) --first;
    if (std::abs(d[end]) <= nothing) {
      // Rotations of columns take the last superdiagonal element out at the top.
      double f = e[end - 1];
      e[end - 1] = 0;
      for (std::size_t k = end; k-- > first;) {
        const Rotation by = rotation(d[k], f);
        d[k] = by.r;
        if (k > first) {
          f = -by.s * e[k - 1];
          e[k - 1] *= by.c;
        }
        on_right.pair(k, end, by);
      }
      continue;
    }
    std::size_t zero = first;
    while (zero < end && std::abs(d[zero]) > nothing) ++zero;
    if (zero < end) {
      // Rotations of rows empty the row of a zero.
      double f = e[zero];
      e[zero] = d[zero] = 0;
      for (std::size_t k = zero + 1; k <= end && f != 0; ++k) {
        const Rotation by = rotation(d[k], f);
        d[k] = by.r;
        if (k < end) {
          f = -by.s * e[k];
          e[k] *= by.c;
        }
        on_left.pair(k, zero, by);
      }
      continue;
    }
    // The shift is the eigenvalue of the last two rows of B'B that is nearer to the last element, on numbers near 1.
    const double top = std::max(
        {std::abs(d[end]), std::abs(d[end - 1]), std::abs(e[end - 1]), std::abs(d[first]), std::abs(e[first])});
    const double p = d[end] / top, q = d[end - 1] / top, r = e[end - 1] / top, u = d[first] / top, v = e[first] / top;
    const double b = ((q + p) * (q - p) + r * r) / 2, c = (p * r) * (p * r);
    double shift = 0;
    if (b != 0 || c != 0) shift = c / (b + (b < 0 ? -std::sqrt(b * b + c) : std::sqrt(b * b + c)));
    double f = (u + p) * (u - p) + shift, g = u * v;
    for (std::size_t k = first; k < end; ++k) {
      Rotation by = rotation(f, g);
      if (k > first) e[k - 1] = by.r;
      f = by.c * d[k] + by.s * e[k];
      e[k] = by.c * e[k] - by.s * d[k];
      g = by.s * d[k + 1];
      d[k + 1] *= by.c;
      on_right.add(by);
      by = rotation(f, g);
      d[k] = by.r;
      f = by.c * e[k] + by.s * d[k + 1];
      d[k + 1] = by.c * d[k + 1] - by.s * e[k];
      if (k + 1 < end) {
        g = by.s * e[k + 1];
        e[k + 1] *= by.c;
      }
      on_left.add(by);
    }
    e[end - 1] = f;
    on_right.close(first);
    on_left.close(first);
  }
  on_left.apply();
  on_right.apply();
  for (std::size_t k = 0; k < n; ++k) {
    if (std::signbit(d[k])) {
      d[k] = -d[k];
      double* row = right.at + static_cast<std::int64_t>(k) * right.length;
      for (std::int64_t i = 0; i < right.length; ++i) row[i] = -row[i];
    }
  }
  return true;
}

}  // namespace dualtape::array
