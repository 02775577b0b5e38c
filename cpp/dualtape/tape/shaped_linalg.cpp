// SPDX-License-Identifier: MIT
// The shaped ops of linear algebra. A rule with several results gives one packed array, whose parts are slices: then
// tapes, programs and lanes need to know nothing of it, and the cotangent of a part that nobody used is zero.
//
// An LU factorisation is an op without derivatives: `lu_solve`, `lu_det` and `lu_logabsdet` take the matrix as well as
// its factors, read the factors and differentiate with respect to the matrix. So one factorisation serves the value
// and the derivatives of every order, and a program computes it once.
//
// Sources of the formulas: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
// differentiation" (2008); I. Murray, "Differentiation of the Cholesky decomposition" (2016); J. Townsend,
// "Differentiating the singular value decomposition" (2016); S. Walter, L. Lehmann, "Algorithmic differentiation of
// linear algebra functions" (2010) for QR.
#include <cmath>
#include <limits>

#include "dualtape/array/linalg.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/linalg.hpp"
#include "dualtape/tape/shaped.hpp"

namespace dualtape::tape {
namespace {

using ops::Op;
using Operands = std::span<const Array* const>;

Var operator*(const Var& a, const Var& b) { return apply(Op::multiply, {a, b}); }
Var operator+(const Var& a, const Var& b) { return apply(Op::add, {a, b}); }
Var operator-(const Var& a, const Var& b) { return apply(Op::subtract, {a, b}); }
Var operator-(const Var& a) { return apply(Op::negative, {a}); }
Var transposed(const Var& x) { return swap_last(x); }

std::int64_t rows_of(const Var& x) { return x.shape()[static_cast<std::size_t>(x.ndim() - 2)]; }
std::int64_t columns_of(const Var& x) { return x.shape().back(); }

Var number(double value, const Var& like) {
  return like.dtype() == DType::f32 ? Var(Array::full(DType::f32, {}, value)) : Var(value);
}
Var halved(const Var& x) { return x * number(0.5, x); }
Var symmetric(const Var& x) { return halved(x + transposed(x)); }

/// Rows `start` to `start + count` of matrices, of which columns stay.
Var rows(const Var& x, std::int64_t start, std::int64_t count) {
  std::vector<array::Slice> slices;
  for (std::int64_t extent : x.shape()) slices.push_back({0, 1, extent});
  slices[slices.size() - 2] = {start, 1, count};
  return slice(x, slices);
}
Var columns(const Var& x, std::int64_t count) {
  std::vector<array::Slice> slices;
  for (std::int64_t extent : x.shape()) slices.push_back({0, 1, extent});
  slices.back().count = count;
  return slice(x, slices);
}
Var below(const Var& a, const Var& b) {
  const Var both[] = {a, b};
  return concatenate(both, a.ndim() - 2);
}
/// (..., n) as (..., 1, n), a row that multiplies columns, and as (..., n, 1).
Var as_row(const Var& x) {
  Dims shape(x.shape());
  shape.insert(shape.size() - 1, 1);
  return reshape(x, shape);
}
Var as_column(const Var& x) {
  Dims shape(x.shape());
  shape.push_back(1);
  return reshape(x, shape);
}
Var without_rows(const Var& row) {
  Dims shape(row.shape());
  shape.erase(shape.size() - 2);
  return reshape(row, shape);
}
/// (...) as (..., 1, 1): a number for each matrix.
Var for_matrices(const Var& x) { return as_column(as_column(x)); }

/// A constant of n rows and m columns: f(i, j) at each place.
template <class F>
Var pattern(std::int64_t n, std::int64_t m, DType dtype, F f) {
  Array out = Array::empty(DType::f64, Dims{n, m});
  if (out.is_scalar()) return Var(out);
  double* at = out.writable_data<double>();
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < m; ++j) at[i * m + j] = f(i, j);
  }
  return Var(out.cast(dtype));
}
Var identity(std::int64_t n, DType dtype) {
  return pattern(n, n, dtype, [](auto i, auto j) { return i == j ? 1.0 : 0.0; });
}
/// The lower triangle with half of the diagonal.
Var lower_half(const Var& x) {
  return x * pattern(rows_of(x), columns_of(x), x.dtype(), [](auto i, auto j) { return i > j ? 1 : i == j ? 0.5 : 0; });
}
Var diagonal(const Var& x) { return sum(x * identity(columns_of(x), x.dtype()), Dims{x.ndim() - 2}, false); }
/// 1 / (x_j - x_i), and zero on the diagonal and where the two count as equal.
Var inverse_differences(const Var& x, const Var& scale) {
  const Var difference = as_row(x) - as_column(x);
  const std::int64_t n = columns_of(x);
  const double unit = x.dtype() == DType::f32 ? 0x1p-23 : 0x1p-52;
  const Var close = scale.constant() * number(static_cast<double>(n) * unit, x);
  const Var equal = apply(Op::less_equal, {apply(Op::absolute, {difference.constant()}), for_matrices(close)});
  const Var one = number(1.0, x), zero = number(0.0, x);
  return apply(Op::where, {equal, zero, apply(Op::true_divide, {one, apply(Op::where, {equal, one, difference})})});
}

