// SPDX-License-Identifier: MIT
// Shaped ops: everything that is not elementwise. Each is one ShapedRule, which states its forward kernel and its
// derivative in terms of Vars, once; that derivative serves numeric passes, recorded ones and duals alike.
// The rules themselves stand in shaped_*.cpp; functions.hpp gives them their everyday names.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dualtape/array/views.hpp"
#include "dualtape/tape/var.hpp"

namespace dualtape::tape {

/// What a rule of a higher floor needs to know beyond numbers: the body of a rolled loop.
class Payload {
 public:
  virtual ~Payload() = default;
  /// All of it as bytes, for files of programs; the rule's `load` reads them.
  virtual std::string save() const = 0;
  /// What it is, in a few words, where a program is printed.
  virtual std::string text() const = 0;
};

/// Lanes whose results count: the first `count`, or those whose bits are set. The others hold any numbers.
struct ActiveLanes {
  std::int64_t count = 0;
  const std::uint64_t* bits = nullptr;
  bool has(std::int64_t lane) const {
    return lane < count && (!bits || (bits[lane / 64] >> static_cast<unsigned>(lane % 64) & 1));
  }
};

/// The parameters of a shaped op; each rule says which it reads.
struct Attributes {
  Dims dims;  // axes, a permutation, or a shape
  std::int64_t axis = 0;
  bool flag = false;  // keepdims, or reverse
  DType dtype = DType::f64;
  std::vector<array::Slice> slices;
  Array index;
  std::shared_ptr<const Payload> payload;

  /// Equal in every field; index arrays by their elements.
  friend bool operator==(const Attributes& a, const Attributes& b);
};

/// One application as its derivative sees it. Values are there unless the rule is linear; shapes always.
struct Call {
  std::span<const Var> operands;
  const Var& out;
  std::span<const Dims> shapes;
  std::span<const DType> dtypes;
  const Attributes& attributes;
};

class ShapedRule {
 public:
  virtual ~ShapedRule() = default;
  virtual std::string_view name() const = 0;
  virtual Array forward(std::span<const Array* const> operands, const Attributes& attributes) const = 0;
  /// Throws ShapeError or DTypeError where `forward` must not be called: with another number of operands, say. For
  /// whoever has operands and attributes from elsewhere than from the functions of functions.hpp.
  virtual void check(std::span<const Array* const> operands, const Attributes& attributes) const;
  /// The attributes for operands with a further axis at their end, of extent `lanes`, that the op leaves alone: one
  /// application then serves a block of lanes. Axes are counted from the front, so most rules have nothing to change.
  virtual Attributes over_lanes(const Attributes& attributes, std::span<const Dims> shapes, std::int64_t lanes) const;
  /// The attributes for an operand of `shape` with a further axis in front, of so many directions, that the op leaves
  /// alone: one application then gives the tangents of all of them. Nothing where there are none, or the rule, which
  /// must be linear in its one operand, does not say: then the directions take turns.
  virtual std::optional<Attributes> over_directions(const Attributes& attributes, Shape shape,
                                                    std::int64_t directions) const;
  /// Leading axes of the operands are a batch: an executor then puts the axis of lanes in front of them.
  virtual bool takes_batches() const { return false; }
  /// The same as `forward`, into an array of the result's shape and dtype that is C-ordered.
  virtual void forward_into(Array& out, std::span<const Array* const> operands, const Attributes& attributes) const;
  /// The same for a block of lanes, of which some may be computed in vain: for rules whose work depends on values.
  virtual void forward_lanes(Array& out, std::span<const Array* const> operands, const Attributes& attributes,
                             const ActiveLanes& active) const;
  /// Whether the attributes have a payload, and that in the bytes of a file.
  virtual bool has_payload() const { return false; }
  virtual std::shared_ptr<const Payload> load(std::string_view) const { return nullptr; }
  /// The shape of a float64 result where `forward` costs more than it says, so that nobody computes it for its shape.
  virtual std::optional<Dims> infer(std::span<const Array* const>, const Attributes&) const { return std::nullopt; }
  /// The result shares the memory of its one operand, as an executor may do for good.
  virtual bool is_view() const { return false; }
  /// The elements of the result are elements of the operands, whatever their values, or zeros.
  virtual bool only_moves() const { return is_view(); }
  /// Linear in all operands together: the tangent is the op itself on the tangents, and passes need no values.
  virtual bool linear() const { return true; }
  /// The cotangent of operand `i`, given the cotangent of the result. It may have the shape that broadcasting
  /// gave the operand, and another float dtype: whoever asks brings it to the operand's (apply.hpp: fit).
  virtual Var vjp(const Call& call, int i, const Var& cotangent) const = 0;
  /// Those of all operands that are wanted, in their places, for rules that compute them together.
  virtual std::vector<Var> vjps(const Call& call, const std::vector<bool>& wanted, const Var& cotangent) const;
  /// The tangent of the result; null stands for a zero tangent, and not all are null. Linear rules with one
  /// operand have it for free.
  virtual Var jvp(const Call& call, std::span<const Var* const> tangents) const;
};

/// Throws ShapeError where a rule does not get `count` operands.
void check_count(const ShapedRule& rule, std::size_t given, std::size_t count);
/// The rule of that name, or null.
const ShapedRule* find_rule(std::string_view name);
/// For a rule's definition: makes it known to `find_rule`.
struct RegisterRule {
  explicit RegisterRule(const ShapedRule& rule);
};

/// Applies a rule to Vars of any kind; records and pairs as needed.
Var apply(const ShapedRule& rule, std::span<const Var> operands, Attributes attributes = {});
/// The tangent of one call for one direction (0), or for several leading ones.
Var tangent_of(const ShapedRule& rule, const Call& call, std::span<const Var* const> tangents, std::int64_t directions);
/// Records a result that is there already; operands are not dual.
Var record_result(const ShapedRule& rule, std::span<const Var> operands, Attributes attributes, Array out);

}  // namespace dualtape::tape
