// SPDX-License-Identifier: MIT
// Executing code: storage is used again and results are right all the same, views, products of matrices over lanes,
// lanes that part, and the same bits at every width and with every instruction set.
#include <doctest/doctest.h>

#include <iterator>
#include <set>

#include "tests/program_testing.hpp"

using namespace dualtape;
using namespace dualtape::testing;
using ops::Op;

namespace {

/// Runs f as lanes of every width, with every instruction set; each lane must have the bits of f on its place alone.
void check_lanes(const Step& f, const std::vector<Arrays>& places, bool contraction = false) {
  const auto program = program_of(f, places, contraction);
  std::vector<Arrays> want;
  for (const Arrays& at : places) {
    want.push_back(contraction ? compute(program->graph(), at) : values_of(f, at));
  }
  for_every_isa([&] {
    const std::size_t capacities[] = {1, 3, 8, places.size(), places.size() + 5};
    for (std::size_t number = 0; number < 2 * std::size(capacities); ++number) {
      const std::size_t capacity = capacities[number / 2];
      const bool fused = number % 2;
      CAPTURE(capacity);
      CAPTURE(fused);
      Lanes lanes(program->part(), static_cast<std::int64_t>(capacity));
      exec::Workspace& home = lanes.runner().home();
      if (fused) home.fuse(exec::Fusion::of(home, 1));
      for (std::size_t first = 0; first < places.size(); first += capacity) {
        const std::size_t last = std::min(first + capacity, places.size());
        const std::vector<Arrays> block(places.begin() + static_cast<std::ptrdiff_t>(first),
                                        places.begin() + static_cast<std::ptrdiff_t>(last));
        REQUIRE(lanes.run(block));
        for (std::size_t k = first; k < last; ++k) {
          CAPTURE(k);
          CHECK(same_values(lanes.results(static_cast<std::int64_t>(k - first), program->graph()), want[k]));
        }
      }
    }
  });
  num::force_isa(num::best_isa());
}

std::vector<Arrays> places_of(std::size_t count, const std::vector<Dims>& shapes, DType dtype = DType::f64) {
  std::vector<Arrays> out;
  for (unsigned k = 0; k < count; ++k) {
    out.emplace_back();
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      out.back().push_back(
          shapes[i].empty()
              ? Array(random(DType::f64, {1}, 97 * k + unsigned(i) + 1).cast(DType::f64).data<double>()[0])
              : random(dtype, shapes[i], 97 * k + unsigned(i) + 1));
    }
  }
  return out;
}

Var reshaped(const Var& x, const Dims& shape) { return tape::reshape(x, shape); }

}  // namespace

TEST_CASE("exec: storage is used again") {
  const Step chain = [](std::span<const Var> x) {
    Var y = x[0];
    for (int i = 0; i < 100; ++i) y = op(i % 2 ? Op::cos : Op::exp, {op(Op::negative, {op(Op::square, {y})})});
    return std::vector<Var>{y};
  };
  const std::vector<Arrays> places = places_of(9, {{8}});
  const auto program = program_of(chain, places, false);
  CHECK(program->graph().nodes.size() > 200);
  // The input stays, and every op may write over its operand.
  CHECK(program->part().code->per_lane <= 3 * 64);
  check_lanes(chain, places);
}

TEST_CASE("exec: values that live long keep their storage") {
  // Every value is read again at the end, in the opposite order.
  const Step late = [](std::span<const Var> x) {
    std::vector<Var> kept{x[0], x[1]};
    for (int i = 0; i < 20; ++i) {
      kept.push_back(op(i % 3 ? Op::sin : Op::tanh, {op(Op::add, {kept.back(), kept[kept.size() / 2]})}));
    }
    Var sum = kept.back();
    for (std::size_t i = kept.size(); i-- > 0;) sum = op(Op::subtract, {op(Op::multiply, {sum, Var(0.5)}), kept[i]});
    return std::vector<Var>{sum, kept[5], kept[1], x[0]};
  };
  check_lanes(late, places_of(11, {{}, {}}));
  check_lanes(late, places_of(11, {{3}, {3}}), true);
  check_lanes(late, places_of(11, {{2, 3}, {3}}, DType::f32));
}

TEST_CASE("exec: results of different sizes do not share storage while they live") {
  const Step mixed = [](std::span<const Var> x) {
    std::vector<Var> out;
    Var small = tape::sum(x[0], Dims{1}, false);
    for (int i = 0; i < 6; ++i) {
      const Var wide = op(Op::add, {x[0], reshaped(small, {4, 1})});
      small = tape::sum(op(Op::sin, {wide}), Dims{1}, false);
      out.push_back(tape::max(wide, Dims{0}, false));
    }
    out.push_back(small);
    return out;
  };
  check_lanes(mixed, places_of(10, {{4, 5}}));
}

