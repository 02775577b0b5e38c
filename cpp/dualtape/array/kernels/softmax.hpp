// SPDX-License-Identifier: MIT
// The table of the softmax kernels, one for each instruction set.
#pragma once

#include <cstdint>

namespace dualtape::array {

/// exp(x) / sum(exp(x)), its logarithm, or log(sum(exp(x))).
enum class Normalizer { softmax, log_softmax, logsumexp };

/// The most rows or columns that are worked on at a time.
inline constexpr std::int64_t kSoftmaxGroup = 256;

/// x, C-ordered, is outer x n x inner; n >= 1 is the normalised axis.
template <class T>
struct SoftmaxTask {
  Normalizer kind;
  std::int64_t outer, n, inner;
  const T* x;
  T* out;              // like x; outer x inner for logsumexp
  std::int64_t group;  // rows (inner = 1) or columns worked on at a time, at most kSoftmaxGroup
  T* scratch;          // n x group elements
};

template <class T>
using SoftmaxKernel = void (*)(const SoftmaxTask<T>& task);

namespace generic {
template <class T>
SoftmaxKernel<T> softmax_kernel();
}
namespace avx2 {
template <class T>
SoftmaxKernel<T> softmax_kernel();
}
namespace avx512 {
template <class T>
SoftmaxKernel<T> softmax_kernel();
}

}  // namespace dualtape::array
