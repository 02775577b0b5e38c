// SPDX-License-Identifier: MIT
// Passes over a tape: numeric, recorded and dual ones agree on random programs of scalars and of arrays; forward
// over reverse against differences; long recurrences; strong zeros; inputs that are not connected.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "dualtape/base/error.hpp"
#include "tests/samples.hpp"
#include "tests/tape_testing.hpp"

using namespace dualtape;
using namespace dualtape::testing;
using ops::Op;

namespace {

/// A program of `steps` ops on earlier values, chosen by `seed`; values stay between about -2 and 2.
Var run_program(std::span<const Var> x, int steps, std::uint64_t seed) {
  tests::Random random(seed);
  std::vector<Var> values(x.begin(), x.end());
  const auto any = [&]() -> const Var& {
    return values[static_cast<std::size_t>(random.uniform(0, static_cast<double>(values.size())))];
  };
  for (int i = 0; i < steps; ++i) {
    switch (static_cast<int>(random.uniform(0, 9))) {
      case 0:
        values.push_back(op(Op::sin, {op(Op::add, {any(), any()})}));
        break;
      case 1:
        values.push_back(op(Op::tanh, {op(Op::multiply, {any(), any()})}));
        break;
      case 2:
        values.push_back(op(Op::subtract, {any(), Var(Array::full(x[0].dtype(), {}, random.uniform(-1, 1)))}));
        break;
      case 3:
        values.push_back(op(Op::arctan2, {any(), op(Op::exp, {op(Op::tanh, {any()})})}));
        break;
      case 4:
        values.push_back(op(Op::log1p, {op(Op::square, {any()})}));
        break;
      case 5:
        values.push_back(op(Op::true_divide,
                            {any(), op(Op::add, {Var(Array::full(x[0].dtype(), {}, 2.0)), op(Op::square, {any()})})}));
        break;
      case 6:
        values.push_back(op(Op::cos, {any()}));
        break;
      case 7:
        values.push_back(op(Op::logistic, {any()}));
        break;
      default:
        values.push_back(op(Op::hypot, {any(), Var(Array::full(x[0].dtype(), {}, 1.0))}));
    }
  }
  Var total = values.back();
  for (std::size_t i = values.size() - 3; i < values.size() - 1; ++i) total = op(Op::add, {total, values[i]});
  return total;
}

double item(const Var& v) { return v.value().item(); }

}  // namespace

TEST_CASE("passes: all agree on random programs of scalars") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    const Function f = [&](std::span<const Var> x) { return run_program(x, 25, seed); };
    check_derivatives(f, {Array(0.3), Array(-0.7), Array(1.1)}, static_cast<unsigned>(seed));
  }
}

TEST_CASE("passes: all agree on random programs of arrays that broadcast") {
  for (std::uint64_t seed = 1; seed <= 25; ++seed) {
    CAPTURE(seed);
    const Function f = [&](std::span<const Var> x) { return run_program(x, 15, seed); };
    for (DType dtype : {DType::f64, DType::f32}) {
      Arrays x{random(dtype, {2, 3}, 1), random(dtype, {3}, 2), random(dtype, {2, 1}, 3)};
      for (Array& each : x) each = op(Op::tanh, {Var(each)}).value();
      check_derivatives(f, x, static_cast<unsigned>(seed));
    }
    check_derivatives(f, {Array(0.4), op(Op::tanh, {Var(random(DType::f64, {4}, 2))}).value()}, 5);
  }
}

TEST_CASE("passes: the way without allocation gives the bits of the general one") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    Scope scope;
    Tape& tape = scope.tape();
    const Var x[] = {tape.leaf(Var(0.3)), tape.leaf(Var(-0.7))};
    const Var y = run_program(x, 40, seed), one(1.0);
    const std::uint32_t places[] = {x[0].node(), x[1].node()};
    double fast[2];
    REQUIRE(tape::pull_back_scalars(tape, y.node(), places, fast));
    const std::vector<Var> general = tape::pull_back(&tape, {&y, 1}, {&one, 1}, x, {});
    for (int i = 0; i < 2; ++i) CHECK(tests::same_bits(fast[i], item(general[static_cast<std::size_t>(i)])));
  }
  Scope scope;
  const Var x = scope.tape().leaf(Var(vector_of<double>({1, 2})));
  const Var y = tape::sum(x, Dims{0}, false);
  const std::uint32_t place = x.node();
  double out;
  CHECK_FALSE(tape::pull_back_scalars(scope.tape(), y.node(), {&place, 1}, {&out, 1}));
}

