// SPDX-License-Identifier: MIT
// Every shaped rule: tangents against cotangents by inner products, both against differences, second derivatives,
// float64 and float32; and assignment to elements, in place and not.
#include <doctest/doctest.h>

#include "dualtape/base/error.hpp"
#include "tests/tape_testing.hpp"

using namespace dualtape;
using namespace dualtape::testing;
using array::Slice;
using ops::Op;

namespace {

struct Case {
  const char* name;
  std::vector<Dims> shapes;
  Function function;
};

Array indices(std::vector<std::int64_t> values, const Dims& shape) { return array_of(values, shape); }

/// Squares first, so that second derivatives of linear rules are not all zero.
Var sq(const Var& x) { return op(Op::square, {x}); }

std::vector<Case> cases() {
  using In = std::span<const Var>;
  const std::vector<Slice> steps{{2, -1, 2}, {0, 2, 2}, {1, 1, 1}};
  return {
      {"reshape",
       {{3, 4}},
       [](In x) {
         return tape::reshape(sq(x[0]), Dims{2, 6});
       }},
      {"transpose",
       {{2, 3, 4}},
       [](In x) {
         return tape::transpose(sq(x[0]), Dims{2, 0, 1});
       }},
      {"broadcast_to",
       {{3, 1}},
       [](In x) {
         return tape::broadcast_to(sq(x[0]), Dims{2, 3, 4});
       }},
      {"broadcast_to 0-d",
       {{}},
       [](In x) {
         return tape::broadcast_to(sq(x[0]), Dims{2, 3});
       }},
      {"sum_to_shape",
       {{2, 3, 4}},
       [](In x) {
         return tape::sum_to_shape(sq(x[0]), Dims{3, 1});
       }},
      {"sum",
       {{2, 3, 4}},
       [](In x) {
         return tape::sum(sq(x[0]), Dims{0, 2}, false);
       }},
      {"sum keepdims", {{2, 3, 4}}, [](In x) { return tape::sum(sq(x[0]), Dims{1}, true); }},
      {"sum all", {{5}}, [](In x) { return tape::sum(sq(x[0]), Dims{0}, false); }},
      {"mean", {{2, 3}}, [](In x) { return tape::mean(sq(x[0]), Dims{0}, false); }},
      {"variance", {{4, 3}}, [](In x) { return tape::variance(x[0], Dims{0}, false, 1.0); }},
      {"prod", {{2, 5}}, [](In x) { return tape::prod(x[0], Dims{1}, false); }},
      {"prod all",
       {{2, 3}},
       [](In x) {
         return tape::prod(x[0], Dims{0, 1}, true);
       }},
      {"cumsum", {{3, 4}}, [](In x) { return tape::cumsum(sq(x[0]), 1); }},
      {"cumsum reversed", {{3, 4}}, [](In x) { return tape::cumsum(sq(x[0]), 0, true); }},
      {"slice", {{3, 4, 2}}, [steps](In x) { return tape::slice(sq(x[0]), steps); }},
      {"unslice",
       {{2, 2, 1}},
       [steps](In x) {
         return tape::unslice(sq(x[0]), Dims{3, 4, 2}, steps);
       }},
      {"take",
       {{4, 3}},
       [](In x) {
         return tape::take(sq(x[0]), 0, indices({3, 0, 3, 1, 1, 1}, {2, 3}));
       }},
      {"take last axis",
       {{2, 4}},
       [](In x) {
         return tape::take(sq(x[0]), 1, indices({-1, 0, 2}, {3}));
       }},
      {"put_add",
       {{2, 3, 3}},
       [](In x) {
         return tape::put_add(sq(x[0]), 0, indices({3, 0, 3, 1, 1, 1}, {2, 3}), Dims{4, 3});
       }},
      {"concatenate",
       {{2, 3}, {2, 1}, {2, 2}},
       [](In x) {
         const Var parts[] = {sq(x[0]), x[1], op(Op::multiply, {x[2], x[2]})};
         return tape::concatenate(parts, 1);
       }},
      {"stack",
       {{3}, {3}},
       [](In x) {
         const Var parts[] = {sq(x[0]), sq(x[1])};
         return tape::stack(parts, 1);
       }},
      {"write_slice", {{3, 4, 2}, {2, 2, 1}}, [steps](In x) { return tape::write_slice(sq(x[0]), steps, sq(x[1])); }},
      {"write_slice a number", {{3, 4, 2}, {}}, [steps](In x) { return tape::write_slice(sq(x[0]), steps, sq(x[1])); }},
      {"put",
       {{6}, {4}},
       [](In x) {
         return tape::put(sq(x[0]), 0, indices({5, 0, 2, 1}, {4}), sq(x[1]));
       }},
      {"put duplicates",
       {{6}, {4}},
       [](In x) {
         return tape::put(sq(x[0]), 0, indices({5, 0, 5, 0}, {4}), sq(x[1]));
       }},
      {"put a number",
       {{6}, {}},
       [](In x) {
         return tape::put(sq(x[0]), 0, indices({5, 0, 5}, {3}), sq(x[1]));
       }},
      {"put rows",
       {{2, 5, 2}, {2, 2, 3, 2}},
       [](In x) {
         return tape::put(sq(x[0]), 1, indices({4, 0, 4, 1, 2, 2}, {2, 3}), sq(x[1]));
       }},
      {"max", {{3, 4}}, [](In x) { return tape::max(sq(x[0]), Dims{1}, false); }},
      {"min all",
       {{3, 4}},
       [](In x) {
         return tape::min(sq(x[0]), Dims{0, 1}, true);
       }},
      {"logsumexp", {{3, 4}}, [](In x) { return tape::logsumexp(x[0], 0, false); }},
      {"logsumexp keepdims", {{3, 4}}, [](In x) { return tape::logsumexp(x[0], 1, true); }},
      {"softmax", {{3, 4}}, [](In x) { return tape::softmax(x[0], 1); }},
      {"softmax inner axis", {{2, 3, 2}}, [](In x) { return tape::softmax(x[0], 1); }},
      {"log_softmax", {{3, 4}}, [](In x) { return tape::log_softmax(x[0], 0); }},
      {"matmul", {{3, 4}, {4, 2}}, [](In x) { return tape::matmul(x[0], x[1]); }},
      {"matmul vectors", {{4}, {4}}, [](In x) { return tape::matmul(x[0], x[1]); }},
      {"matmul matrix vector", {{3, 4}, {4}}, [](In x) { return tape::matmul(x[0], x[1]); }},
      {"matmul vector matrix", {{3}, {3, 2}}, [](In x) { return tape::matmul(x[0], x[1]); }},
      {"matmul batches", {{2, 1, 3, 4}, {5, 4, 2}}, [](In x) { return tape::matmul(x[0], x[1]); }},
      {"matmul with itself", {{3, 3}}, [](In x) { return tape::matmul(x[0], x[0]); }},
  };
}

const std::vector<Slice> kMiddle{{1, 1, 2}};

}  // namespace

