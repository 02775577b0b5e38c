// SPDX-License-Identifier: MIT
// QR, eigenvalues and singular values. Reflectors, and with them tridiagonal and bidiagonal matrices, are made by
// Eigen, in float64 and compiled once; blocks of reflectors are applied by the kernels of matmul, and
// linalg_iterations.cpp does the rest. Memory that is C-ordered here is the transpose for Eigen, whose matrices are
// stored by columns.
#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "dualtape/array/linalg.hpp"
#include "dualtape/array/linalg_blocks.hpp"
#include "dualtape/array/linalg_iterations.hpp"

namespace dualtape::array {
namespace {

using Columns = Eigen::MatrixXd;  // stored by columns
using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using RowsView = Eigen::Map<Rows, 0, Eigen::OuterStride<>>;

constexpr std::int64_t kPanel = 32;  // reflectors in a block

RowsView view(const Matrix& x) { return RowsView(x.at, x.rows, x.columns, Eigen::OuterStride<>(x.row)); }

/// Eigen sizes the blocks of its products by the caches of the machine it runs on; with them set, sums have the same
/// order on all machines.
void fix_block_sizes() {
  static const bool once = [] {
    Eigen::setCpuCacheSizes(32 << 10, 512 << 10, 4 << 20);
    return true;
  }();
  static_cast<void>(once);
}

/// The power of two next to the largest absolute value; 1 for zeros, NaN where something is not finite.
double scale_of(const Matrix& x, bool lower) {
  double most = 0;
  for (std::int64_t i = 0; i < x.rows; ++i) {
    for (std::int64_t j = 0; j < (lower ? i + 1 : x.columns); ++j) {
      if (!std::isfinite(x(i, j))) return kNoAnswer;
      most = std::max(most, std::abs(x(i, j)));
    }
  }
  // (Of numbers below the normal ones, the least has no reciprocal.)
  return most == 0 ? 1 : std::ldexp(1.0, std::clamp(std::ilogb(most), -1000, 1000));
}

/// Householder reflectors below a diagonal of a matrix, as Eigen leaves them: reflector k is column k from row
/// k + offset on, with 1 for its first element.
class Reflectors {
 public:
  Reflectors(const Columns& packed, const Eigen::VectorXd& tau, std::int64_t offset, BlockProducts& products)
      : packed_(packed), tau_(tau), offset_(offset), products_(products) {}

  /// The first `columns` columns of the product of all, as rows of `out`.
  void form(double* out, std::int64_t columns) {
    const std::int64_t length = packed_.rows();
    std::fill_n(out, columns * length, 0.0);
    for (std::int64_t k = 0; k < columns; ++k) out[k * length + k] = 1;
    for (std::int64_t j = (tau_.size() - 1) / kPanel * kPanel; j >= 0 && tau_.size() > 0; j -= kPanel) {
      const std::int64_t from = j + offset_;
      reflect(j, out + from * length + from, length, columns - from, false);
    }
  }

  /// Multiplies vectors, which are the rows of x, by the product of all.
  void apply(double* x, std::int64_t vectors) {
    for (std::int64_t j = (tau_.size() - 1) / kPanel * kPanel; j >= 0 && tau_.size() > 0; j -= kPanel) {
      reflect(j, x + j + offset_, packed_.rows(), vectors, false);
    }
  }

  /// Applies the block that begins with reflector j to vectors from index j + offset on, which are the rows of x:
  /// x -= x V T V', with T' where not transposed.
  void reflect(std::int64_t j, double* x, std::int64_t x_row, std::int64_t vectors, bool transposed) {
    const std::int64_t width = std::min<std::int64_t>(kPanel, tau_.size() - j), length = packed_.rows() - j - offset_;
    if (vectors <= 0) return;
    v_ = packed_.block(j + offset_, j, length, width);
    for (std::int64_t k = 0; k < width; ++k) {
      v_.col(k).head(k).setZero();
      v_(k, k) = 1;
    }
    t_.setZero(width, width);
    Eigen::internal::make_block_householder_triangular_factor(t_, v_, tau_.segment(j, width));
    work_.resize(2 * vectors, width);
    const Matrix rows{x, vectors, length, x_row, 1}, w = c_ordered(work_.data(), vectors, width),
                                                     wt = c_ordered(work_.data() + vectors * width, vectors, width);
    const Matrix by_columns{v_.data(), length, width, 1, length}, factor{t_.data(), width, width, 1, width};
    products_.product(w, rows, by_columns);
    products_.product(wt, w, transposed ? factor : factor.transposed());
    products_.subtract(rows, wt, by_columns.transposed());
  }

