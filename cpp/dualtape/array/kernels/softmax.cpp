// SPDX-License-Identifier: MIT
// softmax, log_softmax and logsumexp. A group of rows or columns goes through the steps together while it lies in L1:
// the maximum of each, the differences from it, their exponentials (one run over the whole group, so that short rows
// fill vectors), the sums, the results.
// A sum is 1 at least, so that a product with its reciprocal may stand for a division. Sums follow the tree of
// tree.hpp.
#include "dualtape/array/kernels/softmax.hpp"

#include "dualtape/array/kernels/tree.hpp"
#include "dualtape/num/lanes_math.hpp"

namespace dualtape::array::DUALTAPE_ISA {
namespace {

template <class T>
using Lanes = dualtape::DUALTAPE_ISA::lanes<T, dualtape::DUALTAPE_ISA::kWidth<T>>;

/// x[i] = f(x[i]); the last vector is filled up, so that every element goes the same way.
template <class T, class F>
inline void map(T* x, std::int64_t n, F f) {
  constexpr int kW = Lanes<T>::width;
  std::int64_t i = 0;
  for (; i + kW <= n; i += kW) f(Lanes<T>::load(x + i)).store(x + i);
  if (i == n) return;
  T last[kW] = {};
  for (std::int64_t k = i; k < n; ++k) last[k - i] = x[k];
  f(Lanes<T>::load(last)).store(last);
  for (std::int64_t k = i; k < n; ++k) x[k] = last[k - i];
}
template <class T>
[[gnu::noinline]] void exponentials(T* x, std::int64_t n) {
  map(x, n, [](Lanes<T> v) { return exp(v); });
}
template <class T>
[[gnu::noinline]] void logarithms(T* x, std::int64_t n) {
  map(x, n, [](Lanes<T> v) { return log(v); });
}

/// What is subtracted before exponentiation: the maximum. Where that is infinite, the logarithmic forms subtract
/// nothing, so that they end in -inf or inf and not in NaN.
template <class T>
inline T shift_of(T top, Normalizer kind) {
  return kind != Normalizer::softmax && __builtin_isinf(top) ? T(0) : top;
}

/// to[i] = f(x[i]), a vector at a time.
template <class T, class F>
inline void map_row(const T* x, std::int64_t n, T* to, F f) {
  for_vectors<T>(n, [=](std::int64_t i, int count) { store_up_to(to + i, count, f(load_up_to(x + i, count))); });
}
/// to[i] = f(x[i], y[i]).
template <class T, class F>
inline void map_rows(const T* x, const T* y, std::int64_t n, T* to, F f) {
  for_vectors<T>(n, [=](std::int64_t i, int count) {
    store_up_to(to + i, count, f(load_up_to(x + i, count), load_up_to(y + i, count)));
  });
}

/// `count` rows of n elements that follow each other.
template <class T>
void row_group(const SoftmaxTask<T>& t, const T* x, std::int64_t count, T* out) {
  const std::int64_t n = t.n;
  T* work = t.kind == Normalizer::softmax ? out : t.scratch;
  T shifts[kSoftmaxGroup], sums[kSoftmaxGroup];
  row_trees<Maximum>(x, count, n, n, shifts);
  for (std::int64_t r = 0; r < count; ++r) {
    const T shift = shifts[r] = shift_of(shifts[r], t.kind);
    map_row(x + r * n, n, work + r * n, [shift](Vector<T> v) { return v - shift; });
  }
  exponentials(work, count * n);
  row_trees<Add>(work, count, n, n, sums);
  if (t.kind == Normalizer::softmax) {
    for (std::int64_t r = 0; r < count; ++r) {
      map_row(out + r * n, n, out + r * n, [scale = 1 / sums[r]](Vector<T> v) { return v * scale; });
    }
    return;
  }
  logarithms(sums, count);
  for (std::int64_t r = 0; r < count; ++r) {
    if (t.kind == Normalizer::logsumexp) {
      out[r] = shifts[r] + sums[r];
    } else {
      map_row(x + r * n, n, out + r * n, [shift = shifts[r], sum = sums[r]](Vector<T> v) { return v - shift - sum; });
    }
  }
}

/// `count` columns of n elements; rows of x and out are t.inner apart (out is one row for logsumexp).
template <class T>
void column_group(const SoftmaxTask<T>& t, const T* x, std::int64_t count, T* out) {
  const std::int64_t n = t.n, row = t.inner;
  const bool in_place = t.kind == Normalizer::softmax && count == row;
  T* work = in_place ? out : t.scratch;
  T shifts[kSoftmaxGroup], sums[kSoftmaxGroup];
  column_tree<Maximum>(x, n, row, count, shifts);
  for (std::int64_t j = 0; j < count; ++j) shifts[j] = shift_of(shifts[j], t.kind);
  const auto subtract = [](Vector<T> a, Vector<T> b) { return a - b; };
  for (std::int64_t i = 0; i < n; ++i) map_rows<T>(x + i * row, shifts, count, work + i * count, subtract);
  exponentials(work, n * count);
  column_tree<Add>(work, n, count, count, sums);
  if (t.kind == Normalizer::softmax) {
    for (std::int64_t j = 0; j < count; ++j) sums[j] = 1 / sums[j];
    const auto multiply = [](Vector<T> a, Vector<T> b) { return a * b; };
    for (std::int64_t i = 0; i < n; ++i) map_rows<T>(work + i * count, sums, count, out + i * row, multiply);
    return;
  }
  logarithms(sums, count);
  if (t.kind == Normalizer::logsumexp) {
    map_rows<T>(shifts, sums, count, out, [](Vector<T> a, Vector<T> b) { return a + b; });
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    map_rows<T>(x + i * row, shifts, count, out + i * row, subtract);
    map_rows<T>(out + i * row, sums, count, out + i * row, subtract);
  }
}

template <class T>
void softmax(const SoftmaxTask<T>& t) {
  const bool reduces = t.kind == Normalizer::logsumexp;
  if (t.inner == 1) {
    for (std::int64_t r = 0; r < t.outer; r += t.group) {
      const std::int64_t count = t.outer - r < t.group ? t.outer - r : t.group;
      row_group(t, t.x + r * t.n, count, t.out + (reduces ? r : r * t.n));
    }
    return;
  }
  for (std::int64_t o = 0; o < t.outer; ++o) {
    const T* x = t.x + o * t.n * t.inner;
    T* out = t.out + o * t.inner * (reduces ? 1 : t.n);
    for (std::int64_t j = 0; j < t.inner; j += t.group) {
      column_group(t, x + j, t.inner - j < t.group ? t.inner - j : t.group, out + j);
    }
  }
}

}  // namespace

template <class T>
SoftmaxKernel<T> softmax_kernel() {
  return softmax<T>;
}
template SoftmaxKernel<double> softmax_kernel<double>();
template SoftmaxKernel<float> softmax_kernel<float>();

}  // namespace dualtape::array::DUALTAPE_ISA