TEST_CASE("shaped rules: every way to a derivative agrees") {
  for (DType dtype : {DType::f64, DType::f32}) {
    for (const Case& each : cases()) {
      CAPTURE(std::string(each.name));
      CAPTURE(std::string(array::name(dtype)));
      Arrays x;
      unsigned seed = 3;
      for (const Dims& shape : each.shapes) {
        const Var wide(random(dtype, shape, ++seed));
        x.push_back(op(Op::multiply, {wide, Var(Array::full(dtype, {}, 0.3))}).value());  // modest numbers
      }
      check_derivatives(each.function, x);
    }
  }
}

TEST_CASE("shaped rules: operands in awkward layouts give the same cotangents") {
  for (const Case& each : cases()) {
    CAPTURE(std::string(each.name));
    Arrays x, y;
    unsigned seed = 3;
    for (const Dims& shape : each.shapes) {
      x.push_back(random(DType::f64, shape, ++seed));
      y.push_back(strided(x.back()));
    }
    const Array out = value_of(each.function, x);
    const Array ct = random(DType::f64, Dims(out.shape()), 5);
    const Arrays a = vjp(each.function, x, ct), b = vjp(each.function, y, strided(ct));
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(close(a[i], b[i], 1e-13));
  }
}

TEST_CASE("cast: derivatives go between float64 and float32") {
  const Function f = [](std::span<const Var> x) { return tape::cast(sq(x[0]), DType::f32); };
  const Array x = vector_of<double>({1.5, -2.0}), ct = vector_of<float>({1.0f, 3.0f});
  const Arrays pulled = vjp(f, {x}, ct);
  CHECK(pulled[0].dtype() == DType::f64);
  CHECK(elements(pulled[0]) == std::vector<double>{3.0, -12.0});
  CHECK(jvp(f, {x}, {vector_of<double>({1.0, 1.0})}).dtype() == DType::f32);
}

TEST_CASE("prod: the derivative is right where elements are zero") {
  const Function f = [](std::span<const Var> x) { return tape::prod(x[0], Dims{0}, false); };
  CHECK(elements(vjp(f, {vector_of<double>({2, 0, 3})}, Array(1.0))[0]) == std::vector<double>{0, 6, 0});
  CHECK(elements(vjp(f, {vector_of<double>({0, 0, 3})}, Array(1.0))[0]) == std::vector<double>{0, 0, 0});
}

