// SPDX-License-Identifier: MIT
// Elementwise ops on arrays: the one place where the table meets strides, broadcasting and dtypes. The element loops
// themselves are in kernels/elementwise.cpp. An operand that is not contiguous, or has another dtype, is packed in
// blocks on the stack; a single element gives the bits that it gives among many.
#pragma once

#include <span>

#include "dualtape/array/array.hpp"
#include "dualtape/ops/op.hpp"

namespace dualtape::array {

/// The op on its operands, broadcast against each other as NumPy does. The result is boolean for a predicate, else
/// float32 where the operands promote to it, else float64 (integers and booleans count as float64 when alone).
/// ShapeError where the shapes do not fit.
Array apply(ops::Op op, std::span<const Array* const> operands);

/// The same into `out`, which has the shape of the result and may be one of the operands where they lie alike. It is
/// floating; a predicate writes 1 and 0.
void apply_into(ops::Op op, std::span<const Array* const> operands, Array& out);

/// cotangent * (partial of the op with respect to operand `which`), with a strong zero: a factor of zero gives zero,
/// even beside infinity. `result` is the value of apply; `cotangent` may have further leading axes. The shape is the
/// broadcast of all, the dtype the result's. An operand that the partial does not read (OpInfo::reads) may be any
/// array that broadcasts.
Array times_partial(ops::Op op, int which, std::span<const Array* const> operands, const Array& result,
                    const Array& cotangent);

/// to += x, in place; `to` is unique and floating, x broadcasts to its shape.
void accumulate(Array& to, const Array& x);

/// The value for plain numbers; a predicate gives 0 or 1.
double scalar_value(ops::Op op, const double* operands);
/// The partial with respect to operand `which` for plain numbers; `result` is scalar_value's. Zero where there is none.
double scalar_partial(ops::Op op, int which, const double* operands, double result);

}  // namespace dualtape::array
