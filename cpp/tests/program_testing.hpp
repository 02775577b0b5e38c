// SPDX-License-Identifier: MIT
// Helpers of the tests of programs: graphs built by hand, functions of Vars traced, graphs as text, graphs computed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dualtape/array/elementwise.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/exec/runner.hpp"
#include "dualtape/program/lower.hpp"
#include "dualtape/program/passes.hpp"
#include "dualtape/program/program.hpp"
#include "dualtape/program/trace.hpp"
#include "tests/samples.hpp"
#include "tests/tape_testing.hpp"

namespace dualtape::testing {

using program::Graph;
using program::Line;
using program::NodeId;
using program::NodeKind;
using program::Path;
using program::Program;

/// A graph, node by node. Shapes and dtypes follow from computing every node on ones.
class Build {
 public:
  Build() { graph_.segments.emplace_back(); }

  NodeId input(const Dims& shape = {}, DType dtype = DType::f64) {
    program::Node node;
    node.which = static_cast<std::uint32_t>(graph_.inputs.size());
    graph_.inputs.push_back({"x" + std::to_string(node.which), static_cast<NodeId>(graph_.nodes.size())});
    return add(std::move(node), Array::full(dtype, shape, 1.0), false);
  }
  NodeId constant(const Array& value) {
    program::Node node;
    node.kind = NodeKind::constant;
    node.which = static_cast<std::uint32_t>(graph_.constants.size());
    graph_.constants.push_back(value);
    return add(std::move(node), value);
  }
  NodeId op(ops::Op code, std::initializer_list<NodeId> operands) {
    program::Node node;
    node.kind = NodeKind::elementwise;
    node.op = code;
    node.operands = program::Operands(operands);
    return add(std::move(node), array::apply(code, pointers(operands)));
  }
  NodeId rule(std::string_view name, std::initializer_list<NodeId> operands, tape::Attributes attributes) {
    program::Node node;
    node.kind = NodeKind::shaped;
    node.rule = tape::find_rule(name);
    REQUIRE(node.rule);
    node.operands = program::Operands(operands);
    const Array value = node.rule->forward(pointers(operands), attributes);
    node.attributes = std::make_shared<const tape::Attributes>(std::move(attributes));
    return add(std::move(node), value);
  }
  /// Goes on in the segment behind an outcome of a decision in `segment`; its number.
  std::uint32_t branch(std::uint32_t segment, NodeId decision, std::int64_t outcome) {
    graph_.segments[segment].decision = decision;
    at_ = static_cast<std::uint32_t>(graph_.segments.size());
    graph_.segments[segment].branches.push_back({outcome, at_});
    graph_.segments.emplace_back();
    return at_;
  }
  void results(std::vector<NodeId> ids) { graph_.segments[at_].results = std::move(ids); }
  const Graph& graph() const { return graph_; }

 private:
  NodeId add(program::Node node, const Array& value, bool listed = true) {
    node.dtype = value.dtype();
    node.shape = graph_.intern_shape(Dims(value.shape()));
    graph_.nodes.push_back(std::move(node));
    values_.push_back(value);
    const auto id = static_cast<NodeId>(graph_.nodes.size() - 1);
    if (listed) graph_.segments[at_].nodes.push_back(id);
    return id;
  }
  std::vector<const Array*> pointers(std::initializer_list<NodeId> ids) const {
    std::vector<const Array*> out;
    for (NodeId id : ids) out.push_back(&values_[id]);
    return out;
  }

