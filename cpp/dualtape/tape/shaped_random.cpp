// SPDX-License-Identifier: MIT
// Uniform random numbers as a shaped op of three scalars (seed, stream, iteration), so that they trace: a program draws
// anew in each iteration, and each lane from its own stream.
//
// Element e of the result is a function of seed, stream, iteration, the number of the draw and e, and of nothing else.
// num/philox.hpp has the layout of the counter. Numbers never meet for seeds and iterations below 2^53, streams and
// elements below 2^32 and draws below 2^20, all of which is checked when an op is applied. An executor that applies it
// again does not check: a key that a program has computed is cut to a whole number.
#include <algorithm>
#include <cmath>

#include "dualtape/base/error.hpp"
#include "dualtape/num/isa.hpp"
#include "dualtape/num/kernels/philox.hpp"
#include "dualtape/num/philox.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/shaped.hpp"

namespace dualtape::tape {
namespace {

using Operands = std::span<const Array* const>;

template <class T>
num::UniformKernel<T> kernel() {
#if defined(__x86_64__)
  switch (num::current_isa()) {
    case num::Isa::avx512:
      return avx512::uniform_kernel<T>();
    case num::Isa::avx2:
      return avx2::uniform_kernel<T>();
    case num::Isa::generic:
      break;
  }
#endif
  return generic::uniform_kernel<T>();
}

/// The operand for a lane; one without an axis is for all.
double of_lane(const Array& x, std::int64_t lane) {
  return x.data<double>()[x.ndim() == 0 ? 0 : lane * x.strides()[0]];
}
std::uint64_t whole(double x) { return x >= 0 && x < 0x1p53 ? static_cast<std::uint64_t>(x) : 0; }

template <class T>
void fill(Array& out, Operands in, std::int64_t draw, std::int64_t elements, std::int64_t lanes) {
  const num::UniformKernel<T> uniform = kernel<T>();
  T* to = out.writable_data<T>();
  for (std::int64_t first = 0; first < lanes; first += num::kPhiloxLanes) {
    const int count = static_cast<int>(std::min<std::int64_t>(lanes - first, num::kPhiloxLanes));
    num::PhiloxBlock block;
    for (int l = 0; l < count; ++l) {
      const auto key = [&](std::size_t i) { return whole(of_lane(*in[i], first + l)); };
      const num::DrawKey words = num::draw_key(key(0), key(1), key(2), static_cast<std::uint64_t>(draw));
      for (std::size_t w = 0; w < 3; ++w) block.counter[w][l] = words.counter[w + 1];
      for (std::size_t w = 0; w < 2; ++w) block.key[w][l] = words.key[w];
    }
    // Whole vectors of lanes are read; there are 16 numbers in the widest pair of them.
    for (int l = count; l % 16 != 0 && lanes > 1; ++l) {
      for (auto& words : block.counter) words[l] = 0;
      for (auto& words : block.key) words[l] = 0;
    }
    uniform(block, elements, count, lanes, to + first);
  }
}

constexpr std::int64_t kMostDraws = std::int64_t{1} << 20;
constexpr std::int64_t kMostElements = std::int64_t{1} << 32;

/// Operands are scalars, or have an axis of lanes, which then is the last of the result.
struct RandomUniformRule final : ShapedRule {
  std::string_view name() const override { return "random_uniform"; }
  bool linear() const override { return false; }
  void check(Operands in, const Attributes& a) const override {
    check_count(*this, in.size(), 3);
    const Array* lanes = nullptr;
    bool fits = array::is_float(a.dtype) && a.axis < kMostDraws && element_count(a.dims) <= kMostElements;
    for (const Array* x : in) {
      fits = fits && x->dtype() == DType::f64 && x->ndim() <= 1;
      if (x->ndim() != 1) continue;
      fits = fits && (!lanes || lanes->size() == x->size());
      lanes = x;
    }
    if (!fits) throw ShapeError("random_uniform: its operands or its draw are none that it takes.");
  }
  // The operands choose a number and do not move it: derivatives are zero.
  Var vjp(const Call& call, int i, const Var&) const override {
    const auto k = static_cast<std::size_t>(i);
    return Var(Array::zeros(call.dtypes[k], call.shapes[k]));
  }
  Var jvp(const Call& call, std::span<const Var* const>) const override {
    return Var(Array::zeros(call.out.dtype(), call.out.shape()));
  }

