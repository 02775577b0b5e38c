// SPDX-License-Identifier: MIT
// Uniform numbers in bulk, for each instruction set: what philox.hpp computes one by one, with the same bits.
#pragma once

#include <cstdint>

namespace dualtape::num {

/// Lanes are worked on in blocks of at most this many.
inline constexpr int kPhiloxLanes = 64;

/// The words of a block of lanes, one word (its lower half) in each element; those past `count` may be anything.
/// Word 0 of the counter is the number of the element, which all lanes share.
struct PhiloxBlock {
  std::uint64_t counter[3][kPhiloxLanes];  // words 1, 2 and 3
  std::uint64_t key[2][kPhiloxLanes];
};

/// Writes elements 0 ... elements - 1 of lanes 0 ... count - 1; element e of lane l goes to out[e * stride + l]. One
/// lane with a stride of 1 is worked on along its elements.
template <class T>
using UniformKernel = void (*)(const PhiloxBlock& block, std::int64_t elements, int count, std::int64_t stride, T* out);

}  // namespace dualtape::num

namespace dualtape::generic {
template <class T>
num::UniformKernel<T> uniform_kernel();
}
namespace dualtape::avx2 {
template <class T>
num::UniformKernel<T> uniform_kernel();
}
namespace dualtape::avx512 {
template <class T>
num::UniformKernel<T> uniform_kernel();
}
