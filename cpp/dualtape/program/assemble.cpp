// SPDX-License-Identifier: MIT
// Two passes over the tree: the first makes instructions, the second gives storage to values by how long they live.
#include "dualtape/program/assemble.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "dualtape/array/views.hpp"
#include "dualtape/base/error.hpp"

namespace dualtape::program {
namespace {

using exec::Code;
using exec::Instruction;
using exec::Value;
using exec::ValueId;

/// Makes the instructions.
class Assembler {
 public:
  Assembler(const Graph& graph, const Selection& selection)
      : graph_(graph), selection_(selection), ids_(graph.nodes.size(), kNone), stored_(graph.nodes.size()) {
    for (std::size_t id = 0; id < stored_.size(); ++id) {
      const Node& node = graph.nodes[id];
      stored_[id] = node.dtype;
      if (node.kind != NodeKind::elementwise || array::is_float(node.dtype)) continue;
      // A truth is stored as a number of the dtype in which it is computed.
      stored_[id] = DType::f32;
      for (NodeId operand : node.operands) {
        if (stored_[operand] != DType::f32) stored_[id] = DType::f64;
      }
    }
  }

  Code run() {
    for (std::size_t i = 0; i < selection_.inputs.size(); ++i) {
      const NodeId node = selection_.inputs[i];
      ids_[node] = add_value(stored_[node], graph_.shape(node), selection_.varying[i]);
      code_.inputs.push_back(ids_[node]);
    }
    code_.segments.resize(selection_.tree ? std::max<std::size_t>(graph_.segments.size(), 1) : 1);
    graph_.walk([&](std::uint32_t number) { take(number); }, [](std::uint32_t) {});
    if (!selection_.tree) {
      for (NodeId node : selection_.results)
        code_.segments[0].results.push_back(result(node, code_.segments[0], false));
    }
    move_tail();
    return std::move(code_);
  }

 private:
  /// Brings the instructions that only the values need to the end.
  void move_tail() {
    exec::Segment& segment = code_.segments[0];
    code_.tail = segment.instructions.size();
    if (!selection_.states || code_.segments.size() > 1 || !selection_.values) return;
    std::vector<bool> needed(code_.values.size());
    const auto need = [&](ValueId id) {
      for (; id != kNone; id = code_.values[id].view_of) needed[id] = true;
    };
    for (std::size_t i = 0; i < segment.results.size(); ++i) {
      if (i < selection_.states || i >= selection_.states + selection_.values) need(segment.results[i]);
    }
    std::vector<Instruction> head, tail;
    for (std::size_t k = segment.instructions.size(); k-- > 0;) {
      Instruction& instruction = segment.instructions[k];
      if (needed[instruction.out]) {
        for (ValueId id : instruction.operands) need(id);
        head.insert(head.begin(), std::move(instruction));
      } else {
        tail.insert(tail.begin(), std::move(instruction));
      }
    }
    code_.tail = head.size();
    head.insert(head.end(), std::make_move_iterator(tail.begin()), std::make_move_iterator(tail.end()));
    segment.instructions = std::move(head);
  }

  DType node_dtype(NodeId node) const { return graph_.nodes[node].dtype; }

  ValueId add_value(DType dtype, const Dims& shape, bool varying) {
    Value value;
    value.dtype = dtype;
    value.shape = shape;
    value.size = element_count(shape);
    value.varying = varying;
    code_.values.push_back(std::move(value));
    return static_cast<ValueId>(code_.values.size() - 1);
  }

  /// The value of a node; constants come into being when they are first read.
  ValueId value_of(NodeId node) {
    if (ids_[node] == kNone) {
      if (graph_.nodes[node].kind != NodeKind::constant)
        throw TapeError("program: a value is read before it is there.");
      ids_[node] = add_value(node_dtype(node), graph_.shape(node), false);
      code_.constants.emplace_back(ids_[node], graph_.constant(node));
    }
    return ids_[node];
  }

