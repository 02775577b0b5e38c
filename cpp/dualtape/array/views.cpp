// SPDX-License-Identifier: MIT
#include "dualtape/array/views.hpp"

#include <string>

#include "dualtape/base/error.hpp"

namespace dualtape::array {
namespace {

/// A view of x's elements; a scalar, which has no buffer, is given one.
Array view_of(const Array& x, Shape shape, std::span<const std::int64_t> strides, std::int64_t offset) {
  if (!x.is_scalar()) return Array::view(x.buffer(), x.dtype(), shape, strides, offset);
  return Array::view(Array::full(DType::f64, Dims{1}, x.scalar()).buffer(), DType::f64, shape, strides, offset);
}

std::string call(const char* op, Shape shape) { return std::string(op) + '(' + to_string(shape) + ')'; }

/// Strides that show x under `shape`, if there are any: each group of axes of x that becomes a group of axes of
/// `shape` must be one regular sequence.
bool reshape_strides(const Array& x, Shape shape, Dims& out) {
  Dims extents, strides;  // of x without its axes of extent 1
  for (int i = 0; i < x.ndim(); ++i) {
    const std::size_t k = static_cast<std::size_t>(i);
    if (x.shape()[k] == 1) continue;
    extents.push_back(x.shape()[k]);
    strides.push_back(x.strides()[k]);
  }
  const int ndim = static_cast<int>(shape.size());
  out = Dims::filled(ndim, 1);
  int from = 0, to = 0;
  while (from < extents.size() && to < ndim) {
    std::int64_t count = extents[from], wanted = shape[static_cast<std::size_t>(to)];
    int from_end = from + 1, to_end = to + 1;
    while (count != wanted) {
      if (count < wanted) {
        if (strides[from_end - 1] != strides[from_end] * extents[from_end]) return false;
        count *= extents[from_end++];
      } else {
        wanted *= shape[static_cast<std::size_t>(to_end++)];
      }
    }
    std::int64_t step = strides[from_end - 1];
    for (int i = to_end; i-- > to;) {
      out[i] = step;
      step *= shape[static_cast<std::size_t>(i)];
    }
    from = from_end;
    to = to_end;
  }
  return true;
}

void check_slices(Shape shape, std::span<const Slice> slices) {
  if (slices.size() != shape.size()) {
    throw ShapeError(call("slice", shape) + ": one slice for each axis is needed; " + std::to_string(slices.size()) +
                     " were given; use " + std::to_string(shape.size()) + ".");
  }
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const auto [start, step, count] = slices[i];
    // Whether the last element is inside, without computing where it is: the numbers may come from a file.
    const auto leaves = [&, start = start, step = step, count = count] {
      if (start < 0 || start >= shape[i]) return true;
      const std::int64_t room = step < 0 ? start : shape[i] - 1 - start;
      return count > 1 && step != 0 && (step == INT64_MIN || count - 1 > room / (step < 0 ? -step : step));
    };
    if (count < 0 || (count > 0 && leaves())) {
      throw ShapeError(call("slice", shape) + ": a slice leaves axis " + std::to_string(i) + "; it takes " +
                       std::to_string(count) + " elements from " + std::to_string(start) + " in steps of " +
                       std::to_string(step) + "; stay below the extent " + std::to_string(shape[i]) + ".");
    }
  }
}

}  // namespace

Dims infer_shape(Shape from, Shape shape) {
  Dims out(shape);
  const std::int64_t size = element_count(from);
  Dims given;
  int open = -1;
  bool valid = true;
  for (int i = 0; i < out.size(); ++i) {
    if (out[i] >= 0)
      given.push_back(out[i]);
    else if (out[i] == -1 && open < 0)
      open = i;
    else
      valid = false;
  }
  const std::int64_t known = element_count(given);
  if (valid && open >= 0 && known > 0 && size % known == 0) {
    out[open] = size / known;
    return out;
  }
  if (!valid || open >= 0 || known != size) {
    throw ShapeError("reshape(" + to_string(from) + ", " + to_string(shape) + "): the numbers of elements differ; " +
                     std::to_string(size) + " are there; use extents with that product, at most one of them -1.");
  }
  return out;
}

Array reshape(const Array& x, Shape shape) {
  const Dims out = infer_shape(x.shape(), shape);
  if (x.size() == 0) return Array::empty(x.dtype(), out);
  if (x.contiguous()) return view_of(x, out, contiguous_strides(out), x.offset());
  Dims strides;
  if (reshape_strides(x, out, strides)) return view_of(x, out, strides, x.offset());
  return view_of(x.copy(), out, contiguous_strides(out), 0);
}

bool reshapes_as_view(const Array& x, Shape shape) {
  Dims strides;
  return x.size() == 0 || x.contiguous() || reshape_strides(x, infer_shape(x.shape(), shape), strides);
}

