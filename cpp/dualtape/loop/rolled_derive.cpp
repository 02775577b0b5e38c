// SPDX-License-Identifier: MIT
// The programs that push tangents and pull cotangents through a step: the graph of the step is run on pairs, or on
// leaves of a tape, while that is traced. So a rolled loop has the derivatives of its body by the same rules as
// everything else.
#include "dualtape/base/error.hpp"
#include "dualtape/loop/rolled.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/reverse.hpp"
#include "dualtape/tape/tape.hpp"

namespace dualtape::loop {
namespace {

using program::Graph;
using program::NodeId;
using program::NodeKind;
using program::Trace;

/// What the graph computes from Vars of any kind.
std::vector<Var> evaluate(const Graph& graph, std::span<const Var> inputs) {
  std::vector<Var> values(graph.nodes.size());
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) values[graph.inputs[i].node] = inputs[i];
  const program::Segment& segment = graph.segments[0];
  for (const NodeId id : segment.nodes) {
    const program::Node& node = graph.nodes[id];
    if (node.kind == NodeKind::constant) {
      values[id] = Var(graph.constants[node.which]);
      continue;
    }
    std::vector<Var> operands;
    for (const NodeId operand : node.operands) operands.push_back(values[operand]);
    if (node.kind == NodeKind::elementwise) {
      values[id] = tape::apply(node.op, operands);
    } else if (node.rule->name() == "stop_gradient") {
      values[id] = tape::stop_gradient(operands[0]);
    } else {
      values[id] = tape::apply(*node.rule, operands, *node.attributes);
    }
  }
  std::vector<Var> out;
  for (const NodeId id : segment.results) out.push_back(values[id]);
  return out;
}

/// Traces `body`, which is given a function that makes inputs and returns the results.
template <class Body>
Graph traced(Body&& body) {
  const tape::Apart apart;
  Trace trace([] { return program::Line{}; }, Trace::Body{});
  std::size_t number = 0;
  const auto input = [&](const Array& value) {
    return Var(trace.input("x" + std::to_string(number++), value.untraced(), value.weak()));
  };
  for (const Var& result : body(input)) trace.result(result.value());
  Graph graph;
  program::merge(graph, trace.finish());
  return graph;
}

Array zeros(const Leaf& leaf) { return Array::zeros(leaf.dtype, leaf.shape); }

/// One entry of what has an entry for each step; zeros where there is no step.
std::vector<Array> for_one_step(const Rolled& rolled, std::span<const Array> operands) {
  std::vector<Array> out;
  for (std::size_t i = 0; i < rolled.operand_count(); ++i) {
    if (!rolled.is_entry(i)) {
      out.push_back(operands[i].untraced());
    } else if (rolled.parts().length == 0) {
      out.push_back(zeros(rolled.operands()[i]));
    } else {
      const Dims full(operands[i].shape());
      std::vector<array::Slice> first;
      for (int axis = 0; axis < full.size(); ++axis) first.push_back({0, 1, axis == 0 ? 1 : full[axis]});
      out.push_back(array::reshape(array::slice(operands[i].untraced(), first), rolled.operands()[i].shape).copy());
    }
  }
  return out;
}

}  // namespace

Graph pushed_graph(const Rolled& rolled, std::span<const Array> samples) {
  const std::vector<Array> values = for_one_step(rolled, samples);
  return traced([&](const auto& input) {
    const std::uint32_t level = tape::new_level();
    std::vector<Var> operands;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Var primal = input(values[i]);
      if (!rolled.operands()[i].differentiable()) {
        operands.push_back(primal);
        continue;
      }
      const Var tangent = input(zeros(rolled.operands()[i]));
      operands.push_back(Var::dual(level, primal, tangent, 0));
    }
    std::vector<Var> out;
    for (const Var& result : evaluate(rolled.parts().step->recorded(), operands)) {
      const bool paired = result.level() == level;
      const Var primal = paired ? result.primal() : result;
      out.push_back(primal);
      if (array::is_float(primal.dtype())) {
        out.push_back(paired ? tape::cast(result.tangent(), primal.dtype()) : tape::zeros_like(primal));
      }
    }
    return out;
  });
}

Graph pushed_start_graph(const Rolled& rolled, std::span<const Array> samples) {
  const std::vector<Array> values = for_one_step(rolled, samples);
  return traced([&](const auto& input) {
    // The condition does not look at tangents.
    std::vector<Var> operands;
    for (std::size_t i = 0; i < values.size(); ++i) {
      operands.push_back(input(values[i]));
      if (rolled.operands()[i].differentiable()) input(zeros(rolled.operands()[i]));
    }
    return evaluate(rolled.parts().start->recorded(), operands);
  });
}

Graph pulled_graph(const Rolled& rolled, std::span<const Array> samples) {
  const std::vector<Array> values = for_one_step(rolled, samples);
  const Rolled::Parts& parts = rolled.parts();
  const std::vector<Leaf>& leaves = rolled.operands();
  return traced([&](const auto& input) {
    std::vector<Var> sums, carried, operands, tracked, cotangents;
    for (std::size_t i = parts.carry; i < parts.carry + parts.outside; ++i) {
      if (leaves[i].differentiable()) sums.push_back(input(zeros(leaves[i])));
    }
    for (std::size_t i = 0; i < parts.carry; ++i) {
      if (leaves[i].differentiable()) carried.push_back(input(zeros(leaves[i])));
    }
    for (const Array& value : values) operands.push_back(input(value));
    for (const Leaf& output : rolled.outputs()) cotangents.push_back(input(zeros(output)));
    const auto own = std::make_shared<tape::Tape>();
    const tape::Scope scope(own);
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!leaves[i].differentiable()) continue;
      operands[i] = own->leaf(operands[i]);
      tracked.push_back(operands[i]);
    }
    const std::vector<Var> results = evaluate(parts.step->recorded(), operands);
    std::vector<Var> ys, given;
    std::size_t next = 0;
    for (std::size_t i = 0; i < parts.carry + parts.outputs; ++i) {
      if (!array::is_float(results[i].dtype())) continue;
      ys.push_back(results[i]);
      given.push_back(i < parts.carry ? carried[next++] : cotangents[i - parts.carry]);
    }
    const std::vector<Var> pulled = tape::pull_back(own.get(), ys, given, tracked, {});
    std::vector<Var> out, ends;
    next = 0;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!leaves[i].differentiable()) continue;
      const Var one = tape::fit(pulled[next++], leaves[i].shape, leaves[i].dtype);
      if (i < parts.carry) {
        carried[ends.size()] = one;
        ends.push_back(one);
      } else if (!rolled.is_entry(i)) {
        out.push_back(tape::add(sums[out.size()], one));
      } else {
        ends.push_back(one);
      }
    }
    out.insert(out.end(), ends.begin(), ends.end());
    return out;
  });
}

}  // namespace dualtape::loop
