// SPDX-License-Identifier: MIT
#include "dualtape/tape/shaped.hpp"

#include <algorithm>

#include "dualtape/base/error.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/tape.hpp"

namespace dualtape::tape {
namespace {

Array forward(const ShapedRule& rule, std::span<const Var> operands, const Attributes& attributes) {
  std::vector<const Array*> values;
  values.reserve(operands.size());
  for (const Var& operand : operands) values.push_back(&operand.value());
  return rule.forward(values, attributes);
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

/// The tangent for one direction, or for several one by one: a rule knows nothing of directions.
Var tangent_of(const ShapedRule& rule, const Call& call, std::span<const Var* const> tangents,
               std::int64_t directions) {
  if (!directions) return rule.jvp(call, tangents);
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

Var ShapedRule::jvp(const Call& call, std::span<const Var* const> tangents) const {
  if (!linear() || tangents.size() != 1) throw TapeError(std::string(name()) + ": the rule states no jvp.");
  return apply(*this, std::span(tangents[0], 1), call.attributes);
}

Var apply(const ShapedRule& rule, std::span<const Var> operands, Attributes attributes) {
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
