// SPDX-License-Identifier: MIT
#include "dualtape/tape/reverse.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "dualtape/array/elementwise.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/ops/rules.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"

namespace dualtape::tape {
namespace {

/// Stands for an adjoint that nothing has reached: a NaN that no computation gives. Zero will not do, because 0 + -0
/// is not -0, and a scalar pass must have the bits of one over arrays.
constexpr std::uint64_t kAbsentBits = 0x7ff8'd0a1'7a9e'0001;
const double kAbsent = std::bit_cast<double>(kAbsentBits);
inline bool is_absent(double adjoint) { return std::bit_cast<std::uint64_t>(adjoint) == kAbsentBits; }
inline void add_to(double& adjoint, double cotangent) {
  adjoint = is_absent(adjoint) ? cotangent : adjoint + cotangent;
}

/// Adds what the operands of a scalar op get to their adjoints; `adjoints` begins at node `first`.
inline void give_scalar(const Node* nodes, const Node& node, double adjoint, double* adjoints, std::uint32_t first) {
  const auto give = [&](std::uint32_t place, double cotangent) {
    if (place >= first) add_to(adjoints[place - first], cotangent);
  };
  const double a = nodes[node.a].value;
  const double b = node.b == kNoNode ? 0.0 : nodes[node.b].value;
  ops::dispatch(node.op, [&](auto rule) {
    using Rule = decltype(rule);
    if constexpr (Rule::arity == 1) {
      if constexpr (Rule::template differentiable<0>)
        give(node.a, ops::strong_multiply(adjoint, Rule::template partial<0>(a, node.value)));
    } else if constexpr (Rule::arity == 2) {
      if constexpr (Rule::template differentiable<0>) {
        if (node.tracked & 1) give(node.a, ops::strong_multiply(adjoint, Rule::template partial<0>(a, b, node.value)));
      }
      if constexpr (Rule::template differentiable<1>) {
        if (node.tracked & 2) give(node.b, ops::strong_multiply(adjoint, Rule::template partial<1>(a, b, node.value)));
      }
    }
  });
}

}  // namespace

ReversePass::ReversePass(Tape& tape, std::uint32_t first, const ValueView* view)
    : tape_(tape), first_(first), view_(view) {
  extend();
}

void ReversePass::extend() {
  const std::size_t nodes = tape_.size() - first_;
  if (numeric()) scalars_.resize(nodes, kAbsent);
  vars_.resize(numeric() ? tape_.record_count() : nodes);
  present_.resize(vars_.size(), false);
}

void ReversePass::aim(std::span<const Var> xs, std::uint32_t last) {
  if (tape_.record_count() == 0) return;  // scalars alone: finding out costs more than it saves
  std::vector<bool> leads(last - first_ + 1);
  for (const Var& x : xs) {
    if (x.node() <= last) leads[x.node() - first_] = true;
  }
  const auto found = [&](std::uint32_t node) { return node != kNoNode && node >= first_ && leads[node - first_]; };
  for (std::uint32_t i = first_; i <= last; ++i) {
    if (leads[i - first_]) continue;
    const Node& node = tape_.node(i);
    bool any = node.kind == Kind::custom || node.kind == Kind::companion || node.kind == Kind::opaque;
    if (node.kind == Kind::leaf) any = found(node.a);
    if (node.kind == Kind::scalar) any = ((node.tracked & 1) && found(node.a)) || ((node.tracked & 2) && found(node.b));
    if (node.kind == Kind::elementwise || node.kind == Kind::shaped) {
      for (const Operand& operand : tape_.record(node).operands) any = any || found(operand.node);
    }
    leads[i - first_] = any;
  }
  leads_ = std::move(leads);
}

std::size_t ReversePass::slot(std::uint32_t place) const {
  return numeric() ? tape_.node(place).record : place - first_;
}

void ReversePass::keep(std::uint32_t place) {
  const Node& node = tape_.node(place);
  if (node.kind == Kind::leaf || (numeric() && (node.tracked & kScalarOut))) return;
  kept_.resize(vars_.size(), false);
  kept_[slot(place)] = true;
}

void ReversePass::add(std::uint32_t place, Var cotangent) {
  if (place == kNoNode || place < first_) return;
  const Node& node = tape_.node(place);
  if (numeric() && (node.tracked & kScalarOut)) {
    add_to(scalars_[place - first_],
           cotangent.value().is_scalar() ? cotangent.value().scalar() : cotangent.value().item());
    return;
  }
  const std::size_t at = slot(place);
  vars_[at] = present_[at] ? tape::add(std::move(vars_[at]), cotangent) : std::move(cotangent);
  present_[at] = true;
}

bool ReversePass::reached(std::uint32_t place) const {
  const Node& node = tape_.node(place);
  if (numeric() && (node.tracked & kScalarOut)) return !is_absent(scalars_[place - first_]);
  return present_[slot(place)];
}

Var ReversePass::adjoint(std::uint32_t place) const {
  const Node& node = tape_.node(place);
  if (numeric() && (node.tracked & kScalarOut)) return Var(scalars_[place - first_]);
  return vars_[slot(place)];
}

Var ReversePass::take_adjoint(std::uint32_t place) {
  // An adjoint that is an answer stays; every other one is used up, so that its memory can be reused.
  const std::size_t at = slot(place);
  return at < kept_.size() && kept_[at] ? vars_[at] : std::exchange(vars_[at], Var());
}

Var ReversePass::value_at(std::uint32_t node, const Array& value) const {
  return view_ && node != kNoNode ? view_->at(node, value) : Var(value);
}

void ReversePass::pull(std::uint32_t place, Var cotangent) {
  const Node node = tape_.node(place);
  if (node.kind == Kind::scalar) {
    const Var operands[] = {
        node.tracked & 1 ? value_at(node.a, Array(tape_.node(node.a).value)) : Var(tape_.node(node.a).value),
        node.b == kNoNode  ? Var()
        : node.tracked & 2 ? value_at(node.b, Array(tape_.node(node.b).value))
                           : Var(tape_.node(node.b).value)};
    const std::span<const Var> in(operands, node.b == kNoNode ? 1 : 2);
    const Var out = value_at(place, Array(node.value));
    if (node.tracked & 1) add(node.a, times_partial(node.op, 0, in, out, cotangent));
    if (node.tracked & 2) add(node.b, times_partial(node.op, 1, in, out, cotangent));
    return;
  }
  const Record& record = tape_.record(node);
  std::vector<Var> operands;
  operands.reserve(record.operands.size());
  for (const Operand& operand : record.operands) operands.push_back(value_at(operand.node, operand.value));
  const Var out = value_at(place, node.tracked & kScalarOut ? Array(node.value) : record.out);
  const auto wanted = [&](const Operand& operand) { return operand.node != kNoNode && leads(operand.node); };
  if (node.kind == Kind::elementwise) {
    for (std::size_t i = 0; i < record.operands.size(); ++i) {
      const Operand& operand = record.operands[i];
      if (!wanted(operand) || !ops::info(node.op).differentiable[i]) continue;
      add(operand.node,
          fit(times_partial(node.op, static_cast<int>(i), operands, out, cotangent), operand.shape, operand.dtype));
    }
    return;
  }
  std::vector<Dims> shapes;
  std::vector<DType> dtypes;
  for (const Operand& operand : record.operands) {
    shapes.push_back(operand.shape);
    dtypes.push_back(operand.dtype);
  }
  const Call call{operands, out, shapes, dtypes, *record.attributes};
  std::vector<bool> which;
  for (const Operand& operand : record.operands) which.push_back(wanted(operand) && is_float(operand.dtype));
  const std::vector<Var> cotangents = record.rule->vjps(call, which, cotangent);
  for (std::size_t i = 0; i < record.operands.size(); ++i) {
    const Operand& operand = record.operands[i];
    if (which[i]) add(operand.node, fit(cotangents[i], operand.shape, operand.dtype));
  }
}

void ReversePass::pull_custom(std::uint32_t place) {
  const Record& record = tape_.record(tape_.node(place));
  std::vector<Var> cotangents;
  bool any = false;
  for (std::uint32_t k = 0; k < record.outputs; ++k) {
    const Node& output = tape_.node(place + k);
    const Record& shape_of = tape_.record(output);
    any = any || reached(place + k);
    cotangents.push_back(reached(place + k) ? adjoint(place + k)
                                            : Var(Array::zeros(shape_of.out_dtype, shape_of.out_shape)));
  }
  if (any) record.custom->pull(*this, record.operands, cotangents);
}

void refuse_opaque() {
  throw GradientError(
      "dlgradient: the value depends on a derivative that was computed without enable_higher_derivatives; "
      "pass enable_higher_derivatives=True to the dlgradient call that computed it.");
}

void ReversePass::run(std::uint32_t last, std::uint32_t stop) {
  for (std::uint32_t i = last + 1; i-- > std::max(stop, first_);) {
    const Node& node = tape_.node(i);
    switch (node.kind) {
      case Kind::constant:
      case Kind::companion:
        break;
      case Kind::custom:
        pull_custom(i);
        break;
      case Kind::opaque:
        if (reached(i)) refuse_opaque();
        break;
      case Kind::leaf:
        if (reached(i)) add(node.a, adjoint(i));
        break;
      case Kind::scalar:
        if (numeric()) {
          if (const double adjoint = scalars_[i - first_]; !is_absent(adjoint))
            give_scalar(tape_.nodes(), node, adjoint, scalars_.data(), first_);
          break;
        }
        [[fallthrough]];
      case Kind::elementwise:
      case Kind::shaped:
        if (!reached(i)) break;
        pull(i, numeric() && (node.tracked & kScalarOut) ? Var(scalars_[i - first_]) : take_adjoint(i));
        break;
    }
  }
}

namespace {

class RecordedView final : public ValueView {
 public:
  explicit RecordedView(const Tape& tape) : tape_(tape) {}
  Var at(std::uint32_t node, const Array& value) const override { return Var(value, node, tape_.recording()); }

