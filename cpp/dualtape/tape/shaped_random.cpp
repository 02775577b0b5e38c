// SPDX-License-Identifier: MIT
// Uniform random numbers as a shaped op of three scalars (seed, stream, iteration), so that they trace: a program draws
// anew in each iteration, and each lane from its own stream.
//
// The counter of element e of draw d in iteration i is (e, d, i low, i high); the key is (seed low ^ a mix of its upper
// half, stream). So numbers never meet for seeds and iterations below 2^53, streams, draws and elements below 2^32
// (seeds of 33 bits and more share keys with others, as any 64 bits of key must).
#include "dualtape/base/error.hpp"
#include "dualtape/num/philox.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/shaped.hpp"

namespace dualtape::tape {
namespace {

using Operands = std::span<const Array* const>;

std::uint32_t mixed(std::uint64_t seed) {
  const auto high = static_cast<std::uint32_t>(seed >> 32);
  return static_cast<std::uint32_t>(seed) ^ (high * 0x9E3779B9u);
}

struct RandomUniformRule final : ShapedRule {
  std::string_view name() const override { return "random_uniform"; }
  // Constant in its operands: the cotangent of a key is zero.
  Var vjp(const Call& call, int i, const Var&) const override {
    const auto k = static_cast<std::size_t>(i);
    return Var(Array::zeros(call.dtypes[k], call.shapes[k]));
  }
  Var jvp(const Call& call, std::span<const Var* const>) const override {
    return Var(Array::zeros(call.out.dtype(), call.out.shape()));
  }

  /// The operands are scalars, or have an axis of lanes (or 1 in its place), which then is the last of the result.
  Array forward(Operands in, const Attributes& a) const override {
    std::int64_t lanes = 1;
    bool axis = false;
    for (const Array* x : in) {
      axis = axis || x->ndim() == 1;
      lanes = std::max(lanes, x->size());
    }
    Dims shape = a.dims;
    if (axis) shape.push_back(lanes);
    Array out = Array::empty(a.dtype, shape);
    const std::int64_t elements = element_count(a.dims);
    const auto key = [&](std::size_t k, std::int64_t lane) {
      const Array& x = *in[k];
      const std::int64_t step = x.size() == 1 ? 0 : x.strides()[0];
      return static_cast<std::uint64_t>(x.data<double>()[lane * step]);
    };
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      const std::uint64_t seed = key(0, lane), stream = key(1, lane), iteration = key(2, lane);
      const num::PhiloxKey keys{mixed(seed), static_cast<std::uint32_t>(stream)};
      for (std::int64_t e = 0; e < elements; ++e) {
        const num::Philox4 four =
            num::philox({static_cast<std::uint32_t>(e), static_cast<std::uint32_t>(a.axis),
                         static_cast<std::uint32_t>(iteration), static_cast<std::uint32_t>(iteration >> 32)},
                        keys);
        if (a.dtype == DType::f32) {
          out.writable_data<float>()[e * lanes + lane] = num::open_unit(four[0]);
        } else {
          out.writable_data<double>()[e * lanes + lane] = num::open_unit(four[0], four[1]);
        }
      }
    }
    return out;
  }
};

const RandomUniformRule rule;
const RegisterRule registered{rule};

}  // namespace

Var random_uniform(const Var& seed, const Var& stream, const Var& iteration, std::int64_t draw, Shape shape,
                   DType dtype) {
  const Var operands[] = {seed.constant(), stream.constant(), iteration.constant()};
  for (const Var& key : operands) {
    if (key.dtype() != DType::f64 || key.ndim() > 1) {
      throw ShapeError("random_uniform(" + to_string(key.shape()) +
                       "): seed, stream and iteration must be float64 scalars, or have one axis of lanes.");
    }
  }
  Attributes attributes;
  attributes.dims = Dims(shape);
  attributes.axis = draw;
  attributes.dtype = dtype;
  return apply(rule, operands, std::move(attributes));
}

}  // namespace dualtape::tape
