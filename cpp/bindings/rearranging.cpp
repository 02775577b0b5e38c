// SPDX-License-Identifier: MIT
// Rearranging as functions of Python. Results are views that follow assignments, as NumPy's are.
#include <algorithm>

#include "bindings/shaped_functions.hpp"
#include "dualtape/array/views.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/functions.hpp"

namespace dualtape::bindings {

namespace {

PyObject* reshaped(PyObject* x, Shape shape) {
  const Var& var = var_of(x);
  Var out = tape::reshape(var, shape);
  if (!var.value().contiguous()) return make_dlarray(std::move(out));
  return make_view(x, std::move(out), View{View::Kind::reshape, {}, Dims(shape), {}, {}, nullptr, 0});
}

PyObject* transposed(PyObject* x, const Dims& permutation) {
  return make_view(x, tape::transpose(var_of(x), permutation),
                   View{View::Kind::transpose, {}, {}, {}, permutation, nullptr, 0});
}

/// Arguments that may come one by one or as one tuple: x.reshape(2, 3) and x.reshape((2, 3)).
Dims spread_dims(const char* name, const char* what, Args args, Py_ssize_t count) {
  if (count == 1) return dims_from(name, what, args[0]);
  Dims out;
  for (Py_ssize_t i = 0; i < count; ++i) out.push_back(int_from(name, what, args[i]));
  return out;
}

}  // namespace

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
    for (std::int64_t axis : spread_dims("transpose", "an axis", args, count))
      permutation.push_back(normalize_axis("transpose", axis, ndim));
    Dims sorted = permutation;
    std::sort(sorted.begin(), sorted.end());
    if (sorted.size() != ndim || std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
      throw ShapeError("transpose(" + to_string(var_of(x).shape()) + "): the axes " + to_string(permutation) +
                       " are no permutation; name each axis once.");
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
  for (std::int64_t axis : dims_from("moveaxis", "source", given[0]))
    source.push_back(normalize_axis("moveaxis", axis, ndim));
  for (std::int64_t axis : dims_from("moveaxis", "destination", given[1]))
    destination.push_back(normalize_axis("moveaxis", axis, ndim));
  if (source.size() != destination.size()) {
    throw ShapeError("moveaxis: " + std::to_string(source.size()) + " sources and " +
                     std::to_string(destination.size()) + " destinations; give as many of each.");
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
      throw ShapeError("squeeze(" + to_string(shape) + "): axis " + std::to_string(i) + " has extent " +
                       std::to_string(shape[i]) + "; only axes of extent 1 can be dropped.");
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
  Var index = PyLong_Check(given[0])
                  ? Var(Array::full(DType::i64, {}, static_cast<double>(int_from("take", "an index", given[0]))))
                  : operand("take", given[0]);
  if (index.dtype() != DType::i64 && !is_dlarray(given[0])) {
    Ref numbers(checked(PyObject_CallOneArg(numpy_attribute("asarray"), given[0])));
    index = Var(array_from("take", numbers.get()));
  }
  if (index.dtype() != DType::i64)
    throw DTypeError("take: the indices must be integers; an array of " + std::string(array::name(index.dtype())) +
                     " was given.");
  if (!given[1] || given[1] == Py_None)
    return make_dlarray(tape::take_at(tape::reshape(var, Dims{var.size()}), 0, index));
  return make_dlarray(
      tape::take_at(var, normalize_axis("take", int_from("take", "axis", given[1]), var.ndim()), index));
}

PyObject* take_along_axis_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"indices", "axis"};
  PyObject* given[2];
  parse_arguments("take_along_axis", args, count, kwnames, names, 1, given);
  const Var& var = var_of(x);
  const Var index = operand("take_along_axis", given[0]);
  const std::int64_t axis = given[1] ? int_from("take_along_axis", "axis", given[1]) : -1;
  return make_dlarray(tape::take_along(var, normalize_axis("take_along_axis", axis, var.ndim()), index));
}

PyObject* add_along_axis_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"indices", "axis", "extent"};
  PyObject* given[3];
  parse_arguments("add_along_axis", args, count, kwnames, names, 3, given);
  const Var& var = var_of(x);
  const Var index = operand("add_along_axis", given[0]);
  const int axis = normalize_axis("add_along_axis", int_from("add_along_axis", "axis", given[1]), var.ndim());
  if (index.dtype() != DType::i64 || !same_shape(index.shape(), var.shape())) {
    throw ShapeError("add_along_axis(" + to_string(var.shape()) + ", " + to_string(index.shape()) +
                     "): there must be an integer place for each element.");
  }
  Dims full(var.shape());
  full[axis] = int_from("add_along_axis", "extent", given[2]);
  return make_dlarray(tape::add_along(var, axis, index, full));
}

PyObject* astype_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"dtype"};
  PyObject* given[1];
  parse_arguments("astype", args, count, kwnames, names, 1, given);
  return make_labelled(tape::cast(var_of(x), dtype_from("astype", given[0])), labels_of(x));
}

}  // namespace dualtape::bindings