TEST_CASE("exec: views of inputs, of results and of views") {
  const Step views = [](std::span<const Var> x) {
    const array::Slice reversed[] = {{1, -1, 2}, {0, 2, 2}};
    const Var turned = tape::transpose(x[0], Dims{1, 0});           // (3, 2)
    const Var sum = op(Op::add, {reshaped(turned, {2, 3}), x[0]});  // a copy, then a result
    const Var part = tape::slice(sum, reversed);                    // (2, 2)
    const Var wide = tape::broadcast_to(reshaped(tape::sum(part, Dims{0}, false), {2, 1}), Dims{2, 4});
    const Var inner = tape::transpose(part, Dims{1, 0});
    return std::vector<Var>{turned, part, wide, op(Op::multiply, {inner, part}), inner, sum, x[0], x[0]};
  };
  check_lanes(views, places_of(9, {{2, 3}}));
  check_lanes(views, places_of(9, {{2, 3}}, DType::f32));
}

TEST_CASE("exec: a view keeps the storage of what it shows alive") {
  const Step late = [](std::span<const Var> x) {
    const Var base = op(Op::exp, {x[0]});
    const Var view = tape::transpose(base, Dims{1, 0});
    Var y = op(Op::sin, {x[0]});
    for (int i = 0; i < 10; ++i) y = op(Op::cos, {op(Op::add, {y, x[0]})});  // same sizes: would take base's place
    return std::vector<Var>{op(Op::multiply, {view, tape::transpose(y, Dims{1, 0})})};
  };
  check_lanes(late, places_of(9, {{3, 3}}));
}

TEST_CASE("exec: products of matrices over lanes, and with operands that all lanes share") {
  for (const auto& [a, b] : std::vector<std::pair<Dims, Dims>>{
           {{2, 3}, {3, 4}}, {{3}, {3}}, {{2, 3}, {3}}, {{3}, {3, 2}}, {{5, 2, 3}, {3, 2}}, {{5, 1, 3}, {5, 3, 2}}}) {
    const Step product = [](std::span<const Var> x) { return std::vector<Var>{tape::matmul(x[0], x[1])}; };
    check_lanes(product, places_of(13, {a, b}));
    check_lanes(product, places_of(13, {a, b}, DType::f32));
    const Array left = random(DType::f64, a, 77), right = random(DType::f64, b, 78);
    check_lanes([&](std::span<const Var> x) { return std::vector<Var>{tape::matmul(Var(left), x[0])}; },
                places_of(13, {b}));
    check_lanes([&](std::span<const Var> x) { return std::vector<Var>{tape::matmul(x[0], Var(right))}; },
                places_of(13, {a}));
  }
  // Larger than a tile, with a view on the way.
  const Step layers = [](std::span<const Var> x) {
    const Var hidden = op(Op::tanh, {tape::matmul(x[0], x[1])});
    return std::vector<Var>{tape::matmul(tape::transpose(hidden, Dims{1, 0}), hidden)};
  };
  check_lanes(layers, places_of(5, {{17, 33}, {33, 19}}));
}

TEST_CASE("exec: shaped ops over lanes") {
  const Step shaped = [](std::span<const Var> x) {
    const Array rows = array_of<std::int64_t>({2, 0, 0, 1}, {4});
    const Var parts[] = {x[0], op(Op::negative, {x[0]})};
    return std::vector<Var>{
        tape::sum(x[0], Dims{0}, true),
        tape::mean(x[0], Dims{0, 1}, false),
        tape::prod(x[0], Dims{1}, false),
        tape::cumsum(x[0], 1),
        tape::softmax(x[0], 0),
        tape::logsumexp(x[0], 1, false),
        tape::take(x[0], 0, rows),
        tape::concatenate(parts, 1),
        tape::stack(parts, 2),
        tape::argmax(x[0], 1, false),
        tape::variance(x[0], Dims{1}, false, 1),
        tape::put_add(x[0], 0, array_of<std::int64_t>({3, 3, 1}, {3}), Dims{4, 5}),
    };
  };
  check_lanes(shaped, places_of(9, {{3, 5}}));
  check_lanes(shaped, places_of(9, {{3, 5}}, DType::f32));
}

