// SPDX-License-Identifier: MIT
// From Python objects to arrays and back. NumPy does the understanding of foreign data; what it makes of them is
// borrowed for the length of an operation, or copied where it must outlive it.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string>

#include "bindings/dlarray.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

[[noreturn]] void refuse(const char* op, const std::string& what, const std::string& remedy) {
  throw DTypeError(std::string(op) + ": " + what + " cannot be computed with; " + remedy);
}

std::string type_name(PyObject* object) { return Py_TYPE(object)->tp_name; }

bool has_attribute(PyObject* object, const char* name) { return PyObject_HasAttrString(object, name); }

/// Refuses by name what NumPy would turn into an array of objects or text.
void refuse_unfit(const char* op, PyObject* object) {
  if (PyUnicode_Check(object) || PyBytes_Check(object)) {
    refuse(op, "text (" + type_name(object) + ")", "convert it to numbers first, for instance with float().");
  }
  if (PyComplex_Check(object)) refuse(op, "a complex number", "pass its real and imaginary parts.");
  if (object == Py_None || PyDict_Check(object) || PyAnySet_Check(object)) {
    refuse(op, "a " + type_name(object), "pass numbers, sequences of numbers, or arrays.");
  }
  if (has_attribute(object, "toarray") && has_attribute(object, "nnz")) {
    refuse(op, "a sparse array (" + type_name(object) + ")", "pass x.toarray().");
  }
}

py::array as_ndarray(const char* op, PyObject* object) {
  refuse_unfit(op, object);
  PyObject* result;
  if (!PyObject_CheckBuffer(object) && !has_attribute(object, "__array__") && has_attribute(object, "__dlpack__")) {
    result = PyObject_CallOneArg(numpy_attribute("from_dlpack"), object);
  } else {
    result = PyObject_CallOneArg(numpy_attribute("asarray"), object);
  }
  if (!result) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) throw PythonError{};  // Ctrl-C stays what it is
    // A ragged list, or an object that fails to convert: NumPy's own words say it best.
    py::error_already_set error;
    if (error.matches(package_attribute("dualtape._core", "TraceError"))) {
      const char* what =
          tape::Recorder::current() ? " traced would be frozen" : " differentiated would lose their derivatives";
      throw TraceError(std::string(op) + ": a list of arrays that are being" + what +
                       "; join them with dualtape.numpy.array(...) or stack(...)" + user_location() + ".");
    }
    throw DTypeError(std::string(op) + ": the data is no regular array of numbers; NumPy says: " +
                     py::str(error.value()).cast<std::string>());
  }
  auto array = py::reinterpret_steal<py::array>(result);
  if (array.ndim() == 0 && array.dtype().kind() == 'O') {
    refuse(op, "an object of type " + type_name(object), "pass numbers, sequences of numbers, or arrays.");
  }
  return array;
}

/// The dtype that holds the data of an ndarray; converts the array where its own will not do.
DType settle_dtype(const char* op, py::array& array, bool literal) {
  const py::dtype dtype = array.dtype();
  const auto convert = [&](const char* to) {
    array = py::reinterpret_steal<py::array>(checked(PyObject_CallMethod(array.ptr(), "astype", "s", to)));
  };
  switch (dtype.kind()) {
    case 'f':
      if (dtype.itemsize() == 2) convert("float32");
      if (dtype.itemsize() > 8)
        refuse(op, "an array of " + py::str(dtype).cast<std::string>(), "convert it with x.astype(float).");
      if (dtype.itemsize() == 8 || dtype.itemsize() == 4) {
        if (dtype.byteorder() == '>') convert(dtype.itemsize() == 8 ? "float64" : "float32");
      }
      return array.dtype().itemsize() == 4 ? DType::f32 : DType::f64;
    case 'b':
      return DType::boolean;
    case 'i':
    case 'u':
      convert(literal ? "float64" : "int64");
      return literal ? DType::f64 : DType::i64;
    case 'c':
      refuse(op, "a complex array", "pass its real and imaginary parts.");
    case 'U':
    case 'S':
      refuse(op, "an array of text", "convert it to numbers first, for instance with x.astype(float).");
    case 'O':
      refuse(op, "an array of Python objects",
             "convert it with x.astype(float); arrays of dlarrays are made with dualtape.numpy.stack.");
    default:
      refuse(op, "an array of " + py::str(dtype).cast<std::string>(), "convert it with x.astype(float).");
  }
}