TEST_CASE("second_order: gradient and Hessian in one forward and one reverse pass") {
  Scope scope;
  Tape& tape = scope.tape();
  const Array at = vector_of<double>({0.5, -0.3, 0.8});
  const Var x = tape.leaf(Var(at)), s = tape.leaf(Var(1.2));
  const auto loss = [](const Var& v, const Var& w) {
    return tape::sum(op(Op::multiply, {op(Op::sin, {op(Op::multiply, {v, w})}), tape::softmax(v, 0)}), Dims{0}, false);
  };
  const Var xs[] = {x, s};
  // Four directions: the unit vectors of all inputs, so the tangents are the Hessian.
  Array unit = Array::zeros(DType::f64, Dims{4, 3}), last = Array::zeros(DType::f64, Dims{4});
  for (int i = 0; i < 3; ++i) unit.writable_data<double>()[4 * i] = 1;
  last.writable_data<double>()[3] = 1;
  const Var tangents[] = {Var(unit), Var(last)};
  const std::vector<Var> out = tape::second_order(tape, loss(x, s), xs, tangents, 4);
  const std::vector<double> by_x = elements(out[0].tangent().value()), by_s = elements(out[1].tangent().value());
  const Function f = [&](std::span<const Var> v) { return loss(v[0], v[1]); };
  const Arrays here{at, Array(1.2)};
  CHECK(close(out[0].primal().value(), vjp(f, here, Array(1.0))[0], 1e-14));
  for (int i = 0; i < 4; ++i) {
    Array t = Array::zeros(DType::f64, Dims{3});
    if (i < 3) t.writable_data<double>()[i] = 1;
    const Arrays direction{t, Array(i == 3 ? 1.0 : 0.0)};
    const double h = 1e-5;
    const Arrays up = vjp(f, moved(here, direction, h), Array(1.0)),
                 down = vjp(f, moved(here, direction, -h), Array(1.0));
    const std::vector<double> column = elements(central(up[0], down[0], h));
    for (int k = 0; k < 3; ++k)
      CHECK(close(by_x[static_cast<std::size_t>(3 * i + k)], column[static_cast<std::size_t>(k)], 1e-8));
    CHECK(close(by_s[static_cast<std::size_t>(i)], (up[1].item() - down[1].item()) / (2 * h), 1e-8));
  }
  // A value that depends on nothing has zeros of the right shapes.
  const std::vector<Var> none = tape::second_order(tape, Var(1.0), xs, tangents, 4);
  CHECK(elements(none[0].tangent().value()) == std::vector<double>(12, 0.0));
}

TEST_CASE("push_forward: several directions, and values that are not connected") {
  Scope scope;
  Tape& tape = scope.tape();
  const Var x = tape.leaf(Var(vector_of<double>({1, 2}))), other = tape.leaf(Var(3.0));
  const Var ys[] = {op(Op::multiply, {x, x}), tape::sum(x, Dims{0}, false), op(Op::square, {other}), Var(7.0)};
  const Var tangent(array_of<double>({1, 0, 0, 1, 1, 1}, {3, 2}));
  const std::vector<Var> out = tape::push_forward(tape, {&x, 1}, {&tangent, 1}, ys, 3);
  CHECK(elements(out[0].value()) == std::vector<double>{2, 0, 0, 4, 2, 4});
  CHECK(elements(out[1].value()) == std::vector<double>{1, 1, 2});
  CHECK(elements(out[2].value()) == std::vector<double>{0, 0, 0});
  CHECK(elements(out[3].value()) == std::vector<double>{0, 0, 0});
  CHECK(tape::push_forward(tape, {}, {}, {}, 0).empty());
}