TEST_CASE("exec: truths are stored as numbers, and come back as what they are") {
  const Step truths = [](std::span<const Var> x) {
    const Var less = op(Op::less, {x[0], x[1]});
    const Var any = tape::any(less, Dims{0}, false);
    return std::vector<Var>{less, any, op(Op::where, {less, x[0], x[1]}), tape::cast(less, DType::f32),
                            tape::sum(tape::cast(less, DType::f64), Dims{0}, false)};
  };
  check_lanes(truths, places_of(9, {{4}, {4}}));
  check_lanes(truths, places_of(9, {{4}, {4}}, DType::f32));
}

namespace {

/// Two decisions, one of them only on one side, and an integer with five outcomes.
std::vector<Var> parting(std::span<const Var> x) {
  const Var shared = op(Op::sin, {x[0]});
  Var y = op(Op::multiply, {shared, x[1]});
  if (truth(op(Op::greater, {y, Var(0.0)}))) {
    y = op(Op::sqrt, {y});
    if (truth(op(Op::less, {x[1], Var(1.0)}))) y = op(Op::add, {y, shared});
  } else {
    y = op(Op::exp, {y});
  }
  const std::int64_t n = integer(op(Op::minimum, {op(Op::absolute, {x[1]}), Var(4.0)}));
  for (std::int64_t k = 0; k < n; ++k) y = op(Op::subtract, {op(Op::multiply, {y, y}), x[0]});
  return {y, op(Op::add, {x[0], shared}), n > 1 ? Var(7.0) : op(Op::negative, {x[1]})};
}

}  // namespace

TEST_CASE("exec: lanes that decide differently part, and come home") {
  const std::vector<Arrays> places = places_of(37, {{}, {}});
  const auto program = program_of(parting, places, false);
  CHECK(program->graph().segments.size() > 8);
  check_lanes(parting, places);
  check_lanes(parting, places, true);
  // Arrays that take part.
  const Step arrays = [](std::span<const Var> x) {
    const Var total = tape::sum(x[0], Dims{0}, false);
    const Var turned = op(Op::multiply, {x[0], total});
    if (truth(op(Op::less, {total, Var(0.0)}))) return std::vector<Var>{turned, op(Op::exp, {total})};
    return std::vector<Var>{op(Op::add, {x[0], turned}), total};
  };
  check_lanes(arrays, places_of(37, {{5}}));
  check_lanes(arrays, places_of(37, {{5}}, DType::f32));
}

TEST_CASE("exec: running again uses what was made, and inputs stay what they were") {
  const std::vector<Arrays> places = places_of(24, {{}, {}});
  const auto program = program_of(parting, places, false);
  Lanes lanes(program->part(), 24);
  for (int round = 0; round < 4; ++round) {
    std::vector<Arrays> turned = places;
    std::rotate(turned.begin(), turned.begin() + 5 * round, turned.end());
    REQUIRE(lanes.run(turned));
    REQUIRE(lanes.runner().run(24));  // from the inputs that are there
    for (std::size_t k = 0; k < turned.size(); ++k) {
      CHECK(same_values(lanes.results(static_cast<std::int64_t>(k), program->graph()), values_of(parting, turned[k])));
    }
  }
}

TEST_CASE("exec: a decision without a path is named with its lane, its segment and its outcome") {
  const Step f = [](std::span<const Var> x) {
    const Var y = op(Op::multiply, {x[0], Var(2.0)});
    if (truth(op(Op::greater, {y, Var(0.0)}))) {
      const std::int64_t n = integer(y);
      return std::vector<Var>{op(Op::add, {y, Var(static_cast<double>(n))})};
    }
    return std::vector<Var>{y};
  };
  const auto program = program_of(f, {{Array(-1.0)}, {Array(1.0)}}, false);
  Lanes lanes(program->part(), 8);
  CHECK(lanes.run({{Array(-1.0)}, {Array(1.2)}, {Array(-4.0)}}));
  CHECK_FALSE(lanes.run({{Array(-1.0)}, {Array(1.2)}, {Array(-4.0)}, {Array(3.1)}, {Array(1.0)}}));
  CHECK(lanes.runner().unknown().lane == 3);
  CHECK(lanes.runner().unknown().outcome == 6);
  const std::vector<std::int64_t> path =
      program::decisions_to(program->graph(), lanes.runner().unknown().segment, lanes.runner().unknown().outcome);
  CHECK(path == std::vector<std::int64_t>{1, 6});
  const auto grown = program->with(trace_path(f, {Array(3.1)}, path));
  REQUIRE(grown);
  Lanes more(grown->part(), 8);
  CHECK(more.run({{Array(-1.0)}, {Array(1.2)}, {Array(-4.0)}, {Array(3.1)}, {Array(1.0)}}));
  CHECK(more.results(3, grown->graph())[0].item() == 12.2);
  // One lane of one: the same.
  Lanes one(program->part(), 1);
  CHECK_FALSE(one.run({{Array(9.0)}}));
  CHECK(one.runner().unknown().lane == 0);
  CHECK(one.runner().unknown().outcome == 18);
}