TEST_CASE("max: equal elements share the derivative") {
  const Function f = [](std::span<const Var> x) { return tape::max(x[0], Dims{0}, false); };
  CHECK(elements(vjp(f, {vector_of<double>({2, 5, 5, 1})}, Array(1.0))[0]) == std::vector<double>{0, 0.5, 0.5, 0});
}

TEST_CASE("assignment: memory that nobody else sees is written in place") {
  Array x = vector_of<double>({1, 2, 3, 4});
  const void* memory = x.raw_data();
  Var out = tape::write_slice(Var(std::move(x)), kMiddle, Var(9.0));
  CHECK(out.value().raw_data() == memory);
  CHECK(elements(out.value()) == std::vector<double>{1, 9, 9, 4});
  out = tape::put(std::move(out), 0, indices({0, 3, 0}, {3}), Var(vector_of<double>({5, 6, 7})));
  CHECK(out.value().raw_data() == memory);
  CHECK(elements(out.value()) == std::vector<double>{7, 9, 9, 6});
}

TEST_CASE("assignment: what others see stays") {
  const Array x = vector_of<double>({1, 2, 3, 4});
  const Array view = array::slice(x, std::vector<Slice>{{3, -1, 4}});
  const Var a = tape::write_slice(Var(x), kMiddle, Var(9.0));
  const Var b = tape::put(Var(view), 0, indices({0}, {1}), Var(8.0));
  CHECK(elements(x) == std::vector<double>{1, 2, 3, 4});
  CHECK(elements(a.value()) == std::vector<double>{1, 9, 9, 4});
  CHECK(elements(b.value()) == std::vector<double>{8, 3, 2, 1});
}

TEST_CASE("assignment: elements that share a place are first given places of their own") {
  Var row(vector_of<double>({1, 2}));
  const Var wide = tape::broadcast_to(std::exchange(row, Var()), Dims{2, 2});
  const Var out = tape::write_slice(Var(wide), std::vector<Slice>{{0, 1, 1}, {0, 1, 2}}, Var(5.0));
  CHECK(elements(out.value()) == std::vector<double>{5, 5, 1, 2});
  Var alone = tape::broadcast_to(Var(vector_of<double>({1, 2})), Dims{2, 2});
  CHECK(elements(tape::put(std::move(alone), 0, indices({1}, {1}), Var(5.0)).value()) ==
        std::vector<double>{1, 2, 5, 5});
}

TEST_CASE("assignment: a value that overlaps its place is read before it is overwritten") {
  Var x(vector_of<double>({1, 2, 3, 4}));
  const Var part = tape::slice(x, std::vector<Slice>{{0, 1, 3}});
  const Var out = tape::write_slice(std::move(x), std::vector<Slice>{{1, 1, 3}}, part);
  CHECK(elements(out.value()) == std::vector<double>{1, 1, 2, 3});
}

TEST_CASE("assignment: a recorded array that is overwritten keeps its derivatives") {
  // y = x^2, then y[1:3] = 3 x[0], then z = y * y: what the tape keeps of y before and after is not disturbed.
  const Function f = [](std::span<const Var> x) {
    Var y = sq(x[0]);
    const Var before = op(Op::exp, {y});
    y = tape::write_slice(std::move(y), kMiddle,
                          op(Op::multiply, {tape::slice(x[0], std::vector<Slice>{{0, 1, 1}}), Var(3.0)}));
    const Var z = op(Op::multiply, {y, y});
    y = tape::put(std::move(y), 0, indices({0, 3, 0}, {3}), tape::slice(x[0], std::vector<Slice>{{1, 1, 3}}));
    return op(Op::add, {op(Op::multiply, {z, y}), before});
  };
  check_derivatives(f, {vector_of<double>({0.5, -0.3, 0.8, 0.2})});
}

TEST_CASE("matmul: shapes that do not fit are named") {
  const Var a(Array::zeros(DType::f64, Dims{2, 3})), b(Array::zeros(DType::f64, Dims{2, 3}));
  CHECK_THROWS_WITH_AS(tape::matmul(a, b),
                       doctest::Contains("matmul((2, 3), (2, 3)): the inner extents differ, 3 and 2"), ShapeError);
  CHECK_THROWS_AS(tape::matmul(a, Var(2.0)), ShapeError);
  CHECK_THROWS_AS(tape::stack({}, 0), ShapeError);
}
