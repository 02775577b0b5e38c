// SPDX-License-Identifier: MIT
// Which node is computed where: levels, the parts of a step, and the watch on finite states. How a part becomes code is
// in assemble.cpp.
#include "dualtape/program/lower.hpp"

#include <algorithm>
#include <map>

#include "dualtape/program/assemble.hpp"

namespace dualtape::program {
namespace {

/// Larger values than this are not kept for each lane or each iteration.
constexpr std::int64_t kLargestKept = 64;

Level join(Level a, Level b) {
  if (a == b || b == Level::once) return a;
  if (a == Level::once) return b;
  return Level::step;
}

/// The level at which each node is computed.
std::vector<Level> levels_of(const Graph& graph, std::span<const Level> inputs) {
  std::vector<Level> out(graph.nodes.size(), Level::once);
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    out[graph.inputs[i].node] = inputs[i] == Level::batch ? Level::step : inputs[i];
  }
  // Behind a decision a loop may be one that would never end on the values of those who do not come there.
  std::vector<bool> stays(graph.nodes.size());
  for (std::size_t s = 1; s < graph.segments.size(); ++s) {
    for (NodeId id : graph.segments[s].nodes) stays[id] = graph.nodes[id].rule && graph.nodes[id].rule->has_payload();
  }
  for (std::size_t id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph.nodes[id];
    if (node.kind == NodeKind::input) continue;
    Level level = Level::once;
    for (NodeId operand : node.operands) level = join(level, out[operand]);
    const std::int64_t largest = level == Level::iteration ? 1 : level == Level::lane ? kLargestKept : INT64_MAX;
    bool kept = element_count(graph.shapes[node.shape]) <= largest;
    // A table of iterations is made of numbers only, all the way down.
    for (NodeId operand : node.operands) {
      kept = kept &&
             (level != Level::iteration || element_count(graph.shape(operand)) == 1 || out[operand] == Level::once);
    }
    out[id] = kept && !stays[id] ? level : Level::step;
  }
  return out;
}

}  // namespace

Part lower(const Graph& graph) {
  Selection all;
  all.included.assign(graph.nodes.size(), true);
  for (const Input& input : graph.inputs) {
    all.included[input.node] = false;
    all.inputs.push_back(input.node);
    all.varying.push_back(true);
  }
  all.tree = true;
  return assemble(graph, all);
}

Stages lower_step(const Graph& graph, std::span<const Level> input_levels, std::size_t states, std::size_t values,
                  bool asynchronous) {
  const std::vector<Level> levels = levels_of(graph, input_levels);
  const auto is_input = [&](NodeId id) { return graph.nodes[id].kind == NodeKind::input; };
  // What one part reads from another.
  std::vector<bool> crosses(graph.nodes.size());
  const auto read = [&](NodeId id, Level by) {
    if (levels[id] != by && graph.nodes[id].kind != NodeKind::constant) crosses[id] = true;
  };
  for (const Segment& segment : graph.segments) {
    for (NodeId id : segment.nodes) {
      for (NodeId operand : graph.nodes[id].operands) read(operand, levels[id]);
    }
    if (segment.decision != kNone) read(segment.decision, Level::step);
    for (NodeId result : segment.results) read(result, Level::step);
  }
  const auto select = [&](Level level) {
    Selection out;
    out.included.assign(graph.nodes.size(), false);
    for (std::size_t id = 0; id < graph.nodes.size(); ++id) {
      if (graph.nodes[id].kind == NodeKind::constant) {
        out.included[id] = true;  // the assembler keeps those that are read
      } else if (levels[id] == level && !is_input(static_cast<NodeId>(id))) {
        out.included[id] = true;
        if (crosses[id] && level != Level::step) out.results.push_back(static_cast<NodeId>(id));
      }
    }
    return out;
  };
  Stages stages;
  const auto add_inputs = [&](Selection& to, Level from, bool varying) {
    for (std::size_t id = 0; id < graph.nodes.size(); ++id) {
      const NodeId node = static_cast<NodeId>(id);
      if (levels[id] != from || !crosses[id]) continue;
      to.inputs.push_back(node);
      to.varying.push_back(varying);
    }
  };
  const auto make = [&](Level level) {
    Selection selection = select(level);
    if (level != Level::once) add_inputs(selection, Level::once, false);
    if (level == Level::once) {
      for (const Input& input : graph.inputs) {
        if (levels[input.node] != Level::once) continue;
        selection.inputs.push_back(input.node);
        selection.varying.push_back(true);  // one lane
      }
    } else {
      for (const Input& input : graph.inputs) {
        if (levels[input.node] != level) continue;
        selection.inputs.push_back(input.node);
        selection.varying.push_back(true);
      }
    }
    return assemble(graph, selection);
  };
  stages.once = make(Level::once);
  stages.lane = make(Level::lane);
  stages.iteration = make(Level::iteration);

  Selection step = select(Level::step);
  step.tree = true;
  step.states = states;
  step.values = values;
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    if (i >= states && input_levels[i] != Level::batch) continue;
    step.inputs.push_back(graph.inputs[i].node);
    step.varying.push_back(i < states);
    stages.levels.push_back(input_levels[i]);
  }
  for (const Level level : {Level::lane, Level::iteration, Level::once}) {
    const std::size_t before = step.inputs.size();
    add_inputs(step, level, level == Level::lane || (level == Level::iteration && asynchronous));
    for (std::size_t i = before; i < step.inputs.size(); ++i) stages.levels.push_back(level);
  }
  stages.step = assemble(graph, step);
  return stages;
}

