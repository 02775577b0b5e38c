// SPDX-License-Identifier: MIT
#include "dualtape/array/sort.hpp"

#include <algorithm>
#include <numeric>
#include <type_traits>
#include <vector>

#include "dualtape/array/convert.hpp"
#include "dualtape/base/shape.hpp"

namespace dualtape::array {
namespace {

/// A total order even where there are NaNs, as a sort demands.
template <class T>
bool before(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return a < b || (b != b && a == a);
  return a < b;
}

}  // namespace

Array argsort(const Array& given, std::int64_t axis) {
  const auto at = static_cast<std::size_t>(normalize_axis("argsort", axis, given.ndim()));
  const Array x = given.as_contiguous();
  const std::int64_t n = x.shape()[at];
  const std::int64_t outer = element_count(x.shape().first(at)), inner = element_count(x.shape().subspan(at + 1));
  Array out = Array::empty(DType::i64, x.shape());
  if (out.size() == 0) return out;
  std::int64_t* to = out.writable_data<std::int64_t>();
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  dispatch(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    for (std::int64_t o = 0; o < outer; ++o) {
      for (std::int64_t i = 0; i < inner; ++i) {
        const std::int64_t first = o * n * inner + i;
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
          return before<T>(from[first + a * inner], from[first + b * inner]);
        });
        for (std::int64_t k = 0; k < n; ++k) to[first + k * inner] = order[static_cast<std::size_t>(k)];
      }
    }
  });
  return out;
}

}  // namespace dualtape::array
