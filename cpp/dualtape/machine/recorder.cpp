// SPDX-License-Identifier: MIT
// A number type that writes down what is computed with it, and with it the lines of every op of the table.
#include <bit>
#include <cfloat>

#include "dualtape/machine/body.hpp"
#include "dualtape/num/polynomials.hpp"
#include "dualtape/ops/cost.hpp"

namespace dualtape::machine {
namespace {

/// More lines than this, and an op is better off as a loop of its own.
constexpr std::size_t kMostLines = 100;

thread_local Recorder* current = nullptr;

struct Truth {
  LineId id;
  friend Truth operator&(Truth a, Truth b) { return {current->line(Kind::both, 0, a.id, b.id)}; }
  friend Truth operator|(Truth a, Truth b) { return {current->line(Kind::either, 0, a.id, b.id)}; }
  friend Truth operator^(Truth a, Truth b) { return {current->line(Kind::differ, 0, a.id, b.id)}; }
  friend Truth operator!(Truth a) { return {current->line(Kind::inverse, 0, a.id)}; }
};

struct Number {
  LineId id;

  Number(double value) : id(current->constant(value)) {}
  static Number of(LineId id) {
    Number out(0.0);
    out.id = id;
    return out;
  }
  static Number make(Kind kind, Number a) { return of(current->line(kind, 0, a.id)); }
  static Number make(Kind kind, Number a, Number b) { return of(current->line(kind, 0, a.id, b.id)); }

  friend Number operator-(Number x) { return make(Kind::negate, x); }
  friend Number operator+(Number a, Number b) { return make(Kind::add, a, b); }
  friend Number operator-(Number a, Number b) { return make(Kind::subtract, a, b); }
  friend Number operator*(Number a, Number b) { return make(Kind::multiply, a, b); }
  friend Number operator/(Number a, Number b) { return make(Kind::divide, a, b); }
  static Truth compare(Comparison how, Number a, Number b) {
    return {current->line(Kind::compare, static_cast<std::uint32_t>(how), a.id, b.id)};
  }
  friend Truth operator==(Number a, Number b) { return compare(Comparison::equal, a, b); }
  friend Truth operator!=(Number a, Number b) { return compare(Comparison::not_equal, a, b); }
  friend Truth operator<(Number a, Number b) { return compare(Comparison::less, a, b); }
  friend Truth operator<=(Number a, Number b) { return compare(Comparison::less_equal, a, b); }
  friend Truth operator>(Number a, Number b) { return compare(Comparison::greater, a, b); }
  friend Truth operator>=(Number a, Number b) { return compare(Comparison::greater_equal, a, b); }
  friend Number select(Truth mask, Number a, Number b) {
    return of(current->line(Kind::select, 0, mask.id, a.id, b.id));
  }
  static void without_sign(Number& factor, std::uint32_t& signs) {
    const Line line = current->body().lines[static_cast<std::size_t>(factor.id)];
    if (line.kind == Kind::negate) signs ^= kNegateProduct, factor.id = line.operands[0];
  }
  /// A sign before a factor or the addend is part of the instruction.
  friend Number fma(Number a, Number b, Number c) {
    std::uint32_t signs = 0;
    without_sign(a, signs), without_sign(b, signs);
    const Line addend = current->body().lines[static_cast<std::size_t>(c.id)];
    if (addend.kind == Kind::negate) signs ^= kNegateAddend, c.id = addend.operands[0];
    return of(current->line(Kind::fma, signs, a.id, b.id, c.id));
  }
  friend Number strong_product(Number a, Number b) {
    return make(current->body().finite ? Kind::multiply : Kind::strong, a, b);
  }
  friend Number strong_product_and_sum(Number a, Number b, Number c) {
    if (current->body().finite) return fma(a, b, c);
    std::uint32_t signs = 0;
    without_sign(a, signs), without_sign(b, signs);
    return of(current->line(Kind::strong_sum, signs, a.id, b.id, c.id));
  }
  // What the polynomials of num/polynomials.hpp are made of.
  friend Number at_most(Number x, Number bound) { return make(Kind::at_most, x, bound); }
  friend Number at_least(Number x, Number bound) { return make(Kind::at_least, x, bound); }
  friend Number power_from_bits(Number biased) { return make(Kind::power, biased); }
  template <class T>
  static Number scaled(Number x, Number n) {
    using num::polynomials::kBiasedRounder, num::polynomials::kRounder;
    const Number half = n * T(0.5) + kRounder<T> - kRounder<T>;
    return x * power_from_bits(half + kBiasedRounder<T>) * power_from_bits(n - half + kBiasedRounder<T>);
  }
  friend Number scale(Number x, Number n) {
    return current->body().single ? scaled<float>(x, n) : scaled<double>(x, n);
  }
  friend Number largest(Number) { return Number(current->body().single ? FLT_MAX : DBL_MAX); }

