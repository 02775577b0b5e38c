// SPDX-License-Identifier: MIT
// The shaped ops of elimination: LU and what is made of it, triangular matrices, Cholesky.
//
// An LU factorisation is an op without derivatives: `lu_solve`, `lu_det` and `lu_logabsdet` take the matrix as well as
// its factors, read the factors and differentiate with respect to the matrix. So one factorisation serves the value
// and the derivatives of every order, and a program computes it once.
//
// Formulas: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation"
// (2008); I. Murray, "Differentiation of the Cholesky decomposition" (2016).
#include "dualtape/tape/matrix_rule.hpp"

namespace dualtape::tape {
namespace {

using namespace matrices;

/// The lower triangle with half of the diagonal.
Var lower_half(const Var& x) {
  return x * pattern(rows_of(x), columns_of(x), x.dtype(), [](auto i, auto j) { return i > j ? 1 : i == j ? 0.5 : 0; });
}
constexpr const char* kSingular =
    "the matrix is singular; elimination came to a pivot of 0; lstsq and pinv take singular matrices.";

struct LuRule final : MatrixRule {
  LuRule() : MatrixRule("lu", 1) {}
  bool fits(Operands in) const override { return square(*in[0]); }
  Array forward(Operands in, const Attributes&) const override { return array::lu(*in[0]); }
  // Its operand is a constant for whoever applies it.
  Var vjp(const Call& call, int, const Var&) const override {
    return Var(Array::zeros(call.dtypes[0], call.shapes[0]));
  }
  Var jvp(const Call& call, std::span<const Var* const>) const override { return zeros_like(call.out); }
};

bool factors_of(const Array& a, const Array& f) {
  const std::int64_t n = a.shape().back();
  if (f.shape().back() != n + 1 || f.shape()[f.shape().size() - 2] != n + 1) return false;
  // The rows that the last column names are read.
  const Array packed = f.cast(DType::f64).as_contiguous();
  const double* at = packed.data<double>();
  for (std::int64_t i = 0; i < packed.size() / (n + 1); ++i) {
    const double row = at[i * (n + 1) + n];
    if (i % (n + 1) != n && !(row >= 0 && row < static_cast<double>(n))) return false;
  }
  return true;
}

/// Operands: A, its factors, B.
struct LuSolveRule final : MatrixRule {
  LuSolveRule() : MatrixRule("lu_solve", 3) {}
  bool fits(Operands in) const override {
    return square(*in[0]) && factors_of(*in[0], *in[1]) && rows(*in[2]) == rows(*in[0]);
  }
  Array forward(Operands in, const Attributes& a) const override {
    return array::lu_solve(*in[1], *in[2], a.flag).cast(in[2]->dtype());
  }
  static Var again(const Call& call, const Var& b, bool transposed) {
    static const LuSolveRule rule;
    const Var operands[] = {call.operands[0], call.operands[1], b};
    return apply(rule, operands, flags(transposed));
  }
  Var vjp(const Call& call, int i, const Var& ct) const override {
    if (i == 1) return Var(Array::zeros(call.dtypes[1], call.shapes[1]));
    const Var b = again(call, ct, !call.attributes.flag);
    if (i == 2) return b;
    return -(call.attributes.flag ? matmul(call.out, transposed(b)) : matmul(b, transposed(call.out)));
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    const bool flag = call.attributes.flag;
    if (!tangents[0] && !tangents[2]) return zeros_like(call.out);
    Var right = tangents[2] ? *tangents[2] : Var();
    if (tangents[0]) {
      const Var moved = matmul(flag ? transposed(*tangents[0]) : *tangents[0], call.out);
      right = tangents[2] ? right - moved : -moved;
    }
    return again(call, right, flag);
  }
};

/// det(A) inv(A)', and what that tends to where A is singular. Operands: A and its factors.
struct CofactorsRule final : MatrixRule {
  CofactorsRule() : MatrixRule("cofactors", 2) {}
  bool fits(Operands in) const override { return square(*in[0]) && factors_of(*in[0], *in[1]); }
  Array forward(Operands in, const Attributes&) const override {
    return array::cofactors(*in[0], *in[1]).cast(in[0]->dtype());
  }
  /// The derivative of det(A) inv(A)' in a direction is symmetric in direction and cotangent:
  /// det (tr(W' dA) W - W dA' W) for W = inv(A)'.
  static Var derivative(const Call& call, const Var& direction) {
    const Var& a = call.operands[0];
    const Var w = transposed(inv(a));
    const Var trace = for_matrices(sum(sum(w * direction, Dims{w.ndim() - 1}, false), Dims{w.ndim() - 2}, false));
    return for_matrices(det(a)) * (trace * w - matmul(matmul(w, transposed(direction)), w));
  }
  Var vjp(const Call& call, int i, const Var& ct) const override {
    return i == 0 ? derivative(call, ct) : Var(Array::zeros(call.dtypes[1], call.shapes[1]));
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    return tangents[0] ? derivative(call, *tangents[0]) : zeros_like(call.out);
  }
};

/// det and log|det|. Operands: A and its factors.
struct DeterminantRule final : MatrixRule {
  explicit DeterminantRule(bool logarithm)
      : MatrixRule(logarithm ? "lu_logabsdet" : "lu_det", 2), logarithm_(logarithm) {}
  bool fits(Operands in) const override { return square(*in[0]) && factors_of(*in[0], *in[1]); }
  Array forward(Operands in, const Attributes&) const override {
    return (logarithm_ ? array::lu_logabsdet(*in[1]) : array::lu_det(*in[1])).cast(in[0]->dtype());
  }
  Var slope(const Call& call) const;
  Var vjp(const Call& call, int i, const Var& ct) const override {
    return i == 0 ? for_matrices(ct) * slope(call) : Var(Array::zeros(call.dtypes[1], call.shapes[1]));
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    if (!tangents[0]) return zeros_like(call.out);
    const Var terms = slope(call) * *tangents[0];
    return sum(terms, Dims{terms.ndim() - 2, terms.ndim() - 1}, false);
  }

