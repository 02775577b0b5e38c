// SPDX-License-Identifier: MIT
// Rolled loops in the core: which states are kept, and the two ops against a loop that is not rolled.
#include <doctest/doctest.h>

#include <map>

#include "dualtape/loop/rolled.hpp"
#include "dualtape/program/select.hpp"
#include "tests/program_testing.hpp"

using namespace dualtape;
using namespace dualtape::testing;
using loop::Checkpoints;
using loop::Rolled;
using ops::Op;

namespace {

/// How often each step is computed when `steps` steps are pulled back with `places` places, as pull() does it.
struct Reversal {
  std::int64_t total = 0, most = 0, kept = 0;
};
Reversal reverse(std::int64_t steps, std::int64_t places) {
  Reversal out;
  std::vector<std::int64_t> times(static_cast<std::size_t>(steps), 0);
  const double state = 0.0;
  Checkpoints kept(sizeof state);
  const auto keep = [&](std::int64_t step) { kept.keep(step, reinterpret_cast<const char*>(&state)); };
  keep(0);
  for (std::int64_t end = steps; end > 0; --end) {
    std::int64_t at = kept.last();
    while (end - at > 1) {
      const std::int64_t free = places - kept.count();
      const std::int64_t target = at + (free > 0 ? loop::next_kept(end - at, free + 1) : end - at - 1);
      if (target <= at || target >= end) throw TapeError("no progress");
      for (; at < target; ++at) ++times[static_cast<std::size_t>(at)], ++out.total;
      if (free > 0) keep(at);
    }
    if (kept.last() == end - 1 && end > 1) kept.drop();
  }
  for (const std::int64_t n : times) out.most = std::max(out.most, n);
  out.kept = kept.most();
  return out;
}

/// The fewest steps that any schedule computes, by trying all.
std::int64_t fewest(std::int64_t steps, std::int64_t places) {
  static std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> known;
  if (steps <= 1) return 0;
  if (places == 1) return steps * (steps - 1) / 2;
  const auto [at, fresh] = known.try_emplace({steps, places}, INT64_MAX);
  if (fresh) {
    std::int64_t best = INT64_MAX;
    for (std::int64_t k = 1; k < steps; ++k) {
      best = std::min(best, k + fewest(steps - k, places - 1) + fewest(k, places));
    }
    known[{steps, places}] = best;
    return best;
  }
  return at->second;
}

std::shared_ptr<const Program> program_of(const Graph& graph) { return std::make_shared<const Program>(graph, true); }

/// x' = a x + e, with the output x' x.
std::shared_ptr<const Rolled> scan(std::int64_t length, bool reverse = false) {
  Build build;
  const NodeId x = build.input(), a = build.input(), e = build.input();
  const NodeId next = build.op(Op::add, {build.op(Op::multiply, {a, x}), e});
  build.results({next, build.op(Op::multiply, {next, x})});
  Rolled::Parts parts;
  parts.step = program_of(build.graph());
  parts.carry = parts.outside = parts.entries = parts.outputs = 1;
  parts.length = length;
  parts.reverse = reverse;
  return std::make_shared<const Rolled>(std::move(parts));
}
Var scan_by_hand(std::span<const Var> in, std::int64_t length, bool reverse) {
  Var x = in[0];
  std::vector<Var> outputs(static_cast<std::size_t>(length));
  for (std::int64_t k = 0; k < length; ++k) {
    const std::int64_t row = reverse ? length - 1 - k : k;
    const array::Slice slice{row, 1, 1};
    const Var e = tape::reshape(tape::slice(in[2], std::span(&slice, 1)), {});
    const Var next = op(Op::add, {op(Op::multiply, {in[1], x}), e});
    outputs[static_cast<std::size_t>(row)] = tape::reshape(op(Op::multiply, {next, x}), Dims{1});
    x = next;
  }
  outputs.insert(outputs.begin(), tape::reshape(x, Dims{1}));
  return tape::concatenate(outputs, 0);
}

/// x' = 2 x - a while x < 100.
std::shared_ptr<const Rolled> doubling() {
  const auto graph = [](bool start) {
    Build build;
    const NodeId x = build.input(), a = build.input(), limit = build.constant(Array(100.0));
    if (start) {
      build.results({build.op(Op::less, {x, limit})});
      return build.graph();
    }
    const NodeId next = build.op(Op::subtract, {build.op(Op::multiply, {build.constant(Array(2.0)), x}), a});
    build.results({next, build.op(Op::less, {next, limit})});
    return build.graph();
  };
  Rolled::Parts parts;
  parts.step = program_of(graph(false));
  parts.start = program_of(graph(true));
  parts.carry = parts.outside = 1;
  return std::make_shared<const Rolled>(std::move(parts));
}

Array vector(std::initializer_list<double> values) {
  Array out = Array::empty(DType::f64, Dims{static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), out.writable_data<double>());
  return out;
}

}  // namespace