 private:
  const Columns& packed_;
  const Eigen::VectorXd& tau_;
  std::int64_t offset_;
  BlockProducts& products_;
  Columns v_, t_;
  Rows work_;
};

/// Householder QR, block by block: R above, reflectors below the diagonal.
void factor_qr(BlockProducts& products, Columns& a, Eigen::VectorXd& tau) {
  const std::int64_t count = std::min(a.rows(), a.cols());
  tau.resize(count);
  Reflectors reflectors(a, tau, 0, products);
  Eigen::VectorXd work(a.cols());
  for (std::int64_t j = 0; j < count; j += kPanel) {
    const std::int64_t width = std::min(kPanel, count - j), left = a.cols() - j - width;
    Columns panel = a.block(j, j, a.rows() - j, width);
    Eigen::VectorXd coefficients(width);
    Eigen::internal::householder_qr_inplace_unblocked(panel, coefficients, work.data());
    a.block(j, j, a.rows() - j, width) = panel;
    tau.segment(j, width) = coefficients;
    reflectors.reflect(j, a.data() + (j + width) * a.rows() + j, a.rows(), left, true);
  }
}

/// The numbers of values in the order that `before` asks for.
template <class Before>
std::vector<std::int64_t> order_of(const std::vector<double>& values, Before before) {
  std::vector<std::int64_t> order(values.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t i, std::int64_t j) {
    return before(values[static_cast<std::size_t>(i)], values[static_cast<std::size_t>(j)]);
  });
  return order;
}

/// A = U S V' for a matrix with at least as many rows as columns: `d` is S, and the rows of `left` and `right` are the
/// first `columns` columns of U and those of V. False where the iteration does not converge.
bool decompose(BlockProducts& products, const Columns& given, std::int64_t columns, std::vector<double>& d, Rows& left,
               Rows& right) {
  const std::int64_t m = given.rows(), n = given.cols();
  // Where there are many more rows, the matrix is Q R, and R is decomposed.
  const bool tall = m > n + n / 2;
  Columns factored, a;
  Eigen::VectorXd tau;
  if (tall) {
    factored = given;
    factor_qr(products, factored, tau);
    a = factored.topRows(n).triangularView<Eigen::Upper>();
  }
  const Eigen::internal::UpperBidiagonalization<Columns> bidiagonal(tall ? a : given);
  const Columns& packed = bidiagonal.householder();
  auto band = bidiagonal.bidiagonal();  // (a copy, because a constant one does not show its diagonals)
  d.assign(band.diagonal().begin(), band.diagonal().end());
  std::vector<double> e(band.diagonal<1>().begin(), band.diagonal<1>().end());
  e.resize(d.size());
  const Eigen::VectorXd left_tau = packed.diagonal(), right_tau = packed.diagonal<1>();
  const Columns across = packed.topRows(n).transpose();
  const std::int64_t inner = tall ? n : columns;
  left.resize(inner, packed.rows());
  right.resize(n, n);
  Reflectors(packed, left_tau, 0, products).form(left.data(), inner);
  Reflectors(across, right_tau, 1, products).form(right.data(), n);
  if (!diagonalize_bidiagonal(d, e, {left.data(), left.cols()}, {right.data(), n})) return false;
  if (tall) {
    Rows whole = Rows::Identity(columns, m);
    whole.topLeftCorner(n, n) = left;
    Reflectors(factored, tau, 0, products).apply(whole.data(), columns);
    left.swap(whole);
  }
  return true;
}

}  // namespace

