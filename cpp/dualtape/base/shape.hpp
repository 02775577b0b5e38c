// SPDX-License-Identifier: MIT
// Shapes: a small inline vector of extents, broadcasting, and how shapes are written in messages.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace dualtape {

/// Arrays have at most this many axes.
inline constexpr int kMaxDims = 16;

/// A list of extents, strides or axes that lives on the stack.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<std::int64_t> values) { assign(std::span(values.begin(), values.size())); }
  explicit Dims(std::span<const std::int64_t> values) { assign(values); }
  /// `count` copies of `value`.
  static Dims filled(int count, std::int64_t value);

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::int64_t& operator[](int i) { return values_[static_cast<std::size_t>(i)]; }
  std::int64_t operator[](int i) const { return values_[static_cast<std::size_t>(i)]; }
  std::int64_t back() const { return values_[static_cast<std::size_t>(size_ - 1)]; }
  const std::int64_t* begin() const { return values_.data(); }
  const std::int64_t* end() const { return values_.data() + size_; }
  std::int64_t* begin() { return values_.data(); }
  std::int64_t* end() { return values_.data() + size_; }
  operator std::span<const std::int64_t>() const { return {values_.data(), static_cast<std::size_t>(size_)}; }

  /// Throws ShapeError past kMaxDims axes.
  void push_back(std::int64_t value);
  void insert(int at, std::int64_t value);
  void erase(int at);

  friend bool operator==(const Dims& a, const Dims& b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

 private:
  void assign(std::span<const std::int64_t> values);

  std::array<std::int64_t, kMaxDims> values_;
  int size_ = 0;
};

using Shape = std::span<const std::int64_t>;

/// The number of elements; ShapeError for a negative extent and for more than memory could hold.
std::int64_t element_count(Shape shape);
/// `(3, 4)`, `(3,)` or `()`, as Python writes it.
std::string to_string(Shape shape);
bool same_shape(Shape a, Shape b);
/// The shape that NumPy's broadcasting gives; ShapeError names `op` and every shape.
Dims broadcast_shapes(std::string_view op, std::span<const Shape> shapes);
/// A non-negative axis, or ShapeError naming `op`.
int normalize_axis(std::string_view op, std::int64_t axis, int ndim);
/// Sorted, non-negative, distinct axes; an empty optional list means all axes.
Dims normalize_axes(std::string_view op, std::span<const std::int64_t> axes, int ndim);
/// The shape left when `axes` are reduced.
Dims reduced_shape(Shape shape, std::span<const std::int64_t> axes, bool keepdims);
/// Strides (in elements) of a C-ordered array.
Dims contiguous_strides(Shape shape);

}  // namespace dualtape
