// SPDX-License-Identifier: MIT
#include "dualtape/exec/fusion.hpp"

#include <algorithm>
#include <map>
#include <optional>

#include "dualtape/exec/expansion.hpp"
#include "dualtape/exec/workspace.hpp"
#include "dualtape/machine/body.hpp"

namespace dualtape::exec {
namespace {

using machine::Body;
using machine::Input;
using machine::LineId;
using machine::Recorder;

constexpr std::size_t kMostLines = 300;       // of a stretch: more would not fit into the registers anyway
constexpr std::int64_t kMostExpanded = 8000;  // lines of single numbers, and operations: a line or a few each
constexpr std::int64_t kMostOperations = 4000;
constexpr std::int64_t kFewNumbers = 64;        // of an instruction, that cost next to nothing to look at
constexpr std::size_t kMostInVain = 1 << 12;    // numbers of larger instructions that are looked at in vain
constexpr std::int64_t kDispatch = 15;          // lines that an instruction costs by itself, when it is interpreted
constexpr std::size_t kMostCompared = 4000;     // values, to find out whether one has its memory for itself
constexpr std::int64_t kShortestRow = 8;        // numbers
constexpr std::int64_t kMostPlaces = 1 << 15;   // of all rows
constexpr std::int64_t kFurthest = 0x7fff0000;  // that an instruction reaches

/// How an operand lies, as seen from the result.
struct View {
  Place place;
  Dims strides;          // in elements, one for each axis of the result (without lanes)
  bool lanes = true;     // a number for each lane; or one for all
  std::int64_t alike;    // trailing elements over which it advances like the result or stays
  bool advances = true;  // over these
};

class Finder {
 public:
  Finder(const Workspace& workspace, std::int64_t fewest, machine::Batch& batch)
      : workspace_(workspace),
        code_(workspace.code()),
        fewest_(fewest),
        batch_(batch),
        many_(workspace.capacity() > 1),
        uses_(code_.values.size()) {
    for (const auto& [id, value] : code_.constants) constants_.emplace(id, &value);
    for (std::uint32_t number = 0; number < code_.segments.size(); ++number) {
      const Segment& segment = code_.segments[number];
      for (std::uint32_t at = 0; at < segment.instructions.size(); ++at) {
        for (ValueId id : segment.instructions[at].operands) use(id, number, at);
      }
      if (segment.decision != kNone) use(segment.decision, kNone, 0);
      for (ValueId id : segment.results) use(id, kNone, 0);
    }
    for (const auto& [from, to] : code_.moves) use(from, kNone, 0), use(to, kNone, 0);
  }

  std::vector<Stretch> all() {
    std::vector<Stretch> out;
    for (std::uint32_t s = 0; s < code_.segments.size(); ++s) {
      const auto count = static_cast<std::uint32_t>(code_.segments[s].instructions.size());
      const auto tail = static_cast<std::uint32_t>(s == 0 && code_.segments.size() == 1 ? code_.tail : count);
      for (const auto& [begin, end] : {std::pair{0u, tail}, std::pair{tail, count}}) {
        for (std::uint32_t i = begin; i < end;) {
          std::optional<Stretch> stretch = many_ ? std::nullopt : numbers(s, i, end);
          if (!stretch) stretch = loop(s, i, end);
          i = stretch ? stretch->last : i + 1;
          if (stretch) out.push_back(std::move(*stretch));
        }
      }
    }
    return out;
  }

 private:
  /// Where a value, or a view of it, is read last; `anywhere`: in several segments, or not by an instruction.
  struct Use {
    std::uint32_t segment = kNone, last = 0;
    bool anywhere = false;
  };
  void use(ValueId id, std::uint32_t segment, std::uint32_t at) {
    for (; id != kNone; id = code_.values[id].view_of) {
      Use& use = uses_[id];
      use.anywhere = use.anywhere || segment == kNone || (use.segment != kNone && use.segment != segment);
      use.segment = segment;
      use.last = std::max(use.last, at);
    }
  }
  /// Whether others than the instructions of a stretch read what one of them computes.
  bool is_kept(ValueId id, std::uint32_t segment, std::uint32_t last) const {
    const Use& use = uses_[id];
    return use.anywhere || (use.segment != kNone && (use.segment != segment || use.last >= last));
  }

  /// As single numbers, from instruction `first` of a segment on, where that is fewer than the vectors would be.
  std::optional<Stretch> numbers(std::uint32_t segment, std::uint32_t first, std::uint32_t end) {
    if (segment != tried_segment_) tried_segment_ = segment, tried_ = 0;
    // What was looked at in vain is not looked at again, from one instruction further on.
    if (first < tried_ || !array::is_float(code_.values[code_.segments[segment].instructions[first].out].dtype)) {
      return std::nullopt;
    }
    for (std::uint32_t tried = 0;;) {
      std::uint32_t last = first;
      std::optional<Stretch> found = numbers(segment, first, end, last);
      if (found) return found;
      tried = std::max(tried, last);
      end = first + (last - first) / 4;  // it may have been too much at once
      if (end < first + 2) return tried_ = tried, std::nullopt;
    }
  }

