// SPDX-License-Identifier: MIT
#include "dualtape/num/math.hpp"

#include "dualtape/num/isa.hpp"
#include "dualtape/num/kernels/math.hpp"

// sleef.h declares the first of these only where the compiler may use FMA itself, and the second as const double.
extern "C" {
#define DUALTAPE_SLEEF1(name, sleef, accuracy)                \
  double Sleef_finz_##sleef##d1_##accuracy##purecfma(double); \
  float Sleef_finz_##sleef##f1_##accuracy##purecfma(float);   \
  double Sleef_cinz_##sleef##d1_##accuracy##purec(double);    \
  float Sleef_cinz_##sleef##f1_##accuracy##purec(float);
#define DUALTAPE_SLEEF2(name, sleef, accuracy)                        \
  double Sleef_finz_##sleef##d1_##accuracy##purecfma(double, double); \
  float Sleef_finz_##sleef##f1_##accuracy##purecfma(float, float);    \
  double Sleef_cinz_##sleef##d1_##accuracy##purec(double, double);    \
  float Sleef_cinz_##sleef##f1_##accuracy##purec(float, float);
#include "dualtape/num/math.def"
}

namespace dualtape::num {
namespace {

// Our own functions come compiled for FMA where there is FMA: the same operations, a call less for each of them.
#if defined(__x86_64__)
const OwnMath& fused = avx2::own_math();
#else
const OwnMath& fused = generic::own_math();
#endif
const OwnMath& plain = generic::own_math();

MathTable<double> table_f64() {
  if (has_fma()) {
    return {
#define DUALTAPE_SLEEF1(name, sleef, accuracy) Sleef_finz_##sleef##d1_##accuracy##purecfma,
#define DUALTAPE_SLEEF2 DUALTAPE_SLEEF1
#define DUALTAPE_OWN1(name) fused.name##_f64,
#include "dualtape/num/math.def"
    };
  }
  return {
#define DUALTAPE_SLEEF1(name, sleef, accuracy) Sleef_cinz_##sleef##d1_##accuracy##purec,
#define DUALTAPE_SLEEF2 DUALTAPE_SLEEF1
#define DUALTAPE_OWN1(name) plain.name##_f64,
#include "dualtape/num/math.def"
  };
}

MathTable<float> table_f32() {
  if (has_fma()) {
    return {
#define DUALTAPE_SLEEF1(name, sleef, accuracy) Sleef_finz_##sleef##f1_##accuracy##purecfma,
#define DUALTAPE_SLEEF2 DUALTAPE_SLEEF1
#define DUALTAPE_OWN1(name) fused.name##_f32,
#include "dualtape/num/math.def"
    };
  }
  return {
#define DUALTAPE_SLEEF1(name, sleef, accuracy) Sleef_cinz_##sleef##f1_##accuracy##purec,
#define DUALTAPE_SLEEF2 DUALTAPE_SLEEF1
#define DUALTAPE_OWN1(name) plain.name##_f32,
#include "dualtape/num/math.def"
  };
}

}  // namespace

const MathTable<double> math_f64 = table_f64();
const MathTable<float> math_f32 = table_f32();

}  // namespace dualtape::num
