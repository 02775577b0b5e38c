// SPDX-License-Identifier: MIT
// Kernel source (see isa.hpp): lanes of width 1 are plain scalar code, with FMA as an instruction where there is one.
#include "dualtape/num/kernels/math.hpp"

#include "dualtape/num/lanes_instructions.hpp"

namespace dualtape::DUALTAPE_ISA {
namespace {

#define DUALTAPE_OWN1(name)                                                                       \
  double name##_f64(double x) { return num::polynomials::name<double>(lanes<double, 1>(x)).raw; } \
  float name##_f32(float x) { return num::polynomials::name<float>(lanes<float, 1>(static_cast<double>(x))).raw; }
#include "dualtape/num/math.def"

}  // namespace

const num::OwnMath& own_math() {
  static constexpr num::OwnMath functions = {
#define DUALTAPE_OWN1(name) name##_f64, name##_f32,
#include "dualtape/num/math.def"
  };
  return functions;
}

}  // namespace dualtape::DUALTAPE_ISA