/// The one number that NaN in a result, from finite operands, means: there is no answer.
bool any_nan(const Array& x) {
  const Array values = x.as_contiguous();
  const auto search = [&](const auto* at) {
    for (std::int64_t i = 0; i < values.size(); ++i) {
      if (std::isnan(at[i])) return true;
    }
    return false;
  };
  return values.dtype() == DType::f32 ? search(values.data<float>()) : search(values.data<double>());
}
bool all_finite(const Array& x) {
  const Array values = x.as_contiguous();
  const auto search = [&](const auto* at) {
    for (std::int64_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(at[i])) return false;
    }
    return true;
  };
  return values.dtype() == DType::f32 ? search(values.data<float>()) : search(values.data<double>());
}
void require_answer(const char* op, const Var& out, std::initializer_list<const Var*> operands, const char* why) {
  if (!any_nan(out.value())) return;
  std::string shapes;
  for (const Var* x : operands) {
    if (!all_finite(x->value())) return;  // NaN in, NaN out
    shapes += (shapes.empty() ? "" : ", ") + to_string(x->shape());
  }
  throw NumericError(std::string(op) + "(" + shapes + "): " + why);
}
constexpr const char* kSingular =
    "the matrix is singular; elimination came to a pivot of 0; lstsq and pinv take singular matrices.";

void require_matrices(const std::string& op, const Var& x, bool square) {
  if (x.ndim() >= 2 && (!square || rows_of(x) == columns_of(x))) return;
  throw ShapeError(op + "(" + to_string(x.shape()) + "): the last two axes must be " +
                   (square ? "a square matrix" : "a matrix") + "; the shape " + to_string(x.shape()) +
                   " was given; use reshape, or index the matrices you mean.");
}
Var floating(const Var& x) { return cast(x, array::linalg_dtype(x.dtype())); }

