// SPDX-License-Identifier: MIT
#include "dualtape/tape/apply.hpp"

#include <algorithm>
#include <array>

#include "dualtape/array/elementwise.hpp"
#include "dualtape/array/reduce.hpp"
#include "dualtape/ops/partial.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"
#include "dualtape/tape/tape.hpp"
#include "dualtape/tape/traced.hpp"

namespace dualtape::tape {
namespace {

constexpr std::size_t kMaxArity = 3;

std::uint32_t highest_level(std::span<const Var> operands) {
  std::uint32_t level = 0;
  for (const Var& operand : operands) level = std::max(level, operand.level());
  return level;
}

using Pointers = std::array<const Array*, kMaxArity>;
Pointers values_of(std::span<const Var> operands) {
  Pointers values{};
  for (std::size_t i = 0; i < operands.size(); ++i) values[i] = &operands[i].value();
  return values;
}

Var record(Tape& tape, ops::Op op, std::span<const Var> operands, Array out) {
  const bool scalars = out.is_scalar() && operands.size() <= 2 &&
                       std::all_of(operands.begin(), operands.end(), [](const Var& v) { return v.is_scalar(); });
  if (scalars) {
    std::uint32_t places[2] = {kNoNode, kNoNode};
    std::uint8_t tracked = 0;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      const bool on_tape = Tape::of(operands[i]) == &tape;
      places[i] = on_tape ? operands[i].node() : tape.push_constant(operands[i].value().scalar());
      tracked |= static_cast<std::uint8_t>(on_tape << i);
    }
    const std::uint32_t place = tape.push_scalar(op, places[0], places[1], tracked, out.scalar());
    return Var(std::move(out), place, tape.recording());
  }
  Record entry;
  entry.operands.reserve(operands.size());
  for (const Var& operand : operands) {
    entry.operands.push_back({operand.value(), Tape::of(operand) == &tape ? operand.node() : kNoNode, operand.dtype(),
                              Dims(operand.shape())});
  }
  entry.out = out;
  entry.out_dtype = out.dtype();
  entry.out_shape = Dims(out.shape());
  const bool scalar = out.is_scalar();
  const std::uint32_t place =
      tape.push(Kind::elementwise, op, scalar ? out.scalar() : 0.0, scalar ? kScalarOut : 0, kNoNode, &entry);
  return Var(std::move(out), place, tape.recording());
}

/// The dual lift of an elementwise op: the primal of the op, and the sum of partials times tangents.
Var apply_dual(ops::Op op, std::span<const Var> operands, std::uint32_t level) {
  std::array<Var, kMaxArity> primals;
  std::int64_t directions = 0;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const bool paired = operands[i].level() == level;
    primals[i] = paired ? operands[i].primal() : operands[i];
    if (paired) directions = std::max(directions, operands[i].directions());
  }
  const std::span<const Var> in(primals.data(), operands.size());
  Var out = apply(op, in);
  const ops::OpInfo& info = ops::info(op);
  Var tangent;
  bool found = false;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (operands[i].level() != level || !info.differentiable[i]) continue;
    Var factor = directions ? align_directions(operands[i].tangent(), out.ndim()) : operands[i].tangent();
    Var term = times_partial(op, static_cast<int>(i), in, out, factor);
    tangent = found ? add(std::move(tangent), term) : std::move(term);
    found = true;
  }
  if (!found) return out;
  Dims shape(out.shape());
  if (directions) shape.insert(0, directions);
  if (!same_shape(tangent.shape(), shape)) tangent = broadcast_to(tangent, shape);
  return Var::dual(level, std::move(out), std::move(tangent), directions);
}

bool is_plain(const Var& var) { return !var.is_dual() && !Tape::of(var) && !is_recorded(var.value()); }

}  // namespace

Var apply(ops::Op op, std::span<const Var> given) {
  std::vector<Var> room;
  const std::span<const Var> operands = Recorder::lifted(given, room);
  if (const std::uint32_t level = highest_level(operands)) return apply_dual(op, operands, level);
  const Pointers values = values_of(operands);
  Array out = array::apply(op, {values.data(), operands.size()});
  if (Recorder* recorder = Recorder::of({values.data(), operands.size()})) {
    out = recorder->elementwise(op, {values.data(), operands.size()}, out);
  }
  Tape* tape = Tape::current();
  if (tape) {
    const ops::OpInfo& info = ops::info(op);
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (info.differentiable[i] && Tape::of(operands[i])) return record(*tape, op, operands, std::move(out));
    }
  }
  return Var(std::move(out));
}

