// SPDX-License-Identifier: MIT
// A partial of an op that is known at run time only, on any number type: where rules.hpp meets a recorded op.
#pragma once

#include <type_traits>

#include "dualtape/ops/rules.hpp"

namespace dualtape::ops {

/// The partial of `op` with respect to operand `which`, given the operands and the result y; 0 where it has none.
template <class T>
T partial_of(Op op, int which, const T* x, const T& y) {
  return dispatch(op, [&](auto rule) -> T {
    using Rule = decltype(rule);
    const auto at = [&](auto index) -> T {
      constexpr int kIndex = decltype(index)::value;
      if constexpr (kIndex >= Rule::arity) {
        return T(0.0);
      } else if constexpr (!Rule::template differentiable<kIndex>) {
        return T(0.0);
      } else if constexpr (Rule::arity == 1) {
        return Rule::template partial<kIndex>(x[0], y);
      } else if constexpr (Rule::arity == 2) {
        return Rule::template partial<kIndex>(x[0], x[1], y);
      } else {
        return Rule::template partial<kIndex>(x[0], x[1], x[2], y);
      }
    };
    switch (which) {
      case 0:
        return at(std::integral_constant<int, 0>{});
      case 1:
        return at(std::integral_constant<int, 1>{});
      default:
        return at(std::integral_constant<int, 2>{});
    }
  });
}

}  // namespace dualtape::ops
