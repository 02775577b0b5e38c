// SPDX-License-Identifier: MIT
#include "dualtape/exec/loop_body.hpp"

#include "dualtape/array/convert.hpp"

namespace dualtape::exec {
namespace {

using machine::Body;
using machine::Input;
using machine::LineId;
using machine::Recorder;

/// Longer bodies are interpreted: instruction by instruction over lanes is no slower then, and there is a bound on
/// what compiling costs.
constexpr std::size_t kMostLines = 4000;

class Builder {
 public:
  Builder(const Code& code, const LoopLayout& layout, Body& body)
      : code_(code), layout_(layout), recorder_(body), lines_(code.values.size(), machine::kNoLine) {}

  bool build(const LoopPart& part) {
    if (code_.segments.size() != 1 || code_.inputs.empty()) return false;
    Body& body = recorder_.body();
    body.single = code_.values[code_.inputs[0]].dtype == DType::f32;
    body.own_iterations = layout_.own_iterations;
    body.finite = part.finite;
    for (std::size_t k = 0; k < code_.inputs.size(); ++k) {
      if (!input(k)) return false;
    }
    for (const auto& [id, value] : code_.constants) {
      if (!is_number(id)) continue;  // (refused where it is read)
      array::dispatch(value.dtype(), [&]<class T>() {
        lines_[id] = recorder_.constant(static_cast<double>(*static_cast<const T*>(value.raw_data())));
      });
    }
    const Segment& segment = code_.segments[0];
    const std::size_t count = part.values ? segment.instructions.size() : code_.tail;
    for (std::size_t k = 0; k < count; ++k) {
      if (!instruction(segment.instructions[k]) || body.lines.size() > kMostLines) return false;
    }
    for (std::size_t i = 0; i < segment.results.size(); ++i) {
      const bool state = i < layout_.states, stop = layout_.until && i + 1 == segment.results.size();
      if (!state && !stop && !part.values) continue;
      if (state && part.finite && i >= layout_.states - layout_.watches) continue;
      const LineId line = line_of(segment.results[i]);
      if (line == machine::kNoLine) return false;
      if (state) {
        body.states.push_back({static_cast<std::uint32_t>(i), line});
        continue;
      }
      if (stop) body.until = recorder_.truth(line);
      if (part.values) {
        body.records.push_back({line, static_cast<std::int64_t>(i - layout_.states) * layout_.capacity * body.item()});
      }
    }
    return true;
  }

 private:
  bool is_number(ValueId id) const {
    const Value& value = code_.values[id];
    return value.size == 1 && value.dtype == (recorder_.body().single ? DType::f32 : DType::f64);
  }
  /// The line of a value; a view of a number is that number.
  LineId line_of(ValueId id) const {
    if (!is_number(id)) return machine::kNoLine;
    while (code_.values[id].view_of != kNone) {
      id = code_.values[id].view_of;
      if (code_.values[id].size != 1) return machine::kNoLine;
    }
    return lines_[id];
  }

  bool input(std::size_t k) {
    const ValueId id = code_.inputs[k];
    if (!is_number(id)) return false;
    const Value& value = code_.values[id];
    if (layout_.table[k] >= 0) {
      lines_[id] = recorder_.input(Input::From::table, layout_.table[k]);
    } else if (value.varying) {
      lines_[id] = recorder_.input(Input::From::lanes, value.offset * layout_.capacity);
    } else {
      lines_[id] = recorder_.input(Input::From::shared, value.offset);
    }
    return true;
  }

  bool instruction(const Instruction& at) {
    if (at.rule || !machine::is_light(at.op) || !is_number(at.out)) return false;
    std::vector<LineId> operands;
    for (ValueId id : at.operands) {
      operands.push_back(line_of(id));
      if (operands.back() == machine::kNoLine) return false;
    }
    const std::optional<LineId> line = recorder_.op(at.op, operands);
    if (!line) return false;
    lines_[at.out] = *line;
    return true;
  }

  const Code& code_;
  const LoopLayout& layout_;
  Recorder recorder_;
  std::vector<LineId> lines_;
};

}  // namespace

std::optional<Body> loop_body(const Code& code, const LoopLayout& layout, const LoopPart& part) {
  Body body;
  if (!Builder(code, layout, body).build(part)) return std::nullopt;
  return body;
}

}  // namespace dualtape::exec
