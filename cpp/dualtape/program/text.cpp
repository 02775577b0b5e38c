// SPDX-License-Identifier: MIT
// A program as a person reads it.
#include <cstdio>
#include <cstdlib>

#include "dualtape/program/program.hpp"

namespace dualtape::program {
namespace {

std::string list(Shape values) {
  std::string out = "[";
  for (std::int64_t value : values) out += (out.size() > 1 ? ", " : "") + std::to_string(value);
  return out + "]";
}

std::string type_of(const Graph& graph, const Node& node) {
  std::string out(array::name(node.dtype));
  const Dims& shape = graph.shapes[node.shape];
  return shape.empty() ? out : out + to_string(shape);
}

std::string where(const Graph& graph, std::uint32_t line) {
  if (!line) return "";
  const Line& at = graph.lines[line];
  return at.file.substr(at.file.rfind('/') + 1) + ":" + std::to_string(at.number);
}

std::string attributes(const Node& node) {
  const Attributes& a = *node.attributes;
  const std::string_view name = node.rule->name();
  std::string out;
  const auto add = [&](const std::string& text) { out += out.empty() ? text : ", " + text; };
  if (!a.dims.empty())
    add((name == "reshape" || name == "broadcast_to" || name == "sum_to_shape" ? "shape=" : "axes=") + list(a.dims));
  if (a.payload) {
    add(a.payload->text());
    return out;
  }
  if (a.axis) add("axis=" + std::to_string(a.axis));
  if (a.flag) add(name == "cumsum" ? "reverse" : "keepdims");
  if (name == "cast") add("dtype=" + std::string(array::name(a.dtype)));
  for (const array::Slice& slice : a.slices) {
    add(std::to_string(slice.start) + ":" + (slice.step == 1 ? "" : std::to_string(slice.step) + ":") + "+" +
        std::to_string(slice.count));
  }
  if (a.index.size() != 1 || a.index.dtype() == DType::i64) add("index" + to_string(a.index.shape()));
  return out;
}

/// Writes the tree.
class Writer {
 public:
  explicit Writer(const Graph& graph) : graph_(graph) {}

  std::string run() {
    std::string out = "program(";
    for (const Input& input : graph_.inputs) {
      const Node& node = graph_.nodes[input.node];
      out += (out.back() == '(' ? "" : ", ") + ("%" + std::to_string(input.node) + " ") + input.name + ": " +
             type_of(graph_, node);
    }
    out += ")\n";
    std::vector<std::string> heads(graph_.segments.size());
    graph_.walk(
        [&](std::uint32_t number) {
          const Segment& segment = graph_.segments[number];
          if (!heads[number].empty()) out += heads[number];
          ++depth_;
          for (NodeId id : segment.nodes) {
            const Node& node = graph_.nodes[id];
            std::string line = indent() + "%" + std::to_string(id) + " = " + describe(graph_, node);
            line.resize(std::max<std::size_t>(line.size() + 2, 56), ' ');
            line += type_of(graph_, node);
            if (node.line) line.resize(std::max<std::size_t>(line.size() + 2, 76), ' ');
            out += line + where(graph_, node.line) + "\n";
          }
          if (!segment.is_leaf()) {
            const std::string name = "%" + std::to_string(segment.decision);
            for (const Branch& branch : segment.branches) {
              const bool truth = segment.decided == Decision::truth;
              const std::string outcome =
                  truth ? (branch.outcome ? name : "not " + name) : name + " == " + std::to_string(branch.outcome);
              heads[branch.segment] =
                  indent() + "if " + outcome + ":" + (segment.line ? "  # " + where(graph_, segment.line) : "") + "\n";
            }
            return;
          }
          out += indent() + "return";
          for (std::size_t i = 0; i < segment.results.size(); ++i) {
            out += (i ? ", %" : " %") + std::to_string(segment.results[i]);
          }
          out += "\n";
        },
        [&](std::uint32_t) { --depth_; });
    return out;
  }

 private:
  std::string indent() const { return std::string(static_cast<std::size_t>(2 * std::min(depth_, 20)), ' '); }
  const Graph& graph_;
  int depth_ = 0;
};

}  // namespace

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", value);
  for (int digits = 1; digits < 17; ++digits) {
    char shorter[32];
    std::snprintf(shorter, sizeof shorter, "%.*g", digits, value);
    if (std::strtod(shorter, nullptr) == value) return shorter;
  }
  return text;
}

std::string describe(const Graph& graph, const Node& node) {
  std::string out;
  switch (node.kind) {
    case NodeKind::input:
      return "input " + graph.inputs[node.which].name;
    case NodeKind::constant: {
      const Array& value = graph.constants[node.which];
      return value.size() == 1 ? "constant " + number_text(value.item()) : "constant " + to_string(value.shape());
    }
    case NodeKind::elementwise:
      out = std::string(ops::info(node.op).name);
      break;
    case NodeKind::shaped:
      out = std::string(node.rule->name());
      break;
  }
  for (std::size_t i = 0; i < node.operands.size(); ++i) out += (i ? ", %" : " %") + std::to_string(node.operands[i]);
  if (node.kind == NodeKind::shaped) {
    const std::string more = attributes(node);
    if (!more.empty()) out += " {" + more + "}";
  }
  return out;
}

std::string Program::text() const { return Writer(graph_).run(); }

std::string Program::dot() const {
  std::string out = "digraph program {\n  rankdir=TB; node [fontname=\"monospace\", fontsize=10, shape=box];\n";
  const auto name = [](NodeId id) { return "n" + std::to_string(id); };
  for (const Input& input : graph_.inputs) {
    out += "  " + name(input.node) + " [label=\"" + input.name + "\", shape=ellipse];\n";
  }
  for (std::size_t k = 0; k < graph_.segments.size(); ++k) {
    const Segment& segment = graph_.segments[k];
    out += "  subgraph cluster" + std::to_string(k) + " {\n    style=dotted;\n";
    for (NodeId id : segment.nodes) {
      const Node& node = graph_.nodes[id];
      const std::string op = node.kind == NodeKind::elementwise ? std::string(ops::info(node.op).name)
                             : node.kind == NodeKind::shaped    ? std::string(node.rule->name())
                                                                : describe(graph_, node);
      out += "    " + name(id) + " [label=\"" + op + "\\n" + type_of(graph_, node) + "\"];\n";
    }
    const std::string end = "end" + std::to_string(k);
    out += "    " + end + " [label=\"" + (segment.is_leaf() ? "return" : "decide") +
           "\", shape=" + (segment.is_leaf() ? "ellipse" : "diamond") + "];\n  }\n";
  }
  for (std::size_t k = 0; k < graph_.segments.size(); ++k) {
    const Segment& segment = graph_.segments[k];
    const std::string end = "end" + std::to_string(k);
    for (NodeId id : segment.nodes) {
      for (NodeId operand : graph_.nodes[id].operands) out += "  " + name(operand) + " -> " + name(id) + ";\n";
    }
    for (NodeId id : segment.results) out += "  " + name(id) + " -> " + end + ";\n";
    if (segment.is_leaf()) continue;
    out += "  " + name(segment.decision) + " -> " + end + ";\n";
    for (const Branch& branch : segment.branches) {
      out += "  " + end + " -> end" + std::to_string(branch.segment) + " [style=dashed, label=\"" +
             std::to_string(branch.outcome) + "\"];\n";
    }
  }
  return out + "}\n";
}

}  // namespace dualtape::program
