// SPDX-License-Identifier: MIT
// Reductions. The order of every floating-point sum and product is one fixed tree that depends on the number of
// elements only, not on strides, instruction set, threads or which axes are reduced (array/kernels/tree.hpp draws
// it), so an element has the same bits wherever it is computed.
//
// `axes` may be negative and in any order, none twice; `all_axes(x)` names them all and an empty list none, as in
// NumPy. dtypes follow NumPy: sums and products of bool and int64 are int64, extrema keep the dtype.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "dualtape/array/array.hpp"
#include "dualtape/base/shape.hpp"

namespace dualtape::array {

using Axes = std::span<const std::int64_t>;

/// 0, 1, ..., x.ndim() - 1.
Dims all_axes(const Array& x);

Array sum(const Array& x, Axes axes, bool keepdims = false);
Array prod(const Array& x, Axes axes, bool keepdims = false);
/// The extrema; a NaN among the elements is the result. ShapeError where there is no element to choose.
Array max(const Array& x, Axes axes, bool keepdims = false);
Array min(const Array& x, Axes axes, bool keepdims = false);

/// The int64 position of the first extremum (or first NaN) along `axis`, or in C order without one.
Array argmax(const Array& x, std::optional<std::int64_t> axis, bool keepdims = false);
Array argmin(const Array& x, std::optional<std::int64_t> axis, bool keepdims = false);

/// bool: is any (is every) element nonzero; a NaN is.
Array any(const Array& x, Axes axes, bool keepdims = false);
Array all(const Array& x, Axes axes, bool keepdims = false);
/// int64.
Array count_nonzero(const Array& x, Axes axes, bool keepdims = false);

/// Running sums along `axis` in order, or from the end (the transpose of the former).
Array cumsum(const Array& x, std::int64_t axis, bool reverse = false);

/// The transpose of broadcasting: sums the axes that `broadcast_to` had repeated to make ct from `shape`.
Array sum_to_shape(const Array& ct, Shape shape);

/// log(sum(exp(x))) without overflow; -inf for nothing but -inf, as SciPy's. Integers become float64.
Array logsumexp(const Array& x, std::int64_t axis, bool keepdims = false);
/// exp(x) / sum(exp(x)) along `axis`.
Array softmax(const Array& x, std::int64_t axis);
/// log(softmax(x)) without loss for small probabilities.
Array log_softmax(const Array& x, std::int64_t axis);

}  // namespace dualtape::array
