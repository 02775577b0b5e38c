// SPDX-License-Identifier: MIT
// Elimination: LU with partial pivoting, Cholesky and triangular matrices. All three halve the matrix until a few rows
// are left, so that nearly all of the work is products of blocks. Start at `lu_in_place`.
#include "dualtape/array/linalg.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "dualtape/array/elementwise.hpp"
#include "dualtape/array/linalg_blocks.hpp"
#include "dualtape/array/reduce.hpp"
#include "dualtape/array/views.hpp"
#include "dualtape/base/error.hpp"

namespace dualtape::array {
namespace {

constexpr std::int64_t kFew = 8;  // rows that are eliminated one by one

/// Where to cut n: both parts are whole groups of kFew rows, as far as n allows.
std::int64_t half(std::int64_t n) { return n <= 2 * kFew ? n / 2 : (n / 2 + kFew - 1) / kFew * kFew; }

void swap_rows(const Matrix& a, std::int64_t i, std::int64_t j) {
  if (i != j) std::swap_ranges(&a(i, 0), &a(i, 0) + a.columns, &a(j, 0));
}

/// Rows one by one: rows of T against those of B, from the first (lower) or the last (upper).
void solve_few(const Matrix& t, const Matrix& b, bool lower, bool unit) {
  const std::int64_t n = t.rows;
  for (std::int64_t step = 0; step < n; ++step) {
    const std::int64_t i = lower ? step : n - 1 - step;
    double* row = &b(i, 0);
    for (std::int64_t other = 0; other < step; ++other) {
      const std::int64_t j = lower ? other : n - 1 - other;
      const double factor = t(i, j);
      const double* solved = &b(j, 0);
      for (std::int64_t k = 0; k < b.columns; ++k) row[k] -= factor * solved[k];
    }
    if (unit) continue;
    const double pivot = t(i, i);
    for (std::int64_t k = 0; k < b.columns; ++k) row[k] /= pivot;
  }
}

Array number_for_each(const char* name, const Array& packed, double (*of)(const Matrix&)) {
  Batch batch(name, {&packed}, -1, -1);
  for (std::int64_t i = 0; i < batch.count(); ++i) *batch.out(i) = of(batch.in(0, i));
  return batch.finish();
}

}  // namespace

DType linalg_dtype(DType dtype) { return dtype == DType::f32 ? DType::f32 : DType::f64; }

Batch::Batch(std::string_view op, std::initializer_list<const Array*> operands, std::int64_t rows,
             std::int64_t columns) {
  std::vector<Shape> batches;
  int k = 0;
  for (const Array* x : operands) {
    dtype_ = k == 0 ? linalg_dtype(x->dtype()) : promote(dtype_, linalg_dtype(x->dtype()));
    operands_[k] = x->cast(DType::f64).as_contiguous();
    batches.push_back(operands_[k].shape().first(static_cast<std::size_t>(x->ndim() - 2)));
    ++k;
  }
  batch_ = broadcast_shapes(op, batches);
  for (int i = 0; i < k; ++i) {
    const Array& x = operands_[i];
    steps_[i] = Dims::filled(batch_.size(), 0);
    for (int axis = 0; axis < x.ndim() - 2; ++axis) {
      const auto from = static_cast<std::size_t>(axis);
      if (x.shape()[from] != 1) steps_[i][axis + batch_.size() - (x.ndim() - 2)] = x.strides()[from];
    }
  }
  count_ = element_count(batch_);
  Dims shape = batch_;
  if (rows >= 0) {
    shape.push_back(rows);
    shape.push_back(columns);
    size_ = rows * columns;
  }
  // (Never an inline scalar: whoever fills it in keeps a pointer.)
  const Dims strides = contiguous_strides(shape);
  const auto bytes = static_cast<std::size_t>(std::max<std::int64_t>(count_ * size_, 1)) * sizeof(double);
  result_ = Array::pinned(Buffer::allocate(bytes), DType::f64, shape, strides, 0);
}

Matrix Batch::in(int k, std::int64_t number) const {
  const Array& x = operands_[k];
  std::int64_t offset = 0;
  for (int axis = batch_.size(); axis-- > 0; number /= batch_[axis])
    offset += steps_[k][axis] * (number % batch_[axis]);
  const Shape matrix = x.shape().last(2);
  return c_ordered(const_cast<double*>(x.data<double>()) + offset, matrix[0], matrix[1]);
}

void BlockProducts::product(const Matrix& c, const Matrix& a, const Matrix& b) {
  block_product(c.at, c.row, a.at, a.row, a.column, b.at, b.row, b.column, {c.rows, c.columns, a.columns}, false,
                scratch_);
}

void BlockProducts::subtract(const Matrix& c, const Matrix& a, const Matrix& b) {
  if (c.rows == 0 || c.columns == 0 || a.columns == 0) return;
  const auto bytes = static_cast<std::size_t>(a.rows * a.columns) * sizeof(double);
  if (!negative_ || negative_.bytes() < bytes) negative_ = Buffer::allocate(bytes);
  double* negative = static_cast<double*>(negative_.data());
  for (std::int64_t i = 0; i < a.rows; ++i) {
    for (std::int64_t j = 0; j < a.columns; ++j) negative[i * a.columns + j] = -a(i, j);
  }
  block_product(c.at, c.row, negative, a.columns, 1, b.at, b.row, b.column, {c.rows, c.columns, a.columns}, true,
                scratch_);
}

void lu_in_place(BlockProducts& products, const Matrix& a, std::int64_t* swaps) {
  const std::int64_t m = a.rows, n = a.columns;
  if (n <= kFew) {
    for (std::int64_t k = 0; k < n; ++k) {
      std::int64_t best = k;
      for (std::int64_t i = k + 1; i < m; ++i) {
        if (std::abs(a(i, k)) > std::abs(a(best, k))) best = i;
      }
      swaps[k] = best;
      swap_rows(a, k, best);
      const double pivot = a(k, k);
      if (pivot == 0) continue;
      for (std::int64_t i = k + 1; i < m; ++i) {
        const double factor = a(i, k) /= pivot;
        for (std::int64_t j = k + 1; j < n; ++j) a(i, j) -= factor * a(k, j);
      }
    }
    return;
  }
  const std::int64_t h = half(n);
  lu_in_place(products, a.block(0, 0, m, h), swaps);
  const Matrix right = a.block(0, h, m, n - h);
  for (std::int64_t k = 0; k < h; ++k) swap_rows(right, k, swaps[k]);
  triangular_solve_in_place(products, a.block(0, 0, h, h), a.block(0, h, h, n - h), true, true);
  products.subtract(a.block(h, h, m - h, n - h), a.block(h, 0, m - h, h), a.block(0, h, h, n - h));
  lu_in_place(products, a.block(h, h, m - h, n - h), swaps + h);
  const Matrix below = a.block(h, 0, m - h, h);
  for (std::int64_t k = h; k < n; ++k) {
    swap_rows(below, k - h, swaps[k]);
    swaps[k] += h;
  }
}

void triangular_solve_in_place(BlockProducts& products, const Matrix& t, const Matrix& b, bool lower, bool unit) {
  const std::int64_t n = t.rows;
  if (n <= kFew) return solve_few(t, b, lower, unit);
  const std::int64_t h = half(n), rest = n - h;
  const Matrix top = b.block(0, 0, h, b.columns), bottom = b.block(h, 0, rest, b.columns);
  if (lower) {
    triangular_solve_in_place(products, t.block(0, 0, h, h), top, lower, unit);
    products.subtract(bottom, t.block(h, 0, rest, h), top);
    triangular_solve_in_place(products, t.block(h, h, rest, rest), bottom, lower, unit);
  } else {
    triangular_solve_in_place(products, t.block(h, h, rest, rest), bottom, lower, unit);
    products.subtract(top, t.block(0, h, h, rest), bottom);
    triangular_solve_in_place(products, t.block(0, 0, h, h), top, lower, unit);
  }
}

bool cholesky_in_place(BlockProducts& products, const Matrix& a) {
  const std::int64_t n = a.rows;
  if (n <= kFew) {
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t i = j; i < n; ++i) {
        double sum = a(i, j);
        for (std::int64_t k = 0; k < j; ++k) sum -= a(i, k) * a(j, k);
        if (i > j) {
          a(i, j) = sum / a(j, j);
        } else if (sum > 0 && std::isfinite(sum)) {
          a(j, j) = std::sqrt(sum);
        } else {
          return false;
        }
      }
    }
    return true;
  }
  const std::int64_t h = half(n), rest = n - h;
  if (!cholesky_in_place(products, a.block(0, 0, h, h))) return false;
  // L21' = inv(L11) A21', solved in the order that keeps rows contiguous.
  const Buffer memory = Buffer::allocate(static_cast<std::size_t>(h * rest) * sizeof(double));
  const Matrix across = c_ordered(static_cast<double*>(memory.data()), h, rest);
  copy_matrix(a.block(h, 0, rest, h).transposed(), across);
  triangular_solve_in_place(products, a.block(0, 0, h, h), across, true, false);
  const Matrix below = a.block(h, 0, rest, h);
  copy_matrix(across.transposed(), below);
  // Groups of rows up to the diagonal: little of the upper half is computed.
  constexpr std::int64_t kRows = 64;
  for (std::int64_t i = 0; i < rest; i += kRows) {
    const std::int64_t rows = std::min(kRows, rest - i);
    products.subtract(a.block(h + i, h, rows, i + rows), below.block(i, 0, rows, h), across.block(0, 0, h, i + rows));
  }
  return cholesky_in_place(products, a.block(h, h, rest, rest));
}

