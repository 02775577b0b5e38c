// SPDX-License-Identifier: MIT
// x[key] and x[key] = value. A key is read once into a `Key`. Slices and integers make views; one index array is a
// `take`; any other mixture is resolved by NumPy itself on an array of positions, so its rules hold to the letter.
//
// An assignment gives the array a new value (in the same memory where nobody else sees it). Views follow: each
// knows how it came from its base, reads itself again when the base has been assigned to, and writes back.
#include <algorithm>
#include <utility>

#include "bindings/dlarray.hpp"
#include "bindings/slots.hpp"
#include "dualtape/array/gather.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"

namespace dualtape::bindings {
namespace {

struct Key {
  std::vector<array::Slice> slices;  // one per axis of the array
  Dims sliced;                       // its shape with every axis
  Dims shape;                        // of the result: without integers' axes, with new ones
  std::string labels;                // of the result, where the array has labels
  int advanced_axis = -1;            // the axis with an index array, where it is the only one of its kind
  PyObject* advanced = nullptr;      // borrowed
  bool plain = true;                 // integers, slices, Ellipsis and None only
  bool mixed = false;                // NumPy must resolve it
};

[[noreturn]] void index_error(const std::string& text) {
  PyErr_SetString(PyExc_IndexError, text.c_str());
  throw PythonError{};
}

bool is_integer(PyObject* item) {
  if (PyBool_Check(item)) return false;
  if (PyLong_Check(item)) return true;
  if (is_dlarray(item)) return as_dlarray(item)->var.dtype() == DType::i64 && as_dlarray(item)->var.ndim() == 0;
  return PyIndex_Check(item) && !PySequence_Check(item) && !PyObject_CheckBuffer(item)
             ? true
             : PyIndex_Check(item) && PyObject_HasAttrString(item, "ndim") && !PyObject_HasAttrString(item, "__len__");
}

Key read_key(const Var& x, PyObject* key, PyObject* labels) {
  Key out;
  const Shape shape = x.shape();
  const int ndim = x.ndim();
  PyObject* single[] = {key};
  PyObject** items = single;
  Py_ssize_t count = 1;
  if (PyTuple_Check(key)) {
    items = &PyTuple_GET_ITEM(key, 0);
    count = PyTuple_GET_SIZE(key);
  }
  int given = 0, advanced = 0;
  bool ellipsis = false, others = false;
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (items[i] == Py_Ellipsis) {
      if (ellipsis) index_error("index: only one Ellipsis (...) is possible in an index.");
      ellipsis = true;
    } else if (items[i] == Py_None) {
      others = true;
    } else if (PySlice_Check(items[i])) {
      ++given;
    } else if (is_integer(items[i])) {
      ++given;
      others = true;
    } else {
      ++given;
      ++advanced;
      out.advanced = items[i];
    }
  }
  if (advanced) {
    out.plain = false;
    out.mixed = advanced > 1 || others;
    if (out.mixed) return out;
  } else if (given > ndim) {
    index_error("index: too many indices for an array of shape " + to_string(shape) + "; " + std::to_string(given) +
                " were given.");
  }
  int axis = 0;
  const auto keep = [&](std::int64_t start, std::int64_t step, std::int64_t extent) {
    out.slices.push_back({start, step, extent});
    out.sliced.push_back(extent);
    out.shape.push_back(extent);
    if (labels) out.labels += static_cast<char>(PyUnicode_READ_CHAR(labels, axis));
    ++axis;
  };
  const auto fill = [&](int until) {
    while (axis < until) keep(0, 1, shape[static_cast<std::size_t>(axis)]);
  };
  int remaining = given;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* item = items[i];
    if (item == Py_Ellipsis) {
      fill(ndim - remaining);
    } else if (item == Py_None) {
      out.shape.push_back(1);
      if (labels) out.labels += 'U';
    } else if (PySlice_Check(item)) {
      --remaining;
      if (axis >= ndim) return out.mixed = true, out;
      Py_ssize_t start, stop, step;
      if (PySlice_Unpack(item, &start, &stop, &step) < 0) throw PythonError{};
      const Py_ssize_t extent = PySlice_AdjustIndices(shape[static_cast<std::size_t>(axis)], &start, &stop, step);
      keep(start, step, extent);
    } else if (is_integer(item)) {
      --remaining;
      const std::int64_t extent = shape[static_cast<std::size_t>(axis)];
      std::int64_t index = int_from("index", "an index", item);
      if (index < -extent || index >= extent) {
        index_error("index: " + std::to_string(index) + " is out of range for axis " + std::to_string(axis) +
                    " of extent " + std::to_string(extent) + ".");
      }
      out.slices.push_back({index < 0 ? index + extent : index, 1, 1});
      out.sliced.push_back(1);
      ++axis;
    } else {
      --remaining;
      out.advanced_axis = axis;
      if (axis >= ndim) return out.mixed = true, out;
      keep(0, 1, shape[static_cast<std::size_t>(axis)]);
    }
  }
  fill(ndim);
  return out;
}

