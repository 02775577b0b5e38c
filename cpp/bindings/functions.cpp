// SPDX-License-Identifier: MIT
// Shaped functions. Each is written once, with the array first, and is both a function of the module and a method
// of dlarray (the table at the end). Elementwise functions come from the table of ops and need nothing here but a
// loop (`bind_functions`).
#include "bindings/functions.hpp"

#include <algorithm>

#include "bindings/dlarray.hpp"
#include "bindings/number.hpp"
#include "dualtape/array/elementwise.hpp"
#include "dualtape/array/reduce.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"

namespace dualtape::bindings {
namespace {

using Args = PyObject* const*;
using Impl = PyObject* (*)(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames);

/// The labels that are left when `axes` are reduced.
PyObject* reduced_labels(PyObject* x, const Dims& axes, bool keepdims) {
  PyObject* labels = labels_of(x);
  if (!labels || keepdims) return Py_XNewRef(labels);
  std::string left;
  for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(labels); ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) left += static_cast<char>(PyUnicode_READ_CHAR(labels, i));
  }
  return left.empty() ? nullptr : PyUnicode_FromStringAndSize(left.data(), static_cast<Py_ssize_t>(left.size()));
}

PyObject* with_labels(Var value, Ref labels) { return make_labelled(std::move(value), labels.get()); }

constexpr const char* kReduction[] = {"axis", "keepdims"};

template <auto reduce>
PyObject* reduction(const char* name, PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  PyObject* given[2];
  parse_arguments(name, args, count, kwnames, kReduction, 0, given);
  const Var& var = var_of(x);
  const Dims axes = axes_from(name, given[0], var.ndim());
  const bool keepdims = bool_from(given[1], false);
  return with_labels(Var(reduce(var, axes, keepdims)), Ref(reduced_labels(x, axes, keepdims)));
}

PyObject* sum_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<tape::sum>("sum", x, a, n, k); }
PyObject* mean_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<tape::mean>("mean", x, a, n, k); }
PyObject* prod_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<tape::prod>("prod", x, a, n, k); }
PyObject* max_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<tape::max>("max", x, a, n, k); }
PyObject* min_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<tape::min>("min", x, a, n, k); }
Var any_of(const Var& x, tape::Axes axes, bool keepdims) { return Var(array::any(x.value(), axes, keepdims)); }
Var all_of(const Var& x, tape::Axes axes, bool keepdims) { return Var(array::all(x.value(), axes, keepdims)); }
PyObject* any_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<any_of>("any", x, a, n, k); }
PyObject* all_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<all_of>("all", x, a, n, k); }

PyObject* spread_of(const char* name, bool root, PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"axis", "ddof", "keepdims"};
  PyObject* given[3];
  parse_arguments(name, args, count, kwnames, names, 0, given);
  const Var& var = var_of(x);
  const Dims axes = axes_from(name, given[0], var.ndim());
  const bool keepdims = bool_from(given[2], false);
  const double ddof = given[1] ? PyFloat_AsDouble(given[1]) : 0.0;
  if (PyErr_Occurred()) throw PythonError{};
  Var out = tape::variance(var, axes, keepdims, ddof);
  if (root) out = tape::apply(ops::Op::sqrt, {out});
  return with_labels(std::move(out), Ref(reduced_labels(x, axes, keepdims)));
}
PyObject* var_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return spread_of("var", false, x, a, n, k); }
PyObject* std_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return spread_of("std", true, x, a, n, k); }

template <auto find>
PyObject* arg_extreme(const char* name, PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  PyObject* given[2];
  parse_arguments(name, args, count, kwnames, kReduction, 0, given);
  const Array& value = var_of(x).value();
  std::optional<std::int64_t> axis;
  if (given[0] && given[0] != Py_None) axis = normalize_axis(name, int_from(name, "axis", given[0]), value.ndim());
  return make_dlarray(Var(find(value, axis, bool_from(given[1], false))));
}
PyObject* argmax_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return arg_extreme<array::argmax>("argmax", x, a, n, k); }
PyObject* argmin_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return arg_extreme<array::argmin>("argmin", x, a, n, k); }

PyObject* cumsum_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"axis"};
  PyObject* given[1];
  parse_arguments("cumsum", args, count, kwnames, names, 0, given);
  const Var& var = var_of(x);
  if (!given[0] || given[0] == Py_None) return make_dlarray(tape::cumsum(tape::reshape(var, Dims{var.size()}), 0));
  const int axis = normalize_axis("cumsum", int_from("cumsum", "axis", given[0]), var.ndim());
  return make_labelled(tape::cumsum(var, axis), labels_of(x));
}

