// SPDX-License-Identifier: MIT
#include "dualtape/tape/tape.hpp"

#include <atomic>
#include <bit>
#include <cstring>
#include <new>

#include "dualtape/base/error.hpp"
#include "dualtape/tape/recorder.hpp"

namespace dualtape::tape {
namespace {

constexpr std::uint32_t kFirstCapacity = 1u << 10;
constexpr std::uint32_t kKeptCapacity = 1u << 16;  // nodes kept between recordings; a longer tape is given back

/// The next number from a counter. 0 stands for none, and after an hour or so of short recordings the count wraps.
std::uint32_t next_number(std::atomic<std::uint32_t>& counter) {
  std::uint32_t number;
  do number = counter.fetch_add(1, std::memory_order_relaxed);
  while (number == 0);
  return number;
}

std::uint32_t new_recording() {
  static std::atomic<std::uint32_t> next{1};
  return next_number(next);
}

Tape& own_tape() {
  static thread_local const auto tape = std::make_unique<Tape>();  // on the heap: see caches() in base/buffer.cpp
  return *tape;
}

}  // namespace

constinit thread_local Tape* Tape::current_ = nullptr;
constinit thread_local Scope* Scope::innermost_ = nullptr;

std::uint32_t new_level() {
  static std::atomic<std::uint32_t> next{1};
  return next_number(next);
}

void Tape::grow() {
  if (size_ >= kNoNode / 2)
    throw TapeError("tape: more than 2,147,483,647 nodes; use checkpoint to record less at a time.");
  const std::uint32_t capacity = capacity_ ? 2 * capacity_ : kFirstCapacity;
  // realloc moves pages instead of copying them where the system can, and untouched pages cost nothing.
  void* nodes = std::realloc(nodes_, std::size_t{capacity} * sizeof(Node));
  if (!nodes) throw std::bad_alloc();
  nodes_ = static_cast<Node*>(nodes);
  capacity_ = capacity;
}

void Tape::begin_recording() { recording_ = new_recording(); }

void Tape::end_recording() {
  recording_ = 0;
  size_ = 0;
  records_.clear();
  if (capacity_ > kKeptCapacity) {
    std::free(nodes_);
    nodes_ = nullptr;
    capacity_ = 0;
  }
}

void Tape::truncate(std::uint32_t size) {
  while (size_ > size) {
    const Node& node = nodes_[--size_];
    if (node.kind != Kind::scalar && node.kind != Kind::constant && node.record + 1 == records_.size() && node.record)
      records_.pop_back();
  }
}

std::size_t Tape::bytes() const { return std::size_t{size_} * sizeof(Node) + records_.size() * sizeof(Record); }

std::uint32_t Tape::push_constant(double value) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(value);
  std::uint32_t& recent = recent_constants_[(bits * 0x9e3779b97f4a7c15u) >> 58];
  // The entry proves itself: whatever stands there must be a constant with the same bits (-0.0 is not 0.0).
  if (recent < size_ && nodes_[recent].kind == Kind::constant &&
      std::bit_cast<std::uint64_t>(nodes_[recent].value) == bits) {
    return recent;
  }
  return recent = push_value(Kind::constant, value);
}

std::uint32_t Tape::push(Kind kind, ops::Op op, double value, std::uint8_t flags, std::uint32_t a, Record* record) {
  if (size_ == capacity_) grow();
  std::uint32_t place = 0;
  if (record) {
    place = static_cast<std::uint32_t>(records_.size());
    records_.push_back(std::move(*record));
  }
  nodes_[size_] = Node{value, a, kNoNode, op, kind, flags, place};
  return size_++;
}

Var Tape::leaf(const Var& given) {
  const Var var = Recorder::known(given);
  const Array& value = var.value();
  const std::uint32_t origin = of(var) == this ? var.node() : kNoNode;
  if (value.is_scalar()) return Var(value, push_value(Kind::leaf, value.scalar(), origin), recording_);
  Record record;
  record.out = value;
  record.out_dtype = value.dtype();
  record.out_shape = Dims(value.shape());
  return Var(value, push(Kind::leaf, {}, 0.0, 0, origin, &record), recording_);
}

Var Tape::opaque(const Array& value) {
  if (value.is_scalar()) return Var(value, push_value(Kind::opaque, value.scalar()), recording_);
  Record record;
  record.out = value;
  record.out_dtype = value.dtype();
  record.out_shape = Dims(value.shape());
  return Var(value, push(Kind::opaque, {}, 0.0, 0, kNoNode, &record), recording_);
}

std::vector<bool> Tape::dependence_on_earlier(std::uint32_t first) const {
  std::vector<bool> depends(size_ - first);
  const auto earlier = [&](std::uint32_t operand) {
    return operand != kNoNode && (operand < first || depends[operand - first]);
  };
  for (std::uint32_t i = first; i < size_; ++i) {
    const Node& node = nodes_[i];
    bool found = false;
    if (node.kind == Kind::scalar) {
      found = ((node.tracked & 1) && earlier(node.a)) || ((node.tracked & 2) && earlier(node.b));
    } else if (node.kind == Kind::leaf) {
      found = earlier(node.a);
    } else if (node.kind == Kind::companion) {
      found = depends[node.a - first];
    } else if (node.kind != Kind::constant && node.kind != Kind::opaque) {
      for (const Operand& operand : records_[node.record].operands) found = found || earlier(operand.node);
    }
    depends[i - first] = found;
  }
  return depends;
}

bool Tape::depends_on_earlier(std::uint32_t first) const {
  for (bool depends : dependence_on_earlier(first)) {
    if (depends) return true;
  }
  return false;
}

Apart::Apart() : tape_(Tape::current_), scope_(Scope::innermost_) {
  Tape::current_ = nullptr;
  Scope::innermost_ = nullptr;
}
Apart::~Apart() {
  Tape::current_ = tape_;
  Scope::innermost_ = scope_;
}

Scope::Scope() { open(&own_tape()); }

Scope::Scope(const std::shared_ptr<Tape>& tape) {
  open(tape.get());
  keep_ = !nested_;
}

void Scope::open(Tape* own) {
  nested_ = Tape::current_ != nullptr;
  tape_ = nested_ ? Tape::current_ : own;
  if (!nested_) tape_->begin_recording();
  first_ = tape_->size();
  outer_ = innermost_;
  Tape::current_ = tape_;
  innermost_ = this;
}

Var Scope::outcome(const Var& var) {
  if (var.is_dual()) {
    return Var::dual(var.level(), outcome(var.primal()), outcome(var.tangent()), var.directions());
  }
  if (Tape::of(var) != tape_) return var.has_node() ? var.constant() : var;
  if (!nested_) return var.constant();
  if (var.node() < first_) return var;
  if (!analysed_) {
    depends_ = tape_->dependence_on_earlier(first_);
    analysed_ = true;
  }
  return depends_[var.node() - first_] ? var : var.constant();
}

void Scope::close() {
  if (!open_) return;
  open_ = false;
  innermost_ = outer_;
  if (nested_) return;
  Tape::current_ = nullptr;
  if (!keep_) tape_->end_recording();
}

}  // namespace dualtape::tape
