// SPDX-License-Identifier: MIT
// Passes over a tape. The reverse pass pulls cotangents back from results to leaves; the forward pass pushes
// tangents from leaves to results. Both are loops over nodes and share one view of the values on the tape:
//  * plain: numbers, for first derivatives,
//  * recorded: tracked Vars, so that what the pass computes can be differentiated again,
//  * dual: pairs with the tangents of a forward pass, which makes the reverse pass forward over reverse.
#pragma once

#include <span>
#include <vector>

#include "dualtape/tape/tape.hpp"
#include "dualtape/tape/var.hpp"

namespace dualtape::tape {

/// How a pass sees the value at a place.
class ValueView {
 public:
  virtual ~ValueView() = default;
  virtual Var at(std::uint32_t node, const Array& value) const = 0;
};

class ReversePass {
 public:
  /// Over the nodes of `tape` from `first` on. Without a view the pass is numeric: adjoints of scalars are doubles.
  ReversePass(Tape& tape, std::uint32_t first, const ValueView* view = nullptr);

  /// Confines the pass to nodes of [first, last] that lead to one of `xs`; what an input like a batch of data is
  /// worth to the result is then never computed. Custom rules may depend on anything and always lead.
  void aim(std::span<const Var> xs, std::uint32_t last);
  /// Adds a cotangent to the adjoint of a node; those before `first` are dropped.
  void add(std::uint32_t node, Var cotangent);
  /// Pulls back from node `last` (included) down to `stop`, which is `first` or later.
  void run(std::uint32_t last, std::uint32_t stop);
  void run(std::uint32_t last) { run(last, first_); }
  /// The adjoint of a node, or null where nothing reached it.
  bool reached(std::uint32_t node) const;
  Var adjoint(std::uint32_t node) const;

  Tape& tape() const { return tape_; }
  std::uint32_t first() const { return first_; }
  bool numeric() const { return view_ == nullptr; }
  /// Follows the tape to its size, after a custom rule has appended nodes or taken them back.
  void extend();
  /// Keeps the adjoint of an array node when the pass has gone by; leaves and scalars keep theirs anyway.
  void keep(std::uint32_t node);

 private:
  std::size_t slot(std::uint32_t node) const;
  Var take_adjoint(std::uint32_t node);
  void pull(std::uint32_t place, Var cotangent);
  void pull_custom(std::uint32_t place);
  Var value_at(std::uint32_t node, const Array& value) const;

  bool leads(std::uint32_t node) const {
    return node >= first_ && (node - first_ >= leads_.size() || leads_[node - first_]);
  }

  Tape& tape_;
  std::uint32_t first_;
  const ValueView* view_;
  std::vector<bool> leads_;      // empty: all do
  std::vector<double> scalars_;  // numeric passes: adjoints of scalar nodes
  std::vector<Var> vars_;        // the others: by record in numeric passes, by node otherwise
  std::vector<bool> present_;
  std::vector<bool> kept_;  // empty where nothing but leaves is wanted
};

/// A rule from outside: the backward half of custom_vjp, custom_jvp and checkpoint.
class CustomRule {
 public:
  virtual ~CustomRule() = default;
  /// Adds cotangents to the adjoints of the operands' nodes, given those of the outputs.
  virtual void pull(ReversePass& pass, std::span<const Operand> operands, std::span<const Var> cotangents) = 0;
};

/// For each node of [first, last]: does one of `ys` depend on it? Whether an adjoint is zero does not tell.
std::vector<bool> reachable_from(const Tape& tape, std::span<const Var> ys, std::uint32_t first, std::uint32_t last);
/// Throws the error of a derivative that would go through an opaque node.
[[noreturn]] void refuse_opaque();

struct GradientOptions {
  bool record = false;             // so that the result can be differentiated again
  bool unconnected_error = false;  // GradientError instead of zeros
};

/// The adjoints of the leaves `xs`: derivatives of `ys` times their cotangents. Everything may be dual. `tape` holds
/// the leaves; it may be another than the current one (a pull after its recording has closed).
std::vector<Var> pull_back(Tape* tape, std::span<const Var> ys, std::span<const Var> cotangents,
                           std::span<const Var> xs, GradientOptions options = {});
/// The same for one scalar and few nodes that are all scalars, without any allocation; false where that is not so.
bool pull_back_scalars(const Tape& tape, std::uint32_t y, std::span<const std::uint32_t> xs, std::span<double> out);

/// Tangents of `ys` for tangents of the leaves `xs` (with leading directions where `directions` > 0), on the tape
/// of the leaves' recording; zeros where a y does not depend on an x.
std::vector<Var> push_forward(Tape& tape, std::span<const Var> xs, std::span<const Var> tangents,
                              std::span<const Var> ys, std::int64_t directions);

/// Gradient of scalar `y` with respect to the leaves, and its derivative along tangents of the leaves: forward over
/// reverse on the same tape. Returns for each x a dual (gradient, Hessian times tangents).
std::vector<Var> second_order(Tape& tape, const Var& y, std::span<const Var> xs, std::span<const Var> tangents,
                              std::int64_t directions);

}  // namespace dualtape::tape