  void take(std::uint32_t number) {
    const Segment& segment = graph_.segments[number];
    exec::Segment& to = code_.segments[selection_.tree ? number : 0];
    for (NodeId id : segment.nodes) {
      if (selection_.included[id] && graph_.nodes[id].kind != NodeKind::constant) emit(id, to);
    }
    if (!selection_.tree) return;
    if (segment.decision != kNone) {
      to.decision = plain(value_of(segment.decision), to);
      to.decided = segment.decided;
      for (const Branch& branch : segment.branches) to.branches.push_back({branch.outcome, branch.segment});
      return;
    }
    for (std::size_t i = 0; i < segment.results.size(); ++i) {
      const bool state = i < selection_.states;
      ValueId id = result(segment.results[i], to, state);
      if (state && std::find(to.results.begin(), to.results.end(), id) != to.results.end()) id = copy(id, to, true);
      to.results.push_back(id);
    }
  }

  void emit(NodeId id, exec::Segment& to) {
    const Node& node = graph_.nodes[id];
    Instruction instruction;
    bool varying = false;
    for (NodeId operand : node.operands) {
      ValueId value = value_of(operand);
      if (node.kind == NodeKind::shaped) value = truth(operand, value, *node.rule, to);
      varying = varying || code_.values[value].varying;
      instruction.operands.push_back(value);
    }
    if (node.kind == NodeKind::shaped) {
      instruction.rule = node.rule;
      instruction.attributes = node.attributes;
      if (node.rule->name() == "reshape" && !reshapes_in_place(instruction.operands[0], graph_.shape(id))) {
        instruction.operands[0] = copy(instruction.operands[0], to, varying);
      }
      ids_[id] = add_value(node.dtype, graph_.shape(id), varying);
      instruction.out = ids_[id];
      if (node.rule->is_view()) {
        Value& value = code_.values[ids_[id]];
        value.view_of = instruction.operands[0];
        value.dtype = code_.values[value.view_of].dtype;
        value.view = static_cast<std::uint32_t>(code_.views.size());
        code_.views.push_back(std::move(instruction));
        return;
      }
    } else {
      instruction.op = node.op;
      ids_[id] = add_value(stored_[id], graph_.shape(id), varying);
      instruction.out = ids_[id];
    }
    to.instructions.push_back(std::move(instruction));
  }

  /// Whether the elements of a value lie so that a reshape is another view of them: found out on an array that has
  /// the strides, but no memory. (The lane axis, innermost, changes nothing about that.)
  bool reshapes_in_place(ValueId id, const Dims& shape) const {
    std::vector<ValueId> chain;  // the value, what it is a view of, and so on
    for (ValueId at = id; at != kNone; at = code_.values[at].view_of) chain.push_back(at);
    const auto solid = [&](ValueId of) {
      const Value& value = code_.values[of];
      static double nothing = 0.0;
      Buffer buffer = Buffer::borrow(&nothing, 0, false, nullptr, [](void*) {});
      return Array::pinned(std::move(buffer), value.dtype, value.shape, contiguous_strides(value.shape), 0);
    };
    Array seen = solid(chain.back());
    for (std::size_t i = chain.size() - 1; i-- > 0;) {
      const Value& value = code_.values[chain[i]];
      if (value.shape.empty()) {
        seen = solid(chain[i]);
        continue;
      }
      const Instruction& view = code_.views[value.view];
      const Array* operands[] = {&seen};
      seen = view.rule->forward(operands, *view.attributes);
    }
    return array::reshapes_as_view(seen, shape);
  }
  /// A copy with the dtype of the node, in storage of its own.
  ValueId cast(ValueId from, DType dtype, bool varying, exec::Segment& to) {
    Instruction instruction;
    const DType stored = code_.values[from].dtype;
    if (stored == dtype && array::is_float(dtype)) {
      instruction.op = ops::Op::positive;
    } else {
      tape::Attributes attributes;
      attributes.dtype = dtype;
      instruction.rule = tape::find_rule("cast");
      instruction.attributes = std::make_shared<const tape::Attributes>(attributes);
    }
    const Dims shape = code_.values[from].shape;
    instruction.operands = {from};
    instruction.out = add_value(dtype, shape, varying);
    to.instructions.push_back(instruction);
    return instruction.out;
  }
  ValueId copy(ValueId from, exec::Segment& to, bool varying) {
    return cast(from, code_.values[from].dtype, varying, to);
  }
  /// The value itself, or a copy where it is a view.
  ValueId plain(ValueId id, exec::Segment& to) {
    return code_.values[id].view_of == kNone ? id : copy(id, to, code_.values[id].varying);
  }
  /// A truth that is stored as a number, as the bool that a shaped op expects.
  ValueId truth(NodeId node, ValueId value, const ShapedRule& rule, exec::Segment& to) {
    const bool number = node_dtype(node) == DType::boolean && code_.values[value].dtype != DType::boolean;
    if (!number || rule.name() == "cast" || rule.is_view()) return value;
    return cast(value, DType::boolean, code_.values[value].varying, to);
  }
  ValueId result(NodeId node, exec::Segment& to, bool state) {
    ValueId id = value_of(node);
    const bool input = std::find(code_.inputs.begin(), code_.inputs.end(), id) != code_.inputs.end();
    if (state) {
      const Value& value = code_.values[id];
      if (value.view_of != kNone || !value.varying || input || value.dtype != node_dtype(node)) {
        id = cast(id, node_dtype(node), true, to);
      }
      return id;
    }
    if (selection_.tree && graph_.segments.size() > 1 && code_.values[id].dtype != node_dtype(node)) {
      return cast(id, node_dtype(node), code_.values[id].varying, to);
    }
    return input && selection_.states ? copy(id, to, code_.values[id].varying) : plain(id, to);
  }

