// SPDX-License-Identifier: MIT
// The kernels by which lanes part and come together again, for each instruction set. Sets of lanes are bits: lane k
// is bit k % 64 of word k / 64.
#pragma once

#include <cstdint>

namespace dualtape::exec {

struct PartKernels {
  /// Parts a set of lanes among 0 ... count - 1 (null: all of them) by truth: those whose number is not zero are
  /// `yes`, the others `no`. Returns how many are in `yes`.
  template <class T>
  using Split = std::int64_t (*)(const T* truths, const std::uint64_t* set, std::int64_t count, std::uint64_t* yes,
                                 std::uint64_t* no);
  Split<double> split_double;
  Split<float> split_float;
  /// to[lane] = from[lane] for the lanes of a set.
  void (*put_8)(const std::uint64_t* from, const std::uint64_t* set, std::int64_t count, std::uint64_t* to);
  /// to[k] = from[lanes[k]].
  void (*gather_8)(const std::uint64_t* from, const std::uint32_t* lanes, std::int64_t count, std::uint64_t* to);
};

/// The table of the current instruction set.
const PartKernels& part_kernels();

namespace generic {
const PartKernels& part_kernels();
}
namespace avx2 {
const PartKernels& part_kernels();
}
namespace avx512 {
const PartKernels& part_kernels();
}

}  // namespace dualtape::exec
