// SPDX-License-Identifier: MIT
#include "bindings/optim_leaves.hpp"

#include <pybind11/numpy.h>

#include "dualtape/tape/recorder.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

using Npy = py::detail::npy_api;
constexpr int kReadable = Npy::NPY_ARRAY_C_CONTIGUOUS_ | Npy::NPY_ARRAY_ALIGNED_;

bool is_ndarray(PyObject* object) { return Npy::get().PyArray_Check_(object); }

/// NumPy's one object for each native dtype.
PyObject* native_dtype(DType dtype) {
  static PyObject* const f64 = py::dtype::of<double>().release().ptr();
  static PyObject* const f32 = py::dtype::of<float>().release().ptr();
  return dtype == DType::f64 ? f64 : f32;
}

/// A new ndarray and its memory.
PyObject* new_ndarray(DType dtype, Shape shape, void** memory) {
  const Npy& npy = Npy::get();
  PyObject* array = checked(
      npy.PyArray_NewFromDescr_(npy.PyArray_Type_, Py_NewRef(native_dtype(dtype)), static_cast<int>(shape.size()),
                                reinterpret_cast<const Py_intptr_t*>(shape.data()), nullptr, nullptr, 0, nullptr));
  *memory = py::detail::array_proxy(array)->data;
  return array;
}

}  // namespace

bool Source::read(PyObject* leaf) {
  if (is_dlarray(leaf)) {
    kind = Kind::dlarray;
    const Var& var = var_of(leaf);
    if (!array::is_float(var.dtype())) return false;
    live = var.is_dual() || tape::Tape::of(var) || tape::is_recorded(var);
    dtype = var.dtype(), ndim = var.ndim(), size = var.size();
    writable = var.value().contiguous() && var.value().unique() &&
               !(as_dlarray(leaf)->extras && as_dlarray(leaf)->extras->view);
    if (var.value().is_scalar()) {
      memory = var.value().raw_data();
    } else {
      held = var.value().as_contiguous();
      memory = held.raw_data(), extents = held.shape().data();
    }
  } else if (PyFloat_Check(leaf) || (PyLong_Check(leaf) && !PyBool_Check(leaf))) {
    kind = Kind::number;
    number = PyFloat_AsDouble(leaf);
    if (number == -1.0 && PyErr_Occurred()) return PyErr_Clear(), false;
  } else if (is_ndarray(leaf)) {
    kind = Kind::ndarray;
    const auto* proxy = py::detail::array_proxy(leaf);
    dtype = proxy->descr == native_dtype(DType::f32) ? DType::f32 : DType::f64;
    if (proxy->descr != native_dtype(dtype) || (proxy->flags & kReadable) != kReadable) return false;
    writable = proxy->flags & Npy::NPY_ARRAY_WRITEABLE_;
    memory = proxy->data, ndim = proxy->nd;
    extents = reinterpret_cast<const std::int64_t*>(proxy->dimensions);
    size = element_count(shape());
  } else {
    return false;
  }
  object = Ref(Py_NewRef(leaf));
  return true;
}

Var Source::var() const { return kind == Kind::number ? Var(number) : operand("update", object.get()); }

bool Leaves::collect(PyObject* param, PyObject* grad, PyObject* const* states) {
  PyObject* parts[optim::kMaxStates] = {};
  const auto same_type = [&](PyTypeObject* type) {
    bool same = Py_TYPE(grad) == type;
    for (int k = 0; k < state_count_; ++k) same = same && (!states[k] || Py_TYPE(states[k]) == type);
    return same;
  };
  if (PyTuple_CheckExact(param) || PyList_CheckExact(param)) {
    if (!same_type(Py_TYPE(param)) || Py_EnterRecursiveCall(" in a tree of parameters")) return PyErr_Clear(), false;
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(param);
    bool fits = PySequence_Fast_GET_SIZE(grad) == count;
    for (int k = 0; k < state_count_; ++k) fits = fits && (!states[k] || PySequence_Fast_GET_SIZE(states[k]) == count);
    for (Py_ssize_t i = 0; fits && i < count; ++i) {
      for (int k = 0; k < state_count_; ++k) parts[k] = states[k] ? PySequence_Fast_GET_ITEM(states[k], i) : nullptr;
      fits = collect(PySequence_Fast_GET_ITEM(param, i), PySequence_Fast_GET_ITEM(grad, i), parts);
    }
    Py_LeaveRecursiveCall();
    return fits;
  }
  if (PyDict_CheckExact(param)) {
    if (!same_type(&PyDict_Type) || Py_EnterRecursiveCall(" in a tree of parameters")) return PyErr_Clear(), false;
    bool fits = PyDict_GET_SIZE(grad) == PyDict_GET_SIZE(param);
    for (int k = 0; k < state_count_; ++k) {
      fits = fits && (!states[k] || PyDict_GET_SIZE(states[k]) == PyDict_GET_SIZE(param));
    }
    PyObject *key, *value;
    for (Py_ssize_t i = 0; fits && PyDict_Next(param, &i, &key, &value);) {
      fits = PyUnicode_CheckExact(key);  // looking up other keys may run Python code
      PyObject* other = fits ? PyDict_GetItemWithError(grad, key) : nullptr;
      fits = other != nullptr;
      for (int k = 0; fits && k < state_count_; ++k) {
        parts[k] = states[k] ? PyDict_GetItemWithError(states[k], key) : nullptr;
        fits = parts[k] || !states[k];
      }
      fits = fits && collect(value, other, parts);
    }
    Py_LeaveRecursiveCall();
    return fits;
  }
  if (param == Py_None) return same_type(Py_TYPE(Py_None));
  Leaf& leaf = leaves_.emplace_back();
  if (!leaf.param().read(param) || !leaf.grad.read(grad)) return false;
  for (int k = 0; k < state_count_; ++k) {
    if (states[k] && !leaf.sources[1 + k].read(states[k])) return false;
  }
  return true;
}

