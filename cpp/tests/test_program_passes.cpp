// SPDX-License-Identifier: MIT
// Each pass over a graph alone, on small graphs, by the text of what comes out; that passes keep every bit; and that
// what becomes of a path does not depend on the paths beside it.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/program_testing.hpp"

using namespace dualtape;
using namespace dualtape::testing;
using ops::Op;

namespace {

using Limits = std::numeric_limits<double>;

/// `make` builds nodes on inputs x0, x1, x2 (numbers 0, 1, 2) and says what is returned.
template <class Make>
Graph on_three(Make&& make, const Dims& shape = {}, DType dtype = DType::f64) {
  Build build;
  for (int i = 0; i < 3; ++i) build.input(shape, dtype);
  build.results({make(build)});
  return build.graph();
}

/// What `simplify` makes of one op on x0 and a constant, without what nobody reads.
std::string simplified(Op op, double constant, bool first = false) {
  Build build;
  const NodeId x = build.input(), c = build.constant(Array(constant));
  build.results({first ? build.op(op, {c, x}) : build.op(op, {x, c})});
  return text_of(program::dead(program::simplify(build.graph())));
}

}  // namespace

TEST_CASE("fold: ops on constants become constants") {
  Build build;
  const NodeId x = build.input();
  const NodeId product = build.op(Op::multiply, {build.constant(Array(2.0)), build.constant(Array(3.0))});
  const NodeId sum = build.op(Op::add, {x, product});
  build.results({sum});
  CHECK(text_of(build.graph()) == "%1 = constant 2; %2 = constant 3; %3 = multiply %1, %2; %4 = add %0, %3; return %4");
  CHECK(text_of(program::fold(build.graph())) ==
        "%1 = constant 2; %2 = constant 3; %3 = constant 6; %4 = add %0, %3; return %4");
}

TEST_CASE("fold: shaped ops too, but no constants that are very large") {
  Build build;
  build.input();
  tape::Attributes wide, flat;
  wide.dims = Dims{100, 100};
  const NodeId small = build.rule("sum_to_shape", {build.constant(vector_of<double>({1, 2, 4}))}, flat);
  const NodeId large = build.rule("broadcast_to", {small}, wide);
  build.results({large});
  CHECK(text_of(program::fold(build.graph())) ==
        "%1 = constant (3,); %2 = constant 7; %3 = broadcast_to %2 {shape=[100, 100]}; return %3");
}

TEST_CASE("simplify: neutral elements, for the sign of zero too") {
  CHECK(simplified(Op::multiply, 1) == "return %0");
  CHECK(simplified(Op::multiply, 1, true) == "return %0");
  CHECK(simplified(Op::true_divide, 1) == "return %0");
  CHECK(simplified(Op::subtract, 0.0) == "return %0");
  CHECK(simplified(Op::add, -0.0) == "return %0");
  CHECK(simplified(Op::add, -0.0, true) == "return %0");
  // These change -0 to 0, or an infinity to NaN.
  CHECK(simplified(Op::add, 0.0) == "%1 = constant 0; %2 = add %0, %1; return %2");
  CHECK(simplified(Op::subtract, -0.0) == "%1 = constant -0; %2 = subtract %0, %1; return %2");
  CHECK(simplified(Op::subtract, 0.0, true) == "%1 = constant 0; %2 = subtract %1, %0; return %2");
  CHECK(simplified(Op::multiply, 0.0) == "%1 = constant 0; %2 = multiply %0, %1; return %2");
}

