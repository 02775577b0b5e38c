// SPDX-License-Identifier: MIT
// logsumexp, softmax and log_softmax (declared in reduce.hpp): the axis is put between what comes before and after
// it, and a kernel does the rest.
#include "dualtape/array/kernels/softmax.hpp"

#include <algorithm>

#include "dualtape/array/convert.hpp"
#include "dualtape/array/reduce.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/num/isa.hpp"

namespace dualtape::array {
namespace {

template <class T>
SoftmaxKernel<T> kernel() {
#if defined(__x86_64__)
  switch (num::current_isa()) {
    case num::Isa::avx512:
      return avx512::softmax_kernel<T>();
    case num::Isa::avx2:
      return avx2::softmax_kernel<T>();
    case num::Isa::generic:
      break;
  }
#endif
  return generic::softmax_kernel<T>();
}

template <class T>
void run(Normalizer kind, const Array& x, std::size_t at, Array& out) {
  SoftmaxTask<T> task{kind,
                      element_count(x.shape().first(at)),
                      x.shape()[at],
                      element_count(x.shape().subspan(at + 1)),
                      x.data<T>(),
                      out.writable_data<T>(),
                      1,
                      nullptr};
  // As many rows or columns as L1 holds; columns enough to fill cache lines.
  constexpr std::int64_t kElements = 16384 / sizeof(T);
  const std::int64_t least = task.inner == 1 ? 1 : 64, most = task.inner == 1 ? task.outer : task.inner;
  task.group = std::min(most, std::clamp(kElements / task.n, least, kSoftmaxGroup));
  const Buffer scratch = Buffer::allocate(static_cast<std::size_t>(task.n * task.group) * sizeof(T));
  task.scratch = static_cast<T*>(scratch.data());
  kernel<T>()(task);
}

Array normalize(const char* op, Normalizer kind, const Array& given, std::int64_t axis, bool keepdims) {
  const int at = normalize_axis(op, axis, given.ndim());
  const Array x = given.cast(float_dtype(given.dtype())).as_contiguous();
  const bool reduces = kind == Normalizer::logsumexp;
  const Dims shape = reduces ? reduced_shape(x.shape(), Dims{at}, keepdims) : Dims(x.shape());
  Array out = Array::empty(x.dtype(), shape);
  if (out.size() == 0) return out;
  if (x.size() == 0) return Array::full(x.dtype(), shape, -__builtin_inf());  // the logarithm of no summand
  if (x.dtype() == DType::f64)
    run<double>(kind, x, static_cast<std::size_t>(at), out);
  else
    run<float>(kind, x, static_cast<std::size_t>(at), out);
  return out;
}

}  // namespace

Array logsumexp(const Array& x, std::int64_t axis, bool keepdims) {
  return normalize("logsumexp", Normalizer::logsumexp, x, axis, keepdims);
}
Array softmax(const Array& x, std::int64_t axis) { return normalize("softmax", Normalizer::softmax, x, axis, true); }
Array log_softmax(const Array& x, std::int64_t axis) {
  return normalize("log_softmax", Normalizer::log_softmax, x, axis, true);
}

}  // namespace dualtape::array
