// SPDX-License-Identifier: MIT
// Replay: a program as a callable object of CPython, because a call through anything slower costs more than a small
// program takes. Arguments are the leaves; it answers NotImplemented where they do not fit the program, and None where
// a decision came out in a way that has not been traced: python/dualtape/program.py knows what to do then.
//
// Bound: the same between buffers that are fixed once; a call without arguments reads and writes them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <structmember.h>

#include <cstring>

#include "bindings/dlarray.hpp"
#include "bindings/program.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/exec/runner.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

using exec::Value;
using exec::ValueId;

/// How a program is called: its code with a workspace, and what its leaves must be.
struct Machine {
  Machine(std::shared_ptr<const program::Program> from, std::vector<std::string> input_labels)
      : program(std::move(from)), runner(program->part().code, 1), labels(std::move(input_labels)) {
    const program::Graph& graph = program->graph();
    for (const program::Input& input : graph.inputs) {
      const program::Node& node = graph.nodes[input.node];
      weak.push_back(node.weak);
      scalar.push_back(node.dtype == DType::f64 && graph.shapes[node.shape].empty());
    }
    for (const program::Segment& segment : graph.segments) {
      if (!segment.is_leaf()) continue;
      for (program::NodeId id : segment.results) {
        dtypes.push_back(graph.nodes[id].dtype);
        shapes.push_back(graph.shape(id));
        const bool number = runner.code().branches() || stored(dtypes.size() - 1) == DType::f64;
        single.push_back(dtypes.back() == DType::f64 && shapes.back().empty() && number);
      }
      break;
    }
  }

  DType stored(std::size_t i) const { return runner.result_dtype(i); }

  /// Loads an argument; false where it does not fit. Only what would have been traced in the same way fits: a number
  /// where a number was, an array of the same dtype, shape and labels where an array was.
  bool load(std::size_t i, PyObject* object) {
    const ValueId id = runner.code().inputs[i];
    exec::Workspace& home = runner.home();
    if (scalar[i]) {
      if (PyFloat_CheckExact(object)) {
        if (!weak[i]) return false;
        *home.at<double>(id) = PyFloat_AS_DOUBLE(object);
        return true;
      }
      if (is_dlarray(object) && is_bare_scalar(as_dlarray(object)) && !as_dlarray(object)->var.has_node()) {
        if (weak[i] || !labels[i].empty()) return false;
        *home.at<double>(id) = as_dlarray(object)->var.value().scalar();
        return true;
      }
    }
    if (!is_dlarray(object) && !PyFloat_Check(object) && !PyObject_HasAttrString(object, "__array__")) return false;
    PyObject* given = labels_of(object);
    if (given ? labels[i] != PyUnicode_AsUTF8(given) : !labels[i].empty()) return false;
    bool is_weak = false, foreign = false;
    Var var = operand("program", object, &is_weak, &foreign);
    if (foreign || var.is_dual() || tape::Tape::of(var) || tape::is_recorded(var)) return false;
    const Value& value = runner.code().values[id];
    if (is_weak != weak[i]) return false;
    if (var.dtype() != value.dtype || !same_shape(var.shape(), value.shape)) return false;
    const Array elements = var.value().as_contiguous();
    home.load(id, elements.raw_data());
    return true;
  }

  PyObject* result(std::size_t i) {
    const void* data = runner.result(i);
    if (single[i]) return make_scalar(*static_cast<const double*>(data));
    const DType from = stored(i);
    const Array seen = Array::pinned(Buffer::borrow(const_cast<void*>(data), 0, false, nullptr, [](void*) {}), from,
                                     shapes[i], contiguous_strides(shapes[i]), 0);
    Array out = Array::empty(dtypes[i], shapes[i]);
    array::copy_elements(seen, out);
    return make_dlarray(Var(std::move(out)));
  }

  std::shared_ptr<const program::Program> program;
  exec::Runner runner;
  std::vector<bool> weak, scalar, single;
  std::vector<std::string> labels;  // of the inputs
  std::vector<DType> dtypes;
  std::vector<Dims> shapes;
};

struct Replay {
  PyObject_HEAD vectorcallfunc call;
  Machine* machine;
};

