// SPDX-License-Identifier: MIT
// The table itself: its rows, NumPy's special values, and the kinks.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

#include "dualtape/ops/rules.hpp"
#include "tests/samples.hpp"

using namespace dualtape;
using ops::Op;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

double value(Op op, double a, double b = 0, double c = 0) {
  const double x[] = {a, b, c};
  return array::scalar_value(op, x);
}

double partial(Op op, int which, double a, double b = 0, double c = 0) {
  const double x[] = {a, b, c};
  return array::scalar_partial(op, which, x, array::scalar_value(op, x));
}

}  // namespace

TEST_CASE("every row of the table is complete") {
  std::set<std::string> names;
  for (int i = 0; i < ops::kOpCount; ++i) {
    const ops::OpInfo& row = ops::info(static_cast<Op>(i));
    const std::string name(row.name);
    CAPTURE(name);
    CHECK(names.insert(name).second);
    CHECK(ops::find(name) == static_cast<Op>(i));
    CHECK((row.arity >= 1 && row.arity <= ops::kMaxArity));
    for (int k = 0; k < row.arity; ++k) {
      const std::size_t at = static_cast<std::size_t>(k);
      CHECK(row.domains[at].lo < row.domains[at].hi);
      CHECK_FALSE((row.predicate && row.differentiable[at]));
    }
    const bool differentiable =
        std::any_of(row.differentiable.begin(), row.differentiable.end(), [](bool d) { return d; });
    if (!differentiable && !row.predicate) CHECK_MESSAGE(row.kink == "0 everywhere", name);
  }
  CHECK_FALSE(ops::find("no_such_op"));
}

TEST_CASE("partials say what they read") {
  const auto reads = [](Op op, std::size_t k) { return ops::info(op).reads[k]; };
  CHECK(reads(Op::add, 0) == 0);
  CHECK(reads(Op::multiply, 0) == 2);
  CHECK(reads(Op::multiply, 1) == 1);
  CHECK(reads(Op::tanh, 0) == 2);
  CHECK(reads(Op::sin, 0) == 1);
  CHECK(reads(Op::true_divide, 1) == 6);
  CHECK(reads(Op::where, 1) == 1);
}

