// SPDX-License-Identifier: MIT
#include "dualtape/program/trace.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>

#include "dualtape/array/elementwise.hpp"
#include "dualtape/array/reduce.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/program/program.hpp"

namespace dualtape::tape {
constinit thread_local Recorder* Recorder::current_ = nullptr;

void Recorder::refuse_stray() {
  throw TraceError(
      "trace: a traced value was used where its trace is not open: after the traced function has ended, because it was "
      "stored somewhere, or in another thread; return it from the function, and compute in the thread that traces.");
}
}  // namespace dualtape::tape

namespace dualtape::program {
namespace {

std::uint32_t new_trace() {
  static std::atomic<std::uint32_t> next{1};
  std::uint32_t number;
  do number = next.fetch_add(1, std::memory_order_relaxed);
  while (number == 0);
  return number;
}

std::string at(const Line& line) {
  return line.number ? " (at " + line.file + ":" + std::to_string(line.number) + ")" : "";
}

}  // namespace

Trace::Trace(std::function<Line()> where, std::vector<std::int64_t> forced)
    : Recorder(new_trace()),
      where_(std::move(where)),
      forced_(std::move(forced)),
      outer_(current_),
      outer_watch_(std::move(array::trace_watch())) {
  array::trace_watch() = {trace(), {}, &outer_watch_};
  current_ = this;
}

Trace::Trace(std::function<Line()> where, Body, std::vector<std::int64_t> forced)
    : Recorder(new_trace(), current_),
      where_(std::move(where)),
      forced_(std::move(forced)),
      outer_(current_),
      outer_watch_(std::move(array::trace_watch())) {
  array::trace_watch() = {trace(), {}, &outer_watch_};
  current_ = this;
}

Var Trace::lift(const Var& var) {
  const auto same = [&](const Var& other) {
    if (var.is_dual() || other.is_dual()) {
      return var.is_dual() && other.is_dual() && &var.primal() == &other.primal();
    }
    if (var.has_node() || other.has_node()) return var.node() == other.node() && var.recording() == other.recording();
    return var.value().trace() == other.value().trace() && var.value().symbol() == other.value().symbol();
  };
  for (std::size_t i = 0; i < lifted_.size(); ++i) {
    if (same(lifted_[i])) return inputs_[i];
  }
  lifted_.push_back(var);
  const std::string name = "outside[" + std::to_string(inputs_.size()) + "]";
  inputs_.push_back(Var(input(name, var.value().untraced(), var.value().weak())));
  return inputs_.back();
}

Var Trace::take(const Var& var) {
  if (var.is_dual() || var.value().trace() == trace()) return var;
  if (is_outside(var)) return lift(var);
  const Array& value = var.value();
  return Var(value.traced(trace(), operand(value), value.weak()));
}

Trace::~Trace() {
  if (current_ == this) current_ = outer_;
  array::trace_watch() = std::move(outer_watch_);
}

Array Trace::input(const std::string& name, const Array& value, bool weak) {
  Graph& graph = path_.graph;
  Node node;
  node.kind = NodeKind::input;
  node.which = static_cast<std::uint32_t>(graph.inputs.size());
  graph.inputs.push_back({name, static_cast<NodeId>(graph.nodes.size())});
  return push(std::move(node), value, weak);
}

Array Trace::push(Node node, const Array& out, bool weak) {
  Graph& graph = path_.graph;
  node.dtype = out.dtype();
  node.weak = weak;
  node.shape = graph.intern_shape(Dims(out.shape()));
  node.line = graph.intern_line(where_());
  graph.nodes.push_back(std::move(node));
  return out.traced(trace(), static_cast<std::uint32_t>(graph.nodes.size() - 1), weak);
}

NodeId Trace::operand(const Array& x) {
  if (x.trace() == trace()) return x.symbol();
  Graph& graph = path_.graph;
  std::vector<NodeId>* seen = nullptr;
  if (x.size() == 1 && x.ndim() == 0) {
    seen = &scalars_[std::bit_cast<std::uint64_t>(x.item())];
    for (NodeId id : *seen) {
      if (identical(graph.constant(id), x)) return id;
    }
  } else {
    seen = &scalars_[static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(x.raw_data())) | 1];
    for (NodeId id : *seen) {
      // The same memory seen in the same way; whoever writes to it while the graph holds it writes to a copy.
      const Array& known = graph.constant(id);
      if (known.raw_data() == x.raw_data() && known.dtype() == x.dtype() && same_shape(known.shape(), x.shape()) &&
          std::equal(known.strides().begin(), known.strides().end(), x.strides().begin())) {
        return id;
      }
    }
  }
  Node node;
  node.kind = NodeKind::constant;
  node.which = static_cast<std::uint32_t>(graph.constants.size());
  node.dtype = x.dtype();
  node.shape = graph.intern_shape(Dims(x.shape()));
  node.line = graph.intern_line(where_());
  graph.constants.push_back(x.untraced());
  graph.nodes.push_back(std::move(node));
  seen->push_back(static_cast<NodeId>(graph.nodes.size() - 1));
  return seen->back();
}

