// SPDX-License-Identifier: MIT
// Forward mode: every rule against finite differences, first and second order, on its domain.
#include <doctest/doctest.h>

#include <string>

#include "dualtape/dual/dual.hpp"
#include "tests/samples.hpp"

using namespace dualtape;
using dual::Dual;
using ops::Op;

namespace {

using First = Dual<double>;
using Second = Dual<First>;

template <class Rule, class T>
T call(const T* x) {
  if constexpr (Rule::arity == 1) return T::template lift<Rule>(x[0]);
  if constexpr (Rule::arity == 2) return T::template lift<Rule>(x[0], x[1]);
  if constexpr (Rule::arity == 3) return T::template lift<Rule>(x[0], x[1], x[2]);
}

/// The derivative of f at 0 by central differences of two widths, Richardson extrapolated.
template <class F>
double difference(F f) {
  const double h = 2e-3;
  const auto slope = [&](double step) { return (f(step) - f(-step)) / (2 * step); };
  const double coarse = slope(h), middle = slope(h / 2), fine = slope(h / 4);
  const double first = (4 * middle - coarse) / 3, second = (4 * fine - middle) / 3;
  return (16 * second - first) / 15;
}

bool close(double got, double expected, double tolerance) {
  return std::fabs(got - expected) <= tolerance * (1 + std::fabs(expected));
}

/// True where the op does not stay smooth within reach of the differences.
bool near_kink(Op op, const double* x) {
  switch (op) {
    case Op::maximum:
    case Op::minimum:
    case Op::fmax:
    case Op::fmin:
      return std::fabs(x[0] - x[1]) < 0.01;
    case Op::clip:
      return std::fabs(x[0] - x[1]) < 0.01 || std::fabs(x[0] - x[2]) < 0.01;
    default:
      return false;
  }
}

}  // namespace

TEST_CASE("duals agree with finite differences, twice over") {
  for (int i = 0; i < ops::kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    const ops::OpInfo& row = ops::info(op);
    tests::Random random(static_cast<std::uint64_t>(i) + 7);
    for (int trial = 0; trial < 40; ++trial) {
      double x[ops::kMaxArity], direction[ops::kMaxArity];
      for (int k = 0; k < row.arity; ++k) {
        const std::size_t at = static_cast<std::size_t>(k);
        x[k] = tests::sample(row.domains[at], random);
        direction[k] = row.differentiable[at] ? random.uniform(-1, 1) : 0;
      }
      if (near_kink(op, x)) continue;
      ops::dispatch(op, [&](auto rule) {
        using Rule = decltype(rule);
        if constexpr (!Rule::predicate) {
          const auto along = [&](double t) {
            First at[ops::kMaxArity];
            for (int k = 0; k < Rule::arity; ++k) at[k] = First(x[k] + t * direction[k], direction[k]);
            return call<Rule>(at);
          };
          Second twice[ops::kMaxArity];
          for (int k = 0; k < Rule::arity; ++k) twice[k] = Second(First(x[k], direction[k]), First(direction[k], 0.0));
          const Second y = call<Rule>(twice);
          const std::string name(row.name);
          CAPTURE(name);
          CAPTURE(x[0]);
          CHECK(y.primal.primal == array::scalar_value(op, x));
          CHECK(y.primal.tangent() == y.tangent().primal);
          CHECK(along(0).tangent() == y.primal.tangent());
          CHECK(close(y.primal.tangent(), difference([&](double t) { return along(t).primal; }), 1e-8));
          CHECK(close(y.tangent().tangent(), difference([&](double t) { return along(t).tangent(); }), 1e-7));
        }
      });
    }
  }
}

TEST_CASE("a zero tangent contributes exactly zero") {
  const First y = sqrt(First(0.0, 0.0));  // the slope is infinite
  CHECK(y.primal == 0);
  CHECK(y.tangent() == 0);
  const First x(0.0, 1.0);
  CHECK(where(x > 0, sqrt(x), x + 1).tangent() == 1);
}

TEST_CASE("several tangents travel together") {
  const Dual<double, 2> a(0.5, {1, 0}), b(0.3, {0, 1});
  const auto y = square(b - a * a) + square(1 - a);
  CHECK(y.primal == doctest::Approx(0.2525));
  CHECK(y.tangents[0] == doctest::Approx(-1.1));
  CHECK(y.tangents[1] == doctest::Approx(0.1));
}

TEST_CASE("a third derivative by nesting") {
  using Third = Dual<Second>;
  const Third x(Second(First(0.7, 1.0), First(1.0, 0.0)), Second(First(1.0, 0.0), First(0.0, 0.0)));
  const Third y = sin(x) * exp(x);
  const double expected = 2 * std::exp(0.7) * (std::cos(0.7) - std::sin(0.7));  // d^3 of sin(x) exp(x)
  CHECK(y.tangent().tangent().tangent() == doctest::Approx(expected).epsilon(1e-14));
}

TEST_CASE("comparisons look at primals only") {
  CHECK(First(1.0, 5.0) == First(1.0, -5.0));
  CHECK(First(1.0, 5.0) < First(2.0, 0.0));
}