TEST_CASE("special values are NumPy's") {
  struct Row {
    Op op;
    double a, b, expected;
  };
  constexpr Row rows[] = {
      // as NumPy 2.4 gives them
      {Op::sign, -0.0, 0, 0.0},
      {Op::sign, kNaN, 0, kNaN},
      {Op::sign, -3.0, 0, -1.0},
      {Op::absolute, -0.0, 0, 0.0},
      {Op::square, -0.0, 0, 0.0},
      {Op::sqrt, -0.0, 0, -0.0},
      {Op::sqrt, -1.0, 0, kNaN},
      {Op::cbrt, -8.0, 0, -2.0},
      {Op::cbrt, -kInf, 0, -kInf},
      {Op::reciprocal, -0.0, 0, -kInf},
      {Op::exp, -kInf, 0, 0.0},
      {Op::exp, kInf, 0, kInf},
      {Op::exp, kNaN, 0, kNaN},
      {Op::exp, -0.0, 0, 1.0},
      {Op::exp, 710.0, 0, kInf},
      {Op::exp, -746.0, 0, 0.0},
      {Op::exp2, 10.0, 0, 1024.0},
      {Op::exp2, -1075.0, 0, 0.0},
      {Op::expm1, -kInf, 0, -1.0},
      {Op::expm1, -0.0, 0, -0.0},
      {Op::log, 0.0, 0, -kInf},
      {Op::log, -0.0, 0, -kInf},
      {Op::log, -1.0, 0, kNaN},
      {Op::log, 1.0, 0, 0.0},
      {Op::log, kInf, 0, kInf},
      {Op::log2, 8.0, 0, 3.0},
      {Op::log10, 1000.0, 0, 3.0},
      {Op::log1p, -1.0, 0, -kInf},
      {Op::log1p, -0.0, 0, -0.0},
      {Op::log1p, 5e-324, 0, 5e-324},
      {Op::log1p, kInf, 0, kInf},
      {Op::sin, -0.0, 0, -0.0},
      {Op::sin, kInf, 0, kNaN},
      {Op::cos, -0.0, 0, 1.0},
      {Op::tan, 5e-324, 0, 5e-324},
      {Op::arcsin, -0.0, 0, -0.0},
      {Op::arcsin, 2.0, 0, kNaN},
      {Op::arccos, 1.0, 0, 0.0},
      {Op::arctan, -0.0, 0, -0.0},
      {Op::sinh, -kInf, 0, -kInf},
      {Op::cosh, -kInf, 0, kInf},
      {Op::tanh, -0.0, 0, -0.0},
      {Op::tanh, kInf, 0, 1.0},
      {Op::tanh, -25.0, 0, -1.0},
      {Op::tanh, 5e-324, 0, 5e-324},
      {Op::arcsinh, 5e-324, 0, 5e-324},
      {Op::arcsinh, -kInf, 0, -kInf},
      {Op::arccosh, 0.5, 0, kNaN},
      {Op::arccosh, kInf, 0, kInf},
      {Op::arctanh, 1.0, 0, kInf},
      {Op::arctanh, -0.0, 0, -0.0},
      {Op::sinc, 0.0, 0, 1.0},
      {Op::floor, -0.5, 0, -1.0},
      {Op::ceil, -0.5, 0, -0.0},
      {Op::trunc, -0.5, 0, -0.0},
      {Op::rint, 0.5, 0, 0.0},
      {Op::rint, 1.5, 0, 2.0},
      {Op::rint, -2.5, 0, -2.0},
      {Op::nan_to_num, kNaN, 0, 0.0},
      {Op::nan_to_num, -kInf, 0, -1.7976931348623157e+308},
      {Op::isnan, kNaN, 0, 1.0},
      {Op::isinf, -kInf, 0, 1.0},
      {Op::isfinite, kNaN, 0, 0.0},
      {Op::logical_not, kNaN, 0, 0.0},
      {Op::logical_not, -0.0, 0, 1.0},
      {Op::floor_divide, 7.0, -2.0, -4.0},
      {Op::floor_divide, -7.0, 2.0, -4.0},
      {Op::floor_divide, 1.0, 0.0, kInf},
      {Op::floor_divide, 0.0, 0.0, kNaN},
      {Op::floor_divide, kInf, 2.0, kNaN},
      {Op::floor_divide, -1.0, kInf, -1.0},
      {Op::floor_divide, -0.0, 2.0, -0.0},
      {Op::remainder, -7.0, 2.0, 1.0},
      {Op::remainder, 7.0, -2.0, -1.0},
      {Op::remainder, -6.0, 2.0, 0.0},
      {Op::remainder, 6.0, -2.0, -0.0},
      {Op::remainder, 1.0, 0.0, kNaN},
      {Op::remainder, -1.0, kInf, kInf},
      {Op::remainder, kInf, 1.0, kNaN},
      {Op::fmod, -7.0, 2.0, -1.0},
      {Op::fmod, -6.0, 2.0, -0.0},
      {Op::fmod, 1e+300, 3.0, 0.0},
      {Op::power, 0.0, 0.0, 1.0},
      {Op::power, kNaN, 0.0, 1.0},
      {Op::power, 1.0, kNaN, 1.0},
      {Op::power, -8.0, 3.0, -512.0},
      {Op::power, -8.0, 0.5, kNaN},
      {Op::power, -0.0, -1.0, -kInf},
      {Op::power, -0.0, -2.0, kInf},
      {Op::power, -kInf, 3.0, -kInf},
      {Op::power, 0.5, kInf, 0.0},
      {Op::power, 1.7976931348623157e+308, 1.0, 1.7976931348623157e+308},
      {Op::float_power, 2.0, 10.0, 1024.0},
      {Op::arctan2, 0.0, -0.0, 3.141592653589793},
      {Op::arctan2, -0.0, 0.0, -0.0},
      {Op::arctan2, 0.0, 1.0, 0.0},
      {Op::hypot, kInf, kNaN, kInf},
      {Op::hypot, 3e+200, 4e+200, 4.9999999999999995e+200},
      {Op::hypot, 3.0, -4.0, 5.0},
      {Op::logaddexp, -kInf, -kInf, -kInf},
      {Op::logaddexp, kInf, kInf, kInf},
      {Op::logaddexp, kInf, -kInf, kInf},
      {Op::logaddexp, -kInf, 2.0, 2.0},
      {Op::logaddexp2, 3.0, 3.0, 4.0},
      {Op::logaddexp2, -kInf, kNaN, kNaN},
      {Op::maximum, kNaN, 1.0, kNaN},
      {Op::maximum, 1.0, kNaN, kNaN},
      {Op::minimum, kNaN, -kInf, kNaN},
      {Op::fmax, kNaN, 1.0, 1.0},
      {Op::fmax, 1.0, kNaN, 1.0},
      {Op::fmin, kNaN, kNaN, kNaN},
      {Op::copysign, 3.0, -0.0, -3.0},
      {Op::copysign, kNaN, -1.0, kNaN},
      {Op::heaviside, 0.0, 0.5, 0.5},
      {Op::heaviside, -0.0, 0.25, 0.25},
      {Op::heaviside, kNaN, 0.5, kNaN},
      {Op::heaviside, -2.0, 0.5, 0.0},
      {Op::equal, 0.0, -0.0, 1.0},
      {Op::equal, kNaN, kNaN, 0.0},
      {Op::not_equal, kNaN, kNaN, 1.0},
      {Op::less, -kInf, kInf, 1.0},
      {Op::greater_equal, kNaN, 1.0, 0.0},
      {Op::logical_and, kNaN, 1.0, 1.0},
      {Op::logical_xor, 2.0, 3.0, 0.0},
      {Op::logical_or, 0.0, -0.0, 0.0},
  };
  for (const Row& row : rows) {
    const double got = value(row.op, row.a, row.b);
    CHECK_MESSAGE(tests::same_bits(got, row.expected), ops::info(row.op).name << " of " << row.a << ", " << row.b
                                                                              << " is " << got << ", not "
                                                                              << row.expected);
  }
}

