// SPDX-License-Identifier: MIT
// From a dtype known at run time to the C++ type of the elements.
#pragma once

#include <cstdint>

#include "dualtape/array/array.hpp"

namespace dualtape::array {

/// Calls `body.template operator()<T>()` with the type of the elements.
template <class Body>
decltype(auto) dispatch(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body.template operator()<float>();
    case DType::i64:
      return body.template operator()<std::int64_t>();
    case DType::boolean:
      return body.template operator()<bool>();
    case DType::f64:
      break;
  }
  return body.template operator()<double>();
}

/// float32 stays, every other dtype becomes float64.
inline DType float_dtype(DType dtype) { return dtype == DType::f32 ? DType::f32 : DType::f64; }

}  // namespace dualtape::array