 private:
  const Tape& tape_;
};

/// Strips the pairs above `level`, which a value that is not dual there does not depend on.
Var below(const Var& x, std::uint32_t level) {
  const Var* var = &x;
  while (var->level() > level) var = &var->primal();
  return *var;
}

bool is_on(const Tape& tape, const Var& var) { return var.has_node() && var.recording() == tape.recording(); }

class PlainView final : public ValueView {
 public:
  Var at(std::uint32_t, const Array& value) const override { return Var(value); }
};

std::vector<Var> pull_back_plain(Tape* tape, std::span<const Var> ys, std::span<const Var> cotangents,
                                 std::span<const Var> xs, GradientOptions options) {
  std::uint32_t first = kNoNode, last = 0;
  for (const Var& x : xs) {
    if (!tape || !is_on(*tape, x)) {
      throw GradientError("dlgradient: the input of shape " + to_string(x.shape()) +
                          " is not traced, so nothing is known of what depends on it; differentiate with respect to an "
                          "argument of the function given to dlfeval, or to a value computed from one.");
    }
    first = std::min(first, x.node());
  }
  bool any = false;
  for (const Var& y : ys) {
    if (!tape || !is_on(*tape, y) || y.node() < first) continue;
    last = any ? std::max(last, y.node()) : y.node();
    any = true;
  }
  if (options.unconnected_error) {
    const std::vector<bool> reached = any ? reachable_from(*tape, ys, first, last) : std::vector<bool>();
    for (std::size_t i = 0; i < xs.size(); ++i) {
      if (any && xs[i].node() <= last && reached[xs[i].node() - first]) continue;
      throw GradientError("dlgradient: the value does not depend on input " + std::to_string(i + 1) + " of " +
                          std::to_string(xs.size()) + ", of shape " + to_string(xs[i].shape()) +
                          "; leave out unconnected=\"error\" to get zeros.");
    }
  }
  std::vector<Var> out;
  out.reserve(xs.size());
  if (!any) {
    for (const Var& x : xs) out.push_back(zeros_like(x));
    return out;
  }
  const RecordedView recorded(*tape);
  const PlainView plain;
  const bool tracked =
      std::any_of(cotangents.begin(), cotangents.end(), [](const Var& c) { return Tape::of(c) != nullptr; });
  const ValueView* view = options.record                   ? static_cast<const ValueView*>(&recorded)
                          : tracked || Recorder::current() ? &plain
                                                           : nullptr;
  ReversePass pass(*tape, first, view);
  for (std::size_t i = 0; i < ys.size(); ++i) {
    if (is_on(*tape, ys[i])) pass.add(ys[i].node(), fit(cotangents[i], ys[i].shape(), ys[i].dtype()));
  }
  pass.aim(xs, last);
  for (const Var& x : xs) pass.keep(x.node());
  pass.run(last);
  for (const Var& x : xs) {
    out.push_back(x.node() <= last && pass.reached(x.node()) ? pass.adjoint(x.node()) : zeros_like(x));
  }
  return out;
}

}  // namespace

std::vector<bool> reachable_from(const Tape& tape, std::span<const Var> ys, std::uint32_t first, std::uint32_t last) {
  std::vector<bool> reached(last - first + 1);
  const auto mark = [&](std::uint32_t node) {
    if (node != kNoNode && node >= first && node <= last) reached[node - first] = true;
  };
  for (const Var& y : ys) {
    if (is_on(tape, y)) mark(y.node());
  }
  for (std::uint32_t i = last + 1; i-- > first;) {
    if (!reached[i - first]) continue;
    const Node& node = tape.node(i);
    if (node.kind == Kind::scalar) {
      if (node.tracked & 1) mark(node.a);
      if (node.tracked & 2) mark(node.b);
    } else if (node.kind == Kind::leaf || node.kind == Kind::companion) {
      mark(node.a);
    } else if (node.kind != Kind::constant && node.kind != Kind::opaque) {
      for (const Operand& operand : tape.record(node).operands) mark(operand.node);
    }
  }
  return reached;
}

std::vector<Var> pull_back(Tape* tape, std::span<const Var> ys, std::span<const Var> cotangents,
                           std::span<const Var> xs, GradientOptions options) {
  std::uint32_t level = 0;
  std::int64_t directions = 0;
  for (const auto& list : {ys, cotangents}) {
    for (const Var& v : list) {
      if (v.level() > level) {
        level = v.level();
        directions = v.directions();
      }
    }
  }
  if (!level) {
    std::vector<Var> plain;
    for (const Var& x : xs) plain.push_back(below(x, 0));
    return pull_back_plain(tape, ys, cotangents, plain, options);
  }
  // The derivative of a dual is the dual of the derivatives: with y = y0 + y1 e and a cotangent c0 + c1 e,
  // the parts are c0 y0' and c1 y0' + c0 y1'.
  const auto primal = [&](const Var& v) { return v.level() == level ? v.primal() : v; };
  std::vector<Var> y0, c0, inner;
  for (const Var& y : ys) y0.push_back(primal(y));
  for (const Var& c : cotangents) c0.push_back(primal(c));
  for (const Var& x : xs) inner.push_back(primal(below(x, level)));
  const std::vector<Var> gradients = pull_back(tape, y0, c0, inner, options);
  std::vector<std::vector<Var>> parts(xs.size());
  for (std::int64_t k = 0; k < std::max<std::int64_t>(directions, 1); ++k) {
    std::vector<Var> y1, c1;
    const auto tangent = [&](const Var& v) { return directions ? direction(v.tangent(), k) : v.tangent(); };
    for (std::size_t i = 0; i < ys.size(); ++i) {
      if (ys[i].level() == level) {
        y1.push_back(tangent(ys[i]));
        c1.push_back(c0[i]);
      }
      if (cotangents[i].level() == level) {
        y1.push_back(y0[i]);
        c1.push_back(tangent(cotangents[i]));
      }
    }
    const std::vector<Var> part = pull_back(tape, y1, c1, inner, {options.record, false});
    for (std::size_t i = 0; i < xs.size(); ++i) parts[i].push_back(part[i]);
  }
  std::vector<Var> out;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    out.push_back(Var::dual(level, gradients[i], directions ? stack(parts[i], 0) : parts[i][0], directions));
  }
  return out;
}