Attributes flags(bool flag, std::int64_t axis = 0) {
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

/// For at least as many rows as columns. Packed: Q, then R'.
struct QrRule final : MatrixRule {
  QrRule() : MatrixRule("qr", 1) {}
  Array forward(Operands in, const Attributes& a) const override { return array::qr(*in[0], a.flag); }
  static void require_reduced(const Call& call) {
    const Dims& shape = call.shapes[0];
    if (shape[shape.size() - 2] <= shape.back()) return;
    throw GradientError("qr(" + to_string(shape) +
                        "): mode 'complete' has no derivative where there are more rows than columns, because the last "
                        "columns of Q are arbitrary; use mode 'reduced'.");
  }
  Var vjp(const Call& call, int, const Var& ct) const override {
    if (call.attributes.flag) require_reduced(call);
    const std::int64_t m = rows_of(call.operands[0]), n = columns_of(call.operands[0]);
    const Var q = tape_rows(call.out, 0, m), rt = tape_rows(call.out, m, n);
    const Var q_ct = tape_rows(ct, 0, m), r_ct = transposed(tape_rows(ct, m, n));
    // M = R Rct' - Qct' Q; A's cotangent is (Qct + Q copyltu(M)) inv(R)'.
    const Var core = matmul(transposed(rt), transposed(r_ct)) - matmul(transposed(q_ct), q);
    const Var lower = triangle(core, true);
    const Var mirrored = lower + transposed(triangle(core, true, -1));
    const Var right = q_ct + matmul(q, mirrored);
    return transposed(triangular_solve(transposed(rt), transposed(right), false, false));
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    if (call.attributes.flag) require_reduced(call);
    const std::int64_t m = rows_of(call.operands[0]), n = columns_of(call.operands[0]);
    const Var q = tape_rows(call.out, 0, m), rt = tape_rows(call.out, m, n);
    // With C = dA inv(R) and S = Q'C: dR = (S - W) R and dQ = C - Q (S - W), where W = tril(S) - tril(S)' is the
    // antisymmetric matrix Q'dQ.
    const Var c = transposed(triangular_solve(rt, transposed(*tangents[0]), true, false));
    const Var s = matmul(transposed(q), c);
    const Var low = triangle(s, true, -1);
    const Var up = s - (low - transposed(low));
    return below(c - matmul(q, up), matmul(rt, transposed(up)));
  }

 private:
  static Var tape_rows(const Var& x, std::int64_t start, std::int64_t count);
};

/// Packed: eigenvalues, then eigenvectors. With P = V' dA V: dw = diag(P), dV = V (P / (w_j - w_i)).
struct EighRule final : MatrixRule {
  EighRule() : MatrixRule("eigh", 1) {}
  bool fits(Operands in) const override { return square(*in[0]); }
  Array forward(Operands in, const Attributes&) const override { return array::eigh(*in[0]); }
  struct Parts {
    Var w, v, inverse;
  };
  static Parts parts(const Call& call);
  Var vjp(const Call& call, int, const Var& ct) const override;
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override;
};

/// Packed: singular values, then U, then V.
struct SvdRule final : MatrixRule {
  SvdRule() : MatrixRule("svd", 1) {}
  Array forward(Operands in, const Attributes& a) const override { return array::svd(*in[0], a.flag); }
  struct Parts {
    Var s, u, v, inverse;
    bool tall, wide;
  };
  static Parts parts(const Call& call);
  Var vjp(const Call& call, int, const Var& ct) const override;
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override;
};

Var QrRule::tape_rows(const Var& x, std::int64_t start, std::int64_t count) {
  return dualtape::tape::rows(x, start, count);
}

Var row(const Var& x) { return without_rows(rows(x, 0, 1)); }
Var largest(const Var& x) { return max(apply(Op::absolute, {x.constant()}), Dims{x.ndim() - 1}, false); }

EighRule::Parts EighRule::parts(const Call& call) {
  const std::int64_t n = columns_of(call.out);
  const Var w = row(call.out), v = dualtape::tape::rows(call.out, 1, n);
  return {w, v, inverse_differences(w, largest(w))};
}
Var EighRule::vjp(const Call& call, int, const Var& ct) const {
  const std::int64_t n = columns_of(call.out);
  if (n == 0) return zeros_like(call.operands[0]);
  const Parts p = parts(call);
  const Var vt = transposed(p.v);
  const Var inner = p.inverse * matmul(vt, dualtape::tape::rows(ct, 1, n)) + as_row(row(ct)) * identity(n, ct.dtype());
  return symmetric(matmul(matmul(p.v, inner), vt));
}
Var EighRule::jvp(const Call& call, std::span<const Var* const> tangents) const {
  if (columns_of(call.out) == 0) return zeros_like(call.out);
  const Parts p = parts(call);
  const Var moved = matmul(matmul(transposed(p.v), symmetric(*tangents[0])), p.v);
  return below(as_row(diagonal(moved)), matmul(p.v, p.inverse * moved));
}

SvdRule::Parts SvdRule::parts(const Call& call) {
  const Dims& shape = call.shapes[0];
  const std::int64_t m = shape[shape.size() - 2], n = shape.back();
  if (call.attributes.flag && m != n) {
    throw GradientError("svd(" + to_string(shape) +
                        "): full_matrices=True has no derivative where the matrix is not square, because the last "
                        "columns of the larger factor are arbitrary; use full_matrices=False.");
  }
  const Var s = row(call.out);
  // s_j^2 - s_i^2 as a product, and equal where the singular values are, relative to the largest.
  const Var sums = as_row(s) + as_column(s), one = number(1.0, s), zero = number(0.0, s);
  const Var none = apply(Op::equal, {sums.constant(), zero});
  const Var by_sums = apply(Op::true_divide, {one, apply(Op::where, {none, one, sums})});
  return {s,
          dualtape::tape::rows(call.out, 1, m),
          dualtape::tape::rows(call.out, 1 + m, n),
          inverse_differences(s, largest(s)) * by_sums,
          m > n,
          n > m};
}
/// 1 / s; 0 where s is.
Var reciprocals(const Var& s) {
  const Var none = apply(Op::equal, {s.constant(), number(0.0, s)}), one = number(1.0, s);
  return apply(Op::where, {none, number(0.0, s), apply(Op::true_divide, {one, apply(Op::where, {none, one, s})})});
}
/// The part of the columns of x that is orthogonal to those of u.
Var orthogonal_part(const Var& u, const Var& x) { return x - matmul(u, matmul(transposed(u), x)); }

Var SvdRule::vjp(const Call& call, int, const Var& ct) const {
  const Parts p = parts(call);
  const std::int64_t m = rows_of(p.u), n = rows_of(p.v), k = columns_of(p.s);
  if (k == 0) return zeros_like(call.operands[0]);
  const Var u_ct = dualtape::tape::rows(ct, 1, m), v_ct = dualtape::tape::rows(ct, 1 + m, n);
  const Var ut = transposed(p.u), vt = transposed(p.v), s_row = as_row(p.s), s_column = as_column(p.s);
  const Var a = matmul(ut, u_ct), b = matmul(vt, v_ct);
  const Var inner = (p.inverse * (a - transposed(a))) * s_row + s_column * (p.inverse * (b - transposed(b))) +
                    as_row(row(ct)) * identity(k, ct.dtype());
  Var left = matmul(p.u, inner);
  if (p.tall) left = left + orthogonal_part(p.u, u_ct) * as_row(reciprocals(p.s));
  Var out = matmul(left, vt);
  if (p.wide) out = out + matmul(p.u, transposed(orthogonal_part(p.v, v_ct) * as_row(reciprocals(p.s))));
  return out;
}
Var SvdRule::jvp(const Call& call, std::span<const Var* const> tangents) const {
  const Parts p = parts(call);
  if (columns_of(p.s) == 0) return zeros_like(call.out);
  const Var& t = *tangents[0];
  const Var s_row = as_row(p.s), s_column = as_column(p.s);
  const Var tv = matmul(t, p.v), moved = matmul(transposed(p.u), tv), back = transposed(moved);
  Var du = matmul(p.u, p.inverse * (moved * s_row + s_column * back));
  Var dv = matmul(p.v, p.inverse * (s_column * moved + back * s_row));
  if (p.tall) du = du + orthogonal_part(p.u, tv) * as_row(reciprocals(p.s));
  if (p.wide) dv = dv + orthogonal_part(p.v, matmul(transposed(t), p.u)) * as_row(reciprocals(p.s));
  return below(below(as_row(diagonal(moved)), du), dv);
}

/// G. Golub, V. Pereyra (1973): dP = -P dA P + P P' dA' (I - A P) + (I - P A) dA' P' P. Operands: A and the cut.
struct PinvRule final : MatrixRule {
  PinvRule() : MatrixRule("pinv", 2) {}
  bool fits(Operands in) const override { return rows(*in[1]) == 1 && columns(*in[1]) == 1; }
  Array forward(Operands in, const Attributes&) const override {
    return array::pinv(*in[0], *in[1]).cast(in[0]->dtype());
  }
  Var vjp(const Call& call, int i, const Var& ct) const override {
    if (i == 1) return Var(Array::zeros(call.dtypes[1], call.shapes[1]));
    const Var &a = call.operands[0], &p = call.out;
    const Var pt = transposed(p), ctt = transposed(ct);
    const Var outer = matmul(ctt, matmul(p, pt)), inner = matmul(matmul(pt, p), ctt);
    return outer - matmul(a, matmul(p, outer)) + inner - matmul(matmul(inner, p), a) - matmul(matmul(pt, ct), pt);
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    if (!tangents[0]) return zeros_like(call.out);
    const Var &a = call.operands[0], &p = call.out, &t = *tangents[0];
    const Var pt = transposed(p), tt = transposed(t);
    const Var outer = matmul(matmul(p, pt), tt), inner = matmul(tt, matmul(pt, p));
    return outer - matmul(matmul(outer, a), p) + inner - matmul(p, matmul(a, inner)) - matmul(matmul(p, t), p);
  }
};

/// exp([[A, E], [0, A]]) has exp(A) on its diagonal and the derivative in the direction E above it.
struct ExpmRule final : MatrixRule {
  ExpmRule() : MatrixRule("expm", 1) {}
  bool fits(Operands in) const override { return square(*in[0]); }
  Array forward(Operands in, const Attributes&) const override { return array::expm(*in[0]); }
  static Var derivative(const Var& a, const Var& direction) {
    const std::int64_t n = columns_of(a);
    const int last = a.ndim() - 1;
    const Var above[] = {a, direction}, under[] = {zeros_like(a), a};
    const Var both = expm(below(concatenate(above, last), concatenate(under, last)));
    std::vector<array::Slice> block;
    for (std::int64_t extent : both.shape()) block.push_back({0, 1, extent});
    block[block.size() - 2] = {0, 1, n};
    block.back() = {n, 1, n};
    return slice(both, block);
  }
  Var vjp(const Call& call, int, const Var& ct) const override { return derivative(transposed(call.operands[0]), ct); }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    return derivative(call.operands[0], *tangents[0]);
  }
};

