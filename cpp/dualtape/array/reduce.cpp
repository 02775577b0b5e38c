// SPDX-License-Identifier: MIT
// A reduction is brought into one of the two forms the kernels have: rows (the reduced axes are one regular sequence
// for each result) or columns (results lie side by side). Start reading at `reduce`.
#include "dualtape/array/reduce.hpp"

#include <algorithm>
#include <numeric>
#include <string>

#include "dualtape/array/convert.hpp"
#include "dualtape/array/kernels/reduce.hpp"
#include "dualtape/array/views.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/num/isa.hpp"

namespace dualtape::array {
namespace {

// Whole numbers and bools need no tree: the order of their operations leaves no trace.
template <class T, T (*kOp)(T, T)>
void integer_rows(const T* x, std::int64_t rows, std::int64_t row, std::int64_t n, std::int64_t step, T* out) {
  for (std::int64_t i = 0; i < rows; ++i, x += row) {
    T value = x[0];
    for (std::int64_t k = 1; k < n; ++k) value = kOp(value, x[k * step]);
    out[i] = value;
  }
}
template <class T, T (*kOp)(T, T)>
void integer_columns(const T* x, std::int64_t n, std::int64_t row, std::int64_t columns, T* out) {
  std::copy_n(x, columns, out);
  for (std::int64_t k = 1; k < n; ++k) {
    for (std::int64_t j = 0; j < columns; ++j) out[j] = kOp(out[j], x[k * row + j]);
  }
}
template <class T>
std::int64_t integer_find(const T* x, std::int64_t n, T value) {
  return std::find(x, x + n, value) - x;
}
template <class T, T (*kOp)(T, T)>
constexpr Reduction<T> integer_reduction() {
  return {integer_rows<T, kOp>, integer_columns<T, kOp>};
}
template <class T>
T wrapping_add(T a, T b) {
  return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}
template <class T>
T wrapping_multiply(T a, T b) {
  return static_cast<T>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}
template <class T>
T larger(T a, T b) {
  return a < b ? b : a;
}
template <class T>
T smaller(T a, T b) {
  return b < a ? b : a;
}

template <class T>
const ReduceKernels<T>& kernels() {
  if constexpr (std::is_integral_v<T>) {
    static constexpr ReduceKernels<T> kTable = {
        integer_reduction<T, wrapping_add<T>>(), integer_reduction<T, wrapping_multiply<T>>(),
        integer_reduction<T, larger<T>>(), integer_reduction<T, smaller<T>>(), integer_find<T>};
    return kTable;
  } else {
#if defined(__x86_64__)
    switch (num::current_isa()) {
      case num::Isa::avx512:
        return avx512::reduce_kernels<T>();
      case num::Isa::avx2:
        return avx2::reduce_kernels<T>();
      case num::Isa::generic:
        break;
    }
#endif
    return generic::reduce_kernels<T>();
  }
}

/// Axes as few loops: neighbours that form one regular sequence are one, axes of extent 1 are none.
struct Loops {
  Dims extents, strides;