  /// The same once; `last` is where it ends, whether it is of use or not.
  std::optional<Stretch> numbers(std::uint32_t segment, std::uint32_t first, std::uint32_t end, std::uint32_t& last) {
    const std::vector<Instruction>& instructions = code_.segments[segment].instructions;
    const DType dtype = code_.values[instructions[first].out].dtype;
    Expansion expansion(workspace_, constants_, dtype);
    std::int64_t cost = 0;
    for (; last < end; ++last) {
      const std::int64_t size = code_.values[instructions[last].out].size;
      if ((size > kFewNumbers && in_vain_ > kMostInVain) || !expansion.add(instructions[last])) break;
      cost += kDispatch + size / machine::vector_width(dtype == DType::f32);
      if (expansion.operations() > std::min(2 * cost + kFewNumbers, kMostOperations)) break;  // rather without this one
    }
    const auto failed = [&]() -> std::optional<Stretch> { return in_vain_ += expansion.numbers(), std::nullopt; };
    if (last < first + 2) return failed();
    std::vector<ValueId> wanted;
    for (std::uint32_t at = first; at < last; ++at) {
      if (is_kept(instructions[at].out, segment, last)) wanted.push_back(instructions[at].out);
    }
    const auto alone = [&](ValueId id) { return is_alone(id, segment, first, last); };
    std::optional<Expansion::Result> found =
        expansion.body(wanted, alone, static_cast<std::size_t>(std::min(2 * cost, kMostExpanded)));
    if (!found) return failed();
    Stretch out;
    out.segment = segment, out.first = first, out.last = last;
    out.row_bytes = found->body.item();
    out.single = found->body.single;
    out.constants = std::move(found->constants);
    out.rest = batch_.add(found->body, true);
    if (!out.rest) return std::nullopt;
    return out;
  }

  /// Whether nothing but instructions of the stretch ever writes to the memory of a value.
  bool is_alone(ValueId id, std::uint32_t segment, std::uint32_t first, std::uint32_t last) const {
    const auto [begin, end] = memory(id);
    std::size_t compared = code_.inputs.size();
    const auto meets = [&, begin = begin, end = end](ValueId other) {
      const auto [from, to] = memory(other);
      return other != id && from < end && begin < to;
    };
    if (std::any_of(code_.inputs.begin(), code_.inputs.end(), meets)) return false;
    for (std::uint32_t s = 0; s < code_.segments.size(); ++s) {
      const std::vector<Instruction>& instructions = code_.segments[s].instructions;
      compared += instructions.size();
      if (compared > kMostCompared) return false;
      for (std::uint32_t at = 0; at < instructions.size(); ++at) {
        const bool inside = s == segment && at >= first && at < last;
        if (inside && !is_kept(instructions[at].out, segment, last)) continue;
        if (code_.values[instructions[at].out].varying && meets(instructions[at].out)) return false;
      }
    }
    return true;
  }

  /// As a loop over vectors, from instruction `first` of a segment on.
  std::optional<Stretch> loop(std::uint32_t segment, std::uint32_t first, std::uint32_t end) {
    const std::vector<Instruction>& instructions = code_.segments[segment].instructions;
    const Value& shape_of = code_.values[instructions[first].out];
    views_.clear();
    inside_.clear();
    shape_ = {shape_of.shape, shape_of.dtype, shape_of.size};
    row_ = many_ ? 1 : shape_.numbers;
    if (shape_.numbers * workspace_.capacity() < fewest_) return std::nullopt;
    std::uint32_t last = first;
    while (last < end && last - first < kMostLines && joins(instructions[last])) ++last;
    // What is computed late must not be written over what is read early: in the kernel every element is written before
    // the next one is read.
    for (std::uint32_t shorter = 0; last > first; last = shorter) {
      shorter = first_conflict(segment, first, last);
      if (shorter == last) break;
    }
    if (last == first || (last == first + 1 && !is_strided(instructions[first]))) return std::nullopt;
    Stretch out;
    out.segment = segment, out.first = first, out.last = last;
    if (!compile(instructions, out)) return std::nullopt;
    return out;
  }

