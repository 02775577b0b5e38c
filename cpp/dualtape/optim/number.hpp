// SPDX-License-Identifier: MIT
// The functions of the rules' text: for numbers those of num/math.hpp, for lanes those of num/lanes_math.hpp (found by
// argument-dependent lookup) and the three below. Numbers that record what is done with them bring theirs along.
#pragma once

#include "dualtape/num/lanes_math.hpp"
#include "dualtape/num/math.hpp"

namespace dualtape::optim::DUALTAPE_ISA {

using dualtape::DUALTAPE_ISA::kWidth;
using dualtape::DUALTAPE_ISA::lanes;
using num::power;
using num::select;
using num::sqrt;

/// The larger one; NaN where either is, as in NumPy.
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> maximum(lanes<T, W> a, lanes<T, W> b) {
  return select((a > b) | (a != a), a, b);
}
/// The smaller one; NaN where either is.
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> minimum(lanes<T, W> a, lanes<T, W> b) {
  return select((a < b) | (a != a), a, b);
}
/// -1, 0 or 1; NaN of NaN.
template <class T, int W>
DUALTAPE_INLINE lanes<T, W> sign(lanes<T, W> x) {
  return select(x > 0, 1, select(x < 0, -1, x));
}

}  // namespace dualtape::optim::DUALTAPE_ISA
