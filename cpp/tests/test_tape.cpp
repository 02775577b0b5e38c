// SPDX-License-Identifier: MIT
// The record itself: nodes and their places, constants, scopes however they end, leaves, opaque values, what depends
// on what, threads, and memory.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "dualtape/base/buffer.hpp"
#include "dualtape/base/error.hpp"
#include "tests/tape_testing.hpp"

using namespace dualtape;
using namespace dualtape::testing;
using ops::Op;
using tape::Kind;
using tape::kNoNode;
using tape::Node;

namespace {

Var times(const Var& a, const Var& b) { return op(Op::multiply, {a, b}); }
Var plus(const Var& a, const Var& b) { return op(Op::add, {a, b}); }

double gradient(Tape& tape, const Var& y, const Var& x, bool record = false) {
  const Var one(1.0);
  return tape::pull_back(&tape, {&y, 1}, {&one, 1}, {&x, 1}, {record, false})[0].value().item();
}

/// d(x^3)/dx at 2 with a scope of its own.
double cube() {
  Scope scope;
  const Var x = scope.tape().leaf(Var(2.0));
  return gradient(scope.tape(), times(x, times(x, x)), x);
}

}  // namespace

TEST_CASE("tape: a node is small and says where its operands are") {
  static_assert(sizeof(Node) <= 32);
  Scope scope;
  Tape& tape = scope.tape();
  const Var x = tape.leaf(Var(3.0));
  const Var y = times(x, Var(5.0));
  REQUIRE(tape.size() == 3);
  const Node& node = tape.node(y.node());
  CHECK(node.kind == Kind::scalar);
  CHECK(node.op == Op::multiply);
  CHECK(node.value == 15.0);
  CHECK(node.a == x.node());
  CHECK(tape.node(node.b).kind == Kind::constant);
  CHECK(node.tracked == (1 | tape::kScalarOut));
  CHECK(tape.record_count() == 0);
  CHECK(tape.bytes() == 3 * sizeof(Node));
  CHECK(Tape::of(y) == &tape);
  CHECK(Tape::of(Var(1.0)) == nullptr);
}

TEST_CASE("tape: constants are shared by their bits") {
  Scope scope;
  Tape& tape = scope.tape();
  const double nan = std::numeric_limits<double>::quiet_NaN(), other_nan = std::copysign(nan, -1.0);
  CHECK(tape.push_constant(1.5) == tape.push_constant(1.5));
  const std::uint32_t zero = tape.push_constant(0.0), minus_zero = tape.push_constant(-0.0);
  CHECK(zero != minus_zero);
  CHECK(std::signbit(tape.node(minus_zero).value));
  CHECK_FALSE(std::signbit(tape.node(zero).value));
  CHECK(tape.push_constant(nan) == tape.push_constant(nan));
  CHECK(tape.push_constant(nan) != tape.push_constant(other_nan));
  // Entries that have been displaced or cut off are noticed.
  for (int i = 0; i < 1000; ++i) {
    const double value = 0.1 * i;
    CHECK(tape.node(tape.push_constant(value)).value == value);
  }
  const std::uint32_t size = tape.size(), place = tape.push_constant(77.25);
  tape.truncate(size);
  tape.leaf(Var(77.25));
  CHECK(tape.push_constant(77.25) != place);
}

TEST_CASE("tape: what needs no derivative is not recorded") {
  Scope scope;
  const Var x = scope.tape().leaf(Var(3.0));
  const std::uint32_t size = scope.tape().size();
  CHECK_FALSE(times(Var(2.0), Var(3.0)).has_node());
  CHECK_FALSE(op(Op::less, {x, Var(4.0)}).has_node());
  CHECK_FALSE(op(Op::floor, {Var(2.5)}).has_node());
  CHECK(scope.tape().size() == size);
}

TEST_CASE("scope: closes however the block is left") {
  CHECK(Tape::current() == nullptr);
  try {
    Scope scope;
    Scope inner;
    scope.tape().leaf(Var(1.0));
    throw ShapeError("test");
  } catch (const ShapeError&) {
  }
  CHECK(Tape::current() == nullptr);
  CHECK(Scope::innermost() == nullptr);
  CHECK(cube() == 12.0);
  Scope scope;
  scope.close();
  scope.close();
  CHECK(Tape::current() == nullptr);
}

