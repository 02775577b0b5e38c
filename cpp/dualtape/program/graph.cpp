// SPDX-License-Identifier: MIT
#include "dualtape/program/graph.hpp"

#include <cstring>

namespace dualtape::program {

std::uint32_t Graph::intern_shape(const Dims& shape) {
  const std::string key(reinterpret_cast<const char*>(shape.begin()),
                        static_cast<std::size_t>(shape.size()) * sizeof(std::int64_t));
  const auto [at, fresh] = shape_index_.try_emplace(key, static_cast<std::uint32_t>(shapes.size()));
  if (fresh) shapes.push_back(shape);
  return at->second;
}

std::uint32_t Graph::intern_line(const Line& line) {
  if (line == lines[0]) return 0;
  const std::string key = line.file + ":" + std::to_string(line.number) + ":" + line.function;
  const auto [at, fresh] = line_index_.try_emplace(key, static_cast<std::uint32_t>(lines.size()));
  if (fresh) lines.push_back(line);
  return at->second;
}

bool identical(const Array& a, const Array& b) {
  if (a.dtype() != b.dtype() || !same_shape(a.shape(), b.shape())) return false;
  const Array x = a.as_contiguous(), y = b.as_contiguous();
  if (x.raw_data() == y.raw_data()) return true;
  return std::memcmp(x.raw_data(), y.raw_data(), static_cast<std::size_t>(x.size() * array::item_size(x.dtype()))) == 0;
}

bool same_op(const Graph& graph_a, const Node& a, const Graph& graph_b, const Node& b) {
  if (a.kind != b.kind || a.dtype != b.dtype || !(graph_a.shapes[a.shape] == graph_b.shapes[b.shape])) return false;
  switch (a.kind) {
    case NodeKind::input:
      return a.which == b.which;
    case NodeKind::constant:
      return identical(graph_a.constants[a.which], graph_b.constants[b.which]);
    case NodeKind::elementwise:
      return a.op == b.op;
    case NodeKind::shaped:
      return a.rule == b.rule && *a.attributes == *b.attributes;
  }
  return false;
}

}  // namespace dualtape::program
