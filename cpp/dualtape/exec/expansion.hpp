// SPDX-License-Identifier: MIT
// Expansion: instructions on small arrays as single numbers, for machine code. Ops that only move elements cost
// nothing then, and what is known of an element (that it is a constant, or zero) saves what would be computed with it:
// a Hessian with few elements that are not zero costs what those cost. Bits are those of the interpreter, the sign of
// zero included.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dualtape/exec/workspace.hpp"
#include "dualtape/machine/body.hpp"

namespace dualtape::exec {

class Expansion {
 public:
  /// The constants of code by their values.
  using Constants = std::unordered_map<ValueId, const Array*>;
  /// For instructions of one dtype whose values are in `home`, a workspace for one lane.
  Expansion(const Workspace& home, const Constants& constants, DType dtype)
      : home_(home), code_(home.code()), constants_(constants), dtype_(dtype) {}

  /// The next instruction; false where it is not made of few numbers and light ops.
  bool add(const Instruction& at);
  /// Numbers that it knows so far, and those of them that are computed and not known to be zero.
  std::size_t numbers() const { return nodes_.size(); }
  std::int64_t operations() const { return operations_; }
  /// All of it as a body that stores the values that are read behind the instructions; nothing where it would be longer
  /// than `most` lines. Where nothing else is ever stored in the place of a value (`alone`), elements that are
  /// constants are left out: they are to be written once, bytes from the beginning of the varying values.
  struct Result {
    machine::Body body;
    std::vector<std::pair<std::int64_t, double>> constants;
  };
  std::optional<Result> body(const std::vector<ValueId>& wanted, const std::function<bool(ValueId)>& alone,
                             std::size_t most);

 private:
  using NodeId = std::int32_t;
  using Elements = std::vector<NodeId>;
  struct Node {
    enum class Kind : std::uint8_t { input, constant, op } kind;
    ops::Op op{};
    bool zero = false;  // known to be 0 or -0
    NodeId operands[3] = {-1, -1, -1};
    double value = 0.0;       // constant
    std::int64_t offset = 0;  // input: bytes from the beginning of the varying values
  };
  const Elements* elements(ValueId id);
  bool elementwise(const Instruction& at, const std::vector<const Elements*>& operands, Elements& out);
  bool moved(const tape::ShapedRule& rule, const tape::Attributes& attributes, const std::vector<ValueId>& ids,
             const std::vector<const Elements*>& operands, Elements& out);
  NodeId push(Node node);
  NodeId constant(double value) { return push({Node::Kind::constant, {}, value == 0.0, {-1, -1, -1}, value, 0}); }
  NodeId op(ops::Op op, const NodeId* operands, int arity);
  std::int64_t offset_of(ValueId id) const { return static_cast<char*>(home_.data(id)) - home_.varying(); }

  const Workspace& home_;
  const Code& code_;
  const Constants& constants_;
  DType dtype_;
  std::vector<Node> nodes_;
  std::int64_t operations_ = 0;
  std::unordered_map<ValueId, Elements> elements_;
};

}  // namespace dualtape::exec