TEST_CASE("simplify: signs, quotients and powers") {
  CHECK(simplified(Op::multiply, -1) == "%1 = negative %0; return %1");
  CHECK(simplified(Op::true_divide, 2) == "%1 = constant 0.5; %2 = multiply %0, %1; return %2");
  CHECK(simplified(Op::true_divide, -0.25) == "%1 = constant -4; %2 = multiply %0, %1; return %2");
  CHECK(simplified(Op::true_divide, 3) == "%1 = constant 3; %2 = true_divide %0, %1; return %2");
  CHECK(simplified(Op::true_divide, 0x1p-1060) ==
        "%1 = constant " + program::number_text(0x1p-1060) + "; %2 = true_divide %0, %1; return %2");
  CHECK(simplified(Op::integer_power, 2) == "%1 = square %0; return %1");
  CHECK(simplified(Op::integer_power, 3) == "%1 = square %0; %2 = multiply %0, %1; return %2");
  CHECK(simplified(Op::integer_power, -2) == "%1 = square %0; %2 = constant 1; %3 = true_divide %2, %1; return %3");
  CHECK(simplified(Op::integer_power, 33) == "%1 = constant 33; %2 = integer_power %0, %1; return %2");
  CHECK(simplified(Op::strong_multiply, 2.5) == "%1 = constant 2.5; %2 = multiply %0, %1; return %2");
  CHECK(simplified(Op::strong_multiply, 0) == "%1 = constant 0; %2 = strong_multiply %0, %1; return %2");
  const auto text = [](auto&& make) { return text_of(program::dead(program::simplify(on_three(make)))); };
  CHECK(text([](Build& b) { return b.op(Op::negative, {b.op(Op::negative, {0})}); }) == "return %0");
  CHECK(text([](Build& b) {
          return b.op(Op::add, {0, b.op(Op::negative, {1})});
        }) == "%3 = subtract %0, %1; return %3");
  CHECK(text([](Build& b) {
          return b.op(Op::add, {b.op(Op::negative, {0}), 1});
        }) == "%3 = subtract %1, %0; return %3");
  CHECK(text([](Build& b) {
          return b.op(Op::subtract, {0, b.op(Op::negative, {1})});
        }) == "%3 = add %0, %1; return %3");
  CHECK(text([](Build& b) {
          return b.op(Op::multiply, {b.op(Op::negative, {0}), b.op(Op::negative, {1})});
        }) == "%3 = multiply %0, %1; return %3");
  CHECK(text([](Build& b) {
          return b.op(Op::negative, {b.op(Op::multiply, {0, b.constant(Array(3.0))})});
        }) == "%3 = constant -3; %4 = multiply %0, %3; return %4");
  CHECK(text([](Build& b) { return b.op(Op::positive, {2}); }) == "return %2");
}

TEST_CASE("simplify: what would change the shape or the dtype stays") {
  Build build;
  const NodeId x = build.input(), wide = build.constant(Array::full(DType::f64, Dims{1}, 1.0));
  build.results({build.op(Op::multiply, {x, wide})});
  CHECK(text_of(program::dead(program::simplify(build.graph()))) == "%1 = constant 1; %2 = multiply %0, %1; return %2");
  Build views;
  const NodeId y = views.input({2, 3});
  tape::Attributes same, other;
  same.dims = Dims{2, 3};
  other.dims = Dims{3, 2};
  views.results({views.rule("reshape", {views.rule("reshape", {y}, same)}, other)});
  CHECK(text_of(program::dead(program::simplify(views.graph()))) == "%1 = reshape %0 {shape=[3, 2]}; return %1");
}

TEST_CASE("share: what is computed twice is computed once") {
  const Graph graph = on_three([](Build& b) {
    const NodeId one = b.op(Op::sin, {b.op(Op::multiply, {0, 1})});
    const NodeId two = b.op(Op::sin, {b.op(Op::multiply, {0, 1})});
    return b.op(Op::add, {one, two});
  });
  CHECK(text_of(program::share(graph)) == "%3 = multiply %0, %1; %4 = sin %3; %5 = add %4, %4; return %5");
  // Constants by their bits: one NaN, but two zeros.
  Build build;
  const double nan = Limits::quiet_NaN();
  const NodeId x = build.input();
  NodeId sum = x;
  for (double c : {0.0, -0.0, nan, 0.0, nan}) sum = build.op(Op::add, {sum, build.constant(Array(c))});
  build.results({sum});
  CHECK(text_of(program::share(build.graph())) ==
        "%1 = constant 0; %2 = add %0, %1; %3 = constant -0; %4 = add %2, %3; %5 = constant nan; %6 = add %4, %5; "
        "%7 = add %6, %1; %8 = add %7, %5; return %8");
}

TEST_CASE("share: a branch sees what is before it, and nothing of its siblings") {
  Build build;
  const NodeId x = build.input();
  const NodeId s = build.op(Op::sin, {x});
  build.branch(0, s, 1);
  build.results({build.op(Op::add, {build.op(Op::sin, {x}), build.op(Op::cos, {x})})});
  build.branch(0, s, 0);
  build.results({build.op(Op::subtract, {build.op(Op::cos, {x}), build.op(Op::sin, {x})})});
  CHECK(text_of(program::share(build.graph())) ==
        "%1 = sin %0; if %1 is 1 {%2 = cos %0; %3 = add %1, %2; return %3} "
        "if %1 is 0 {%4 = cos %0; %5 = subtract %4, %1; return %5} ");
}

