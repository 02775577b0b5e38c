// SPDX-License-Identifier: MIT
#include "dualtape/program/graph.hpp"

#include <cstring>

namespace dualtape::program {

namespace {

/// So many are looked through one by one.
constexpr std::size_t kFew = 16;

std::string key_of(const Dims& shape) {
  return {reinterpret_cast<const char*>(shape.begin()), static_cast<std::size_t>(shape.size()) * sizeof(std::int64_t)};
}
std::string key_of(const Line& line) { return line.file + ":" + std::to_string(line.number) + ":" + line.function; }

template <class All, class One, class Index>
std::uint32_t intern(All& all, const One& one, Index& index) {
  if (all.size() <= kFew) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i] == one) return static_cast<std::uint32_t>(i);
    }
    all.push_back(one);
    return static_cast<std::uint32_t>(all.size() - 1);
  }
  if (index.size() != all.size()) {
    index.clear();
    for (std::size_t i = 0; i < all.size(); ++i) index.try_emplace(key_of(all[i]), static_cast<std::uint32_t>(i));
  }
  const auto [at, fresh] = index.try_emplace(key_of(one), static_cast<std::uint32_t>(all.size()));
  if (fresh) all.push_back(one);
  return at->second;
}

}  // namespace

std::uint32_t Graph::intern_shape(const Dims& shape) { return intern(shapes, shape, shape_index_); }
std::uint32_t Graph::intern_line(const Line& line) { return intern(lines, line, line_index_); }

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
