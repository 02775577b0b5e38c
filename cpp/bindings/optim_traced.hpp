// SPDX-License-Identifier: MIT
// Updates inside a derivative: where a parameter, a gradient, a state or a hyperparameter is tracked or dual, the
// rule's own text runs on recorded numbers, so that a gradient of an update comes from the same lines as the update.
#pragma once

#include <vector>

#include "bindings/optim_leaves.hpp"
#include "dualtape/tape/traced.hpp"

namespace dualtape::bindings {

/// How gradients are clipped before the rule.
enum class Threshold : std::uint8_t { none, l2norm, global_l2norm, absolute_value };

/// The terms that all rules share, as they are asked for; see python/dualtape/_update.py.
struct TermRequest {
  Threshold threshold_method = Threshold::none;
  double threshold = 0.0;
  double l1 = 0.0, l2 = 0.0;
  bool decoupled = false;  // the L2 term shrinks the parameter instead (weight decay)
  bool ascend = false;
};

/// Runs `rule` on every leaf; `results[k][i]` is then the new value of leaf i of tree k. `carry` is brought up to date.
void update_traced(optim::Rule rule, std::span<const tape::Traced> hyper, const tape::Traced& t,
                   std::span<tape::Traced> carry, const TermRequest& terms, Leaves& leaves,
                   std::vector<Var> (&results)[kTrees]);

}  // namespace dualtape::bindings