bool Leaves::fit(bool in_place) {
  for (Leaf& leaf : leaves_) {
    const Source& param = leaf.param();
    if (!same_shape(leaf.grad.shape(), param.shape())) return false;
    if (leaf.grad.dtype != param.dtype && !leaf.grad.live) {
      leaf.grad.held = leaf.grad.var().value().as_contiguous().cast(param.dtype);
      leaf.grad.memory = leaf.grad.held.raw_data(), leaf.grad.kind = Source::Kind::dlarray,
      leaf.grad.dtype = param.dtype;
    }
    for (int k = 0; k < tree_count(); ++k) {
      const Source& source = leaf.sources[k];
      if (source.kind == Source::Kind::absent) {
        if (in_place) return false;
        continue;
      }
      if (source.dtype != param.dtype || !same_shape(source.shape(), param.shape())) return false;
      if (in_place && (source.live || source.kind == Source::Kind::number ||
                       (source.kind == Source::Kind::ndarray && !source.writable))) {
        return false;
      }
    }
    if (in_place && leaf.grad.live) return false;
  }
  return true;
}

bool Leaves::any_live() const {
  for (const Leaf& leaf : leaves_) {
    if (leaf.grad.live) return true;
    for (const Source& source : leaf.sources) {
      if (source.live) return true;
    }
  }
  return false;
}

std::int64_t Leaves::total_size() const {
  std::int64_t total = 0;
  for (const Leaf& leaf : leaves_) total += leaf.sources[0].size;
  return total;
}

void Leaves::allocate(bool in_place) {
  for (Leaf& leaf : leaves_) {
    const Source& param = leaf.param();
    for (int k = 0; k < tree_count(); ++k) {
      Target& target = leaf.targets[k];
      const Source& source = leaf.sources[k];
      if (in_place && source.writable) {
        target.memory = const_cast<void*>(source.data());
      } else if (!in_place && param.kind == Source::Kind::ndarray) {
        target.made = Ref(new_ndarray(param.dtype, param.shape(), &target.memory));
      } else {
        target.array = Array::empty(param.dtype, param.shape());
        target.memory = target.array.raw_writable_data();
      }
    }
  }
}

void Leaves::finish(bool in_place) {
  for (Leaf& leaf : leaves_) {
    for (int k = 0; k < tree_count(); ++k) {
      Target& target = leaf.targets[k];
      PyObject* object = leaf.sources[k].object.get();
      if (!in_place) {
        if (target.made) continue;
        if (leaf.param().kind == Source::Kind::number) {
          target.made = Ref(checked(PyFloat_FromDouble(target.array.scalar())));
        } else {
          target.made = Ref(make_labelled(Var(std::move(target.array)), labels_of(leaf.param().object.get())));
        }
      } else if (leaf.sources[k].kind == Source::Kind::dlarray) {
        Extras* extras = as_dlarray(object)->extras;
        if (extras && extras->view) {
          const Ref value(make_dlarray(Var(std::move(target.array))));
          if (set_item(object, Py_Ellipsis, value.get()) < 0) throw PythonError{};
        } else {
          if (!leaf.sources[k].writable) as_dlarray(object)->var = Var(std::move(target.array));
          if (extras) ++extras->version;
        }
      }
    }
  }
}

PyObject* Leaves::build(PyObject* like, int which) {
  std::size_t next = 0;
  return build_from(like, which, next);
}

PyObject* Leaves::build_from(PyObject* like, int which, std::size_t& next) {
  if (like == Py_None) return Py_NewRef(Py_None);
  if (PyTuple_CheckExact(like) || PyList_CheckExact(like)) {
    const bool is_tuple = PyTuple_CheckExact(like);
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(like);
    Ref out(checked(is_tuple ? PyTuple_New(count) : PyList_New(count)));
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyObject* part = build_from(PySequence_Fast_GET_ITEM(like, i), which, next);
      is_tuple ? PyTuple_SET_ITEM(out.get(), i, part) : PyList_SET_ITEM(out.get(), i, part);
    }
    return out.release();
  }
  if (PyDict_CheckExact(like)) {
    Ref out(checked(PyDict_New()));
    PyObject *key, *value;
    for (Py_ssize_t i = 0; PyDict_Next(like, &i, &key, &value);) {
      const Ref part(build_from(value, which, next));
      if (PyDict_SetItem(out.get(), key, part.get()) < 0) throw PythonError{};
    }
    return out.release();
  }
  if (next == leaves_.size()) {
    PyErr_SetString(PyExc_RuntimeError, "update: the tree of parameters was changed by another thread meanwhile.");
    throw PythonError{};
  }
  return leaves_[next++].targets[which].made.release();
}

}  // namespace dualtape::bindings
