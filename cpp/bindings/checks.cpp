// SPDX-License-Identifier: MIT
#include "bindings/checks.hpp"

#include <pybind11/numpy.h>

#include <cmath>
#include <cstring>

#include "bindings/program.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

PyTypeObject* checks_type = nullptr;

/// What a dlarray stands for, as something that changes when it gets another value while the old one is held.
struct Mark {
  bool scalar;
  double number;
  const void* memory;
  std::int64_t offset;
};

Mark mark_of(PyObject* array) {
  const Array& value = var_of(array).value();
  if (value.is_scalar()) return {true, value.scalar(), nullptr, 0};
  return {false, 0.0, value.buffer().data(), value.offset()};
}

struct Check {
  enum class Kind : std::uint8_t {
    entry,     // owner[key] is value
    cell,      // the content of the cell owner is value
    code,      // the code of the function owner is key, its defaults are value
    length,    // the sequence owner is `number` long
    item,      // owner[number] is value
    keys,      // the keys of the dict owner are the tuple value, in this order
    dlarray,   // owner has the value `mark`, which `value` keeps alive
    readonly,  // none of the ndarrays in the tuple owner can be written to
    call,      // owner() is true
  };
  Kind kind;
  PyObject *label, *owner, *key, *value;
  Py_ssize_t number;
  Mark mark;
};

struct Checks {
  PyObject_HEAD std::vector<Check>* checks;
};

std::vector<Check>& checks_of(PyObject* self) { return *reinterpret_cast<Checks*>(self)->checks; }

bool same_float(double a, double b) {
  return a == b ? std::signbit(a) == std::signbit(b) : std::isnan(a) && std::isnan(b);
}

/// The same object, or an equal number or string of the same type.
bool same(PyObject* now, PyObject* before) {
  if (now == before) return true;
  if (!now || !before || Py_TYPE(now) != Py_TYPE(before)) return false;
  if (PyFloat_Check(now)) return same_float(PyFloat_AS_DOUBLE(now), PyFloat_AS_DOUBLE(before));
  if (!PyLong_Check(now) && !PyComplex_Check(now) && !PyUnicode_Check(now) && !PyBytes_Check(now)) return false;
  Ref kept(Py_NewRef(now));
  const int equal = PyObject_RichCompareBool(now, before, Py_EQ);
  if (equal < 0) throw PythonError{};
  return equal == 1;
}

bool is_writable(PyObject* ndarray) {
  return py::detail::array_proxy(ndarray)->flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
}

bool same_entry(const Check& check) {
  if (PyDict_Check(check.owner)) {
    PyObject* now = PyDict_GetItemWithError(check.owner, check.key);
    if (!now && PyErr_Occurred()) throw PythonError{};
    return same(now, check.value);
  }
  Ref now(PyObject_GetItem(check.owner, check.key));  // of a class, say
  if (!now) {
    if (!PyErr_ExceptionMatches(PyExc_KeyError)) throw PythonError{};
    PyErr_Clear();
    return false;
  }
  return same(now.get(), check.value);
}

bool same_item(const Check& check) {
  if (PyList_CheckExact(check.owner)) {
    return check.number < PyList_GET_SIZE(check.owner) && same(PyList_GET_ITEM(check.owner, check.number), check.value);
  }
  Ref now(checked(PySequence_GetItem(check.owner, check.number)));
  return same(now.get(), check.value);
}

bool same_keys(const Check& check) {
  if (PyDict_GET_SIZE(check.owner) != PyTuple_GET_SIZE(check.value)) return false;
  Ref now(checked(PySequence_List(check.owner)));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(check.value); ++i) {
    PyObject *a = PyList_GET_ITEM(now.get(), i), *b = PyTuple_GET_ITEM(check.value, i);
    if (a == b) continue;
    const int equal = PyObject_RichCompareBool(a, b, Py_EQ);
    if (equal < 0) throw PythonError{};
    if (!equal) return false;
  }
  return true;
}