  const Graph& graph_;
  const Selection& selection_;
  Code code_;
  std::vector<ValueId> ids_;
  std::vector<DType> stored_;  // how the value of each node is stored
};

/// Gives storage to the values of a code.
class Storage {
 public:
  Storage(Code& code, std::size_t states)
      : code_(code),
        states_(states),
        root_(code.values.size()),
        pinned_(code.values.size()),
        last_(code.values.size()),
        place_in_held_(code.values.size()),
        last_in_(code.values.size(), kNone),
        after_(code.values.size(), kNone) {
    for (std::size_t id = 0; id < root_.size(); ++id) {
      const ValueId base = code.values[id].view_of;
      root_[id] = base == kNone ? static_cast<ValueId>(id) : root_[base];
    }
  }

  void run() {
    for (ValueId input : code_.inputs) pin(input);
    for (const auto& constant : code_.constants) pin(constant.first);
    find_live();
    order_branches();
    merge_states();
    std::vector<Free> open;
    std::vector<std::pair<std::uint32_t, bool>> stack{{0, false}};
    std::vector<std::vector<ValueId>> at_end(code_.segments.size());
    open.push_back({});
    open.back().end = code_.per_lane;
    parent_.assign(code_.segments.size(), kNone);
    later_.assign(code_.values.size(), 0);
    while (!stack.empty()) {
      const auto [segment, leaving] = stack.back();
      stack.pop_back();
      if (leaving) {
        open.pop_back();
        reserve_for_later(segment, -1);
        continue;
      }
      open.push_back(open.back());
      reserve_for_later(segment, +1);
      place(segment, open.back(), at_end);
      stack.emplace_back(segment, true);
      const std::vector<exec::Branch>& branches = code_.segments[segment].branches;
      for (auto branch = branches.rbegin(); branch != branches.rend(); ++branch) {
        parent_[branch->segment] = segment;
        stack.emplace_back(branch->segment, false);
      }
    }
    code_.per_lane = most_;
  }

 private:
  struct Free {
    std::int64_t end = 0;
    std::map<std::int64_t, std::vector<std::int64_t>> pieces;  // by size
  };

  static std::int64_t rounded(std::int64_t bytes) { return (bytes + 7) / 8 * 8; }

  void pin(ValueId id) {
    Value& value = code_.values[id];
    std::int64_t& end = value.varying ? code_.per_lane : code_.shared;
    // Shared values begin at cache lines.
    if (!value.varying) end = (end + 63) / 64 * 64;
    value.offset = end;
    end += rounded(value.bytes());
    pinned_[id] = true;
    most_ = std::max(most_, code_.per_lane);
  }

