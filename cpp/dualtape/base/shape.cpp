// SPDX-License-Identifier: MIT
#include "dualtape/base/shape.hpp"

#include <limits>

#include "dualtape/base/error.hpp"

namespace dualtape {

Dims Dims::filled(int count, std::int64_t value) {
  Dims out;
  for (int i = 0; i < count; ++i) out.push_back(value);
  return out;
}

void Dims::assign(std::span<const std::int64_t> values) {
  size_ = 0;
  for (std::int64_t value : values) push_back(value);
}

void Dims::push_back(std::int64_t value) {
  if (size_ == kMaxDims) {
    throw ShapeError("array: more axes than dualtape supports; at most " + std::to_string(kMaxDims) + " work.");
  }
  values_[static_cast<std::size_t>(size_++)] = value;
}

void Dims::insert(int at, std::int64_t value) {
  push_back(value);
  std::rotate(begin() + at, end() - 1, end());
}

void Dims::erase(int at) {
  std::copy(begin() + at + 1, end(), begin() + at);
  --size_;
}

std::int64_t element_count(Shape shape) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 16;  // so that a count of bytes fits too
  std::int64_t count = 1;
  bool fits = true;
  for (std::int64_t extent : shape) {
    if (__builtin_mul_overflow(count, extent, &count) || extent < 0) fits = false;
  }
  if (!fits || count > kMost) {
    throw ShapeError("shape" + to_string(shape) +
                     ": no array has this shape; extents must be non-negative, and so few that memory can hold them.");
  }
  return count;
}

std::string to_string(Shape shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

bool same_shape(Shape a, Shape b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

Dims broadcast_shapes(std::string_view op, std::span<const Shape> shapes) {
  std::size_t ndim = 0;
  for (Shape shape : shapes) ndim = std::max(ndim, shape.size());
  Dims out = Dims::filled(static_cast<int>(ndim), 1);
  for (Shape shape : shapes) {
    const std::size_t offset = ndim - shape.size();
    for (std::size_t i = 0; i < shape.size(); ++i) {
      std::int64_t& extent = out[static_cast<int>(i + offset)];
      if (shape[i] == extent || shape[i] == 1) continue;
      if (extent != 1) {
        std::string text(op);
        text += '(';
        for (std::size_t k = 0; k < shapes.size(); ++k) text += (k ? ", " : "") + to_string(shapes[k]);
        throw ShapeError(text + "): the shapes do not broadcast; axis " +
                         std::to_string(static_cast<int>(i + offset) - static_cast<int>(ndim)) + " has extents " +
                         std::to_string(extent) + " and " + std::to_string(shape[i]) + "; extents must be equal or 1.");
      }
      extent = shape[i];
    }
  }
  return out;
}

int normalize_axis(std::string_view op, std::int64_t axis, int ndim) {
  if (axis < -ndim || axis >= ndim) {
    throw ShapeError(std::string(op) + ": axis " + std::to_string(axis) + " does not exist; the array has " +
                     std::to_string(ndim) + " axes; use one from " + std::to_string(-ndim) + " to " +
                     std::to_string(ndim - 1) + ".");
  }
  return static_cast<int>(axis < 0 ? axis + ndim : axis);
}

Dims normalize_axes(std::string_view op, std::span<const std::int64_t> axes, int ndim) {
  Dims out;
  for (std::int64_t axis : axes) out.push_back(normalize_axis(op, axis, ndim));
  std::sort(out.begin(), out.end());
  if (std::adjacent_find(out.begin(), out.end()) != out.end()) {
    throw ShapeError(std::string(op) + ": an axis is named twice; the axes given are " + to_string(axes) +
                     "; name each once.");
  }
  return out;
}

Dims reduced_shape(Shape shape, std::span<const std::int64_t> axes, bool keepdims) {
  Dims out;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const bool reduced = std::find(axes.begin(), axes.end(), static_cast<std::int64_t>(i)) != axes.end();
    if (!reduced)
      out.push_back(shape[i]);
    else if (keepdims)
      out.push_back(1);
  }
  return out;
}

Dims contiguous_strides(Shape shape) {
  Dims strides = Dims::filled(static_cast<int>(shape.size()), 0);
  std::int64_t step = 1;
  for (int i = static_cast<int>(shape.size()) - 1; i >= 0; --i) {
    strides[i] = step;
    step *= shape[static_cast<std::size_t>(i)];
  }
  return strides;
}

}  // namespace dualtape
