// SPDX-License-Identifier: MIT
// Functions of matrices that are made of factorisations, but have derivatives that those do not have: cofactors,
// pseudo-inverses and exponentials.
#include <algorithm>
#include <cmath>
#include <vector>

#include "dualtape/array/linalg.hpp"
#include "dualtape/array/linalg_blocks.hpp"

namespace dualtape::array {
namespace {

/// Memory for a few matrices of n rows and columns.
class Work {
 public:
  Work(std::int64_t n, int count)
      : n_(n), memory_(Buffer::allocate(static_cast<std::size_t>(std::max<std::int64_t>(n * n, 1) * count) * 8)) {}
  Matrix operator[](int i) const { return c_ordered(static_cast<double*>(memory_.data()) + i * n_ * n_, n_, n_); }

 private:
  std::int64_t n_;
  Buffer memory_;
};

Array copied(const Matrix& x) {
  Array out = Array::empty(DType::f64, Dims{x.rows, x.columns});
  if (!out.size()) return out;
  copy_matrix(x, c_ordered(out.writable_data<double>(), x.rows, x.columns));
  return out;
}

/// to = sum of factors[i] times terms[i].
void combine(const Matrix& to, std::initializer_list<double> factors, std::initializer_list<Matrix> terms) {
  fill_matrix(to, 0);
  auto factor = factors.begin();
  for (const Matrix& term : terms) {
    for (std::int64_t k = 0; k < to.rows * to.columns; ++k) to.at[k] += *factor * term.at[k];
    ++factor;
  }
}

/// Pivots this small, relative to the largest, have lost half of their digits.
constexpr double kSmallPivot = 0x1p-26;

double norm_1(const Matrix& a) {
  double most = 0;
  for (std::int64_t j = 0; j < a.columns; ++j) {
    double sum = 0;
    for (std::int64_t i = 0; i < a.rows; ++i) sum += std::abs(a(i, j));
    if (!(sum <= most)) most = sum;  // (NaN wins.)
  }
  return most;
}

/// Higham's algorithm: a Padé approximant of degree 3, 5, 7, 9 or 13, by the norm, of A / 2^s, squared s times.
void exponential(BlockProducts& products, Matrix a, const Matrix& to) {
  const std::int64_t n = a.rows;
  const Work work(n, 7);
  const Matrix identity = work[0], a2 = work[1], a4 = work[2], a6 = work[3], u = work[4], v = work[5], t = work[6];
  fill_matrix(identity, 0);
  for (std::int64_t k = 0; k < n; ++k) identity(k, k) = 1;
  const double norm = norm_1(a);
  if (!std::isfinite(norm)) return fill_matrix(to, kNoAnswer);
  int squarings = 0;
  const auto square = [&] { products.product(a2, a, a); };
  if (norm <= 2.097847961257068) {
    square();
    products.product(a4, a2, a2);
    if (norm <= 1.495585217958292e-2) {
      combine(t, {60, 1}, {identity, a2});
      combine(v, {120, 12}, {identity, a2});
    } else if (norm <= 2.539398330063230e-1) {
      combine(t, {15120, 420, 1}, {identity, a2, a4});
      combine(v, {30240, 3360, 30}, {identity, a2, a4});
    } else {
      products.product(a6, a4, a2);
      if (norm <= 9.504178996162932e-1) {
        combine(t, {8648640, 277200, 1512, 1}, {identity, a2, a4, a6});
        combine(v, {17297280, 1995840, 25200, 56}, {identity, a2, a4, a6});
      } else {
        products.product(u, a4, a4);  // A^8
        combine(t, {8821612800., 302702400, 2162160, 3960, 1}, {identity, a2, a4, a6, u});
        combine(v, {17643225600., 2075673600, 30270240, 110880, 90}, {identity, a2, a4, a6, u});
      }
    }
  } else {
    std::frexp(norm / 5.371920351148152, &squarings);
    squarings = std::max(squarings, 0);
    for (std::int64_t k = 0; k < n * n; ++k) a.at[k] = std::ldexp(a.at[k], -squarings);
    square();
    products.product(a4, a2, a2);
    products.product(a6, a4, a2);
    combine(v, {40840800, 16380, 1}, {a2, a4, a6});
    products.product(t, a6, v);
    combine(v, {32382376266240000., 1187353796428800., 10559470521600., 33522128640., 1}, {identity, a2, a4, a6, t});
    std::copy_n(v.at, n * n, t.at);
    combine(to, {1323241920., 960960, 182}, {a2, a4, a6});
    products.product(u, a6, to);
    combine(v, {64764752532480000., 7771770303897600., 129060195264000., 670442572800., 1}, {identity, a2, a4, a6, u});
  }
  // (V - U) X = V + U, where U = A T.
  products.product(u, a, t);
  std::vector<std::int64_t> swaps(static_cast<std::size_t>(n));
  for (std::int64_t k = 0; k < n * n; ++k) {
    t.at[k] = v.at[k] - u.at[k];
    to.at[k] = v.at[k] + u.at[k];
  }
  lu_in_place(products, t, swaps.data());
  for (std::int64_t k = 0; k < n; ++k) {
    const std::int64_t other = swaps[static_cast<std::size_t>(k)];
    if (other != k) std::swap_ranges(&to(k, 0), &to(k, 0) + n, &to(other, 0));
  }
  triangular_solve_in_place(products, t, to, true, true);
  triangular_solve_in_place(products, t, to, false, false);
  for (; squarings > 0; --squarings) {
    products.product(t, to, to);
    std::copy_n(t.at, n * n, to.at);
  }
}

}  // namespace

Array cofactors(const Array& a, const Array& packed) {
  const std::int64_t n = a.shape().back();
  Batch batch("cofactors", {&a, &packed}, n, n);
  BlockProducts products;
  for (std::int64_t i = 0; i < batch.count(); ++i) {
    const Matrix f = batch.in(1, i), to = c_ordered(batch.out(i), n, n);
    double least = n ? std::abs(f(0, 0)) : 1, most = least;
    for (std::int64_t k = 0; k < n; ++k) {
      least = std::min(least, std::abs(f(k, k)));
      most = std::max(most, std::abs(f(k, k)));
    }
    if (!(least <= kSmallPivot * most)) {
      // det inv(A)' = inv(A') det, from the packed LU.
      fill_matrix(to, 0);
      double det = f(n, n);
      for (std::int64_t k = 0; k < n; ++k) det *= std::abs(f(k, k));
      for (std::int64_t k = 0; k < n; ++k) to(k, k) = det;
      triangular_solve_in_place(products, f.block(0, 0, n, n).transposed(), to, true, false);
      triangular_solve_in_place(products, f.block(0, 0, n, n).transposed(), to, false, true);
      std::vector<double> rows(to.at, to.at + n * n);
      for (std::int64_t k = 0; k < n; ++k)
        std::copy_n(rows.data() + k * n, n, &to(static_cast<std::int64_t>(f(k, n)), 0));
      continue;
    }
    // A = U S V': the cofactors are det(U) det(V) U P V', where P has the products of the other singular values.
    const Array factors = svd(copied(batch.in(0, i)), false);
    const Matrix usv = c_ordered(const_cast<double*>(factors.data<double>()), 2 * n + 1, n);
    Array u = copied(usv.block(1, 0, n, n)), v = copied(usv.block(1 + n, 0, n, n));
    const double sign = lu_det(lu(u)).item() * lu_det(lu(v)).item() < 0 ? -1.0 : 1.0;
    for (std::int64_t k = 0; k < n; ++k) {
      double others = sign;
      for (std::int64_t j = 0; j < n; ++j) others *= j == k ? 1.0 : usv(0, j);
      for (std::int64_t row = 0; row < n; ++row) u.writable_data<double>()[row * n + k] *= others;
    }
    products.product(to, c_ordered(u.writable_data<double>(), n, n),
                     c_ordered(v.writable_data<double>(), n, n).transposed());
  }
  return batch.finish();
}

Array pinv(const Array& a, const Array& cut) {
  const Shape shape = a.shape().last(2);
  const std::int64_t m = shape[0], n = shape[1], k = std::min(m, n);
  Batch batch("pinv", {&a, &cut}, n, m);
  BlockProducts products;
  for (std::int64_t i = 0; i < batch.count(); ++i) {
    const Matrix to = c_ordered(batch.out(i), n, m);
    const Array factors = svd(copied(batch.in(0, i)), false);
    if (k == 0) continue;
    const Matrix packed = c_ordered(const_cast<double*>(factors.data<double>()), 1 + m + n, k);
    const Matrix v = packed.block(1 + m, 0, n, k);
    const double least = *batch.in(1, i).at * packed(0, 0);
    for (std::int64_t j = 0; j < k; ++j) {
      const double s = packed(0, j), factor = s > least ? 1 / s : std::isnan(s) ? s : 0.0;
      for (std::int64_t row = 0; row < n; ++row) v(row, j) *= factor;
    }
    products.product(to, v, packed.block(1, 0, m, k).transposed());
  }
  return batch.finish();
}

Array expm(const Array& a) {
  const std::int64_t n = a.shape().back();
  Batch batch("expm", {&a}, n, n);
  BlockProducts products;
  const Work work(n, 1);
  for (std::int64_t i = 0; i < batch.count(); ++i) {
    copy_matrix(batch.in(0, i), work[0]);
    exponential(products, work[0], c_ordered(batch.out(i), n, n));
  }
  return batch.finish();
}

}  // namespace dualtape::array
