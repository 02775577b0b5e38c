// SPDX-License-Identifier: MIT
// Shaped ops on Vars by their everyday names, for rules and bindings. All of them record and pair as needed.
// What is a rule of its own stands in shaped_linear.cpp and shaped_nonlinear.cpp; what is composed of others in
// functions.cpp.
#pragma once

#include <optional>
#include <span>

#include "dualtape/array/views.hpp"
#include "dualtape/tape/var.hpp"

namespace dualtape::tape {

using Axes = std::span<const std::int64_t>;
using Slices = std::span<const array::Slice>;

// Rearranging. Views where NumPy gives views.
Var reshape(const Var& x, Shape shape);
Var transpose(const Var& x, Axes permutation);
/// Exchanges the last two axes.
Var swap_last(const Var& x);
Var broadcast_to(const Var& x, Shape shape);
Var slice(const Var& x, Slices slices);
/// Zeros of shape `full` with x at the slices.
Var unslice(const Var& x, Shape full, Slices slices);
Var take(const Var& x, std::int64_t axis, const Array& index);
/// Zeros of shape `full` with x added at the indices, duplicates included.
Var put_add(const Var& x, std::int64_t axis, const Array& index, Shape full);
/// The elements of each vector along `axis` at places of its own; the index may be a value of the program.
/// `lenient`: a place that is not there gives NaN, and no error.
Var take_along(const Var& x, std::int64_t axis, const Var& index, bool lenient = false);
/// `take` at places that may be a value of the program.
Var take_at(const Var& x, std::int64_t axis, const Var& index);
/// Zeros of shape `full` with x added at those places.
Var add_along(const Var& x, std::int64_t axis, const Var& index, Shape full, bool lenient = false);
Var concatenate(std::span<const Var> parts, std::int64_t axis);
Var stack(std::span<const Var> parts, std::int64_t axis);
Var cast(const Var& x, DType dtype);
/// The same values as a constant. In the body of a rolled loop it is an op, which the derivatives of the body see.
Var stop_gradient(const Var& x);

// Assignment: x with a part replaced. The memory of x is reused where nobody else can see it.
Var write_slice(Var x, Slices slices, const Var& value);
Var put(Var x, std::int64_t axis, const Array& index, const Var& value);

// Reductions over sorted, non-negative axes.
Var sum(const Var& x, Axes axes, bool keepdims);
Var sum_to_shape(const Var& x, Shape shape);
Var mean(const Var& x, Axes axes, bool keepdims);
Var variance(const Var& x, Axes axes, bool keepdims, double ddof);
Var prod(const Var& x, Axes axes, bool keepdims);
Var max(const Var& x, Axes axes, bool keepdims);
Var min(const Var& x, Axes axes, bool keepdims);
Var cumsum(const Var& x, std::int64_t axis, bool reverse = false);
Var logsumexp(const Var& x, std::int64_t axis, bool keepdims);
Var softmax(const Var& x, std::int64_t axis);
Var log_softmax(const Var& x, std::int64_t axis);

// Positions and truths: no derivatives. Without an axis the position is that in the flattened array.
Var argmax(const Var& x, std::optional<std::int64_t> axis, bool keepdims);
Var argmin(const Var& x, std::optional<std::int64_t> axis, bool keepdims);
/// The places that sort along an axis; equal elements keep their order, NaN comes last.
Var argsort(const Var& x, std::int64_t axis);
Var any(const Var& x, Axes axes, bool keepdims);
Var all(const Var& x, Axes axes, bool keepdims);

/// Uniform numbers in (0, 1), a function of three float64 scalars that hold whole numbers and of the number of the
/// draw.
Var random_uniform(const Var& seed, const Var& stream, const Var& iteration, std::int64_t draw, Shape shape,
                   DType dtype);

/// The matrix product as NumPy's `matmul`, 1-d operands included.
Var matmul(const Var& a, const Var& b);

/// Direction `k` of a tangent with leading directions.
Var direction(const Var& tangent, std::int64_t k);

}  // namespace dualtape::tape
