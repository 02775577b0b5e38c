// SPDX-License-Identifier: MIT
// `_core.trace` and `_core.Program`. Trees, names of hyperparameters and what to do about a new path are Python's
// business (python/dualtape/program.py); here everything is a flat list of leaves.
#include "bindings/program.hpp"

#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/dlarray.hpp"
#include "dualtape/base/error.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

using program::Graph;
using program::Node;
using program::NodeKind;
using program::Program;

py::object steal(PyObject* object) { return py::reinterpret_steal<py::object>(checked(object)); }

program::Line where() {
  SourceLine line = user_line();
  return {std::move(line.file), std::move(line.function), line.line};
}

std::string place(const program::Line& line) { return line.file + ":" + std::to_string(line.number); }

[[noreturn]] void refuse_survivors(const std::vector<program::Line>& lines) {
  std::string text =
      "trace: a traced value was stored outside of the function, in a list or an attribute, say; a program would not "
      "do "
      "that when it runs, because it sees only what is returned; return the value instead. It was computed ";
  text += lines[0].number ? "at " + place(lines[0]) : "by the package";
  if (lines[0].number && !lines[0].function.empty()) text += ", in " + lines[0].function;
  throw TraceError(text + ".");
}

/// Runs `function` on traced values: (program or None where the path was known, results, their labels, and, if it was
/// asked to watch, the first op whose result was not finite).
py::tuple trace(const py::object& function, const py::list& values, const std::vector<std::string>& names,
                const std::vector<bool>& weak, bool contraction, const py::object& known,
                const std::vector<std::int64_t>& forced, bool watch) {
  if (tape::Recorder::current()) {
    // An inner recorder would not see what the outer one knows, nor the other way round.
    throw TraceError("trace: a function is being traced already, and traces do not nest" + user_location() +
                     "; call the inner function itself, it becomes part of the program.");
  }
  program::Trace recorder(where, forced);
  if (watch) recorder.watch();
  py::list results, labels;
  {
    py::list traced;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const py::object value = values[i];
      const Var& var = var_of(value.ptr());
      if (var.value().trace()) tape::Recorder::refuse_stray();
      const Array input = recorder.input(names[i], var.value().untraced(), weak[i] || var.value().weak());
      traced.append(steal(make_labelled(Var(input), labels_of(value.ptr()))));
    }
    const py::object out = function(traced);
    for (const py::handle item : out) {
      const Var var = operand("trace", item.ptr());
      if (var.is_dual() || tape::Tape::of(var)) {
        throw TraceError(
            "trace: a result depends on a value from outside that is being differentiated, and a program would lose "
            "the "
            "derivative; make that value an argument, or call the function itself.");
      }
      recorder.result(var.value());
      results.append(steal(make_labelled(Var(var.value().untraced()), labels_of(item.ptr()))));
      PyObject* own = labels_of(item.ptr());
      labels.append(own ? py::reinterpret_borrow<py::object>(own) : py::object(py::none()));
    }
  }
  if (!recorder.refusal().empty()) throw TraceError(recorder.refusal());
  program::Path path = recorder.finish();
  if (!program::survivors(path).empty()) {
    py::module_::import("gc").attr("collect")();  // garbage that waits in a cycle is nobody's
    const std::vector<program::Line> alive = program::survivors(path);
    if (!alive.empty()) refuse_survivors(alive);
  }
  std::shared_ptr<const Program> made;
  if (known.is_none()) {
    Graph graph;
    program::merge(graph, path);
    made = std::make_shared<const Program>(std::move(graph), contraction);
  } else {
    made = known.cast<const PyProgram&>().program->with(path);
  }
  py::object broken = py::none();
  if (recorder.broken()) broken = py::make_tuple(recorder.broken()->what, place(recorder.broken()->line));
  return py::make_tuple(made ? py::cast(PyProgram{made}) : py::object(py::none()), results, labels, broken);
}

py::object line_of(const Graph& graph, std::uint32_t number) {
  if (!number) return py::none();
  const program::Line& line = graph.lines[number];
  return py::make_tuple(line.file, line.number, line.function);
}

/// (number, op, operands, dtype, shape, line) for each node, inputs first.
py::list instructions(const PyProgram& self) {
  const Graph& graph = self.program->graph();
  py::list out;
  const auto add = [&](program::NodeId id) {
    const Node& node = graph.nodes[id];
    std::string op = "input";
    if (node.kind == NodeKind::constant) op = "constant";
    if (node.kind == NodeKind::elementwise) op = ops::info(node.op).name;
    if (node.kind == NodeKind::shaped) op = node.rule->name();
    py::list operands;
    for (program::NodeId operand : node.operands) operands.append(operand);
    py::list shape;
    for (std::int64_t extent : graph.shapes[node.shape]) shape.append(extent);
    out.append(py::make_tuple(id, op, py::tuple(operands), std::string(array::name(node.dtype)), py::tuple(shape),
                              line_of(graph, node.line)));
  };
  for (const program::Input& input : graph.inputs) add(input.node);
  graph.walk(
      [&](std::uint32_t number) {
        for (program::NodeId id : graph.segments[number].nodes) add(id);
      },
      [](std::uint32_t) {});
  return out;
}

py::list constants(const PyProgram& self) {
  py::list out;
  const Graph& graph = self.program->recorded();
  for (const Node& node : graph.nodes) {
    if (node.kind != NodeKind::constant) continue;
    out.append(py::make_tuple(steal(make_dlarray(Var(graph.constants[node.which].copy()))), line_of(graph, node.line)));
  }
  return out;
}

