// SPDX-License-Identifier: MIT
// Matrix products: every element must be its chain of fused multiply-adds, bit for bit, at any size, stride, blocking
// and instruction set.
#include <cmath>

#include "dualtape/array/matmul.hpp"
#include "dualtape/base/error.hpp"
#include "tests/array_testing.hpp"

using namespace dualtape;
using namespace dualtape::array;
using namespace dualtape::testing;

namespace {

template <class T>
Array chains(const Array& a, const Array& b, const Array* start = nullptr) {
  const std::size_t m = static_cast<std::size_t>(a.shape()[0]), k = static_cast<std::size_t>(a.shape()[1]);
  const std::size_t n = static_cast<std::size_t>(b.shape()[1]);
  const std::vector<T> x = elements<T>(a), y = elements<T>(b);
  std::vector<T> out = start ? elements<T>(*start) : std::vector<T>(m * n, T(0));
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t l = 0; l < k; ++l) out[i * n + j] = std::fma(x[i * k + l], y[l * n + j], out[i * n + j]);
    }
  }
  return array_of<T>(out, {static_cast<std::int64_t>(m), static_cast<std::int64_t>(n)});
}

const Dims kSwap{1, 0};

/// With every layout of both operands; `pairs` says whether each with each, or each once, which is enough where the
/// operands are packed (one without a look at the other).
template <class T>
void check_sizes(std::int64_t m, std::int64_t k, std::int64_t n, bool pairs = true) {
  CAPTURE(m);
  CAPTURE(k);
  CAPTURE(n);
  const DType dtype = dtype_of<T>;
  const Array a = random(dtype, {m, k}, 1), b = random(dtype, {k, n}, 2), start = random(dtype, {m, n}, 3);
  const Array a_turned = transpose(transpose(a, kSwap).copy(), kSwap),
              b_turned = transpose(transpose(b, kSwap).copy(), kSwap);
  const Array expected = chains<T>(a, b), continued = chains<T>(a, b, &start);
  for_every_isa([&] {
    const Array left[] = {a, a_turned, strided(a)}, right[] = {b_turned, strided(b), b};
    for (std::size_t i = 0; i < 3; ++i) {
      for (std::size_t j = 0; j < 3; ++j) {
        if (pairs || i == j) CHECK(same_bits(matmul(left[i], right[j]), expected));
      }
    }
    Array out = start.copy();
    matmul_into(out, a, b, true);
    CHECK(same_bits(out, continued));
    matmul_into(out, a_turned, b_turned);
    CHECK(same_bits(out, expected));
  });
}

}  // namespace

TEST_CASE("matmul is a chain of fused multiply-adds at every size") {
  for (std::int64_t m : {1, 2, 3, 5, 8, 13, 17}) {
    for (std::int64_t n : {2, 3, 7, 8, 9, 10, 16, 24, 25, 49}) {
      for (std::int64_t k : {1, 2, 7, 20}) {
        check_sizes<double>(m, k, n);
        check_sizes<float>(m, k, n);
      }
    }
  }
  for (std::int64_t m : {2, 9, 40}) check_sizes<double>(m, 11, 1);
}

TEST_CASE("matmul gives the same chain where it packs and blocks") {
  check_sizes<double>(64, 64, 32);
  check_sizes<double>(130, 300, 70, false);
  check_sizes<float>(250, 530, 66, false);
  check_sizes<double>(3, 280, 600, false);
}

TEST_CASE("a row times a column follows the tree of sums") {
  for (std::int64_t k : {1, 5, 31, 32, 100, 512, 513, 5000}) {
    for (DType dtype : {DType::f64, DType::f32}) {
      const Array a = random(dtype, {1, k}), b = random(dtype, {k, 1}, 2);
      const Array result = on_every_isa([&] { return matmul(a, b); });
      CHECK(same_bits(result, on_every_isa([&] { return matmul(strided(a), strided(b)); })));
      const std::vector<double> x = elements(a), y = elements(b);
      double exact = 0, scale = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        exact += x[i] * y[i];
        scale += std::abs(x[i] * y[i]);
      }
      CHECK(std::abs(result.item() - exact) <= scale * (dtype == DType::f64 ? 1e-15 : 3e-7));
    }
  }
  CHECK(std::signbit(matmul(array_of<double>({-0.0}, {1, 1}), array_of<double>({1}, {1, 1})).item()));
}

TEST_CASE("matmul broadcasts leading axes") {
  const Array a = random(DType::f64, {2, 1, 4, 3}), b = random(DType::f64, {5, 3, 6}, 2),
              c = random(DType::f64, {3, 6}, 3);
  const auto matrix = [](const Array& x, std::int64_t i) {
    Dims flat = {x.size() / (x.shape()[x.shape().size() - 2] * x.shape().back()), x.shape()[x.shape().size() - 2],
                 x.shape().back()};
    const Array all = reshape(x, flat);
    return reshape(slice(all, std::vector<Slice>{{i, 1, 1}, {0, 1, flat[1]}, {0, 1, flat[2]}}), Dims{flat[1], flat[2]});
  };
  for_every_isa([&] {
    for (const Array& left : {a, strided(a)}) {
      const Array y = matmul(left, b), z = matmul(left, c);
      REQUIRE(same_shape(y.shape(), Dims{2, 5, 4, 6}));
      REQUIRE(same_shape(z.shape(), Dims{2, 1, 4, 6}));
      for (std::int64_t i = 0; i < 10; ++i)
        CHECK(same_bits(matrix(y, i), chains<double>(matrix(a, i / 5), matrix(b, i % 5))));
      for (std::int64_t i = 0; i < 2; ++i) CHECK(same_bits(matrix(z, i), chains<double>(matrix(a, i), c)));
    }
    // Rows and columns of a batch stay products of their own.
    const Array rows = random(DType::f64, {4, 1, 40}), column = random(DType::f64, {40, 1}, 2);
    const Array dots = matmul(rows, column);
    for (std::int64_t i = 0; i < 4; ++i) CHECK(same_bits(matrix(dots, i), matmul(matrix(rows, i), column)));
  });
}