/// The axis of a softmax: as given, else the channels of a labelled array, else the last.
int softmax_axis(const char* name, PyObject* x, PyObject* axis) {
  const int ndim = var_of(x).ndim();
  if (axis && axis != Py_None) return normalize_axis(name, int_from(name, "axis", axis), ndim);
  if (PyObject* labels = labels_of(x)) {
    const Py_ssize_t channel = PyUnicode_FindChar(labels, 'C', 0, ndim, 1);
    if (channel >= 0) return static_cast<int>(channel);
  }
  return normalize_axis(name, -1, ndim);
}

template <auto function>
PyObject* softmax_like(const char* name, PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"axis"};
  PyObject* given[1];
  parse_arguments(name, args, count, kwnames, names, 0, given);
  const int axis = softmax_axis(name, x, given[0]);
  return make_labelled(function(var_of(x), axis), labels_of(x));
}
PyObject* softmax_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return softmax_like<tape::softmax>("softmax", x, a, n, k); }
PyObject* log_softmax_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) {
  return softmax_like<tape::log_softmax>("log_softmax", x, a, n, k);
}

PyObject* logsumexp_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  PyObject* given[2];
  parse_arguments("logsumexp", args, count, kwnames, kReduction, 0, given);
  const Var& var = var_of(x);
  const bool keepdims = bool_from(given[1], false);
  const Dims axes = axes_from("logsumexp", given[0], var.ndim());
  if (axes.size() == 1) {
    return with_labels(tape::logsumexp(var, axes[0], keepdims), Ref(reduced_labels(x, axes, keepdims)));
  }
  // Several axes are brought together as one.
  Dims order, shape;
  for (int i = 0; i < var.ndim(); ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) {
      order.push_back(i);
      shape.push_back(var.shape()[static_cast<std::size_t>(i)]);
    }
  }
  std::int64_t merged = 1;
  for (std::int64_t axis : axes) {
    order.push_back(axis);
    merged *= var.shape()[static_cast<std::size_t>(axis)];
  }
  shape.push_back(merged);
  const Var joined = tape::reshape(tape::transpose(var, order), shape);
  return make_dlarray(tape::reshape(tape::logsumexp(joined, joined.ndim() - 1, false), reduced_shape(var.shape(), axes, keepdims)));
}

// Rearranging. Results are views that follow assignments, as NumPy's are.

PyObject* reshaped(PyObject* x, Shape shape) {
  const Var& var = var_of(x);
  Var out = tape::reshape(var, shape);
  if (!var.value().contiguous()) return make_dlarray(std::move(out));
  return make_view(x, std::move(out), View{View::Kind::reshape, {}, Dims(shape), {}, {}, nullptr, 0});
}

PyObject* transposed(PyObject* x, const Dims& permutation) {
  return make_view(x, tape::transpose(var_of(x), permutation), View{View::Kind::transpose, {}, {}, {}, permutation, nullptr, 0});
}

/// Arguments that may come one by one or as one tuple: x.reshape(2, 3) and x.reshape((2, 3)).
Dims spread_dims(const char* name, const char* what, Args args, Py_ssize_t count) {
  if (count == 1) return dims_from(name, what, args[0]);
  Dims out;
  for (Py_ssize_t i = 0; i < count; ++i) out.push_back(int_from(name, what, args[i]));
  return out;
}

PyObject* reshape_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  Dims wanted;
  if (kwnames && PyTuple_GET_SIZE(kwnames)) {
    constexpr const char* names[] = {"shape"};
    PyObject* given[1];
    parse_arguments("reshape", args, count, kwnames, names, 1, given);
    wanted = dims_from("reshape", "an extent", given[0]);
  } else {
    wanted = spread_dims("reshape", "an extent", args, count);
  }
  return reshaped(x, array::infer_shape(var_of(x).shape(), wanted));
}

PyObject* ravel_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  parse_arguments("ravel", args, count, kwnames, {}, 0, nullptr);
  return reshaped(x, Dims{var_of(x).size()});
}

