// SPDX-License-Identifier: MIT
#include "dualtape/array/array.hpp"

#include <cstring>
#include <new>

#include "dualtape/array/convert.hpp"
#include "dualtape/base/error.hpp"

namespace dualtape::array {
namespace {

bool is_contiguous(Shape shape, std::span<const std::int64_t> strides) {
  std::int64_t step = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != step) return false;
    step *= shape[i];
  }
  return true;
}

template <class From, class To>
void copy_strided(const From* from, std::span<const std::int64_t> from_strides, To* to,
                  std::span<const std::int64_t> to_strides, Shape shape) {
  const int ndim = static_cast<int>(shape.size());
  if (element_count(shape) == 0) return;
  if (ndim == 0) {
    *to = static_cast<To>(*from);
    return;
  }
  const std::int64_t inner = shape.back(), from_step = from_strides.back(), to_step = to_strides.back();
  Dims index = Dims::filled(ndim, 0);
  while (true) {
    for (std::int64_t i = 0; i < inner; ++i) to[i * to_step] = static_cast<To>(from[i * from_step]);
    int axis = ndim - 2;
    for (; axis >= 0; --axis) {
      const std::size_t k = static_cast<std::size_t>(axis);
      from += from_strides[k];
      to += to_strides[k];
      if (++index[axis] < shape[k]) break;
      index[axis] = 0;
      from -= from_strides[k] * shape[k];
      to -= to_strides[k] * shape[k];
    }
    if (axis < 0) return;
  }
}

}  // namespace

Array::Header* Array::make_header(Buffer buffer, DType dtype, Shape shape, std::span<const std::int64_t> strides,
                                  std::int64_t offset) {
  const std::size_t extra = 2 * shape.size() * sizeof(std::int64_t);
  Header* header = new (allocate_small(sizeof(Header) + extra)) Header{{1},
                                                                       dtype,
                                                                       is_contiguous(shape, strides),
                                                                       static_cast<std::uint8_t>(shape.size()),
                                                                       false,
                                                                       0,
                                                                       0,
                                                                       element_count(shape),
                                                                       offset,
                                                                       std::move(buffer)};
  std::copy(shape.begin(), shape.end(), header->extents());
  std::copy(strides.begin(), strides.end(), header->extents() + shape.size());
  memory_counts().arrays.fetch_add(1, std::memory_order_relaxed);
  return header;
}

Array Array::view(Buffer buffer, DType dtype, Shape shape, std::span<const std::int64_t> strides, std::int64_t offset) {
  Array out(make_header(std::move(buffer), dtype, shape, strides, offset));
  if (out.ndim() == 0 && dtype == DType::f64) return Array(*out.data<double>());
  return out;
}

Array Array::pinned(Buffer buffer, DType dtype, Shape shape, std::span<const std::int64_t> strides,
                    std::int64_t offset) {
  return Array(make_header(std::move(buffer), dtype, shape, strides, offset));
}

TraceWatch& trace_watch() {
  static thread_local TraceWatch watch;
  return watch;
}

namespace {
TraceWatch* watch_of(std::uint32_t trace) {
  TraceWatch* watch = &trace_watch();
  while (watch && watch->trace != trace) watch = watch->outer;
  return watch;
}
}  // namespace

Array Array::traced(std::uint32_t trace, std::uint32_t symbol, bool weak) const {
  Array out;
  if (header_) {
    out.header_ = make_header(header_->buffer, dtype(), shape(), strides(), offset());
  } else {
    Buffer buffer = Buffer::allocate(sizeof(double));
    *static_cast<double*>(buffer.data()) = scalar_;
    out.header_ = make_header(std::move(buffer), DType::f64, {}, {}, 0);
  }
  out.header_->trace = trace;
  out.header_->symbol = symbol;
  out.header_->weak = weak;
  if (TraceWatch* watch = trace ? watch_of(trace) : nullptr) {
    if (watch->alive.size() <= symbol) watch->alive.resize(std::max<std::size_t>(64, 2 * symbol + 1));
    ++watch->alive[symbol];
  }
  return out;
}

Array Array::untraced() const { return trace() ? view(header_->buffer, dtype(), shape(), strides(), offset()) : *this; }

void Array::destroy(Header* header) {
  memory_counts().arrays.fetch_sub(1, std::memory_order_relaxed);
  if (header->trace) [[unlikely]] {
    if (TraceWatch* watch = watch_of(header->trace)) --watch->alive[header->symbol];
  }
  const std::size_t bytes = sizeof(Header) + 2 * header->ndim * sizeof(std::int64_t);
  header->~Header();
  free_small(header, bytes);
}

Array Array::empty(DType dtype, Shape shape) {
  if (shape.empty() && dtype == DType::f64) return Array(0.0);
  const std::int64_t bytes = element_count(shape) * item_size(dtype);
  return view(Buffer::allocate(static_cast<std::size_t>(bytes)), dtype, shape, contiguous_strides(shape), 0);
}

Array Array::zeros(DType dtype, Shape shape) {
  Array out = empty(dtype, shape);
  std::memset(out.raw_writable_data(), 0, static_cast<std::size_t>(out.size() * item_size(dtype)));
  return out;
}

Array Array::full(DType dtype, Shape shape, double value) {
  Array out = empty(dtype, shape);
  dispatch(dtype, [&]<class T>() { std::fill_n(out.writable_data<T>(), out.size(), static_cast<T>(value)); });
  return out;
}

Shape Array::shape() const {
  if (!header_) return {};
  return {header_->extents(), header_->ndim};
}

std::span<const std::int64_t> Array::strides() const {
  if (!header_) return {};
  return {header_->extents() + header_->ndim, header_->ndim};
}

double Array::item() const {
  if (size() != 1) {
    throw ShapeError("item: only an array of one element has a single value; the shape is " + to_string(shape()) +
                     "; reduce it first, or index it.");
  }
  return dispatch(dtype(), [&]<class T>() { return static_cast<double>(*data<T>()); });
}

Array Array::as_contiguous() const { return contiguous() ? *this : copy(); }

Array Array::copy() const {
  if (!header_) return *this;
  Array out = empty(dtype(), shape());
  copy_elements(*this, out);
  return trace() ? out.traced(trace(), symbol(), weak()) : out;
}

Array Array::cast(DType to) const {
  if (dtype() == to) return *this;
  Array out = empty(to, shape());
  copy_elements(*this, out);
  return out;
}

DType promote(DType a, DType b) {
  if (a == b) return a;
  if (a == DType::boolean) return b;
  if (b == DType::boolean) return a;
  return DType::f64;  // float64 with anything, and int64 with float32, as NumPy has it
}

void copy_elements(const Array& from, Array& to) {
  if (from.dtype() == to.dtype() && from.contiguous() && to.contiguous()) {
    std::memmove(to.raw_writable_data(), from.raw_data(),
                 static_cast<std::size_t>(from.size() * item_size(from.dtype())));
    return;
  }
  dispatch(from.dtype(), [&]<class From>() {
    dispatch(to.dtype(), [&]<class To>() {
      copy_strided(from.data<From>(), from.strides(), to.writable_data<To>(), to.strides(), from.shape());
    });
  });
}

}  // namespace dualtape::array
