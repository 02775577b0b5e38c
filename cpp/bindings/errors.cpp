// SPDX-License-Identifier: MIT
// C++ exceptions become Python's here, and nowhere else. Each type of base/error.hpp has a Python namesake that is
// also the built-in type people would catch.
#include "bindings/errors.hpp"

#include <pybind11/pybind11.h>

#include <new>

#include "bindings/dlarray.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/recorder.hpp"

namespace dualtape::bindings {
namespace {

PyObject *error_type, *shape_error, *dtype_error, *trace_error, *tape_error, *gradient_error, *numeric_error;

PyObject* make_type(pybind11::module_& module, const char* name, PyObject* builtin, const char* doc) {
  Ref bases(builtin ? PyTuple_Pack(2, error_type, builtin) : nullptr);
  const std::string qualified = std::string("dualtape.") + name;
  PyObject* type = PyErr_NewExceptionWithDoc(qualified.c_str(), doc, bases.get(), nullptr);
  if (!type) throw pybind11::error_already_set();
  module.attr(name) = pybind11::handle(type);
  return type;
}

}  // namespace

void bind_errors(pybind11::module_& module) {
  error_type = make_type(module, "Error", nullptr, "Base of the errors that dualtape raises on purpose.");
  shape_error =
      make_type(module, "ShapeError", PyExc_ValueError, "Shapes that do not fit each other or the operation.");
  dtype_error = make_type(module, "DTypeError", PyExc_TypeError, "Data of a kind that cannot be computed with.");
  trace_error = make_type(module, "TraceError", PyExc_TypeError, "A value that leaves the graph where it may not.");
  tape_error = make_type(module, "TapeError", PyExc_RuntimeError, "A tape used after its end, or from elsewhere.");
  gradient_error = make_type(module, "GradientError", PyExc_ValueError, "A derivative that cannot be taken.");
  numeric_error = make_type(module, "NumericError", PyExc_ArithmeticError, "A value that must be finite and is not.");
  pybind11::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const PythonError&) {
    } catch (const Error&) {
      set_python_error();
    }
  });
}

void set_python_error() noexcept {
  try {
    throw;
  } catch (const PythonError&) {
  } catch (pybind11::error_already_set& error) {
    error.restore();
  } catch (const ShapeError& error) {
    PyErr_SetString(shape_error, error.what());
  } catch (const DTypeError& error) {
    PyErr_SetString(dtype_error, error.what());
  } catch (const TraceError& error) {
    std::string text = error.what();
    const bool tracing = tape::Recorder::current() || text.starts_with("trace:");
    if (tracing && text.find(".py:") == std::string::npos) {
      if (text.ends_with('.')) text.pop_back();
      text += user_location() + ".";
    }
    PyErr_SetString(trace_error, text.c_str());
  } catch (const TapeError& error) {
    PyErr_SetString(tape_error, error.what());
  } catch (const GradientError& error) {
    PyErr_SetString(gradient_error, error.what());
  } catch (const NumericError& error) {
    PyErr_SetString(numeric_error, error.what());
  } catch (const Error& error) {
    PyErr_SetString(error_type, error.what());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

}  // namespace dualtape::bindings
