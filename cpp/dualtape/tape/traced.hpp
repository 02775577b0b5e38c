// SPDX-License-Identifier: MIT
// Traced: the number type with which the table's rules are evaluated on Vars. A rule then records, or pairs, what
// it computes: that is how second and higher derivatives come from the same one-line entries as first ones.
// A number written in a rule stays a plain number until it meets an array, and takes that array's dtype.
#pragma once

#include <array>
#include <span>
#include <utility>

#include "dualtape/ops/op.hpp"
#include "dualtape/tape/var.hpp"

namespace dualtape::tape {

class Traced {
 public:
  Traced(double number) : number_(number), is_number_(true) {}
  explicit Traced(Var var) : var_(std::move(var)) {}

  bool is_number() const { return is_number_; }
  double number() const { return number_; }
  /// As a Var; a bare number takes `dtype`.
  Var var(DType dtype = DType::f64) const;

  /// Applies an op of the table.
  static Traced apply(ops::Op op, std::span<const Traced* const> operands);

  // Operators, masks (which are Traced too) and every function of the table.
#define DUALTAPE_OPERATOR1(symbol, name) \
  friend Traced operator symbol(const Traced& x) { return call(ops::Op::name, x); }
#define DUALTAPE_OPERATOR2(symbol, name) \
  friend Traced operator symbol(const Traced& a, const Traced& b) { return call(ops::Op::name, a, b); }
#define DUALTAPE_MASK_OPERATOR1 DUALTAPE_OPERATOR1
#define DUALTAPE_MASK_OPERATOR2 DUALTAPE_OPERATOR2
#include "dualtape/ops/operators.def"
#define DUALTAPE_UNARY(name, ...) \
  friend Traced name(const Traced& x) { return call(ops::Op::name, x); }
#define DUALTAPE_BINARY(name, ...) \
  friend Traced name(const Traced& a, const Traced& b) { return call(ops::Op::name, a, b); }
#define DUALTAPE_TERNARY(name, ...) \
  friend Traced name(const Traced& a, const Traced& b, const Traced& c) { return call(ops::Op::name, a, b, c); }
#include "dualtape/ops/ops.def"
  friend Traced select(const Traced& mask, const Traced& a, const Traced& b) {
    return call(ops::Op::where, mask, a, b);
  }

 private:
  template <class... Operands>
  static Traced call(ops::Op op, const Operands&... operands) {
    const std::array<const Traced*, sizeof...(Operands)> list{&operands...};
    return apply(op, list);
  }

  Var var_;
  double number_ = 0.0;
  bool is_number_ = false;
};

}  // namespace dualtape::tape
