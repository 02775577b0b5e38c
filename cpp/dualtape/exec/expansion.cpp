// SPDX-License-Identifier: MIT
#include "dualtape/exec/expansion.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "dualtape/array/convert.hpp"
#include "dualtape/array/elementwise.hpp"
#include "dualtape/ops/op.hpp"

namespace dualtape::exec {
namespace {

using machine::Body;
using machine::LineId;
using ops::Op;

constexpr std::int64_t kLargest = 4096;      // elements of a value
constexpr std::size_t kMostNodes = 1 << 16;  // elements of all values
constexpr std::size_t kMostOutputs = 1 << 13;

bool is_plus_zero(double x) { return x == 0.0 && !std::signbit(x); }

}  // namespace

Expansion::NodeId Expansion::push(Node node) {
  nodes_.push_back(node);
  operations_ += node.kind == Node::Kind::op && !node.zero;
  return static_cast<NodeId>(nodes_.size() - 1);
}

bool Expansion::add(const Instruction& at) {
  const Value& out = code_.values[at.out];
  if (out.dtype != dtype_ || out.size > kLargest) return false;
  if (at.rule ? !at.rule->only_moves() : !machine::is_light(at.op)) return false;
  std::vector<const Elements*> operands;
  for (const ValueId id : at.operands) {
    if (code_.values[id].dtype != dtype_ || !elements(id)) return false;
  }
  for (const ValueId id : at.operands) operands.push_back(elements(id));
  if (nodes_.size() + static_cast<std::size_t>(out.size) > kMostNodes) return false;
  Elements result;
  if (at.rule ? !moved(*at.rule, *at.attributes, at.operands, operands, result) : !elementwise(at, operands, result)) {
    return false;
  }
  elements_[at.out] = std::move(result);
  return true;
}

/// The elements of a value, read from memory or through a view where they are not computed here; null for too many.
const Expansion::Elements* Expansion::elements(ValueId id) {
  const auto known = elements_.find(id);
  if (known != elements_.end()) return &known->second;
  const Value& value = code_.values[id];
  if (value.size > kLargest || value.dtype != dtype_) return nullptr;
  Elements out;
  if (value.view_of != kNone) {
    const Elements* base = elements(value.view_of);
    const Instruction& view = code_.views[value.view];
    if (!base || !moved(*view.rule, *view.attributes, {value.view_of}, {base}, out)) return nullptr;
    return &(elements_[id] = std::move(out));
  }
  if (nodes_.size() + static_cast<std::size_t>(value.size) > kMostNodes) return nullptr;
  if (const auto stored = constants_.find(id); stored != constants_.end()) {
    array::dispatch(dtype_, [&]<class T>() {
      const Array all = stored->second->as_contiguous();
      for (std::int64_t e = 0; e < value.size; ++e) out.push_back(constant(static_cast<double>(all.data<T>()[e])));
    });
  } else {
    for (std::int64_t e = 0; e < value.size; ++e) {
      const std::int64_t offset = offset_of(id) + e * array::item_size(dtype_);
      out.push_back(push({Node::Kind::input, {}, false, {-1, -1, -1}, 0.0, offset}));
    }
  }
  return &(elements_[id] = std::move(out));
}

bool Expansion::elementwise(const Instruction& at, const std::vector<const Elements*>& operands, Elements& out) {
  const Value& value = code_.values[at.out];
  std::vector<Array> places;  // of broadcast operands: the number of the element that stands at each place
  for (const ValueId id : at.operands) {
    const Value& in = code_.values[id];
    places.emplace_back();
    if (in.size == 1 || in.shape == value.shape) continue;
    Array numbers = Array::empty(DType::i64, in.shape);
    for (std::int64_t e = 0; e < in.size; ++e) numbers.writable_data<std::int64_t>()[e] = e;
    places.back() = array::broadcast_to(numbers, value.shape).as_contiguous();
  }
  out.reserve(static_cast<std::size_t>(value.size));
  for (std::int64_t e = 0; e < value.size; ++e) {
    NodeId in[3] = {-1, -1, -1};
    for (std::size_t k = 0; k < operands.size(); ++k) {
      const Value& operand = code_.values[at.operands[k]];
      const std::int64_t place = operand.size == 1              ? 0
                                 : operand.shape == value.shape ? e
                                                                : places[k].data<std::int64_t>()[e];
      in[k] = (*operands[k])[static_cast<std::size_t>(place)];
    }
    out.push_back(op(at.op, in, static_cast<int>(operands.size())));
  }
  return true;
}

/// What a rule that moves elements does to their numbers; 0 stands for a zero that it puts in.
bool Expansion::moved(const tape::ShapedRule& rule, const tape::Attributes& attributes, const std::vector<ValueId>& ids,
                      const std::vector<const Elements*>& operands, Elements& out) {
  std::vector<Array> numbers;
  std::vector<const Array*> pointers;
  Elements all{-1};
  for (std::size_t k = 0; k < ids.size(); ++k) {
    Array here = Array::empty(DType::f64, code_.values[ids[k]].shape);
    for (std::size_t e = 0; e < operands[k]->size(); ++e) {
      const auto number = static_cast<double>(all.size());
      if (here.is_scalar()) {
        here = Array(number);
      } else {
        here.writable_data<double>()[e] = number;
      }
      all.push_back((*operands[k])[e]);
    }
    numbers.push_back(std::move(here));
  }
  for (const Array& x : numbers) pointers.push_back(&x);
  const Array result = rule.forward(pointers, attributes).as_contiguous();
  for (std::int64_t e = 0; e < result.size(); ++e) {
    const auto number = static_cast<std::size_t>(result.data<double>()[e]);
    if (number == 0 && all[0] < 0) all[0] = constant(0.0);
    out.push_back(all[number]);
  }
  return true;
}

Expansion::NodeId Expansion::op(Op op, const NodeId* operands, int arity) {
  Node node{Node::Kind::op, op};
  const auto at = [&](int i) -> const Node& { return nodes_[static_cast<std::size_t>(operands[i])]; };
  bool constants = true;
  for (int i = 0; i < arity; ++i) {
    node.operands[i] = operands[i];
    constants = constants && at(i).kind == Node::Kind::constant;
  }
  if (constants) {
    return array::dispatch(dtype_, [&]<class T>() -> NodeId {
      T in[3], out;
      const void* pointers[3];
      for (int i = 0; i < arity; ++i) in[i] = static_cast<T>(at(i).value), pointers[i] = &in[i];
      array::element_loops(dtype_).single[static_cast<int>(op)](pointers, &out);
      return constant(static_cast<double>(out));
    });
  }
  const auto plus_zero = [&](int i) { return at(i).kind == Node::Kind::constant && is_plus_zero(at(i).value); };
  switch (op) {
    case Op::negative:
      node.zero = at(0).zero;
      break;
    case Op::strong_multiply:
      node.zero = at(0).zero || at(1).zero;
      break;
    case Op::add:
      // 0 and a zero of either sign make 0.
      if ((plus_zero(0) && at(1).zero) || (plus_zero(1) && at(0).zero)) return constant(0.0);
      node.zero = at(0).zero && at(1).zero;
      break;
    case Op::subtract:
      if (plus_zero(0) && at(1).zero) return constant(0.0);
      node.zero = at(0).zero && at(1).zero;
      break;
    case Op::strong_multiply_add:
      if (at(0).zero || at(1).zero) {
        if (plus_zero(2)) return constant(0.0);
        node.zero = at(2).zero;
      }
      break;
    default:
      break;
  }
  return push(node);
}

std::optional<Expansion::Result> Expansion::body(const std::vector<ValueId>& wanted,
                                                 const std::function<bool(ValueId)>& alone, std::size_t most) {
  const bool single = dtype_ == DType::f32;
  std::vector<bool> needed(nodes_.size());
  for (const ValueId value : wanted) {
    for (const NodeId id : *elements(value)) needed[static_cast<std::size_t>(id)] = true;
  }
  for (std::size_t i = nodes_.size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (const NodeId id : nodes_[i].operands) {
      if (id >= 0) needed[static_cast<std::size_t>(id)] = true;
    }
  }
  Result out;
  Body& body = out.body;
  body.single = single;
  machine::Recorder recorder(body);
  std::vector<LineId> lines(nodes_.size(), machine::kNoLine);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    if (!needed[i] || node.kind == Node::Kind::constant) continue;
    if (node.kind == Node::Kind::input) {
      lines[i] = recorder.input(machine::Input::From::lanes, node.offset);
    } else {
      std::vector<LineId> operands;
      for (const NodeId id : node.operands) {
        if (id < 0) continue;
        LineId& line = lines[static_cast<std::size_t>(id)];
        const Node& operand = nodes_[static_cast<std::size_t>(id)];
        if (operand.kind == Node::Kind::constant) line = recorder.constant(operand.value);
        operands.push_back(line);
      }
      const std::optional<LineId> line = recorder.op(node.op, operands);
      if (!line) return std::nullopt;
      lines[i] = *line;
    }
    if (body.lines.size() > most) return std::nullopt;
  }
  std::unordered_set<std::int64_t> written;
  for (const ValueId value : wanted) {
    std::int64_t offset = offset_of(value);
    std::optional<bool> is_alone;  // which takes its time to find out
    for (const NodeId id : *elements(value)) {
      const Node& node = nodes_[static_cast<std::size_t>(id)];
      const bool constant = node.kind == Node::Kind::constant;
      if (constant && !is_alone) is_alone = alone(value);
      if (constant && *is_alone) {
        out.constants.emplace_back(offset, node.value);
      } else {
        const LineId line = constant ? recorder.constant(node.value) : lines[static_cast<std::size_t>(id)];
        body.outputs.push_back({line, offset});
        written.insert(offset);
      }
      offset += array::item_size(dtype_);
    }
    if (body.outputs.size() > kMostOutputs) return std::nullopt;
  }
  // An input that goes straight to an output is read when others may have been stored.
  for (const machine::Output& output : body.outputs) {
    const machine::Line& line = body.lines[static_cast<std::size_t>(output.line)];
    if (line.kind != machine::Kind::input) continue;
    const std::int64_t from = body.inputs[line.immediate].offset;
    if (from != output.offset && written.contains(from)) return std::nullopt;
  }
  return out;
}

}  // namespace dualtape::exec