template <class Rule>
const Rule& the() {
  static const Rule rule;
  return rule;
}
const DeterminantRule& determinant(bool logarithm) {
  static const DeterminantRule plain(false), logarithms(true);
  return logarithm ? logarithms : plain;
}
const RegisterRule registered[] = {
    RegisterRule(the<LuRule>()),       RegisterRule(the<LuSolveRule>()), RegisterRule(the<CofactorsRule>()),
    RegisterRule(determinant(false)),  RegisterRule(determinant(true)),  RegisterRule(the<TriangularSolveRule>()),
    RegisterRule(the<CholeskyRule>()), RegisterRule(the<QrRule>()),      RegisterRule(the<EighRule>()),
    RegisterRule(the<SvdRule>()),      RegisterRule(the<PinvRule>()),    RegisterRule(the<ExpmRule>()),
};

template <class Rule>
Var apply_one(const Var& x, Attributes attributes = {}) {
  return apply(the<Rule>(), std::span(&x, 1), std::move(attributes));
}

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

Var triangle(const Var& x, bool lower, std::int64_t k) {
  const std::int64_t n = rows_of(x), m = columns_of(x);
  return x * pattern(n, m, x.dtype(), [=](auto i, auto j) { return (lower ? j - i <= k : j - i >= k) ? 1.0 : 0.0; });
}

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

