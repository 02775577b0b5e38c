// SPDX-License-Identifier: MIT
// `_core.roll`: traces the body of a loop once and applies the loop as one op. Trees, names and what to do where a body
// cannot be traced are Python's business (python/dualtape/rolled.py).
#include "dualtape/loop/rolled.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/dlarray.hpp"
#include "bindings/program.hpp"
#include "dualtape/base/error.hpp"

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

std::shared_ptr<const program::Program> program_of(const program::Path& path, std::vector<NodeId> results) {
  program::Path own = path;
  own.results = std::move(results);
  program::Graph graph;
  program::merge(graph, own);
  return std::make_shared<const program::Program>(std::move(graph), true);
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

/// See the head. `body` is called with a list of leaves of the carry and one of entries, and returns the list of the
/// new carry, followed by the outputs, or of a while_loop by whether to go on and whether to begin.
py::list roll(const py::object& body, const py::list& carry, const std::vector<bool>& weak, const py::list& entries,
              std::int64_t length, bool reverse, bool is_while) {
  Rolled::Parts parts;
  std::vector<Var> operands;
  {
    program::Trace trace(where, program::Trace::Body{});
    py::list state, entry;
    const auto input = [&](const Var& value, const std::string& name, bool is_weak, PyObject* labels) {
      const Array in = trace.input(name, value.value().untraced(), is_weak);
      return steal(make_labelled(Var(in), labels));
    };
    for (std::size_t i = 0; i < carry.size(); ++i) {
      const py::object leaf = carry[i];
      operands.push_back(var_of(leaf.ptr()));
      state.append(input(operands.back(), "carry[" + std::to_string(i) + "]", weak[i] || operands.back().value().weak(),
                         labels_of(leaf.ptr())));
    }
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const Var& all = var_of(py::object(entries[i]).ptr());
      entry.append(input(first_entry(all), "entry[" + std::to_string(i) + "]", false, nullptr));
    }
    {
      const py::object out = body(state, entry);
      for (const py::handle item : out) {
        Var var = operand("scan", item.ptr());
        if (trace.is_outside(var)) var = trace.lift(var);
        if (var.is_dual()) throw TraceError("scan: a result of the body belongs to a derivative inside of it.");
        trace.result(var.value());
      }
    }
    if (!trace.refusal().empty()) throw TraceError(trace.refusal());
    operands.insert(operands.end(), trace.lifted().begin(), trace.lifted().end());
    parts.outside = trace.lifted().size();
    const program::Path path = arranged(trace.finish(), carry.size(), entries.size());
    if (!path.decisions.empty()) {
      throw TraceError("scan: the body decides on a value that differs from step to step.");
    }
    std::vector<NodeId> results = path.results;
    if (is_while) {
      parts.start = program_of(path, {results.back()});
      results.pop_back();
    }
    parts.step = program_of(path, results);
    parts.outputs = is_while ? 0 : results.size() - carry.size();
  }
  for (const py::handle all : entries) operands.push_back(var_of(all.ptr()));
  parts.carry = carry.size();
  parts.entries = entries.size();
  parts.length = length;
  parts.reverse = reverse;
  const auto rolled = std::make_shared<const Rolled>(std::move(parts));
  py::list out;
  const std::vector<Var> results = loop::unpack(*rolled, loop::apply_rolled(rolled, operands));
  for (std::size_t i = 0; i < results.size(); ++i) {
    PyObject* labels = i < carry.size() ? labels_of(py::object(carry[i]).ptr()) : nullptr;
    out.append(steal(make_labelled(results[i], labels)));
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
