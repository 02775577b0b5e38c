// SPDX-License-Identifier: MIT
// Making and freeing dlarrays, the views' bookkeeping, and the type with its slots.
#include "bindings/dlarray.hpp"

#include <new>
#include <utility>

#include "bindings/slots.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/functions.hpp"

namespace dualtape::bindings {

PyTypeObject* dlarray_type = nullptr;

namespace {

// Freed objects wait here for reuse; the interpreter lock guards them.
constexpr int kMaxFree = 256;
DlArray* free_objects[kMaxFree];
int free_count = 0;

inline DlArray* new_object() {
  DlArray* object;
  if (free_count) {
    object = free_objects[--free_count];
    // It has kept its reference to the type.
    Py_SET_REFCNT(reinterpret_cast<PyObject*>(object), 1);
  } else {
    object = PyObject_New(DlArray, dlarray_type);
    if (!object) throw PythonError{};
  }
  object->extras = nullptr;
  return object;
}

/// Frees the extras and hands over the reference to the base, or null.
PyObject* drop_extras(DlArray* array) {
  Extras* extras = std::exchange(array->extras, nullptr);
  PyObject* base = nullptr;
  Py_XDECREF(extras->labels);
  if (extras->view) {
    base = reinterpret_cast<PyObject*>(extras->view->base);
    delete extras->view;
  }
  delete extras;
  return base;
}

inline void free_object(DlArray* array) {
  if (free_count < kMaxFree) {
    free_objects[free_count++] = array;
    return;
  }
  PyObject_Free(array);
  Py_DECREF(dlarray_type);
}

[[gnu::noinline]] void dealloc_array(DlArray* array) {
  // A loop, because a view may be the last to hold its base, which may be a view in its turn, and so on.
  while (array) {
    PyObject* base = array->extras ? drop_extras(array) : nullptr;
    array->var.~Var();
    free_object(array);
    if (base && Py_REFCNT(base) > 1) {
      Py_DECREF(base);
      base = nullptr;
    }
    array = base ? as_dlarray(base) : nullptr;
  }
}

void dealloc(PyObject* self) {
  DlArray* array = as_dlarray(self);
  if (is_bare_scalar(array)) return free_object(array);
  dealloc_array(array);
}

PyObject* new_dlarray(PyTypeObject*, PyObject* args, PyObject* kwargs) {
  static const char* keywords[] = {"data", "fmt", "dtype", nullptr};
  PyObject *data = nullptr, *fmt = Py_None, *dtype = nullptr;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O$O:dlarray", const_cast<char**>(keywords), &data, &fmt, &dtype)) {
    return nullptr;
  }
  return guarded([&]() -> PyObject* {
    if (dtype == Py_None) dtype = nullptr;
    PyObject* labels = fmt == Py_None ? labels_of(data) : nullptr;
    Var var;
    if (is_dlarray(data)) {
      // A copy of a tracked array stays tracked: wrapping is no way out of a derivative.
      var = var_of(data);
      if (dtype) var = tape::cast(var, dtype_from("dlarray", dtype));
    } else {
      var = Var(array_from("dlarray", data, dtype));
    }
    if (fmt == Py_None) return make_labelled(std::move(var), labels);
    Ref plain(make_dlarray(std::move(var)));
    return PyObject_CallFunctionObjArgs(package_attribute("dualtape.labels", "label"), plain.get(), fmt, nullptr);
  });
}

/// The value of a view, computed from the base's value.
Var read_view(const View& view, const Var& base) {
  switch (view.kind) {
    case View::Kind::slice:
      return tape::reshape(tape::slice(base, view.slices), view.shape);
    case View::Kind::reshape:
      return tape::reshape(base, view.shape);
    default:
      return tape::transpose(base, view.permutation);
  }
}

/// Reads a view again where its base, which is up to date, has been assigned to.
void refresh(DlArray* array) {
  View& view = *array->extras->view;
  const std::uint32_t version = extras_of(view.base).version;
  if (version == view.base_version) return;
  array->var = read_view(view, view.base->var);
  view.base_version = version;
  ++array->extras->version;
}

/// Where a view and its base, itself a view, are one step of the same kind, makes that the step from the base's base.
void merge(View& view) {
  if (!view.base->extras || !view.base->extras->view) return;
  const View& inner = *view.base->extras->view;
  if (view.kind != inner.kind) return;
  if (view.kind == View::Kind::transpose) {
    for (std::int64_t& axis : view.permutation) axis = inner.permutation[static_cast<int>(axis)];
  } else if (view.kind == View::Kind::slice) {
    if (!(inner.shape == inner.sliced)) return;  // axes were dropped or added in between
    for (std::size_t i = 0; i < view.slices.size(); ++i) {
      const array::Slice &first = inner.slices[i], second = view.slices[i];
      view.slices[i] = {first.start + first.step * second.start, first.step * second.step, second.count};
    }
  }
  view.base = inner.base;
}

}  // namespace

