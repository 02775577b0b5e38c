// SPDX-License-Identifier: MIT
#include "dualtape/num/math.hpp"

#include "dualtape/num/isa.hpp"

// sleef.h declares the first of these only where the compiler may use FMA itself, and the second as const double.
extern "C" {
#define DUALTAPE_MATH1(name, sleef, accuracy)                 \
  double Sleef_finz_##sleef##d1_##accuracy##purecfma(double); \
  float Sleef_finz_##sleef##f1_##accuracy##purecfma(float);   \
  double Sleef_cinz_##sleef##d1_##accuracy##purec(double);    \
  float Sleef_cinz_##sleef##f1_##accuracy##purec(float);
#define DUALTAPE_MATH2(name, sleef, accuracy)                         \
  double Sleef_finz_##sleef##d1_##accuracy##purecfma(double, double); \
  float Sleef_finz_##sleef##f1_##accuracy##purecfma(float, float);    \
  double Sleef_cinz_##sleef##d1_##accuracy##purec(double, double);    \
  float Sleef_cinz_##sleef##f1_##accuracy##purec(float, float);
#include "dualtape/num/math.def"
}

namespace dualtape::num {
namespace {

#define DUALTAPE_MATH1(name, sleef, accuracy) Sleef_finz_##sleef##d1_##accuracy##purecfma,
#define DUALTAPE_MATH2 DUALTAPE_MATH1
constexpr MathTable<double> kFused64 = {
#include "dualtape/num/math.def"
};

#define DUALTAPE_MATH1(name, sleef, accuracy) Sleef_cinz_##sleef##d1_##accuracy##purec,
#define DUALTAPE_MATH2 DUALTAPE_MATH1
constexpr MathTable<double> kPlain64 = {
#include "dualtape/num/math.def"
};

#define DUALTAPE_MATH1(name, sleef, accuracy) Sleef_finz_##sleef##f1_##accuracy##purecfma,
#define DUALTAPE_MATH2 DUALTAPE_MATH1
constexpr MathTable<float> kFused32 = {
#include "dualtape/num/math.def"
};

#define DUALTAPE_MATH1(name, sleef, accuracy) Sleef_cinz_##sleef##f1_##accuracy##purec,
#define DUALTAPE_MATH2 DUALTAPE_MATH1
constexpr MathTable<float> kPlain32 = {
#include "dualtape/num/math.def"
};

}  // namespace

const MathTable<double> math_f64 = has_fma() ? kFused64 : kPlain64;
const MathTable<float> math_f32 = has_fma() ? kFused32 : kPlain32;

}  // namespace dualtape::num