TEST_CASE("exec: random programs of decisions have the same bits at every width") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    const Step f = [&](std::span<const Var> x) {
      tests::Random random(seed);
      std::vector<Var> values(x.begin(), x.end());
      const auto any = [&]() -> const Var& {
        return values[static_cast<std::size_t>(random.uniform(0, static_cast<double>(values.size())))];
      };
      for (int k = 0; k < 12; ++k) {
        const double kind = random.uniform(0, 6);
        const Var a = any(), b = any();
        if (kind < 1)
          values.push_back(op(Op::tanh, {op(Op::add, {a, b})}));
        else if (kind < 2)
          values.push_back(op(Op::subtract, {op(Op::multiply, {a, b}), b}));
        else if (kind < 3)
          values.push_back(tape::softmax(op(Op::add, {a, x[0]}), 0));
        else if (kind < 4)
          values.push_back(op(Op::where, {op(Op::less, {a, b}), a, op(Op::sin, {b})}));
        else {
          const Var total = tape::sum(op(Op::add, {a, x[0]}), Dims{0}, false);
          const double cut = random.uniform(-1, 1);
          if (truth(op(Op::greater, {op(Op::sin, {total}), Var(cut)})))
            values.push_back(op(Op::multiply, {b, total}));
          else
            values.push_back(op(Op::cos, {b}));
        }
      }
      return std::vector<Var>{values.back(), values[values.size() - 3], values[values.size() - 5]};
    };
    // Shapes of a result may not differ between paths.
    const Step fixed = [&](std::span<const Var> x) {
      std::vector<Var> out;
      for (const Var& y : f(x)) out.push_back(op(Op::add, {y, op(Op::multiply, {x[0], Var(0.25)})}));
      return out;
    };
    check_lanes(fixed, places_of(17, {{4}, {}}), seed % 2);
  }
}

TEST_CASE("exec: random stretches of elementwise instructions, with operands of all shapes and views") {
  const Op unary[] = {Op::negative, Op::exp, Op::tanh, Op::square, Op::absolute, Op::sqrt};
  const Op binary[] = {Op::add, Op::subtract, Op::multiply, Op::true_divide, Op::maximum, Op::strong_multiply};
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    CAPTURE(seed);
    const Step f = [&](std::span<const Var> x) {
      tests::Random random(seed);
      // A matrix, a row, a column, a number, a matrix that is read through a view, constants.
      std::vector<Var> values{x[0], x[1], reshaped(x[2], {5, 1}), x[3], tape::transpose(x[4], Dims{1, 0}), Var(0.75)};
      values.push_back(Var(testing::random(x[0].dtype(), {5, 9}, 7)));
      values.push_back(Var(testing::random(x[0].dtype(), {9}, 8)));
      std::vector<Var> out;
      const auto which = [&](double count) { return static_cast<std::size_t>(random.uniform(0, count)); };
      for (int k = 0; k < 20; ++k) {
        const Var a = values[which(static_cast<double>(values.size()))];
        const Var b = values[which(static_cast<double>(values.size()))];
        const double kind = random.uniform(0, 8);
        if (kind < 3) {
          values.push_back(op(binary[which(6)], {a, b}));
        } else if (kind < 6) {
          values.push_back(op(unary[which(6)], {op(Op::add, {a, x[0]})}));
        } else if (kind < 7) {
          values.push_back(op(Op::where, {op(Op::less, {a, b}), a, b}));
        } else {  // something that ends a stretch, and is read by the next
          values.push_back(tape::sum(op(Op::multiply, {a, x[0]}), Dims{0}, true));
        }
        if (k % 6 == 5) out.push_back(op(Op::add, {values.back(), x[0]}));
      }
      return out;
    };
    const DType dtype = seed % 3 ? DType::f64 : DType::f32;
    check_lanes(f, places_of(11, {{5, 9}, {9}, {5}, {1}, {9, 5}}, dtype), seed % 2);
  }
}
