// SPDX-License-Identifier: MIT
// Reading at places that are values themselves, as a sort and an interpolation need: `take_along_axis`, and its
// transpose `add_along_axis`. The places are an operand, not an attribute, so a program computes them anew; they have
// no derivative. Both ops are linear in the other operand.
#include "dualtape/array/gather.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"
#include "dualtape/tape/shaped.hpp"

namespace dualtape::tape {
namespace {

using Operands = std::span<const Array* const>;

struct AlongRule : ShapedRule {
  void check(Operands in, const Attributes&) const override { check_count(*this, in.size(), 2); }
  // The derivative needs the places.
  bool linear() const override { return false; }
  /// Lanes that nobody uses hold any places at all. So one that is not there gives NaN, and no error, in every lane.
  static Attributes lenient(Attributes a) {
    a.flag = true;
    return a;
  }
};

struct TakeAlongRule final : AlongRule {
  std::string_view name() const override { return "take_along_axis"; }
  Attributes over_lanes(const Attributes& a, std::span<const Dims>, std::int64_t) const override { return lenient(a); }
  Array forward(Operands in, const Attributes& a) const override {
    return array::take_along(*in[0], a.axis, *in[1], a.flag);
  }
  Var vjp(const Call& call, int, const Var& ct) const override {
    return add_along(ct, call.attributes.axis, call.operands[1], call.shapes[0], call.attributes.flag);
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    return take_along(*tangents[0], call.attributes.axis, call.operands[1], call.attributes.flag);
  }
};

struct AddAlongRule final : AlongRule {
  std::string_view name() const override { return "add_along_axis"; }
  Attributes over_lanes(const Attributes& given, std::span<const Dims>, std::int64_t lanes) const override {
    Attributes a = lenient(given);
    a.dims.push_back(lanes);
    return a;
  }
  Array forward(Operands in, const Attributes& a) const override {
    return array::add_along(*in[0], a.axis, *in[1], a.dims, a.flag);
  }
  Var vjp(const Call& call, int, const Var& ct) const override {
    return take_along(ct, call.attributes.axis, call.operands[1], call.attributes.flag);
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    const Attributes& a = call.attributes;
    return add_along(*tangents[0], a.axis, call.operands[1], a.dims, a.flag);
  }
};

const TakeAlongRule take_along_rule;
const AddAlongRule add_along_rule;
const RegisterRule registered[] = {RegisterRule(take_along_rule), RegisterRule(add_along_rule)};

Var along(const ShapedRule& rule, const Var& x, const Var& index, Attributes attributes) {
  const Var operands[] = {x, index.constant()};
  return apply(rule, operands, std::move(attributes));
}

}  // namespace

Var take_along(const Var& x, std::int64_t axis, const Var& index, bool lenient) {
  Attributes attributes;
  attributes.flag = lenient;
  attributes.axis = axis;
  return along(take_along_rule, x, index, std::move(attributes));
}

Var take_at(const Var& x, std::int64_t axis, const Var& index) {
  if (!is_recorded(index.value())) return take(x, axis, index.value());
  // All vectors along the axis read at the same places.
  const int at = static_cast<int>(axis);
  Dims places = Dims::filled(x.ndim(), 1), each(x.shape()), made;
  places[at] = each[at] = index.size();
  for (int i = 0; i < x.ndim(); ++i) {
    if (i != at) {
      made.push_back(each[i]);
      continue;
    }
    for (std::int64_t extent : index.shape()) made.push_back(extent);
  }
  return reshape(take_along(x, axis, broadcast_to(reshape(index, places), each)), made);
}

Var add_along(const Var& x, std::int64_t axis, const Var& index, Shape full, bool lenient) {
  Attributes attributes;
  attributes.flag = lenient;
  attributes.axis = axis;
  attributes.dims = Dims(full);
  return along(add_along_rule, x, index, std::move(attributes));
}

}  // namespace dualtape::tape
