// SPDX-License-Identifier: MIT
// The forward pass over a tape, and forward over reverse built from the two passes.
#include <algorithm>
#include <vector>

#include "dualtape/base/error.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/reverse.hpp"

namespace dualtape::tape {
namespace {

/// Tangents by node, from the first leaf to the last result.
class Tangents {
 public:
  Tangents(Tape& tape, std::uint32_t first, std::uint32_t last, std::int64_t directions)
      : tape_(tape),
        first_(first),
        last_(last),
        directions_(directions),
        vars_(last - first + 1),
        present_(last - first + 1) {}

  void set(std::uint32_t node, Var tangent) {
    if (node > last_) return;
    vars_[node - first_] = std::move(tangent);
    present_[node - first_] = true;
  }
  const Var* find(std::uint32_t node) const {
    return node != kNoNode && node >= first_ && node <= last_ && present_[node - first_] ? &vars_[node - first_]
                                                                                         : nullptr;
  }
  std::int64_t directions() const { return directions_; }

  void run() {
    for (std::uint32_t i = first_; i <= last_; ++i) {
      const Node node = tape_.node(i);
      if (node.kind == Kind::scalar) push_scalar(i, node);
      if (node.kind == Kind::elementwise) push_elementwise(i, node);
      if (node.kind == Kind::shaped) push_shaped(i, node);
      if (node.kind == Kind::leaf && !find(i) && find(node.a)) set(i, *find(node.a));
      if (node.kind == Kind::custom) refuse(node);
    }
  }

 private:
  void refuse(const Node& node) const {
    for (const Operand& operand : tape_.record(node).operands) {
      if (find(operand.node)) {
        throw GradientError(
            "jvp: a function with a custom_vjp has no forward rule; give it a custom_jvp instead, or use reverse "
            "mode.");
      }
    }
  }
  Var shaped_like_out(Var tangent, Shape out) const {
    Dims shape(out);
    if (directions_) shape.insert(0, directions_);
    return same_shape(tangent.shape(), shape) ? tangent : broadcast_to(tangent, shape);
  }
  void push_partials(std::uint32_t i, const Node& node, std::span<const Var> operands,
                     std::span<const std::uint32_t> places, const Var& out) {
    Var total;
    bool found = false;
    for (std::size_t k = 0; k < operands.size(); ++k) {
      const Var* tangent = find(places[k]);
      if (!tangent || !ops::info(node.op).differentiable[k]) continue;
      const Var factor = directions_ ? align_directions(*tangent, out.ndim()) : *tangent;
      Var term = times_partial(node.op, static_cast<int>(k), operands, out, factor);
      total = found ? add(std::move(total), term) : std::move(term);
      found = true;
    }
    if (found) set(i, shaped_like_out(std::move(total), out.shape()));
  }
  void push_scalar(std::uint32_t i, const Node& node) {
    if (!find(node.a) && !find(node.b)) return;
    const Var operands[] = {Var(tape_.node(node.a).value), node.b == kNoNode ? Var() : Var(tape_.node(node.b).value)};
    const std::uint32_t places[] = {node.tracked & 1 ? node.a : kNoNode, node.tracked & 2 ? node.b : kNoNode};
    push_partials(i, node, std::span(operands, node.b == kNoNode ? 1 : 2), places, Var(node.value));
  }
  void push_elementwise(std::uint32_t i, const Node& node) {
    const Record& record = tape_.record(node);
    std::vector<Var> operands;
    std::vector<std::uint32_t> places;
    for (const Operand& operand : record.operands) {
      operands.emplace_back(operand.value);
      places.push_back(operand.node);
    }
    push_partials(i, node, operands, places, Var(record.out));
  }
  void push_shaped(std::uint32_t i, const Node& node) {
    const Record& record = tape_.record(node);
    std::vector<Var> operands;
    std::vector<Dims> shapes;
    std::vector<DType> dtypes;
    std::vector<const Var*> tangents;
    bool any = false;
    for (const Operand& operand : record.operands) {
      operands.emplace_back(operand.value);
      shapes.push_back(operand.shape);
      dtypes.push_back(operand.dtype);
      tangents.push_back(find(operand.node));
      any = any || tangents.back();
    }
    if (!any) return;
    const Var out(node.tracked & kScalarOut ? Array(node.value) : record.out);
    const Call call{operands, out, shapes, dtypes, *record.attributes};
    set(i, tangent_of(*record.rule, call, tangents, directions_));
  }

