// SPDX-License-Identifier: MIT
// Reductions: against naive loops, and against the tree that tree.hpp draws, written once more in the plainest way.
#include <cmath>
#include <limits>

#include "dualtape/array/reduce.hpp"
#include "dualtape/base/error.hpp"
#include "tests/array_testing.hpp"

using namespace dualtape;
using namespace dualtape::array;
using namespace dualtape::testing;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// The sum of a sequence by the rules of the tree.
template <class T>
T tree_sum(const std::vector<T>& x) {
  std::vector<T> blocks;
  for (std::size_t start = 0; start < x.size(); start += 512) {
    T lanes[32];
    std::fill(lanes, lanes + 32, T(-0.0));
    for (std::size_t i = start; i < x.size() && i < start + 512; ++i) lanes[(i - start) % 32] += x[i];
    for (int half = 16; half > 0; half /= 2) {
      for (int j = 0; j < half; ++j) lanes[j] += lanes[j + half];
    }
    blocks.push_back(lanes[0]);
  }
  // Neighbours first: the largest power of two below the number of blocks is one side.
  const auto join = [&](auto& self, std::size_t first, std::size_t count) -> T {
    if (count == 1) return blocks[first];
    std::size_t half = 1;
    while (2 * half < count) half *= 2;
    return self(self, first, half) + self(self, first + half, count - half);
  };
  return join(join, 0, blocks.size());
}

/// The elements of x that are reduced for each result, in C order.
std::vector<std::vector<double>> groups(const Array& x, const Dims& axes) {
  Dims order;
  std::int64_t count = 1;
  for (int i = 0; i < x.ndim(); ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) order.push_back(i);
  }
  for (std::int64_t axis : axes) {
    order.push_back(axis);
    count *= x.shape()[static_cast<std::size_t>(axis)];
  }
  const auto all = elements(transpose(x, order));
  std::vector<std::vector<double>> out;
  for (std::size_t i = 0; i < all.size(); i += static_cast<std::size_t>(count)) {
    out.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(i),
                     all.begin() + static_cast<std::ptrdiff_t>(i) + count);
  }
  return out;
}

const std::pair<Dims, Dims> kCases[] = {
    {{7}, {0}},          {{1000}, {0}},          {{64, 32}, {0}},        {{64, 32}, {1}},
    {{64, 10}, {1}},     {{64, 10}, {0}},        {{3, 4, 5}, {0, 2}},    {{3, 4, 5}, {1}},
    {{3, 4, 5}, {0, 1}}, {{3, 4, 5}, {1, 2}},    {{3, 4, 5}, {0, 1, 2}}, {{2, 600, 3}, {1}},
    {{1700, 9}, {0}},    {{3, 1700}, {1}},       {{1, 40, 1}, {1}},      {{1, 40, 1}, {0, 2}},
    {{33, 35}, {0}},     {{2, 3, 2, 3}, {1, 3}}, {{513, 67}, {0}},       {{4, 5}, {}}};

}  // namespace

TEST_CASE("sum follows the tree at every layout and instruction set") {
  for (const auto& [shape, axes] : kCases) {
    CAPTURE(to_string(shape));
    CAPTURE(to_string(axes));
    for (DType dtype : {DType::f64, DType::f32}) {
      const Array x = random(dtype, shape);
      const Array result = on_every_isa([&] { return sum(x, axes); });
      CHECK(same_bits(result, on_every_isa([&] { return sum(strided(x), axes); })));
      const auto parts = groups(x, axes);
      for (std::size_t i = 0; i < parts.size(); ++i) {
        if (dtype == DType::f64)
          CHECK(elements(result)[i] == tree_sum(parts[i]));
        else
          CHECK(elements<float>(result)[i] == tree_sum(std::vector<float>(parts[i].begin(), parts[i].end())));
      }
    }
  }
}

TEST_CASE("max, min and prod") {
  for (const auto& [shape, axes] : kCases) {
    CAPTURE(to_string(shape));
    CAPTURE(to_string(axes));
    for (DType dtype : {DType::f64, DType::f32, DType::i64, DType::boolean}) {
      const Array x = random(dtype, shape);
      const auto parts = groups(x, axes);
      const Array high = on_every_isa([&] { return max(x, axes); }), low = on_every_isa([&] { return min(x, axes); });
      const Array product = on_every_isa([&] { return prod(strided(x), axes); });
      CHECK(high.dtype() == dtype);
      for (std::size_t i = 0; i < parts.size(); ++i) {
        CHECK(elements(high)[i] == *std::max_element(parts[i].begin(), parts[i].end()));
        CHECK(elements(low)[i] == *std::min_element(parts[i].begin(), parts[i].end()));
      }
      if (is_float(dtype) && product.size() > 0 && parts[0].size() < 20) {
        double exact = 1;
        for (double v : parts[0]) exact *= v;
        CHECK(elements(product)[0] == doctest::Approx(exact).epsilon(dtype == DType::f64 ? 1e-14 : 1e-5));
      }
    }
  }
}