  Graph graph_;
  std::vector<Array> values_;
  std::uint32_t at_ = 0;
};

/// "%2 = add %0, %1; return %2", with the branches of a decision in braces.
inline std::string text_of(const Graph& graph) {
  std::string out;
  std::vector<std::string> heads(graph.segments.size());
  graph.walk(
      [&](std::uint32_t number) {
        const program::Segment& segment = graph.segments[number];
        out += heads[number];
        for (NodeId id : segment.nodes) {
          out += "%" + std::to_string(id) + " = " + program::describe(graph, graph.nodes[id]) + "; ";
        }
        if (segment.is_leaf()) out += "return";
        for (NodeId id : segment.results) out += " %" + std::to_string(id);
        for (const program::Branch& branch : segment.branches) {
          heads[branch.segment] =
              "if %" + std::to_string(segment.decision) + " is " + std::to_string(branch.outcome) + " {";
        }
      },
      [&](std::uint32_t number) { out += number ? "} " : ""; });
  return out;
}

/// A function of several Vars with several values.
using Step = std::function<std::vector<Var>(std::span<const Var>)>;

/// What ordinary code does with `if (x)` and `int(x)`.
inline std::int64_t decide(tape::Recorder::Decision decision, const Var& x) {
  if (tape::is_recorded(x)) return tape::Recorder::current()->decide(decision, x.value());
  const double value = x.value().item();
  return decision == tape::Recorder::Decision::truth ? value != 0 : static_cast<std::int64_t>(value);
}
inline bool truth(const Var& x) { return decide(tape::Recorder::Decision::truth, x); }
inline std::int64_t integer(const Var& x) { return decide(tape::Recorder::Decision::integer, x); }

inline Path trace_path(const Step& f, const Arrays& at, std::vector<std::int64_t> forced = {}) {
  program::Trace trace([] { return Line{}; }, std::move(forced));
  std::vector<Var> inputs;
  for (std::size_t i = 0; i < at.size(); ++i) inputs.emplace_back(trace.input("x" + std::to_string(i), at[i], false));
  for (const Var& out : f(inputs)) trace.result(out.value());
  return trace.finish();
}
/// The program with the paths that f takes at some places.
inline std::shared_ptr<const Program> program_of(const Step& f, const std::vector<Arrays>& places, bool contraction) {
  Graph graph;
  for (const Arrays& at : places) program::merge(graph, trace_path(f, at));
  return std::make_shared<const Program>(std::move(graph), contraction);
}

/// The bits of numbers and arrays, every NaN the same.
inline bool same_values(const Array& a, const Array& b) {
  if (a.dtype() != b.dtype() || !same_shape(a.shape(), b.shape())) return false;
  const std::vector<double> x = elements(a), y = elements(b);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!tests::same_bits(x[i], y[i])) return false;
  }
  return true;
}
inline bool same_values(const Arrays& a, const Arrays& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!same_values(a[i], b[i])) return false;
  }
  return true;
}
inline Arrays values_of(const Step& f, const Arrays& at) {
  Arrays out;
  for (const Var& y : f(constants(at))) out.push_back(y.value());
  return out;
}

/// A part of code run on places as its lanes. `known` says whether all decisions had paths.
class Lanes {
 public:
  Lanes(program::Part part, std::int64_t capacity) : part_(std::move(part)), runner_(part_.code, capacity) {}

  bool run(const std::vector<Arrays>& places) {
    for (std::size_t lane = 0; lane < places.size(); ++lane) {
      for (std::size_t i = 0; i < places[lane].size(); ++i) {
        const Array x = places[lane][i].as_contiguous();
        runner_.home().load(runner_.code().inputs[i], x.raw_data(), static_cast<std::int64_t>(lane));
      }
    }
    return runner_.run(static_cast<std::int64_t>(places.size()));
  }
  /// The results of a lane, as the dtypes and shapes that the graph gives them.
  Arrays results(std::int64_t lane, const Graph& graph) const {
    Arrays out;
    const program::Segment* leaf = nullptr;
    for (const program::Segment& segment : graph.segments) {
      if (segment.is_leaf() && !leaf) leaf = &segment;
    }
    for (std::size_t i = 0; i < leaf->results.size(); ++i) {
      Array y = Array::empty(graph.nodes[leaf->results[i]].dtype, graph.shape(leaf->results[i]));
      const bool varies = runner_.result_varies(i);
      std::vector<double> numbers;
      array::dispatch(runner_.result_dtype(i), [&]<class T>() {
        const T* from = static_cast<const T*>(runner_.result(i));
        for (std::int64_t e = 0; e < y.size(); ++e) {
          numbers.push_back(static_cast<double>(from[varies ? e * runner_.capacity() + lane : e]));
        }
      });
      if (y.is_scalar()) {
        y = Array(numbers[0]);
      } else {
        array::dispatch(y.dtype(), [&]<class T>() {
          for (std::size_t e = 0; e < numbers.size(); ++e) y.writable_data<T>()[e] = static_cast<T>(numbers[e]);
        });
      }
      out.push_back(std::move(y));
    }
    return out;
  }
  exec::Runner& runner() { return runner_; }

 private:
  program::Part part_;
  exec::Runner runner_;
};

/// A graph computed at one place.
inline Arrays compute(const Graph& graph, const Arrays& at) {
  Lanes lanes(program::lower(graph), 1);
  REQUIRE(lanes.run({at}));
  return lanes.results(0, graph);
}

}  // namespace dualtape::testing
