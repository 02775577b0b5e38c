// SPDX-License-Identifier: MIT
// `_core.roll`: traces the body of a loop once and applies the loop as one op. Trees, names and what to do where a body
// cannot be traced are Python's business (python/dualtape/rolled.py).
#include "dualtape/loop/rolled.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/dlarray.hpp"
#include "bindings/program.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/program/select.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

using loop::Rolled;
using program::NodeId;

py::object steal(PyObject* object) { return py::reinterpret_steal<py::object>(checked(object)); }

program::Line where() {
  SourceLine line = user_line();
  return {std::move(line.file), std::move(line.function), line.line};
}

/// The path with its inputs first, in the order of the loop's operands: carry, what comes from outside, entries.
program::Path arranged(program::Path path, std::size_t carry, std::size_t entries) {
  std::vector<program::Input> inputs = path.graph.inputs;
  std::rotate(inputs.begin() + static_cast<std::ptrdiff_t>(carry),
              inputs.begin() + static_cast<std::ptrdiff_t>(carry + entries), inputs.end());
  std::vector<NodeId> order;
  for (const program::Input& input : inputs) order.push_back(input.node);
  for (NodeId id = 0; id < path.graph.nodes.size(); ++id) {
    if (path.graph.nodes[id].kind != program::NodeKind::input) order.push_back(id);
  }
  std::vector<NodeId> now(order.size());
  for (NodeId id = 0; id < order.size(); ++id) now[order[id]] = id;
  std::vector<program::Node> nodes;
  for (const NodeId id : order) {
    nodes.push_back(std::move(path.graph.nodes[id]));
    for (NodeId& operand : nodes.back().operands) operand = now[operand];
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    inputs[i].node = static_cast<NodeId>(i);
    nodes[i].which = static_cast<std::uint32_t>(i);
  }
  for (NodeId& result : path.results) result = now[result];
  path.graph.nodes = std::move(nodes);
  path.graph.inputs = std::move(inputs);
  return path;
}

std::shared_ptr<const program::Program> program_of(const program::Graph& graph, std::vector<NodeId> results) {
  program::Graph own = graph;
  own.segments[0].results = std::move(results);
  return std::make_shared<const program::Program>(std::move(own), true);
}

Var first_entry(const Var& x) {
  const Array value = x.value().untraced();
  std::vector<array::Slice> first;
  for (int axis = 0; axis < value.ndim(); ++axis) {
    first.push_back({0, 1, axis == 0 ? 1 : value.shape()[static_cast<std::size_t>(axis)]});
  }
  const Dims shape(value.shape().subspan(1));
  if (value.shape()[0] == 0) return Var(Array::zeros(value.dtype(), shape));
  return Var(array::reshape(array::slice(value, first), shape).copy());
}

/// The paths of a body, in the order in which they are found: the one that the values take, then, for each decision
/// on the way, what would come if it went the other way.
class Explorer {
 public:
  Explorer(const py::object& body, const py::list& carry, const std::vector<bool>& weak, const py::list& entries)
      : body_(body), carry_(carry), weak_(weak), entries_(entries) {}

  /// All of the body without decisions; null where it has too many of them.
  std::optional<program::Graph> graph() {
    std::size_t known = 0;
    for (int pass = 0; pass < 2; ++pass, known = outside_.size()) {
      program::Graph graph;
      std::vector<std::vector<std::int64_t>> waiting{{}};
      for (int paths = 0; !waiting.empty(); ++paths) {
        if (paths == kMostPaths) return std::nullopt;
        const std::vector<std::int64_t> forced = std::move(waiting.back());
        waiting.pop_back();
        const std::optional<program::Path> path = follow(forced);
        if (!path) return std::nullopt;
        std::vector<std::int64_t> outcomes;
        for (std::size_t k = 0; k < path->decisions.size(); ++k) {
          if (path->decisions[k].decision != program::Decision::truth) return std::nullopt;
          if (k >= forced.size()) {
            waiting.push_back(outcomes);
            waiting.back().push_back(1 - path->decisions[k].outcome);
          }
          outcomes.push_back(path->decisions[k].outcome);
        }
        const bool only = paths == 0 && waiting.empty();
        if (only || known == outside_.size()) program::merge(graph, *path);
        if (only) return graph;
      }
      if (known == outside_.size()) return program::select_paths(graph);
      // A path that takes something new from outside changes the inputs of all. It must be the same the next time: not
      // so what the body computes outside.
    }
    return std::nullopt;
  }
  const std::vector<Var>& outside() const { return outside_; }