void release_object(void* object) {
  // At the end of the process there is no interpreter to give the object back to.
  if (!Py_IsInitialized()) return;
  const PyGILState_STATE state = PyGILState_Ensure();
  Py_DECREF(static_cast<PyObject*>(object));
  PyGILState_Release(state);
}

/// The ndarray's own memory as an array.
Array borrow(const py::array& array, DType dtype) {
  Dims shape, strides;
  const std::int64_t size = item_size(dtype);
  bool aligned = reinterpret_cast<std::uintptr_t>(array.data()) % static_cast<std::uintptr_t>(size) == 0;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    shape.push_back(array.shape(i));
    strides.push_back(array.strides(i) / size);
    aligned = aligned && array.strides(i) % size == 0;
  }
  if (!aligned) {
    const py::array copy = py::reinterpret_steal<py::array>(checked(PyObject_CallMethod(array.ptr(), "copy", nullptr)));
    return borrow(copy, dtype);
  }
  Buffer buffer = Buffer::borrow(const_cast<void*>(array.data()), static_cast<std::size_t>(array.nbytes()), false,
                                 Py_NewRef(array.ptr()), release_object);
  return Array::view(std::move(buffer), dtype, shape, strides, 0);
}

bool is_number(PyObject* object) { return PyFloat_Check(object) || PyLong_Check(object); }

}  // namespace

PyObject* numpy_attribute(const char* name) { return package_attribute("numpy", name); }

PyObject* package_attribute(const char* module, const char* name) {
  // Kept for the life of the interpreter: attributes of modules that are looked up again and again. Names are
  // literals, so their addresses will do as keys.
  static auto* cache = new std::map<std::pair<const char*, const char*>, PyObject*>;
  PyObject*& entry = (*cache)[{module, name}];
  if (!entry) {
    Ref imported(checked(PyImport_ImportModule(module)));
    entry = checked(PyObject_GetAttrString(imported.get(), name));
  }
  return entry;
}

Var operand(const char* op, PyObject* object, bool* weak, bool* foreign) {
  if (weak) *weak = false;
  if (is_dlarray(object)) {
    const Var& var = var_of(object);
    if (weak) *weak = var.value().weak();
    return var;
  }
  if (is_number(object)) {
    if (weak) *weak = true;
    const double value = PyFloat_Check(object) ? PyFloat_AS_DOUBLE(object) : PyLong_AsDouble(object);
    if (value == -1.0 && PyErr_Occurred()) throw PythonError{};
    return Var(value);
  }
  const bool known = PyObject_CheckBuffer(object) || has_attribute(object, "__array__") ||
                     has_attribute(object, "__dlpack__") || PyList_Check(object) || PyTuple_Check(object);
  if (!known && foreign) {
    refuse_unfit(op, object);
    *foreign = true;
    return Var();
  }
  if (PyList_Check(object) || PyTuple_Check(object)) return Var(array_from(op, object));
  py::array array = as_ndarray(op, object);
  const DType dtype = settle_dtype(op, array, false);
  Array borrowed = borrow(array, dtype);
  // A tape keeps operands, and the owner may write to the memory afterwards.
  const bool kept = tape::Tape::current() || tape::Recorder::current();
  return Var(kept && !borrowed.is_scalar() ? borrowed.copy() : std::move(borrowed));
}

Array array_from(const char* op, PyObject* object, PyObject* dtype) {
  if (PyFloat_CheckExact(object) && !dtype) return Array(PyFloat_AS_DOUBLE(object));
  // Python's numbers are literals: they become float64, as in MATLAB, whatever NumPy would choose.
  const bool literal = !has_attribute(object, "dtype") && !PyBool_Check(object);
  py::array array = as_ndarray(op, object);
  const DType found = settle_dtype(op, array, literal);
  Array out = borrow(array, found);
  if (dtype) return out.cast(dtype_from(op, dtype)).copy();
  return out.copy();
}