void Trace::look(std::string_view name, std::span<const Array* const> operands, const Array& out) {
  if (!watching_ || broken_ || !array::is_float(out.dtype())) return;
  const auto finite = [](const Array& x) {
    const Array all = array::apply(ops::Op::isfinite, std::array<const Array*, 1>{&x});
    return array::all(all, array::all_axes(all)).item() != 0.0;
  };
  if (finite(out)) return;
  broken_.emplace();
  broken_->what = name;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const Array& x = *operands[i];
    broken_->what += i ? ", " : "(";
    broken_->what += x.size() == 1 ? number_text(x.item()) : "an array of shape " + to_string(x.shape());
  }
  broken_->what += ")";
  if (out.size() == 1) broken_->what += " = " + number_text(out.item());
  broken_->line = where_();
}

Array Trace::elementwise(ops::Op op, std::span<const Array* const> operands, const Array& out) {
  look(ops::info(op).name, operands, out);
  NodeId ids[ops::kMaxArity];
  bool weak = !ops::info(op).predicate;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    ids[i] = operand(*operands[i]);
    weak = weak && (operands[i]->weak() || operands[i]->is_scalar());
  }
  Node node;
  node.kind = NodeKind::elementwise;
  node.op = op;
  node.operands = Operands(std::span<const NodeId>(ids, operands.size()));
  return push(std::move(node), out, weak);
}

Array Trace::shaped(const ShapedRule& rule, std::span<const Array* const> operands, const Attributes& attributes,
                    const Array& out) {
  look(rule.name(), operands, out);
  std::vector<NodeId> ids;
  for (const Array* x : operands) ids.push_back(operand(*x));
  Node node;
  node.kind = NodeKind::shaped;
  node.rule = &rule;
  node.attributes = std::make_shared<const Attributes>(attributes);
  node.operands = Operands(std::span<const NodeId>(ids));
  return push(std::move(node), out, false);
}

std::int64_t Trace::decide(Decision decision, const Array& x) {
  const double value = x.item();
  const std::size_t number = path_.decisions.size();
  const bool forced = number < forced_.size();
  if (!forced && decision == Decision::integer && !(std::abs(value) < 0x1p63)) {
    throw ShapeError("int(): a value that is not finite is no integer; got " + std::to_string(value) + at(where_()) +
                     ".");
  }
  const std::int64_t outcome = forced                        ? forced_[number]
                               : decision == Decision::truth ? std::int64_t{value != 0.0}
                                                             : static_cast<std::int64_t>(value);
  const NodeId node = operand(x);
  Graph& graph = path_.graph;
  path_.decisions.push_back({graph.nodes.size(), node, decision, outcome, graph.intern_line(where_())});
  return outcome;
}

void Trace::result(const Array& value) { path_.results.push_back(operand(value)); }

Path Trace::finish() {
  current_ = outer_;
  return std::move(path_);
}

std::vector<Line> survivors(const Path& path) {
  std::vector<Line> lines;
  const std::vector<std::int32_t>& alive = array::trace_watch().alive;
  for (std::size_t id = 0; id < alive.size() && id < path.graph.nodes.size(); ++id) {
    if (alive[id] > 0) lines.push_back(path.graph.lines[path.graph.nodes[id].line]);
  }
  return lines;
}

namespace {

/// Follows a path down the tree of a graph, and adds what is new. A path that does not fit is found out before the
/// first addition, because what comes behind one fits by itself.
class Merger {
 public:
  Merger(Graph& graph, const Path& path) : graph_(graph), path_(path), ids_(path.graph.nodes.size(), kNone) {}

