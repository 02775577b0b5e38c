// SPDX-License-Identifier: MIT
// Applying elementwise ops to Vars: the one place where a value is computed, paired with its tangent, and recorded.
// `times_partial` is the one place where a partial of the table meets a tangent or a cotangent.
#pragma once

#include <initializer_list>
#include <span>

#include "dualtape/ops/op.hpp"
#include "dualtape/tape/var.hpp"

namespace dualtape::tape {

/// Applies an elementwise op; operands may be tracked, dual, both, or neither.
Var apply(ops::Op op, std::span<const Var> operands);
inline Var apply(ops::Op op, std::initializer_list<Var> operands) {
  return apply(op, std::span(operands.begin(), operands.size()));
}

/// The partial of `op` with respect to operand `which`, times `factor`: a cotangent on its way back or a tangent on
/// its way forward. `out` is the value that the operands gave. A zero factor gives exactly zero.
Var times_partial(ops::Op op, int which, std::span<const Var> operands, const Var& out, const Var& factor);

/// a + b, where an untouched a may be reused.
Var add(Var a, const Var& b);
/// Brings a cotangent to the shape and dtype of the operand it belongs to: the one place that undoes broadcasting.
Var fit(const Var& cotangent, Shape shape, DType dtype);
/// Zeros like the primal of `var`.
Var zeros_like(const Var& var);
/// A tangent with its directions first, given enough inner axes of extent 1 to broadcast against `ndim` axes.
Var align_directions(const Var& tangent, int ndim);

}  // namespace dualtape::tape