/// Both operands' lanes or one matrix for all, products turned or not, against products lane by lane.
void check_lanes(DType dtype, std::int64_t m, std::int64_t k, std::int64_t n, std::int64_t lanes) {
  CAPTURE(m);
  CAPTURE(k);
  CAPTURE(n);
  CAPTURE(lanes);
  const Array a = random(dtype, {2, m, k, lanes}, 1), b = random(dtype, {k, n, lanes}, 2);
  const Array turned = transpose(random(dtype, {n, k, lanes}, 3), Dims{1, 0, 2});
  const Array one_a = broadcast_to(random(dtype, {m, k, 1}, 4), Dims{m, k, lanes});
  const Array one_b = broadcast_to(random(dtype, {k, n, 1}, 5), Dims{k, n, lanes});
  const auto lane = [](const Array& x, std::int64_t i) {
    std::vector<Slice> slices;
    for (std::size_t axis = 0; axis + 1 < x.shape().size(); ++axis) slices.push_back({0, 1, x.shape()[axis]});
    slices.push_back({i, 1, 1});
    return reshape(slice(x, slices), Dims(x.shape().first(x.shape().size() - 1)));
  };
  const std::pair<Array, Array> pairs[] = {{a, b}, {a, turned}, {one_a, b}, {a, one_b}, {one_a, one_b}};
  for (const auto& [left, right] : pairs) {
    for_every_isa([&] {
      Dims shape(left.shape());
      shape[shape.size() - 2] = n;
      Array out = Array::empty(dtype, shape);
      matmul_lanes_into(out, left, right);
      for (std::int64_t i = 0; i < lanes; ++i) {
        CHECK(same_bits(lane(out, i), matmul(lane(left, i), lane(right, i))));
      }
    });
  }
}

TEST_CASE("matmul of many lanes is matmul of each") {
  for (std::int64_t lanes : {1, 3, 8, 21}) {
    for (std::int64_t m : {1, 2, 5}) {
      for (std::int64_t n : {1, 4, 7}) {
        for (std::int64_t k : {1, 40}) {
          check_lanes(DType::f64, m, k, n, lanes);
          check_lanes(DType::f32, m, k, n, lanes);
        }
      }
    }
  }
  check_lanes(DType::f64, 1, 0, 1, 8);
  check_lanes(DType::f64, 1, 700, 1, 9);
  check_lanes(DType::i64, 2, 3, 4, 5);
}

TEST_CASE("matmul of nothing, of whole numbers and of what does not fit") {
  CHECK(elements(matmul(Array::empty(DType::f64, Dims{2, 0}), Array::empty(DType::f64, Dims{0, 3}))) ==
        std::vector<double>(6, 0.0));
  CHECK(elements(matmul(Array::empty(DType::f64, Dims{1, 0}), Array::empty(DType::f64, Dims{0, 1})))[0] == 0);
  CHECK(matmul(Array::empty(DType::f64, Dims{0, 4}), random(DType::f64, {4, 3})).size() == 0);
  CHECK(matmul(Array::empty(DType::f64, Dims{0, 2, 4}), random(DType::f64, {4, 3})).size() == 0);
  const Array i = array_of<std::int64_t>({1, 2, 3, 4}, {2, 2}),
              mask = array_of<bool>({true, false, true, true}, {2, 2});
  CHECK(matmul(i, i).dtype() == DType::i64);
  CHECK(elements(matmul(i, transpose(i, kSwap))) == std::vector<double>{5, 11, 11, 25});
  CHECK(matmul(mask, mask).dtype() == DType::boolean);
  CHECK(elements(matmul(mask, mask)) == std::vector<double>{1, 0, 1, 1});
  CHECK(matmul(i, random(DType::f32, {2, 2})).dtype() == DType::f64);
  CHECK(matmul(mask, random(DType::f32, {2, 2})).dtype() == DType::f32);
  const Array x = random(DType::f64, {2, 3});
  CHECK_THROWS_AS(matmul(x, x), ShapeError);
  CHECK_THROWS_AS(matmul(x, random(DType::f64, {3})), ShapeError);
  CHECK_THROWS_AS(matmul(random(DType::f64, {2, 2, 3}), random(DType::f64, {3, 3, 2})), ShapeError);
  Array out = Array::zeros(DType::f64, Dims{3, 2});
  CHECK_THROWS_AS(matmul_into(out, x, transpose(x, kSwap)), ShapeError);
}
