// SPDX-License-Identifier: MIT
// What the files of linalg share: matrices in memory, products of blocks, and the loop over a batch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string_view>

#include "dualtape/array/linalg.hpp"
#include "dualtape/array/matmul.hpp"

namespace dualtape::array {

/// A matrix at any strides.
struct Matrix {
  double* at;
  std::int64_t rows, columns, row, column;

  double& operator()(std::int64_t i, std::int64_t j) const { return at[i * row + j * column]; }
  Matrix block(std::int64_t i, std::int64_t j, std::int64_t m, std::int64_t n) const {
    return {at + i * row + j * column, m, n, row, column};
  }
  Matrix transposed() const { return {at, columns, rows, column, row}; }
};
inline Matrix c_ordered(double* at, std::int64_t rows, std::int64_t columns) { return {at, rows, columns, columns, 1}; }

inline void copy_matrix(const Matrix& from, const Matrix& to) {
  for (std::int64_t i = 0; i < from.rows; ++i) {
    for (std::int64_t j = 0; j < from.columns; ++j) to(i, j) = from(i, j);
  }
}
inline void fill_matrix(const Matrix& to, double value) {
  for (std::int64_t i = 0; i < to.rows; ++i) std::fill_n(&to(i, 0), to.columns, value);
}

/// Whether a packed LU has a pivot of zero.
inline bool singular(const Matrix& packed) {
  for (std::int64_t k = 0; k + 1 < packed.rows; ++k) {
    if (packed(k, k) == 0) return true;
  }
  return false;
}

/// What a matrix without an answer gives.
inline constexpr double kNoAnswer = std::numeric_limits<double>::quiet_NaN();

/// Products of blocks of larger matrices. Memory is kept from one product to the next.
class BlockProducts {
 public:
  /// c = a b; the rows of c are contiguous.
  void product(const Matrix& c, const Matrix& a, const Matrix& b);
  /// c -= a b.
  void subtract(const Matrix& c, const Matrix& a, const Matrix& b);

 private:
  Buffer scratch_, negative_;
};

/// B := inv(T) B in place; the rows of B are contiguous.
void triangular_solve_in_place(BlockProducts& products, const Matrix& t, const Matrix& b, bool lower, bool unit);
/// Packed LU without the row and column that `lu` adds; swaps[k] is the row that was exchanged with row k.
void lu_in_place(BlockProducts& products, const Matrix& a, std::int64_t* swaps);
/// L of the matrix over its lower half; false where it is not positive definite.
bool cholesky_in_place(BlockProducts& products, const Matrix& a);

/// The operands of an op as C-ordered float64, and where the matrices of each element of the batch lie.
class Batch {
 public:
  /// `operands` have at least two axes. The result has the batch axes of all, then `rows` and `columns` (-1: none).
  Batch(std::string_view op, std::initializer_list<const Array*> operands, std::int64_t rows, std::int64_t columns);
  std::int64_t count() const { return count_; }
  /// The matrix of operand k in the number-th element of the batch.
  Matrix in(int k, std::int64_t number) const;
  /// Where the result of that element begins.
  double* out(std::int64_t number) { return result_.writable_data<double>() + number * size_; }
  /// The result, in the dtype that the operands promote to or in another one.
  Array finish() const { return finish(dtype_); }
  Array finish(DType dtype) const { return result_.cast(dtype); }

 private:
  Array operands_[2];
  Dims steps_[2], batch_;
  Array result_;
  std::int64_t count_ = 0, size_ = 1;
  DType dtype_ = DType::f64;
};

}  // namespace dualtape::array
