// SPDX-License-Identifier: MIT
// Rearrangements of an array. `reshape`, `transpose`, `slice`, `broadcast_to` and `flip` give views that share the
// buffer (reshape copies where no strides can express the result); the others move elements.
// An index in the sense of NumPy's basic indexing is one `Slice` for each axis; integers, ellipsis and newaxis are
// the business of higher floors (a slice of count 1, then a reshape).
#pragma once

#include <cstdint>
#include <span>

#include "dualtape/array/array.hpp"
#include "dualtape/base/shape.hpp"

namespace dualtape::array {

/// The elements start, start + step, ... of one axis, `count` of them; all in range, step not zero.
struct Slice {
  std::int64_t start = 0;
  std::int64_t step = 1;
  std::int64_t count = 0;
};

/// `shape` with its one entry of -1, if any, worked out for `size` elements; ShapeError where it does not fit.
Dims infer_shape(Shape from, Shape shape);
/// The same elements in C order under another shape (one entry may be -1); a view where strides allow.
Array reshape(const Array& x, Shape shape);
/// Whether strides allow `reshape` to give a view.
bool reshapes_as_view(const Array& x, Shape shape);
/// A view whose axis i is axis `perm[i]` of x.
Array transpose(const Array& x, std::span<const std::int64_t> perm);
/// A view of the elements that `slices`, one for each axis, pick.
Array slice(const Array& x, std::span<const Slice> slices);
/// A view with axes of extent 1 (and missing leading axes) repeated; ShapeError where x does not broadcast.
Array broadcast_to(const Array& x, Shape shape);
/// A view with the order along `axes` reversed.
Array flip(const Array& x, std::span<const std::int64_t> axes);

/// x[slices] = value, broadcast and converted; nobody else may look at x (`x.unique()`).
void write_slice(Array& x, std::span<const Slice> slices, const Array& value);
/// The transpose of `slice`: zeros of shape `full` with ct at `slices`.
Array unslice(const Array& ct, Shape full, std::span<const Slice> slices);
/// Arrays joined along `axis`, in the dtype they promote to; at least one array.
Array concatenate(std::span<const Array* const> parts, std::int64_t axis);

}  // namespace dualtape::array