std::pair<Var, Var> qr(const Var& matrix, bool complete) {
  require_matrices("qr", matrix, false);
  const Var a = floating(matrix);
  const std::int64_t m = rows_of(a), n = columns_of(a);
  if (m >= n) {
    const Var packed = apply_one<QrRule>(a, flags(complete && m > n));
    return {rows(packed, 0, m), transposed(rows(packed, m, n))};
  }
  // The first columns decide Q; the others are coordinates in it.
  const auto [q, r] = qr(columns(a, m), false);
  std::vector<array::Slice> others;
  for (std::int64_t extent : a.shape()) others.push_back({0, 1, extent});
  others.back() = {m, 1, n - m};
  const Var both[] = {r, matmul(transposed(q), slice(a, others))};
  return {q, concatenate(both, a.ndim() - 1)};
}

std::pair<Var, Var> eigh(const Var& matrix) {
  require_matrices("eigh", matrix, true);
  const Var a = floating(matrix), packed = apply_one<EighRule>(a);
  require_answer("eigh", packed, {&a}, "the iteration for the eigenvalues did not converge.");
  return {row(packed), rows(packed, 1, columns_of(a))};
}

Var pinv(const Var& matrix, const Var& cut) {
  require_matrices("pinv", matrix, false);
  const Var operands[] = {floating(matrix), cast(cut.constant(), DType::f64)};
  return apply(the<PinvRule>(), operands);
}

Var expm(const Var& matrix) {
  require_matrices("expm", matrix, true);
  return apply_one<ExpmRule>(floating(matrix));
}

Svd svd(const Var& matrix, bool full) {
  require_matrices("svd", matrix, false);
  const Var a = floating(matrix);
  const std::int64_t m = rows_of(a), n = columns_of(a), k = std::min(m, n);
  const Var packed = apply_one<SvdRule>(a, flags(full && m != n));
  require_answer("svd", packed, {&a}, "the iteration for the singular values did not converge.");
  const Var s = columns(row(packed), k);
  return {columns(rows(packed, 1, m), full ? m : k), s, columns(rows(packed, 1 + m, n), full ? n : k)};
}

}  // namespace dualtape::tape