TEST_CASE("reductions of special values") {
  for_every_isa([] {
    for (std::size_t at : {0u, 5u, 40u, 69u}) {
      std::vector<double> values(70, 1.0);
      values[at] = kNan;
      CHECK(std::isnan(max(vector_of(values), Dims{0}).item()));
      CHECK(std::isnan(min(vector_of(values), Dims{0}).item()));
      CHECK(std::isnan(max(array_of(values, {70, 1}), Dims{0}).item()));
      CHECK(argmax(vector_of(values), 0).item() == static_cast<double>(at));
      CHECK(argmin(vector_of(values), std::nullopt).item() == static_cast<double>(at));
    }
    CHECK(max(vector_of<double>({-kInf, -kInf}), Dims{0}).item() == -kInf);
    CHECK(sum(vector_of<double>({kInf, 1}), Dims{0}).item() == kInf);
    CHECK(std::isnan(sum(vector_of<double>({kInf, -kInf}), Dims{0}).item()));
    CHECK(std::signbit(sum(vector_of<double>({-0.0, -0.0}), Dims{0}).item()));
    CHECK_FALSE(std::signbit(sum(Array::empty(DType::f64, Dims{0}), Dims{0}).item()));
  });
}

TEST_CASE("reductions of nothing and over no axes") {
  const Array nothing = Array::empty(DType::f64, Dims{0, 3});
  CHECK(elements(sum(nothing, Dims{0})) == std::vector<double>{0, 0, 0});
  CHECK(elements(prod(nothing, Dims{0, 1})) == std::vector<double>{1});
  CHECK(sum(nothing, Dims{1}).size() == 0);
  CHECK(max(nothing, Dims{1}).size() == 0);
  CHECK(argmax(nothing, 1).size() == 0);
  CHECK_THROWS_AS(max(nothing, Dims{0}), ShapeError);
  CHECK_THROWS_AS(argmin(nothing, 0), ShapeError);
  CHECK_THROWS_AS(argmin(nothing, std::nullopt), ShapeError);
  CHECK(any(nothing, Dims{0, 1}).item() == 0);
  CHECK(all(nothing, Dims{0, 1}).item() == 1);
  CHECK(sum(Array(2.5), Dims{}).item() == 2.5);
  CHECK(max(Array(2.5), Dims{}).item() == 2.5);
  CHECK(argmax(Array(2.5), std::nullopt).item() == 0);
  CHECK_THROWS_AS(sum(nothing, Dims{2}), ShapeError);
  CHECK_THROWS_AS(sum(nothing, Dims{0, -2}), ShapeError);
  CHECK(same_shape(sum(random(DType::f64, {2, 3, 4}), Dims{0, -1}, true).shape(), Dims{1, 3, 1}));
  CHECK(same_shape(sum(random(DType::f64, {2, 3, 4}), Dims{0, -1}).shape(), Dims{3}));
}

TEST_CASE("dtypes of reductions") {
  const Array mask = array_of<bool>({true, false, true, true}, {2, 2}),
              whole = array_of<std::int64_t>({3, -7, 0, 2}, {2, 2});
  CHECK(sum(mask, Dims{0, 1}).dtype() == DType::i64);
  CHECK(sum(mask, Dims{0, 1}).item() == 3);
  CHECK(elements(sum(whole, Dims{0})) == std::vector<double>{3, -5});
  CHECK(prod(whole, Dims{1}).dtype() == DType::i64);
  CHECK(elements(prod(whole, Dims{1})) == std::vector<double>{-21, 0});
  CHECK(sum(random(DType::f32, {3}), Dims{0}).dtype() == DType::f32);
  CHECK(elements(any(whole, Dims{1})) == std::vector<double>{1, 1});
  CHECK(elements(all(whole, Dims{1})) == std::vector<double>{1, 0});
  CHECK(any(whole, Dims{1}).dtype() == DType::boolean);
  CHECK(count_nonzero(whole, Dims{0, 1}).item() == 3);
  CHECK(count_nonzero(vector_of<double>({kNan, 0, -0.0, 1e-320}), Dims{0}).item() == 2);
}

TEST_CASE("argmax and argmin give the first place") {
  const Array x = array_of<double>({1, 5, 5, -2, -2, 0, 5, 5, 5}, {3, 3});
  CHECK(elements(argmax(x, 1)) == std::vector<double>{1, 2, 0});
  CHECK(elements(argmin(x, 0)) == std::vector<double>{1, 1, 1});
  CHECK(argmax(x, std::nullopt).item() == 1);
  CHECK(same_shape(argmax(x, 0, true).shape(), Dims{1, 3}));
  CHECK(same_shape(argmax(x, std::nullopt, true).shape(), Dims{1, 1}));
  CHECK(argmax(x, 0).dtype() == DType::i64);
  const Array big = strided(random(DType::f32, {200, 7}));
  const auto values = elements(transpose(big, Dims{1, 0}));
  const auto found = elements(argmax(big, -2));
  for (std::size_t j = 0; j < 7; ++j) {
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(200 * j);
    CHECK(found[j] == static_cast<double>(std::max_element(first, first + 200) - first));
  }
}