  bool run() {
    if (graph_.segments.empty()) {
      for (const Input& input : path_.graph.inputs) graph_.inputs.push_back({input.name, append(input.node, nullptr)});
      graph_.segments.emplace_back();
      fresh_ = true;
    } else {
      for (std::size_t i = 0; i < graph_.inputs.size(); ++i) {
        ids_[path_.graph.inputs[i].node] = graph_.inputs[i].node;
      }
    }
    std::size_t next = path_.graph.inputs.size(), number = 0;
    for (; number < path_.decisions.size(); ++number) {
      const Path::Decided& decided = path_.decisions[number];
      take_nodes(next, decided.before);
      next = decided.before;
      take_decision(decided);
    }
    take_nodes(next, path_.graph.nodes.size());
    take_results();
    return added_;
  }

 private:
  Segment& segment() { return graph_.segments[at_]; }

  NodeId append(NodeId from, std::vector<NodeId>* nodes) {
    Node node = path_.graph.nodes[from];
    node.shape = graph_.intern_shape(path_.graph.shapes[node.shape]);
    node.line = graph_.intern_line(path_.graph.lines[node.line]);
    if (node.kind == NodeKind::constant) {
      graph_.constants.push_back(path_.graph.constants[node.which]);
      node.which = static_cast<std::uint32_t>(graph_.constants.size() - 1);
    }
    for (NodeId& operand : node.operands) operand = ids_[operand];
    graph_.nodes.push_back(std::move(node));
    ids_[from] = static_cast<NodeId>(graph_.nodes.size() - 1);
    if (nodes) nodes->push_back(ids_[from]);
    return ids_[from];
  }

  void take_nodes(std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      const NodeId from = static_cast<NodeId>(i);
      if (fresh_) {
        append(from, &segment().nodes);
        added_ = true;
        continue;
      }
      if (place_ == segment().nodes.size()) mismatch(path_.graph.nodes[from].line);
      const NodeId known = segment().nodes[place_++];
      Operands mapped = path_.graph.nodes[from].operands;
      for (NodeId& operand : mapped) operand = ids_[operand];
      if (!same_op(path_.graph, path_.graph.nodes[from], graph_, graph_.nodes[known]) ||
          !(mapped == graph_.nodes[known].operands)) {
        mismatch(path_.graph.nodes[from].line);
      }
      ids_[from] = known;
    }
  }

  void take_decision(const Path::Decided& decided) {
    if (fresh_) {
      segment().decision = ids_[decided.node];
      segment().decided = decided.decision;
      segment().line = graph_.intern_line(path_.graph.lines[decided.line]);
    } else if (segment().is_leaf() || place_ != segment().nodes.size() || segment().decision != ids_[decided.node] ||
               segment().decided != decided.decision) {
      mismatch(decided.line);
    }
    std::uint32_t after = segment().after(decided.outcome);
    if (after == kNone) {
      after = static_cast<std::uint32_t>(graph_.segments.size());
      segment().branches.push_back({decided.outcome, after});
      graph_.segments.emplace_back();
      fresh_ = added_ = true;
    }
    at_ = after;
    place_ = 0;
  }

  void take_results() {
    std::vector<NodeId> results;
    for (NodeId result : path_.results) results.push_back(ids_[result]);
    if (fresh_) {
      segment().results = std::move(results);
      added_ = true;
    } else if (!segment().is_leaf() || place_ != segment().nodes.size() || segment().results != results) {
      mismatch(0);
    }
  }

  [[noreturn]] void mismatch(std::uint32_t line) const {
    throw TraceError(
        "trace: the function did something else than when it was traced before, although every decision on a traced "
        "value came out the same" +
        at(path_.graph.lines[line]) +
        "; it depends on something that the trace cannot see, such as a global that changes or a counter of its own; "
        "make that an argument or a part of the state.");
  }

  Graph& graph_;
  const Path& path_;
  std::vector<NodeId> ids_;
  std::uint32_t at_ = 0;
  std::size_t place_ = 0;
  bool fresh_ = false, added_ = false;
};

}  // namespace

bool merge(Graph& graph, const Path& path) { return Merger(graph, path).run(); }

std::vector<std::int64_t> decisions_to(const Graph& graph, std::uint32_t segment, std::int64_t outcome) {
  std::vector<std::int64_t> out{outcome};
  // Parents have lower numbers than their children.
  for (std::uint32_t at = segment; at != 0;) {
    for (std::uint32_t parent = at; parent-- > 0;) {
      const std::vector<Branch>& branches = graph.segments[parent].branches;
      const auto found =
          std::find_if(branches.begin(), branches.end(), [&](const Branch& b) { return b.segment == at; });
      if (found == branches.end()) continue;
      out.insert(out.begin(), found->outcome);
      at = parent;
      break;
    }
  }
  return out;
}

}  // namespace dualtape::program