Array qr(const Array& a, bool complete) {
  fix_block_sizes();
  const Shape shape = a.shape().last(2);
  const std::int64_t m = shape[0], n = shape[1], k = complete ? m : std::min(m, n);
  Batch batch("qr", {&a}, m + n, k);
  BlockProducts products;
  Eigen::VectorXd tau;
  for (std::int64_t i = 0; i < batch.count(); ++i) {
    Columns work = view(batch.in(0, i));
    factor_qr(products, work, tau);
    Rows q(k, m);
    Reflectors(work, tau, 0, products).form(q.data(), k);
    view(c_ordered(batch.out(i), m, k)) = q.transpose();
    // R' is lower trapezoidal.
    RowsView below = view(c_ordered(batch.out(i) + m * k, n, k));
    below.setZero();
    for (std::int64_t row = 0; row < std::min(m, n); ++row) {
      below.col(row).tail(n - row) = work.row(row).tail(n - row).transpose();
    }
  }
  return batch.finish();
}

Array eigh(const Array& a) {
  fix_block_sizes();
  const std::int64_t n = a.shape().back();
  Batch batch("eigh", {&a}, n + 1, n);
  BlockProducts products;
  for (std::int64_t i = 0; i < batch.count() && n > 0; ++i) {
    const Matrix from = batch.in(0, i), to = c_ordered(batch.out(i), n + 1, n);
    const double scale = scale_of(from, true);
    Columns work = view(from) / scale;
    Eigen::VectorXd tau(n - 1);
    if (!std::isnan(scale) && n > 1) Eigen::internal::tridiagonalization_inplace(work, tau);
    std::vector<double> d(static_cast<std::size_t>(n)), e(d.size());
    for (std::int64_t k = 0; k < n; ++k) {
      d[static_cast<std::size_t>(k)] = work(k, k);
      if (k + 1 < n) e[static_cast<std::size_t>(k)] = work(k + 1, k);
    }
    Rows v(n, n);
    Reflectors(work, tau, 1, products).form(v.data(), n);
    if (std::isnan(scale) || !diagonalize_tridiagonal(d, e, {v.data(), n})) {
      fill_matrix(to, kNoAnswer);
      continue;
    }
    const std::vector<std::int64_t> order = order_of(d, [](double x, double y) { return x < y; });
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t from_row = order[static_cast<std::size_t>(k)];
      to(0, k) = d[static_cast<std::size_t>(from_row)] * scale;
      view(to.block(1, k, n, 1)) = v.row(from_row).transpose();
    }
  }
  return batch.finish();
}

Array svd(const Array& a, bool full) {
  fix_block_sizes();
  const Shape shape = a.shape().last(2);
  const std::int64_t m = shape[0], n = shape[1], least = std::min(m, n), k = full ? std::max(m, n) : least;
  Batch batch("svd", {&a}, 1 + m + n, k);
  BlockProducts products;
  std::vector<double> d;
  Rows left, right;
  for (std::int64_t i = 0; i < batch.count() && k > 0; ++i) {
    const Matrix from = batch.in(0, i), to = c_ordered(batch.out(i), 1 + m + n, k);
    const Matrix u = to.block(1, 0, m, k), v = to.block(1 + m, 0, n, k);
    fill_matrix(to, 0);
    if (least == 0) {
      view(u).setIdentity();
      view(v).setIdentity();
      continue;
    }
    const double scale = scale_of(from, false);
    const Columns scaled = (m < n ? Columns(view(from).transpose()) : Columns(view(from))) / scale;
    if (std::isnan(scale) || !decompose(products, scaled, k, d, left, right)) {
      fill_matrix(to, kNoAnswer);
      continue;
    }
    // (Columns that complete the larger factor stay behind the others.)
    const std::vector<std::int64_t> order = order_of(d, [](double x, double y) { return x > y; });
    const Matrix &longer = m < n ? v : u, &shorter = m < n ? u : v;
    for (std::int64_t column = 0; column < k; ++column) {
      const std::int64_t row = column < least ? order[static_cast<std::size_t>(column)] : column;
      for (std::int64_t j = 0; j < longer.rows; ++j) longer(j, column) = left(row, j);
      if (column >= least) continue;
      for (std::int64_t j = 0; j < shorter.rows; ++j) shorter(j, column) = right(row, j);
      to(0, column) = d[static_cast<std::size_t>(row)] * scale;
    }
  }
  return batch.finish();
}

}  // namespace dualtape::array
