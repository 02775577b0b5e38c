// SPDX-License-Identifier: MIT
// A kernel for the iterations behind eigenvalues and singular values: sequences of plane rotations of rows.
#pragma once

#include <cstdint>

namespace dualtape::array {

/// Rotations that follow each other: the k-th makes, of row a = first + k step and row b = a + step, the rows
/// c a + s b and c b - s a. c and s are the next `count` elements of the lists of all sequences.
struct RotationSequence {
  std::int64_t first, step, count;
};

/// Rows of n elements, one behind the other, and the sequences in the order in which they are applied.
struct RotationTask {
  double* at;
  std::int64_t rows, n;
  const RotationSequence* sequences;
  std::int64_t count;
  const double *c, *s;
  double* scratch;  // kRotationStrip elements for each row
};
inline constexpr std::int64_t kRotationStrip = 24;
using RotateRows = void (*)(const RotationTask& task);

namespace generic {
RotateRows rotate_rows();
}
namespace avx2 {
RotateRows rotate_rows();
}
namespace avx512 {
RotateRows rotate_rows();
}

}  // namespace dualtape::array
