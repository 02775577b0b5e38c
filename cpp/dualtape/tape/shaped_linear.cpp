// SPDX-License-Identifier: MIT
// The linear shaped ops. Each names its transpose, which is another op of this file; the tangent is the op itself.
#include "dualtape/array/gather.hpp"
#include "dualtape/array/reduce.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"
#include "dualtape/tape/shaped.hpp"

namespace dualtape::tape {
namespace {

using Operands = std::span<const Array* const>;

/// Attributes whose shape, or slices, have the lane axis at the end.
Attributes with_lanes(Attributes a, std::int64_t lanes) {
  a.dims.push_back(lanes);
  return a;
}
Attributes with_lane_slice(Attributes a, std::int64_t lanes) {
  a.slices.push_back({0, 1, lanes});
  return a;
}

/// The same in front, for directions.
Attributes with_directions(Attributes a, std::int64_t directions) {
  a.dims.insert(0, directions);
  return a;
}
Attributes with_direction_slice(Attributes a, std::int64_t directions) {
  a.slices.insert(a.slices.begin(), {0, 1, directions});
  return a;
}
/// Axes counted from the front are one further back.
Attributes behind_directions(Attributes a) {
  for (std::int64_t& axis : a.dims) ++axis;
  ++a.axis;
  return a;
}

struct ReshapeRule final : ShapedRule {
  std::string_view name() const override { return "reshape"; }
  bool is_view() const override { return true; }
  Attributes over_lanes(const Attributes& a, std::span<const Dims>, std::int64_t lanes) const override {
    return with_lanes(a, lanes);
  }
  std::optional<Attributes> over_directions(const Attributes& a, Shape, std::int64_t n) const override {
    return with_directions(a, n);
  }
  Array forward(Operands in, const Attributes& a) const override { return array::reshape(*in[0], a.dims); }
  Var vjp(const Call& call, int, const Var& ct) const override { return reshape(ct, call.shapes[0]); }
};

/// Where derivatives stop. Only bodies of rolled loops record it, because their derivatives come from the record.
struct StopGradientRule final : ShapedRule {
  std::string_view name() const override { return "stop_gradient"; }
  bool is_view() const override { return true; }
  Array forward(Operands in, const Attributes&) const override { return *in[0]; }
  Var vjp(const Call& call, int, const Var&) const override {
    return Var(Array::zeros(call.dtypes[0], call.shapes[0]));
  }
  Var jvp(const Call& call, std::span<const Var* const>) const override { return zeros_like(call.out); }
};

struct TransposeRule final : ShapedRule {
  std::string_view name() const override { return "transpose"; }
  bool is_view() const override { return true; }
  Attributes over_lanes(const Attributes& a, std::span<const Dims> shapes, std::int64_t) const override {
    return with_lanes(a, shapes[0].size());
  }
  std::optional<Attributes> over_directions(const Attributes& a, Shape, std::int64_t) const override {
    Attributes out = behind_directions(a);
    out.dims.insert(0, 0);
    return out;
  }
  Array forward(Operands in, const Attributes& a) const override { return array::transpose(*in[0], a.dims); }
  Var vjp(const Call& call, int, const Var& ct) const override {
    const Dims& permutation = call.attributes.dims;
    Dims inverse = permutation;
    for (int i = 0; i < permutation.size(); ++i) inverse[static_cast<int>(permutation[i])] = i;
    return transpose(ct, inverse);
  }
};

struct BroadcastToRule final : ShapedRule {
  std::string_view name() const override { return "broadcast_to"; }
  bool is_view() const override { return true; }
  Attributes over_lanes(const Attributes& a, std::span<const Dims>, std::int64_t lanes) const override {
    return with_lanes(a, lanes);
  }
  std::optional<Attributes> over_directions(const Attributes& a, Shape shape, std::int64_t n) const override {
    if (shape.size() != static_cast<std::size_t>(a.dims.size())) return std::nullopt;  // axes in between
    return with_directions(a, n);
  }
  Array forward(Operands in, const Attributes& a) const override { return array::broadcast_to(*in[0], a.dims); }
  Var vjp(const Call& call, int, const Var& ct) const override { return sum_to_shape(ct, call.shapes[0]); }
};

struct SumToShapeRule final : ShapedRule {
  std::string_view name() const override { return "sum_to_shape"; }
  Attributes over_lanes(const Attributes& a, std::span<const Dims>, std::int64_t lanes) const override {
    return with_lanes(a, lanes);
  }
  std::optional<Attributes> over_directions(const Attributes& a, Shape shape, std::int64_t n) const override {
    if (shape.size() != static_cast<std::size_t>(a.dims.size())) return std::nullopt;  // axes in between
    return with_directions(a, n);
  }
  Array forward(Operands in, const Attributes& a) const override { return array::sum_to_shape(*in[0], a.dims); }
  Var vjp(const Call& call, int, const Var& ct) const override { return broadcast_to(ct, call.shapes[0]); }
};

struct SumRule final : ShapedRule {
  std::string_view name() const override { return "sum"; }
  std::optional<Attributes> over_directions(const Attributes& a, Shape, std::int64_t) const override {
    return behind_directions(a);
  }
  Array forward(Operands in, const Attributes& a) const override { return array::sum(*in[0], a.dims, a.flag); }
  Var vjp(const Call& call, int, const Var& ct) const override {
    const Shape shape = call.shapes[0];
    return broadcast_to(reshape(ct, reduced_shape(shape, call.attributes.dims, true)), shape);
  }
};

struct CumsumRule final : ShapedRule {
  std::string_view name() const override { return "cumsum"; }
  std::optional<Attributes> over_directions(const Attributes& a, Shape, std::int64_t) const override {
    return behind_directions(a);
  }
  Array forward(Operands in, const Attributes& a) const override { return array::cumsum(*in[0], a.axis, a.flag); }
  Var vjp(const Call& call, int, const Var& ct) const override {
    return cumsum(ct, call.attributes.axis, !call.attributes.flag);
  }
};

struct CastRule final : ShapedRule {
  std::string_view name() const override { return "cast"; }
  std::optional<Attributes> over_directions(const Attributes& a, Shape, std::int64_t) const override { return a; }
  Array forward(Operands in, const Attributes& a) const override { return in[0]->cast(a.dtype); }
  Var vjp(const Call& call, int, const Var& ct) const override { return cast(ct, call.dtypes[0]); }
};

struct SliceRule final : ShapedRule {
  std::string_view name() const override { return "slice"; }
  bool is_view() const override { return true; }
  Attributes over_lanes(const Attributes& a, std::span<const Dims>, std::int64_t lanes) const override {
    return with_lane_slice(a, lanes);
  }
  std::optional<Attributes> over_directions(const Attributes& a, Shape, std::int64_t n) const override {
    return with_direction_slice(a, n);
  }
  Array forward(Operands in, const Attributes& a) const override { return array::slice(*in[0], a.slices); }
  Var vjp(const Call& call, int, const Var& ct) const override {
    return unslice(ct, call.shapes[0], call.attributes.slices);
  }
};

struct UnsliceRule final : ShapedRule {
  std::string_view name() const override { return "unslice"; }
  bool only_moves() const override { return true; }
  Attributes over_lanes(const Attributes& a, std::span<const Dims>, std::int64_t lanes) const override {
    return with_lane_slice(with_lanes(a, lanes), lanes);
  }
  std::optional<Attributes> over_directions(const Attributes& a, Shape, std::int64_t n) const override {
    return with_direction_slice(with_directions(a, n), n);
  }
  Array forward(Operands in, const Attributes& a) const override { return array::unslice(*in[0], a.dims, a.slices); }
  Var vjp(const Call& call, int, const Var& ct) const override { return slice(ct, call.attributes.slices); }
};

struct TakeRule final : ShapedRule {
  std::string_view name() const override { return "take"; }
  bool only_moves() const override { return true; }
  std::optional<Attributes> over_directions(const Attributes& a, Shape, std::int64_t) const override {
    return behind_directions(a);
  }
  Array forward(Operands in, const Attributes& a) const override { return array::take(*in[0], a.axis, a.index); }
  Var vjp(const Call& call, int, const Var& ct) const override {
    return put_add(ct, call.attributes.axis, call.attributes.index, call.shapes[0]);
  }
};

struct PutAddRule final : ShapedRule {
  std::string_view name() const override { return "put_add"; }
  Attributes over_lanes(const Attributes& a, std::span<const Dims>, std::int64_t lanes) const override {
    return with_lanes(a, lanes);
  }
  std::optional<Attributes> over_directions(const Attributes& a, Shape, std::int64_t n) const override {
    Attributes out = a;
    ++out.axis;
    return with_directions(std::move(out), n);
  }
  Array forward(Operands in, const Attributes& a) const override {
    return array::put_add(*in[0], a.axis, a.index, a.dims);
  }
  Var vjp(const Call& call, int, const Var& ct) const override {
    return take(ct, call.attributes.axis, call.attributes.index);
  }
};

/// Null tangents of a rule with several operands become zeros of their shapes.
std::vector<Var> with_zeros(const Call& call, std::span<const Var* const> tangents) {
  std::vector<Var> out;
  for (std::size_t i = 0; i < tangents.size(); ++i) {
    out.push_back(tangents[i] ? *tangents[i] : Var(Array::zeros(call.dtypes[i], call.shapes[i])));
  }
  return out;
}

struct ConcatenateRule final : ShapedRule {
  std::string_view name() const override { return "concatenate"; }
  bool only_moves() const override { return true; }
  void check(Operands in, const Attributes&) const override {
    if (in.empty()) check_count(*this, 0, 1);
  }
  Array forward(Operands in, const Attributes& a) const override { return array::concatenate(in, a.axis); }
  Var vjp(const Call& call, int i, const Var& ct) const override {
    const int axis = static_cast<int>(call.attributes.axis);
    std::vector<array::Slice> slices;
    for (std::int64_t extent : ct.shape()) slices.push_back({0, 1, extent});
    array::Slice& part = slices[static_cast<std::size_t>(axis)];
    for (int k = 0; k < i; ++k) part.start += call.shapes[static_cast<std::size_t>(k)][axis];
    part.count = call.shapes[static_cast<std::size_t>(i)][axis];
    return slice(ct, slices);
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    return concatenate(with_zeros(call, tangents), call.attributes.axis);
  }
};

struct WriteSliceRule final : ShapedRule {
  std::string_view name() const override { return "write_slice"; }
  bool only_moves() const override { return true; }
  void check(Operands in, const Attributes&) const override { check_count(*this, in.size(), 2); }
  Attributes over_lanes(const Attributes& a, std::span<const Dims>, std::int64_t lanes) const override {
    return with_lane_slice(a, lanes);
  }
  Array forward(Operands in, const Attributes& a) const override {
    Array out = in[0]->copy();
    array::write_slice(out, a.slices, *in[1]);
    return out;
  }
  Var vjp(const Call& call, int i, const Var& ct) const override {
    if (i == 1) return slice(ct, call.attributes.slices);
    return write_slice(ct, call.attributes.slices, Var(Array::zeros(ct.dtype(), {})));
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    const std::vector<Var> parts = with_zeros(call, tangents);
    return write_slice(parts[0], call.attributes.slices, parts[1]);
  }
};

/// 1.0 where an index is the last to write its place, 0.0 where a later duplicate overwrites it.
Array last_writers(const Array& index, std::int64_t extent) {
  Array order = Array::empty(DType::i64, index.shape());
  for (std::int64_t i = 0; i < order.size(); ++i) order.writable_data<std::int64_t>()[i] = i;
  Array written = Array::zeros(DType::i64, Dims{extent});
  array::put(written, 0, index, order);
  const Array winner = array::take(written, 0, index);
  Array out = Array::empty(DType::f64, Dims{index.size()});
  for (std::int64_t i = 0; i < out.size(); ++i) {
    out.writable_data<double>()[i] = winner.as_contiguous().data<std::int64_t>()[i] == i ? 1.0 : 0.0;
  }
  return out;
}

struct PutRule final : ShapedRule {
  std::string_view name() const override { return "put"; }
  bool only_moves() const override { return true; }
  void check(Operands in, const Attributes&) const override { check_count(*this, in.size(), 2); }
  Array forward(Operands in, const Attributes& a) const override {
    Array out = in[0]->copy();
    array::put(out, a.axis, a.index, *in[1]);
    return out;
  }
  Var vjp(const Call& call, int i, const Var& ct) const override {
    const Attributes& a = call.attributes;
    if (i == 0) return put(ct, a.axis, a.index, Var(Array::zeros(ct.dtype(), {})));
    const Var taken = take(ct, a.axis, a.index);
    // The index's axes stand where the axis was; duplicates that were overwritten have no say.
    Dims weights_shape = Dims::filled(taken.ndim(), 1);
    for (int k = 0; k < a.index.ndim(); ++k)
      weights_shape[static_cast<int>(a.axis) + k] = a.index.shape()[static_cast<std::size_t>(k)];
    const Array weights = last_writers(a.index, call.shapes[0][static_cast<int>(a.axis)]).cast(ct.dtype());
    return apply(ops::Op::multiply, {taken, Var(array::reshape(weights, weights_shape))});
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    const std::vector<Var> parts = with_zeros(call, tangents);
    return put(parts[0], call.attributes.axis, call.attributes.index, parts[1]);
  }
};

template <class Rule>
const Rule& the() {
  static const Rule rule;
  return rule;
}
const RegisterRule registered[] = {
    RegisterRule(the<ReshapeRule>()),    RegisterRule(the<TransposeRule>()), RegisterRule(the<BroadcastToRule>()),
    RegisterRule(the<SumToShapeRule>()), RegisterRule(the<SumRule>()),       RegisterRule(the<CumsumRule>()),
    RegisterRule(the<CastRule>()),       RegisterRule(the<SliceRule>()),     RegisterRule(the<UnsliceRule>()),
    RegisterRule(the<TakeRule>()),       RegisterRule(the<PutAddRule>()),    RegisterRule(the<ConcatenateRule>()),
    RegisterRule(the<WriteSliceRule>()), RegisterRule(the<PutRule>()),       RegisterRule(the<StopGradientRule>()),
};

template <class Rule>
Var apply_one(const Var& x, Attributes attributes) {
  return apply(the<Rule>(), std::span(&x, 1), std::move(attributes));
}

Attributes with_dims(Shape dims) {
  Attributes attributes;
  attributes.dims = Dims(dims);
  return attributes;
}

}  // namespace

Var reshape(const Var& x, Shape shape) {
  return same_shape(x.shape(), shape) ? x : apply_one<ReshapeRule>(x, with_dims(shape));
}
Var transpose(const Var& x, Axes permutation) { return apply_one<TransposeRule>(x, with_dims(permutation)); }
Var broadcast_to(const Var& x, Shape shape) {
  return same_shape(x.shape(), shape) ? x : apply_one<BroadcastToRule>(x, with_dims(shape));
}
Var sum_to_shape(const Var& x, Shape shape) {
  return same_shape(x.shape(), shape) ? x : apply_one<SumToShapeRule>(x, with_dims(shape));
}
Var cast(const Var& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Attributes attributes;
  attributes.dtype = dtype;
  return apply_one<CastRule>(x, std::move(attributes));
}
Var sum(const Var& x, Axes axes, bool keepdims) {
  Attributes attributes = with_dims(axes);
  attributes.flag = keepdims;
  return apply_one<SumRule>(x, std::move(attributes));
}
Var cumsum(const Var& x, std::int64_t axis, bool reverse) {
  Attributes attributes;
  attributes.axis = axis;
  attributes.flag = reverse;
  return apply_one<CumsumRule>(x, std::move(attributes));
}
Var slice(const Var& x, Slices slices) {
  Attributes attributes;
  attributes.slices.assign(slices.begin(), slices.end());
  return apply_one<SliceRule>(x, std::move(attributes));
}
Var unslice(const Var& x, Shape full, Slices slices) {
  Attributes attributes = with_dims(full);
  attributes.slices.assign(slices.begin(), slices.end());
  return apply_one<UnsliceRule>(x, std::move(attributes));
}
Var take(const Var& x, std::int64_t axis, const Array& index) {
  Attributes attributes;
  attributes.axis = axis;
  attributes.index = index;
  return apply_one<TakeRule>(x, std::move(attributes));
}
Var put_add(const Var& x, std::int64_t axis, const Array& index, Shape full) {
  Attributes attributes = with_dims(full);
  attributes.axis = axis;
  attributes.index = index;
  return apply_one<PutAddRule>(x, std::move(attributes));
}
Var concatenate(std::span<const Var> parts, std::int64_t axis) {
  Attributes attributes;
  attributes.axis = axis;
  return apply(the<ConcatenateRule>(), parts, std::move(attributes));
}

namespace {

/// True where a write to an element of `x` changes that element of `x` and nothing else.
bool may_overwrite(const Array& x) {
  if (!x.unique()) return false;
  for (int i = 0; i < x.ndim(); ++i) {
    const std::size_t axis = static_cast<std::size_t>(i);
    if (x.strides()[axis] == 0 && x.shape()[axis] > 1) return false;  // broadcast: many elements in one place
  }
  return true;
}

/// x with a part overwritten by `write`. The memory of x is reused where nobody else sees it, tracked or not: the
/// rules of assignment are linear, so a tape keeps none of the old elements.
template <class Rule, class Write>
Var overwrite(Var x, const Var& value, Attributes attributes, Write&& write) {
  const Var operands[] = {std::move(x), value};
  if (Recorder::lifting()) return apply(the<Rule>(), operands, std::move(attributes));
  if (operands[0].is_dual() || value.is_dual() || is_recorded(operands[0].value()) || is_recorded(value.value()))
    return apply(the<Rule>(), operands, std::move(attributes));
  Array out = may_overwrite(operands[0].value()) ? operands[0].value() : operands[0].value().copy();
  write(out, value.value());
  return record_result(the<Rule>(), operands, std::move(attributes), std::move(out));
}

}  // namespace

Var stop_gradient(const Var& x) {
  const Var value(x.value());
  if (!Recorder::lifting() || !is_recorded(value.value())) return value;
  return apply_one<StopGradientRule>(value, {});
}

Var write_slice(Var x, Slices slices, const Var& value) {
  Attributes attributes;
  attributes.slices.assign(slices.begin(), slices.end());
  return overwrite<WriteSliceRule>(std::move(x), value, std::move(attributes),
                                   [&](Array& to, const Array& from) { array::write_slice(to, slices, from); });
}

Var put(Var x, std::int64_t axis, const Array& index, const Var& value) {
  Attributes attributes;
  attributes.axis = axis;
  attributes.index = index;
  return overwrite<PutRule>(std::move(x), value, std::move(attributes),
                            [&](Array& to, const Array& from) { array::put(to, axis, index, from); });
}

}  // namespace dualtape::tape
