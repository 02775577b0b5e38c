// SPDX-License-Identifier: MIT
// Factorisations of matrices and what solves with them. Matrices are the last two axes; axes before them are batches,
// which broadcast where there are several operands. Everything is computed in float64, and float32 operands give
// float32 results. Results that are several arrays come packed in one, whose parts are slices: that is what shaped
// ops give (tape/shaped_linalg.cpp).
//
// Bits do not depend on the instruction set: panels and reflectors are compiled once, for the baseline, and what is
// large is done by the kernels of matmul. A matrix that cannot be factored gives NaN; callers that can raise do.
//
// linalg.cpp has elimination (LU, Cholesky, triangular matrices), linalg_orthogonal.cpp has QR, eigh and svd, and
// linalg_functions.cpp what is made of both.
#pragma once

#include <cstdint>

#include "dualtape/array/array.hpp"

namespace dualtape::array {

/// The dtype in which results of linear algebra on these come.
DType linalg_dtype(DType dtype);

/// (..., n, n) to (..., n + 1, n + 1): L without its unit diagonal and U in the first n rows and columns; in the last
/// column the row of the matrix that stands in each row of L U; in the corner the sign of the determinant. In float64,
/// as are the results of the functions that read it.
Array lu(const Array& a);
/// X with A X = B, or A' X = B, for a packed LU of A. NaN for a singular A.
Array lu_solve(const Array& packed, const Array& b, bool transposed);
/// The determinant and the logarithm of its absolute value.
Array lu_det(const Array& packed);
Array lu_logabsdet(const Array& packed);
/// The matrix of cofactors, which is det(A) inv(A)' where there is an inverse. In float64.
Array cofactors(const Array& a, const Array& packed);

/// The pseudo-inverse: singular values up to `cut` (..., 1, 1) times the largest count as zero.
Array pinv(const Array& a, const Array& cut);
Array expm(const Array& a);

/// X with T X = B for a triangular T, of which the other half is not read; `unit`: nor is the diagonal, which is 1.
Array triangular_solve(const Array& t, const Array& b, bool lower, bool unit);
/// The lower triangular L with L L' = A, of which only the lower half is read. NaN where A is not positive definite.
Array cholesky(const Array& a);

/// (..., m, n) to (..., m + n, k): Q, and below it R'. k is the smaller of m and n, or m where `complete`.
Array qr(const Array& a, bool complete);
/// (..., n, n) to (..., n + 1, n): eigenvalues in ascending order, and below them the eigenvectors as columns. Only the
/// lower half is read.
Array eigh(const Array& a);
/// (..., m, n) to (..., 1 + m + n, k): singular values in descending order, then U, then V. k is the smaller of m and
/// n; where `full`, it is the larger one, and the smaller of U and V, and the values, end in zeros.
Array svd(const Array& a, bool full);

}  // namespace dualtape::array
