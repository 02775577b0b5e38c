// SPDX-License-Identifier: MIT
// Helpers of the tests of shaped kernels: arrays of random numbers in awkward layouts, reading by index, comparison
// by bits, and a loop over the instruction sets of this machine.
#pragma once

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <vector>

#include "dualtape/array/array.hpp"
#include "dualtape/array/convert.hpp"
#include "dualtape/array/views.hpp"
#include "dualtape/num/isa.hpp"

namespace dualtape::testing {

using array::Array;
using array::DType;

/// Normally distributed; the same numbers for the same seed.
inline Array random(DType dtype, const Dims& shape, unsigned seed = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  Array out = Array::empty(dtype, shape);
  if (out.is_scalar()) return Array(normal(engine));
  array::dispatch(dtype, [&]<class T>() {
    for (std::int64_t i = 0; i < out.size(); ++i) out.writable_data<T>()[i] = static_cast<T>(3 * normal(engine));
  });
  return out;
}

template <class T>
Array array_of(const std::vector<T>& values, const Dims& shape) {
  Array out = Array::empty(array::dtype_of<T>, shape);
  if (out.is_scalar()) return Array(static_cast<double>(values[0]));
  for (std::size_t i = 0; i < values.size(); ++i) out.writable_data<T>()[i] = values[i];
  return out;
}
template <class T>
Array vector_of(const std::vector<T>& values) {
  return array_of(values, Dims{static_cast<std::int64_t>(values.size())});
}

/// The elements in C order, read one by one.
template <class T = double>
std::vector<T> elements(const Array& x) {
  std::vector<T> out;
  const Shape shape = x.shape();
  std::vector<std::int64_t> index(shape.size(), 0);
  for (std::int64_t number = 0; number < x.size(); ++number) {
    std::int64_t at = 0, rest = number;
    for (std::size_t i = shape.size(); i-- > 0; rest /= shape[i]) at += rest % shape[i] * x.strides()[i];
    array::dispatch(x.dtype(), [&]<class U>() { out.push_back(static_cast<T>(x.data<U>()[at])); });
  }
  return out;
}

/// The same numbers as x in a layout with gaps, reversed axes and swapped order.
inline Array strided(const Array& x) {
  if (x.ndim() == 0) return x;
  Dims wide, order, back;
  for (int i = x.ndim(); i-- > 0;) {
    wide.push_back(2 * x.shape()[static_cast<std::size_t>(i)] + 1);
    order.push_back(i);
  }
  Array space = Array::full(x.dtype(), wide, 7);
  std::vector<array::Slice> slices;
  for (int i = x.ndim(); i-- > 0;) {
    const std::int64_t extent = x.shape()[static_cast<std::size_t>(i)];
    if (i % 2)
      slices.push_back({2 * extent - (extent > 0), -2, extent});
    else
      slices.push_back({1, 2, extent});
  }
  Array target = array::transpose(array::slice(space, slices), order);
  array::copy_elements(x, target);
  return target;
}

inline bool same_bits(const Array& a, const Array& b) {
  if (a.dtype() != b.dtype() || !same_shape(a.shape(), b.shape())) return false;
  const Array x = a.as_contiguous(), y = b.as_contiguous();
  return std::memcmp(x.raw_data(), y.raw_data(), static_cast<std::size_t>(x.size() * item_size(x.dtype()))) == 0;
}

/// Runs `body` with every instruction set in turn.
template <class Body>
void for_every_isa(Body&& body) {
  for (num::Isa isa : {num::Isa::generic, num::Isa::avx2, num::Isa::avx512}) {
    if (isa > num::best_isa()) break;
    num::force_isa(isa);
    CAPTURE(std::string(num::name(isa)));
    body();
  }
}
/// The results of `compute` with every instruction set, which must agree bit for bit.
template <class Compute>
Array on_every_isa(Compute&& compute) {
  Array first;
  bool begun = false;
  for_every_isa([&] {
    const Array result = compute();
    if (begun)
      CHECK(same_bits(first, result));
    else
      first = result;
    begun = true;
  });
  return first;
}

}  // namespace dualtape::testing