  template <class Use>
  void uses(const Instruction& instruction, Use&& use) const {
    for (ValueId id : instruction.operands) use(root_[id]);
  }

  /// Varying values that each segment, or one behind it, reads and that come from before it.
  void find_live() {
    if (!code_.branches()) return;  // nobody asks
    std::vector<std::uint32_t> order{0};
    for (std::size_t i = 0; i < order.size(); ++i) {
      for (const exec::Branch& branch : code_.segments[order[i]].branches) order.push_back(branch.segment);
    }
    std::vector<std::set<ValueId>> live(code_.segments.size());
    for (std::size_t i = order.size(); i-- > 0;) {
      exec::Segment& segment = code_.segments[order[i]];
      std::set<ValueId>& now = live[order[i]];
      for (const exec::Branch& branch : segment.branches)
        now.insert(live[branch.segment].begin(), live[branch.segment].end());
      if (segment.decision != kNone) now.insert(root_[segment.decision]);
      for (ValueId id : segment.results) now.insert(root_[id]);
      for (std::size_t k = segment.instructions.size(); k-- > 0;) {
        now.erase(root_[segment.instructions[k].out]);
        uses(segment.instructions[k], [&](ValueId id) { now.insert(id); });
      }
      for (ValueId id : now) {
        if (code_.values[id].varying) segment.live.push_back(id);
      }
    }
  }

  /// Small subtrees first: what later branches read is kept for as long as earlier ones run.
  void order_branches() {
    std::vector<std::uint32_t> order{0};
    for (std::size_t i = 0; i < order.size(); ++i) {
      for (const exec::Branch& branch : code_.segments[order[i]].branches) order.push_back(branch.segment);
    }
    std::vector<std::size_t> sizes(code_.segments.size(), 1);
    for (std::size_t i = order.size(); i-- > 0;) {
      std::vector<exec::Branch>& branches = code_.segments[order[i]].branches;
      for (const exec::Branch& branch : branches) sizes[order[i]] += sizes[branch.segment];
      std::stable_sort(branches.begin(), branches.end(), [&](const exec::Branch& a, const exec::Branch& b) {
        return sizes[a.segment] < sizes[b.segment];
      });
    }
  }

  /// Counts what the branches behind this one read, up (by 1) or down (by -1).
  void reserve_for_later(std::uint32_t segment, int by) {
    if (parent_[segment] == kNone) return;
    const std::vector<exec::Branch>& branches = code_.segments[parent_[segment]].branches;
    for (auto branch = branches.rbegin(); branch->segment != segment; ++branch) {
      for (ValueId id : code_.segments[branch->segment].live) later_[id] += by;
    }
  }

  /// A new state is written over the old one where nothing reads that afterwards; the others are moved at the end.
  void merge_states() {
    if (!states_ || code_.segments.size() > 1) return;
    exec::Segment& segment = code_.segments[0];
    for (std::size_t i = 0; i < states_; ++i) {
      const ValueId from = segment.results[i], to = code_.inputs[i];
      std::size_t made = segment.instructions.size(), read = 0;
      for (std::size_t k = 0; k < segment.instructions.size(); ++k) {
        const Instruction& instruction = segment.instructions[k];
        if (instruction.out == from) made = k;
        uses(instruction, [&](ValueId id) {
          if (id == to) read = k + 1;
        });
      }
      for (ValueId result : segment.results) {
        if (root_[result] == to) read = segment.instructions.size() + 1;
      }
      const bool in_place = made < segment.instructions.size() && may_overlap(segment.instructions[made], to);
      if (made < segment.instructions.size() && (read <= made || (read == made + 1 && in_place))) {
        code_.values[from].offset = code_.values[to].offset;
        pinned_[from] = true;
      } else {
        code_.moves.emplace_back(from, to);
      }
    }
  }

  /// Whether the result of an elementwise instruction may lie over operand `id`.
  bool may_overlap(const Instruction& instruction, ValueId id) const {
    if (instruction.rule) return false;
    const Value& out = code_.values[instruction.out];
    for (ValueId operand : instruction.operands) {
      if (root_[operand] != id) continue;
      const Value& in = code_.values[operand];
      if (operand != id || in.dtype != out.dtype || !(in.shape == out.shape) || in.varying != out.varying) return false;
    }
    return true;
  }