TEST_CASE("scope: a value outlives its recording as a constant") {
  Var kept;
  {
    Scope scope;
    kept = times(scope.tape().leaf(Var(3.0)), Var(2.0));
    CHECK(scope.tape().size() == 3);
  }
  Scope scope;
  CHECK(scope.tape().size() == 0);
  CHECK(Tape::of(kept) == nullptr);
  const Var x = scope.tape().leaf(Var(1.0));
  const Var y = times(x, kept);
  CHECK(gradient(scope.tape(), y, x) == 6.0);
  CHECK_FALSE(scope.outcome(y).has_node());
  CHECK(scope.outcome(y).value().item() == 6.0);
}

TEST_CASE("scope: nested scopes share a tape, and results stay tracked where they depend on what is around") {
  Scope outer;
  const Var x = outer.tape().leaf(Var(3.0));
  const Var square = times(x, x);
  Var inside, apart, gradient_inside;
  {
    Scope inner;
    CHECK(inner.nested());
    CHECK(&inner.tape() == &outer.tape());
    CHECK(Scope::innermost() == &inner);
    const Var a = inner.tape().leaf(square), b = inner.tape().leaf(Var(2.0));
    CHECK(inner.tape().node(a.node()).a == square.node());
    inside = inner.outcome(times(times(a, a), b));
    apart = inner.outcome(times(b, b));
    CHECK(inner.outcome(x).has_node());
    CHECK(inner.tape().depends_on_earlier(inner.first()));
  }
  CHECK(Scope::innermost() == &outer);
  CHECK(Tape::current() == &outer.tape());
  CHECK(Tape::of(inside) == &outer.tape());
  CHECK_FALSE(apart.has_node());
  // 2 (x^2)^2 = 2 x^4
  CHECK(gradient(outer.tape(), inside, x) == 216.0);
}

TEST_CASE("scope: dependence on earlier nodes, of every kind") {
  Scope outer;
  Tape& tape = outer.tape();
  const Var x = tape.leaf(Var(random(DType::f64, {3}))), s = tape.leaf(Var(2.0));
  Scope inner;
  const Var own = tape.leaf(Var(1.0)), image = tape.leaf(s), array = tape.leaf(Var(random(DType::f64, {3})));
  const Var values[] = {own,
                        image,
                        times(own, own),
                        times(own, s),
                        times(array, own),
                        times(array, x),
                        tape::sum(array, Dims{0}, false),
                        tape::sum(x, Dims{0}, false),
                        tape.opaque(Array(1.0))};
  const bool expected[] = {false, true, false, true, false, true, false, true, false};
  const std::vector<bool> depends = tape.dependence_on_earlier(inner.first());
  for (std::size_t i = 0; i < std::size(values); ++i) {
    CAPTURE(i);
    CHECK(depends[values[i].node() - inner.first()] == expected[i]);
  }
}

TEST_CASE("scope: a persistent tape can be pulled after its scope has closed") {
  const auto tape = std::make_shared<Tape>();
  Var x, y;
  {
    Scope scope(tape);
    CHECK(&scope.tape() == tape.get());
    x = tape->leaf(Var(3.0));
    y = times(x, times(x, x));
  }
  CHECK(Tape::current() == nullptr);
  for (int i = 0; i < 2; ++i) CHECK(gradient(*tape, y, x) == 27.0);
  CHECK(cube() == 12.0);  // another recording in between
  {
    const tape::Reopened again(*tape);
    CHECK(Tape::current() == tape.get());
    CHECK(gradient(*tape, y, x, true) == 27.0);
  }
  CHECK(Tape::current() == nullptr);
  Scope outer;
  Scope nested(tape);
  CHECK(&nested.tape() == &outer.tape());
}

TEST_CASE("leaf: an identity of what is tracked already") {
  Scope scope;
  Tape& tape = scope.tape();
  const Var x = tape.leaf(Var(3.0));
  const Var h = times(x, x), inner = tape.leaf(h);
  const Var y = times(inner, inner);
  CHECK(gradient(tape, y, inner) == 18.0);
  CHECK(gradient(tape, y, x) == 108.0);
  const Var a = tape.leaf(Var(vector_of<double>({1, 2}))), b = tape.leaf(a);
  const Var z = tape::sum(times(b, times(b, a)), Dims{0}, false), one(1.0);
  const Var xs[] = {a, b};
  const std::vector<Var> out = tape::pull_back(&tape, {&z, 1}, {&one, 1}, xs, {});
  CHECK(elements(out[0].value()) == std::vector<double>{3, 12});
  CHECK(elements(out[1].value()) == std::vector<double>{2, 8});
}