/// The key with every array in it as an ndarray, for NumPy.
Ref key_for_numpy(PyObject* key) {
  const auto convert = [](PyObject* item) -> PyObject* {
    if (is_dlarray(item)) {
      refuse_recorded("index", var_of(item).value());
      return checked(to_numpy(var_of(item).value(), false));
    }
    return Py_NewRef(item);
  };
  if (!PyTuple_Check(key)) return Ref(convert(key));
  Ref out(checked(PyTuple_New(PyTuple_GET_SIZE(key))));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key); ++i)
    PyTuple_SET_ITEM(out.get(), i, convert(PyTuple_GET_ITEM(key, i)));
  return out;
}

/// Whether the key has an array of places (int64) or a mask (boolean) that the program being traced computes anew. (A
/// single place becomes a guard instead.)
bool has_recorded(PyObject* key, DType dtype) {
  const auto is_one = [&](PyObject* item) {
    if (!is_dlarray(item)) return false;
    const Array& value = var_of(item).value();
    return value.dtype() == dtype && value.ndim() > 0 && tape::is_recorded(value);
  };
  if (!PyTuple_Check(key)) return is_one(key);
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key); ++i) {
    if (is_one(PyTuple_GET_ITEM(key, i))) return true;
  }
  return false;
}

[[noreturn]] void refuse_trace(std::string text) {
  text += user_location() + ".";
  tape::Recorder::current()->note_refusal(text);
  throw TraceError(text);
}

/// For every element of the result the place in the flat array that it comes from.
Array positions(const Var& x, PyObject* key) {
  Array order = Array::empty(DType::i64, x.shape());
  for (std::int64_t i = 0; i < order.size(); ++i) order.writable_data<std::int64_t>()[i] = i;
  Ref grid(checked(to_numpy(order, false)));
  Ref numpy_key = key_for_numpy(key);
  Ref found(checked(PyObject_GetItem(grid.get(), numpy_key.get())));
  return array_from("index", found.get());
}

/// An index array for one axis; a mask becomes the places where it is true. False where the mask spans more axes.
bool axis_index(const Var& x, const Key& key, Array& out) {
  out = operand("index", key.advanced).value();
  refuse_recorded("index", out);
  if (out.dtype() == DType::i64) return true;
  if (PyList_Check(key.advanced) && out.dtype() == DType::f64) {
    // A list of Python integers; anything else in it NumPy will refuse.
    Ref numbers(checked(PyObject_CallOneArg(numpy_attribute("asarray"), key.advanced)));
    out = array_from("index", numbers.get());
    if (out.size() == 0) out = Array::empty(DType::i64, out.shape());
    if (out.dtype() == DType::i64) return true;
  }
  if (out.dtype() != DType::boolean)
    index_error("index: only integers, slices, Ellipsis, None and integer or boolean arrays can be indices.");
  if (out.ndim() != 1) return false;
  const std::int64_t extent = x.shape()[static_cast<std::size_t>(key.advanced_axis)];
  if (out.size() != extent && out.size() != 0) {  // (as in NumPy, a mask of nothing chooses nothing)
    index_error("index: the mask has " + std::to_string(out.size()) + " elements, axis " +
                std::to_string(key.advanced_axis) + " has " + std::to_string(extent) + ".");
  }
  out = array::flat_nonzero(out);
  return true;
}

PyObject* labels_object(const std::string& labels) {
  return labels.empty() ? nullptr : PyUnicode_FromStringAndSize(labels.data(), static_cast<Py_ssize_t>(labels.size()));
}

Var flatten(Var x) { return tape::reshape(x, Dims{x.size()}); }

/// What the base of a view becomes when the view becomes `value`.
Var written_back(const View& view, const Var& base, const Var& value) {
  switch (view.kind) {
    case View::Kind::slice:
      return tape::write_slice(base, view.slices, tape::reshape(value, view.sliced));
    case View::Kind::reshape:
      return tape::reshape(value, base.shape());
    default:
      break;
  }
  Dims inverse = view.permutation;
  for (int i = 0; i < inverse.size(); ++i) inverse[static_cast<int>(view.permutation[i])] = i;
  return tape::transpose(value, inverse);
}