Array transpose(const Array& x, std::span<const std::int64_t> perm) {
  Dims shape, strides;
  unsigned seen = 0;
  for (std::int64_t axis : perm) {
    const std::size_t from = static_cast<std::size_t>(normalize_axis("transpose", axis, x.ndim()));
    shape.push_back(x.shape()[from]);
    strides.push_back(x.strides()[from]);
    seen |= 1u << from;
  }
  if (shape.size() != x.ndim() || seen != (1u << x.ndim()) - 1) {
    throw ShapeError(call("transpose", x.shape()) + ": the order " + to_string(perm) + " is no permutation of its " +
                     std::to_string(x.ndim()) + " axes; name each axis once.");
  }
  return view_of(x, shape, strides, x.offset());
}

Array slice(const Array& x, std::span<const Slice> slices) {
  check_slices(x.shape(), slices);
  Dims shape, strides;
  std::int64_t offset = x.offset();
  for (std::size_t i = 0; i < slices.size(); ++i) {
    shape.push_back(slices[i].count);
    // (The step of a single element may be any number.)
    strides.push_back(slices[i].count > 1 ? x.strides()[i] * slices[i].step : x.strides()[i]);
    if (slices[i].count > 0) offset += x.strides()[i] * slices[i].start;
  }
  return view_of(x, shape, strides, offset);
}

Array broadcast_to(const Array& x, Shape shape) {
  if (same_shape(x.shape(), shape)) return x;
  const int ndim = static_cast<int>(shape.size()), added = ndim - x.ndim();
  Dims strides = Dims::filled(ndim, 0);
  bool fits = added >= 0;
  for (int i = 0; fits && i < x.ndim(); ++i) {
    const std::size_t from = static_cast<std::size_t>(i), to = static_cast<std::size_t>(i + added);
    if (x.shape()[from] == shape[to])
      strides[i + added] = x.strides()[from];
    else
      fits = x.shape()[from] == 1;
  }
  if (!fits) {
    throw ShapeError("broadcast_to(" + to_string(x.shape()) + ", " + to_string(shape) +
                     "): the array does not repeat to that shape; only axes of extent 1 repeat, and new axes come "
                     "first; reshape it to extents that are equal or 1.");
  }
  return view_of(x, shape, strides, x.offset());
}

Array flip(const Array& x, std::span<const std::int64_t> axes) {
  const Dims flipped = normalize_axes("flip", axes, x.ndim());
  Dims strides(x.strides());
  std::int64_t offset = x.offset();
  for (std::int64_t axis : flipped) {
    const int i = static_cast<int>(axis);
    const std::int64_t extent = x.shape()[static_cast<std::size_t>(i)];
    if (extent > 0) offset += strides[i] * (extent - 1);
    strides[i] = -strides[i];
  }
  return view_of(x, x.shape(), strides, offset);
}

void write_slice(Array& x, std::span<const Slice> slices, const Array& value) {
  check_slices(x.shape(), slices);
  if (x.is_scalar()) {
    x = Array(value.item());
    return;
  }
  Array target = slice(x, slices);
  if (target.size() == 1 && x.dtype() == DType::f64 && value.is_scalar()) {
    *target.writable_data<double>() = value.scalar();
    return;
  }
  // As in NumPy's assignment, leading axes of extent 1 that the target lacks are dropped.
  Shape shape = value.shape();
  while (static_cast<int>(shape.size()) > target.ndim() && shape[0] == 1) shape = shape.subspan(1);
  const Array fitted = same_shape(shape, value.shape()) ? value : reshape(value, shape);
  copy_elements(broadcast_to(fitted, target.shape()), target);
}

Array unslice(const Array& ct, Shape full, std::span<const Slice> slices) {
  if (full.empty()) {
    check_slices(full, slices);
    return ct;
  }
  Array out = Array::zeros(ct.dtype(), full);
  Array target = slice(out, slices);
  copy_elements(broadcast_to(ct, target.shape()), target);
  return out;
}

Array concatenate(std::span<const Array* const> parts, std::int64_t axis) {
  const Array& first = *parts[0];
  if (first.ndim() == 0) {
    throw ShapeError("concatenate: scalars have no axis to be joined along; stack them, or give arrays of one axis.");
  }
  const int joined = normalize_axis("concatenate", axis, first.ndim());
  Dims shape(first.shape());
  DType dtype = first.dtype();
  for (const Array* part : parts.subspan(1)) {
    dtype = promote(dtype, part->dtype());
    bool fits = part->ndim() == first.ndim();
    for (int i = 0; fits && i < part->ndim(); ++i) {
      const std::int64_t extent = part->shape()[static_cast<std::size_t>(i)];
      if (i == joined)
        shape[i] += extent;
      else
        fits = shape[i] == extent;
    }
    if (!fits) {
      throw ShapeError("concatenate(" + to_string(first.shape()) + ", " + to_string(part->shape()) +
                       "): the arrays do not line up along axis " + std::to_string(joined) +
                       "; every other axis must have the same extent in all of them.");
    }
  }
  Array out = Array::empty(dtype, shape);
  std::int64_t start = 0;
  for (const Array* part : parts) {
    Dims extents(part->shape());
    const Dims strides(out.strides());
    Array target = Array::view(out.buffer(), dtype, extents, strides, start * strides[joined]);
    copy_elements(*part, target);
    start += extents[joined];
  }
  return out;
}

}  // namespace dualtape::array
