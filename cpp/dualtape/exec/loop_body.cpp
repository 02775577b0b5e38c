// SPDX-License-Identifier: MIT
#include "dualtape/exec/loop_body.hpp"

#include "dualtape/array/convert.hpp"

namespace dualtape::exec {
namespace {

using machine::Body;
using machine::Input;
using machine::Kind;
using machine::LineId;
using machine::Recorder;

/// Longer bodies are interpreted: instruction by instruction over lanes is no slower then, and there is a bound on
/// what compiling costs.
constexpr std::size_t kMostLines = 4000;
/// Every lane of a vector goes through what any of them wants; with many paths lanes are better parted.
constexpr std::size_t kMostLinesOfTree = 600;
/// A branch of so few instructions is not worth a jump.
constexpr std::size_t kUnguarded = 6;

class Builder {
 public:
  Builder(const Code& code, const LoopLayout& layout, Body& body)
      : code_(code), layout_(layout), recorder_(body), lines_(code.values.size(), machine::kNoLine) {}

  bool build(const LoopPart& part) {
    if (code_.inputs.empty()) return false;
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
    Results results;
    if (!run(0, machine::kNoLine, part.values ? code_.segments[0].instructions.size() : code_.tail, results)) {
      return false;
    }
    for (std::size_t i = 0; i < results.lines.size(); ++i) {
      const bool state = i < layout_.states, stop = layout_.until && i + 1 == results.lines.size();
      if (!state && !stop && !part.values) continue;
      if (state && part.finite && i >= layout_.states - layout_.watches) continue;
      const LineId line = results.lines[i];
      if (line == machine::kNoLine) return false;
      if (state) {
        body.states.push_back({static_cast<std::uint32_t>(i), line});
        continue;
      }
      if (stop) body.until = recorder_.truth(line);
      record(part, line);
    }
    if (code_.branches()) {
      // The last record says which lanes have come to a decision that no path has; they end their group's iterations.
      record(part, results.unknown);
      const LineId unknown = recorder_.truth(results.unknown);
      body.until = body.until == machine::kNoLine ? unknown : recorder_.line(Kind::either, 0, body.until, unknown);
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

  void record(const LoopPart& part, LineId line) {
    if (!part.values) return;
    Body& body = recorder_.body();
    body.records.push_back({line, static_cast<std::int64_t>(body.records.size()) * layout_.capacity * body.item()});
  }

  /// What a segment and those behind it come to, in the lanes that take this path.
  struct Results {
    std::vector<LineId> lines;
    LineId unknown = machine::kNoLine;  // a number: 1 in lanes whose decision no path has
  };

  /// `active`: the mask of the lanes that take the path; none: all.
  bool run(std::uint32_t number, LineId active, std::size_t count, Results& out) {
    const Segment& segment = code_.segments[number];
    for (std::size_t k = 0; k < count; ++k) {
      if (!instruction(segment.instructions[k]) || recorder_.body().lines.size() > most_lines()) return false;
    }
    if (segment.decision == kNone) {
      for (const ValueId id : segment.results) out.lines.push_back(line_of(id));
      if (code_.branches()) out.unknown = recorder_.constant(0.0);
      return true;
    }
    const LineId decision = line_of(segment.decision);
    if (decision == machine::kNoLine) return false;
    const bool truth = segment.decided == Decision::truth;
    bool first = true;
    for (const Branch& branch : segment.branches) {
      LineId mask = truth ? recorder_.truth(decision) : is_outcome(decision, branch.outcome);
      if (truth && branch.outcome == 0) mask = recorder_.line(Kind::inverse, 0, mask);
      const LineId all = active == machine::kNoLine ? mask : recorder_.line(Kind::both, 0, active, mask);
      const std::size_t length = code_.segments[branch.segment].instructions.size();
      const bool guarded = length + 8 * code_.segments[branch.segment].branches.size() > kUnguarded;
      const LineId guard = guarded ? recorder_.guard(all) : machine::kNoLine;
      Results results;
      if (!run(branch.segment, all, length, results)) return false;
      if (guarded) recorder_.join(guard);
      if (first) {
        out = results;
        if (!truth || segment.branches.size() < 2) {
          out.unknown = recorder_.line(Kind::select, 0, mask, results.unknown, recorder_.constant(1.0));
        }
      } else {
        const auto choose = [&](LineId there, LineId otherwise) {
          return there == otherwise ? there : recorder_.line(Kind::select, 0, mask, there, otherwise);
        };
        for (std::size_t i = 0; i < out.lines.size(); ++i) {
          if (results.lines[i] == machine::kNoLine || out.lines[i] == machine::kNoLine) return false;
          out.lines[i] = choose(results.lines[i], out.lines[i]);
        }
        out.unknown = choose(results.unknown, out.unknown);
      }
      first = false;
    }
    return true;
  }
  std::size_t most_lines() const { return code_.branches() ? kMostLinesOfTree : kMostLines; }
  LineId is_outcome(LineId decision, std::int64_t outcome) {
    const LineId whole = recorder_.line(Kind::round, static_cast<std::uint32_t>(machine::Rounding::trunc), decision);
    return recorder_.line(Kind::compare, static_cast<std::uint32_t>(machine::Comparison::equal), whole,
                          recorder_.constant(static_cast<double>(outcome)));
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
