// SPDX-License-Identifier: MIT
// Implicit QR steps with shifts: G. Golub, C. Van Loan, "Matrix Computations", sections 8.3.5 (symmetric matrices) and
// 8.6.2 (singular values). Scalars are few, and the same on every machine; nearly all the time goes into
// `rotate_rows`, a kernel.
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
  const double most = std::max(std::abs(a), std::abs(b)), least = std::min(std::abs(a), std::abs(b));
  if (most == 0) return 0;
  const double ratio = least / most;
  return most * std::sqrt(1 + ratio * ratio);
}

struct Rotation {
  double c, s, r;
};
/// c, s with c a + s b = r and c b - s a = 0.
Rotation rotation(double a, double b) {
  const double r = length(a, b);
  return r == 0 ? Rotation{1, 0, 0} : Rotation{a / r, b / r, r};
}

/// A sequence of rotations of neighbouring rows, collected before it is applied.
class Sequence {
 public:
  explicit Sequence(const Vectors& vectors) : vectors_(vectors) {}
  void add(const Rotation& by) {
    c_.push_back(by.c);
    s_.push_back(by.s);
  }
  /// To the rows from `first` on.
  void apply(std::size_t first) {
    kernel_(row(first), vectors_.length, vectors_.length, c_.data(), s_.data(), static_cast<std::int64_t>(c_.size()));
    c_.clear();
    s_.clear();
  }
  /// One rotation of any two rows.
  void apply(std::size_t a, std::size_t b, const Rotation& by) {
    kernel_(row(a), row(b) - row(a), vectors_.length, &by.c, &by.s, 1);
  }

 private:
  double* row(std::size_t i) const { return vectors_.at + static_cast<std::int64_t>(i) * vectors_.length; }
  RotateRows kernel_ = kernel();
  Vectors vectors_;
  std::vector<double> c_, s_;
};

}  // namespace

bool diagonalize_tridiagonal(std::vector<double>& d, std::vector<double>& e, const Vectors& vectors) {
  const std::size_t n = d.size();
  Sequence sequence(vectors);
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
      sequence.add(by);
    }
    sequence.apply(first);
  }
  return true;
}

bool diagonalize_bidiagonal(std::vector<double>& d, std::vector<double>& e, const Vectors& left, const Vectors& right) {
  const std::size_t n = d.size();
  Sequence on_left(left), on_right(right);
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
        on_right.apply(k, end, by);
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
        on_left.apply(k, zero, by);
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
    on_right.apply(first);
    on_left.apply(first);
  }
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