  void add(std::int64_t extent, std::int64_t stride) {
    if (extent == 1) return;
    const int last = extents.size() - 1;
    if (last >= 0 && strides[last] == extent * stride) {
      extents[last] *= extent;
      strides[last] = stride;
    } else {
      extents.push_back(extent);
      strides.push_back(stride);
    }
  }
};

bool contains(const Dims& axes, int axis) { return std::find(axes.begin(), axes.end(), axis) != axes.end(); }

/// Fills out (C-ordered, not empty) with the reduction of x over `axes`; there is at least one element to each.
template <class T>
void reduce_into(const Array& x, const Dims& axes, const Reduction<T>& kernel, T* out) {
  Loops kept, reduced;
  for (int i = 0; i < x.ndim(); ++i) {
    const std::size_t k = static_cast<std::size_t>(i);
    (contains(axes, i) ? reduced : kept).add(x.shape()[k], x.strides()[k]);
  }
  if (reduced.extents.size() > 1) {  // no regular sequence: make one
    Dims order;
    for (int i = 0; i < x.ndim(); ++i) {
      if (!contains(axes, i)) order.push_back(i);
    }
    const int first = order.size();
    for (std::int64_t axis : axes) order.push_back(axis);
    Dims last;
    for (int i = first; i < order.size(); ++i) last.push_back(i);
    return reduce_into<T>(transpose(x, order).copy(), last, kernel, out);
  }
  const std::int64_t n = reduced.extents.empty() ? 1 : reduced.extents[0];
  const std::int64_t step = reduced.extents.empty() ? 1 : reduced.strides[0];
  std::int64_t results = 1, stride = 0;  // the innermost kept loop is the kernel's
  if (!kept.extents.empty()) {
    results = kept.extents.back();
    stride = kept.strides.back();
    kept.extents.erase(kept.extents.size() - 1);
    kept.strides.erase(kept.strides.size() - 1);
  }
  const T* from = x.data<T>();
  const std::int64_t count = element_count(kept.extents);
  Dims index = Dims::filled(kept.extents.size(), 0);
  for (std::int64_t number = 0; number < count; ++number, out += results) {
    if (stride == 1 && (step != 1 || n == 1))
      kernel.columns(from, n, step, results, out);
    else
      kernel.rows(from, results, stride, n, step, out);
    for (int i = index.size(); i-- > 0;) {
      from += kept.strides[i];
      if (++index[i] < kept.extents[i]) break;
      from -= kept.strides[i] * kept.extents[i];
      index[i] = 0;
    }
  }
}

/// The reduction `which`, or `empty` where there is nothing to reduce.
template <class T>
Array reduce(const Array& x, const Dims& axes, bool keepdims, Reduction<T> ReduceKernels<T>::*which, T empty) {
  const Dims shape = reduced_shape(x.shape(), axes, keepdims);
  Array out = Array::empty(dtype_of<T>, shape);
  T* to = out.writable_data<T>();
  if (x.size() == 0)
    std::fill_n(to, out.size(), empty);
  else
    reduce_into<T>(x, axes, kernels<T>().*which, to);
  return out;
}

template <bool kMax>
Array extremum(const char* op, const Array& x, Axes given, bool keepdims) {
  const Dims axes = normalize_axes(op, given, x.ndim());
  const bool none = std::any_of(axes.begin(), axes.end(),
                                [&](std::int64_t axis) { return x.shape()[static_cast<std::size_t>(axis)] == 0; });
  if (none) {
    throw ShapeError(std::string(op) + '(' + to_string(x.shape()) +
                     "): there is no element to choose; an axis to reduce is empty; give at least one element.");
  }
  return dispatch(x.dtype(), [&]<class T>() {
    return reduce<T>(x, axes, keepdims, kMax ? &ReduceKernels<T>::max : &ReduceKernels<T>::min, T{});
  });
}

template <bool kMax>
Array position(const char* op, const Array& given, std::optional<std::int64_t> axis, bool keepdims) {
  Array x = given;
  Dims shape = Dims::filled(keepdims ? given.ndim() : 0, 1);
  if (axis) {
    const int at = normalize_axis(op, *axis, given.ndim());
    shape = reduced_shape(given.shape(), Dims{at}, keepdims);
    Dims order = all_axes(given);
    order.erase(at);
    order.push_back(at);
    x = transpose(given, order);
  }
  x = x.as_contiguous();
  Array out = Array::empty(DType::i64, shape);
  std::int64_t* to = out.writable_data<std::int64_t>();
  if (out.size() == 0) return out;
  const std::int64_t n = x.size() / out.size();
  if (n == 0) {
    throw ShapeError(std::string(op) + '(' + to_string(given.shape()) +
                     "): there is no element to choose; an axis to search is empty; give at least one element.");
  }
  dispatch(x.dtype(), [&]<class T>() {
    const Array best = reduce<T>(reshape(x, Dims{out.size(), n}), Dims{1}, false,
                                 kMax ? &ReduceKernels<T>::max : &ReduceKernels<T>::min, T{});
    const T* from = x.data<T>();
    for (std::int64_t i = 0; i < out.size(); ++i, from += n) {
      to[i] = kernels<T>().find(from, n, best.data<T>()[i]);
    }
  });
  return out;
}

/// bool: is each element nonzero.
Array nonzero_mask(const Array& x) {
  if (x.dtype() == DType::boolean) return x;
  return x.cast(DType::boolean);
}

}  // namespace

Dims all_axes(const Array& x) {
  Dims axes = Dims::filled(x.ndim(), 0);
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

Array sum(const Array& x, Axes given, bool keepdims) {
  const Dims axes = normalize_axes("sum", given, x.ndim());
  if (x.dtype() == DType::f64) return reduce<double>(x, axes, keepdims, &ReduceKernels<double>::sum, 0);
  if (x.dtype() == DType::f32) return reduce<float>(x, axes, keepdims, &ReduceKernels<float>::sum, 0);
  typedef std::int64_t T;
  return reduce<T>(x.cast(DType::i64), axes, keepdims, &ReduceKernels<T>::sum, 0);
}

Array prod(const Array& x, Axes given, bool keepdims) {
  const Dims axes = normalize_axes("prod", given, x.ndim());
  if (x.dtype() == DType::f64) return reduce<double>(x, axes, keepdims, &ReduceKernels<double>::prod, 1);
  if (x.dtype() == DType::f32) return reduce<float>(x, axes, keepdims, &ReduceKernels<float>::prod, 1);
  typedef std::int64_t T;
  return reduce<T>(x.cast(DType::i64), axes, keepdims, &ReduceKernels<T>::prod, 1);
}

Array max(const Array& x, Axes axes, bool keepdims) { return extremum<true>("max", x, axes, keepdims); }
Array min(const Array& x, Axes axes, bool keepdims) { return extremum<false>("min", x, axes, keepdims); }

Array argmax(const Array& x, std::optional<std::int64_t> axis, bool keepdims) {
  return position<true>("argmax", x, axis, keepdims);
}
Array argmin(const Array& x, std::optional<std::int64_t> axis, bool keepdims) {
  return position<false>("argmin", x, axis, keepdims);
}

Array any(const Array& x, Axes axes, bool keepdims) {
  return reduce<bool>(nonzero_mask(x), normalize_axes("any", axes, x.ndim()), keepdims, &ReduceKernels<bool>::max,
                      false);
}
Array all(const Array& x, Axes axes, bool keepdims) {
  return reduce<bool>(nonzero_mask(x), normalize_axes("all", axes, x.ndim()), keepdims, &ReduceKernels<bool>::min,
                      true);
}
Array count_nonzero(const Array& x, Axes axes, bool keepdims) { return sum(nonzero_mask(x), axes, keepdims); }

Array cumsum(const Array& given, std::int64_t axis, bool reverse) {
  const int at = normalize_axis("cumsum", axis, given.ndim());
  const std::size_t k = static_cast<std::size_t>(at);
  const std::int64_t n = given.shape()[k];
  const std::int64_t outer = element_count(given.shape().first(k)), inner = element_count(given.shape().subspan(k + 1));
  Array out = is_float(given.dtype()) ? given.copy() : given.cast(DType::i64).copy();
  if (out.size() == 0) return out;
  const auto run = [&]<class T>() {
    for (std::int64_t o = 0; o < outer; ++o) {
      T* block = out.writable_data<T>() + o * n * inner;
      for (std::int64_t i = 1; i < n; ++i) {
        T* row = block + (reverse ? n - 1 - i : i) * inner;
        const T* before = reverse ? row + inner : row - inner;
        for (std::int64_t j = 0; j < inner; ++j) {
          if constexpr (std::is_integral_v<T>)
            row[j] = wrapping_add(row[j], before[j]);
          else
            row[j] += before[j];
        }
      }
    }
  };
  if (out.dtype() == DType::f64)
    run.template operator()<double>();
  else if (out.dtype() == DType::f32)
    run.template operator()<float>();
  else
    run.template operator()<std::int64_t>();
  return out;
}

Array sum_to_shape(const Array& ct, Shape shape) {
  if (same_shape(ct.shape(), shape)) return ct;
  const int added = ct.ndim() - static_cast<int>(shape.size());
  Dims axes;
  bool fits = added >= 0;
  for (int i = 0; fits && i < ct.ndim(); ++i) {
    const std::int64_t extent = ct.shape()[static_cast<std::size_t>(i)];
    const std::int64_t wanted = i < added ? 1 : shape[static_cast<std::size_t>(i - added)];
    if (i < added || wanted != extent) axes.push_back(i);
    fits = i < added || wanted == extent || wanted == 1;
  }
  if (!fits) {
    throw ShapeError("sum_to_shape(" + to_string(ct.shape()) + ", " + to_string(shape) +
                     "): the second shape does not broadcast to the first; its extents must be equal or 1.");
  }
  return reshape(sum(ct, axes), shape);
}

}  // namespace dualtape::array