TEST_CASE("contract: a product and a sum in one rounding") {
  const auto text = [](auto&& make) { return text_of(program::dead(program::contract(on_three(make)))); };
  const auto product = [](Build& b) { return b.op(Op::multiply, {0, 1}); };
  CHECK(text([&](Build& b) { return b.op(Op::add, {product(b), 2}); }) == "%3 = multiply_add %0, %1, %2; return %3");
  CHECK(text([&](Build& b) { return b.op(Op::add, {2, product(b)}); }) == "%3 = multiply_add %0, %1, %2; return %3");
  CHECK(text([&](Build& b) {
          return b.op(Op::subtract, {product(b), 2});
        }) == "%3 = multiply_subtract %0, %1, %2; return %3");
  CHECK(text([&](Build& b) {
          return b.op(Op::subtract, {2, product(b)});
        }) == "%3 = subtract_product %0, %1, %2; return %3");
  CHECK(text([&](Build& b) {
          return b.op(Op::add, {b.op(Op::square, {0}), 1});
        }) == "%3 = multiply_add %0, %0, %1; return %3");
  const auto minus = [](Build& b) { return b.op(Op::multiply, {b.op(Op::negative, {0}), 1}); };
  CHECK(text([&](Build& b) { return b.op(Op::add, {minus(b), 2}); }) == "%3 = subtract_product %0, %1, %2; return %3");
  CHECK(text([&](Build& b) { return b.op(Op::subtract, {2, minus(b)}); }) == "%3 = multiply_add %0, %1, %2; return %3");
  // The left one of two products; the other one is rounded.
  CHECK(text([&](Build& b) {
          return b.op(Op::add, {product(b), b.op(Op::multiply, {1, 2})});
        }) == "%3 = multiply %1, %2; %4 = multiply_add %0, %1, %3; return %4");
  // A product that is read elsewhere too is computed for that.
  CHECK(text([&](Build& b) {
          const NodeId p = product(b);
          return b.op(Op::multiply, {b.op(Op::add, {p, 2}), p});
        }) == "%3 = multiply %0, %1; %4 = multiply_add %0, %1, %2; %5 = multiply %4, %3; return %5");
}

TEST_CASE("contract: sums of other dtypes are left alone") {
  Build build;
  const NodeId a = build.input({2}, DType::f32), b = build.input({2}, DType::f64);
  build.results({build.op(Op::add, {build.op(Op::multiply, {a, a}), b})});
  CHECK(text_of(program::contract(build.graph())) == "%2 = multiply %0, %0; %3 = add %2, %1; return %3");
}

TEST_CASE("dead: what leads to no result and no decision goes") {
  Build build;
  const NodeId x = build.input(), y = build.input();
  build.op(Op::exp, {build.constant(Array(5.0))});
  const NodeId used = build.op(Op::sin, {y}), decided = build.op(Op::greater, {x, y});
  build.branch(0, decided, 1);
  build.op(Op::cos, {x});
  build.results({used});
  build.branch(0, decided, 0);
  build.results({build.op(Op::tanh, {x})});
  const Graph lean = program::dead(build.graph());
  CHECK(text_of(lean) ==
        "%2 = sin %1; %3 = greater %0, %1; if %3 is 1 {return %2} if %3 is 0 {%4 = tanh %0; return %4} ");
  CHECK(lean.constants.empty());
  CHECK(lean.inputs.size() == 2);
}

namespace {

/// Zeros without their signs, and what division made of them.
Arrays without_signs_of_zero(const Arrays& values) {
  Arrays out;
  for (const Array& x : values) {
    const Var size = op(Op::absolute, {Var(x)});
    const Var plain = op(Op::logical_or, {op(Op::equal, {size, Var(0.0)}), op(Op::isinf, {size})});
    out.push_back(op(Op::where, {plain, size, Var(x)}).value());
  }
  return out;
}

}  // namespace