  Array forward(Operands in, const Attributes& a) const override {
    Dims shape = a.dims;
    const auto lanes = std::find_if(in.begin(), in.end(), [](const Array* x) { return x->ndim() == 1; });
    if (lanes != in.end()) shape.push_back((*lanes)->size());
    Array out = Array::empty(a.dtype, shape);
    forward_into(out, in, a);
    return out;
  }
  void forward_into(Array& out, Operands in, const Attributes& a) const override {
    const std::int64_t elements = element_count(a.dims);
    const std::int64_t lanes = elements ? out.size() / elements : 0;
    if (a.dtype == DType::f64)
      fill<double>(out, in, a.axis, elements, lanes);
    else
      fill<float>(out, in, a.axis, elements, lanes);
  }
};

const RandomUniformRule rule;
const RegisterRule registered{rule};

[[noreturn]] void refuse(std::span<const Var> keys, const std::string& what) {
  std::string shapes;
  for (const Var& key : keys) shapes += (shapes.empty() ? "" : ", ") + to_string(key.shape());
  throw ShapeError("random_uniform(" + shapes + "): " + what);
}

void check_keys(std::span<const Var> keys) {
  constexpr const char* names[] = {"seed", "stream", "iteration"};
  constexpr int bits[] = {53, 32, 53};
  const Var* lanes = nullptr;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const Var& key = keys[i];
    if (key.dtype() != DType::f64 || key.ndim() > 1) {
      refuse(keys, std::string(names[i]) + " must be a float64 scalar, or have one axis, that of lanes; got " +
                       std::string(array::name(key.dtype())) + " of shape " + to_string(key.shape()) + ".");
    }
    if (key.ndim() == 1) {
      if (lanes && lanes->value().size() != key.value().size()) {
        refuse(keys, "the numbers of lanes differ; operands with an axis must agree, and scalars are for all lanes.");
      }
      lanes = &key;
    }
    for (std::int64_t l = 0; l < key.value().size(); ++l) {
      const double x = of_lane(key.value(), l);
      if (!(x >= 0 && x < std::ldexp(1.0, bits[i]) && x == std::floor(x))) {
        refuse(keys, std::string(names[i]) + " must be a whole number from 0 to 2**" + std::to_string(bits[i]) +
                         " - 1; got " + std::to_string(x) + ".");
      }
    }
  }
}

}  // namespace

Var random_uniform(const Var& seed, const Var& stream, const Var& iteration, std::int64_t draw, Shape shape,
                   DType dtype) {
  const Var keys[] = {seed.constant(), stream.constant(), iteration.constant()};
  check_keys(keys);
  if (draw < 0 || draw >= kMostDraws) {
    refuse(keys, "an iteration has the draws 0 to 2**20 - 1; got draw " + std::to_string(draw) + "; draw arrays.");
  }
  if (element_count(shape) > kMostElements) {
    refuse(keys, "a draw has at most 2**32 elements; got the shape " + to_string(shape) + "; draw in parts.");
  }
  if (!array::is_float(dtype)) {
    throw DTypeError("random_uniform: the dtype must be float64 or float32; got " + std::string(array::name(dtype)) +
                     "; draw floats and convert them.");
  }
  Attributes attributes;
  attributes.dims = Dims(shape);
  attributes.axis = draw;
  attributes.dtype = dtype;
  return apply(rule, keys, std::move(attributes));
}

}  // namespace dualtape::tape