TEST_CASE("special functions have their known values") {
  const double pi = std::acos(-1.0);
  CHECK(value(Op::gammaln, 10) == doctest::Approx(std::log(362880.0)).epsilon(1e-15));
  CHECK(value(Op::digamma, 1) == doctest::Approx(-0.57721566490153286).epsilon(1e-15));
  CHECK(value(Op::digamma, -0.5) == doctest::Approx(0.03648997397857652).epsilon(1e-13));
  CHECK(value(Op::digamma, 0.0) == -kInf);
  CHECK(std::isnan(value(Op::digamma, -2)));
  CHECK(value(Op::trigamma, 1) == doctest::Approx(pi * pi / 6).epsilon(1e-15));
  CHECK(value(Op::trigamma, -0.5) == doctest::Approx(8.934802200544679).epsilon(1e-14));
  CHECK(value(Op::polygamma, 1, 2.5) == doctest::Approx(value(Op::trigamma, 2.5)).epsilon(1e-14));
  CHECK(value(Op::polygamma, 3, 1) == doctest::Approx(std::pow(pi, 4) / 15).epsilon(1e-14));
  CHECK(value(Op::logistic, -800) == 0);
  CHECK(value(Op::logistic, 0) == 0.5);
  CHECK(value(Op::softplus, 800) == 800);
  CHECK(value(Op::gelu, 1) == doctest::Approx(0.8413447460685429).epsilon(1e-15));
  CHECK(value(Op::xlogy, 0, 0) == 0);
  CHECK(std::isnan(value(Op::relu, kNaN)));
  CHECK(value(Op::integer_power, 3, -2) == 1.0 / 9);
  CHECK(value(Op::integer_power, 1.1, 2) == 1.1 * 1.1);
  CHECK(value(Op::strong_multiply, 0, kInf) == 0);
  CHECK(value(Op::where, kNaN, 1, 2) == 1);
}

TEST_CASE("kinks follow the policy") {
  CHECK(partial(Op::absolute, 0, 0) == 0);
  CHECK(partial(Op::relu, 0, 0) == 0);
  CHECK(partial(Op::leakyrelu, 0, 0, 0.1) == 0.1);
  for (Op op : {Op::maximum, Op::minimum, Op::fmax, Op::fmin}) {
    CHECK(partial(op, 0, 2, 2) == 0.5);
    CHECK(partial(op, 1, 2, 2) == 0.5);
  }
  CHECK(partial(Op::fmax, 0, kNaN, 2) == 0);
  CHECK(partial(Op::fmax, 1, kNaN, 2) == 1);
  for (int k : {0, 1}) CHECK(partial(Op::clip, k, 1, 1, 2) == 0.5);
  for (int k : {0, 2}) CHECK(partial(Op::clip, k, 2, 1, 2) == 0.5);
  CHECK(partial(Op::clip, 0, 1.5, 1, 2) == 1);
  CHECK(partial(Op::clip, 2, 3, 1, 2) == 1);
  CHECK(partial(Op::power, 0, 0, 0) == 0);
  CHECK(partial(Op::power, 1, 0, 2) == 0);
  CHECK(partial(Op::power, 0, 0, 1) == 1);
  CHECK(partial(Op::integer_power, 0, 0, 0) == 0);
  CHECK(partial(Op::hypot, 0, 0, 0) == 0);
  CHECK(partial(Op::arctan2, 1, 0, 0) == 0);
  CHECK(partial(Op::copysign, 0, 0, -1) == 0);
  CHECK(partial(Op::sinc, 0, 0) == 0);
  CHECK(partial(Op::logaddexp, 0, -kInf, -kInf) == 0.5);
  CHECK(partial(Op::sqrt, 0, 0) == kInf);
}
