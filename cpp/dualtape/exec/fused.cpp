// SPDX-License-Identifier: MIT
#include "dualtape/exec/fused.hpp"

#include <algorithm>
#include <unordered_map>

#include "dualtape/array/convert.hpp"
#include "dualtape/exec/expansion.hpp"

namespace dualtape::exec {
namespace {

using machine::Body;
using machine::LineId;

/// Shorter arrays are not worth a loop.
constexpr std::int64_t kFewest = 16;
/// A loop of more lines has no registers left to keep things in.
constexpr std::size_t kMostLines = 200;
/// Alone or not is found by comparing with all other values.
constexpr std::size_t kMostCompared = 4000;

/// Bytes from the beginning of the varying values.
struct Range {
  std::int64_t begin, end;
  bool overlaps(const Range& other) const { return begin < other.end && other.begin < end; }
};

}  // namespace

class Fuser {
 public:
  explicit Fuser(Workspace& home)
      : home_(home),
        code_(home.code()),
        all_(code_.segments[0].instructions),
        fused_(new Fused(home)),
        last_read_(code_.values.size(), 0) {
    for (std::uint32_t i = 0; i < all_.size(); ++i) {
      for (const ValueId id : all_[i].operands) last_read_[root(id)] = i;
    }
    const auto end = static_cast<std::uint32_t>(all_.size());
    for (const ValueId id : code_.segments[0].results) last_read_[root(id)] = end;
    for (const auto& [from, to] : code_.moves) last_read_[root(from)] = last_read_[root(to)] = end;
  }

  std::unique_ptr<Fused> run() {
    const auto end = static_cast<std::uint32_t>(all_.size());
    for (std::uint32_t i = 0; i < end;) {
      std::uint32_t next = numbers(i);
      if (next == i) next = vectors(i);
      if (next == i) interpret(next++);
      i = next;
    }
    if (!fused_->kernels()) return nullptr;
    return std::move(fused_);
  }

 private:
  ValueId root(ValueId id) const {
    while (code_.values[id].view_of != kNone) id = code_.values[id].view_of;
    return id;
  }
  std::int64_t offset_of(ValueId id) const { return static_cast<char*>(home_.data(id)) - home_.varying(); }
  Range range_of(ValueId id) const { return {offset_of(id), offset_of(id) + code_.values[id].bytes()}; }
  /// Whether a value of instructions up to `end` is read from there on.
  bool is_wanted(ValueId id, std::uint32_t end) const { return last_read_[root(id)] >= end; }

  void interpret(std::uint32_t i) {
    std::vector<Fused::Step>& steps = fused_->steps_;
    if (!steps.empty() && !steps.back().kernel) {
      steps.back().last = i + 1;
      return;
    }
    steps.emplace_back();
    steps.back().first = i;
    steps.back().last = i + 1;
  }
  bool add(std::unique_ptr<machine::Kernel> kernel, std::int64_t at, std::int64_t bytes) {
    if (!kernel) return false;
    fused_->steps_.emplace_back();
    Fused::Step& step = fused_->steps_.back();
    step.kernel = std::move(kernel);
    step.call.lanes = home_.varying() + at;
    step.call.shared = home_.varying();
    step.call.bytes = bytes;
    return true;
  }

  /// Whether nothing but the instructions first ... last - 1 ever writes to the memory of a value.
  bool is_alone(ValueId id, std::uint32_t first, std::uint32_t last) const {
    if (all_.size() > kMostCompared) return false;
    const Range own = range_of(id);
    const auto meets = [&](ValueId other) { return root(other) != id && own.overlaps(range_of(root(other))); };
    for (const ValueId input : code_.inputs) {
      if (meets(input)) return false;
    }
    for (std::uint32_t i = 0; i < all_.size(); ++i) {
      const bool inside = i >= first && i < last;
      if ((!inside || is_wanted(all_[i].out, last)) && meets(all_[i].out)) return false;
    }
    return true;
  }

  /// A stretch from instruction `first` as single numbers; where it ends, or `first`.
  std::uint32_t numbers(std::uint32_t first) {
    const DType dtype = code_.values[all_[first].out].dtype;
    if (!array::is_float(dtype)) return first;
    Expansion expansion(home_, dtype);
    std::uint32_t last = first;
    while (last < all_.size() && expansion.add(all_[last])) ++last;
    if (last < first + 2) return first;
    std::vector<Expansion::Wanted> wanted;
    for (std::uint32_t i = first; i < last; ++i) {
      const ValueId out = all_[i].out;
      if (is_wanted(out, last)) wanted.push_back({out, is_alone(out, first, last)});
    }
    const std::optional<Body> body = expansion.body(wanted);
    if (!body) return first;
    if (!body->outputs.empty() && !add(machine::compile(*body, true), 0, body->item())) return first;
    return last;
  }

