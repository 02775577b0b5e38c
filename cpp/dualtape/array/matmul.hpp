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

}  // namespace dualtape::array
