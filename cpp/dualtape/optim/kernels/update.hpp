// SPDX-License-Identifier: MIT
// The table of function pointers that kernels/update.cpp fills for each instruction set.
#pragma once

#include <cstdint>

#include "dualtape/optim/update.hpp"

namespace dualtape::optim {

/// The kernels for elements of type T.
template <class T>
struct UpdateKernels {
  /// `scalars` and `terms` are a Step and Terms as lists of doubles; terms may be null.
  using Update = void (*)(const double* scalars, const double* terms, const Slice<T>& slice);
  Update update[kRuleCount];
  /// The sum of (scale * x)^2.
  double (*sum_of_squares)(const T* x, std::int64_t count, double scale);
  /// The largest magnitude; NaN where there is one.
  double (*largest)(const T* x, std::int64_t count);
};

namespace generic {
template <class T>
const UpdateKernels<T>& update_kernels();
}
#if defined(__x86_64__)
namespace avx2 {
template <class T>
const UpdateKernels<T>& update_kernels();
}
namespace avx512 {
template <class T>
const UpdateKernels<T>& update_kernels();
}
#endif

}  // namespace dualtape::optim
