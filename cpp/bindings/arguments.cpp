// SPDX-License-Identifier: MIT
// Reading the arguments of fast calls (METH_FASTCALL | METH_KEYWORDS) without building tuples or dicts.
#include <cstring>

#include "bindings/dlarray.hpp"
#include "dualtape/base/error.hpp"

namespace dualtape::bindings {

void parse_arguments(const char* function, PyObject* const* args, Py_ssize_t count, PyObject* kwnames,
                     std::span<const char* const> names, int required, PyObject** out) {
  const Py_ssize_t most = static_cast<Py_ssize_t>(names.size());
  if (count > most) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments, %zd were given", function, most, count);
    throw PythonError{};
  }
  for (Py_ssize_t i = 0; i < most; ++i) out[i] = i < count ? args[i] : nullptr;
  const Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t k = 0; k < keywords; ++k) {
    PyObject* keyword = PyTuple_GET_ITEM(kwnames, k);
    Py_ssize_t place = 0;
    while (place < most && PyUnicode_CompareWithASCIIString(keyword, names[static_cast<std::size_t>(place)]) != 0)
      ++place;
    if (place == most) {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, keyword);
      throw PythonError{};
    }
    if (out[place]) {
      PyErr_Format(PyExc_TypeError, "%s() got two values for argument '%U'", function, keyword);
      throw PythonError{};
    }
    out[place] = args[count + k];
  }
  for (int i = 0; i < required; ++i) {
    if (out[i]) continue;
    PyErr_Format(PyExc_TypeError, "%s() needs the argument '%s'", function, names[static_cast<std::size_t>(i)]);
    throw PythonError{};
  }
}

std::int64_t int_from(const char* op, const char* what, PyObject* object) {
  Ref index(PyNumber_Index(object));
  if (!index) {
    PyErr_Clear();
    throw DTypeError(std::string(op) + ": " + what + " must be an integer; a " + Py_TYPE(object)->tp_name +
                     " was given.");
  }
  const long long value = PyLong_AsLongLong(index.get());
  if (value == -1 && PyErr_Occurred()) throw PythonError{};
  return value;
}

bool bool_from(PyObject* object, bool missing) {
  if (!object || object == Py_None) return missing;
  const int truth = PyObject_IsTrue(object);
  if (truth < 0) throw PythonError{};
  return truth;
}

Dims dims_from(const char* op, const char* what, PyObject* object) {
  Dims out;
  if (PyTuple_Check(object) || PyList_Check(object)) {
    Ref items(checked(PySequence_Tuple(object)));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.get()); ++i) {
      out.push_back(int_from(op, what, PyTuple_GET_ITEM(items.get(), i)));
    }
  } else {
    out.push_back(int_from(op, what, object));
  }
  return out;
}

Dims axes_from(const char* op, PyObject* axis, int ndim) {
  if (axis && axis != Py_None) return normalize_axes(op, dims_from(op, "axis", axis), ndim);
  Dims all;
  for (int i = 0; i < ndim; ++i) all.push_back(i);
  return all;
}

}  // namespace dualtape::bindings
