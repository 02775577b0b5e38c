// SPDX-License-Identifier: MIT
// Values from outside of the body of a rolled loop. An op is recorded by the innermost trace that has computed one of
// its operands; there, operands from outside become inputs. So an op on values from outside alone is none of the body:
// it is computed once, where its operands were, and is tracked there as if it stood in front of the loop.
#include "dualtape/tape/recorder.hpp"

#include "dualtape/base/error.hpp"
#include "dualtape/tape/tape.hpp"

namespace dualtape::tape {

Recorder::Recorder(std::uint32_t trace, Recorder* outer)
    : trace_(trace), outer_(outer), lifts_(true), last_level_(new_level()) {}

Var Recorder::lift(const Var&) { throw TapeError("trace: it takes no values from outside."); }
Var Recorder::take(const Var& var) { return var; }

bool Recorder::is_outside(const Var& var) const {
  if (var.is_dual()) return var.level() <= last_level_;
  if (var.value().trace() == trace_) return false;
  return var.value().trace() != 0 || Tape::of(var) != nullptr;
}

std::span<const Var> Recorder::lift_all(std::span<const Var> operands, std::vector<Var>& room) {
  Recorder* body = nullptr;
  for (Recorder* at = current_; at && !body; at = at->outer_) {
    for (const Var& operand : operands) {
      if (operand.value().trace() == at->trace_) body = at;
    }
  }
  if (!body || !body->lifts_) return operands;
  bool any = false;
  for (const Var& operand : operands) any = any || body->is_outside(operand);
  if (!any) return operands;
  room.assign(operands.begin(), operands.end());
  for (Var& operand : room) {
    if (body->is_outside(operand)) operand = body->lift(operand);
  }
  return room;
}

}  // namespace dualtape::tape
