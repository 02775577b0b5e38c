// SPDX-License-Identifier: MIT
// Program: a traced function, immutable. It keeps the graph as it was recorded, to which further paths can be merged
// (that gives a new program), the optimized graph, and the code for calling it. It can be read as text, drawn, and
// saved; a program that was loaded gives the same bits.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "dualtape/program/graph.hpp"
#include "dualtape/program/lower.hpp"
#include "dualtape/program/trace.hpp"

namespace dualtape::program {

class Program {
 public:
  Program(Graph recorded, bool contraction);

  const Graph& recorded() const { return recorded_; }
  const Graph& graph() const { return graph_; }
  bool contraction() const { return contraction_; }
  /// The code that computes the results from the inputs, made when it is first asked for.
  const Part& part() const;

  /// The same with one more path; null where there is nothing new in it. TraceError as `merge` says.
  std::shared_ptr<const Program> with(const Path& path) const;

  /// Numbered instructions, one a line, with what is decided and where.
  std::string text() const;
  /// The graph for Graphviz.
  std::string dot() const;
  /// The file format of file.cpp.
  std::string save() const;
  /// Throws ShapeError with what is wrong for what is no such file.
  static std::shared_ptr<const Program> load(std::string_view bytes);

 private:
  Graph recorded_;
  bool contraction_;
  Graph graph_;
  mutable std::once_flag lowered_;
  mutable Part part_;
};

/// A number in as few digits as bring it back.
std::string number_text(double value);
/// What a node does, as a line of text without its number: `multiply_add %1, %2, %0`.
std::string describe(const Graph& graph, const Node& node);

}  // namespace dualtape::program