TEST_CASE("pull_back: inputs that are not connected, not traced, or in the middle") {
  Scope scope;
  Tape& tape = scope.tape();
  const Var x = tape.leaf(Var(vector_of<double>({1, 2}))), lonely = tape.leaf(Var(4.0));
  const Var h = op(Op::multiply, {x, Var(3.0)});
  const Var y = tape::sum(op(Op::square, {h}), Dims{0}, false), one(1.0);
  const Var xs[] = {h, lonely, x};
  const std::vector<Var> out = tape::pull_back(&tape, {&y, 1}, {&one, 1}, xs, {});
  CHECK(elements(out[0].value()) == std::vector<double>{6, 12});
  CHECK(item(out[1]) == 0.0);
  CHECK(elements(out[2].value()) == std::vector<double>{18, 36});
  CHECK(elements(tape::pull_back(&tape, {&y, 1}, {&one, 1}, xs, {true, false})[0].value()) ==
        std::vector<double>{6, 12});
  CHECK(elements(tape::pull_back(&tape, {&y, 1}, {&one, 1}, {&h, 1}, {})[0].value()) == std::vector<double>{6, 12});
  CHECK(item(tape::pull_back(&tape, {&y, 1}, {&one, 1}, {&y, 1}, {})[0]) == 1.0);
  CHECK_THROWS_AS(tape::pull_back(&tape, {&y, 1}, {&one, 1}, xs, {false, true}), GradientError);
  const Var stranger(2.0);
  CHECK_THROWS_AS(tape::pull_back(&tape, {&y, 1}, {&one, 1}, {&stranger, 1}, {}), GradientError);
  CHECK_THROWS_AS(tape::pull_back(nullptr, {&y, 1}, {&one, 1}, xs, {}), GradientError);
}

TEST_CASE("passes: an adjoint of zero contributes zero, whatever it meets") {
  const Function f = [](std::span<const Var> x) {
    const Var mask = op(Op::greater, {x[0], Var(0.0)});
    return op(Op::where, {mask, op(Op::square, {x[0]}), op(Op::sqrt, {x[0]})});
  };
  const Array x = vector_of<double>({2, 0, -1});
  CHECK(elements(vjp(f, {x}, vector_of<double>({1, 0, 0}))[0]) == std::vector<double>{4, 0, 0});
  const Function g = [](std::span<const Var> v) { return op(Op::multiply, {op(Op::log, {v[0]}), Var(0.0)}); };
  CHECK(vjp(g, {Array(0.0)}, Array(1.0))[0].item() == 0.0);
  CHECK(vjp(g, {Array(0.0)}, Array(1.0), true)[0].item() == 0.0);
}

TEST_CASE("passes: a cotangent that arrives twice does not change where it came from") {
  // The adjoint of y goes unchanged to both operands, and one of them collects more.
  Scope scope;
  Tape& tape = scope.tape();
  const Var a = tape.leaf(Var(vector_of<double>({1, 2}))), b = tape.leaf(Var(vector_of<double>({3, 4})));
  const Var y = op(Op::add, {a, b}), z = op(Op::add, {y, a});
  const Var seed(vector_of<double>({10, 20}));
  const Var xs[] = {a, b}, ys[] = {z, y}, seeds[] = {seed, seed};
  const std::vector<Var> out = tape::pull_back(&tape, ys, seeds, xs, {});
  CHECK(elements(out[0].value()) == std::vector<double>{30, 60});
  CHECK(elements(out[1].value()) == std::vector<double>{20, 40});
  CHECK(elements(seed.value()) == std::vector<double>{10, 20});
  // A broadcast cotangent is one element in memory, and sums must not go there.
  const Var s = op(Op::add, {tape::sum(a, Dims{0}, false), tape::sum(op(Op::square, {a}), Dims{0}, false)}), one(1.0);
  CHECK(elements(tape::pull_back(&tape, {&s, 1}, {&one, 1}, {&a, 1}, {})[0].value()) == std::vector<double>{3, 5});
}

TEST_CASE("passes: a recurrence of a million nodes needs neither a deep stack nor many bytes") {
  Scope scope;
  Tape& tape = scope.tape();
  const Var x = tape.leaf(Var(0.4));
  Var y = x;
  for (int i = 0; i < 500'000; ++i) y = op(Op::multiply, {op(Op::sin, {y}), Var(1.0 + 1e-7)});
  CHECK(tape.size() >= 1'000'000);
  CHECK(tape.bytes() <= 40u * tape.size());
  double slope = 1, value = 0.4;
  for (int i = 0; i < 500'000; ++i) {
    slope *= std::cos(value) * (1.0 + 1e-7);
    value = std::sin(value) * (1.0 + 1e-7);
  }
  const Var one(1.0);
  CHECK(close(item(tape::pull_back(&tape, {&y, 1}, {&one, 1}, {&x, 1}, {})[0]) / slope, 1.0, 1e-6));
}
