// SPDX-License-Identifier: MIT
// Recorder: who listens while a function is traced. Every op goes through the two `apply` functions of this floor, and
// these tell the recorder of their thread what was applied to what; the recorder (program/trace.hpp) keeps it and
// marks the result, so that the trace knows it again. Nothing else is needed to trace derivatives, updates or duals:
// they are made of ops. What is computed without the recorder's knowledge from a marked array would be frozen into
// the trace, so every way out of an array asks `is_recorded` first.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dualtape/ops/op.hpp"
#include "dualtape/tape/shaped.hpp"
#include "dualtape/tape/var.hpp"

namespace dualtape::tape {

class Recorder {
 public:
  virtual ~Recorder() = default;

  /// The recorder of the innermost trace that is open in this thread, or null.
  static Recorder* current() { return current_; }
  /// The recorder that knows an array, which is the current one or, for one of the body of a rolled loop, one around
  /// it; null for an array that no trace knows.
  static Recorder* of(const Array& x) {
    if (x.trace() == 0) return nullptr;
    Recorder* recorder = current_;
    while (recorder && recorder->trace_ != x.trace()) recorder = recorder->outer_;
    if (!recorder) refuse_stray();
    return recorder;
  }
  /// The same, where it knows one of the arrays. TraceError for an array of a trace that has ended, or is another
  /// thread's: what is computed from it would be a number that no program computes.
  static Recorder* of(std::span<const Array* const> operands) {
    Recorder* found = nullptr;
    for (const Array* x : operands) {
      if (x->trace() == 0) continue;
      Recorder* recorder = of(*x);
      if (found && found != recorder) refuse_stray();
      found = recorder;
    }
    return found;
  }
  [[noreturn]] static void refuse_stray();

  std::uint32_t trace() const { return trace_; }

  /// The operands of an op as its recorder takes them: where it is that of a loop's body, values from outside of the
  /// body that are tracked, dual or recorded become inputs of the body. `room` is where they then are.
  static std::span<const Var> lifted(std::span<const Var> operands, std::vector<Var>& room) {
    return current_ && current_->lifts_ ? lift_all(operands, room) : operands;
  }
  /// True while the body of a rolled loop is traced.
  static bool lifting() { return current_ && current_->lifts_; }
  /// Whether a value comes from outside of the body and must not be frozen in it.
  bool is_outside(const Var& var) const;
  /// A value that the body is about to differentiate with respect to: an input, or a constant that it knows.
  static Var known(const Var& var) { return lifting() ? current_->take(var) : var; }

  /// `out` as the trace knows it: the value that the op gave.
  virtual Array elementwise(ops::Op op, std::span<const Array* const> operands, const Array& out) = 0;
  virtual Array shaped(const ShapedRule& rule, std::span<const Array* const> operands, const Attributes& attributes,
                       const Array& out) = 0;
  /// A decision that the code takes on the value of an array of one element: its truth, or the integer that it is.
  enum class Decision : std::uint8_t { truth, integer };
  virtual std::int64_t decide(Decision decision, const Array& x) = 0;

  /// Why a traced value was refused where it would have been frozen. Code that catches that error and goes on has
  /// taken a way that it would not take on numbers, so the trace fails in the end.
  const std::string& refusal() const { return refusal_; }
  void note_refusal(const std::string& text) {
    if (refusal_.empty()) refusal_ = text;
  }

 protected:
  explicit Recorder(std::uint32_t trace) : trace_(trace) {}
  /// That of a body: `outer` goes on recording what is computed from its own values alone.
  Recorder(std::uint32_t trace, Recorder* outer);
  /// The input of the body that stands for a value from outside.
  virtual Var lift(const Var& var);
  virtual Var take(const Var& var);
  static constinit thread_local Recorder* current_ __attribute__((tls_model("initial-exec")));

 private:
  static std::span<const Var> lift_all(std::span<const Var> operands, std::vector<Var>& room);

  std::uint32_t trace_;
  Recorder* outer_ = nullptr;
  bool lifts_ = false;
  std::uint32_t last_level_ = 0;  // pairs of later levels belong to the body
  std::string refusal_;
};

/// True for a value of a trace that is open in this thread; TraceError for one of another trace.
inline bool is_recorded(const Array& x) { return Recorder::of(x) != nullptr; }
/// The same for any part of a Var.
inline bool is_recorded(const Var& x) {
  return is_recorded(x.value()) || (x.is_dual() && (is_recorded(x.primal()) || is_recorded(x.tangent())));
}

}  // namespace dualtape::tape