  /// A stretch of elementwise ops on as many elements each, as a loop over vectors.
  std::uint32_t vectors(std::uint32_t first) {
    const Value& like = code_.values[all_[first].out];
    if (!array::is_float(like.dtype) || like.size < kFewest) return first;
    Body body;
    body.single = like.dtype == DType::f32;
    machine::Recorder recorder(body);
    std::unordered_map<ValueId, LineId> lines;  // of what the stretch computes
    std::vector<Range> arrays, singles, stored;
    std::uint32_t last = first;
    for (; last < all_.size() && body.lines.size() < kMostLines; ++last) {
      const Instruction& at = all_[last];
      const Value& out = code_.values[at.out];
      if (at.rule || out.dtype != like.dtype || out.size != like.size || !machine::is_light(at.op)) break;
      std::vector<LineId> operands;
      std::vector<Range> more_arrays, more_singles;
      for (const ValueId id : at.operands) {
        const Value& in = code_.values[id];
        const ValueId from = root(id);
        if (in.dtype != like.dtype) break;
        if (const auto own = lines.find(from); own != lines.end()) {
          if (home_.data(id) != home_.data(from) || in.size != like.size || !is_plain(id)) break;
          operands.push_back(own->second);
        } else if (in.size == 1) {
          more_singles.push_back(range_of(id));
          operands.push_back(recorder.input(machine::Input::From::shared, offset_of(id)));
        } else if (in.shape == out.shape && is_plain(id)) {
          more_arrays.push_back(range_of(id));
          operands.push_back(recorder.input(machine::Input::From::lanes, offset_of(id)));
        } else {
          break;
        }
      }
      if (operands.size() != at.operands.size()) break;
      // A result may take the place of an array that is not read again, element for element, and of nothing else.
      const Range here = range_of(at.out);
      const auto meets = [&](const Range& range) { return range.overlaps(here); };
      const auto crosses = [&](const Range& range) { return meets(range) && range.begin != here.begin; };
      const auto any = [](const std::vector<Range>& ranges, const auto& test) {
        return std::any_of(ranges.begin(), ranges.end(), test);
      };
      const auto late = [&](const Range& range) {
        return any(stored, [&](const Range& other) { return other.overlaps(range); });
      };
      if (any(arrays, crosses) || any(more_arrays, crosses) || any(singles, meets) || any(more_singles, meets) ||
          any(more_arrays, late) || any(more_singles, late)) {
        break;
      }
      const std::optional<LineId> line = recorder.op(at.op, operands);
      if (!line || body.lines[static_cast<std::size_t>(*line)].kind == machine::Kind::input) break;
      lines[at.out] = *line;
      arrays.insert(arrays.end(), more_arrays.begin(), more_arrays.end());
      singles.insert(singles.end(), more_singles.begin(), more_singles.end());
      stored.push_back(here);
    }
    if (last < first + 2) return first;
    for (std::uint32_t i = first; i < last; ++i) {
      if (is_wanted(all_[i].out, last)) body.outputs.push_back({lines[all_[i].out], offset_of(all_[i].out)});
    }
    const std::int64_t width = machine::vector_width(body.single), whole = like.size / width * width;
    if (body.outputs.empty()) return last;
    if (!add(machine::compile(body, false), 0, whole * body.item())) return first;
    if (whole < like.size &&
        !add(machine::compile(body, true), whole * body.item(), (like.size - whole) * body.item())) {
      fused_->steps_.pop_back();
      return first;
    }
    return last;
  }
  /// Whether the elements of a value lie one behind the other.
  bool is_plain(ValueId id) const { return code_.values[id].view_of == kNone || home_.array_of(id).contiguous(); }

  Workspace& home_;
  const Code& code_;
  const std::vector<Instruction>& all_;
  std::unique_ptr<Fused> fused_;
  std::vector<std::uint32_t> last_read_;  // of each value with memory of its own
};

std::unique_ptr<Fused> Fused::make(Workspace& home) {
  const Code& code = home.code();
  if (home.capacity() != 1 || code.branches() || !machine::is_wanted() || machine::vector_width(false) == 0) {
    return nullptr;
  }
  return Fuser(home).run();
}

std::size_t Fused::kernels() const {
  return static_cast<std::size_t>(
      std::count_if(steps_.begin(), steps_.end(), [](const Step& step) { return step.kernel != nullptr; }));
}

void Fused::run() const {
  for (const Step& step : steps_) {
    if (step.kernel) {
      (*step.kernel)(step.call);
    } else {
      home_.run(step.first, step.last, 1);
    }
  }
}

}  // namespace dualtape::exec
