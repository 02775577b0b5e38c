// SPDX-License-Identifier: MIT
// fold, share, contract and dead; the rules of algebra have a file of their own (simplify.cpp).
#include "dualtape/program/passes.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "dualtape/array/elementwise.hpp"
#include "dualtape/program/rewrite.hpp"

namespace dualtape::program {
namespace {

using ops::Op;

/// Constants larger than this are not made out of smaller ones.
constexpr std::int64_t kLargestFolded = 4096;

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
  return hash;
}

std::uint64_t hash_of(const Graph& graph, const Node& node) {
  std::uint64_t hash = mix(static_cast<std::uint64_t>(node.kind), static_cast<std::uint64_t>(node.op));
  hash = mix(mix(hash, node.shape), reinterpret_cast<std::uintptr_t>(node.rule));
  for (NodeId operand : node.operands) hash = mix(hash, operand);
  if (node.kind == NodeKind::constant && graph.constants[node.which].size() == 1) {
    hash = mix(hash, std::bit_cast<std::uint64_t>(graph.constants[node.which].item()));
  }
  return hash;
}

/// The operands of a product, with the sign taken out of them.
struct Product {
  NodeId a, b;
  bool negative;
  bool strong;
  int depth;  // ops one after another up to its factors
};

}  // namespace

Graph fold(const Graph& graph) {
  Rewrite rewrite(graph);
  return rewrite.run([&](const Node& node) -> NodeId {
    const bool constant = std::all_of(node.operands.begin(), node.operands.end(),
                                      [&](NodeId id) { return rewrite.node(id).kind == NodeKind::constant; });
    const bool op = node.kind == NodeKind::elementwise || node.kind == NodeKind::shaped;
    if (!op || !constant || element_count(graph.shapes[node.shape]) > kLargestFolded) return rewrite.append(node);
    std::vector<const Array*> values;
    for (NodeId id : node.operands) values.push_back(&rewrite.out().constant(id));
    const Array value = node.kind == NodeKind::elementwise ? array::apply(node.op, values)
                                                           : node.rule->forward(values, *node.attributes);
    return rewrite.append_constant(value, node.line);
  });
}

Graph share(const Graph& graph) {
  Rewrite rewrite(graph);
  // Nodes by their hashes: the newest of each bucket, and of each node the one before it. `order` is that in which
  // they came, so that a segment's can be taken back.
  std::vector<NodeId> newest(std::bit_ceil(2 * graph.nodes.size() + 1), kNone), before(graph.nodes.size(), kNone);
  std::vector<std::pair<std::size_t, NodeId>> order;
  order.reserve(graph.nodes.size());
  return rewrite.run(
      [&](const Node& node) -> NodeId {
        const std::size_t bucket = hash_of(graph, node) & (newest.size() - 1);
        for (NodeId id = newest[bucket]; id != kNone; id = before[id]) {
          if (same_op(rewrite.out(), rewrite.node(id), rewrite.out(), node) &&
              rewrite.node(id).operands == node.operands) {
            return id;
          }
        }
        const NodeId id = rewrite.append(node);
        before[id] = std::exchange(newest[bucket], id);
        order.emplace_back(bucket, id);
        return id;
      },
      [&](std::uint32_t segment) {
        // What a segment computes is not there for its siblings.
        for (std::size_t i = rewrite.out().segments[segment].nodes.size(); i-- > 0;) {
          newest[order.back().first] = before[order.back().second];
          order.pop_back();
        }
      });
}

