// SPDX-License-Identifier: MIT
#include "dualtape/loop/rolled.hpp"

#include <bit>
#include <cstring>
#include <tuple>

#include "dualtape/array/convert.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/program/assemble.hpp"

namespace dualtape::loop {
namespace {

std::shared_ptr<const exec::Code> code_of(const program::Graph& graph, std::size_t states) {
  program::Selection all;
  all.included.assign(graph.nodes.size(), true);
  for (const program::Input& input : graph.inputs) {
    all.included[input.node] = false;
    all.inputs.push_back(input.node);
    all.varying.push_back(true);
  }
  all.tree = true;
  all.states = states;
  return program::assemble(graph, all).code;
}

Leaf leaf_of(const program::Graph& graph, program::NodeId node) {
  return {graph.nodes[node].dtype, graph.shape(node), graph.size(node)};
}

const program::Segment& only_segment(const program::Graph& graph) {
  if (graph.segments.size() != 1) throw TapeError("rolled: a step that decides on its values cannot stay rolled.");
  return graph.segments[0];
}

}  // namespace

Stepper::Stepper(const program::Graph& graph, std::size_t states) : code_(code_of(graph, states)) {
  only_segment(graph);
}

std::unique_ptr<exec::Workspace> Stepper::take(std::int64_t lanes) const {
  const std::lock_guard lock(mutex_);
  for (auto& workspace : spare_) {
    if (workspace->capacity() != lanes) continue;
    std::swap(workspace, spare_.back());
    std::unique_ptr<exec::Workspace> out = std::move(spare_.back());
    spare_.pop_back();
    return out;
  }
  auto out = std::make_unique<exec::Workspace>(code_, lanes);
  for (const auto& [capacity, kernels] : kernels_) {
    if (capacity != lanes) continue;
    out->fuse(kernels);
    return out;
  }
  constexpr std::int64_t kFewestNumbers = 2;  // a step is run often, and most steps are short
  kernels_.emplace_back(lanes, exec::Fusion::of(*out, kFewestNumbers));
  out->fuse(kernels_.back().second);
  return out;
}

Stepper::Lent::Lent(const Stepper& from, std::int64_t lanes) : from_(&from), workspace_(from.take(lanes)) {
  std::tie(kernel_, call_) = workspace_->only_kernel();
  for (const auto& [source, target] : from.code().moves) {
    const exec::Value& value = from.code().values[target];
    moves_.push_back({workspace_->data(source), workspace_->data(target),
                      static_cast<std::size_t>(value.bytes() * workspace_->capacity())});
  }
}

Stepper::Lent::~Lent() {
  if (!workspace_) return;
  constexpr std::size_t kMostSpare = 4;
  const std::lock_guard lock(from_->mutex_);
  if (from_->spare_.size() < kMostSpare) from_->spare_.push_back(std::move(workspace_));
}

Port Stepper::Lent::port(exec::ValueId id) {
  const exec::Value& value = from_->code().values[id];
  const std::int64_t lanes = workspace_->capacity(), numbers = value.size * (value.varying ? lanes : 1);
  return {static_cast<char*>(workspace_->data(id)), static_cast<std::size_t>(numbers * array::item_size(value.dtype)),
          value.dtype, numbers, value.varying ? 1 : lanes};
}

void Port::fill(const double* from) const {
  if (dtype == DType::f64) return copy_from(reinterpret_cast<const char*>(from));
  array::dispatch(dtype, [&]<class T>() {
    T* to = reinterpret_cast<T*>(at);
    for (std::int64_t i = 0; i < numbers; ++i) to[i] = static_cast<T>(from[i]);
  });
}

void Port::fill_lane(const double* from, std::int64_t lane, std::int64_t lanes) const {
  array::dispatch(dtype, [&]<class T>() {
    T* to = reinterpret_cast<T*>(at);
    for (std::int64_t i = lane; i < numbers; i += lanes) to[i] = from ? static_cast<T>(from[i]) : T{};
  });
}

void Port::store_converted(double* to) const {
  array::dispatch(dtype, [&]<class T>() {
    const T* from = reinterpret_cast<const T*>(at);
    for (std::int64_t i = 0; i < numbers; ++i) {
      for (std::int64_t lane = 0; lane < repeat; ++lane) *to++ = static_cast<double>(from[i]);
    }
  });
}

char* Stepper::Lent::inputs(std::size_t first) const {
  return static_cast<char*>(workspace_->data(from_->code().inputs[first]));
}
std::size_t Stepper::Lent::bytes(std::size_t first, std::size_t last) const {
  if (first == last) return 0;
  const exec::Code& code = from_->code();
  const exec::Value &a = code.values[code.inputs[first]], &b = code.values[code.inputs[last - 1]];
  return static_cast<std::size_t>((b.offset - a.offset + b.bytes()) * workspace_->capacity());
}

Rolled::Rolled(Parts parts) : parts_(std::move(parts)) {
  const program::Graph& graph = parts_.step->graph();
  const std::vector<program::NodeId>& results = only_segment(graph).results;
  if (graph.inputs.size() != parts_.carry + parts_.outside + parts_.entries ||
      results.size() != parts_.carry + (is_while() ? 1 : parts_.outputs) || parts_.length < 0 ||
      (is_while() && (parts_.entries || parts_.outputs || parts_.length ||
                      parts_.start->graph().inputs.size() != graph.inputs.size() ||
                      only_segment(parts_.start->graph()).results.size() != 1))) {
    throw ShapeError("rolled: the program of the step has other inputs or results than the loop.");
  }
  for (const program::Input& input : graph.inputs) operands_.push_back(leaf_of(graph, input.node));
  for (std::size_t i = 0; i < parts_.carry; ++i) {
    const Leaf after = leaf_of(graph, results[i]);
    if (after.dtype != operands_[i].dtype || !(after.shape == operands_[i].shape)) {
      throw ShapeError("rolled: the carry must keep its dtypes and shapes.");
    }
    offsets_.push_back(result_size_);
    result_size_ += after.size;
  }
  for (std::size_t i = 0; i < parts_.outputs; ++i) {
    outputs_.push_back(leaf_of(graph, results[parts_.carry + i]));
    offsets_.push_back(result_size_);
    result_size_ += outputs_.back().size * parts_.length;
  }
  for (std::size_t i = 0; i < operands_.size(); ++i) {
    pulled_offsets_.push_back(operands_[i].differentiable() ? pulled_size_ : -1);
    if (operands_[i].differentiable()) pulled_size_ += numbers(i);
    if (!is_entry(i)) entries_begin_ = pulled_size_;
  }
  stepper_ = std::make_unique<Stepper>(graph, parts_.carry);
  if (is_while()) starter_ = std::make_unique<Stepper>(parts_.start->graph(), 0);
}

std::int64_t Rolled::numbers(std::size_t operand) const {
  return operands_[operand].size * (is_entry(operand) ? parts_.length : 1);
}

Dims Rolled::full_shape(std::size_t operand) const {
  Dims shape = operands_[operand].shape;
  if (is_entry(operand)) shape.insert(0, parts_.length);
  return shape;
}

std::shared_ptr<const Rolled> Rolled::pushed(std::span<const Array> samples) const {
  const std::lock_guard lock(mutex_);
  if (pushed_) return pushed_;
  Parts parts = parts_;
  parts.step = std::make_shared<const Program>(pushed_graph(*this, samples), parts_.step->contraction());
  const auto count = [&](std::size_t first, std::size_t last) {
    std::size_t out = last - first;
    for (std::size_t i = first; i < last; ++i) out += operands_[i].differentiable();
    return out;
  };
  parts.carry = count(0, parts_.carry);
  parts.outside = count(parts_.carry, parts_.carry + parts_.outside);
  parts.entries = count(parts_.carry + parts_.outside, operands_.size());
  for (const Leaf& output : outputs_) parts.outputs += output.differentiable();
  if (is_while()) {
    parts.start = std::make_shared<const Program>(pushed_start_graph(*this, samples), parts_.start->contraction());
  }
  pushed_ = std::make_shared<const Rolled>(std::move(parts));
  return pushed_;
}

const Stepper& Rolled::pulled(std::span<const Array> samples) const {
  const std::lock_guard lock(mutex_);
  if (pulled_) return *pulled_;
  std::size_t states = 0;
  for (std::size_t i = 0; i < parts_.carry + parts_.outside; ++i) states += operands_[i].differentiable();
  const Program program(pulled_graph(*this, samples), parts_.step->contraction());
  pulled_ = std::make_unique<Stepper>(program.graph(), states);
  return *pulled_;
}

void Rolled::leave(Kept kept) const {
  const std::lock_guard lock(mutex_);
  kept_ = std::move(kept);
}

std::optional<Kept> Rolled::take(std::span<const Array> operands) const {
  const std::lock_guard lock(mutex_);
  if (!kept_) return std::nullopt;
  // The same memory: nobody writes to it while it is held.
  const auto same = [](const Array& a, const Array& b) {
    if (a.is_scalar() || b.is_scalar()) {
      return a.is_scalar() && b.is_scalar() &&
             std::bit_cast<std::uint64_t>(a.scalar()) == std::bit_cast<std::uint64_t>(b.scalar());
    }
    return a.raw_data() == b.raw_data() && a.buffer() == b.buffer();
  };
  for (std::size_t i = 0; i < operands_.size(); ++i) {
    if (!same(kept_->operands[i], operands[i])) return std::nullopt;
  }
  return std::exchange(kept_, std::nullopt);
}

namespace {

void put(std::string& out, std::int64_t number) { out.append(reinterpret_cast<const char*>(&number), sizeof number); }
std::int64_t get(std::string_view& rest) {
  std::int64_t number = 0;
  if (rest.size() < sizeof number) throw ShapeError("Program.load: a rolled loop in the file is cut off.");
  std::memcpy(&number, rest.data(), sizeof number);
  rest.remove_prefix(sizeof number);
  return number;
}
std::string_view part(std::string_view& rest) {
  const std::int64_t size = get(rest);
  if (size < 0 || size > static_cast<std::int64_t>(rest.size())) {
    throw ShapeError("Program.load: a rolled loop in the file is cut off.");
  }
  const std::string_view out = rest.substr(0, static_cast<std::size_t>(size));
  rest.remove_prefix(out.size());
  return out;
}

}  // namespace

std::string Rolled::save() const {
  std::string out;
  for (const std::size_t count : {parts_.carry, parts_.outside, parts_.entries, parts_.outputs}) {
    put(out, static_cast<std::int64_t>(count));
  }
  put(out, parts_.length);
  put(out, parts_.reverse);
  for (const auto& program : {parts_.step, parts_.start}) {
    const std::string bytes = program ? program->save() : std::string();
    put(out, static_cast<std::int64_t>(bytes.size()));
    out += bytes;
  }
  return out;
}

std::string Rolled::text() const {
  const std::size_t nodes = only_segment(parts_.step->graph()).nodes.size();
  const std::string step = std::to_string(nodes) + (nodes == 1 ? " instruction a step" : " instructions a step");
  return (is_while() ? "while" : std::to_string(parts_.length) + " steps") + ", " + step;
}

std::shared_ptr<const Rolled> Rolled::load(std::string_view bytes) {
  Parts parts;
  for (std::size_t* count : {&parts.carry, &parts.outside, &parts.entries, &parts.outputs}) {
    const std::int64_t given = get(bytes);
    if (given < 0 || given > 1 << 24) throw ShapeError("Program.load: a rolled loop in the file has no such inputs.");
    *count = static_cast<std::size_t>(given);
  }
  parts.length = get(bytes);
  parts.reverse = get(bytes) != 0;
  parts.step = Program::load(part(bytes));
  if (const std::string_view start = part(bytes); !start.empty()) parts.start = Program::load(start);
  return std::make_shared<const Rolled>(std::move(parts));
}

}  // namespace dualtape::loop
