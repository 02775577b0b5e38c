// SPDX-License-Identifier: MIT
// Reductions of rows and of columns: the trees of tree.hpp over every row or column.
#include "dualtape/array/kernels/reduce.hpp"

#include "dualtape/array/kernels/tree.hpp"

namespace dualtape::array::DUALTAPE_ISA {
namespace {

template <class Op, class T>
void rows(const T* x, std::int64_t rows, std::int64_t row, std::int64_t n, std::int64_t step, T* out) {
  if (step == 1) {
    row_trees<Op>(x, rows, row, n, out);
    return;
  }
  T gathered[kBlock];
  for (std::int64_t i = 0; i < rows; ++i) {
    out[i] = pairwise_blocks<Op>(n, [&](std::int64_t start, std::int64_t count) {
      const T* from = x + i * row + start * step;
      for (std::int64_t k = 0; k < count; ++k) gathered[k] = from[k * step];
      return row_tree<Op>(gathered, count);
    });
  }
}

template <class Op, class T>
constexpr Reduction<T> reduction() {
  return {rows<Op, T>, column_tree<Op, T>};
}

/// The first element equal to `value`, or the first NaN if it is one; n if there is none.
template <class T>
std::int64_t find(const T* x, std::int64_t n, T value) {
  constexpr int kW = kWidth<T>, kVectors = 8;
  const bool is_nan = value != value;
  std::int64_t i = 0;
  for (; i + kVectors * kW <= n; i += kVectors * kW) {
    typename VectorOf<T>::mask hits = {};
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const Vector<T> some = load(x + i + v * kW);
      hits |= is_nan ? some != some : some == broadcast(value);
    }
    bool any = false;
    for (int j = 0; j < kW; ++j) any |= hits[j] != 0;
    if (any) break;
  }
  while (i < n && !(is_nan ? x[i] != x[i] : x[i] == value)) ++i;
  return i;
}

}  // namespace

template <class T>
const ReduceKernels<T>& reduce_kernels() {
  static constexpr ReduceKernels<T> kTable = {reduction<Add, T>(), reduction<Multiply, T>(), reduction<Maximum, T>(),
                                              reduction<Minimum, T>(), find<T>};
  return kTable;
}
template const ReduceKernels<double>& reduce_kernels<double>();
template const ReduceKernels<float>& reduce_kernels<float>();

}  // namespace dualtape::array::DUALTAPE_ISA