PyObject* transpose_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  const int ndim = var_of(x).ndim();
  PyObject* given[1];
  constexpr const char* names[] = {"axes"};
  if (kwnames && PyTuple_GET_SIZE(kwnames)) {
    parse_arguments("transpose", args, count, kwnames, names, 0, given);
    args = given;
    count = given[0] ? 1 : 0;
  }
  Dims permutation;
  if (count == 0 || (count == 1 && args[0] == Py_None)) {
    for (int i = ndim; i-- > 0;) permutation.push_back(i);
  } else {
    for (std::int64_t axis : spread_dims("transpose", "an axis", args, count)) permutation.push_back(normalize_axis("transpose", axis, ndim));
    Dims sorted = permutation;
    std::sort(sorted.begin(), sorted.end());
    if (sorted.size() != ndim || std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
      throw ShapeError("transpose(" + to_string(var_of(x).shape()) + "): the axes " + to_string(permutation) + " are no permutation; name each axis once.");
    }
  }
  return transposed(x, permutation);
}

PyObject* swapaxes_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"axis1", "axis2"};
  PyObject* given[2];
  parse_arguments("swapaxes", args, count, kwnames, names, 2, given);
  const int ndim = var_of(x).ndim();
  const int first = normalize_axis("swapaxes", int_from("swapaxes", "axis1", given[0]), ndim);
  const int second = normalize_axis("swapaxes", int_from("swapaxes", "axis2", given[1]), ndim);
  Dims permutation;
  for (int i = 0; i < ndim; ++i) permutation.push_back(i);
  std::swap(permutation[first], permutation[second]);
  return transposed(x, permutation);
}

PyObject* moveaxis_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"source", "destination"};
  PyObject* given[2];
  parse_arguments("moveaxis", args, count, kwnames, names, 2, given);
  const int ndim = var_of(x).ndim();
  Dims source, destination;
  for (std::int64_t axis : dims_from("moveaxis", "source", given[0])) source.push_back(normalize_axis("moveaxis", axis, ndim));
  for (std::int64_t axis : dims_from("moveaxis", "destination", given[1])) destination.push_back(normalize_axis("moveaxis", axis, ndim));
  if (source.size() != destination.size()) {
    throw ShapeError("moveaxis: " + std::to_string(source.size()) + " sources and " + std::to_string(destination.size()) + " destinations; give as many of each.");
  }
  Dims permutation = Dims::filled(ndim, -1);
  for (int i = 0; i < source.size(); ++i) permutation[static_cast<int>(destination[i])] = source[i];
  int next = 0;
  for (int i = 0; i < ndim; ++i) {
    if (std::find(source.begin(), source.end(), i) != source.end()) continue;
    while (permutation[next] != -1) ++next;
    permutation[next] = i;
  }
  return transposed(x, permutation);
}

PyObject* squeeze_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"axis"};
  PyObject* given[1];
  parse_arguments("squeeze", args, count, kwnames, names, 0, given);
  const Shape shape = var_of(x).shape();
  Dims out;
  const bool all = !given[0] || given[0] == Py_None;
  const Dims axes = axes_from("squeeze", given[0], static_cast<int>(shape.size()));
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const bool named = std::find(axes.begin(), axes.end(), static_cast<std::int64_t>(i)) != axes.end();
    if (named && !all && shape[i] != 1) {
      throw ShapeError("squeeze(" + to_string(shape) + "): axis " + std::to_string(i) + " has extent " + std::to_string(shape[i]) + "; only axes of extent 1 can be dropped.");
    }
    if (!named || shape[i] != 1) out.push_back(shape[i]);
  }
  return reshaped(x, out);
}

PyObject* expand_dims_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"axis"};
  PyObject* given[1];
  parse_arguments("expand_dims", args, count, kwnames, names, 1, given);
  const Var& var = var_of(x);
  const Dims wanted = dims_from("expand_dims", "axis", given[0]);
  const Dims axes = normalize_axes("expand_dims", wanted, var.ndim() + wanted.size());
  Dims shape(var.shape());
  for (std::int64_t axis : axes) shape.insert(static_cast<int>(axis), 1);
  return reshaped(x, shape);
}

PyObject* broadcast_to_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"shape"};
  PyObject* given[1];
  parse_arguments("broadcast_to", args, count, kwnames, names, 1, given);
  return make_dlarray(tape::broadcast_to(var_of(x), dims_from("broadcast_to", "an extent", given[0])));
}