  bool joins(const Instruction& at) {
    const Value& out = code_.values[at.out];
    if (at.rule || !machine::is_light(at.op) || !out.varying || out.dtype != shape_.dtype ||
        !array::is_float(out.dtype) || !same_shape(out.shape, shape_.extents)) {
      return false;
    }
    std::int64_t row = row_;
    std::vector<std::pair<ValueId, View>> fresh;
    for (ValueId id : at.operands) {
      if (code_.values[id].dtype != shape_.dtype) return false;
      if (is_inside(id) || views_.contains(id)) continue;
      // (A view of a value of the stretch lies in memory, where the stretch does not write in time.)
      for (ValueId root = code_.values[id].view_of; root != kNone; root = code_.values[root].view_of) {
        if (is_inside(root)) return false;
      }
      const std::optional<View> view = view_of(id);
      if (!view) return false;
      if (!many_) row = std::min(row, view->alike);
      fresh.emplace_back(id, *view);
    }
    if (!many_ && row < std::min(kShortestRow, shape_.numbers)) return false;
    row_ = row;
    for (const auto& [id, view] : fresh) views_.emplace(id, view);
    inside_.push_back(at.out);
    return true;
  }
  bool is_inside(ValueId id) const { return std::find(inside_.begin(), inside_.end(), id) != inside_.end(); }

  std::optional<View> view_of(ValueId id) const {
    const Value& value = code_.values[id];
    const Array x = workspace_.array_of(id);
    View out;
    out.place.varying = value.varying;
    out.lanes = value.varying && many_;
    const char* base = value.varying ? workspace_.varying() : workspace_.shared();
    out.place.offset = static_cast<const char*>(x.raw_data()) - base;
    const int rank = value.shape.size(), added = shape_.extents.size() - rank;
    for (int i = 0; i < shape_.extents.size(); ++i) {
      std::int64_t stride = 0;
      if (i >= added && value.shape[i - added] != 1) {
        if (value.shape[i - added] != shape_.extents[i]) return std::nullopt;
        stride = x.strides()[static_cast<std::size_t>(i - added)];
      }
      out.strides.push_back(stride);
    }
    // From the last axis on: as far as it is contiguous, or stays where it is.
    const std::int64_t step = many_ && value.varying ? workspace_.capacity() : 1;
    std::int64_t expected = step;
    out.alike = 1;
    bool decided = false;
    for (int i = shape_.extents.size(); i-- > 0;) {
      const std::int64_t extent = shape_.extents[i];
      if (extent == 1) continue;
      if (!decided) out.advances = out.strides[i] != 0, decided = true;
      if (out.strides[i] != (out.advances ? expected : 0)) return out;
      expected *= extent;
      out.alike *= extent;
    }
    if (!decided) out.advances = value.varying;
    return out;
  }

  /// Bytes of the varying memory in which a value, or what it is a view of, lies.
  std::pair<std::int64_t, std::int64_t> memory(ValueId id) const {
    while (code_.values[id].view_of != kNone) id = code_.values[id].view_of;
    const Value& value = code_.values[id];
    return {value.offset * workspace_.capacity(), (value.offset + value.bytes()) * workspace_.capacity()};
  }
  bool is_flat(const View& view) const { return view.place.varying && view.advances && view.alike == shape_.numbers; }

  /// The first instruction whose result would be written over an operand that is still read; `last` where all is well.
  std::uint32_t first_conflict(std::uint32_t segment, std::uint32_t first, std::uint32_t last) const {
    const std::vector<Instruction>& instructions = code_.segments[segment].instructions;
    for (std::uint32_t at = first; at < last; ++at) {
      if (!is_kept(instructions[at].out, segment, last)) continue;
      const auto [begin, end] = memory(instructions[at].out);
      for (std::uint32_t k = first; k < last; ++k) {
        for (ValueId id : instructions[k].operands) {
          if (!views_.contains(id) || !code_.values[id].varying) continue;
          const View& view = views_.at(id);
          const auto [from, to] = memory(id);
          if (from >= end || to <= begin) continue;
          if (is_flat(view) && view.place.offset == begin) continue;
          return at;
        }
      }
    }
    return last;
  }

  /// Whether the interpreter would go through the operands' strides.
  bool is_strided(const Instruction& at) const {
    return std::any_of(at.operands.begin(), at.operands.end(), [&](ValueId id) {
      const View& view = views_.at(id);
      return many_ ? !is_flat(view) : view.alike != shape_.numbers;
    });
  }

