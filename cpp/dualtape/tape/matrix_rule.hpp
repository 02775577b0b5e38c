// SPDX-License-Identifier: MIT
// What the rules of linear algebra share: pieces of matrices as Vars, checks, and MatrixRule. For shaped_linalg.cpp and
// shaped_spectral.cpp.
#pragma once

#include <cmath>
#include <initializer_list>
#include <string>
#include <vector>

#include "dualtape/array/linalg.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/linalg.hpp"
#include "dualtape/tape/shaped.hpp"

namespace dualtape::tape::matrices {

using ops::Op;
using Operands = std::span<const Array* const>;

inline Var operator*(const Var& a, const Var& b) { return apply(Op::multiply, {a, b}); }
inline Var operator+(const Var& a, const Var& b) { return apply(Op::add, {a, b}); }
inline Var operator-(const Var& a, const Var& b) { return apply(Op::subtract, {a, b}); }
inline Var operator-(const Var& a) { return apply(Op::negative, {a}); }
inline Var transposed(const Var& x) { return swap_last(x); }

inline std::int64_t rows_of(const Var& x) { return x.shape()[static_cast<std::size_t>(x.ndim() - 2)]; }
inline std::int64_t columns_of(const Var& x) { return x.shape().back(); }

inline Var number(double value, const Var& like) {
  return like.dtype() == DType::f32 ? Var(Array::full(DType::f32, {}, value)) : Var(value);
}
inline Var symmetric(const Var& x) { return (x + transposed(x)) * number(0.5, x); }

/// Rows `start` to `start + count` of matrices, of which columns stay.
inline Var rows(const Var& x, std::int64_t start, std::int64_t count) {
  std::vector<array::Slice> slices;
  for (std::int64_t extent : x.shape()) slices.push_back({0, 1, extent});
  slices[slices.size() - 2] = {start, 1, count};
  return slice(x, slices);
}
inline Var columns(const Var& x, std::int64_t count) {
  std::vector<array::Slice> slices;
  for (std::int64_t extent : x.shape()) slices.push_back({0, 1, extent});
  slices.back().count = count;
  return slice(x, slices);
}
inline Var below(const Var& a, const Var& b) {
  const Var both[] = {a, b};
  return concatenate(both, a.ndim() - 2);
}
/// (..., n) as (..., 1, n), a row that multiplies columns, and as (..., n, 1).
inline Var as_row(const Var& x) {
  Dims shape(x.shape());
  shape.insert(shape.size() - 1, 1);
  return reshape(x, shape);
}
inline Var as_column(const Var& x) {
  Dims shape(x.shape());
  shape.push_back(1);
  return reshape(x, shape);
}
inline Var without_rows(const Var& row) {
  Dims shape(row.shape());
  shape.erase(shape.size() - 2);
  return reshape(row, shape);
}
/// (...) as (..., 1, 1): a number for each matrix.
inline Var for_matrices(const Var& x) { return as_column(as_column(x)); }

/// A constant of n rows and m columns: f(i, j) at each place.
template <class F>
inline Var pattern(std::int64_t n, std::int64_t m, DType dtype, F f) {
  Array out = Array::empty(DType::f64, Dims{n, m});
  if (out.is_scalar()) return Var(out);
  double* at = out.writable_data<double>();
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < m; ++j) at[i * m + j] = f(i, j);
  }
  return Var(out.cast(dtype));
}
inline Var identity(std::int64_t n, DType dtype) {
  return pattern(n, n, dtype, [](auto i, auto j) { return i == j ? 1.0 : 0.0; });
}

inline bool any_nan(const Array& x) {
  const Array values = x.as_contiguous();
  const auto search = [&](const auto* at) {
    for (std::int64_t i = 0; i < values.size(); ++i) {
      if (std::isnan(at[i])) return true;
    }
    return false;
  };
  return values.dtype() == DType::f32 ? search(values.data<float>()) : search(values.data<double>());
}
inline bool all_finite(const Array& x) {
  const Array values = x.as_contiguous();
  const auto search = [&](const auto* at) {
    for (std::int64_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(at[i])) return false;
    }
    return true;
  };
  return values.dtype() == DType::f32 ? search(values.data<float>()) : search(values.data<double>());
}
/// NumericError where a result from finite operands has a NaN: that is how rules say that there is no answer.
inline void require_answer(const char* op, const Var& out, std::initializer_list<const Var*> operands,
                           const char* why) {
  if (!any_nan(out.value())) return;
  std::string shapes;
  for (const Var* x : operands) {
    if (!all_finite(x->value())) return;  // NaN in, NaN out
    shapes += (shapes.empty() ? "" : ", ") + to_string(x->shape());
  }
  throw NumericError(std::string(op) + "(" + shapes + "): " + why);
}

inline void require_matrices(const std::string& op, const Var& x, bool square) {
  if (x.ndim() >= 2 && (!square || rows_of(x) == columns_of(x))) return;
  throw ShapeError(op + "(" + to_string(x.shape()) + "): the last two axes must be " +
                   (square ? "a square matrix" : "a matrix") + "; the shape " + to_string(x.shape()) +
                   " was given; use reshape, or index the matrices you mean.");
}
inline Var floating(const Var& x) { return cast(x, array::linalg_dtype(x.dtype())); }

inline Attributes flags(bool flag, std::int64_t axis = 0) {
  Attributes attributes;
  attributes.flag = flag;
  attributes.axis = axis;
  return attributes;
}

/// What the rules share: leading axes are batches, and operands are checked before a file may bring them.
struct MatrixRule : ShapedRule {
  MatrixRule(std::string_view name, std::size_t count) : name_(name), count_(count) {}
  std::string_view name() const override { return name_; }
  bool linear() const override { return false; }
  bool takes_batches() const override { return true; }
  void check(Operands in, const Attributes&) const override {
    check_count(*this, in.size(), count_);
    for (const Array* x : in) {
      if (x->ndim() < 2 || !is_float(x->dtype())) refuse();
    }
    if (!fits(in)) refuse();
  }

 protected:
  static std::int64_t rows(const Array& x) { return x.shape()[static_cast<std::size_t>(x.ndim() - 2)]; }
  static std::int64_t columns(const Array& x) { return x.shape().back(); }
  static bool square(const Array& x) { return rows(x) == columns(x); }
  virtual bool fits(Operands) const { return true; }

 private:
  [[noreturn]] void refuse() const {
    throw ShapeError(std::string(name_) + ": its operands are no matrices that it takes.");
  }
  std::string_view name_;
  std::size_t count_;
};

template <class Rule>
const Rule& the() {
  static const Rule rule;
  return rule;
}
template <class Rule>
Var apply_one(const Var& x, Attributes attributes = {}) {
  return apply(the<Rule>(), std::span(&x, 1), std::move(attributes));
}

}  // namespace dualtape::tape::matrices
