// SPDX-License-Identifier: MIT
// Sorting by places. An order is computed once and then read through `take_along`, so values and derivatives take the
// same way.
#pragma once

#include <cstdint>

#include "dualtape/array/array.hpp"

namespace dualtape::array {

/// The int64 places that put the elements along `axis` in ascending order: equal ones keep their order, and NaN comes
/// last, as in NumPy.
Array argsort(const Array& x, std::int64_t axis);

}  // namespace dualtape::array