  // Functions: those that are instructions, and those that are not.
  static Number rounded(Rounding how, Number x) {
    return of(current->line(Kind::round, static_cast<std::uint32_t>(how), x.id));
  }
  static Number function(ops::Op op, Number x) {
    switch (op) {
#define DUALTAPE_OWN1(name) \
  case ops::Op::name:       \
    return current->body().single ? num::polynomials::name<float>(x) : num::polynomials::name<double>(x);
#include "dualtape/num/math.def"
      case ops::Op::absolute:
        return make(Kind::absolute, x);
      case ops::Op::sqrt:
        return make(Kind::sqrt, x);
      case ops::Op::rint:
        return rounded(Rounding::rint, x);
      case ops::Op::floor:
        return rounded(Rounding::floor, x);
      case ops::Op::ceil:
        return rounded(Rounding::ceil, x);
      case ops::Op::trunc:
        return rounded(Rounding::trunc, x);
      default:
        current->refuse();
        return x;
    }
  }
  static Number function(ops::Op op, Number a, Number b) {
    if (op == ops::Op::copysign) return make(Kind::copysign, a, b);
    current->refuse();
    return a;
  }
#define DUALTAPE_UNARY_NATIVE(name, ...) \
  friend Number name(Number x) { return function(ops::Op::name, x); }
#define DUALTAPE_BINARY_NATIVE(name, ...) \
  friend Number name(Number a, Number b) { return function(ops::Op::name, a, b); }
#define DUALTAPE_UNARY(name, ...) \
  friend Number name(Number x) { return by_rule<ops::name##_op>(x); }
#define DUALTAPE_BINARY(name, ...) \
  friend Number name(Number a, Number b) { return by_rule<ops::name##_op>(a, b); }
#define DUALTAPE_TERNARY(name, ...) \
  friend Number name(Number a, Number b, Number c) { return by_rule<ops::name##_op>(a, b, c); }
#define DUALTAPE_PREDICATE1(name, ...) \
  friend Truth name(Number x) { return ops::name##_op::value(x); }
#define DUALTAPE_PREDICATE2(name, ...) \
  friend Truth name(Number a, Number b) { return ops::name##_op::value(a, b); }
#include "dualtape/ops/ops.def"

  /// Rules of series are not for lines.
  template <class Rule, class... Operands>
  static Number by_rule(Operands... x) {
    if constexpr (ops::is_made_of_operators<Rule>()) {
      return Rule::value(x...);
    } else {
      current->refuse();
      const Number all[] = {x...};
      return all[0];
    }
  }
};

Number as_number(Number x) { return x; }
Number as_number(Truth x) { return select(x, Number(1.0), Number(0.0)); }

template <class Rule>
std::optional<LineId> record(std::span<const LineId> operands) {
  if constexpr (ops::is_made_of_operators<Rule>()) {
    const auto at = [&](int i) { return Number::of(operands[static_cast<std::size_t>(i)]); };
    if constexpr (Rule::arity == 1) {
      return as_number(Rule::value(at(0))).id;
    } else if constexpr (Rule::arity == 2) {
      return as_number(Rule::value(at(0), at(1))).id;
    } else {
      return as_number(Rule::value(at(0), at(1), at(2))).id;
    }
  } else {
    return std::nullopt;
  }
}

}  // namespace

std::size_t Recorder::Hash::operator()(const Line& line) const {
  std::size_t out = static_cast<std::size_t>(line.kind) + 31 * line.immediate;
  for (LineId id : line.operands) out = out * 0x9E3779B97F4A7C15u + static_cast<std::size_t>(id + 1);
  return out ^ out >> 29;
}

LineId Recorder::line(Line line) {
  // The truth of a truth that was made a number is that truth.
  if (line.kind == Kind::compare && line.immediate <= static_cast<std::uint32_t>(Comparison::not_equal)) {
    const auto zero = [&](LineId id) {
      const Line& at = body_.lines[static_cast<std::size_t>(id)];
      return at.kind == Kind::constant && body_.constants[at.immediate] == 0.0;
    };
    const auto one = [&](LineId id) {
      const Line& at = body_.lines[static_cast<std::size_t>(id)];
      return at.kind == Kind::constant && body_.constants[at.immediate] == 1.0;
    };
    const Line number = body_.lines[static_cast<std::size_t>(line.operands[0])];
    if (zero(line.operands[1]) && number.kind == Kind::select && one(number.operands[1]) && zero(number.operands[2])) {
      if (line.immediate == static_cast<std::uint32_t>(Comparison::not_equal)) return number.operands[0];
      return this->line(Kind::inverse, 0, number.operands[0]);
    }
  }
  const auto [at, fresh] = known_.emplace(line, static_cast<LineId>(body_.lines.size()));
  if (fresh) {
    body_.lines.push_back(line);
    if (!guarded_.empty() && line.kind != Kind::input && line.kind != Kind::constant) guarded_.back().push_back(line);
  }
  return at->second;
}

LineId Recorder::guard(LineId mask) {
  guarded_.emplace_back();
  body_.lines.push_back({Kind::guard, 0, {mask, kNoLine, kNoLine}});
  return static_cast<LineId>(body_.lines.size() - 1);
}

void Recorder::join(LineId guard) {
  for (const Line& line : guarded_.back()) known_.erase(line);
  guarded_.pop_back();
  body_.lines[static_cast<std::size_t>(guard)].immediate = static_cast<std::uint32_t>(body_.lines.size());
  body_.lines.push_back({Kind::join});
}

LineId Recorder::input(Input::From from, std::int64_t offset) {
  const auto [place, is_new] = inputs_.try_emplace({from, offset}, static_cast<std::uint32_t>(body_.inputs.size()));
  if (is_new) body_.inputs.push_back({from, offset});
  return line({Kind::input, place->second});
}

LineId Recorder::constant(double value) {
  const auto next = static_cast<std::uint32_t>(body_.constants.size());
  const auto [place, is_new] = constants_.try_emplace(std::bit_cast<std::uint64_t>(value), next);
  if (is_new) body_.constants.push_back(value);
  return line({Kind::constant, place->second});
}

LineId Recorder::truth(LineId number) {
  return line(Kind::compare, static_cast<std::uint32_t>(Comparison::not_equal), number, constant(0.0));
}

std::optional<LineId> Recorder::op(ops::Op op, std::span<const LineId> operands) {
  current = this;
  refused_ = false;
  const std::optional<LineId> out = ops::dispatch(op, [&](auto rule) { return record<decltype(rule)>(operands); });
  return refused_ ? std::nullopt : out;
}

bool is_light(ops::Op op) {
  static const auto known = [] {
    std::vector<char> out;
    for (int i = 0; i < ops::kOpCount; ++i) {
      Body body;
      Recorder recorder(body);
      const LineId operands[] = {recorder.input(Input::From::lanes, 0), recorder.input(Input::From::lanes, 8),
                                 recorder.input(Input::From::lanes, 16)};
      const bool made = recorder.op(static_cast<ops::Op>(i), operands).has_value();
      out.push_back(made && body.lines.size() <= kMostLines);
    }
    return out;
  }();
  return known[static_cast<std::size_t>(op)];
}

}  // namespace dualtape::machine