/// (node, kind, outcomes, line) for each decision.
py::list guards(const PyProgram& self) {
  py::list out;
  const Graph& graph = self.program->graph();
  graph.walk(
      [&](std::uint32_t number) {
        const program::Segment& segment = graph.segments[number];
        if (segment.is_leaf()) return;
        py::list outcomes;
        for (const program::Branch& branch : segment.branches) outcomes.append(branch.outcome);
        out.append(py::make_tuple(segment.decision, segment.decided == program::Decision::truth ? "truth" : "integer",
                                  py::tuple(outcomes), line_of(graph, segment.line)));
      },
      [](std::uint32_t) {});
  return out;
}

std::int64_t paths(const PyProgram& self) {
  const std::vector<program::Segment>& segments = self.program->graph().segments;
  return std::count_if(segments.begin(), segments.end(), [](const program::Segment& at) { return at.is_leaf(); });
}

py::dict memory(const PyProgram& self) {
  const exec::Code& code = *self.program->part().code;
  std::int64_t instructions = 0;
  for (const exec::Segment& segment : code.segments)
    instructions += static_cast<std::int64_t>(segment.instructions.size());
  py::dict out;
  out["instructions"] = instructions;
  out["paths"] = paths(self);
  out["values"] = code.values.size();
  out["bytes_per_lane"] = code.per_lane;
  out["shared_bytes"] = code.shared;
  return out;
}

py::list inputs(const PyProgram& self) {
  py::list out;
  const Graph& graph = self.program->graph();
  for (const program::Input& input : graph.inputs) {
    const Node& node = graph.nodes[input.node];
    py::list shape;
    for (std::int64_t extent : graph.shapes[node.shape]) shape.append(extent);
    out.append(py::make_tuple(input.name, std::string(array::name(node.dtype)), py::tuple(shape), node.weak));
  }
  return out;
}

/// (dtype, shape) of each result.
py::list results(const PyProgram& self) {
  py::list out;
  const Graph& graph = self.program->graph();
  for (const program::Segment& segment : graph.segments) {
    if (!segment.is_leaf()) continue;
    for (program::NodeId id : segment.results) {
      py::list shape;
      for (std::int64_t extent : graph.shape(id)) shape.append(extent);
      out.append(py::make_tuple(std::string(array::name(graph.nodes[id].dtype)), py::tuple(shape)));
    }
    break;
  }
  return out;
}

}  // namespace

void bind_program(py::module_& module) {
  py::class_<PyProgram>(module, "Program", "A traced function, flat and immutable.")
      .def(
          "text", [](const PyProgram& self) { return self.program->text(); }, "Numbered instructions.")
      .def(
          "dot", [](const PyProgram& self) { return self.program->dot(); }, "The graph for Graphviz.")
      .def(
          "save", [](const PyProgram& self) { return py::bytes(self.program->save()); }, "The bytes of its file.")
      .def_property_readonly("contraction", [](const PyProgram& self) { return self.program->contraction(); })
      .def("instructions", &instructions, "(number, op, operands, dtype, shape, line) of each node.")
      .def("constants", &constants, "(value, line) of each captured constant.")
      .def("guards", &guards, "(node, kind, outcomes, line) of each decision.")
      .def("inputs", &inputs, "(name, dtype, shape, weak) of each input.")
      .def("results", &results, "(dtype, shape) of each result.")
      .def("paths", &paths, "How many ways through its decisions there are.")
      .def("memory", &memory, "Sizes: instructions, paths, values and bytes.");
  module.def(
      "load_program", [](const py::bytes& bytes) { return PyProgram{Program::load(std::string_view(bytes))}; },
      py::arg("bytes"), "The program in a file's bytes.");
  module.def(
      "trace", &trace, py::arg("function"), py::arg("values"), py::arg("names"), py::arg("weak"),
      py::arg("contraction") = true, py::arg("known") = py::none(), py::arg("forced") = std::vector<std::int64_t>(),
      py::arg("watch") = false,
      "Runs a function of a list of leaves on traced values: (program or None, results, labels, first op to break).");
  module.def(
      "weak_scalar", [](double value) { return steal(make_dlarray(Var(Array::weak_scalar(value)))); }, py::arg("value"),
      "A number that takes the dtype of what it meets, as Python's do, but computes as dlarrays do.");
  module.def(
      "is_traced", [](const py::object& x) { return is_dlarray(x.ptr()) && tape::is_recorded(var_of(x.ptr())); },
      py::arg("x"), "Whether the value belongs to the trace that is open.");
  module.def(
      "is_weak", [](const py::object& x) { return is_dlarray(x.ptr()) && var_of(x.ptr()).value().weak(); },
      py::arg("x"), "Whether a dlarray stands for a Python number.");
  module.def(
      "own_bytes",
      [](const py::object& x, const py::type& type) {
        const auto* base = reinterpret_cast<const PyTypeObject*>(type.ptr());
        if (!py::isinstance(x, type) || base->tp_itemsize) throw DTypeError("own_bytes: x must be of the type.");
        const auto first = static_cast<Py_ssize_t>(sizeof(PyObject));
        return py::bytes(reinterpret_cast<const char*>(x.ptr()) + first,
                         static_cast<std::size_t>(std::max(base->tp_basicsize - first, Py_ssize_t{0})));
      },
      py::arg("x"), py::arg("type"),
      "The memory that an object has as one of a type: whether its state has changed, without asking for it.");
  module.def(
      "is_tracing", [] { return tape::Recorder::current() != nullptr; }, "Whether a trace is open.");
  module.def(
      "user_line",
      [] {
        const SourceLine line = user_line();
        return py::make_tuple(line.file, line.line, line.function);
      },
      "(file, line, function) of the innermost Python code that is not the package's.");
}

}  // namespace dualtape::bindings