TEST_CASE("opaque: no derivative goes through it, and a pass says so") {
  Scope scope;
  Tape& tape = scope.tape();
  const Var x = tape.leaf(Var(3.0));
  const Var closed = tape.opaque(Array(5.0));
  const Var y = times(x, closed);
  CHECK_THROWS_AS(gradient(tape, y, x), GradientError);
  CHECK(gradient(tape, times(x, x), x) == 6.0);
  const Var array = tape.opaque(vector_of<double>({1, 2}));
  CHECK_THROWS_AS(gradient(tape, tape::sum(times(array, x), Dims{0}, false), x), GradientError);
  const Var ys[] = {y}, tangent(1.0);
  CHECK_THROWS_AS(tape::push_forward(tape, {&x, 1}, {&tangent, 1}, ys, 0), GradientError);
}

TEST_CASE("truncate: forgets nodes with their records") {
  Scope scope;
  Tape& tape = scope.tape();
  const Var x = tape.leaf(Var(vector_of<double>({1, 2}))), y = times(x, x);
  const std::uint32_t size = tape.size(), records = tape.record_count();
  const long long buffers = memory_counts().buffers;
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < 100; ++k) times(op(Op::sin, {y}), Var(2.0 + k));
    CHECK(memory_counts().buffers > buffers);
    tape.truncate(size);
    CHECK(tape.size() == size);
    CHECK(tape.record_count() == records);
    CHECK(memory_counts().buffers == buffers);
  }
  const Var z = tape::sum(times(y, x), Dims{0}, false), one(1.0);
  CHECK(elements(tape::pull_back(&tape, {&z, 1}, {&one, 1}, {&x, 1}, {})[0].value()) == std::vector<double>{3, 12});
}

TEST_CASE("threads: each has a tape of its own") {
  Scope here;
  const Var x = here.tape().leaf(Var(5.0));
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      if (Tape::current()) return;
      for (int i = 0; i < 200; ++i) {
        Scope scope;
        // What belongs to another thread's recording is a constant.
        const Var w = scope.tape().leaf(Var(1.0 + t)), array = scope.tape().leaf(Var(random(DType::f64, {7})));
        Var y = times(w, times(w, x));
        for (int k = 0; k < 20; ++k) y = plus(y, times(w, Var(1.0 * k)));
        y = plus(y, tape::sum(times(array, w), Dims{0}, false));
        const double expected = 2 * (1.0 + t) * 5.0 + 190.0 + tape::sum(array, Dims{0}, false).value().item();
        if (std::fabs(gradient(scope.tape(), y, w) - expected) > 1e-12 * std::fabs(expected)) return;
      }
      ++right;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(right == 4);
  CHECK(Tape::current() == &here.tape());
  CHECK(gradient(here.tape(), times(x, x), x) == 10.0);
}

TEST_CASE("memory: counts return to where they were") {
  const auto work = [] {
    Scope scope;
    const Var x = scope.tape().leaf(Var(random(DType::f64, {30, 20})));
    Var y = x;
    for (int i = 0; i < 10; ++i) y = tape::softmax(times(y, x), 1);
    y = tape::write_slice(std::move(y), std::vector<array::Slice>{{0, 1, 1}, {0, 1, 20}}, Var(1.0));
    const Var total = tape::sum(tape::matmul(y, tape::swap_last(x)), Dims{0, 1}, false), one(1.0);
    return tape::pull_back(&scope.tape(), {&total, 1}, {&one, 1}, {&x, 1}, {true, false})[0].value().copy();
  };
  work();
  const MemoryCounts& counts = memory_counts();
  const long long buffers = counts.buffers, bytes = counts.bytes, arrays = counts.arrays;
  for (int i = 0; i < 5; ++i) work();
  CHECK(counts.buffers == buffers);
  CHECK(counts.bytes == bytes);
  CHECK(counts.arrays == arrays);
}
