// SPDX-License-Identifier: MIT
// Linear algebra on Vars: the factorisations, whose rules stand in shaped_linalg.cpp and shaped_spectral.cpp.
// Everything else that numpy.linalg has is composed of them. Matrices are the last two axes; axes before them are
// batches.
//
// Each throws ShapeError for operands that are no such matrices, and NumericError where there is no answer (a singular
// matrix, one that is not positive definite). A program does not throw: there the matrices without an answer give NaN.
#pragma once

#include <utility>

#include "dualtape/tape/var.hpp"

namespace dualtape::tape {

/// The inverse of A times B; A' instead of A where `transposed`.
Var solve(const Var& a, const Var& b, bool transposed = false);
Var inv(const Var& a);
/// 0 for a singular matrix.
Var det(const Var& a);
/// The sign of the determinant and the logarithm of its absolute value: 0 and -inf for a singular matrix.
std::pair<Var, Var> slogdet(const Var& a);
/// X with T X = B; the other half of T is not read, nor, where `unit`, is the diagonal, which is 1.
Var triangular_solve(const Var& t, const Var& b, bool lower, bool unit);
/// Derivatives are with respect to a symmetric A.
Var cholesky(const Var& a);
/// Q and R, of which the former has orthonormal columns. `complete`: Q is square; that has no derivative where there
/// are more rows than columns.
std::pair<Var, Var> qr(const Var& a, bool complete);
/// Eigenvalues in ascending order, and eigenvectors as columns. Derivatives are with respect to a symmetric A.
std::pair<Var, Var> eigh(const Var& a);
/// U, s and V (not transposed). `full`: U and V are square; that has no derivative where A is not square.
struct Svd {
  Var u, s, v;
};
Svd svd(const Var& a, bool full);

/// Singular values up to `cut` (..., 1, 1) times the largest count as zero. Derivatives are those for a rank that
/// stays as it is.
Var pinv(const Var& a, const Var& cut);
Var expm(const Var& a);

/// The lower (upper) triangle of matrices, from diagonal k downwards (upwards); zeros elsewhere.
Var triangle(const Var& x, bool lower, std::int64_t k = 0);

}  // namespace dualtape::tape