Graph contract(const Graph& graph) {
  Rewrite rewrite(graph);
  const auto strip = [&](NodeId id, bool& negative) {
    if (!rewrite.is_op(id, Op::negative)) return id;
    negative = !negative;
    return rewrite.node(id).operands[0];
  };
  std::vector<int> depths;
  const auto depth = [&](NodeId id) {
    while (depths.size() < rewrite.out().nodes.size()) {
      int most = 0;
      for (NodeId operand : rewrite.node(static_cast<NodeId>(depths.size())).operands) {
        most = std::max(most, depths[operand] + 1);
      }
      depths.push_back(most);
    }
    return depths[id];
  };
  // A product whose dtype is that of the sum, whatever its shape: fused, it costs what the sum alone cost.
  const auto product = [&](NodeId id, const Node& sum) -> std::optional<Product> {
    const Node& node = rewrite.node(id);
    if (node.kind != NodeKind::elementwise || node.dtype != sum.dtype) return std::nullopt;
    const bool strong = node.op == Op::strong_multiply;
    if (node.op != Op::multiply && node.op != Op::square && !strong) return std::nullopt;
    Product out{node.operands[0], node.operands[node.op == Op::square ? 0 : 1], false, strong, depth(id)};
    if (rewrite.node(out.a).dtype != sum.dtype || rewrite.node(out.b).dtype != sum.dtype) return std::nullopt;
    if (node.op == Op::multiply) {
      out.a = strip(out.a, out.negative);
      out.b = strip(out.b, out.negative);
    }
    return out;
  };
  return rewrite.run([&](const Node& node) -> NodeId {
    const bool add = node.kind == NodeKind::elementwise && node.op == Op::add;
    const bool subtract = node.kind == NodeKind::elementwise && node.op == Op::subtract;
    if ((!add && !subtract) || !array::is_float(node.dtype)) return rewrite.append(node);
    const NodeId left = node.operands[0], right = node.operands[1];
    if (rewrite.node(left).dtype != node.dtype || rewrite.node(right).dtype != node.dtype) return rewrite.append(node);
    auto of_left = product(left, node), of_right = product(right, node);
    // Of two products, the one that is there last is taken in: the sum need not wait for it twice.
    if (of_left && of_right) (of_left->depth >= of_right->depth ? of_right : of_left).reset();
    if (of_left) {
      // p + c, p - c, and with a negative factor c - |p|; -|p| - c is left as it is.
      if (of_left->strong) {
        if (add && !of_left->negative) {
          return rewrite.append_op(Op::strong_multiply_add, {of_left->a, of_left->b, right}, node);
        }
      } else if (add) {
        const Op op = of_left->negative ? Op::subtract_product : Op::multiply_add;
        return rewrite.append_op(op, {of_left->a, of_left->b, right}, node);
      } else if (!of_left->negative) {
        return rewrite.append_op(Op::multiply_subtract, {of_left->a, of_left->b, right}, node);
      }
    }
    if (of_right) {
      const bool minus = of_right->negative != subtract;
      if (!of_right->strong) {
        const Op op = minus ? Op::subtract_product : Op::multiply_add;
        return rewrite.append_op(op, {of_right->a, of_right->b, left}, node);
      }
      if (!minus) return rewrite.append_op(Op::strong_multiply_add, {of_right->a, of_right->b, left}, node);
    }
    return rewrite.append(node);
  });
}

Graph dead(const Graph& graph) {
  std::vector<bool> needed(graph.nodes.size());
  const auto need = [&](NodeId id) { needed[id] = true; };
  for (const Segment& segment : graph.segments) {
    if (segment.decision != kNone) need(segment.decision);
    for (NodeId id : segment.results) need(id);
  }
  // Operands stand before the nodes that read them, on every path.
  for (std::size_t id = graph.nodes.size(); id-- > 0;) {
    if (!needed[id]) continue;
    for (NodeId operand : graph.nodes[id].operands) need(operand);
  }
  Graph lean = graph;
  for (Segment& segment : lean.segments) {
    std::erase_if(segment.nodes, [&](NodeId id) { return !needed[id]; });
  }
  Rewrite compact(lean);
  Graph out = compact.run([&](const Node& node) -> NodeId { return compact.append(node); });
  // Constants that nobody reads any more go too.
  std::vector<Array> constants;
  for (Node& node : out.nodes) {
    if (node.kind != NodeKind::constant) continue;
    constants.push_back(out.constants[node.which]);
    node.which = static_cast<std::uint32_t>(constants.size() - 1);
  }
  out.constants = std::move(constants);
  return out;
}

Graph optimize(const Graph& graph, bool contraction) {
  Graph out = share(simplify(fold(graph)));
  if (contraction) out = share(contract(share(simplify(regroup(out)))));
  return dead(out);
}

}  // namespace dualtape::program