Array array_by_dlpack(PyObject* object) {
  constexpr const char* kOp = "from_dlpack";
  refuse_unfit(kOp, object);
  if (!has_attribute(object, "__dlpack__")) {
    refuse(kOp, "an object of type " + type_name(object), "pass an array that has __dlpack__, or use dlarray(x).");
  }
  const py::tuple device = py::handle(object).attr("__dlpack_device__")();
  constexpr int kHosts[] = {1, 3, 11};  // of the standard: the CPU, and memory of CUDA and ROCm on its side
  if (std::find(std::begin(kHosts), std::end(kHosts), device[0].cast<int>()) == std::end(kHosts)) {
    PyErr_Format(
        PyExc_BufferError,
        "from_dlpack: the memory must be the CPU's; it is on the device %R; copy the array there first, as with "
        "PyTorch's x.cpu().",
        device.ptr());
    throw PythonError{};
  }
  auto array = py::reinterpret_steal<py::array>(checked(PyObject_CallOneArg(numpy_attribute("from_dlpack"), object)));
  const DType dtype = settle_dtype(kOp, array, false);
  return borrow(array, dtype);
}

Var weak_as(const Var& number, DType dtype) {
  if (dtype == DType::f64) return number;
  if (!number.is_scalar()) return tape::cast(number, dtype);  // traced
  return Var(Array::full(dtype, {}, number.value().scalar()));
}

PyObject* numpy_dtype(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return numpy_attribute("float64");
    case DType::f32:
      return numpy_attribute("float32");
    case DType::i64:
      return numpy_attribute("int64");
    default:
      return numpy_attribute("bool_");
  }
}

DType dtype_from(const char* op, PyObject* dtype) {
  Ref made(PyObject_CallOneArg(numpy_attribute("dtype"), dtype));
  if (made) {
    const py::dtype found = py::reinterpret_borrow<py::dtype>(made.get());
    if (found.kind() == 'f' && found.itemsize() == 8) return DType::f64;
    if (found.kind() == 'f' && found.itemsize() == 4) return DType::f32;
    if (found.kind() == 'i' && found.itemsize() == 8) return DType::i64;
    if (found.kind() == 'b') return DType::boolean;
  }
  PyErr_Clear();
  throw DTypeError(std::string(op) + ": dtype " + py::repr(dtype).cast<std::string>() +
                   " is not supported; use float64 or float32 (or int64 and bool for constants).");
}

void refuse_recorded(const char* what, const Array& value) {
  if (!tape::is_recorded(value)) return;
  const std::string text =
      std::string(what) + to_string(value.shape()) +
      ": the function is being traced, and a number taken out of a traced value would be frozen into the program; "
      "compute with the dlarray itself, return it, decide on it with `if` or `while`, or use stop_gradient(x) where "
      "only the derivative is to be cut" +
      user_location() + ".";
  tape::Recorder::of(value)->note_refusal(text);
  throw TraceError(text);
}

PyObject* to_numpy(const Array& value, bool copy) {
  refuse_recorded("numpy", value);
  const Array held = copy ? value.copy() : value;
  std::vector<py::ssize_t> shape, strides;
  for (std::size_t i = 0; i < held.shape().size(); ++i) {
    shape.push_back(held.shape()[i]);
    strides.push_back(held.strides()[i] * item_size(held.dtype()));
  }
  const py::dtype dtype = py::reinterpret_steal<py::dtype>(
      checked(PyObject_CallOneArg(numpy_attribute("dtype"), numpy_dtype(held.dtype()))));
  if (held.is_scalar()) {
    const double number = held.scalar();
    return py::array(dtype, shape, strides, &number).release().ptr();
  }
  py::capsule owner(new Array(held), [](void* array) { delete static_cast<Array*>(array); });
  py::array out(dtype, shape, strides, held.raw_data(), owner);
  if (!copy) out.attr("flags").attr("writeable") = false;
  return out.release().ptr();
}

}  // namespace dualtape::bindings
