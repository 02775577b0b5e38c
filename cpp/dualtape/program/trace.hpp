// SPDX-License-Identifier: MIT
// Tracing: a Trace is the recorder (tape/recorder.hpp) of one run of a function on given values. It notes every op, and
// every decision with its outcome; what comes out is a Path. `merge` adds a path to a graph: it follows the tree as
// far as the path has been seen before and branches off at the first decision that came out differently.
//
// Values are computed while they are traced, so a traced function can be debugged like any other, and each decision
// is the one that the run on these values really takes.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dualtape/program/graph.hpp"

namespace dualtape::program {

using tape::Var;

/// One complete run: a list of nodes in order, with the decisions between them.
struct Path {
  struct Decided {
    std::size_t before;  // the number of nodes recorded before it
    NodeId node;
    Decision decision;
    std::int64_t outcome;
    std::uint32_t line;
  };
  Graph graph;  // nodes and what they refer to; no segments
  std::vector<Decided> decisions;
  std::vector<NodeId> results;
};

class Trace final : public tape::Recorder {
 public:
  /// `where` tells the line of the user's code that is being run. The first decisions come out as `forced` says,
  /// whatever their values: a replay whose sums are contracted may decide otherwise than plain arithmetic would, and
  /// it is the replay's path that is wanted.
  explicit Trace(std::function<Line()> where, std::vector<std::int64_t> forced = {});
  /// The trace of a loop's body, inside of another trace or not. What the body takes from outside and must not be
  /// frozen becomes a further input: `lifted` are those values, in the order of their inputs.
  struct Body {};
  Trace(std::function<Line()> where, Body, std::vector<std::int64_t> forced = {});
  const std::vector<Var>& lifted() const { return lifted_; }
  ~Trace() override;
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  /// An operand of the function, with the value of this run.
  Array input(const std::string& name, const Array& value, bool weak);
  /// The node of a value that the function returned; a constant where the trace does not know it.
  void result(const Array& value);
  /// Ends the recording and hands over what was recorded.
  Path finish();
  /// From now on, notes the first op whose result is not finite.
  void watch() { watching_ = true; }
  /// What `watch` found: the op with the values that went in, and its line.
  struct Broken {
    std::string what;
    Line line;
  };
  const std::optional<Broken>& broken() const { return broken_; }

  Array elementwise(ops::Op op, std::span<const Array* const> operands, const Array& out) override;
  Array shaped(const ShapedRule& rule, std::span<const Array* const> operands, const Attributes& attributes,
               const Array& out) override;
  std::int64_t decide(Decision decision, const Array& x) override;

  Var lift(const Var& var) override;
  Var take(const Var& var) override;

 private:
  NodeId operand(const Array& x);
  Array push(Node node, const Array& out, bool weak);
  void look(std::string_view name, std::span<const Array* const> operands, const Array& out);

  Path path_;
  std::function<Line()> where_;
  std::vector<std::int64_t> forced_;
  std::vector<Var> lifted_, inputs_;  // from outside, and what they are inside
  bool watching_ = false;
  std::optional<Broken> broken_;
  tape::Recorder* outer_;
  array::TraceWatch outer_watch_;
  std::unordered_map<std::uint64_t, std::vector<NodeId>> scalars_;  // constants, by their bits
};

/// Lines at which values of the trace that this thread has finished last were computed that are still alive: somebody
/// has stored them. (To be called when all references to arguments and results are gone.)
std::vector<Line> survivors(const Path& path);

/// Adds a path; TraceError where it does not fit the tree: the function has computed something else although every
/// decision came out as before. Returns whether the path is new.
bool merge(Graph& graph, const Path& path);
/// The outcomes of the decisions from the root to that of `segment`, and `outcome` for the latter.
std::vector<std::int64_t> decisions_to(const Graph& graph, std::uint32_t segment, std::int64_t outcome);

}  // namespace dualtape::program