Array lu(const Array& a) {
  const std::int64_t n = a.shape().back();
  Batch batch("lu", {&a}, n + 1, n + 1);
  BlockProducts products;
  std::vector<std::int64_t> swaps(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < batch.count(); ++i) {
    const Matrix packed = c_ordered(batch.out(i), n + 1, n + 1), body = packed.block(0, 0, n, n);
    copy_matrix(batch.in(0, i), body);
    lu_in_place(products, body, swaps.data());
    double sign = 1;
    for (std::int64_t k = 0; k < n; ++k) {
      packed(k, n) = static_cast<double>(k);
      packed(n, k) = 0;
      const double pivot = packed(k, k);
      const bool negative = pivot < 0, swapped = swaps[static_cast<std::size_t>(k)] != k;
      sign *= std::isnan(pivot) ? pivot : pivot == 0 ? 0.0 : negative != swapped ? -1.0 : 1.0;
    }
    for (std::int64_t k = 0; k < n; ++k) std::swap(packed(k, n), packed(swaps[static_cast<std::size_t>(k)], n));
    packed(n, n) = sign;
  }
  return batch.finish(DType::f64);
}

Array lu_solve(const Array& packed, const Array& b, bool transposed) {
  const std::int64_t n = packed.shape().back() - 1, columns = b.shape().back();
  Batch batch("lu_solve", {&packed, &b}, n, columns);
  BlockProducts products;
  const Buffer memory =
      Buffer::allocate(static_cast<std::size_t>(std::max<std::int64_t>(n * columns, 1)) * sizeof(double));
  for (std::int64_t i = 0; i < batch.count(); ++i) {
    const Matrix f = batch.in(0, i), from = batch.in(1, i), to = c_ordered(batch.out(i), n, columns);
    if (singular(f)) {
      fill_matrix(to, kNoAnswer);
      continue;
    }
    const Matrix body = f.block(0, 0, n, n);
    const auto row_of = [&](std::int64_t k) { return static_cast<std::int64_t>(f(k, n)); };
    if (!transposed) {
      for (std::int64_t k = 0; k < n; ++k) std::copy_n(&from(row_of(k), 0), columns, &to(k, 0));
      triangular_solve_in_place(products, body, to, true, true);
      triangular_solve_in_place(products, body, to, false, false);
    } else {
      const Matrix work = c_ordered(static_cast<double*>(memory.data()), n, columns);
      copy_matrix(from, work);
      triangular_solve_in_place(products, body.transposed(), work, true, false);
      triangular_solve_in_place(products, body.transposed(), work, false, true);
      for (std::int64_t k = 0; k < n; ++k) std::copy_n(&work(k, 0), columns, &to(row_of(k), 0));
    }
  }
  return batch.finish();
}

