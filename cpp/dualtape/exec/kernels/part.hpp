// SPDX-License-Identifier: MIT
// The kernels by which lanes part and come together again, for each instruction set.
#pragma once

#include <cstdint>

namespace dualtape::exec {

/// A list of lanes has room for so many entries behind its last one: kernels write whole vectors.
inline constexpr std::int64_t kListSlack = 16;

struct PartKernels {
  /// Lists the members (null: lanes 0 ... count - 1) whose truth is not zero in `yes`, the others in `no`, each in
  /// order. Returns how many are in `yes`.
  template <class T>
  using Split = std::int64_t (*)(const T* truths, const std::uint32_t* members, std::int64_t count, std::uint32_t* yes,
                                 std::uint32_t* no);
  Split<double> split_double;
  Split<float> split_float;
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
