// SPDX-License-Identifier: MIT
// The shaped ops of orthogonal factors: QR, eigenvalues and singular values; and pseudo-inverses and exponentials. A
// rule with several results gives one packed array, whose parts are slices: so tapes, programs and lanes need to know
// nothing of it, and the cotangent of a part that nobody used is zero.
//
// Formulas: S. Walter, L. Lehmann, "Algorithmic differentiation of linear algebra functions" (2010) for QR; M. Giles
// (2008) for eigenvalues; J. Townsend, "Differentiating the singular value decomposition" (2016).
#include "dualtape/tape/matrix_rule.hpp"

namespace dualtape::tape {
namespace {

using namespace matrices;

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
    const Var q = matrices::rows(call.out, 0, m), rt = matrices::rows(call.out, m, n);
    const Var q_ct = matrices::rows(ct, 0, m), r_ct = transposed(matrices::rows(ct, m, n));
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
    const Var q = matrices::rows(call.out, 0, m), rt = matrices::rows(call.out, m, n);
    // With C = dA inv(R) and S = Q'C: dR = (S - W) R and dQ = C - Q (S - W), where W = tril(S) - tril(S)' is the
    // antisymmetric matrix Q'dQ.
    const Var c = transposed(triangular_solve(rt, transposed(*tangents[0]), true, false));
    const Var s = matmul(transposed(q), c);
    const Var low = triangle(s, true, -1);
    const Var up = s - (low - transposed(low));
    return below(c - matmul(q, up), matmul(rt, transposed(up)));
  }
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

Var row(const Var& x) { return without_rows(rows(x, 0, 1)); }
Var largest(const Var& x) { return max(apply(Op::absolute, {x.constant()}), Dims{x.ndim() - 1}, false); }

EighRule::Parts EighRule::parts(const Call& call) {
  const std::int64_t n = columns_of(call.out);
  const Var w = row(call.out), v = matrices::rows(call.out, 1, n);
  return {w, v, inverse_differences(w, largest(w))};
}
Var EighRule::vjp(const Call& call, int, const Var& ct) const {
  const std::int64_t n = columns_of(call.out);
  if (n == 0) return zeros_like(call.operands[0]);
  const Parts p = parts(call);
  const Var vt = transposed(p.v);
  const Var inner = p.inverse * matmul(vt, matrices::rows(ct, 1, n)) + as_row(row(ct)) * identity(n, ct.dtype());
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
          matrices::rows(call.out, 1, m),
          matrices::rows(call.out, 1 + m, n),
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
  const Var u_ct = matrices::rows(ct, 1, m), v_ct = matrices::rows(ct, 1 + m, n);
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

const RegisterRule registered[] = {
    RegisterRule(the<QrRule>()),   RegisterRule(the<EighRule>()), RegisterRule(the<SvdRule>()),
    RegisterRule(the<PinvRule>()), RegisterRule(the<ExpmRule>()),
};

}  // namespace

Var triangle(const Var& x, bool lower, std::int64_t k) {
  const std::int64_t n = rows_of(x), m = columns_of(x);
  return x * pattern(n, m, x.dtype(), [=](auto i, auto j) { return (lower ? j - i <= k : j - i >= k) ? 1.0 : 0.0; });
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

Svd svd(const Var& matrix, bool full) {
  require_matrices("svd", matrix, false);
  const Var a = floating(matrix);
  const std::int64_t m = rows_of(a), n = columns_of(a), k = std::min(m, n);
  const Var packed = apply_one<SvdRule>(a, flags(full && m != n));
  require_answer("svd", packed, {&a}, "the iteration for the singular values did not converge.");
  const Var s = columns(row(packed), k);
  return {columns(rows(packed, 1, m), full ? m : k), s, columns(rows(packed, 1 + m, n), full ? n : k)};
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

}  // namespace dualtape::tape