  Tape& tape_;
  std::uint32_t first_, last_;
  std::int64_t directions_;
  std::vector<Var> vars_;
  std::vector<bool> present_;
};

class DualView final : public ValueView {
 public:
  DualView(const Tangents& tangents, std::uint32_t level) : tangents_(tangents), level_(level) {}
  Var at(std::uint32_t node, const Array& value) const override {
    const Var* tangent = tangents_.find(node);
    return tangent ? Var::dual(level_, Var(value), *tangent, tangents_.directions()) : Var(value);
  }

 private:
  const Tangents& tangents_;
  std::uint32_t level_;
};

Tangents run_forward(Tape& tape, std::span<const Var> xs, std::span<const Var> tangents, std::uint32_t last,
                     std::int64_t directions) {
  std::uint32_t first = last;
  for (const Var& x : xs) first = std::min(first, x.node());
  Tangents out(tape, first, last, directions);
  for (std::size_t i = 0; i < xs.size(); ++i) out.set(xs[i].node(), tangents[i]);
  out.run();
  return out;
}

Var zero_tangent(const Var& x, std::int64_t directions) {
  Dims shape(x.shape());
  if (directions) shape.insert(0, directions);
  return Var(Array::zeros(x.dtype(), shape));
}

}  // namespace

std::vector<Var> push_forward(Tape& tape, std::span<const Var> xs, std::span<const Var> tangents,
                              std::span<const Var> ys, std::int64_t directions) {
  std::uint32_t last = 0;
  bool connected = false;
  for (const Var& y : ys) {
    if (y.recording() != tape.recording()) continue;
    last = std::max(last, y.node());
    connected = true;
  }
  std::vector<Var> out;
  if (!connected) {
    for (const Var& y : ys) out.push_back(zero_tangent(y, directions));
    return out;
  }
  std::uint32_t first = last;
  for (const Var& x : xs) first = std::min(first, x.node());
  bool opaque = false;
  for (std::uint32_t i = first; i <= last; ++i) opaque = opaque || tape.node(i).kind == Kind::opaque;
  if (opaque) {
    const std::vector<bool> reached = reachable_from(tape, ys, first, last);
    for (std::uint32_t i = first; i <= last; ++i) {
      if (reached[i - first] && tape.node(i).kind == Kind::opaque) refuse_opaque();
    }
  }
  const Tangents all = run_forward(tape, xs, tangents, last, directions);
  for (const Var& y : ys) {
    const Var* tangent = y.recording() == tape.recording() ? all.find(y.node()) : nullptr;
    out.push_back(tangent ? *tangent : zero_tangent(y, directions));
  }
  return out;
}

std::vector<Var> second_order(Tape& tape, const Var& y, std::span<const Var> xs, std::span<const Var> tangents,
                              std::int64_t directions) {
  std::vector<Var> out;
  const bool connected = y.recording() == tape.recording();
  if (connected) {
    const Tangents all = run_forward(tape, xs, tangents, y.node(), directions);
    const DualView view(all, new_level());
    std::uint32_t first = y.node();
    for (const Var& x : xs) first = std::min(first, x.node());
    ReversePass pass(tape, first, &view);
    pass.add(y.node(), Var(Array::full(y.dtype(), {}, 1.0)));
    pass.run(y.node());
    for (const Var& x : xs) {
      Var adjoint = x.node() <= y.node() && pass.reached(x.node()) ? pass.adjoint(x.node()) : zeros_like(x);
      if (!adjoint.is_dual()) adjoint = Var::dual(new_level(), adjoint, zero_tangent(x, directions), directions);
      out.push_back(std::move(adjoint));
    }
    return out;
  }
  for (const Var& x : xs) out.push_back(Var::dual(new_level(), zeros_like(x), zero_tangent(x, directions), directions));
  return out;
}

}  // namespace dualtape::tape
