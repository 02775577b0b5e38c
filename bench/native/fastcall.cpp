// SPDX-License-Identifier: MIT
// Value and gradient of the seed's loss as a function of Python's, written by hand against its C interface: floats in,
// a tuple out. No call from Python is quicker. Start with `slope`.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject* slope(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "slope takes two numbers");
    return nullptr;
  }
  const double x1 = PyFloat_AsDouble(arguments[0]), x2 = PyFloat_AsDouble(arguments[1]);
  if (PyErr_Occurred()) return nullptr;
  const double a = x2 - x1 * x1, b = 1.0 - x1;
  const double d2 = 2.0 * a;
  const double numbers[] = {a * a + b * b, -2.0 * (d2 * x1 + b), d2};
  PyObject* result = PyTuple_New(3);
  if (!result) return nullptr;
  for (Py_ssize_t i = 0; i < 3; ++i) {
    PyObject* number = PyFloat_FromDouble(numbers[i]);
    if (!number) {
      Py_DECREF(result);
      return nullptr;
    }
    PyTuple_SET_ITEM(result, i, number);
  }
  return result;
}

static PyMethodDef methods[] = {
    {"slope", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(slope)), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr}};
static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "fastcall", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit_fastcall() { return PyModule_Create(&definition); }
