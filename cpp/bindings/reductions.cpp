// SPDX-License-Identifier: MIT
// Reductions and their relatives as functions of Python: arguments are read, labels of the axes that are left are kept.
#include <algorithm>

#include "bindings/shaped_functions.hpp"
#include "dualtape/array/reduce.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"

namespace dualtape::bindings {

namespace {

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

}  // namespace

PyObject* sum_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<tape::sum>("sum", x, a, n, k); }
PyObject* mean_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<tape::mean>("mean", x, a, n, k); }
PyObject* prod_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<tape::prod>("prod", x, a, n, k); }
PyObject* max_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<tape::max>("max", x, a, n, k); }
PyObject* min_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<tape::min>("min", x, a, n, k); }

PyObject* any_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<tape::any>("any", x, a, n, k); }
PyObject* all_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return reduction<tape::all>("all", x, a, n, k); }

namespace {

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

}  // namespace

PyObject* var_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return spread_of("var", false, x, a, n, k); }
PyObject* std_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) { return spread_of("std", true, x, a, n, k); }

namespace {

template <auto find>
PyObject* arg_extreme(const char* name, PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  PyObject* given[2];
  parse_arguments(name, args, count, kwnames, kReduction, 0, given);
  const Var& var = var_of(x);
  std::optional<std::int64_t> axis;
  if (given[0] && given[0] != Py_None) axis = normalize_axis(name, int_from(name, "axis", given[0]), var.ndim());
  return make_dlarray(find(var, axis, bool_from(given[1], false)));
}

}  // namespace

PyObject* argmax_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) {
  return arg_extreme<tape::argmax>("argmax", x, a, n, k);
}
PyObject* argmin_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) {
  return arg_extreme<tape::argmin>("argmin", x, a, n, k);
}

PyObject* argsort_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"axis"};
  PyObject* given[1];
  parse_arguments("argsort", args, count, kwnames, names, 0, given);
  const Var& var = var_of(x);
  if (given[0] == Py_None) return make_dlarray(tape::argsort(tape::reshape(var, Dims{var.size()}), 0));
  const std::int64_t axis = given[0] ? int_from("argsort", "axis", given[0]) : -1;
  return make_dlarray(tape::argsort(var, normalize_axis("argsort", axis, var.ndim())));
}

PyObject* cumsum_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"axis"};
  PyObject* given[1];
  parse_arguments("cumsum", args, count, kwnames, names, 0, given);
  const Var& var = var_of(x);
  if (!given[0] || given[0] == Py_None) return make_dlarray(tape::cumsum(tape::reshape(var, Dims{var.size()}), 0));
  const int axis = normalize_axis("cumsum", int_from("cumsum", "axis", given[0]), var.ndim());
  return make_labelled(tape::cumsum(var, axis), labels_of(x));
}

namespace {

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

}  // namespace

PyObject* softmax_(PyObject* x, Args a, Py_ssize_t n, PyObject* k) {
  return softmax_like<tape::softmax>("softmax", x, a, n, k);
}
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
  return make_dlarray(
      tape::reshape(tape::logsumexp(joined, joined.ndim() - 1, false), reduced_shape(var.shape(), axes, keepdims)));
}

}  // namespace dualtape::bindings