 private:
  bool logarithm_;
};

struct TriangularSolveRule final : MatrixRule {
  TriangularSolveRule() : MatrixRule("triangular_solve", 2) {}
  bool fits(Operands in) const override { return square(*in[0]) && rows(*in[1]) == rows(*in[0]); }
  Array forward(Operands in, const Attributes& a) const override {
    return array::triangular_solve(*in[0], *in[1], a.flag, a.axis != 0);
  }
  /// The part of a matrix that the rule reads.
  static Var part(const Call& call, const Var& x) {
    const bool unit = call.attributes.axis != 0;
    return triangle(x, call.attributes.flag, !unit ? 0 : call.attributes.flag ? -1 : 1);
  }
  Var vjp(const Call& call, int i, const Var& ct) const override {
    const bool lower = call.attributes.flag, unit = call.attributes.axis != 0;
    const Var b = triangular_solve(transposed(call.operands[0]), ct, !lower, unit);
    return i == 1 ? b : -part(call, matmul(b, transposed(call.out)));
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    Var right = tangents[1] ? *tangents[1] : Var();
    if (tangents[0]) {
      const Var moved = matmul(part(call, *tangents[0]), call.out);
      right = tangents[1] ? right - moved : -moved;
    }
    return triangular_solve(call.operands[0], right, call.attributes.flag, call.attributes.axis != 0);
  }
};

/// Murray's formulas: with S = inv(L) dA inv(L)', dL = L times the lower half of S.
struct CholeskyRule final : MatrixRule {
  CholeskyRule() : MatrixRule("cholesky", 1) {}
  bool fits(Operands in) const override { return square(*in[0]); }
  Array forward(Operands in, const Attributes&) const override { return array::cholesky(*in[0]); }
  Var vjp(const Call& call, int, const Var& ct) const override {
    const Var& l = call.out;
    const Var lt = transposed(l);
    const Var p = lower_half(matmul(lt, ct));
    const Var left = triangular_solve(lt, p, false, false);  // inv(L') P
    return symmetric(transposed(triangular_solve(lt, transposed(left), false, false)));
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    const Var& l = call.out;
    const Var left = triangular_solve(l, symmetric(*tangents[0]), true, false);
    return matmul(l, lower_half(triangular_solve(l, transposed(left), true, false)));
  }
};

const DeterminantRule& determinant(bool logarithm) {
  static const DeterminantRule plain(false), logarithms(true);
  return logarithm ? logarithms : plain;
}
const RegisterRule registered[] = {
    RegisterRule(the<LuRule>()),       RegisterRule(the<LuSolveRule>()), RegisterRule(the<CofactorsRule>()),
    RegisterRule(determinant(false)),  RegisterRule(determinant(true)),  RegisterRule(the<TriangularSolveRule>()),
    RegisterRule(the<CholeskyRule>()),
};

Var factors(const Var& a) { return apply_one<LuRule>(a.constant()); }

/// An operand of a call with its factors.
Var lu_solved(const Var& a, const Var& f, const Var& b, bool transposed) {
  const Var operands[] = {a, f, b};
  return apply(the<LuSolveRule>(), operands, flags(transposed));
}

Var DeterminantRule::slope(const Call& call) const {
  const Var& a = call.operands[0];
  if (logarithm_) {
    const Var out = lu_solved(a, call.operands[1], identity(columns_of(a), a.dtype()), true);
    require_answer("slogdet", out, {&a}, "a singular matrix has no derivative of log(abs(det)); det has one.");
    return out;
  }
  const Var operands[] = {a, call.operands[1]};
  return apply(the<CofactorsRule>(), operands);
}

}  // namespace

Var solve(const Var& matrix, const Var& right, bool transposed) {
  require_matrices("solve", matrix, true);
  require_matrices("solve", right, false);
  const DType dtype = array::promote(array::linalg_dtype(matrix.dtype()), array::linalg_dtype(right.dtype()));
  const Var a = cast(matrix, dtype), b = cast(right, dtype);
  if (rows_of(a) != rows_of(b)) {
    throw ShapeError("solve(" + to_string(a.shape()) + ", " + to_string(b.shape()) + "): the matrix has " +
                     std::to_string(rows_of(a)) + " rows and the right-hand sides have " + std::to_string(rows_of(b)) +
                     "; they must be equal.");
  }
  const Var out = lu_solved(a, factors(a), b, transposed);
  require_answer("solve", out, {&a, &b}, kSingular);
  return out;
}

Var inv(const Var& matrix) {
  require_matrices("inv", matrix, true);
  const Var a = floating(matrix);
  const Var out = lu_solved(a, factors(a), identity(columns_of(a), a.dtype()), false);
  require_answer("inv", out, {&a}, kSingular);
  return out;
}

Var det(const Var& matrix) {
  require_matrices("det", matrix, true);
  const Var a = floating(matrix);
  const Var operands[] = {a, factors(a)};
  return apply(determinant(false), operands);
}

std::pair<Var, Var> slogdet(const Var& matrix) {
  require_matrices("slogdet", matrix, true);
  const Var a = floating(matrix);
  const Var operands[] = {a, factors(a)};
  std::vector<array::Slice> corner;
  for (std::int64_t extent : operands[1].shape()) corner.push_back({0, 1, extent});
  corner[corner.size() - 1] = corner[corner.size() - 2] = {columns_of(a), 1, 1};
  const Var sign = reshape(slice(operands[1], corner), a.shape().first(static_cast<std::size_t>(a.ndim() - 2)));
  return {cast(sign, a.dtype()), apply(determinant(true), operands)};
}

Var triangular_solve(const Var& matrix, const Var& right, bool lower, bool unit) {
  require_matrices("solve_triangular", matrix, true);
  require_matrices("solve_triangular", right, false);
  const DType dtype = array::promote(array::linalg_dtype(matrix.dtype()), array::linalg_dtype(right.dtype()));
  const Var operands[] = {cast(matrix, dtype), cast(right, dtype)};
  if (rows_of(matrix) != rows_of(right)) {
    throw ShapeError("solve_triangular(" + to_string(matrix.shape()) + ", " + to_string(right.shape()) +
                     "): the matrix has " + std::to_string(rows_of(matrix)) + " rows and the right-hand sides have " +
                     std::to_string(rows_of(right)) + "; they must be equal.");
  }
  const Var out = apply(the<TriangularSolveRule>(), operands, flags(lower, unit));
  require_answer("solve_triangular", out, {&operands[0], &operands[1]},
                 "the matrix is singular: it has a 0 on its diagonal; lstsq and pinv take singular matrices.");
  return out;
}

Var cholesky(const Var& matrix) {
  require_matrices("cholesky", matrix, true);
  const Var a = floating(matrix);
  const Var out = apply_one<CholeskyRule>(a);
  require_answer("cholesky", out, {&a},
                 "the matrix is not positive definite; elimination came to a pivot that is not positive; add a "
                 "multiple of the identity, or use eigh.");
  return out;
}

}  // namespace dualtape::tape
