// SPDX-License-Identifier: MIT
// The eager tape: a flat record of what was applied, in order. A node is 24 bytes; nothing is counted, linked or
// freed per node, and a pass over the tape is a loop.
//
// A node of a scalar float64 keeps the value, and the places of its operands; partials are computed when a pass
// comes by, so that the same record serves first and higher derivatives. A constant operand is a node too (equal
// constants share one where they meet within a short while). Everything else (arrays, shaped ops, custom rules)
// has a Record beside the tape.
//
// Life cycle: a thread has one current tape or none. `Scope` opens a recording, or a scope nested in the one that
// is open, and closes it however the block is left. Start reading at `Tape`, then reverse.hpp.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <vector>

#include "dualtape/ops/op.hpp"
#include "dualtape/tape/shaped.hpp"
#include "dualtape/tape/var.hpp"

namespace dualtape::tape {

enum class Kind : std::uint8_t {
  constant,     // a value that nothing is known of
  leaf,         // a value to differentiate with respect to; may have one operand, whose identity it is
  scalar,       // an elementwise op on scalars, all in the node
  elementwise,  // an elementwise op with a record
  shaped,       // a shaped op with a record
  custom,       // a rule from outside with a record; outputs beyond the first are `companion` nodes behind it
  companion,
  opaque,  // a derivative computed without enable_higher_derivatives: no way through
};

struct Node {
  double value;        // of a scalar float64
  std::uint32_t a, b;  // operands of a scalar op; `a` of a leaf
  ops::Op op;
  Kind kind;
  std::uint8_t tracked;  // bit k: operand k leads to a leaf (scalar ops); bit 7: the output is a scalar float64
  std::uint32_t record;
};
static_assert(sizeof(Node) <= 32);
inline constexpr std::uint8_t kScalarOut = 0x80;

class CustomRule;
class Scope;
class Reopened;

/// An operand as a node remembers it: a constant has no node; linear rules keep no values.
struct Operand {
  Array value;
  std::uint32_t node = kNoNode;
  DType dtype = DType::f64;
  Dims shape;
};

/// What a node that is not a scalar op needs for its passes.
struct Record {
  std::vector<Operand> operands;
  Array out;
  DType out_dtype = DType::f64;
  Dims out_shape;
  const ShapedRule* rule = nullptr;
  std::unique_ptr<Attributes> attributes;
  std::shared_ptr<CustomRule> custom;
  std::uint32_t outputs = 1;
};

class Tape {
 public:
  Tape() = default;
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;
  ~Tape() { std::free(nodes_); }

  /// The tape of the recording that is open in this thread, or null.
  static Tape* current() { return current_; }
  /// The current tape where `var` is tracked on it, else null.
  static Tape* of(const Var& var) {
    return var.has_node() && current_ && current_->recording_ == var.recording() ? current_ : nullptr;
  }

  std::uint32_t recording() const { return recording_; }
  std::uint32_t size() const { return size_; }
  const Node& node(std::uint32_t i) const { return nodes_[i]; }
  const Node* nodes() const { return nodes_; }
  const Record& record(const Node& node) const { return records_[node.record]; }
  std::uint32_t record_count() const { return static_cast<std::uint32_t>(records_.size()); }
  /// Bytes held for nodes and records.
  std::size_t bytes() const;

  /// Appends an elementwise op on scalars and returns its place. `tracked` has a bit for each operand that is.
  std::uint32_t push_scalar(ops::Op op, std::uint32_t a, std::uint32_t b, std::uint8_t tracked, double value) {
    if (size_ == capacity_) [[unlikely]]
      grow();
    nodes_[size_] = Node{value, a, b, op, Kind::scalar, static_cast<std::uint8_t>(tracked | kScalarOut), 0};
    return size_++;
  }
  /// Appends a leaf, a constant or an opaque value that is a scalar; `a` is what a leaf is the identity of.
  std::uint32_t push_value(Kind kind, double value, std::uint32_t a = kNoNode) {
    if (size_ == capacity_) [[unlikely]]
      grow();
    nodes_[size_] = Node{value, a, kNoNode, {}, kind, kScalarOut, 0};
    return size_++;
  }
  /// The place of a constant.
  std::uint32_t push_constant(double value);
  /// Appends any other node.
  std::uint32_t push(Kind kind, ops::Op op, double value, std::uint8_t flags, std::uint32_t a, Record* record);

  /// A value to differentiate with respect to. Where `var` is tracked already, the leaf is its identity, so that
  /// an inner derivative does not see how the value came about while an outer one still does.
  Var leaf(const Var& var);
  /// A value through which no derivative may go, with the error that says why.
  Var opaque(const Array& value);
  /// True where a node of [first, size) depends on one before `first`.
  bool depends_on_earlier(std::uint32_t first) const;
  /// Forgets the nodes from `size` on.
  void truncate(std::uint32_t size);
  /// For each node of [first, size): does it depend on one before `first`?
  std::vector<bool> dependence_on_earlier(std::uint32_t first) const;

 private:
  friend class Apart;
  friend class Scope;
  friend class Reopened;
  void grow();
  void begin_recording();
  void end_recording();

  static constinit thread_local Tape* current_ __attribute__((tls_model("initial-exec")));

  Node* nodes_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = 0;
  std::uint32_t recording_ = 0;
  std::deque<Record> records_;  // a pass that records keeps references to older ones
  std::uint32_t recent_constants_[64] = {};
};

/// Makes a tape whose recording has closed the current one again for a block, so that a rule may run code on it.
class Reopened {
 public:
  explicit Reopened(Tape& tape) : before_(Tape::current_) { Tape::current_ = &tape; }
  Reopened(const Reopened&) = delete;
  Reopened& operator=(const Reopened&) = delete;
  ~Reopened() { Tape::current_ = before_; }

 private:
  Tape* before_;
};

/// Puts the current tape and its scopes aside for a block, so that a scope in it opens a recording of its own.
class Apart {
 public:
  Apart();
  Apart(const Apart&) = delete;
  Apart& operator=(const Apart&) = delete;
  ~Apart();

 private:
  Tape* tape_;
  Scope* scope_;
};

/// Opens a recording for a block of code, or a scope nested in the open one. Never leaves a tape open.
class Scope {
 public:
  /// On this thread's own tape, which is emptied when the outermost scope closes.
  Scope();
  /// On a tape that outlives the scope (vjp, linearize); in a nested scope the open tape is used all the same.
  explicit Scope(const std::shared_ptr<Tape>& tape);
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope() { close(); }

  /// The innermost scope of this thread, or null.
  static Scope* innermost() { return innermost_; }

  Tape& tape() const { return *tape_; }
  /// The first place of the scope.
  std::uint32_t first() const { return first_; }
  bool nested() const { return nested_; }
  /// `var` as it may leave the scope: a constant, or, in a nested scope, still tracked where it depends on values
  /// of the scopes around.
  Var outcome(const Var& var);
  void close();

 private:
  friend class Apart;
  void open(Tape* own);

  static constinit thread_local Scope* innermost_ __attribute__((tls_model("initial-exec")));

  Tape* tape_;
  Scope* outer_ = nullptr;
  std::uint32_t first_ = 0;
  bool nested_ = false;
  bool keep_ = false;
  bool open_ = true;
  std::vector<bool> depends_;
  bool analysed_ = false;
};

}  // namespace dualtape::tape