Array lu_det(const Array& packed) {
  return number_for_each("lu_det", packed, [](const Matrix& f) {
    const std::int64_t n = f.rows - 1;
    double product = f(n, n);
    for (std::int64_t k = 0; k < n; ++k) product *= std::abs(f(k, k));
    return product;
  });
}

Array lu_logabsdet(const Array& packed) {
  // Logarithms come from the table of ops, and their sum has its tree.
  const std::int64_t n = packed.shape().back() - 1;
  std::vector<Slice> slices;
  for (std::int64_t extent : packed.shape().first(static_cast<std::size_t>(packed.ndim() - 2)))
    slices.push_back({0, 1, extent});
  slices.push_back({0, 1, n});
  slices.push_back({0, 1, n});
  const Array body = slice(packed, slices).copy();
  Dims shape(body.shape()), strides(body.strides());
  strides[shape.size() - 2] = n + 1;
  shape.erase(shape.size() - 1);
  strides.erase(strides.size() - 1);
  const Array diagonal = Array::view(body.buffer(), body.dtype(), shape, strides, body.offset());
  const Array* operand[] = {&diagonal};
  const Array size = apply(ops::Op::absolute, operand);
  const Array* sizes[] = {&size};
  const Array logs = apply(ops::Op::log, sizes);
  return sum(logs, Dims{logs.ndim() - 1});
}

Array triangular_solve(const Array& t, const Array& b, bool lower, bool unit) {
  const std::int64_t n = t.shape().back(), columns = b.shape().back();
  Batch batch("solve_triangular", {&t, &b}, n, columns);
  BlockProducts products;
  for (std::int64_t i = 0; i < batch.count(); ++i) {
    const Matrix from = batch.in(0, i), to = c_ordered(batch.out(i), n, columns);
    bool possible = true;
    for (std::int64_t k = 0; k < n && !unit; ++k) possible = possible && from(k, k) != 0;
    if (!possible) {
      fill_matrix(to, kNoAnswer);
      continue;
    }
    copy_matrix(batch.in(1, i), to);
    triangular_solve_in_place(products, from, to, lower, unit);
  }
  return batch.finish();
}

Array cholesky(const Array& a) {
  const std::int64_t n = a.shape().back();
  Batch batch("cholesky", {&a}, n, n);
  BlockProducts products;
  for (std::int64_t i = 0; i < batch.count(); ++i) {
    const Matrix to = c_ordered(batch.out(i), n, n);
    copy_matrix(batch.in(0, i), to);
    if (!cholesky_in_place(products, to)) {
      fill_matrix(to, kNoAnswer);
      continue;
    }
    for (std::int64_t row = 0; row < n; ++row) std::fill_n(&to(row, 0) + row + 1, n - row - 1, 0.0);
  }
  return batch.finish();
}

}  // namespace dualtape::array