TEST_CASE("checkpoints: reach is a binomial coefficient") {
  CHECK(loop::reach(3, 2) == 10);
  CHECK(loop::reach(1600, 2) == 1'282'401);
  CHECK(loop::reach(5, 0) == 1);
  CHECK(loop::reach(0, 9) == 1);
  CHECK(loop::reach(-1, 2) == 0);
  CHECK(loop::reach(2400, 40) == INT64_MAX);
}

TEST_CASE("checkpoints: no schedule computes fewer steps") {
  for (std::int64_t places = 1; places <= 6; ++places) {
    for (std::int64_t steps = 1; steps <= 60; ++steps) {
      const Reversal got = reverse(steps, places);
      CAPTURE(steps);
      CAPTURE(places);
      CHECK(got.total == fewest(steps, places));
      CHECK(got.kept <= places);
    }
  }
}

TEST_CASE("checkpoints: a million steps are computed twice at most, with a logarithm of places") {
  const std::int64_t places = loop::places_for(1'000'000, 8);
  CHECK(places == 80 * 20);
  const Reversal got = reverse(1'000'000, places);
  CHECK(got.most <= 2);
  CHECK(got.kept <= places);
  CHECK(loop::places_for(1'000'000, std::size_t{1} << 30) == 4 * 20);
}

TEST_CASE("checkpoints: where the number of steps is not known, the states that are kept stay even") {
  for (const std::int64_t steps : {1, 7, 8, 9, 100, 1025}) {
    Checkpoints kept(sizeof(double));
    for (std::int64_t k = 0; k < steps; ++k) {
      const double state = static_cast<double>(k);
      kept.offer(k, reinterpret_cast<const char*>(&state), 8);
    }
    CHECK(kept.most() <= 8);
    CHECK(kept.count() >= std::min<std::int64_t>(steps, 4));
    std::vector<std::int64_t> found;
    while (kept.count()) {
      double state = 0.0;
      std::memcpy(&state, kept.last_state(), sizeof state);
      CHECK(state == static_cast<double>(kept.last()));
      found.insert(found.begin(), kept.last());
      kept.drop();
    }
    CHECK(found.front() == 0);
    for (std::size_t i = 2; i < found.size(); ++i) CHECK(found[i] - found[i - 1] == found[1]);
    if (found.size() > 1) CHECK(steps - found.back() <= found[1]);
  }
}

TEST_CASE("rolled: a scan and its transpose are those of the loop by hand") {
  for (const bool reverse : {false, true}) {
    const auto rolled = scan(4, reverse);
    const Arrays in{Array(0.5), Array(1.25), vector({0.1, -0.2, 0.3, 0.4})};
    const Function f = [&](std::span<const Var> x) { return loop::apply_rolled(rolled, x); };
    const Function by_hand = [&](std::span<const Var> x) { return scan_by_hand(x, 4, reverse); };
    const auto compare = [](const Array& a, const Array& b) {
      const Array x = a.as_contiguous(), y = b.as_contiguous();
      REQUIRE(same_shape(x.shape(), y.shape()));
      for (std::int64_t i = 0; i < x.size(); ++i) {
        CHECK(x.data<double>()[i] == doctest::Approx(y.data<double>()[i]).epsilon(1e-14));
      }
    };
    compare(value_of(f, in), value_of(by_hand, in));
    const Array weights = vector({1.0, -2.0, 0.5, 3.0, 0.25});
    const auto pulled = [&](const Function& of) {
      const Scope scope;
      std::vector<Var> leaves;
      for (const Array& x : in) leaves.push_back(scope.tape().leaf(Var(x)));
      const Var y = of(leaves), cotangent(weights);
      return tape::pull_back(&scope.tape(), std::span(&y, 1), std::span(&cotangent, 1), leaves);
    };
    const std::vector<Var> got = pulled(f), want = pulled(by_hand);
    for (std::size_t i = 0; i < in.size(); ++i) compare(got[i].value(), want[i].value());
  }
}

