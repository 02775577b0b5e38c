// SPDX-License-Identifier: MIT
// What is composed of the rules, so that it needs no derivative of its own.
#include "dualtape/tape/functions.hpp"

#include <algorithm>
#include <vector>

#include "dualtape/base/error.hpp"
#include "dualtape/tape/apply.hpp"

namespace dualtape::tape {
namespace {

using ops::Op;

std::int64_t count_along(const Var& x, Axes axes) {
  std::int64_t count = 1;
  for (std::int64_t axis : axes) count *= x.shape()[static_cast<std::size_t>(axis)];
  return count;
}

Var number(double value, const Var& like) {
  return like.dtype() == DType::f32 ? Var(Array::full(DType::f32, {}, value)) : Var(value);
}

}  // namespace

Var swap_last(const Var& x) {
  Dims permutation;
  for (int i = 0; i < x.ndim(); ++i) permutation.push_back(i);
  std::swap(permutation[x.ndim() - 2], permutation[x.ndim() - 1]);
  return transpose(x, permutation);
}

Var stack(std::span<const Var> parts, std::int64_t axis) {
  if (parts.empty()) throw ShapeError("stack(): there is nothing to stack; give at least one array.");
  std::vector<Var> expanded;
  expanded.reserve(parts.size());
  for (const Var& part : parts) {
    if (!same_shape(part.shape(), parts[0].shape())) {
      throw ShapeError("stack(" + to_string(parts[0].shape()) + ", " + to_string(part.shape()) +
                       "): the shapes differ; arrays to stack must have the same shape.");
    }
    Dims shape(part.shape());
    shape.insert(static_cast<int>(axis), 1);
    expanded.push_back(reshape(part, shape));
  }
  return concatenate(expanded, axis);
}

Var direction(const Var& tangent, std::int64_t k) {
  std::vector<array::Slice> slices{{k, 1, 1}};
  Dims shape;
  for (int axis = 1; axis < tangent.ndim(); ++axis) {
    const std::int64_t extent = tangent.shape()[static_cast<std::size_t>(axis)];
    slices.push_back({0, 1, extent});
    shape.push_back(extent);
  }
  return reshape(slice(tangent, slices), shape);
}

Var mean(const Var& x, Axes axes, bool keepdims) {
  const Var total = sum(is_float(x.dtype()) ? x : cast(x, DType::f64), axes, keepdims);
  return apply(Op::true_divide, {total, number(static_cast<double>(count_along(x, axes)), total)});
}

Var variance(const Var& x, Axes axes, bool keepdims, double ddof) {
  const Var centred = apply(Op::subtract, {x, mean(x, axes, true)});
  const Var total = sum(apply(Op::square, {centred}), axes, keepdims);
  const double degrees = std::max(static_cast<double>(count_along(x, axes)) - ddof, 0.0);
  return apply(Op::true_divide, {total, number(degrees, total)});
}

Var prod(const Var& x, Axes axes, bool keepdims) {
  // Halves are multiplied element by element until one is left: a fixed tree, and a derivative that is right where
  // elements are zero, which y / x is not.
  Dims order;
  for (int i = 0; i < x.ndim(); ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) order.push_back(i);
  }
  Dims shape;
  for (std::int64_t axis : order) shape.push_back(x.shape()[static_cast<std::size_t>(axis)]);
  for (std::int64_t axis : axes) order.push_back(axis);
  shape.push_back(count_along(x, axes));
  Var rest = reshape(transpose(is_float(x.dtype()) ? x : cast(x, DType::f64), order), shape);
  const auto part = [&](std::int64_t start, std::int64_t count) {
    std::vector<array::Slice> slices;
    for (int i = 0; i + 1 < rest.ndim(); ++i) slices.push_back({0, 1, rest.shape()[static_cast<std::size_t>(i)]});
    slices.push_back({start, 1, count});
    return slice(rest, slices);
  };
  for (std::int64_t count = rest.shape().back(); count > 1; count = rest.shape().back()) {
    const std::int64_t half = count / 2;
    Var product = apply(Op::multiply, {part(0, half), part(half, half)});
    if (count % 2) {
      const Var both[] = {product, part(count - 1, 1)};
      product = concatenate(both, rest.ndim() - 1);
    }
    rest = product;
  }
  const Dims target = reduced_shape(x.shape(), axes, keepdims);
  return rest.shape().back() == 0 ? Var(Array::full(rest.dtype(), target, 1.0)) : reshape(rest, target);
}

}  // namespace dualtape::tape
