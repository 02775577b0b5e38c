// SPDX-License-Identifier: MIT
#include "dualtape/array/matmul.hpp"

#include <string>

#include "dualtape/array/convert.hpp"
#include "dualtape/array/kernels/matmul.hpp"
#include "dualtape/array/kernels/matmul_lanes.hpp"
#include "dualtape/array/views.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/num/isa.hpp"

namespace dualtape::array {
namespace {

template <class T>
const MatrixKernels<T>& kernels() {
#if defined(__x86_64__)
  switch (num::current_isa()) {
    case num::Isa::avx512:
      return avx512::matrix_kernels<T>();
    case num::Isa::avx2:
      return avx2::matrix_kernels<T>();
    case num::Isa::generic:
      break;
  }
#endif
  return generic::matrix_kernels<T>();
}

template <class T>
LanesKernel<T> lanes_kernel() {
#if defined(__x86_64__)
  switch (num::current_isa()) {
    case num::Isa::avx512:
      return avx512::lanes_product<T>();
    case num::Isa::avx2:
      return avx2::lanes_product<T>();
    case num::Isa::generic:
      break;
  }
#endif
  return generic::lanes_product<T>();
}

/// Exact products of whole numbers; those of bools are "any of both", as in NumPy.
void integer_product(const Product<std::int64_t>& p) {
  for (std::int64_t i = 0; i < p.m; ++i) {
    std::int64_t* row = p.c + i * p.c_row;
    for (std::int64_t j = 0; !p.accumulate && j < p.n; ++j) row[j] = 0;
    for (std::int64_t k = 0; k < p.k; ++k) {
      const std::uint64_t factor = static_cast<std::uint64_t>(p.a[i * p.a_row + k * p.a_column]);
      const std::int64_t* b = p.b + k * p.b_row;
      for (std::int64_t j = 0; j < p.n; ++j) {
        const std::uint64_t term = factor * static_cast<std::uint64_t>(b[j * p.b_column]);
        row[j] = static_cast<std::int64_t>(static_cast<std::uint64_t>(row[j]) + term);
      }
    }
  }
}

/// The shape of a @ b, and of the leading axes in `batch`.
Dims product_shape(const Array& a, const Array& b, Dims& batch) {
  const auto fail = [&](const std::string& what) -> Dims {
    throw ShapeError("matmul(" + to_string(a.shape()) + ", " + to_string(b.shape()) + "): " + what);
  };
  if (a.ndim() < 2 || b.ndim() < 2) return fail("matrices have at least two axes; reshape vectors to rows or columns.");
  const Shape sa = a.shape(), sb = b.shape();
  if (sa.back() != sb[sb.size() - 2]) {
    return fail("the inner extents differ; the rows of the first have " + std::to_string(sa.back()) +
                " elements and the columns of the second " + std::to_string(sb[sb.size() - 2]) +
                "; they must be equal (transpose one operand?).");
  }
  const std::int64_t m = sa[sa.size() - 2], n = sb.back();
  if (sa.size() == 2 && sb.size() == 2) return {m, n};
  const Shape batches[] = {sa.first(sa.size() - 2), sb.first(sb.size() - 2)};
  batch = broadcast_shapes("matmul, leading axes", batches);
  Dims out = batch;
  out.push_back(m);
  out.push_back(n);
  return out;
}

/// Strides of the leading axes of x, before its last `own` ones, repeated to those of the batch.
Dims batch_steps(const Array& x, int own, const Dims& batch) {
  Dims steps = Dims::filled(batch.size(), 0);
  const int added = batch.size() - (x.ndim() - own);
  for (int i = added; i < batch.size(); ++i) {
    const std::size_t from = static_cast<std::size_t>(i - added);
    if (x.shape()[from] != 1) steps[i] = x.strides()[from];
  }
  return steps;
}

/// A batch that multiplies one and the same b is one product of all its rows, where they follow each other.
template <class T>
void merge_batch(Product<T>& p, Dims& batch, const Dims& a_steps, const Dims& b_steps) {
  std::int64_t step = p.m * p.a_row, rows = p.m;
  for (int i = batch.size(); i-- > 0;) {
    if (batch[i] == 1) continue;
    if (b_steps[i] != 0 || a_steps[i] != step) return;
    step *= batch[i];
    rows *= batch[i];
  }
  p.m = rows;
  batch = Dims{};
}

template <class P, class Run>
void for_batch(P p, std::int64_t c_step, const Dims& batch, const Dims& a_steps, const Dims& b_steps, Run run) {
  const std::int64_t count = element_count(batch);
  Dims index = Dims::filled(batch.size(), 0);
  for (std::int64_t number = 0; number < count; ++number, p.c += c_step) {
    run(p);
    for (int i = batch.size(); i-- > 0;) {
      p.a += a_steps[i];
      p.b += b_steps[i];
      if (++index[i] < batch[i]) break;
      p.a -= a_steps[i] * batch[i];
      p.b -= b_steps[i] * batch[i];
      index[i] = 0;
    }
  }
}

template <class T>
void multiply(Array& out, const Array& a, const Array& b, Dims batch, bool accumulate) {
  const auto a_strides = a.strides().last(2), b_strides = b.strides().last(2);
  Product<T> p{.m = a.shape()[a.shape().size() - 2],
               .n = b.shape().back(),
               .k = a.shape().back(),
               .a = a.data<T>(),
               .a_row = a_strides[0],
               .a_column = a_strides[1],
               .b = b.data<T>(),
               .b_row = b_strides[0],
               .b_column = b_strides[1],
               .c = out.writable_data<T>(),
               .c_row = b.shape().back(),
               .accumulate = accumulate,
               .scratch = nullptr};
  if (out.size() == 0) return;
  const Dims a_steps = batch_steps(a, 2, batch), b_steps = batch_steps(b, 2, batch);
  if constexpr (std::is_same_v<T, std::int64_t>) {
    for_batch(p, p.m * p.n, batch, a_steps, b_steps, integer_product);
  } else {
    // (A row times a column has an order of its own, so rows of those stay apart.)
    if (!batch.empty() && (p.m > 1 || p.n > 1)) merge_batch(p, batch, a_steps, b_steps);
    const MatrixKernels<T>& kernel = kernels<T>();
    const std::int64_t elements = kernel.scratch(p);
    Buffer scratch;
    if (elements > 0) {
      scratch = Buffer::allocate(static_cast<std::size_t>(elements) * sizeof(T));
      p.scratch = static_cast<T*>(scratch.data());
    }
    for_batch(p, p.m * p.n, batch, a_steps, b_steps, kernel.product);
  }
}

void product_into(Array& out, const Array& a, const Array& b, const Dims& batch, bool accumulate) {
  const DType dtype = out.dtype();
  if (a.dtype() != dtype || b.dtype() != dtype) {
    product_into(out, a.cast(dtype), b.cast(dtype), batch, accumulate);
  } else if (dtype == DType::f64) {
    multiply<double>(out, a, b, batch, accumulate);
  } else if (dtype == DType::f32) {
    multiply<float>(out, a, b, batch, accumulate);
  } else {
    multiply<std::int64_t>(out, a, b, batch, accumulate);
  }
}

/// x without its last axis: at index `lane` of it.
Array at_lane(const Array& x, std::int64_t lane) {
  const int rank = x.ndim() - 1;
  Dims shape, strides;
  for (int i = 0; i < rank; ++i) {
    shape.push_back(x.shape()[static_cast<std::size_t>(i)]);
    strides.push_back(x.strides()[static_cast<std::size_t>(i)]);
  }
  const std::int64_t step = x.strides()[static_cast<std::size_t>(rank)];
  return Array::pinned(x.buffer(), x.dtype(), shape, strides, x.offset() + lane * step);
}

/// Operands whose lanes are adjacent or one number.
template <class T>
void multiply_lanes(Array& out, const Array& a, const Array& b, const Dims& batch) {
  const auto a_strides = a.strides().last(3), b_strides = b.strides().last(3);
  const LanesProduct<T> p{.m = a.shape().last(3)[0],
                          .n = b.shape().last(2)[0],
                          .k = a.shape().last(2)[0],
                          .lanes = out.shape().back(),
                          .a = a.data<T>(),
                          .a_row = a_strides[0],
                          .a_column = a_strides[1],
                          .a_shared = a_strides[2] == 0,
                          .b = b.data<T>(),
                          .b_row = b_strides[0],
                          .b_column = b_strides[1],
                          .b_shared = b_strides[2] == 0,
                          .c = out.writable_data<T>()};
  if (out.size() == 0) return;
  for_batch(p, p.m * p.n * p.lanes, batch, batch_steps(a, 3, batch), batch_steps(b, 3, batch), lanes_kernel<T>());
}

}  // namespace

void matmul_lanes_into(Array& out, const Array& a, const Array& b) {
  Dims batch;
  product_shape(at_lane(a, 0), at_lane(b, 0), batch);
  const auto direct = [&](const Array& x) { return x.dtype() == out.dtype() && x.strides().back() <= 1; };
  const bool any = a.strides().back() == 1 || b.strides().back() == 1;
  if (is_float(out.dtype()) && direct(a) && direct(b) && any && out.contiguous()) {
    return out.dtype() == DType::f64 ? multiply_lanes<double>(out, a, b, batch)
                                     : multiply_lanes<float>(out, a, b, batch);
  }
  for (std::int64_t lane = 0; lane < out.shape().back(); ++lane) {
    Array target = at_lane(out, lane);
    copy_elements(matmul(at_lane(a, lane), at_lane(b, lane)), target);
  }
}

Array matmul(const Array& a, const Array& b) {
  Dims batch;
  const Dims shape = product_shape(a, b, batch);
  const DType dtype = promote(a.dtype(), b.dtype());
  Array out = Array::empty(dtype == DType::boolean ? DType::i64 : dtype, shape);
  product_into(out, a, b, batch, false);
  if (dtype == DType::boolean) return out.cast(dtype);
  return out;
}

void matmul_into(Array& out, const Array& a, const Array& b, bool accumulate) {
  Dims batch;
  const Dims shape = product_shape(a, b, batch);
  if (!same_shape(out.shape(), shape) || !out.contiguous() || out.dtype() != promote(a.dtype(), b.dtype())) {
    throw ShapeError("matmul(" + to_string(a.shape()) + ", " + to_string(b.shape()) +
                     "): the target does not fit; it has the shape " + to_string(out.shape()) + " and dtype " +
                     std::string(name(out.dtype())) + "; it must be C-ordered, of shape " + to_string(shape) + ".");
  }
  if (out.dtype() == DType::boolean) throw DTypeError("matmul: a product of bools cannot be accumulated; use matmul.");
  product_into(out, a, b, batch, accumulate);
}

void block_product(double* c, std::int64_t c_row, const double* a, std::int64_t a_row, std::int64_t a_column,
                   const double* b, std::int64_t b_row, std::int64_t b_column, ProductSize size, bool accumulate,
                   Buffer& scratch) {
  Product<double> p{size.m, size.n, size.k, a, a_row, a_column, b, b_row, b_column, c, c_row, accumulate, nullptr};
  const MatrixKernels<double>& kernel = kernels<double>();
  const auto bytes = static_cast<std::size_t>(kernel.scratch(p)) * sizeof(double);
  if (bytes > 0) {
    if (!scratch || scratch.bytes() < bytes) scratch = Buffer::allocate(bytes);
    p.scratch = static_cast<double*>(scratch.data());
  }
  kernel.product(p);
}

}  // namespace dualtape::array
