// SPDX-License-Identifier: MIT
#include "dualtape/ops/op.hpp"

#include <string>
#include <unordered_map>

#include "dualtape/ops/reads.hpp"
#include "dualtape/ops/rules.hpp"

namespace dualtape::ops {
namespace {

constexpr Domain in(double lo, double hi) { return {.lo = lo, .hi = hi}; }
constexpr Domain off(double lo, double hi, double except) { return {.lo = lo, .hi = hi, .except = except}; }
constexpr Domain integers(double lo, double hi) { return {.lo = lo, .hi = hi, .integer = true}; }

template <class Rule, int I>
void fill_operand(OpInfo& row) {
  if constexpr (I < Rule::arity) {
    if constexpr (Rule::template differentiable<I>) {
      row.differentiable[I] = true;
      const Reads a = Reads::of(1), b = Reads::of(2), c = Reads::of(4), y = Reads::of(1 << Rule::arity);
      Reads partial;
      if constexpr (Rule::arity == 1) partial = Rule::template partial<I>(a, y);
      if constexpr (Rule::arity == 2) partial = Rule::template partial<I>(a, b, y);
      if constexpr (Rule::arity == 3) partial = Rule::template partial<I>(a, b, c, y);
      row.reads[I] = partial.operands;
    }
  }
}

template <class Rule>
OpInfo row(std::string_view name, std::string_view numpy_name, std::array<Domain, kMaxArity> domains,
           std::string_view kink) {
  OpInfo out{name, numpy_name, Rule::arity, Rule::predicate, {}, {}, domains, kink};
  fill_operand<Rule, 0>(out);
  fill_operand<Rule, 1>(out);
  fill_operand<Rule, 2>(out);
  return out;
}

const std::array<OpInfo, kOpCount>& table() {
  static const std::array<OpInfo, kOpCount> rows = {
#define DUALTAPE_UNARY(name, numpy, dx, value, px, kink) row<name##_op>(#name, numpy, {dx}, kink),
#define DUALTAPE_BINARY(name, numpy, da, db, value, pa, pb, kink) row<name##_op>(#name, numpy, {da, db}, kink),
#define DUALTAPE_TERNARY(name, numpy, da, db, dc, value, pa, pb, pc, kink) \
  row<name##_op>(#name, numpy, {da, db, dc}, kink),
#include "dualtape/ops/ops.def"
  };
  return rows;
}

}  // namespace

const OpInfo& info(Op op) { return table()[static_cast<std::size_t>(op)]; }

std::optional<Op> find(std::string_view name) {
  static const auto names = [] {
    std::unordered_map<std::string_view, Op> out;
    for (int i = 0; i < kOpCount; ++i) out.emplace(info(static_cast<Op>(i)).name, static_cast<Op>(i));
    return out;
  }();
  const auto at = names.find(name);
  return at == names.end() ? std::nullopt : std::optional(at->second);
}

}  // namespace dualtape::ops
