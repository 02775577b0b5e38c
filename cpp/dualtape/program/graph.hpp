// SPDX-License-Identifier: MIT
// Graph: what a traced function computes, as a tree of straight-line segments.
//
//   * A node is an input, a constant, an elementwise op of the table or a shaped op, with the nodes it reads. Nodes
//     are numbered in the order in which they were recorded.
//   * A segment is a run of nodes without a decision. It ends in the results of the function, or in a decision that
//     the code took on a value: then each outcome that has been seen leads to a segment of its own.
//   * A path, from the root to a segment with results, is one complete trace of the function. All paths share the
//     nodes of the segments they have in common, so paths that part late cost little.
//
// A graph knows nothing of derivatives: those were ops already when they were recorded. Passes (passes.hpp) turn one
// graph into another; `merge` in trace.hpp adds a path; lower.hpp makes what an executor runs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "dualtape/array/array.hpp"
#include "dualtape/ops/op.hpp"
#include "dualtape/tape/recorder.hpp"
#include "dualtape/tape/shaped.hpp"

namespace dualtape::program {

using array::Array;
using array::DType;
using tape::Attributes;
using tape::ShapedRule;
using Decision = tape::Recorder::Decision;

using NodeId = std::uint32_t;
inline constexpr NodeId kNone = 0xffffffffu;

/// The operands of a node; nearly always three or fewer, which live inside.
class Operands {
 public:
  Operands() = default;
  explicit Operands(std::span<const NodeId> ids) { assign(ids); }
  Operands(std::initializer_list<NodeId> ids) { assign({ids.begin(), ids.size()}); }
  Operands(const Operands& other) { assign(other); }
  Operands(Operands&&) noexcept = default;
  Operands& operator=(const Operands& other) {
    if (this != &other) assign(other);
    return *this;
  }
  Operands& operator=(Operands&&) noexcept = default;

  std::uint32_t size() const { return size_; }
  NodeId* begin() { return many_ ? many_.get() : few_; }
  NodeId* end() { return begin() + size_; }
  const NodeId* begin() const { return many_ ? many_.get() : few_; }
  const NodeId* end() const { return begin() + size_; }
  NodeId operator[](std::size_t i) const { return begin()[i]; }
  NodeId& operator[](std::size_t i) { return begin()[i]; }
  operator std::span<const NodeId>() const { return {begin(), size_}; }
  friend bool operator==(const Operands& a, const Operands& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  void assign(std::span<const NodeId> ids) {
    size_ = static_cast<std::uint32_t>(ids.size());
    many_ = size_ > 3 ? std::make_unique<NodeId[]>(size_) : nullptr;
    std::copy(ids.begin(), ids.end(), begin());
  }

  NodeId few_[3] = {};
  std::uint32_t size_ = 0;
  std::unique_ptr<NodeId[]> many_;
};

enum class NodeKind : std::uint8_t { input, constant, elementwise, shaped };

struct Node {
  NodeKind kind = NodeKind::input;
  DType dtype = DType::f64;
  bool weak = false;  // stands for a Python number: takes the dtype of what it meets
  ops::Op op{};
  std::uint32_t shape = 0;  // Graph::shapes
  std::uint32_t line = 0;   // Graph::lines
  std::uint32_t which = 0;  // the number of an input, or the place in Graph::constants
  const ShapedRule* rule = nullptr;
  std::shared_ptr<const Attributes> attributes;
  Operands operands;
};

/// A line of the user's code.
struct Line {
  std::string file, function;
  int number = 0;
  friend bool operator==(const Line&, const Line&) = default;
};

/// Lines that graphs share until one of them gets another: passes copy graphs, and these are the strings in them.
class Lines {
 public:
  std::size_t size() const { return all_->size(); }
  const Line& operator[](std::size_t i) const { return (*all_)[i]; }
  auto begin() const { return all_->begin(); }
  auto end() const { return all_->end(); }
  void push_back(Line line) {
    if (all_.use_count() > 1) all_ = std::make_shared<std::vector<Line>>(*all_);
    all_->push_back(std::move(line));
  }
  /// As many lines that say nothing.
  void forget() { all_ = std::make_shared<std::vector<Line>>(size()); }

 private:
  std::shared_ptr<std::vector<Line>> all_ = std::make_shared<std::vector<Line>>(1);  // the first is an unknown one
};

struct Branch {
  std::int64_t outcome;
  std::uint32_t segment;
};

struct Segment {
  std::vector<NodeId> nodes;
  // One or the other:
  NodeId decision = kNone;
  Decision decided = Decision::truth;
  std::uint32_t line = 0;  // of the decision
  std::vector<Branch> branches;
  std::vector<NodeId> results;

  bool is_leaf() const { return decision == kNone; }
  /// The segment behind an outcome, or kNone.
  std::uint32_t after(std::int64_t outcome) const {
    for (const Branch& branch : branches) {
      if (branch.outcome == outcome) return branch.segment;
    }
    return kNone;
  }
};

struct Input {
  std::string name;
  NodeId node = kNone;
};

struct Graph {
  std::vector<Node> nodes;
  std::vector<Input> inputs;      // their nodes come first, in order, and belong to no segment
  std::vector<Segment> segments;  // the first is the root; none before the first path
  std::vector<Array> constants;
  std::vector<Dims> shapes;
  Lines lines;

  const Dims& shape(NodeId id) const { return shapes[nodes[id].shape]; }
  const Array& constant(NodeId id) const { return constants[nodes[id].which]; }
  std::int64_t size(NodeId id) const { return element_count(shape(id)); }
  std::uint32_t intern_shape(const Dims& shape);
  std::uint32_t intern_line(const Line& line);

  /// Calls visit(segment) for each segment, parents before children, and leave(segment) after its children.
  template <class Visit, class Leave>
  void walk(Visit&& visit, Leave&& leave) const;

 private:
  /// Where each stands, once there are more than a few.
  std::unordered_map<std::string, std::uint32_t> shape_index_, line_index_;
};

/// The same bits: dtype, shape and every element.
bool identical(const Array& a, const Array& b);
/// Whether two nodes compute the same, given that their operands do.
bool same_op(const Graph& graph_a, const Node& a, const Graph& graph_b, const Node& b);

template <class Visit, class Leave>
void Graph::walk(Visit&& visit, Leave&& leave) const {
  // A stack of its own: a loop that runs long while it is traced makes a deep tree.
  struct Step {
    std::uint32_t segment;
    bool leaving;
  };
  std::vector<Step> stack;
  if (!segments.empty()) stack.push_back({0, false});
  while (!stack.empty()) {
    const Step step = stack.back();
    stack.pop_back();
    if (step.leaving) {
      leave(step.segment);
      continue;
    }
    visit(step.segment);
    stack.push_back({step.segment, true});
    const std::vector<Branch>& branches = segments[step.segment].branches;
    for (std::size_t i = branches.size(); i-- > 0;) stack.push_back({branches[i].segment, false});
  }
}

}  // namespace dualtape::program
