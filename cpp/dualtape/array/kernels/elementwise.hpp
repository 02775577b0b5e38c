// SPDX-License-Identifier: MIT
// The element loops of the elementwise ops, as tables of function pointers, one set for each instruction set.
#pragma once

#include <cstdint>

#include "dualtape/ops/codes.hpp"

namespace dualtape::array {

enum class DType : std::uint8_t;

/// out[i] = f(in[0][i * steps[0]], in[1][i * steps[1]], ...) for i < n. A step is 0 (one number for all) or 1.
/// `out` may be one of the inputs. T is double or float; out is an array of T, or of bool for a predicate.
using ElementLoop = void (*)(const void* const* in, const int* steps, void* out, std::int64_t n);

/// *out = f(*in[0], *in[1], ...).
using SingleElement = void (*)(const void* const* in, void* out);

/// The loops for one element type.
struct ElementLoops {
  /// in: the operands.
  ElementLoop value[ops::kOpCount];
  /// The same, but a predicate writes 1 and 0 as numbers of type T.
  ElementLoop number[ops::kOpCount];
  /// The same as `number` on one element, in scalar code.
  SingleElement single[ops::kOpCount];
  /// cotangent * partial with a strong zero; null where there is no partial. in: cotangent, operands, result.
  ElementLoop times_partial[ops::kOpCount][ops::kMaxArity];
};

/// The most inputs that a loop has.
inline constexpr int kMaxInputs = ops::kMaxArity + 2;

struct ElementKernels {
  ElementLoops f64, f32;
};

/// The loops of the current instruction set for float64 or float32.
const ElementLoops& element_loops(DType dtype);

}  // namespace dualtape::array

namespace dualtape::generic {
const array::ElementKernels& element_kernels();
}
namespace dualtape::avx2 {
const array::ElementKernels& element_kernels();
}
namespace dualtape::avx512 {
const array::ElementKernels& element_kernels();
}