Var times_partial(ops::Op op, int which, std::span<const Var> operands, const Var& out, const Var& factor) {
  // A partial that reads nothing is a constant, and that of a sum is one.
  if (ops::info(op).reads[static_cast<std::size_t>(which)] == 0) {
    const double nothing[kMaxArity] = {};
    if (array::scalar_partial(op, which, nothing, 0.0) == 1.0) return factor;
  }
  if (std::all_of(operands.begin(), operands.end(), is_plain) && is_plain(out) && is_plain(factor)) {
    const Pointers values = values_of(operands);
    return array::times_partial(op, which, {values.data(), operands.size()}, out.value(), factor.value());
  }
  std::array<Traced, kMaxArity> traced{0.0, 0.0, 0.0};
  for (std::size_t i = 0; i < operands.size(); ++i) {
    // In the result's dtype, like the op itself: 1 / b of a float32 b is not precise enough for a float64 a / b.
    const bool narrow = operands[i].dtype() == DType::f32 && out.dtype() == DType::f64;
    traced[i] = Traced(narrow ? cast(operands[i], DType::f64) : operands[i]);
  }
  const Traced partial = ops::partial_of(op, which, traced.data(), Traced(out));
  if (partial.is_number() && partial.number() == 1.0) return factor;
  Var by = partial.var(factor.dtype());
  // A partial made of truths and numbers alone does not decide the dtype.
  if (by.dtype() != out.dtype() && factor.dtype() == out.dtype()) by = cast(by, out.dtype());
  return apply(ops::Op::strong_multiply, {factor, by});
}

Var add(Var a, const Var& b) {
  if (a.is_scalar() && b.is_scalar() && !Tape::of(a) && !Tape::of(b)) return a.value().scalar() + b.value().scalar();
  if (is_plain(a) && is_plain(b) && !a.value().is_scalar() && a.mutable_value().unique() && a.dtype() == b.dtype() &&
      same_shape(a.shape(), b.shape())) {
    array::accumulate(a.mutable_value(), b.value());
    return a;
  }
  return apply(ops::Op::add, {std::move(a), b});
}

Var fit(const Var& cotangent, Shape shape, DType dtype) {
  if (cotangent.dtype() == dtype && same_shape(cotangent.shape(), shape)) return cotangent;
  Var out = same_shape(cotangent.shape(), shape) ? cotangent : sum_to_shape(cotangent, shape);
  return out.dtype() == dtype ? out : cast(out, dtype);
}

Var zeros_like(const Var& var) { return Var(Array::zeros(var.dtype(), var.shape())); }

Var align_directions(const Var& tangent, int ndim) {
  const int missing = ndim - (tangent.ndim() - 1);
  if (missing <= 0) return tangent;
  Dims shape(tangent.shape());
  for (int i = 0; i < missing; ++i) shape.insert(1, 1);
  return reshape(tangent, shape);
}

Var Traced::var(DType dtype) const {
  if (!is_number_) return var_.value().weak() && dtype == DType::f32 ? cast(var_, dtype) : var_;
  return dtype == DType::f32 ? Var(Array::full(DType::f32, {}, number_)) : Var(number_);
}

Traced Traced::apply(ops::Op op, std::span<const Traced* const> operands) {
  DType dtype = DType::f64;
  bool numbers = true;
  for (const Traced* operand : operands) {
    if (operand->is_number_) continue;
    numbers = false;
    if (operand->var_.dtype() == DType::f32) dtype = DType::f32;
    // (A float64 array beside it decides; a Python number that is traced does not.)
  }
  std::array<Var, kMaxArity> vars;
  for (std::size_t i = 0; i < operands.size(); ++i) vars[i] = operands[i]->var(dtype);
  Var out = tape::apply(op, std::span<const Var>(vars.data(), operands.size()));
  if (numbers) return Traced(out.value().item());
  return Traced(std::move(out));
}

}  // namespace dualtape::tape