TEST_CASE("cumsum runs in order, both ways") {
  CHECK(elements(cumsum(array_of<double>({1, 2, 3, 4, 5, 6}, {2, 3}), 1)) == std::vector<double>{1, 3, 6, 4, 9, 15});
  CHECK(elements(cumsum(array_of<double>({1, 2, 3, 4, 5, 6}, {2, 3}), 0, true)) ==
        std::vector<double>{5, 7, 9, 4, 5, 6});
  CHECK(elements(cumsum(array_of<bool>({true, true, false}, {3}), 0)) == std::vector<double>{1, 2, 2});
  CHECK(cumsum(array_of<bool>({true, true, false}, {3}), 0).dtype() == DType::i64);
  CHECK(cumsum(Array::empty(DType::f64, Dims{0, 2}), 0).size() == 0);
  const Array x = random(DType::f64, {3, 4, 2});
  CHECK(same_bits(cumsum(strided(x), 1), cumsum(x, 1)));
  CHECK(same_bits(cumsum(x, 1, true), flip(cumsum(flip(x, Dims{1}), 1), Dims{1})));
}

TEST_CASE("sum_to_shape undoes broadcasting") {
  const Array ct = random(DType::f64, {2, 3, 4});
  CHECK(same_bits(sum_to_shape(ct, Dims{2, 3, 4}), ct));
  CHECK(same_bits(sum_to_shape(ct, Dims{3, 1}), reshape(sum(ct, Dims{0, 2}), Dims{3, 1})));
  CHECK(same_bits(sum_to_shape(ct, Dims{4}), sum(ct, Dims{0, 1})));
  CHECK(sum_to_shape(ct, Dims{}).item() == sum(ct, Dims{0, 1, 2}).item());
  CHECK(elements(sum_to_shape(Array::empty(DType::f64, Dims{0, 2}), Dims{1, 2})) == std::vector<double>{0, 0});
  CHECK_THROWS_AS(sum_to_shape(ct, Dims{2, 4}), ShapeError);
}

TEST_CASE("softmax, log_softmax and logsumexp") {
  for (const auto& [shape, axis] : {std::pair{Dims{64, 10}, 1},
                                    {Dims{10, 64}, 0},
                                    {Dims{3, 700}, 1},
                                    {Dims{700, 300}, 0},
                                    {Dims{2, 5, 7}, 1},
                                    {Dims{6}, 0},
                                    {Dims{4, 1}, 1},
                                    {Dims{1, 3}, 0}}) {
    CAPTURE(to_string(shape));
    for (DType dtype : {DType::f64, DType::f32}) {
      const double bound = dtype == DType::f64 ? 1e-13 : 1e-5;
      const Array x = random(dtype, shape);
      const Array p = on_every_isa([&] { return softmax(x, axis); });
      const Array q = on_every_isa([&] { return log_softmax(strided(x), axis); });
      const Array s = on_every_isa([&] { return logsumexp(x, axis); });
      CHECK(p.dtype() == dtype);
      const auto parts = groups(x, Dims{axis}), ps = groups(p, Dims{axis}), qs = groups(q, Dims{axis});
      REQUIRE(s.size() == static_cast<std::int64_t>(parts.size()));
      for (std::size_t i = 0; i < parts.size(); ++i) {
        double total = 0;
        for (double v : parts[i]) total += std::exp(v);
        CHECK(elements(s)[i] == doctest::Approx(std::log(total)).epsilon(bound));
        for (std::size_t k = 0; k < parts[i].size(); k += 7) {
          CHECK(std::abs(ps[i][k] - std::exp(parts[i][k]) / total) <= bound);
          CHECK(std::abs(qs[i][k] - (parts[i][k] - std::log(total))) <= 20 * bound);
        }
      }
    }
  }
}

TEST_CASE("softmax and its kin at the edges") {
  for_every_isa([] {
    CHECK(elements(softmax(vector_of<double>({1000, 1000}), 0)) == std::vector<double>{0.5, 0.5});
    CHECK(elements(softmax(vector_of<double>({-kInf, 3}), 0)) == std::vector<double>{0, 1});
    CHECK(logsumexp(vector_of<double>({-kInf, -kInf}), 0).item() == -kInf);
    CHECK(logsumexp(vector_of<double>({kInf, 1}), 0).item() == kInf);
    CHECK(logsumexp(vector_of<double>({-kInf, 2}), 0).item() == 2);
    CHECK(std::isnan(logsumexp(vector_of<double>({kNan, 2}), 0).item()));
    CHECK(elements(log_softmax(vector_of<double>({-kInf, 2}), 0)) == std::vector<double>{-kInf, 0});
    CHECK(std::isnan(elements(softmax(vector_of<double>({-kInf, -kInf}), 0))[0]));
    CHECK(softmax(vector_of<std::int64_t>({0, 0}), 0).dtype() == DType::f64);
    CHECK(softmax(Array::empty(DType::f64, Dims{0, 3}), 1).size() == 0);
    CHECK(logsumexp(Array::empty(DType::f64, Dims{3, 0}), 1).size() == 3);
    CHECK(same_shape(logsumexp(random(DType::f64, {2, 3}), 1, true).shape(), Dims{2, 1}));
  });
}
