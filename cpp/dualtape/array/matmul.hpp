// SPDX-License-Identifier: MIT
// Matrix products. Every element of a product is one chain of fused multiply-adds over the inner axis, in order, so
// its bits depend on nothing but its row and its column: not on sizes, strides, blocking or instruction set. (The
// one exception is the product of one row and one column: it follows the tree of sums, see array/kernels/tree.hpp.)
#pragma once

#include "dualtape/array/array.hpp"

namespace dualtape::array {

/// The product over the last axis of a and the second to last of b; leading axes broadcast. Both have at least two
/// axes, of any strides; dtypes promote.
Array matmul(const Array& a, const Array& b);
/// out = a @ b, or out += a @ b. out is C-ordered, unique, and has the product's shape and dtype.
void matmul_into(Array& out, const Array& a, const Array& b, bool accumulate = false);
/// out = a @ b for each index of the last axis, which a, b and out have in common behind those of the product (with
/// the bits of products one by one).
void matmul_lanes_into(Array& out, const Array& a, const Array& b);

/// c = a b or c += a b on blocks of larger float64 matrices. Strides count elements; rows of c are contiguous (and c
/// has none between them where it has one column and a is not C-ordered). `scratch` is kept from call to call.
struct ProductSize {
  std::int64_t m, n, k;
};
void block_product(double* c, std::int64_t c_row, const double* a, std::int64_t a_row, std::int64_t a_column,
                   const double* b, std::int64_t b_row, std::int64_t b_column, ProductSize size, bool accumulate,
                   Buffer& scratch);

}  // namespace dualtape::array