PyObject* take_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"indices", "axis"};
  PyObject* given[2];
  parse_arguments("take", args, count, kwnames, names, 1, given);
  const Var& var = var_of(x);
  Array index = PyLong_Check(given[0]) ? Array::full(DType::i64, {}, static_cast<double>(int_from("take", "an index", given[0]))) : operand("take", given[0]).value();
  if (index.dtype() != DType::i64) {
    Ref numbers(checked(PyObject_CallOneArg(numpy_attribute("asarray"), given[0])));
    index = array_from("take", numbers.get());
  }
  if (index.dtype() != DType::i64) throw DTypeError("take: the indices must be integers; an array of " + std::string(array::name(index.dtype())) + " was given.");
  if (!given[1] || given[1] == Py_None) return make_dlarray(tape::take(tape::reshape(var, Dims{var.size()}), 0, index));
  return make_dlarray(tape::take(var, normalize_axis("take", int_from("take", "axis", given[1]), var.ndim()), index));
}

PyObject* astype_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"dtype"};
  PyObject* given[1];
  parse_arguments("astype", args, count, kwnames, names, 1, given);
  return make_labelled(tape::cast(var_of(x), dtype_from("astype", given[0])), labels_of(x));
}

/// Every shaped function of one array, once: F(name, what follows the array in its signature, doc).
#define DUALTAPE_SHAPED(F)                                                                                           \
  F(sum, "axis=None, keepdims=False", "Sum over all elements, or along an axis or a tuple of axes.")             \
  F(mean, "axis=None, keepdims=False", "Mean of all elements, or along an axis or a tuple of axes.")             \
  F(prod, "axis=None, keepdims=False", "Product; its derivative is right where elements are zero.")              \
  F(max, "axis=None, keepdims=False", "Largest element; NaN wins. Equal ones share the derivative evenly.")      \
  F(min, "axis=None, keepdims=False", "Smallest element; NaN wins. Equal ones share the derivative evenly.")     \
  F(any, "axis=None, keepdims=False", "Whether any element is true, as bool (a constant).")                      \
  F(all, "axis=None, keepdims=False", "Whether all elements are true, as bool (a constant).")                    \
  F(var, "axis=None, ddof=0, keepdims=False", "Variance; the divisor is N - ddof.")                              \
  F(std, "axis=None, ddof=0, keepdims=False", "Standard deviation; the divisor is N - ddof.")                    \
  F(argmax, "axis=None, keepdims=False", "Position of the first largest element, as int64 (a constant).")        \
  F(argmin, "axis=None, keepdims=False", "Position of the first smallest element, as int64 (a constant).")       \
  F(cumsum, "axis=None", "Cumulative sum along an axis, or of the flattened array.")                             \
  F(reshape, "*shape", "The same elements in another shape; one extent may be -1. A view where possible.")       \
  F(ravel, "", "The elements in one axis. A view where possible.")                                               \
  F(transpose, "*axes", "A view with the axes permuted, by default reversed.")                                   \
  F(swapaxes, "axis1, axis2", "A view with two axes exchanged.")                                                 \
  F(moveaxis, "source, destination", "A view with axes moved to other places.")                                  \
  F(squeeze, "axis=None", "A view without axes of extent 1.")                                                    \
  F(expand_dims, "axis", "A view with new axes of extent 1.")                                                    \
  F(broadcast_to, "shape", "The array repeated along axes of extent 1 and new leading axes, without a copy.")     \
  F(take, "indices, axis=None", "Elements at integer positions along an axis, or of the flattened array.")       \
  F(astype, "dtype", "The values in another dtype; derivatives pass between float32 and float64.")               \
  F(logsumexp, "axis=None, keepdims=False", "log(sum(exp(x))), without overflow.")                               \
  F(softmax, "axis=None", "exp(x) / sum(exp(x)) along an axis: by default C where labelled, else the last.")     \
  F(log_softmax, "axis=None", "log(softmax(x)), without underflow.")

template <Impl impl>
PyObject* as_method(PyObject* self, Args args, Py_ssize_t count, PyObject* kwnames) {
  return guarded([&] { return impl(self, args, count, kwnames); });
}

template <Impl impl>
PyObject* as_function(PyObject*, Args args, Py_ssize_t count, PyObject* kwnames) {
  if (count < 1) {
    PyErr_SetString(PyExc_TypeError, "the array must be given as the first argument");
    return nullptr;
  }
  return guarded([&]() -> PyObject* {
    if (is_dlarray(args[0])) return impl(args[0], args + 1, count - 1, kwnames);
    Ref array(make_dlarray(operand("function", args[0])));
    Ref out(impl(array.get(), args + 1, count - 1, kwnames));
    if (!is_dlarray(out.get())) return out.release();
    // A view of memory that is not ours would change with it.
    const Array& value = var_of(out.get()).value();
    return value.is_scalar() || value.buffer().writable() ? out.release() : make_dlarray(Var(value.copy()));
  });
}