bool holds(const Check& check) {
  switch (check.kind) {
    case Check::Kind::entry:
      return same_entry(check);
    case Check::Kind::cell:
      return same(PyCell_GET(check.owner), check.value);
    case Check::Kind::code: {
      PyObject* defaults = PyFunction_GET_DEFAULTS(check.owner);
      return PyFunction_GET_CODE(check.owner) == check.key && (defaults ? defaults : Py_None) == check.value;
    }
    case Check::Kind::length: {
      const Py_ssize_t length = PyObject_Length(check.owner);
      if (length < 0) throw PythonError{};
      return length == check.number;
    }
    case Check::Kind::item:
      return same_item(check);
    case Check::Kind::keys:
      return same_keys(check);
    case Check::Kind::dlarray: {
      const Mark now = mark_of(check.owner);
      return now.scalar == check.mark.scalar && same_float(now.number, check.mark.number) &&
             now.memory == check.mark.memory && now.offset == check.mark.offset;
    }
    case Check::Kind::readonly:
      for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(check.owner); ++i) {
        if (is_writable(PyTuple_GET_ITEM(check.owner, i))) return false;
      }
      return true;
    case Check::Kind::call: {
      Ref function(Py_NewRef(check.owner));
      Ref answer(checked(PyObject_CallNoArgs(function.get())));
      const int truth = PyObject_IsTrue(answer.get());
      if (truth < 0) throw PythonError{};
      return truth == 1;
    }
  }
  return false;
}

/// The first check that does not hold, or null. A check in Python may add to the list, so it is read by number.
const Check* first_changed(PyObject* self) {
  const std::vector<Check>& checks = checks_of(self);
  for (std::size_t i = 0; i < checks.size(); ++i) {
    if (!holds(checks[i])) return &checks[i];
  }
  return nullptr;
}

// ---- the type -------------------------------------------------------------------------------------------------

PyObject* add(PyObject* self, Check check) {
  for (PyObject* part : {check.label, check.owner, check.key, check.value}) Py_XINCREF(part);
  checks_of(self).push_back(check);
  Py_RETURN_NONE;
}

/// A method whose arguments are a label and so many further objects.
template <Py_ssize_t count, class Body>
PyObject* adding(const char* name, Py_ssize_t given, Body&& body) {
  if (given != count) return PyErr_Format(PyExc_TypeError, "%s takes %zd arguments; got %zd", name, count, given);
  return guarded(body);
}

PyObject* add_entry(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  return adding<4>("entry", n, [&] {
    return add(self, {Check::Kind::entry, args[0], args[1], args[2], args[3], 0, {}});
  });
}

PyObject* add_cell(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  return adding<3>("cell", n, [&]() -> PyObject* {
    if (!PyCell_Check(args[1])) return PyErr_Format(PyExc_TypeError, "cell: a cell must be given");
    return add(self, {Check::Kind::cell, args[0], args[1], nullptr, args[2], 0, {}});
  });
}

PyObject* add_code(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  return adding<2>("code", n, [&]() -> PyObject* {
    if (!PyFunction_Check(args[1])) return PyErr_Format(PyExc_TypeError, "code: a function must be given");
    PyObject* defaults = PyFunction_GET_DEFAULTS(args[1]);
    return add(
        self,
        {Check::Kind::code, args[0], args[1], PyFunction_GET_CODE(args[1]), defaults ? defaults : Py_None, 0, {}});
  });
}

PyObject* add_length(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  return adding<2>("length", n, [&]() -> PyObject* {
    const Py_ssize_t length = PyObject_Length(args[1]);
    if (length < 0) return nullptr;
    return add(self, {Check::Kind::length, args[0], args[1], nullptr, nullptr, length, {}});
  });
}

PyObject* add_item(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  return adding<3>("item", n, [&]() -> PyObject* {
    const Py_ssize_t number = PyLong_AsSsize_t(args[2]);
    if (number == -1 && PyErr_Occurred()) return nullptr;
    Ref value(PySequence_GetItem(args[1], number));
    if (!value) return nullptr;
    return add(self, {Check::Kind::item, args[0], args[1], nullptr, value.get(), number, {}});
  });
}

PyObject* add_keys(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  return adding<2>("keys", n, [&]() -> PyObject* {
    if (!PyDict_Check(args[1])) return PyErr_Format(PyExc_TypeError, "keys: a dict must be given");
    Ref keys(checked(PySequence_Tuple(args[1])));
    return add(self, {Check::Kind::keys, args[0], args[1], nullptr, keys.get(), 0, {}});
  });
}

PyObject* add_dlarray(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  return adding<2>("dlarray", n, [&]() -> PyObject* {
    if (!is_dlarray(args[1])) return PyErr_Format(PyExc_TypeError, "dlarray: a dlarray must be given");
    // Whoever writes to the array while its value is held writes to a copy, and the mark changes.
    Ref held(make_dlarray(Var(var_of(args[1]).value())));
    return add(self, {Check::Kind::dlarray, args[0], args[1], nullptr, held.get(), 0, mark_of(args[1])});
  });
}

