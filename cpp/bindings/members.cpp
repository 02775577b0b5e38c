// SPDX-License-Identifier: MIT
// Properties and methods of dlarray that are not functions of the module: what it is, how it prints, and how its
// elements leave it.
#include <algorithm>
#include <cstring>
#include <vector>

#include "bindings/dlarray.hpp"
#include "bindings/functions.hpp"
#include "bindings/slots.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"
#include "dualtape/tape/tape.hpp"

namespace dualtape::bindings {
namespace {

/// True where leaving the array would lose a derivative.
bool is_tracked(const Var& var) { return var.is_dual() || tape::Tape::of(var); }

void refuse_tracked(const char* what, const Var& var) {
  if (!is_tracked(var)) return;
  throw TraceError(
      std::string(what) + to_string(var.shape()) +
      ": the array is being differentiated, and its numbers alone would lose the derivative; use functions of "
      "dualtape or NumPy on the dlarray itself (dualtape.numpy.array joins several), or extractdata(x) to cut it off "
      "on "
      "purpose.");
}

PyObject* ints(Shape values) {
  Ref out(checked(PyTuple_New(static_cast<Py_ssize_t>(values.size()))));
  for (std::size_t i = 0; i < values.size(); ++i)
    PyTuple_SET_ITEM(out.get(), static_cast<Py_ssize_t>(i), checked(PyLong_FromLongLong(values[i])));
  return out.release();
}

template <auto body>
PyObject* getter(PyObject* self, void*) {
  return guarded([&]() -> PyObject* { return body(self, var_of(self)); });
}

PyObject* get_shape(PyObject*, const Var& x) { return ints(x.shape()); }
PyObject* get_ndim(PyObject*, const Var& x) { return PyLong_FromLong(x.ndim()); }
PyObject* get_size(PyObject*, const Var& x) { return PyLong_FromLongLong(x.size()); }
PyObject* get_nbytes(PyObject*, const Var& x) { return PyLong_FromLongLong(x.size() * item_size(x.dtype())); }
/// A Series has 3000, a DataFrame 4000: https://pandas.pydata.org/docs/development/extending.html
PyObject* get_pandas_priority(PyObject*, const Var&) { return PyLong_FromLong(10000); }
PyObject* get_itemsize(PyObject*, const Var& x) { return PyLong_FromLongLong(item_size(x.dtype())); }
PyObject* get_dtype(PyObject*, const Var& x) {
  return PyObject_CallOneArg(numpy_attribute("dtype"), numpy_dtype(x.dtype()));
}
PyObject* get_tracked(PyObject*, const Var& x) { return PyBool_FromLong(is_tracked(x)); }
PyObject* get_transposed(PyObject* self, const Var&) { return PyObject_CallMethod(self, "transpose", nullptr); }
PyObject* get_matrix_transposed(PyObject* self, const Var& x) {
  if (x.ndim() < 2) {
    throw ShapeError("mT(" + to_string(x.shape()) + "): there are no matrices; give an array of 2 axes or more.");
  }
  return PyObject_CallMethod(self, "swapaxes", "ii", -2, -1);
}
PyObject* get_device(PyObject*, const Var&) { return PyUnicode_FromString("cpu"); }
PyObject* get_real(PyObject* self, const Var&) { return Py_NewRef(self); }
PyObject* get_imag(PyObject* self, const Var&) {
  return PyObject_CallOneArg(package_attribute("dualtape.numpy", "imag"), self);
}
PyObject* get_dims(PyObject* self, const Var&) {
  PyObject* labels = labels_of(self);
  return labels ? Py_NewRef(labels) : PyUnicode_FromString("");
}

PyGetSetDef properties[] = {
    {"shape", getter<get_shape>, nullptr, "Extents of the axes.", nullptr},
    {"ndim", getter<get_ndim>, nullptr, "Number of axes.", nullptr},
    {"size", getter<get_size>, nullptr, "Number of elements.", nullptr},
    {"nbytes", getter<get_nbytes>, nullptr, "Bytes of the elements.", nullptr},
    {"itemsize", getter<get_itemsize>, nullptr, "Bytes of one element.", nullptr},
    {"dtype", getter<get_dtype>, nullptr, "NumPy dtype of the elements.", nullptr},
    {"T", getter<get_transposed>, nullptr, "A view with the axes reversed.", nullptr},
    {"mT", getter<get_matrix_transposed>, nullptr, "A view with the last two axes exchanged.", nullptr},
    {"device", getter<get_device>, nullptr, "Where the elements are: 'cpu'.", nullptr},
    {"real", getter<get_real>, nullptr, "The array itself.", nullptr},
    {"imag", getter<get_imag>, nullptr, "Zeros.", nullptr},
    {"dims", getter<get_dims>, nullptr, "Labels of the axes, a str of S, C, B, T, U; empty without labels.", nullptr},
    {"__pandas_priority__", getter<get_pandas_priority>, nullptr,
     "Above those of pandas' classes, so that they leave arithmetic with dlarrays to these.", nullptr},
    {"tracked", getter<get_tracked>, nullptr, "Whether a derivative passes through this value now.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyObject* repr(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const Var& x = var_of(self);
    Ref text;
    if (x.value().is_scalar()) {
      Ref number(checked(PyFloat_FromDouble(x.value().scalar())));
      text = Ref(checked(PyObject_Repr(number.get())));
    } else {
      Ref numbers(checked(to_numpy(x.value().untraced(), false)));
      PyObject* args[] = {numbers.get(), Py_None, Py_None, Py_None};
      static PyObject* prefix = PyUnicode_FromString("dlarray(");
      static PyObject* names = Py_BuildValue("(ss)", "separator", "prefix");
      static PyObject* separator = PyUnicode_FromString(", ");
      args[1] = separator;
      args[2] = prefix;
      text = Ref(checked(PyObject_Vectorcall(numpy_attribute("array2string"), args, 1, names)));
    }
    std::string tail;
    if (PyObject* labels = labels_of(self)) tail += ", '" + std::string(PyUnicode_AsUTF8(labels)) + "'";
    if (x.dtype() != DType::f64) tail += ", dtype=" + std::string(array::name(x.dtype()));
    if (x.is_dual()) tail += ", dual";
    if (tape::Tape::of(x)) tail += ", tracked";
    if (x.value().trace()) tail += ", traced";
    return PyUnicode_FromFormat("dlarray(%U%s)", text.get(), tail.c_str());
  });
}

PyObject* str(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const Var& x = var_of(self);
    if (x.value().is_scalar()) {
      Ref number(checked(PyFloat_FromDouble(x.value().scalar())));
      return PyObject_Str(number.get());
    }
    Ref numbers(checked(to_numpy(x.value().untraced(), false)));
    return PyObject_Str(numbers.get());
  });
}

