// SPDX-License-Identifier: MIT
// An array is seen as outer x extent x inner around the indexed axis; an index picks rows of `inner` elements.
#include "dualtape/array/gather.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "dualtape/array/convert.hpp"
#include "dualtape/array/views.hpp"
#include "dualtape/base/error.hpp"

namespace dualtape::array {
namespace {

struct Layout {
  std::int64_t outer = 1, extent = 1, inner = 1;
};

Layout layout_of(Shape shape, int axis) {
  const std::size_t at = static_cast<std::size_t>(axis);
  return {element_count(shape.first(at)), shape[at], element_count(shape.subspan(at + 1))};
}

/// The entries of `index` in C order, all from 0 to extent - 1.
std::vector<std::int64_t> positions(const char* op, const Array& index, std::int64_t extent) {
  if (index.dtype() != DType::i64) {
    throw DTypeError(std::string(op) + ": an index must be int64; it is " + std::string(name(index.dtype())) +
                     "; convert it first (a boolean mask with nonzero).");
  }
  const Array flat = index.as_contiguous();
  const std::int64_t* from = flat.data<std::int64_t>();
  std::vector<std::int64_t> out(from, from + flat.size());
  for (std::int64_t& i : out) {
    if (i < -extent || i >= extent) {
      throw ShapeError(std::string(op) + ": index " + std::to_string(i) + " is out of bounds; the axis has extent " +
                       std::to_string(extent) + "; use " + std::to_string(-extent) + " to " +
                       std::to_string(extent - 1) + ".");
    }
    if (i < 0) i += extent;
  }
  return out;
}

Dims gathered_shape(Shape shape, int axis, Shape index) {
  Dims out(shape.first(static_cast<std::size_t>(axis)));
  for (std::int64_t extent : index) out.push_back(extent);
  for (std::int64_t extent : shape.subspan(static_cast<std::size_t>(axis) + 1)) out.push_back(extent);
  return out;
}

/// row(i, j): for the j-th row of the gathered array, in order, its place i among the rows of the full one.
template <class Row>
void for_rows(const Layout& layout, const std::vector<std::int64_t>& at, Row row) {
  std::int64_t j = 0;
  for (std::int64_t o = 0; o < layout.outer; ++o) {
    for (std::int64_t i : at) row(o * layout.extent + i, j++);
  }
}

}  // namespace

Array take(const Array& x, std::int64_t axis, const Array& index) {
  const int at = normalize_axis("take", axis, x.ndim());
  const Layout layout = layout_of(x.shape(), at);
  const std::vector<std::int64_t> rows = positions("take", index, layout.extent);
  Array out = Array::empty(x.dtype(), gathered_shape(x.shape(), at, index.shape()));
  if (out.size() == 0) return out;
  const Array source = x.as_contiguous();
  dispatch(x.dtype(), [&]<class T>() {
    const T* from = source.data<T>();
    T* to = out.writable_data<T>();
    const std::int64_t inner = layout.inner;
    if (inner == 1) {
      for_rows(layout, rows, [&](std::int64_t i, std::int64_t j) { to[j] = from[i]; });
    } else {
      for_rows(layout, rows,
               [&](std::int64_t i, std::int64_t j) { std::copy_n(from + i * inner, inner, to + j * inner); });
    }
  });
  return out;
}

Array put_add(const Array& ct, std::int64_t axis, const Array& index, Shape full) {
  const int at = normalize_axis("put_add", axis, static_cast<int>(full.size()));
  const Layout layout = layout_of(full, at);
  const std::vector<std::int64_t> rows = positions("put_add", index, layout.extent);
  const Array source = broadcast_to(ct, gathered_shape(full, at, index.shape())).as_contiguous();
  Array out = Array::zeros(ct.dtype(), full);
  dispatch(ct.dtype(), [&]<class T>() {
    const T* from = source.data<T>();
    T* to = out.writable_data<T>();
    const std::int64_t inner = layout.inner;
    for_rows(layout, rows, [&](std::int64_t i, std::int64_t j) {
      for (std::int64_t k = 0; k < inner; ++k)
        to[i * inner + k] = static_cast<T>(to[i * inner + k] + from[j * inner + k]);
    });
  });
  return out;
}

void put(Array& x, std::int64_t axis, const Array& index, const Array& value) {
  const int at = normalize_axis("put", axis, x.ndim());
  const Layout layout = layout_of(x.shape(), at);
  const std::vector<std::int64_t> rows = positions("put", index, layout.extent);
  const Array source =
      broadcast_to(value, gathered_shape(x.shape(), at, index.shape())).cast(x.dtype()).as_contiguous();
  if (!x.contiguous()) x = x.copy();
  dispatch(x.dtype(), [&]<class T>() {
    const T* from = source.data<T>();
    T* to = x.writable_data<T>();
    const std::int64_t inner = layout.inner;
    for_rows(layout, rows,
             [&](std::int64_t i, std::int64_t j) { std::copy_n(from + j * inner, inner, to + i * inner); });
  });
}

namespace {

/// Throws where `index` has not the extents of `shape` off the axis.
void check_along(const char* op, Shape shape, int axis, const Array& index) {
  Dims wanted(shape);
  const bool fits = index.ndim() == wanted.size();
  if (fits) wanted[axis] = index.shape()[static_cast<std::size_t>(axis)];
  if (!fits || !same_shape(wanted, index.shape())) {
    throw ShapeError(std::string(op) + '(' + to_string(shape) + ", " + to_string(index.shape()) +
                     "): the index differs off axis " + std::to_string(axis) +
                     "; it must have the extents of the array on all other axes.");
  }
  if (index.dtype() != DType::i64) {
    throw DTypeError(std::string(op) + ": an index must be int64; it is " + std::string(name(index.dtype())) +
                     "; convert it first.");
  }
}

/// meet(i, j): element j of what `index` picks, in C order, and its element i of the full array, or -1 where that is
/// not there.
template <class Meet>
void for_along(const char* op, const Layout& layout, const Array& index, std::int64_t count, bool lenient, Meet meet) {
  const Array flat = index.as_contiguous();
  const std::int64_t* at = flat.data<std::int64_t>();
  std::int64_t j = 0;
  for (std::int64_t o = 0; o < layout.outer; ++o) {
    for (std::int64_t k = 0; k < count; ++k) {
      for (std::int64_t i = 0; i < layout.inner; ++i, ++j) {
        const std::int64_t place = at[j] < 0 ? at[j] + layout.extent : at[j];
        const bool there = place >= 0 && place < layout.extent;
        if (!there && !lenient) {
          throw ShapeError(std::string(op) + ": index " + std::to_string(at[j]) +
                           " is out of bounds; the axis has extent " + std::to_string(layout.extent) + "; use " +
                           std::to_string(-layout.extent) + " to " + std::to_string(layout.extent - 1) + ".");
        }
        meet(there ? (o * layout.extent + place) * layout.inner + i : -1, j);
      }
    }
  }
}

}  // namespace

Array take_along(const Array& x, std::int64_t axis, const Array& index, bool lenient) {
  const int at = normalize_axis("take_along_axis", axis, x.ndim());
  check_along("take_along_axis", x.shape(), at, index);
  Array out = Array::empty(x.dtype(), index.shape());
  if (out.size() == 0) return out;
  const Array source = x.as_contiguous();
  const std::int64_t count = index.shape()[static_cast<std::size_t>(at)];
  dispatch(x.dtype(), [&]<class T>() {
    const T* from = source.data<T>();
    T* to = out.writable_data<T>();
    for_along("take_along_axis", layout_of(x.shape(), at), index, count, lenient,
              [&](std::int64_t i, std::int64_t j) { to[j] = i >= 0 ? from[i] : std::numeric_limits<T>::quiet_NaN(); });
  });
  return out;
}

Array add_along(const Array& ct, std::int64_t axis, const Array& index, Shape full, bool lenient) {
  const int at = normalize_axis("add_along_axis", axis, static_cast<int>(full.size()));
  check_along("add_along_axis", full, at, index);
  const Array source = broadcast_to(ct, index.shape()).as_contiguous();
  Array out = Array::zeros(ct.dtype(), full);
  if (out.size() == 0 || index.size() == 0) return out;
  const std::int64_t count = index.shape()[static_cast<std::size_t>(at)];
  dispatch(ct.dtype(), [&]<class T>() {
    const T* from = source.data<T>();
    T* to = out.writable_data<T>();
    for_along("add_along_axis", layout_of(full, at), index, count, lenient, [&](std::int64_t i, std::int64_t j) {
      if (i >= 0) to[i] = static_cast<T>(to[i] + from[j]);
    });
  });
  return out;
}

Array flat_nonzero(const Array& x) {
  const Array source = x.as_contiguous();
  std::vector<std::int64_t> found;
  dispatch(x.dtype(), [&]<class T>() {
    const T* from = source.data<T>();
    for (std::int64_t i = 0; i < source.size(); ++i) {
      if (from[i] != T{}) found.push_back(i);
    }
  });
  Array out = Array::empty(DType::i64, Dims{static_cast<std::int64_t>(found.size())});
  std::copy(found.begin(), found.end(), out.writable_data<std::int64_t>());
  return out;
}

}  // namespace dualtape::array