template <class Function>
PyCFunction fast(Function function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

constexpr int kFast = METH_FASTCALL | METH_KEYWORDS;

// Functions of several arrays.

PyObject* join(const char* name, bool stacked, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"arrays", "axis"};
  PyObject* given[2];
  parse_arguments(name, args, count, kwnames, names, 1, given);
  Ref items(checked(PySequence_Tuple(given[0])));
  const Py_ssize_t n = PyTuple_GET_SIZE(items.get());
  if (n == 0) throw ShapeError(std::string(name) + "(): there is nothing to join; give at least one array.");
  std::vector<Var> parts;
  DType dtype = DType::boolean;
  std::vector<bool> weak;
  for (Py_ssize_t i = 0; i < n; ++i) {
    bool is_weak = false;
    parts.push_back(operand(name, PyTuple_GET_ITEM(items.get(), i), &is_weak));
    weak.push_back(is_weak);
    if (!is_weak) dtype = array::promote(dtype, parts.back().dtype());
  }
  if (std::find(weak.begin(), weak.end(), true) != weak.end() && !array::is_float(dtype)) dtype = DType::f64;
  for (Var& part : parts) part = tape::cast(part, dtype);
  const int ndim = parts[0].ndim();
  const bool flat = !stacked && given[1] == Py_None;
  if (flat) {
    for (Var& part : parts) part = tape::reshape(part, Dims{part.size()});
  }
  const std::int64_t wanted = given[1] && !flat ? int_from(name, "axis", given[1]) : 0;
  const int axis = normalize_axis(name, wanted, flat ? 1 : stacked ? ndim + 1 : ndim);
  return make_dlarray(stacked ? tape::stack(parts, axis) : tape::concatenate(parts, axis));
}

PyObject* concatenate_(PyObject*, Args args, Py_ssize_t count, PyObject* kwnames) {
  return guarded([&] { return join("concatenate", false, args, count, kwnames); });
}
PyObject* stack_(PyObject*, Args args, Py_ssize_t count, PyObject* kwnames) {
  return guarded([&] { return join("stack", true, args, count, kwnames); });
}

PyObject* matmul_(PyObject*, Args args, Py_ssize_t count, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    constexpr const char* names[] = {"a", "b"};
    PyObject* given[2];
    parse_arguments("matmul", args, count, kwnames, names, 2, given);
    if (labels_of(given[0]) && labels_of(given[1])) {
      throw ShapeError("matmul: both operands have labels, and which axes to sum over is not clear; call stripdims on one.");
    }
    bool foreign = false;
    const Var a = operand("matmul", given[0], nullptr, &foreign), b = operand("matmul", given[1], nullptr, &foreign);
    if (foreign) Py_RETURN_NOTIMPLEMENTED;
    const DType dtype = array::is_float(array::promote(a.dtype(), b.dtype())) ? array::promote(a.dtype(), b.dtype()) : DType::f64;
    return make_dlarray(tape::matmul(tape::cast(a, dtype), tape::cast(b, dtype)));
  });
}

PyObject* elementwise(PyObject* code, Args args, Py_ssize_t count, PyObject* kwnames) {
  const ops::Op op = static_cast<ops::Op>(PyLong_AsLong(code));
  const ops::OpInfo& info = ops::info(op);
  if (kwnames && PyTuple_GET_SIZE(kwnames)) {
    PyErr_Format(PyExc_TypeError,
                 "%s: the keyword '%U' is not taken; out= would write into an array past the tape, where= would leave "
                 "elements undefined; use the result, numpy.where, or x.astype(dtype).",
                 info.name.data(), PyTuple_GET_ITEM(kwnames, 0));
    return nullptr;
  }
  if (count != info.arity) {
    PyErr_Format(PyExc_TypeError, "%s() takes %d arguments, %zd were given", info.name.data(), info.arity, count);
    return nullptr;
  }
  return guarded([&]() -> PyObject* {
    if (count == 1 && is_dlarray(args[0]) && is_bare_scalar(as_dlarray(args[0])) && !info.predicate) {
      const Var& x = as_dlarray(args[0])->var;
      const double in = x.value().scalar();
      const double out = array::scalar_value(op, &in);
      tape::Tape* tape = tape::Tape::of(x);
      if (!tape || !info.differentiable[0]) return make_scalar(out);
      return make_scalar(out, tape->push_scalar(op, x.node(), tape::kNoNode, 1, out), x.recording());
    }
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (is_py_dual(args[i])) return apply_dual(op, args, static_cast<std::size_t>(count));
    }
    if (op == ops::Op::power) return power(args[0], args[1], false);
    return apply_op(op, args, static_cast<std::size_t>(count), false);
  });
}