  void place(std::uint32_t number, Free& free, std::vector<std::vector<ValueId>>& at_end) {
    exec::Segment& segment = code_.segments[number];
    // What is live after this segment.
    for (const exec::Branch& branch : segment.branches) {
      for (ValueId id : code_.segments[branch.segment].live) after_[id] = number;
    }
    for (ValueId id : segment.results) after_[root_[id]] = number;
    if (segment.decision != kNone) after_[root_[segment.decision]] = number;
    for (std::size_t k = 0; k < segment.instructions.size(); ++k) {
      uses(segment.instructions[k], [&](ValueId id) {
        last_[id] = k;
        last_in_[id] = number;
      });
    }
    const auto is_after = [&](ValueId id) { return after_[id] == number; };
    std::vector<ValueId> held;
    const auto hold = [&](ValueId id) {
      place_in_held_[id] = held.size();
      held.push_back(id);
    };
    const auto let_go = [&](ValueId id) {
      held[place_in_held_[id]] = held.back();
      place_in_held_[held.back()] = place_in_held_[id];
      held.pop_back();
    };
    if (parent_[number] != kNone) {
      const std::set<ValueId> live(segment.live.begin(), segment.live.end());
      for (ValueId id : at_end[parent_[number]]) {
        if (live.count(id)) {
          hold(id);
        } else if (!later_[id]) {
          give(id, free);
        }
      }
    }
    for (std::size_t k = 0; k < segment.instructions.size(); ++k) {
      const Instruction& instruction = segment.instructions[k];
      Value& out = code_.values[instruction.out];
      std::vector<ValueId> ends;
      uses(instruction, [&](ValueId id) {
        if (!is_after(id) && last_[id] == k && code_.values[id].varying && !pinned_[id] && !later_[id] &&
            std::find(ends.begin(), ends.end(), id) == ends.end())
          ends.push_back(id);
      });
      for (ValueId id : ends) {
        if (may_overlap(instruction, id)) give(id, free), let_go(id);
      }
      if (!pinned_[instruction.out]) {
        if (out.varying) {
          get(instruction.out, free);
          hold(instruction.out);
        } else {
          pin(instruction.out);
        }
      }
      for (ValueId id : ends) {
        if (!may_overlap(instruction, id)) give(id, free), let_go(id);
      }
      if (out.varying && !pinned_[instruction.out] && last_in_[instruction.out] != number &&
          !is_after(instruction.out)) {
        give(instruction.out, free);  // nobody reads it
        let_go(instruction.out);
      }
    }
    at_end[number] = std::move(held);
  }

  void get(ValueId id, Free& free) {
    Value& value = code_.values[id];
    const std::int64_t bytes = rounded(value.bytes());
    std::vector<std::int64_t>& pieces = free.pieces[bytes];
    if (!pieces.empty()) {
      value.offset = pieces.back();
      pieces.pop_back();
      return;
    }
    value.offset = free.end;
    free.end += bytes;
    most_ = std::max(most_, free.end);
  }
  void give(ValueId id, Free& free) {
    free.pieces[rounded(code_.values[id].bytes())].push_back(code_.values[id].offset);
  }

  Code& code_;
  std::size_t states_;
  std::vector<ValueId> root_;
  std::vector<bool> pinned_;
  // In the segment at hand, whose number stands beside it: the last instruction that reads a value, and whether it is
  // read behind the segment.
  std::vector<std::size_t> last_, place_in_held_;
  std::vector<std::uint32_t> last_in_, after_;
  std::vector<std::uint32_t> parent_;
  std::vector<int> later_;  // by value: how many branches that are still to come, beside where we are, read it
  std::int64_t most_ = 0;
};

}  // namespace

Part assemble(const Graph& graph, const Selection& selection) {
  Code code = Assembler(graph, selection).run();
  Storage(code, selection.states).run();
  Part part;
  part.inputs = selection.inputs;
  part.results = selection.results;
  part.code = std::make_shared<const Code>(std::move(code));
  return part;
}

}  // namespace dualtape::program