PyObject* add_readonly(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  return adding<2>("readonly", n, [&]() -> PyObject* {
    Ref arrays(checked(PySequence_Tuple(args[1])));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(arrays.get()); ++i) {
      if (!py::isinstance<py::array>(PyTuple_GET_ITEM(arrays.get(), i))) {
        return PyErr_Format(PyExc_TypeError, "readonly: ndarrays must be given");
      }
    }
    return add(self, {Check::Kind::readonly, args[0], arrays.get(), nullptr, nullptr, 0, {}});
  });
}

PyObject* add_call(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  return adding<2>("call", n, [&] {
    return add(self, {Check::Kind::call, args[0], args[1], nullptr, nullptr, 0, {}});
  });
}

PyObject* changed(PyObject* self, PyObject*) {
  return guarded([&] {
    const Check* found = first_changed(self);
    return Py_NewRef(found ? found->label : Py_None);
  });
}

PyObject* labels(PyObject* self, PyObject*) {
  return guarded([&] {
    const std::vector<Check>& checks = checks_of(self);
    Ref out(checked(PyList_New(static_cast<Py_ssize_t>(checks.size()))));
    for (std::size_t i = 0; i < checks.size(); ++i) {
      PyList_SET_ITEM(out.get(), static_cast<Py_ssize_t>(i), Py_NewRef(checks[i].label));
    }
    return out.release();
  });
}

int clear(PyObject* self) {
  if (!reinterpret_cast<Checks*>(self)->checks) return 0;
  std::vector<Check> gone;
  std::swap(gone, checks_of(self));
  for (const Check& check : gone) {
    for (PyObject* part : {check.label, check.owner, check.key, check.value}) Py_XDECREF(part);
  }
  return 0;
}

PyObject* clear_checks(PyObject* self, PyObject*) {
  clear(self);
  Py_RETURN_NONE;
}

PyObject* make(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* self = type->tp_alloc(type, 0);
  if (self) reinterpret_cast<Checks*>(self)->checks = new std::vector<Check>;
  return self;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!reinterpret_cast<Checks*>(self)->checks) return 0;
  for (const Check& check : checks_of(self)) {
    for (PyObject* part : {check.label, check.owner, check.key, check.value}) Py_VISIT(part);
  }
  return 0;
}

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  clear(self);
  delete reinterpret_cast<Checks*>(self)->checks;
  type->tp_free(self);
  Py_DECREF(type);
}

PyCFunction fast(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

}  // namespace

bool is_checks(PyObject* object) { return Py_TYPE(object) == checks_type; }
bool unchanged(PyObject* checks) { return first_changed(checks) == nullptr; }

void bind_checks(py::module_& module) {
  static PyMethodDef methods[] = {
      {"entry", fast(add_entry), METH_FASTCALL, "entry($self, label, owner, key, value, /)\n--\n\nA value in a dict."},
      {"cell", fast(add_cell), METH_FASTCALL, "cell($self, label, cell, value, /)\n--\n\nA variable of a closure."},
      {"code", fast(add_code), METH_FASTCALL, "code($self, label, function, /)\n--\n\nCode and defaults."},
      {"length", fast(add_length), METH_FASTCALL, "length($self, label, sequence, /)\n--\n\nA number of items."},
      {"item", fast(add_item), METH_FASTCALL, "item($self, label, sequence, number, /)\n--\n\nAn item."},
      {"keys", fast(add_keys), METH_FASTCALL, "keys($self, label, owner, /)\n--\n\nThe keys of a dict."},
      {"dlarray", fast(add_dlarray), METH_FASTCALL, "dlarray($self, label, array, /)\n--\n\nThe value of a dlarray."},
      {"readonly", fast(add_readonly), METH_FASTCALL,
       "readonly($self, label, arrays, /)\n--\n\nThat nobody has made ndarrays writable."},
      {"call", fast(add_call), METH_FASTCALL, "call($self, label, check, /)\n--\n\nA function that says whether."},
      {"changed", changed, METH_NOARGS, "changed($self, /)\n--\n\nThe label of the first change, or None."},
      {"labels", labels, METH_NOARGS, "labels($self, /)\n--\n\nWhat is checked."},
      {"clear", clear_checks, METH_NOARGS, "clear($self, /)\n--\n\nForget all."},
      {nullptr, nullptr, 0, nullptr}};
  PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("What a trace relies on.")},
                         {Py_tp_new, reinterpret_cast<void*>(make)},
                         {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                         {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                         {Py_tp_clear, reinterpret_cast<void*>(clear)},
                         {Py_tp_methods, methods},
                         {0, nullptr}};
  PyType_Spec spec{"dualtape._core.Checks", sizeof(Checks), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};
  checks_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  module.attr("Checks") = py::handle(reinterpret_cast<PyObject*>(checks_type));
}

}  // namespace dualtape::bindings