TEST_CASE("passes: factors that are powers of two leave products and sums") {
  // Of a product into what is known first; of a sum into the product it is a factor of.
  const auto text = [](const auto& make) {
    Build build;
    build.results({make(build)});
    return text_of(program::dead(program::contract(program::regroup(build.graph()))));
  };
  CHECK(text([](Build& b) {
          const NodeId x = b.input(), y = b.input(), rate = b.input();
          const NodeId two = b.constant(Array(2.0)), four = b.constant(Array(-4.0));
          const NodeId slope =
              b.op(Op::add, {b.op(Op::multiply, {x, b.op(Op::multiply, {four, y})}), b.op(Op::multiply, {two, y})});
          return b.op(Op::multiply, {rate, slope});
        }) ==
        "%3 = constant -2; %4 = multiply %3, %0; %5 = multiply_add %4, %1, %1; %6 = constant 2; %7 = multiply %6, %2; "
        "%8 = multiply %7, %5; return %8");
}

TEST_CASE("passes: all but contraction keep every bit") {
  tests::Random random(3);
  const auto& special = tests::special_numbers();
  const auto number = [&] {
    return random.uniform(0, 3) < 1 ? special[static_cast<std::size_t>(random.uniform(0, double(special.size())))]
                                    : random.uniform(-3, 3);
  };
  const Op codes[] = {Op::add,      Op::subtract,        Op::multiply, Op::true_divide,   Op::negative, Op::square,
                      Op::positive, Op::strong_multiply, Op::add,      Op::integer_power, Op::multiply, Op::maximum};
  for (int example = 0; example < 400; ++example) {
    CAPTURE(example);
    const DType dtype = example % 3 ? DType::f64 : DType::f32;
    const Dims shape = example % 3 ? Dims{} : Dims{2};
    Build build;
    std::vector<NodeId> nodes{build.input(shape, dtype), build.input(shape, dtype)};
    const auto any = [&] { return nodes[static_cast<std::size_t>(random.uniform(0, double(nodes.size())))]; };
    for (int k = 0; k < 14; ++k) {
      const Op op = codes[static_cast<int>(random.uniform(0, 12))];
      const double neutral[] = {0.0, -0.0, 1, -1, 2, 0.5, -4, number()};
      const NodeId c = build.constant(Array::full(
          dtype, Dims{},
          op == Op::integer_power ? std::floor(random.uniform(-5, 6)) : neutral[int(random.uniform(0, 8))]));
      const bool one = ops::info(op).arity == 1;
      const NodeId other = op == Op::integer_power || random.uniform(0, 2) < 1 ? c : any();
      if (one) {
        nodes.push_back(build.op(op, {any()}));
      } else if (op == Op::integer_power || random.uniform(0, 2) < 1) {
        nodes.push_back(build.op(op, {any(), other}));
      } else {
        nodes.push_back(build.op(op, {other, any()}));
      }
    }
    build.results({nodes.back(), nodes[nodes.size() - 2], nodes[nodes.size() - 5]});
    const Graph& graph = build.graph();
    for (int k = 0; k < 4; ++k) {
      const Arrays at{Array::full(dtype, shape, number()), Array::full(dtype, shape, number())};
      const Arrays want = compute(graph, at);
      CHECK(same_values(compute(program::fold(graph), at), want));
      CHECK(same_values(compute(program::simplify(graph), at), want));
      CHECK(same_values(compute(program::share(graph), at), want));
      CHECK(same_values(compute(program::dead(graph), at), want));
      CHECK(same_values(compute(program::optimize(graph, false), at), want));
      CHECK(same_values(without_signs_of_zero(compute(program::regroup(graph), at)), without_signs_of_zero(want)));
    }
  }
}