// Ways out. Those that would silently drop a derivative refuse.

PyObject* to_array(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* keywords[] = {"dtype", "copy", nullptr};
  PyObject *dtype = Py_None, *copy = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:__array__", const_cast<char**>(keywords), &dtype, &copy))
    return nullptr;
  return guarded([&]() -> PyObject* {
    refuse_tracked("numpy.asarray", var_of(self));
    Ref out(checked(to_numpy(var_of(self).value(), copy == Py_True)));
    if (dtype == Py_None) return out.release();
    return PyObject_CallMethod(out.get(), "astype", "O", dtype);
  });
}

PyObject* numpy_copy(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    refuse_tracked("numpy", var_of(self));
    return to_numpy(var_of(self).value(), true);
  });
}

PyObject* item(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    if (count) {
      Ref key(count == 1 ? Py_NewRef(args[0]) : checked(PyTuple_New(count)));
      for (Py_ssize_t i = 0; count > 1 && i < count; ++i) PyTuple_SET_ITEM(key.get(), i, Py_NewRef(args[i]));
      Ref element(checked(get_item(self, key.get())));
      return item(element.get(), nullptr, 0);
    }
    const Array& value = var_of(self).value();
    refuse_recorded("item", value);
    if (value.dtype() == DType::boolean) return PyBool_FromLong(value.item() != 0.0);
    if (value.dtype() == DType::i64) return PyLong_FromLongLong(static_cast<long long>(value.item()));
    return PyFloat_FromDouble(value.item());
  });
}

PyObject* tolist(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    Ref out(checked(to_numpy(var_of(self).value(), false)));
    return PyObject_CallMethod(out.get(), "tolist", nullptr);
  });
}

PyObject* copy(PyObject* self, PyObject*) {
  return guarded([&] {
    const Var& x = var_of(self);
    // A tracked value is never written in place while its tape needs it, so sharing it is a copy already.
    return make_labelled(x.is_dual() || x.has_node() || tape::is_recorded(x) ? x : Var(x.value().copy()),
                         labels_of(self));
  });
}

PyObject* deepcopy(PyObject* self, PyObject*) { return copy(self, nullptr); }

PyObject* reduce(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    refuse_tracked("pickle", var_of(self));
    Ref data(checked(to_numpy(var_of(self).value(), true)));
    PyObject* labels = labels_of(self);
    return Py_BuildValue("O(OO)", reinterpret_cast<PyObject*>(dlarray_type), data.get(), labels ? labels : Py_None);
  });
}

