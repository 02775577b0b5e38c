// SPDX-License-Identifier: MIT
// The table of the kernels for matrix products of many lanes, one for each instruction set.
#pragma once

#include <cstdint>

namespace dualtape::array {

/// c (m x n) = a (m x k) @ b (k x n) for each lane. Element (i, k) of a begins at a + i * a_row + k * a_column; there
/// its lanes lie one after another, or one number that all lanes share. b likewise; the elements of c are `lanes`
/// apart.
template <class T>
struct LanesProduct {
  std::int64_t m, n, k, lanes;
  const T* a;
  std::int64_t a_row, a_column;
  bool a_shared;
  const T* b;
  std::int64_t b_row, b_column;
  bool b_shared;
  T* c;
};

template <class T>
using LanesKernel = void (*)(const LanesProduct<T>& p);

namespace generic {
template <class T>
LanesKernel<T> lanes_product();
}
namespace avx2 {
template <class T>
LanesKernel<T> lanes_product();
}
namespace avx512 {
template <class T>
LanesKernel<T> lanes_product();
}

}  // namespace dualtape::array
