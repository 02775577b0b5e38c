// SPDX-License-Identifier: MIT
#include "dualtape/tape/shaped.hpp"

#include <algorithm>
#include <cstring>
#include <map>

#include "dualtape/base/error.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"
#include "dualtape/tape/tape.hpp"

namespace dualtape::tape {
namespace {

Array forward(const ShapedRule& rule, std::span<const Var> operands, const Attributes& attributes) {
  std::vector<const Array*> values;
  values.reserve(operands.size());
  for (const Var& operand : operands) values.push_back(&operand.value());
  Array out = rule.forward(values, attributes);
  Recorder* recorder = Recorder::of(values);
  return recorder ? recorder->shaped(rule, values, attributes, out) : out;
}

Var apply_dual(const ShapedRule& rule, std::span<const Var> operands, const Attributes& attributes,
               std::uint32_t level) {
  std::vector<Var> primals;
  std::vector<const Var*> tangents;
  std::vector<Dims> shapes;
  std::vector<DType> dtypes;
  std::int64_t directions = 0;
  for (const Var& operand : operands) {
    const bool paired = operand.level() == level;
    primals.push_back(paired ? operand.primal() : operand);
    tangents.push_back(paired ? &operand.tangent() : nullptr);
    shapes.emplace_back(operand.shape());
    dtypes.push_back(operand.dtype());
    if (paired) directions = std::max(directions, operand.directions());
  }
  Var out = apply(rule, primals, attributes);
  const Call call{primals, out, shapes, dtypes, attributes};
  Var tangent = tangent_of(rule, call, tangents, directions);
  return Var::dual(level, std::move(out), std::move(tangent), directions);
}

}  // namespace

/// The tangent for one direction, or for several: together where the rule says how, or else one by one.
Var tangent_of(const ShapedRule& rule, const Call& call, std::span<const Var* const> tangents,
               std::int64_t directions) {
  if (!directions) return rule.jvp(call, tangents);
  if (tangents.size() == 1) {
    if (std::optional<Attributes> all = rule.over_directions(call.attributes, call.shapes[0], directions)) {
      return apply(rule, std::span(tangents[0], 1), std::move(*all));
    }
  }
  std::vector<Var> each;
  for (std::int64_t k = 0; k < directions; ++k) {
    std::vector<Var> one(tangents.size());
    std::vector<const Var*> pointers(tangents.size(), nullptr);
    for (std::size_t i = 0; i < tangents.size(); ++i) {
      if (!tangents[i]) continue;
      one[i] = direction(*tangents[i], k);
      pointers[i] = &one[i];
    }
    each.push_back(rule.jvp(call, pointers));
  }
  return stack(each, 0);
}

void check_count(const ShapedRule& rule, std::size_t given, std::size_t count) {
  if (given == count) return;
  throw ShapeError(std::string(rule.name()) + ": it takes " + std::to_string(count) + " operands; got " +
                   std::to_string(given) + ".");
}

void ShapedRule::check(std::span<const Array* const> operands, const Attributes&) const {
  check_count(*this, operands.size(), 1);
}

Attributes ShapedRule::over_lanes(const Attributes& attributes, std::span<const Dims>, std::int64_t) const {
  return attributes;
}

std::optional<Attributes> ShapedRule::over_directions(const Attributes&, Shape, std::int64_t) const {
  return std::nullopt;
}

void ShapedRule::forward_lanes(Array& out, std::span<const Array* const> operands, const Attributes& attributes,
                               const ActiveLanes&) const {
  forward_into(out, operands, attributes);
}

std::vector<Var> ShapedRule::vjps(const Call& call, const std::vector<bool>& wanted, const Var& cotangent) const {
  std::vector<Var> out(wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i]) out[i] = vjp(call, static_cast<int>(i), cotangent);
  }
  return out;
}

void ShapedRule::forward_into(Array& out, std::span<const Array* const> operands, const Attributes& attributes) const {
  array::copy_elements(forward(operands, attributes), out);
}

bool operator==(const Attributes& a, const Attributes& b) {
  const auto same_slice = [](const array::Slice& s, const array::Slice& t) {
    return s.start == t.start && s.step == t.step && s.count == t.count;
  };
  if (a.payload != b.payload && !(a.payload && b.payload && a.payload->save() == b.payload->save())) return false;
  if (!(a.dims == b.dims) || a.axis != b.axis || a.flag != b.flag || a.dtype != b.dtype) return false;
  if (!std::equal(a.slices.begin(), a.slices.end(), b.slices.begin(), b.slices.end(), same_slice)) return false;
  if (a.index.dtype() != b.index.dtype() || !same_shape(a.index.shape(), b.index.shape())) return false;
  const Array x = a.index.as_contiguous(), y = b.index.as_contiguous();
  const auto bytes = static_cast<std::size_t>(x.size() * array::item_size(x.dtype()));
  return std::memcmp(x.raw_data(), y.raw_data(), bytes) == 0;
}

namespace {
std::map<std::string_view, const ShapedRule*>& rules() {
  static std::map<std::string_view, const ShapedRule*> all;
  return all;
}
}  // namespace

const ShapedRule* find_rule(std::string_view name) {
  const auto at = rules().find(name);
  return at == rules().end() ? nullptr : at->second;
}
RegisterRule::RegisterRule(const ShapedRule& rule) { rules().emplace(rule.name(), &rule); }

Var ShapedRule::jvp(const Call& call, std::span<const Var* const> tangents) const {
  if (!linear() || tangents.size() != 1) throw TapeError(std::string(name()) + ": the rule states no jvp.");
  return apply(*this, std::span(tangents[0], 1), call.attributes);
}

Var apply(const ShapedRule& rule, std::span<const Var> given, Attributes attributes) {
  std::vector<Var> room;
  const std::span<const Var> operands = Recorder::lifted(given, room);
  std::uint32_t level = 0;
  for (const Var& operand : operands) level = std::max(level, operand.level());
  if (level) return apply_dual(rule, operands, attributes, level);
  Array out = forward(rule, operands, attributes);
  return record_result(rule, operands, std::move(attributes), std::move(out));
}

Var record_result(const ShapedRule& rule, std::span<const Var> operands, Attributes attributes, Array out) {
  Tape* tape = Tape::current();
  const bool tracked = tape && is_float(out.dtype()) && std::any_of(operands.begin(), operands.end(), [](const Var& v) {
                         return Tape::of(v) != nullptr;
                       });
  if (!tracked) return Var(std::move(out));
  Record record;
  record.rule = &rule;
  record.attributes = std::make_unique<Attributes>(std::move(attributes));
  record.operands.reserve(operands.size());
  const bool keeps_values = !rule.linear();
  for (const Var& operand : operands) {
    const std::uint32_t node = Tape::of(operand) ? operand.node() : kNoNode;
    record.operands.push_back({keeps_values ? operand.value() : Array(), node, operand.dtype(), Dims(operand.shape())});
  }
  record.out_dtype = out.dtype();
  record.out_shape = Dims(out.shape());
  if (keeps_values) record.out = out;
  const bool scalar = out.is_scalar();
  const std::uint32_t place =
      tape->push(Kind::shaped, {}, scalar ? out.scalar() : 0.0, scalar ? kScalarOut : 0, kNoNode, &record);
  return Var(std::move(out), place, tape->recording());
}

}  // namespace dualtape::tape