PyMethodDef several[] = {
    {"concatenate", fast(concatenate_), kFast, "concatenate(arrays, axis=0)\n--\n\nArrays joined along an axis they have."},
    {"stack", fast(stack_), kFast, "stack(arrays, axis=0)\n--\n\nArrays of one shape joined along a new axis."},
    {"matmul", fast(matmul_), kFast, "matmul(a, b)\n--\n\nMatrix product, with NumPy's rules for vectors and batches."},
};

}  // namespace

const std::vector<PyMethodDef>& shaped_methods() {
  static const std::vector<PyMethodDef> methods = {
#define DUALTAPE_METHOD(name, signature, doc) \
  {#name, fast(as_method<name##_>), kFast, #name "($self, /, " signature ")\n--\n\n" doc},
      DUALTAPE_SHAPED(DUALTAPE_METHOD)
#undef DUALTAPE_METHOD
  };
  return methods;
}

void bind_functions(pybind11::module_& module) {
  static PyMethodDef functions[] = {
#define DUALTAPE_FUNCTION(name, signature, doc) \
  {#name, fast(as_function<name##_>), kFast, #name "(x, /, " signature ")\n--\n\n" doc},
      DUALTAPE_SHAPED(DUALTAPE_FUNCTION)
#undef DUALTAPE_FUNCTION
  };
  const auto add = [&](pybind11::module_& to, PyMethodDef& definition, PyObject* self) {
    to.attr(definition.ml_name) = pybind11::reinterpret_steal<pybind11::object>(checked(PyCFunction_NewEx(&definition, self, nullptr)));
  };
  for (PyMethodDef& definition : functions) add(module, definition, nullptr);
  for (PyMethodDef& definition : several) add(module, definition, nullptr);

  pybind11::module_ table = module.def_submodule("elementwise", "The elementwise ops of the table, as functions.");
  static std::vector<PyMethodDef> definitions(ops::kOpCount);
  static std::vector<std::string> docs(ops::kOpCount);
  pybind11::list rows;
  for (int i = 0; i < ops::kOpCount; ++i) {
    const ops::OpInfo& info = ops::info(static_cast<ops::Op>(i));
    const std::size_t k = static_cast<std::size_t>(i);
    constexpr const char* signatures[] = {"(x, /)", "(a, b, /)", "(a, b, c, /)"};
    docs[k] = std::string(info.name) + signatures[info.arity - 1] + "\n--\n\n" +
              (info.numpy_name.empty() ? "Elementwise; NumPy has no function of this kind." : "Elementwise, with the values of numpy." + std::string(info.numpy_name) + ".");
    if (!info.kink.empty()) docs[k] += "\n\nDerivative: " + std::string(info.kink) + ".";
    definitions[k] = {info.name.data(), fast(elementwise), kFast, docs[k].c_str()};
    add(table, definitions[k], pybind11::int_(i).ptr());
    pybind11::dict row;
    row["name"] = std::string(info.name);
    row["numpy_name"] = std::string(info.numpy_name);
    row["arity"] = info.arity;
    row["predicate"] = info.predicate;
    pybind11::list differentiable, domains;
    for (int a = 0; a < info.arity; ++a) {
      const ops::Domain& domain = info.domains[static_cast<std::size_t>(a)];
      differentiable.append(info.differentiable[static_cast<std::size_t>(a)]);
      domains.append(pybind11::make_tuple(domain.lo, domain.hi, domain.except, domain.integer));
    }
    row["differentiable"] = pybind11::tuple(differentiable);
    row["domains"] = pybind11::tuple(domains);
    row["kink"] = std::string(info.kink);
    rows.append(row);
  }
  module.def("op_table", [rows] { return rows.attr("copy")(); }, "The table of elementwise ops: a dict for each.");
}

}  // namespace dualtape::bindings
