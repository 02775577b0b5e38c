// SPDX-License-Identifier: MIT
// The iterations that make a tridiagonal matrix, or a bidiagonal one, diagonal. Rotations that are found are applied
// to vectors in the order in which they come, a whole sequence at a time.
#pragma once

#include <cstdint>
#include <vector>

namespace dualtape::array {

/// Rows that follow each other in memory: the eigenvectors, or singular vectors.
struct Vectors {
  double* at;
  std::int64_t length;
};

/// The symmetric tridiagonal matrix with diagonal d and subdiagonal e becomes diagonal; `vectors` has d.size() rows,
/// which are rotated along. e is used up. False where it does not converge.
bool diagonalize_tridiagonal(std::vector<double>& d, std::vector<double>& e, const Vectors& vectors);

/// The upper bidiagonal matrix with diagonal d and superdiagonal e (of the same size; the last element is not part of
/// it) becomes diagonal, with values that are not negative; `left` and `right` have d.size() rows each.
bool diagonalize_bidiagonal(std::vector<double>& d, std::vector<double>& e, const Vectors& left, const Vectors& right);

}  // namespace dualtape::array
