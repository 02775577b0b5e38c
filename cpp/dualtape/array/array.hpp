// SPDX-License-Identifier: MIT
// Array: an n-dimensional strided view of a buffer, and the value type of everything eager. A 0-d float64, which
// is what scalar training loops are made of, lives inside the object: no header, no buffer, no count.
// An Array is immutable by convention; `writable_data` is for whoever has just made it.
//
// While a function is traced, an array may also be known to the trace: it then carries its place there (`symbol`), in
// the header, so that whoever keeps or passes on the array keeps that too. Such an array is never an inline scalar.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "dualtape/base/buffer.hpp"
#include "dualtape/base/shape.hpp"

namespace dualtape::array {

/// Element types. Only the first two can be differentiated; the others are constants.
enum class DType : std::uint8_t { f64, f32, i64, boolean };

inline constexpr std::int64_t item_size(DType dtype) {
  constexpr std::int64_t sizes[] = {8, 4, 8, 1};
  return sizes[static_cast<int>(dtype)];
}
inline constexpr std::string_view name(DType dtype) {
  constexpr std::string_view names[] = {"float64", "float32", "int64", "bool"};
  return names[static_cast<int>(dtype)];
}
inline constexpr bool is_float(DType dtype) { return dtype == DType::f64 || dtype == DType::f32; }

template <class T>
inline constexpr DType dtype_of = DType::f64;
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::i64;
template <>
inline constexpr DType dtype_of<bool> = DType::boolean;

class Array {
 public:
  /// The scalar 0.0.
  Array() = default;
  /// A 0-d float64.
  Array(double value) : scalar_(value) {}
  /// Uninitialised, C-ordered.
  static Array empty(DType dtype, Shape shape);
  static Array zeros(DType dtype, Shape shape);
  /// Every element `value`, converted to `dtype`.
  static Array full(DType dtype, Shape shape, double value);
  /// A view of `buffer`; strides and offset count elements.
  static Array view(Buffer buffer, DType dtype, Shape shape, std::span<const std::int64_t> strides,
                    std::int64_t offset);

  /// The same, but never an inline scalar: for whoever reads the memory again after it has changed.
  static Array pinned(Buffer buffer, DType dtype, Shape shape, std::span<const std::int64_t> strides,
                      std::int64_t offset);

  Array(const Array& other) : scalar_(other.scalar_), header_(other.header_) {
    if (header_) header_->owners.fetch_add(1, std::memory_order_relaxed);
  }
  Array(Array&& other) noexcept : scalar_(other.scalar_), header_(std::exchange(other.header_, nullptr)) {}
  Array& operator=(Array other) noexcept {
    std::swap(header_, other.header_);
    scalar_ = other.scalar_;
    return *this;
  }
  ~Array() {
    if (header_) drop(header_);
  }

  /// The same elements, known to trace number `trace` as `symbol`. `weak`: stands for a Python number.
  Array traced(std::uint32_t trace, std::uint32_t symbol, bool weak) const;
  /// The number of the trace that knows this array, or 0.
  std::uint32_t trace() const { return header_ ? header_->trace : 0; }
  std::uint32_t symbol() const { return header_->symbol; }
  /// A scalar that takes the dtype of what it meets, as a Python number does: traced, or made by `weak_scalar`.
  bool weak() const { return header_ && header_->weak; }
  /// A float64 that is weak without being traced.
  static Array weak_scalar(double value) { return Array(value).traced(0, 0, true); }
  /// The same elements, unknown to any trace.
  Array untraced() const;

  /// True for the 0-d float64 that lives inside the object.
  bool is_scalar() const { return header_ == nullptr; }
  /// Its value; only where `is_scalar()`.
  double scalar() const { return scalar_; }

  DType dtype() const { return header_ ? header_->dtype : DType::f64; }
  int ndim() const { return header_ ? header_->ndim : 0; }
  std::int64_t size() const { return header_ ? header_->size : 1; }
  Shape shape() const;
  std::span<const std::int64_t> strides() const;
  std::int64_t offset() const { return header_ ? header_->offset : 0; }
  /// C-ordered without gaps.
  bool contiguous() const { return !header_ || header_->contiguous; }
  /// The buffer; only where not `is_scalar()`.
  const Buffer& buffer() const { return header_->buffer; }

  /// The first element. T must be the dtype's C++ type (bool for boolean).
  template <class T>
  const T* data() const {
    return header_ ? static_cast<const T*>(header_->buffer.data()) + header_->offset
                   : reinterpret_cast<const T*>(&scalar_);
  }
  template <class T>
  T* writable_data() {
    return const_cast<T*>(std::as_const(*this).template data<T>());
  }
  const void* raw_data() const {
    return header_ ? static_cast<const char*>(header_->buffer.data()) + header_->offset * item_size(header_->dtype)
                   : static_cast<const void*>(&scalar_);
  }
  void* raw_writable_data() { return const_cast<void*>(raw_data()); }
  /// True where a write to the elements can be seen by no other array.
  bool unique() const {
    return !header_ || (header_->owners.load(std::memory_order_acquire) == 1 && header_->buffer.unique());
  }

  /// The value of an array of one element, as a double.
  double item() const;
  /// The same elements, C-ordered without gaps (itself where it already is).
  Array as_contiguous() const;
  /// A fresh C-ordered copy; a trace knows it as the same value.
  Array copy() const;
  /// The same values in another dtype (itself where it already has it).
  Array cast(DType dtype) const;

 private:
  struct Header {
    std::atomic<int> owners;
    DType dtype;
    bool contiguous;
    std::uint8_t ndim;
    bool weak;
    std::uint32_t trace;
    std::uint32_t symbol;
    std::int64_t size;
    std::int64_t offset;
    Buffer buffer;
    std::int64_t* extents() { return reinterpret_cast<std::int64_t*>(this + 1); }
  };
  explicit Array(Header* header) : header_(header) {}
  static Header* make_header(Buffer buffer, DType dtype, Shape shape, std::span<const std::int64_t> strides,
                             std::int64_t offset);
  static void drop(Header* header) {
    if (header->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(header);
  }
  static void destroy(Header* header);

  double scalar_ = 0.0;
  Header* header_ = nullptr;
};

/// How many arrays of the trace that this thread watches are alive, by symbol: a traced value that outlives its trace
/// has been stored somewhere.
struct TraceWatch {
  std::uint32_t trace = 0;
  std::vector<std::int32_t> alive;
  TraceWatch* outer = nullptr;  // of the trace around this one
};
TraceWatch& trace_watch();

/// float64 unless every floating operand is float32 and no int64 is among them, as NumPy promotes.
DType promote(DType a, DType b);
/// Copies elements of `from` (any strides, any dtype) over those of `to` (same shape).
void copy_elements(const Array& from, Array& to);

}  // namespace dualtape::array