const Var& var_of(PyObject* object) {
  DlArray* array = as_dlarray(object);
  if (!array->extras || !array->extras->view) return array->var;
  // From the innermost base outwards; a loop, because views of views have no bounded depth.
  std::vector<DlArray*> chain;
  for (DlArray* at = array->extras->view->base; at->extras && at->extras->view; at = at->extras->view->base)
    chain.push_back(at);
  for (std::size_t i = chain.size(); i-- > 0;) refresh(chain[i]);
  refresh(array);
  return array->var;
}

Extras& extras_of(DlArray* array) {
  if (!array->extras) array->extras = new Extras;
  return *array->extras;
}

PyObject* make_dlarray(Var var) {
  DlArray* object = new_object();
  new (&object->var) Var(std::move(var));
  return reinterpret_cast<PyObject*>(object);
}

PyObject* make_scalar(double value, std::uint32_t node, std::uint32_t recording) {
  DlArray* object = new_object();
  new (&object->var) Var(Array(value), node, recording);
  return reinterpret_cast<PyObject*>(object);
}

PyObject* make_labelled(Var var, PyObject* labels) {
  PyObject* object = make_dlarray(std::move(var));
  if (labels) extras_of(as_dlarray(object)).labels = Py_NewRef(labels);
  return object;
}

PyObject* make_view(PyObject* self, Var value, View view) {
  PyObject* object = make_dlarray(std::move(value));
  view.base = as_dlarray(self);
  merge(view);
  Py_INCREF(view.base);
  view.base_version = extras_of(view.base).version;
  extras_of(as_dlarray(object)).view = new View(std::move(view));
  return object;
}

PyObject* make_dlarray_type() {
  static std::vector<PyType_Slot> slots;
  slots = {
      {Py_tp_doc, const_cast<char*>(
                      "dlarray(data, fmt=None, *, dtype=None)\n--\n\n"
                      "An array that can be differentiated.\n\n"
                      "Parameters\n----------\n"
                      "data : number, nested sequence, array or dlarray\n"
                      "    Real data; it is copied. Python numbers become float64; float64, float32, integer and bool\n"
                      "    arrays keep their dtype (integers and bools are constants).\n"
                      "fmt : str, optional\n"
                      "    A label for each axis: S (spatial), C (channel), B (batch), T (time), U (unspecified). The\n"
                      "    axes are reordered to S, C, B, T, U.\n"
                      "dtype : dtype, optional\n"
                      "    float64 or float32 (or int64, bool).\n\n"
                      "Raises\n------\n"
                      "DTypeError\n    For text, objects, complex or sparse data.\n")},
      {Py_tp_new, reinterpret_cast<void*>(new_dlarray)},
      {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
      // Identity, since == compares elements.
      {Py_tp_hash, reinterpret_cast<void*>(
#if PY_VERSION_HEX >= 0x030D0000
                       +[](PyObject* self) -> Py_hash_t { return Py_HashPointer(self); }
#else
                       +[](PyObject* self) -> Py_hash_t { return _Py_HashPointer(self); }
#endif
                       )},
  };
  add_arithmetic_slots(slots);
  add_indexing_slots(slots);
  add_member_slots(slots);
  slots.push_back({0, nullptr});
  PyType_Spec spec{"dualtape.dlarray", sizeof(DlArray), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, slots.data()};
  PyObject* type = PyType_FromSpec(&spec);
  dlarray_type = reinterpret_cast<PyTypeObject*>(type);
  return type;
}

}  // namespace dualtape::bindings
