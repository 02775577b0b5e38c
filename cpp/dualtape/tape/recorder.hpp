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

#include "dualtape/ops/op.hpp"
#include "dualtape/tape/shaped.hpp"
#include "dualtape/tape/var.hpp"

namespace dualtape::tape {

class Recorder {
 public:
  virtual ~Recorder() = default;

  /// The recorder of the trace that is open in this thread, or null.
  static Recorder* current() { return current_; }
  /// The same, where it knows one of the arrays. TraceError for an array of a trace that has ended, or is another
  /// thread's: what is computed from it would be a number that no program computes.
  static Recorder* of(std::span<const Array* const> operands) {
    Recorder* found = nullptr;
    for (const Array* x : operands) {
      if (x->trace() == 0) continue;
      if (!current_ || x->trace() != current_->trace_) refuse_stray();
      found = current_;
    }
    return found;
  }
  [[noreturn]] static void refuse_stray();

  std::uint32_t trace() const { return trace_; }

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
  static constinit thread_local Recorder* current_ __attribute__((tls_model("initial-exec")));

 private:
  std::uint32_t trace_;
  std::string refusal_;
};

/// True for a value of the trace that is open in this thread; TraceError for one of another trace.
inline bool is_recorded(const Array& x) {
  if (x.trace() == 0) return false;
  if (!Recorder::current() || Recorder::current()->trace() != x.trace()) Recorder::refuse_stray();
  return true;
}
/// The same for any part of a Var.
inline bool is_recorded(const Var& x) {
  return is_recorded(x.value()) || (x.is_dual() && (is_recorded(x.primal()) || is_recorded(x.tangent())));
}

}  // namespace dualtape::tape