bool runs_backwards(const Array& x) {
  return std::ranges::any_of(x.strides(), [](auto stride) { return stride < 0; });
}

PyObject* dlpack(PyObject* self, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    refuse_tracked("__dlpack__", var_of(self));
    // NumPy speaks DLPack for us. It exports writable memory only to those who don't know the read-only flag, so
    // they get a copy. An axis that runs backwards needs one too: PyTorch ends the process at negative strides.
    PyObject* wish = kwargs ? PyDict_GetItemString(kwargs, "copy") : nullptr;
    const bool straighten = wish != Py_False && runs_backwards(var_of(self).value());
    Ref shared(checked(to_numpy(var_of(self).value(), straighten)));
    Ref method(checked(PyObject_GetAttrString(shared.get(), "__dlpack__")));
    PyObject* capsule = PyObject_Call(method.get(), args, kwargs);
    if (capsule || !PyErr_ExceptionMatches(PyExc_BufferError)) return capsule;
    PyErr_Clear();
    Ref fresh(checked(to_numpy(var_of(self).value(), true)));
    Ref again(checked(PyObject_GetAttrString(fresh.get(), "__dlpack__")));
    return PyObject_Call(again.get(), args, kwargs);
  });
}

PyObject* dlpack_device(PyObject*, PyObject*) { return Py_BuildValue("ii", 1, 0); }

PyObject* format(PyObject* self, PyObject* spec) {
  return guarded([&]() -> PyObject* {
    if (PyUnicode_GET_LENGTH(spec) == 0) return str(self);
    Ref number(checked(item(self, nullptr, 0)));
    return PyObject_Format(number.get(), spec);
  });
}

/// Calls a function of the Python face, so that protocols are written where NumPy is at hand.
PyObject* protocol(const char* name, PyObject* self, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    PyObject* function = package_attribute("dualtape._protocols", name);
    const Py_ssize_t count = PyTuple_GET_SIZE(args);
    Ref all(checked(PyTuple_New(count + 1)));
    PyTuple_SET_ITEM(all.get(), 0, Py_NewRef(self));
    for (Py_ssize_t i = 0; i < count; ++i) PyTuple_SET_ITEM(all.get(), i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
    return PyObject_Call(function, all.get(), kwargs);
  });
}

/// Methods of ndarray that are functions of dualtape.numpy: N(name), and those that are functions of
/// dualtape._protocols: P(name).
#define DUALTAPE_NUMPY_METHODS(N) \
  N(dot)                          \
  N(clip)                         \
  N(round)                        \
  N(cumprod) N(diagonal) N(trace) N(repeat) N(nonzero) N(conj) N(conjugate) N(searchsorted) N(choose) N(argpartition)
#define DUALTAPE_PROTOCOL_METHODS(P)                           \
  P(flatten, "/, order='C'")                                   \
  P(fill, "value, /")                                          \
  P(sort, "/, axis=-1, kind=None, order=None, *, stable=None") \
  P(to_device, "device, /, *, stream=None")

PyObject* numpy_method(const char* name, PyObject* self, PyObject* args, PyObject* kwargs) {
  const Py_ssize_t count = PyTuple_GET_SIZE(args);
  Ref all(PyTuple_New(count + 1));
  if (!all) return nullptr;
  PyTuple_SET_ITEM(all.get(), 0, PyUnicode_FromString(name));
  for (Py_ssize_t i = 0; i < count; ++i) PyTuple_SET_ITEM(all.get(), i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
  return protocol("numpy_method", self, all.get(), kwargs);
}
PyObject* python_round(PyObject* self, PyObject* args) { return numpy_method("round", self, args, nullptr); }

/// A plain call of a ufunc that dualtape has stays out of Python.
PyObject* array_ufunc(PyObject* self, PyObject* args, PyObject* kwargs) {
  const Py_ssize_t count = PyTuple_GET_SIZE(args) - 2;
  if (count > 0 && !(kwargs && PyDict_GET_SIZE(kwargs)) &&
      PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(args, 1), "__call__") == 0) {
    PyObject* result = guarded([&]() -> PyObject* {
      PyObject* function =
          PyDict_GetItemWithError(package_attribute("dualtape._protocols", "UFUNCS"), PyTuple_GET_ITEM(args, 0));
      return function
                 ? PyObject_Vectorcall(function, &PyTuple_GET_ITEM(args, 2), static_cast<std::size_t>(count), nullptr)
                 : nullptr;
    });
    if (result || PyErr_Occurred()) return result;
  }
  return protocol("array_ufunc", self, args, kwargs);
}
PyObject* array_function(PyObject* self, PyObject* args, PyObject* kwargs) {
  return protocol("array_function", self, args, kwargs);
}

