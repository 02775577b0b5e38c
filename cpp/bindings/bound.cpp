// SPDX-License-Identifier: MIT
// Bound: a replay between buffers that are fixed once; a call without arguments reads and writes them.
#include <pybind11/pybind11.h>

#include <cstring>

#include "bindings/program.hpp"
#include "bindings/replay.hpp"
#include "dualtape/base/error.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

struct Bound {
  PyObject_HEAD vectorcallfunc call;
  PyObject* replay;
  std::vector<Py_buffer>* buffers;  // inputs, then results
};

PyTypeObject* bound_type = nullptr;

/// Copies a buffer; that of a number without a call.
inline void copy(void* to, const void* from, Py_ssize_t bytes) {
  if (bytes == sizeof(double)) {
    std::memcpy(to, from, sizeof(double));
  } else {
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
  }
}

PyObject* bound_call(PyObject* self, PyObject* const*, std::size_t flags, PyObject* kwnames) {
  Bound& bound = *reinterpret_cast<Bound*>(self);
  if (kwnames || PyVectorcall_NARGS(flags) != 0) {
    PyErr_SetString(PyExc_TypeError, "a bound program takes no arguments; write into its buffers and call it.");
    return nullptr;
  }
  return guarded([&]() -> PyObject* {
    exec::Runner& runner = machine_of(bound.replay).runner();
    std::size_t next = 0;
    for (exec::ValueId id : runner.code().inputs) {
      const Py_buffer& buffer = (*bound.buffers)[next++];
      copy(runner.home().data(id), buffer.buf, buffer.len);
    }
    if (!runner.run(1)) {
      throw TraceError(
          "a bound program has met a decision that came out in a way that was never traced; call the function itself "
          "on such arguments first, and bind again.");
    }
    for (std::size_t i = 0; next < bound.buffers->size(); ++i) {
      const Py_buffer& buffer = (*bound.buffers)[next++];
      copy(buffer.buf, runner.result(i), buffer.len);
    }
    Py_RETURN_NONE;
  });
}

void bound_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  Bound* bound = reinterpret_cast<Bound*>(self);
  if (bound->buffers) {
    for (Py_buffer& buffer : *bound->buffers) PyBuffer_Release(&buffer);
    delete bound->buffers;
  }
  Py_XDECREF(bound->replay);
  type->tp_free(self);
  Py_DECREF(type);
}

int bound_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(reinterpret_cast<Bound*>(self)->replay);
  return 0;
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
  if (!is_replay(object.ptr())) throw DTypeError("bind: the first argument must be a replay.");
  Machine& machine = machine_of(object.ptr());
  const exec::Code& code = machine.runner().code();
  if (inputs.size() != code.inputs.size() || results.size() != machine.results()) {
    throw ShapeError("bind: the program has " + std::to_string(code.inputs.size()) + " inputs and " +
                     std::to_string(machine.results()) + " results; " + std::to_string(inputs.size()) + " and " +
                     std::to_string(results.size()) + " buffers were given.");
  }
  PyObject* made = checked(bound_type->tp_alloc(bound_type, 0));
  py::object out = py::reinterpret_steal<py::object>(made);
  Bound* bound = reinterpret_cast<Bound*>(made);
  bound->call = bound_call;
  bound->replay = Py_NewRef(object.ptr());
  bound->buffers = new std::vector<Py_buffer>;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const exec::Value& value = code.values[code.inputs[i]];
    take_buffer(*bound->buffers, inputs[i], value.dtype, value.shape, false, "input " + std::to_string(i));
  }
  for (std::size_t i = 0; i < results.size(); ++i) {
    take_buffer(*bound->buffers, results[i], machine.stored(i), machine.shape(i), true, "result " + std::to_string(i));
  }
  return out;
}

}  // namespace

void bind_bound(py::module_& module) {
  bound_type =
      make_callable_type("dualtape._core.Bound", "A program between fixed buffers; call it without arguments.",
                         sizeof(Bound), Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, offsetof(Bound, call),
                         {{Py_tp_dealloc, reinterpret_cast<void*>(bound_dealloc)},
                          {Py_tp_traverse, reinterpret_cast<void*>(bound_traverse)}});
  module.attr("Bound") = py::handle(reinterpret_cast<PyObject*>(bound_type));
  module.def("bind", &bind, py::arg("replay"), py::arg("inputs"), py::arg("results"),
             "The replay between fixed buffers.");
}

}  // namespace dualtape::bindings
