// SPDX-License-Identifier: MIT
// Recorder: who listens while a function is traced. Every op goes through the two `apply` functions of this floor, and
// these tell the recorder of their thread what was applied to what; the recorder (program/trace.hpp) keeps it and
// marks the result, so that the trace knows it again. Nothing else is needed to trace derivatives, updates or duals:
// they are made of ops. What is computed without the recorder's knowledge from a marked array would be frozen into
// the trace, so every way out of an array asks `is_recorded` first.
#pragma once

#include <cstdint>
#include <span>

#include "dualtape/ops/op.hpp"
#include "dualtape/tape/shaped.hpp"
#include "dualtape/tape/var.hpp"

namespace dualtape::tape {

class Recorder {
 public:
  virtual ~Recorder() = default;

  /// The recorder of the trace that is open in this thread, or null.
  static Recorder* current() { return current_; }
  /// The same, where it knows one of the arrays.
  static Recorder* of(std::span<const Array* const> operands) {
    if (!current_) return nullptr;
    for (const Array* x : operands) {
      if (x->trace() == current_->trace_) return current_;
    }
    return nullptr;
  }

  std::uint32_t trace() const { return trace_; }

  /// `out` as the trace knows it: the value that the op gave.
  virtual Array elementwise(ops::Op op, std::span<const Array* const> operands, const Array& out) = 0;
  virtual Array shaped(const ShapedRule& rule, std::span<const Array* const> operands, const Attributes& attributes,
                       const Array& out) = 0;
  /// A decision that the code takes on the value of an array of one element: its truth, or the integer that it is.
  enum class Decision : std::uint8_t { truth, integer };
  virtual std::int64_t decide(Decision decision, const Array& x) = 0;

 protected:
  explicit Recorder(std::uint32_t trace) : trace_(trace) {}
  static constinit thread_local Recorder* current_ __attribute__((tls_model("initial-exec")));

 private:
  std::uint32_t trace_;
};

/// True for a value of the trace that is open in this thread.
inline bool is_recorded(const Array& x) {
  return x.trace() != 0 && Recorder::current() && Recorder::current()->trace() == x.trace();
}
/// The same for any part of a Var.
inline bool is_recorded(const Var& x) {
  return is_recorded(x.value()) || (x.is_dual() && (is_recorded(x.primal()) || is_recorded(x.tangent())));
}

}  // namespace dualtape::tape