struct Bound {
  PyObject_HEAD vectorcallfunc call;
  PyObject* replay;  // keeps the machine
  Machine* machine;
  std::vector<Py_buffer>* buffers;  // inputs, then results
};

PyObject* replay_call(PyObject* self, PyObject* const* args, std::size_t flags, PyObject* kwnames) {
  Machine& machine = *reinterpret_cast<Replay*>(self)->machine;
  const auto count = static_cast<std::size_t>(PyVectorcall_NARGS(flags));
  if (kwnames || count != machine.scalar.size()) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&]() -> PyObject* {
    for (std::size_t i = 0; i < count; ++i) {
      if (!machine.load(i, args[i])) Py_RETURN_NOTIMPLEMENTED;
    }
    if (!machine.runner.run(1)) Py_RETURN_NONE;
    const auto results = static_cast<Py_ssize_t>(machine.single.size());
    Ref out(checked(PyTuple_New(results)));
    for (Py_ssize_t i = 0; i < results; ++i) {
      PyTuple_SET_ITEM(out.get(), i, checked(machine.result(static_cast<std::size_t>(i))));
    }
    return out.release();
  });
}

PyObject* bound_call(PyObject* self, PyObject* const*, std::size_t flags, PyObject* kwnames) {
  Bound& bound = *reinterpret_cast<Bound*>(self);
  if (kwnames || PyVectorcall_NARGS(flags) != 0) {
    PyErr_SetString(PyExc_TypeError, "a bound program takes no arguments; write into its buffers and call it.");
    return nullptr;
  }
  return guarded([&]() -> PyObject* {
    exec::Runner& runner = bound.machine->runner;
    const std::vector<ValueId>& inputs = runner.code().inputs;
    std::size_t next = 0;
    for (ValueId id : inputs) {
      const Py_buffer& buffer = (*bound.buffers)[next++];
      std::memcpy(runner.home().data(id), buffer.buf, static_cast<std::size_t>(buffer.len));
    }
    if (!runner.run(1)) {
      throw TraceError(
          "a bound program has met a decision that came out in a way that was never traced; call the function itself "
          "on such arguments first, and bind again.");
    }
    for (std::size_t i = 0; next < bound.buffers->size(); ++i) {
      const Py_buffer& buffer = (*bound.buffers)[next++];
      std::memcpy(buffer.buf, runner.result(i), static_cast<std::size_t>(buffer.len));
    }
    Py_RETURN_NONE;
  });
}

PyTypeObject* replay_type = nullptr;
PyTypeObject* bound_type = nullptr;

void replay_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  delete reinterpret_cast<Replay*>(self)->machine;
  type->tp_free(self);
  Py_DECREF(type);
}

void bound_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  Bound* bound = reinterpret_cast<Bound*>(self);
  if (bound->buffers) {
    for (Py_buffer& buffer : *bound->buffers) PyBuffer_Release(&buffer);
    delete bound->buffers;
  }
  Py_XDECREF(bound->replay);
  type->tp_free(self);
  Py_DECREF(type);
}

py::object make_replay(const PyProgram& program, std::vector<std::string> labels) {
  labels.resize(program.program->graph().inputs.size());
  auto machine = std::make_unique<Machine>(program.program, std::move(labels));
  PyObject* object = checked(replay_type->tp_alloc(replay_type, 0));
  Replay* replay = reinterpret_cast<Replay*>(object);
  replay->call = replay_call;
  replay->machine = machine.release();
  return py::reinterpret_steal<py::object>(object);
}

/// A buffer of the right dtype and size; the object stays alive, and as it is, as long as the view.
void take_buffer(std::vector<Py_buffer>& to, const py::handle& object, DType dtype, const Dims& shape, bool writable,
                 const std::string& what) {
  Py_buffer view;
  const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
  if (PyObject_GetBuffer(object.ptr(), &view, flags) < 0) throw PythonError{};
  to.push_back(view);
  const char* format = dtype == DType::f64 ? "d" : dtype == DType::f32 ? "f" : dtype == DType::i64 ? "l" : "?";
  const std::string_view given = view.format ? view.format : "B";
  const bool same = given == format || (dtype == DType::i64 && given == "q");
  const Shape extents(reinterpret_cast<const std::int64_t*>(view.shape), static_cast<std::size_t>(view.ndim));
  if (!same || !same_shape(extents, shape)) {
    throw ShapeError("bind: " + what + " must be an array of " + std::string(array::name(dtype)) + " and shape " +
                     to_string(shape) + "; one of format '" + std::string(given) + "' and shape " + to_string(extents) +
                     " was given; make it with numpy.empty.");
  }
}

