// SPDX-License-Identifier: MIT
// The table of the reduction kernels, one for each instruction set; every result follows the tree of
// array/kernels/tree.hpp.
#pragma once

#include <cstdint>

namespace dualtape::array {

/// out[i] = the reduction of x[i * row], x[i * row + step], ... n >= 1 of them, for each of `rows` rows.
template <class T>
using ReduceRows = void (*)(const T* x, std::int64_t rows, std::int64_t row, std::int64_t n, std::int64_t step, T* out);
/// out[j] = the reduction of x[j], x[j + row], ... n >= 1 of them, for each of `columns` columns.
template <class T>
using ReduceColumns = void (*)(const T* x, std::int64_t n, std::int64_t row, std::int64_t columns, T* out);

template <class T>
struct Reduction {
  ReduceRows<T> rows;
  ReduceColumns<T> columns;
};

template <class T>
struct ReduceKernels {
  Reduction<T> sum, prod, max, min;
  /// The first i < n with x[i] equal to `value` (both NaN counts as equal), else n.
  std::int64_t (*find)(const T* x, std::int64_t n, T value);
};

namespace generic {
template <class T>
const ReduceKernels<T>& reduce_kernels();
}
namespace avx2 {
template <class T>
const ReduceKernels<T>& reduce_kernels();
}
namespace avx512 {
template <class T>
const ReduceKernels<T>& reduce_kernels();
}

}  // namespace dualtape::array