[[gnu::flatten]] bool pull_back_scalars(const Tape& tape, std::uint32_t y, std::span<const std::uint32_t> xs,
                                        std::span<double> out) {
  constexpr std::uint32_t kMost = 512;
  std::uint32_t first = y;
  for (std::uint32_t x : xs) first = std::min(first, x);
  if (y - first >= kMost) return false;
  double adjoints[kMost];
  std::fill_n(adjoints, y - first + 1, kAbsent);
  adjoints[y - first] = 1.0;
  const Node* nodes = tape.nodes();
  for (std::uint32_t i = y + 1; i-- > first;) {
    const Node& node = nodes[i];
    const double adjoint = adjoints[i - first];
    if (node.kind == Kind::scalar) {
      if (!is_absent(adjoint)) give_scalar(nodes, node, adjoint, adjoints, first);
    } else if (node.kind == Kind::leaf && (node.tracked & kScalarOut)) {
      if (node.a != kNoNode && node.a >= first && !is_absent(adjoint)) add_to(adjoints[node.a - first], adjoint);
    } else if (node.kind != Kind::constant) {
      return false;
    }
  }
  for (std::size_t k = 0; k < xs.size(); ++k) {
    out[k] = xs[k] <= y && !is_absent(adjoints[xs[k] - first]) ? adjoints[xs[k] - first] : 0.0;
  }
  return true;
}

}  // namespace dualtape::tape
