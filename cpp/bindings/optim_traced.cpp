// SPDX-License-Identifier: MIT
#include "bindings/optim_traced.hpp"

#include "dualtape/optim/rules.hpp"
#include "dualtape/tape/functions.hpp"

namespace dualtape::bindings {
namespace {

using namespace optim::DUALTAPE_ISA;
using optim::Rule;
using tape::Traced;

// Filling the structs of hyperparameters and carried numbers from lists, and back.
#define RULE(name) void read(hyper::name<Traced>& h, const Traced* from) {
#define HYPER(name, default_value, low, high) h.name = *from++;
#define END(name) }
#include "dualtape/optim/rules.def"
#define RULE(name)                                        \
  void read(carry::name<Traced>& c, const Traced* from) { \
    (void)c, (void)from;
#define CARRY(name) c.name = *from++;
#define END(name) }
#include "dualtape/optim/rules.def"
#define RULE(name)                                       \
  void write(const carry::name<Traced>& c, Traced* to) { \
    (void)c, (void)to;
#define CARRY(name) *to++ = c.name;
#define END(name) }
#include "dualtape/optim/rules.def"

Traced sum_of_squares(const Traced& x) {
  const Var var = x.var();
  Dims axes;
  for (int axis = 0; axis < var.ndim(); ++axis) axes.push_back(axis);
  return Traced(tape::sum((x * x).var(), axes, false));
}

/// The factor that brings a norm down to the threshold.
Traced clipped(const Traced& squares, double threshold) {
  const Traced norm = sqrt(squares);
  return select(norm > Traced(threshold), Traced(threshold) / norm, Traced(1.0));
}

template <class R, template <class> class Hyper, template <class> class Carry, int... k>
void run(std::span<const Traced> hyper, const Traced& t, std::span<Traced> carry, const TermRequest& request,
         Leaves& leaves, std::vector<Var> (&results)[kTrees], std::integer_sequence<int, k...>) {
  Hyper<Traced> h;
  read(h, hyper.data());
  Carry<Traced> c;
  read(c, carry.data());
  const auto step = R::prepare(h, t, c);
  write(c, carry.data());

  std::vector<Traced> grads;
  for (Leaf& leaf : leaves.list()) grads.emplace_back(leaf.grad.var());
  Traced global(1.0);
  if (request.threshold_method == Threshold::global_l2norm) {
    Traced total(0.0);
    for (const Traced& grad : grads) total = total + sum_of_squares(grad);
    global = clipped(total, request.threshold);
  }
  for (std::size_t i = 0; i < grads.size(); ++i) {
    Leaf& leaf = leaves.list()[i];
    Traced p(leaf.param().var()), g = grads[i];
    const DType dtype = leaf.param().dtype;
    if (request.threshold_method == Threshold::global_l2norm) g = g * global;
    if (request.threshold_method == Threshold::l2norm) g = g * clipped(sum_of_squares(g), request.threshold);
    if (request.threshold_method == Threshold::absolute_value) {
      g = minimum(maximum(g, Traced(-request.threshold)), Traced(request.threshold));
    }
    if (request.ascend) g = -g;
    if (request.l2 != 0.0 && !request.decoupled) g = g + Traced(request.l2) * p;
    if (request.l1 != 0.0) g = g + Traced(request.l1) * sign(p);
    if (request.l2 != 0.0 && request.decoupled) p = p * (Traced(1.0) - h.learn_rate * Traced(request.l2));
    [[maybe_unused]] Traced states[] = {
        Traced(leaf.sources[1 + k].kind == Source::Kind::absent ? Var(Array::zeros(dtype, leaf.param().shape()))
                                                                : leaf.sources[1 + k].var())...,
        Traced(0.0)};
    R::update(step, p, g, states[k]...);
    results[0].push_back(tape::cast(p.var(dtype), dtype));
    (results[1 + k].push_back(tape::cast(states[k].var(dtype), dtype)), ...);
  }
}

}  // namespace

void update_traced(Rule rule, std::span<const Traced> hyper, const Traced& t, std::span<Traced> carry,
                   const TermRequest& terms, Leaves& leaves, std::vector<Var> (&results)[kTrees]) {
  switch (rule) {
#define RULE(rule_name)                                                                                       \
  case Rule::rule_name:                                                                                       \
    return run<rules::rule_name, hyper::rule_name, carry::rule_name>(hyper, t, carry, terms, leaves, results, \
                                                                     std::make_integer_sequence<int, 0
#define STATE(name) +1
#define END(name) > {});
#include "dualtape/optim/rules.def"
  }
}

}  // namespace dualtape::bindings