namespace {

/// A function that decides `steps` times on what it has computed so far.
std::vector<Var> deciding(std::span<const Var> x, int steps, std::uint64_t seed) {
  tests::Random random(seed);
  std::vector<Var> values(x.begin(), x.end());
  for (int k = 0; k < steps; ++k) {
    const auto any = [&]() -> const Var& {
      return values[static_cast<std::size_t>(random.uniform(0, static_cast<double>(values.size())))];
    };
    const Var a = any(), b = any(), c = any();
    values.push_back(op(Op::add, {op(Op::multiply, {a, b}), op(Op::negative, {c})}));
    values.push_back(op(Op::multiply, {a, b}));
    const Var s = op(Op::sin, {values[values.size() - 2]});
    if (truth(op(Op::greater, {s, Var(random.uniform(-0.5, 0.5))}))) {
      values.push_back(op(Op::subtract, {s, op(Op::multiply, {a, b})}));
    } else {
      values.push_back(op(Op::true_divide, {op(Op::multiply, {a, c}), Var(2.0)}));
      if (integer(op(Op::multiply, {s, Var(2.0)})) == 1) values.push_back(op(Op::multiply, {a, b}));
    }
    values.push_back(op(Op::tanh, {values.back()}));
  }
  return {values.back(), values[values.size() - 2]};
}

/// The nodes of the path that a place takes, each with its operands by their position on the path.
std::string path_text(const Graph& graph, const Arrays& at, const Step& f) {
  const Path path = trace_path(f, at);
  std::vector<std::size_t> position(graph.nodes.size(), SIZE_MAX);
  std::size_t count = 0;
  for (const program::Input& input : graph.inputs) position[input.node] = count++;
  std::string out;
  std::uint32_t segment = 0;
  for (std::size_t next = 0;; ++next) {
    for (NodeId id : graph.segments[segment].nodes) {
      const program::Node& node = graph.nodes[id];
      position[id] = count++;
      out += node.operands.size() ? std::string(ops::info(node.op).name) : program::describe(graph, node);
      for (NodeId operand : node.operands) out += " " + std::to_string(position[operand]);
      out += "; ";
    }
    if (graph.segments[segment].is_leaf()) break;
    out += "decide " + std::to_string(position[graph.segments[segment].decision]) + "; ";
    segment = graph.segments[segment].after(path.decisions[next].outcome);
    REQUIRE(segment != program::kNone);
  }
  for (NodeId id : graph.segments[segment].results) out += " " + std::to_string(position[id]);
  return out;
}

}  // namespace

TEST_CASE("passes: what becomes of a path does not depend on the paths beside it") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    const Step f = [&](std::span<const Var> x) { return deciding(x, 4, seed); };
    tests::Random random(seed + 100);
    std::vector<Arrays> places;
    for (int k = 0; k < 12; ++k) places.push_back({Array(random.uniform(-2, 2)), Array(random.uniform(-2, 2))});
    Graph all;
    for (const Arrays& at : places) program::merge(all, trace_path(f, at));
    CHECK(all.segments.size() > 4);
    // `dead` looks ahead, and takes away only what nobody reads.
    const auto passes = [](const Graph& graph) {
      return program::share(program::contract(program::share(program::simplify(program::fold(graph)))));
    };
    const Graph together = passes(all);
    const Graph whole = program::optimize(all, true);
    for (const Arrays& at : places) {
      Graph alone;
      program::merge(alone, trace_path(f, at));
      CHECK(path_text(passes(alone), at, f) == path_text(together, at, f));
      CHECK(same_values(compute(program::optimize(alone, true), at), compute(whole, at)));
      CHECK(same_values(compute(program::optimize(alone, false), at), values_of(f, at)));
    }
  }
}

TEST_CASE("merge: a path that was seen adds nothing, one that does not fit is refused") {
  int calls = 0;
  const Step changing = [&](std::span<const Var> x) {
    return std::vector<Var>{op(++calls > 2 ? Op::sin : Op::cos, {x[0]})};
  };
  Graph graph;
  CHECK(program::merge(graph, trace_path(changing, {Array(1.0)})));
  CHECK_FALSE(program::merge(graph, trace_path(changing, {Array(2.0)})));
  const std::string before = text_of(graph);
  CHECK_THROWS_AS(program::merge(graph, trace_path(changing, {Array(2.0)})), TraceError);
  CHECK(text_of(graph) == before);
  const Step branches = [&](std::span<const Var> x) {
    return std::vector<Var>{truth(op(Op::less, {x[0], Var(0.0)})) ? op(Op::negative, {x[0]}) : op(Op::sqrt, {x[0]})};
  };
  Graph tree;
  CHECK(program::merge(tree, trace_path(branches, {Array(1.0)})));
  CHECK(program::merge(tree, trace_path(branches, {Array(-1.0)})));
  CHECK_FALSE(program::merge(tree, trace_path(branches, {Array(-7.0)})));
  CHECK(text_of(tree) ==
        "%1 = constant 0; %2 = less %0, %1; if %2 is 0 {%3 = sqrt %0; return %3} if %2 is 1 {%4 = negative %0; return "
        "%4} ");
  CHECK(program::decisions_to(tree, 0, 1) == std::vector<std::int64_t>{1});
  // A decision that is forced comes out so, whatever the value.
  CHECK_FALSE(program::merge(tree, trace_path(branches, {Array(1.0)}, {1})));
}
