// SPDX-License-Identifier: MIT
// The file of a program. All numbers are little-endian; text is its length (32 bits) and its bytes.
//
//   "dualtape program"   16 bytes
//   version              32 bits; this is version 1
//   length, checksum     64 bits each, of what follows (FNV-1a)
//   contraction          8 bits
//   shapes, lines, inputs, constants, nodes, segments: a count (32 bits) and so many entries each
//
// Ops and rules stand by name, because their numbers change between versions. A reader checks everything that it will
// rely on: numbers within range, operands before the nodes that read them, arities, and the dtype and shape of every
// node, which it computes anew on zeros. Nothing in a file is ever run.
#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "dualtape/array/elementwise.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/program/program.hpp"

namespace dualtape::program {
namespace {

static_assert(std::endian::native == std::endian::little, "the file format is little-endian");

constexpr std::string_view kMagic = "dualtape program";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeader = 16 + 4 + 8 + 8;

std::uint64_t checksum(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const int length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (length == 0 || i + static_cast<std::size_t>(length) > text.size()) return false;
    std::uint32_t code = length == 1 ? first : first & (0x7fu >> length);
    for (int k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + static_cast<std::size_t>(k)]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 0x3f);
    }
    constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
    i += static_cast<std::size_t>(length);
  }
  return true;
}

[[noreturn]] void fail(const std::string& what) {
  throw ShapeError("Program.load: " + what + "; save the program again.");
}

class Writer {
 public:
  std::string out;

