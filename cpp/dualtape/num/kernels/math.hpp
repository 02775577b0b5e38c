// SPDX-License-Identifier: MIT
// Our own math functions (polynomials.hpp) for single numbers, compiled for each instruction set.
#pragma once

namespace dualtape::num {

struct OwnMath {
#define DUALTAPE_OWN1(name)     \
  double (*name##_f64)(double); \
  float (*name##_f32)(float);
#include "dualtape/num/math.def"
};

}  // namespace dualtape::num

namespace dualtape::generic {
const num::OwnMath& own_math();
}
namespace dualtape::avx2 {
const num::OwnMath& own_math();
}
namespace dualtape::avx512 {
const num::OwnMath& own_math();
}