TEST_CASE("rolled: lanes that go round different numbers of times, and some that are not asked for") {
  const auto rolled = doubling();
  const Array x = vector({1.0, 60.0, 200.0, 3.0}), a = vector({0.5, 0.0, 1.0, 3.0});  // the last one never ends
  const std::uint64_t bits[] = {0b0111};
  const tape::ActiveLanes active{4, bits};
  const Array operands[] = {x, a, vector({1.0, 1.0, 1.0, 1.0})};
  double ends[4], pulled[8];
  loop::run(*rolled, std::span(operands, 2), 4, active, ends);
  loop::Kept kept;
  loop::run(*rolled, std::span(operands, 2), 4, active, nullptr, &kept);
  loop::pull(*rolled, operands, 4, std::move(kept), true, pulled);
  for (int lane = 0; lane < 3; ++lane) {
    double value = x.data<double>()[lane], slope_x = 1.0, slope_a = 0.0;
    while (value < 100.0) {
      value = 2.0 * value - a.data<double>()[lane];
      slope_x = 2.0 * slope_x;
      slope_a = 2.0 * slope_a - 1.0;
    }
    CHECK(ends[lane] == value);
    CHECK(pulled[lane] == slope_x);
    CHECK(pulled[4 + lane] == slope_a);
  }
}

TEST_CASE("rolled: a loop in a program's file is the same loop") {
  const auto rolled = scan(3);
  const auto again = Rolled::load(rolled->save());
  CHECK(again->save() == rolled->save());
  const Arrays in{Array(0.5), Array(1.25), vector({0.1, -0.2, 0.3})};
  double a[4], b[4];
  loop::run(*rolled, in, 1, {1, nullptr}, a);
  loop::run(*again, in, 1, {1, nullptr}, b);
  for (int i = 0; i < 4; ++i) CHECK(a[i] == b[i]);
  const std::string bytes = rolled->save();
  for (const std::size_t size : {std::size_t{0}, std::size_t{20}, bytes.size() / 2, bytes.size() - 1}) {
    CHECK_THROWS_AS(Rolled::load(std::string_view(bytes).substr(0, size)), ShapeError);
  }
}

TEST_CASE("select_paths: decisions become choices") {
  Build build;
  const NodeId x = build.input(), y = build.input(), less = build.op(Op::less, {x, y});
  build.branch(0, less, 1);
  build.results({y, x});
  build.branch(0, less, 0);
  build.results({build.op(Op::add, {x, y}), x});
  const auto selected = program::select_paths(build.graph());
  REQUIRE(selected);
  CHECK(text_of(*selected) == "%2 = less %0, %1; %3 = add %0, %1; %4 = where %2, %1, %3; return %4 %0");

  Build half;  // a way that nobody knows
  const NodeId a = half.input();
  half.branch(0, half.op(Op::less, {a, a}), 1);
  half.results({a});
  CHECK(!program::select_paths(half.graph()));

  Build shapes;  // results of different shapes
  const NodeId b = shapes.input(), c = shapes.input(Dims{2}), test = shapes.op(Op::less, {b, b});
  shapes.branch(0, test, 1);
  shapes.results({b});
  shapes.branch(0, test, 0);
  shapes.results({c});
  CHECK(!program::select_paths(shapes.graph()));
}
