// SPDX-License-Identifier: MIT
// Number: any Python number (float, dlarray, or a Dual of such) as a number type for the table's rules. It is
// what Python's Dual lifts the table with, nested to any depth, over plain numbers and over tapes alike.
#pragma once

#include <array>
#include <limits>
#include <span>

#include "bindings/dlarray.hpp"
#include "dualtape/ops/rules.hpp"

namespace dualtape::bindings {

class Number {
 public:
  Number(double value = 0.0) : object_(checked(PyFloat_FromDouble(value))) {}
  /// Takes a reference over.
  static Number own(PyObject* object) { return Number(Ref(checked(object))); }
  Number(const Number& other) : object_(Py_NewRef(other.get())) {}
  Number(Number&&) = default;
  Number& operator=(const Number& other) {
    object_ = Ref(Py_NewRef(other.get()));
    return *this;
  }
  Number& operator=(Number&&) = default;

  PyObject* get() const { return object_.get(); }
  PyObject* release() { return object_.release(); }

  static Number apply(ops::Op op, std::span<const Number* const> operands);

#define DUALTAPE_OPERATOR1(symbol, name) \
  friend Number operator symbol(const Number& x) { return call(ops::Op::name, x); }
#define DUALTAPE_OPERATOR2(symbol, name) \
  friend Number operator symbol(const Number& a, const Number& b) { return call(ops::Op::name, a, b); }
#define DUALTAPE_MASK_OPERATOR1 DUALTAPE_OPERATOR1
#define DUALTAPE_MASK_OPERATOR2 DUALTAPE_OPERATOR2
#include "dualtape/ops/operators.def"
#define DUALTAPE_UNARY(name, ...) \
  friend Number name(const Number& x) { return call(ops::Op::name, x); }
#define DUALTAPE_BINARY(name, ...) \
  friend Number name(const Number& a, const Number& b) { return call(ops::Op::name, a, b); }
#define DUALTAPE_TERNARY(name, ...) \
  friend Number name(const Number& a, const Number& b, const Number& c) { return call(ops::Op::name, a, b, c); }
#include "dualtape/ops/ops.def"
  friend Number select(const Number& mask, const Number& a, const Number& b) {
    return call(ops::Op::where, mask, a, b);
  }
  friend Number largest(const Number&) { return Number(std::numeric_limits<double>::max()); }

 private:
  explicit Number(Ref object) : object_(std::move(object)) {}

  template <class... Operands>
  static Number call(ops::Op op, const Operands&... operands) {
    const std::array<const Number*, sizeof...(Operands)> list{&operands...};
    return apply(op, list);
  }

  Ref object_;
};

/// A Dual of Python numbers, as the object `dualtape.Dual` holds it.
struct PyDual {
  PyObject_HEAD Number primal;
  Number tangent;
};

extern PyTypeObject* dual_type;
inline bool is_py_dual(PyObject* object) { return dual_type && Py_TYPE(object) == dual_type; }
/// Applies an op of the table where at least one operand is a Dual.
PyObject* apply_dual(ops::Op op, PyObject* const* operands, std::size_t count);

}  // namespace dualtape::bindings