Graph watch_finite(const Graph& graph, std::size_t states, std::size_t& added) {
  Graph out;
  // The states that share a watch: same dtype and shape.
  std::map<std::pair<DType, std::uint32_t>, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < states; ++i) {
    const Node& node = graph.nodes[graph.inputs[i].node];
    if (array::is_float(node.dtype)) groups[{node.dtype, node.shape}].push_back(i);
  }
  added = groups.size();
  out = graph;
  std::vector<NodeId> watches;
  std::vector<Input> inputs(out.inputs.begin(), out.inputs.begin() + static_cast<std::ptrdiff_t>(states));
  for (const auto& [key, members] : groups) {
    Node node = graph.nodes[graph.inputs[members[0]].node];
    out.nodes.push_back(node);
    watches.push_back(static_cast<NodeId>(out.nodes.size() - 1));
    inputs.push_back({"finite", watches.back()});
  }
  inputs.insert(inputs.end(), out.inputs.begin() + static_cast<std::ptrdiff_t>(states), out.inputs.end());
  out.inputs = std::move(inputs);
  for (std::size_t i = 0; i < out.inputs.size(); ++i) {
    out.nodes[out.inputs[i].node].which = static_cast<std::uint32_t>(i);
  }
  for (Segment& segment : out.segments) {
    if (!segment.is_leaf()) continue;
    std::vector<NodeId> results(segment.results.begin(), segment.results.begin() + static_cast<std::ptrdiff_t>(states));
    std::size_t number = 0;
    for (const auto& [key, members] : groups) {
      NodeId watch = watches[number++];
      // Two states at a time; one that is left over is watched twice.
      for (std::size_t k = 0; k < members.size(); k += 2) {
        const NodeId a = segment.results[members[k]];
        const NodeId b = segment.results[members[std::min(k + 1, members.size() - 1)]];
        Node look;
        look.kind = NodeKind::elementwise;
        look.op = ops::Op::finite_watch;
        look.dtype = key.first;
        look.shape = key.second;
        look.operands = Operands({a, b, watch});
        out.nodes.push_back(std::move(look));
        watch = static_cast<NodeId>(out.nodes.size() - 1);
        segment.nodes.push_back(watch);
      }
      results.push_back(watch);
    }
    results.insert(results.end(), segment.results.begin() + static_cast<std::ptrdiff_t>(states), segment.results.end());
    segment.results = std::move(results);
  }
  return out;
}

}  // namespace dualtape::program