 private:
  static constexpr int kMostPaths = 64;

  /// Null where a path that the values do not take raises an error: the code relies on not going there.
  std::optional<program::Path> follow(const std::vector<std::int64_t>& forced) {
    try {
      return trace(forced);
    } catch (const py::error_already_set& error) {
      if (forced.empty() || !error.matches(PyExc_Exception)) throw;
      return std::nullopt;
    }
  }

  program::Path trace(const std::vector<std::int64_t>& forced) {
    program::Trace trace(where, program::Trace::Body{}, forced);
    py::list state, entry;
    const auto input = [&](const Var& value, const std::string& name, bool is_weak, PyObject* labels) {
      const Array in = trace.input(name, value.value().untraced(), is_weak);
      return steal(make_labelled(Var(in), labels));
    };
    for (std::size_t i = 0; i < carry_.size(); ++i) {
      const py::object leaf = carry_[i];
      const Var& value = var_of(leaf.ptr());
      state.append(
          input(value, "carry[" + std::to_string(i) + "]", weak_[i] || value.value().weak(), labels_of(leaf.ptr())));
    }
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const Var& all = var_of(py::object(entries_[i]).ptr());
      entry.append(input(first_entry(all), "entry[" + std::to_string(i) + "]", false, nullptr));
    }
    for (const Var& var : outside_) trace.lift(var);
    {
      const py::object out = body_(state, entry);
      for (const py::handle item : out) {
        Var var = operand("scan", item.ptr());
        if (trace.is_outside(var)) var = trace.lift(var);
        if (var.is_dual()) throw TraceError("scan: a result of the body belongs to a derivative inside of it.");
        trace.result(var.value());
      }
    }
    if (!trace.refusal().empty()) throw TraceError(trace.refusal());
    outside_ = trace.lifted();
    return arranged(trace.finish(), carry_.size(), entries_.size());
  }

  const py::object& body_;
  const py::list& carry_;
  const std::vector<bool>& weak_;
  const py::list& entries_;
  std::vector<Var> outside_;
};

/// See the head. `body` is called with a list of leaves of the carry and one of entries, and returns the list of the
/// new carry, followed by the outputs, or of a while_loop by whether to go on and whether to begin. None where it
/// decides on values in a way that cannot stay rolled.
py::object roll(const py::object& body, const py::list& carry, const std::vector<bool>& weak, const py::list& entries,
                std::int64_t length, bool reverse, bool is_while) {
  Rolled::Parts parts;
  std::vector<Var> operands;
  Explorer explorer(body, carry, weak, entries);
  const std::optional<program::Graph> graph = explorer.graph();
  if (!graph) return py::none();
  std::vector<NodeId> results = graph->segments[0].results;
  if (is_while) {
    parts.start = program_of(*graph, {results.back()});
    results.pop_back();
  }
  parts.step = program_of(*graph, results);
  parts.outputs = is_while ? 0 : results.size() - carry.size();
  for (const py::handle leaf : carry) operands.push_back(var_of(leaf.ptr()));
  operands.insert(operands.end(), explorer.outside().begin(), explorer.outside().end());
  for (const py::handle all : entries) operands.push_back(var_of(all.ptr()));
  parts.carry = carry.size();
  parts.outside = explorer.outside().size();
  parts.entries = entries.size();
  parts.length = length;
  parts.reverse = reverse;
  const auto rolled = std::make_shared<const Rolled>(std::move(parts));
  py::list out;
  const std::vector<Var> unpacked = loop::unpack(*rolled, loop::apply_rolled(rolled, operands));
  for (std::size_t i = 0; i < unpacked.size(); ++i) {
    PyObject* labels = i < carry.size() ? labels_of(py::object(carry[i]).ptr()) : nullptr;
    out.append(steal(make_labelled(unpacked[i], labels)));
  }
  return out;
}

/// Lets Ctrl-C end a loop that runs in the interpreter's thread.
void check_signals() {
  if (PyGILState_Check() && PyErr_CheckSignals() < 0) throw PythonError{};
}

}  // namespace

void bind_rolled(py::module_& module) {
  loop::poll = check_signals;
  module.def("roll", &roll, py::arg("body"), py::arg("carry"), py::arg("weak"), py::arg("entries"), py::arg("length"),
             py::arg("reverse"), py::arg("is_while"), "Traces the body of a loop and applies the loop as one op.");
  module.def(
      "is_rolling", [] { return tape::Recorder::lifting(); }, "Whether the body of a rolled loop is being traced.");
}

}  // namespace dualtape::bindings
