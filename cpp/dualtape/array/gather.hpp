// SPDX-License-Identifier: MIT
// Indexing with integer arrays: reading (`take`), its transpose (`put_add`) and assignment (`put`); the same two with
// places of its own for each vector along an axis (`take_along`, `add_along`). An index is int64
// of any shape, negative entries count from the end, and every entry is checked before anything is read or written.
// Several index arrays at once reduce to one: the caller flattens the axes and combines the indices.
#pragma once

#include <cstdint>

#include "dualtape/array/array.hpp"
#include "dualtape/base/shape.hpp"

namespace dualtape::array {

/// x along `axis` at `index`: x.shape with that axis replaced by index.shape.
Array take(const Array& x, std::int64_t axis, const Array& index);
/// The transpose of `take`: zeros of shape `full`, to which ct is added at `index`, duplicates in order.
Array put_add(const Array& ct, std::int64_t axis, const Array& index, Shape full);
/// take(x, axis, index) = value, broadcast and converted; of duplicates the last one stays. x must be unique.
void put(Array& x, std::int64_t axis, const Array& index, const Array& value);
/// The elements of each vector along `axis` at the places that the same vector of `index` names; off the axis both have
/// the same extents. With `lenient` a place that is not there gives NaN (0 where the dtype has none) and no error.
Array take_along(const Array& x, std::int64_t axis, const Array& index, bool lenient = false);
/// The transpose of `take_along`: zeros of shape `full`, to which ct is added, duplicates in order.
Array add_along(const Array& ct, std::int64_t axis, const Array& index, Shape full, bool lenient = false);
/// The int64 positions, in C order, of the nonzero elements: flat indices for a boolean mask.
Array flat_nonzero(const Array& x);

}  // namespace dualtape::array