  template <class T>
  void put(T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void count(std::size_t n) { put(static_cast<std::uint32_t>(n)); }
  void text(std::string_view text) {
    count(text.size());
    out += text;
  }
  void dims(const Dims& dims) {
    count(static_cast<std::size_t>(dims.size()));
    for (std::int64_t extent : dims) put(extent);
  }
  void array(const Array& value) {
    const Array x = value.as_contiguous();
    put(static_cast<std::uint8_t>(x.dtype()));
    dims(Dims(x.shape()));
    out.append(static_cast<const char*>(x.raw_data()),
               static_cast<std::size_t>(x.size() * array::item_size(x.dtype())));
  }
  void attributes(const Attributes& a) {
    dims(a.dims);
    put(a.axis);
    put(static_cast<std::uint8_t>(a.flag));
    put(static_cast<std::uint8_t>(a.dtype));
    count(a.slices.size());
    for (const array::Slice& slice : a.slices) put(slice.start), put(slice.step), put(slice.count);
    array(a.index);
  }
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <class T>
  T get() {
    if (rest_.size() < sizeof(T)) fail("the file is cut off");
    T value;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }
  std::size_t count() {
    const std::size_t n = get<std::uint32_t>();
    if (n > rest_.size()) fail("a count in the file is larger than the file");
    return n;
  }
  std::string_view bytes() {
    const std::size_t n = count();
    const std::string_view out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return out;
  }
  std::string text() {
    std::string out(bytes());
    if (!is_utf8(out)) fail("a text in the file is no UTF-8");
    return out;
  }
  Dims dims() {
    const std::size_t n = count();
    if (n > static_cast<std::size_t>(kMaxDims)) fail("a shape in the file has too many axes");
    Dims out;
    for (std::size_t i = 0; i < n; ++i) out.push_back(get<std::int64_t>());
    return out;
  }
  DType dtype() {
    const auto number = get<std::uint8_t>();
    if (number > static_cast<std::uint8_t>(DType::boolean)) fail("the file names an unknown dtype");
    return static_cast<DType>(number);
  }
  Array array() {
    const DType type = dtype();
    const Dims shape = dims();
    const std::int64_t bytes = element_count(shape) * array::item_size(type);
    if (bytes > static_cast<std::int64_t>(rest_.size())) fail("an array in the file is cut off");
    Array out = Array::empty(type, shape);
    std::memcpy(out.raw_writable_data(), rest_.data(), static_cast<std::size_t>(bytes));
    rest_.remove_prefix(static_cast<std::size_t>(bytes));
    return out;
  }
  Attributes attributes() {
    Attributes a;
    a.dims = dims();
    a.axis = get<std::int64_t>();
    a.flag = get<std::uint8_t>();
    a.dtype = dtype();
    a.slices.resize(count());
    for (array::Slice& slice : a.slices) {
      slice.start = get<std::int64_t>();
      slice.step = get<std::int64_t>();
      slice.count = get<std::int64_t>();
    }
    a.index = array();
    return a;
  }
  std::uint32_t below(std::size_t limit, const char* what) {
    const auto number = get<std::uint32_t>();
    if (number >= limit) fail(std::string("the file names ") + what + " that it does not have");
    return number;
  }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

void write(Writer& to, const Graph& graph) {
  to.count(graph.shapes.size());
  for (const Dims& shape : graph.shapes) to.dims(shape);
  to.count(graph.lines.size());
  for (const Line& line : graph.lines) to.text(line.file), to.text(line.function), to.put(std::int32_t{line.number});
  to.count(graph.constants.size());
  for (const Array& value : graph.constants) to.array(value);
  to.count(graph.nodes.size());
  for (const Node& node : graph.nodes) {
    to.put(static_cast<std::uint8_t>(node.kind));
    to.put(static_cast<std::uint8_t>(node.dtype));
    to.put(static_cast<std::uint8_t>(node.weak));
    to.put(node.shape);
    to.put(node.line);
    to.put(node.which);
    to.text(node.kind == NodeKind::elementwise ? ops::info(node.op).name
            : node.kind == NodeKind::shaped    ? node.rule->name()
                                               : std::string_view());
    if (node.kind == NodeKind::shaped) to.attributes(*node.attributes);
    if (node.kind == NodeKind::shaped && node.rule->has_payload()) to.text(node.attributes->payload->save());
    to.count(node.operands.size());
    for (NodeId id : node.operands) to.put(id);
  }
  to.count(graph.inputs.size());
  for (const Input& input : graph.inputs) to.text(input.name), to.put(input.node);
  to.count(graph.segments.size());
  for (const Segment& segment : graph.segments) {
    to.count(segment.nodes.size());
    for (NodeId id : segment.nodes) to.put(id);
    to.put(segment.decision);
    to.put(static_cast<std::uint8_t>(segment.decided));
    to.put(segment.line);
    to.count(segment.branches.size());
    for (const Branch& branch : segment.branches) to.put(branch.outcome), to.put(branch.segment);
    to.count(segment.results.size());
    for (NodeId id : segment.results) to.put(id);
  }
}

Node read_node(Reader& from, const Graph& graph, std::size_t id) {
  Node node;
  const auto kind = from.get<std::uint8_t>();
  if (kind > static_cast<std::uint8_t>(NodeKind::shaped)) fail("the file has a node of an unknown kind");
  node.kind = static_cast<NodeKind>(kind);
  node.dtype = from.dtype();
  node.weak = from.get<std::uint8_t>();
  node.shape = from.below(graph.shapes.size(), "a shape");
  node.line = from.below(graph.lines.size(), "a line");
  node.which = from.get<std::uint32_t>();
  const std::string name = from.text();
  if (node.kind == NodeKind::elementwise) {
    const auto op = ops::find(name);
    if (!op) fail("the file uses an op that this version does not have, " + name);
    node.op = *op;
  } else if (node.kind == NodeKind::shaped) {
    node.rule = tape::find_rule(name);
    if (!node.rule) fail("the file uses an op that this version does not have, " + name);
    Attributes attributes = from.attributes();
    if (node.rule->has_payload()) attributes.payload = node.rule->load(from.bytes());
    node.attributes = std::make_shared<const Attributes>(std::move(attributes));
  } else if (node.kind == NodeKind::constant && node.which >= graph.constants.size()) {
    fail("the file names a constant that it does not have");
  }
  std::vector<NodeId> operands(from.count());
  for (NodeId& operand : operands) operand = from.below(id, "an operand");
  if (node.kind == NodeKind::elementwise && static_cast<int>(operands.size()) != ops::info(node.op).arity) {
    fail("the file gives " + name + " a wrong number of operands");
  }
  node.operands = Operands(std::span<const NodeId>(operands));
  return node;
}

/// Shaped ops on more elements than this are not computed for a check, so a file cannot ask for any amount of work.
constexpr std::int64_t kMostElements = std::int64_t{1} << 28;

/// One zero, with as many axes as a node has.
Array one_element(const Graph& graph, NodeId id) {
  return Array::full(graph.nodes[id].dtype, Dims::filled(graph.shape(id).size(), 1), 0.0);
}
/// Zeros of a node's shape, without memory for each element.
Array stand_in(const Graph& graph, NodeId id) { return array::broadcast_to(one_element(graph, id), graph.shape(id)); }

/// The dtype and shape of what a node computes; the elements do not matter.
Array compute_elementwise(const Graph& graph, const Node& node) {
  std::vector<Array> values;
  std::vector<const Array*> pointers;
  std::vector<Shape> shapes;
  for (NodeId id : node.operands) {
    values.push_back(one_element(graph, id));
    shapes.push_back(graph.shape(id));
  }
  for (const Array& value : values) pointers.push_back(&value);
  const Array out = array::apply(node.op, pointers);
  const Dims shape = broadcast_shapes(ops::info(node.op).name, shapes);
  return array::broadcast_to(Array::full(out.dtype(), Dims::filled(shape.size(), 1), 0.0), shape);
}
Array compute_shaped(const Graph& graph, const Node& node) {
  const Attributes& a = *node.attributes;
  if (a.axis < 0 || std::any_of(a.dims.begin(), a.dims.end(), [](std::int64_t n) { return n < 0; }))
    fail("an axis or extent in the file is negative");
  std::vector<Array> values;
  std::vector<const Array*> pointers;
  std::int64_t elements = element_count(graph.shapes[node.shape]);
  for (NodeId id : node.operands) {
    values.push_back(stand_in(graph, id));
    elements = std::max(elements, graph.size(id));
  }
  for (const Array& value : values) pointers.push_back(&value);
  node.rule->check(pointers, a);
  if (const std::optional<Dims> shape = node.rule->infer(pointers, a)) {
    return array::broadcast_to(Array::full(DType::f64, Dims::filled(shape->size(), 1), 0.0), *shape);
  }
  if (elements > kMostElements) fail("the file has an op on more elements than can be checked");
  return node.rule->forward(pointers, a);
}

void check_node(const Graph& graph, const Node& node) {
  if (node.kind == NodeKind::constant) {
    const Array& value = graph.constants[node.which];
    if (value.dtype() != node.dtype || !same_shape(value.shape(), graph.shapes[node.shape]))
      fail("a constant in the file does not fit its node");
    return;
  }
  if (node.kind == NodeKind::input) return;
  Array out;
  try {
    out = node.kind == NodeKind::elementwise ? compute_elementwise(graph, node) : compute_shaped(graph, node);
  } catch (const Error& error) {
    fail(std::string("a node in the file does not compute: ") + error.what());
  }
  if (out.dtype() != node.dtype || !same_shape(out.shape(), graph.shapes[node.shape]))
    fail("a node in the file has another shape or dtype than it says");
}

Graph read(Reader& from) {
  Graph graph;
  for (std::size_t n = from.count(), i = 0; i < n; ++i) {
    if (graph.intern_shape(from.dims()) != i) fail("a shape stands in the file twice");
    element_count(graph.shapes.back());
  }
  for (std::size_t n = from.count(), i = 0; i < n; ++i) {
    Line line;
    line.file = from.text();
    line.function = from.text();
    line.number = from.get<std::int32_t>();
    if (graph.intern_line(line) != i) fail("the lines in the file are out of order");
  }
  for (std::size_t n = from.count(), i = 0; i < n; ++i) graph.constants.push_back(from.array());
  for (std::size_t n = from.count(), i = 0; i < n; ++i) {
    Node node = read_node(from, graph, i);
    graph.nodes.push_back(std::move(node));
    check_node(graph, graph.nodes.back());
  }
  for (std::size_t n = from.count(), i = 0; i < n; ++i) {
    Input input;
    input.name = from.text();
    input.node = from.below(graph.nodes.size(), "an input");
    if (graph.nodes[input.node].kind != NodeKind::input || graph.nodes[input.node].which != i)
      fail("the inputs in the file are out of order");
    graph.inputs.push_back(std::move(input));
  }
  for (std::size_t n = from.count(), i = 0; i < n; ++i) {
    Segment segment;
    segment.nodes.resize(from.count());
    for (NodeId& id : segment.nodes) {
      id = from.below(graph.nodes.size(), "a node");
      if (graph.nodes[id].kind == NodeKind::input) fail("an input stands in the file among what is computed");
    }
    segment.decision = from.get<NodeId>();
    if (segment.decision != kNone && (segment.decision >= graph.nodes.size() || graph.size(segment.decision) != 1))
      fail("a decision in the file does not fit");
    segment.decided = from.get<std::uint8_t>() ? Decision::integer : Decision::truth;
    segment.line = from.below(graph.lines.size(), "a line");
    segment.branches.resize(from.count());
    for (Branch& branch : segment.branches) {
      branch.outcome = from.get<std::int64_t>();
      branch.segment = from.get<std::uint32_t>();
      if (branch.segment <= i || branch.segment >= n) fail("a branch in the file leads nowhere");
    }
    segment.results.resize(from.count());
    for (NodeId& id : segment.results) id = from.below(graph.nodes.size(), "a result");
    if (segment.is_leaf() ? !segment.branches.empty() : segment.branches.empty() || !segment.results.empty())
      fail("a path in the file neither ends nor goes on");
    graph.segments.push_back(std::move(segment));
  }
  // A tree: one way leads to each segment but the first.
  std::vector<int> ways(graph.segments.size());
  for (const Segment& segment : graph.segments) {
    for (const Branch& branch : segment.branches) ++ways[branch.segment];
  }
  for (std::size_t i = 0; i < ways.size(); ++i) {
    if (ways[i] != (i > 0)) fail("the paths in the file are no tree");
  }
  return graph;
}

/// On each path, every node stands behind what it reads, and all leaves return as many results.
void check_paths(const Graph& graph) {
  std::vector<int> known(graph.nodes.size());
  for (const Input& input : graph.inputs) known[input.node] = 1;
  const std::vector<NodeId>* first = nullptr;  // the results of some path
  const auto need = [&](NodeId id) {
    if (!known[id]) fail("a node in the file is read before it is there");
  };
  graph.walk(
      [&](std::uint32_t number) {
        const Segment& segment = graph.segments[number];
        for (NodeId id : segment.nodes) {
          for (NodeId operand : graph.nodes[id].operands) need(operand);
          ++known[id];
        }
        if (!segment.is_leaf()) return need(segment.decision);
        for (NodeId id : segment.results) need(id);
        if (!first) first = &segment.results;
        const auto alike = [&](NodeId a, NodeId b) {
          return graph.nodes[a].dtype == graph.nodes[b].dtype && graph.nodes[a].shape == graph.nodes[b].shape;
        };
        if (!std::equal(first->begin(), first->end(), segment.results.begin(), segment.results.end(), alike))
          fail("paths in the file return different results");
      },
      [&](std::uint32_t number) {
        for (NodeId id : graph.segments[number].nodes) --known[id];
      });
}

}  // namespace

std::string Program::save() const {
  Writer body;
  body.put(static_cast<std::uint8_t>(contraction_));
  write(body, recorded_);
  Writer file;
  file.out = kMagic;
  file.put(kVersion);
  file.put(static_cast<std::uint64_t>(body.out.size()));
  file.put(checksum(body.out));
  return file.out + body.out;
}

std::shared_ptr<const Program> Program::load(std::string_view bytes) {
  if (bytes.size() < kHeader || bytes.substr(0, kMagic.size()) != kMagic) fail("this is no file of a program");
  Reader header(bytes.substr(kMagic.size(), kHeader - kMagic.size()));
  const auto version = header.get<std::uint32_t>();
  if (version != kVersion) {
    fail("the file has version " + std::to_string(version) + ", this dualtape reads version " +
         std::to_string(kVersion));
  }
  const std::string_view body = bytes.substr(kHeader);
  if (header.get<std::uint64_t>() != body.size()) fail("the file is cut off, or has something behind its end");
  if (header.get<std::uint64_t>() != checksum(body)) fail("the file has been altered: its checksum is wrong");
  try {
    Reader from(body);
    const bool contraction = from.get<std::uint8_t>();
    Graph graph = read(from);
    if (!from.done()) fail("the file has something behind its end");
    if (graph.segments.empty()) fail("the file holds no path");
    check_paths(graph);
    return std::make_shared<const Program>(std::move(graph), contraction);
  } catch (const Error& error) {
    // An op may find out first that a shape or an attribute is none.
    if (std::string_view(error.what()).starts_with("Program.load: ")) throw;
    fail("the file holds what no program does: " + std::string(error.what()));
  } catch (const std::bad_alloc&) {
    fail("the file holds arrays that are larger than memory");
  }
}

}  // namespace dualtape::program