PyObject* array_namespace(PyObject* self, PyObject* args, PyObject* kwargs) {
  return protocol("array_namespace", self, args, kwargs);
}

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  return guarded([&]() -> int {
    view->obj = nullptr;
    refuse_tracked("buffer", var_of(self));
    if (flags & PyBUF_WRITABLE) {
      PyErr_SetString(PyExc_BufferError, "dlarray: the memory is read-only for others; assign with x[...] = value.");
      return -1;
    }
    Ref numbers(checked(to_numpy(var_of(self).value(), false)));
    return PyObject_GetBuffer(numbers.get(), view, flags);
  });
}

template <class Function>
PyCFunction as_function(Function function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

}  // namespace

void add_member_slots(std::vector<PyType_Slot>& slots) {
  static std::vector<PyMethodDef> methods;
  methods = {
      {"__array__", as_function(to_array), METH_VARARGS | METH_KEYWORDS,
       "The elements as a read-only ndarray; refuses where a derivative would be lost."},
      {"__array_ufunc__", as_function(array_ufunc), METH_VARARGS | METH_KEYWORDS, "NumPy's ufuncs on dlarrays."},
      {"__array_function__", as_function(array_function), METH_VARARGS | METH_KEYWORDS,
       "NumPy's functions on dlarrays."},
      {"__array_namespace__", as_function(array_namespace), METH_VARARGS | METH_KEYWORDS,
       "__array_namespace__($self, /, *, api_version=None)\n--\n\nThe module of the array-API standard."},
      {"__dlpack__", as_function(dlpack), METH_VARARGS | METH_KEYWORDS, "The elements by DLPack."},
      {"__dlpack_device__", dlpack_device, METH_NOARGS, "__dlpack_device__($self, /)\n--\n\nThe CPU."},
      {"__round__", python_round, METH_VARARGS, "__round__($self, /, ndigits=0)\n--\n\nFor round(x, ndigits)."},
#define DUALTAPE_METHOD(name)                                                 \
  {#name, as_function(+[](PyObject* self, PyObject* args, PyObject* kwargs) { \
     return numpy_method(#name, self, args, kwargs);                          \
   }),                                                                        \
   METH_VARARGS | METH_KEYWORDS, #name "($self, /, *args, **kwargs)\n--\n\nnumpy." #name " of the array."},
      DUALTAPE_NUMPY_METHODS(DUALTAPE_METHOD)
#undef DUALTAPE_METHOD
#define DUALTAPE_METHOD(name, signature)                                                                               \
  {#name,                                                                                                              \
   as_function(+[](PyObject* self, PyObject* args, PyObject* kwargs) { return protocol(#name, self, args, kwargs); }), \
   METH_VARARGS | METH_KEYWORDS, #name "($self, " signature ")\n--\n\nAs the method of other arrays."},
          DUALTAPE_PROTOCOL_METHODS(DUALTAPE_METHOD)
#undef DUALTAPE_METHOD
              {"__reduce__", reduce, METH_NOARGS, "__reduce__($self, /)\n--\n\nFor pickling."},
      {"__copy__", copy, METH_NOARGS, "__copy__($self, /)\n--\n\nFor copy.copy."},
      {"__deepcopy__", deepcopy, METH_O, "__deepcopy__($self, memo, /)\n--\n\nFor copy.deepcopy."},
      {"__format__", format, METH_O, "__format__($self, spec, /)\n--\n\nFormats a single element as a number."},
      {"copy", copy, METH_NOARGS, "copy($self, /)\n--\n\nA copy that assignments to this array do not reach."},
      {"item", as_function(item), METH_FASTCALL,
       "item($self, /, *index)\n--\n\nThe value of an array of one element, or of one element, as a Python number."},
      {"numpy", numpy_copy, METH_NOARGS,
       "numpy($self, /)\n--\n\nA NumPy copy; refuses where a derivative would be lost."},
      {"tolist", tolist, METH_NOARGS, "tolist($self, /)\n--\n\nThe elements as nested lists."},
  };
  for (const PyMethodDef& method : shaped_methods()) methods.push_back(method);
  methods.push_back({nullptr, nullptr, 0, nullptr});
  const PyType_Slot mine[] = {
      {Py_tp_methods, methods.data()},
      {Py_tp_getset, properties},
      {Py_tp_repr, reinterpret_cast<void*>(repr)},
      {Py_tp_str, reinterpret_cast<void*>(str)},
      {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
  };
  slots.insert(slots.end(), std::begin(mine), std::end(mine));
}

}  // namespace dualtape::bindings