  bool compile(const std::vector<Instruction>& instructions, Stretch& out) {
    Body body;
    body.single = shape_.dtype == DType::f32;
    body.rows = true;
    out.numbers = shape_.numbers == 1;
    const std::int64_t item = body.item(), capacity = workspace_.capacity();
    out.rows = many_ ? shape_.numbers : shape_.numbers / row_;
    out.row_bytes = (many_ ? capacity : row_) * item;
    Recorder recorder(body);
    std::map<ValueId, LineId> lines;
    std::vector<const View*> by_row;
    const auto line_of = [&](ValueId id) {
      const auto known = lines.find(id);
      if (known != lines.end()) return known->second;
      const View& view = views_.at(id);
      const bool vector = many_ ? view.lanes : view.advances;
      LineId line;
      if (is_flat(view)) {
        line = recorder.input(Input::From::lanes, view.place.offset);
      } else if (out.rows == 1 ||
                 std::all_of(view.strides.begin(), view.strides.end(), [](auto s) { return s == 0; })) {
        line = recorder.input(vector ? Input::From::place_lanes : Input::From::place_shared,
                              static_cast<std::int64_t>(out.places.size()));
        out.places.push_back(view.place);
      } else {
        line = recorder.input(vector ? Input::From::row_lanes : Input::From::row_shared,
                              static_cast<std::int64_t>(by_row.size()));
        by_row.push_back(&view);
      }
      return lines[id] = line;
    };
    for (std::uint32_t at = out.first; at < out.last; ++at) {
      std::vector<LineId> operands;
      for (ValueId id : instructions[at].operands) operands.push_back(line_of(id));
      const std::optional<LineId> line = recorder.op(instructions[at].op, operands);
      if (!line) return false;
      lines[instructions[at].out] = *line;
      if (!is_kept(instructions[at].out, out.segment, out.last)) continue;
      const std::int64_t offset = memory(instructions[at].out).first;
      if (offset + out.rows * out.row_bytes > kFurthest) return false;
      body.outputs.push_back({*line, offset});
    }
    if (out.rows * static_cast<std::int64_t>(by_row.size()) > kMostPlaces) return false;
    for (std::int64_t row = 0; row < out.rows; ++row) {
      for (const View* view : by_row) out.row_places.push_back(at_row(*view, row * (many_ ? 1 : row_), item));
    }
    const std::int64_t width = machine::vector_width(body.single);
    out.vectors = batch_.add(body, false);
    if (out.numbers || out.row_bytes % (width * item)) out.rest = batch_.add(body, true);
    return out.vectors && (out.rest || (!out.numbers && out.row_bytes % (width * item) == 0));
  }

  /// Where an operand is at an element of the result.
  Place at_row(const View& view, std::int64_t element, std::int64_t item) const {
    Place out = view.place;
    for (int i = shape_.extents.size(); i-- > 0;) {
      out.offset += element % shape_.extents[i] * view.strides[i] * item;
      element /= shape_.extents[i];
    }
    return out;
  }

  struct Shape {
    Dims extents;
    DType dtype = DType::f64;
    std::int64_t numbers = 0;
  };
  const Workspace& workspace_;
  const Code& code_;
  std::int64_t fewest_;
  machine::Batch& batch_;
  bool many_;              // lanes
  std::vector<Use> uses_;  // of each value
  Expansion::Constants constants_;
  std::size_t in_vain_ = 0;
  std::uint32_t tried_segment_ = kNone, tried_ = 0;
  // The stretch at hand
  Shape shape_;
  std::int64_t row_ = 0;  // numbers of a row, for one lane
  std::map<ValueId, View> views_;
  std::vector<ValueId> inside_;
};

}  // namespace

std::shared_ptr<const Fusion> Fusion::of(const Workspace& workspace, std::int64_t fewest) {
  if (!machine::is_wanted() || machine::vector_width(false) == 0) return nullptr;
  auto out = std::make_shared<Fusion>();
  machine::Batch batch;
  out->stretches_ = Finder(workspace, fewest, batch).all();
  if (out->stretches_.empty() || !batch.finish()) return nullptr;
  return out;
}

std::int64_t Fusion::pays_from(const Workspace& workspace) {
  if (machine::is_wanted_at_once()) return 0;
  // Nanoseconds, measured: what an instruction's lines cost, and what a run saves of its dispatch and its temporaries.
  std::int64_t making = 0, saved = 1;
  for (const Segment& segment : workspace.code().segments) {
    for (const Instruction& at : segment.instructions) {
      const std::int64_t numbers = workspace.code().values[at.out].size * workspace.capacity();
      making += numbers == 1 ? 1000 : 5000;
      saved += 4 + numbers / 32;
    }
  }
  return making / saved;
}

std::int64_t Fusion::covered() const {
  std::int64_t out = 0;
  for (const Stretch& stretch : stretches_) out += stretch.last - stretch.first;
  return out;
}

machine::Listing Fusion::kernels() const {
  machine::Listing out;
  for (const Stretch& stretch : stretches_) {
    const std::string which = "segment " + std::to_string(stretch.segment) + ", instructions " +
                              std::to_string(stretch.first) + " to " + std::to_string(stretch.last - 1);
    if (stretch.vectors) out.emplace_back(which, stretch.vectors->code());
    if (stretch.rest)
      out.emplace_back(stretch.vectors ? which + ", what is left of a row" : which, stretch.rest->code());
  }
  return out;
}

}  // namespace dualtape::exec