/// Gives `self` a new value, and its bases the consequence.
void assign(DlArray* self, Var value) {
  std::vector<std::pair<DlArray*, Var>> values;
  for (DlArray* at = self; at->extras && at->extras->view; at = at->extras->view->base) {
    const View& view = *at->extras->view;
    Var base = written_back(view, var_of(reinterpret_cast<PyObject*>(view.base)), value);
    values.emplace_back(at, std::exchange(value, std::move(base)));
  }
  // `value` is what the owner of the memory becomes; from there the views follow outwards.
  DlArray* owner = values.empty() ? self : values.back().first->extras->view->base;
  owner->var = std::move(value);
  if (owner->extras) ++owner->extras->version;
  for (std::size_t i = values.size(); i-- > 0;) {
    auto& [view, now] = values[i];
    view->var = std::move(now);
    view->extras->view->base_version = extras_of(view->extras->view->base).version;
    ++view->extras->version;
  }
}

/// `value` broadcast to the shape of x[key].
Var spread(const Var& value, Shape shape) {
  Dims own(value.shape());
  while (own.size() > static_cast<int>(shape.size()) && own[0] == 1) own.erase(0);
  const Var trimmed = tape::reshape(value, own);
  const Shape shapes[] = {shape, trimmed.shape()};
  if (!same_shape(broadcast_shapes("assignment", shapes), shape)) {
    throw ShapeError("assignment(" + to_string(shape) + ", " + to_string(value.shape()) +
                     "): the value does not fit the place; it must broadcast to the place's shape.");
  }
  return tape::broadcast_to(trimmed, shape);
}

/// Whether a part of a key is a whole number that the body of a rolled loop computes, such as the i of fori_loop.
bool is_computed_index(PyObject* item) {
  if (!is_dlarray(item)) return false;
  const Array& value = var_of(item).value();
  return value.ndim() == 0 && (value.dtype() == DType::i64 || value.weak()) && tape::is_recorded(value);
}

/// x[key] where integers of the key differ from step to step of a rolled loop, so that nothing can be decided on them:
/// they are operands. Null where there are none, or the key is one that this cannot do.
PyObject* computed_item(PyObject* self, PyObject* key) {
  Ref items(PyTuple_Check(key) ? Py_NewRef(key) : checked(PyTuple_Pack(1, key)));
  const Py_ssize_t count = PyTuple_GET_SIZE(items.get());
  Ref rest(checked(PyTuple_New(count)));
  Var x = var_of(self);
  bool any = false;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* item = PyTuple_GET_ITEM(items.get(), i);
    PyTuple_SET_ITEM(rest.get(), i, Py_NewRef(item));
    if (!is_computed_index(item)) {
      if (!PySlice_Check(item) && !is_integer(item)) return nullptr;  // the axis of those behind is not i
      continue;
    }
    if (i >= x.ndim()) return nullptr;
    Dims one(x.shape());
    one[static_cast<int>(i)] = 1;
    const Var index = tape::cast(var_of(item), DType::i64);
    const Var everywhere = tape::broadcast_to(tape::reshape(index, Dims::filled(x.ndim(), 1)), one);
    x = tape::take_along(x, i, everywhere);
    PyTuple_SetItem(rest.get(), i, checked(PyLong_FromLong(0)));
    any = true;
  }
  if (!any) return nullptr;
  Ref taken(make_labelled(std::move(x), labels_of(self)));
  return checked(get_item(taken.get(), rest.get()));
}

}  // namespace

PyObject* get_item(PyObject* self, PyObject* key) {
  return guarded([&]() -> PyObject* {
    if (tape::Recorder::lifting()) {
      if (PyObject* out = computed_item(self, key)) return out;
    }
    const Var& x = var_of(self);
    Key parsed = read_key(x, key, labels_of(self));
    if (parsed.plain) {
      Var value = tape::reshape(tape::slice(x, parsed.slices), parsed.shape);
      if (parsed.shape.empty() && !labels_of(self)) return make_dlarray(std::move(value));
      View view{View::Kind::slice, std::move(parsed.slices), parsed.shape, parsed.sliced, {}, nullptr, 0};
      PyObject* out = make_view(self, std::move(value), std::move(view));
      extras_of(as_dlarray(out)).labels = labels_object(parsed.labels);
      return out;
    }
    if (has_recorded(key, DType::boolean)) {
      refuse_trace(
          "index" + to_string(x.shape()) +
          ": a mask that is a value of the program being traced chooses a number of elements that is not known "
          "yet; use numpy.where(mask, x, 0.0), or the mask as a factor");
    }
    if (has_recorded(key, DType::i64)) {
      if (parsed.mixed) {
        PyObject* operands[] = {self, key};
        return PyObject_Vectorcall(package_attribute("dualtape.numpy._places", "at"), operands, 2, nullptr);
      }
      return make_dlarray(tape::take_at(tape::slice(x, parsed.slices), parsed.advanced_axis, var_of(parsed.advanced)));
    }
    Array index;
    if (!parsed.mixed && axis_index(x, parsed, index)) {
      Var value;
      try {
        value = tape::take(tape::slice(x, parsed.slices), parsed.advanced_axis, index);
      } catch (const ShapeError& error) {
        index_error(error.what());
      }
      Ref labels(index.ndim() == 1 ? labels_object(parsed.labels) : nullptr);
      return make_labelled(std::move(value), labels.get());
    }
    return make_dlarray(tape::take(flatten(x), 0, positions(x, key)));
  });
}

