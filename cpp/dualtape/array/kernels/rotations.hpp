// SPDX-License-Identifier: MIT
// A kernel for the iterations behind eigenvalues and singular values: a sequence of plane rotations of neighbours.
#pragma once

#include <cstdint>

namespace dualtape::array {

/// For k = 0, ..., count - 1 in turn: row k becomes c[k] row k + s[k] row k + 1, and row k + 1 becomes
/// c[k] row k + 1 - s[k] row k. Rows have n elements; row k begins at first + k * stride, which may be negative.
using RotateRows = void (*)(double* first, std::int64_t stride, std::int64_t n, const double* c, const double* s,
                            std::int64_t count);

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
