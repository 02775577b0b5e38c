// SPDX-License-Identifier: MIT
// The table of the matrix kernels, one for each instruction set.
#pragma once

#include <cstdint>

namespace dualtape::array {

/// c (m x n, C-ordered) = a (m x k) @ b (k x n), or += where `accumulate`. Strides count elements.
template <class T>
struct Product {
  std::int64_t m, n, k;
  const T* a;
  std::int64_t a_row, a_column;
  const T* b;
  std::int64_t b_row, b_column;
  T* c;
  std::int64_t c_row;  // n, except inside a kernel
  bool accumulate;
  T* scratch;
};

template <class T>
struct MatrixKernels {
  /// Elements of scratch that `product` needs for these sizes and strides.
  std::int64_t (*scratch)(const Product<T>& p);
  void (*product)(const Product<T>& p);
};

namespace generic {
template <class T>
const MatrixKernels<T>& matrix_kernels();
}
namespace avx2 {
template <class T>
const MatrixKernels<T>& matrix_kernels();
}
namespace avx512 {
template <class T>
const MatrixKernels<T>& matrix_kernels();
}

}  // namespace dualtape::array