py::object bind(const py::object& object, const py::list& inputs, const py::list& results) {
  if (Py_TYPE(object.ptr()) != replay_type) throw DTypeError("bind: the first argument must be a replay.");
  Machine& machine = *reinterpret_cast<Replay*>(object.ptr())->machine;
  const exec::Code& code = machine.runner.code();
  if (inputs.size() != code.inputs.size() || results.size() != machine.dtypes.size()) {
    throw ShapeError("bind: the program has " + std::to_string(code.inputs.size()) + " inputs and " +
                     std::to_string(machine.dtypes.size()) + " results; " + std::to_string(inputs.size()) + " and " +
                     std::to_string(results.size()) + " buffers were given.");
  }
  PyObject* made = checked(bound_type->tp_alloc(bound_type, 0));
  py::object out = py::reinterpret_steal<py::object>(made);
  Bound* bound = reinterpret_cast<Bound*>(made);
  bound->call = bound_call;
  bound->machine = &machine;
  bound->replay = Py_NewRef(object.ptr());
  bound->buffers = new std::vector<Py_buffer>;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Value& value = code.values[code.inputs[i]];
    take_buffer(*bound->buffers, inputs[i], value.dtype, value.shape, false, "input " + std::to_string(i));
  }
  for (std::size_t i = 0; i < results.size(); ++i) {
    take_buffer(*bound->buffers, results[i], machine.stored(i), machine.shapes[i], true, "result " + std::to_string(i));
  }
  return out;
}

PyTypeObject* make_type(const char* name, const char* doc, int size, destructor dealloc, Py_ssize_t call_offset) {
  static std::vector<std::vector<PyMemberDef>*> members;  // for the life of the process
  members.push_back(new std::vector<PyMemberDef>{{"__vectorcalloffset__", T_PYSSIZET, call_offset, READONLY, nullptr},
                                                 {nullptr, 0, 0, 0, nullptr}});
  PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>(doc)},
                         {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                         {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                         {Py_tp_members, members.back()->data()},
                         {0, nullptr}};
  PyType_Spec spec{name, size, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                   slots};
  return reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
}

/// The outcomes of decisions up to the one that the last call of a replay had no path for.
std::vector<std::int64_t> missing(const py::object& object) {
  if (Py_TYPE(object.ptr()) != replay_type) throw DTypeError("missing: the argument must be a replay.");
  const Machine& machine = *reinterpret_cast<Replay*>(object.ptr())->machine;
  const exec::Unknown& unknown = machine.runner.unknown();
  return program::decisions_to(machine.program->graph(), unknown.segment, unknown.outcome);
}

}  // namespace

void bind_replay(py::module_& module) {
  replay_type = make_type("dualtape._core.Replay", "A program as a function of its leaves.", sizeof(Replay),
                          replay_dealloc, offsetof(Replay, call));
  bound_type = make_type("dualtape._core.Bound", "A program between fixed buffers; call it without arguments.",
                         sizeof(Bound), bound_dealloc, offsetof(Bound, call));
  module.attr("Replay") = py::handle(reinterpret_cast<PyObject*>(replay_type));
  module.attr("Bound") = py::handle(reinterpret_cast<PyObject*>(bound_type));
  module.def("make_replay", &make_replay, py::arg("program"), py::arg("labels") = std::vector<std::string>(),
             "The program as a callable; `labels` are those of its inputs.");
  module.def("missing", &missing, py::arg("replay"), "Outcomes of decisions up to the one without a path.");
  module.def("bind", &bind, py::arg("replay"), py::arg("inputs"), py::arg("results"),
             "The replay between fixed buffers.");
}

}  // namespace dualtape::bindings