int set_item(PyObject* self, PyObject* key, PyObject* object) {
  return guarded([&]() -> int {
    if (!object)
      throw DTypeError(
          "assignment: elements of an array cannot be deleted; use slices or a boolean mask to select what to keep.");
    DlArray* array = as_dlarray(self);
    const Var& before = var_of(self);
    Var value = operand("assignment", object);
    if (!is_float(before.dtype()) && (value.has_node() || value.is_dual())) {
      throw DTypeError("assignment: a traced value cannot be stored in a " + std::string(array::name(before.dtype())) +
                       " array, which has no derivatives; make the array float64 first.");
    }
    const Key parsed = read_key(before, key, nullptr);
    if (parsed.plain) {
      if (value.ndim() != 0) value = tape::reshape(spread(value, parsed.shape), parsed.sliced);
      // From here on nothing can fail, so the old value may be given away for its memory.
      assign(array, tape::write_slice(std::move(array->var), parsed.slices, value));
      return 0;
    }
    if (has_recorded(key, DType::boolean)) {
      if (is_dlarray(key) && value.ndim() == 0 && same_shape(var_of(key).shape(), before.shape())) {
        const Var operands[] = {var_of(key), tape::cast(value, before.dtype()), before};
        assign(array, tape::apply(ops::Op::where, operands));
        return 0;
      }
      refuse_trace(
          "assignment" + to_string(before.shape()) +
          ": a mask that is a value of the program being traced takes single numbers only, and has the shape of the "
          "array, since its places are not known yet; use "
          "x[...] = numpy.where(mask, value, x)");
    }
    if (has_recorded(key, DType::i64)) {
      PyObject* operands[] = {self, key, object};
      const Ref made(
          checked(PyObject_Vectorcall(package_attribute("dualtape.numpy._places", "assigned"), operands, 3, nullptr)));
      assign(array, var_of(made.get()));
      return 0;
    }
    const Array where = positions(before, key);
    if (value.ndim() != 0) value = spread(value, where.shape());
    const Dims shape(before.shape());
    Var flat = flatten(std::move(array->var));
    assign(array, tape::reshape(tape::put(std::move(flat), 0, where, value), shape));
    return 0;
  });
}

namespace {

Py_ssize_t length(PyObject* self) {
  const Var& x = as_dlarray(self)->var;
  if (x.ndim() == 0) {
    PyErr_SetString(PyExc_TypeError, "len: a scalar dlarray has no length.");
    return -1;
  }
  return static_cast<Py_ssize_t>(x.shape()[0]);
}

PyObject* item_at(PyObject* self, Py_ssize_t i) {
  Ref index(PyLong_FromSsize_t(i));
  return index ? get_item(self, index.get()) : nullptr;
}

/// Whether any element is equal, as NumPy's `in`.
int contains(PyObject* self, PyObject* item) {
  Ref same(PyObject_RichCompare(self, item, Py_EQ));
  if (!same) return -1;
  if (!is_dlarray(same.get())) return PyObject_IsTrue(same.get());
  Ref any(PyObject_CallMethod(same.get(), "any", nullptr));
  return any ? PyObject_IsTrue(any.get()) : -1;
}

PyObject* iterate(PyObject* self) {
  if (as_dlarray(self)->var.ndim() == 0) {
    PyErr_SetString(PyExc_TypeError, "iteration over a scalar dlarray is not possible.");
    return nullptr;
  }
  return PySeqIter_New(self);
}

}  // namespace

void add_indexing_slots(std::vector<PyType_Slot>& slots) {
  const PyType_Slot mine[] = {
      {Py_mp_subscript, reinterpret_cast<void*>(get_item)}, {Py_mp_ass_subscript, reinterpret_cast<void*>(set_item)},
      {Py_mp_length, reinterpret_cast<void*>(length)},      {Py_sq_length, reinterpret_cast<void*>(length)},
      {Py_sq_item, reinterpret_cast<void*>(item_at)},       {Py_tp_iter, reinterpret_cast<void*>(iterate)},
      {Py_sq_contains, reinterpret_cast<void*>(contains)},
  };
  slots.insert(slots.end(), std::begin(mine), std::end(mine));
}

}  // namespace dualtape::bindings
