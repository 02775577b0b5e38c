// SPDX-License-Identifier: MIT
// Code: what an executor runs. It is flat, immutable and shared freely between threads; whatever changes during a run
// is in a Workspace (workspace.hpp).
//
//   * A value is one storage place. Varying values have an element for each lane behind every element of their shape
//     (lanes innermost); shared ones have their shape alone. A view has the memory of another value.
//   * A segment is a list of instructions and ends in results, or in a decision, whose outcome for each lane says
//     where that lane goes on.
//   * `per_lane` and `shared` bytes are what a workspace needs; values whose lives do not overlap share storage.
//
// program/lower.hpp makes code from graphs. An executor that knows more than the interpreter (machine code) starts from
// the same code and gives the same bits.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dualtape/array/array.hpp"
#include "dualtape/ops/op.hpp"
#include "dualtape/tape/recorder.hpp"
#include "dualtape/tape/shaped.hpp"

namespace dualtape::exec {

using array::Array;
using array::DType;
using Decision = tape::Recorder::Decision;

using ValueId = std::uint32_t;
inline constexpr std::uint32_t kNone = 0xffffffffu;

struct Value {
  DType dtype = DType::f64;  // as stored: truths of elementwise ops are stored as numbers
  Dims shape;
  std::int64_t size = 1;  // elements, without lanes
  bool varying = false;
  std::int64_t offset = 0;     // bytes, for one lane where varying
  ValueId view_of = kNone;     // then this has the memory of that value,
  std::uint32_t view = kNone;  // seen through this instruction of Code::views

  std::int64_t bytes() const { return size * array::item_size(dtype); }
};

struct Instruction {
  const tape::ShapedRule* rule = nullptr;  // null for an elementwise op
  ops::Op op{};
  std::shared_ptr<const tape::Attributes> attributes;
  ValueId out = kNone;
  std::vector<ValueId> operands;
};

struct Branch {
  std::int64_t outcome;
  std::uint32_t segment;
};

struct Segment {
  std::vector<Instruction> instructions;
  ValueId decision = kNone;
  Decision decided = Decision::truth;
  std::vector<Branch> branches;
  std::vector<ValueId> results;  // where there is no decision
  std::vector<ValueId> live;     // varying values from before that this segment, or one behind it, reads

  std::uint32_t after(std::int64_t outcome) const {
    for (const Branch& branch : branches) {
      if (branch.outcome == outcome) return branch.segment;
    }
    return kNone;
  }
};

struct Code {
  std::vector<Value> values;
  std::vector<Instruction> views;
  std::vector<std::pair<ValueId, Array>> constants;
  std::vector<ValueId> inputs;
  std::vector<Segment> segments;
  /// The instructions of the first segment from here on serve nothing but results behind the states and the last one:
  /// a loop leaves them out in iterations whose values nobody asks for. Only where there is one segment.
  std::size_t tail = 0;
  /// Values copied over others when an iteration is done: (from, to). Only where there is one segment.
  std::vector<std::pair<ValueId, ValueId>> moves;
  std::int64_t per_lane = 0, shared = 0;  // bytes

  bool branches() const { return segments.size() > 1; }
};

}  // namespace dualtape::exec
