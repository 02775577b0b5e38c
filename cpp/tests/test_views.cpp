// SPDX-License-Identifier: MIT
// Views and rearrangements, against reading element by element.
#include "dualtape/base/error.hpp"
#include "tests/array_testing.hpp"

using namespace dualtape;
using namespace dualtape::array;
using namespace dualtape::testing;

TEST_CASE("reshape keeps C order and copies only where it must") {
  const Array x = random(DType::f64, {4, 6});
  const Array flat = reshape(x, Dims{-1});
  CHECK(same_shape(flat.shape(), Dims{24}));
  CHECK(flat.buffer() == x.buffer());
  CHECK(elements(reshape(x, Dims{2, 1, 12})) == elements(x));

  const Array turned = transpose(x, Dims{1, 0});
  CHECK(elements(reshape(turned, Dims{24})) == elements(turned));
  CHECK_FALSE(reshape(turned, Dims{24}).buffer() == x.buffer());
  CHECK(reshape(turned, Dims{3, 2, 1, 4}).buffer() == x.buffer());
  CHECK(elements(reshape(turned, Dims{3, 2, 1, 4})) == elements(turned));

  const Array every_second = slice(x, std::vector<Slice>{{0, 1, 4}, {5, -2, 3}});
  CHECK(reshape(every_second, Dims{2, 2, 3, 1}).buffer() == x.buffer());
  CHECK(elements(reshape(every_second, Dims{2, 2, 3, 1})) == elements(every_second));
  CHECK(elements(reshape(every_second, Dims{12})) == elements(every_second));

  const Array repeated = broadcast_to(random(DType::f32, {1, 5}), Dims{3, 5});
  CHECK(elements(reshape(repeated, Dims{15})) == elements(repeated));
  CHECK(reshape(Array(2.5), Dims{1, 1}).item() == 2.5);
  CHECK(reshape(Array::full(DType::f64, Dims{1}, 3), Dims{}).is_scalar());
  CHECK(same_shape(reshape(Array::empty(DType::f64, Dims{0, 3}), Dims{3, 0, 2}).shape(), Dims{3, 0, 2}));
  CHECK_THROWS_AS(reshape(x, Dims{5, 5}), ShapeError);
  CHECK_THROWS_AS(reshape(x, Dims{-1, -1}), ShapeError);
  CHECK_THROWS_AS(reshape(x, Dims{-1, 7}), ShapeError);
  CHECK_THROWS_WITH(reshape(x, Dims{5, -2}),
                    "reshape((4, 6), (5, -2)): the numbers of elements differ; 24 are there; use extents with that "
                    "product, at most one of them -1.");
}

TEST_CASE("transpose") {
  const Array x = random(DType::f64, {2, 3, 4});
  const Array y = transpose(x, Dims{-1, 0, 1});
  CHECK(same_shape(y.shape(), Dims{4, 2, 3}));
  const auto a = elements(x), b = elements(y);
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t j = 0; j < 3; ++j) {
      for (std::size_t k = 0; k < 4; ++k) CHECK(b[(k * 2 + i) * 3 + j] == a[(i * 3 + j) * 4 + k]);
    }
  }
  CHECK_THROWS_AS(transpose(x, Dims{0, 1}), ShapeError);
  CHECK_THROWS_AS(transpose(x, Dims{0, 1, 1}), ShapeError);
  CHECK_THROWS_AS(transpose(x, Dims{0, 1, 3}), ShapeError);
  CHECK(transpose(Array(1.5), Dims{}).item() == 1.5);
}

TEST_CASE("slice, its writing and its transpose") {
  const Array x = random(DType::f64, {5, 7});
  const auto all = elements(x);
  const std::vector<Slice> slices = {{4, -2, 3}, {1, 3, 2}};
  const Array y = slice(x, slices);
  CHECK(y.buffer() == x.buffer());
  CHECK(elements(y) == std::vector{all[29], all[32], all[15], all[18], all[1], all[4]});

  Array z = x.copy();
  write_slice(z, slices, vector_of<float>({8, 9}));
  auto expected = all;
  for (std::size_t i : {29u, 15u, 1u}) expected[i] = 8, expected[i + 3] = 9;
  CHECK(elements(z) == expected);
  write_slice(z, slices, reshape(vector_of<double>({1, 2}), Dims{1, 1, 2}));
  CHECK(elements(slice(z, slices)) == std::vector<double>{1, 2, 1, 2, 1, 2});
  write_slice(z, std::vector<Slice>{{2, 1, 1}, {0, 1, 1}}, Array(-4.0));
  CHECK(elements(z)[14] == -4);
  CHECK_THROWS_AS(write_slice(z, slices, vector_of<double>({1, 2, 3})), ShapeError);

  const Array back = unslice(y, x.shape(), slices);
  auto placed = std::vector<double>(35, 0.0);
  for (std::size_t i : {29u, 32u, 15u, 18u, 1u, 4u}) placed[i] = all[i];
  CHECK(elements(back) == placed);

  Array whole(3.0);
  write_slice(whole, {}, Array(5.0));
  CHECK(whole.item() == 5);
  Array numbers = Array::zeros(DType::i64, Dims{3});
  write_slice(numbers, std::vector<Slice>{{2, -2, 2}}, vector_of<double>({1.9, -1.9}));
  CHECK(elements(numbers) == std::vector<double>{-1, 0, 1});

  CHECK(slice(x, std::vector<Slice>{{0, 1, 0}, {0, 1, 7}}).size() == 0);
  CHECK_THROWS_AS(slice(x, std::vector<Slice>{{0, 1, 5}}), ShapeError);
  CHECK_THROWS_AS(slice(x, std::vector<Slice>{{0, 1, 6}, {0, 1, 1}}), ShapeError);
  CHECK_THROWS_AS(slice(x, std::vector<Slice>{{1, -1, 3}, {0, 1, 1}}), ShapeError);
  // Numbers of a forged file, whose last element cannot be computed.
  constexpr std::int64_t kMost = INT64_MAX, kLeast = INT64_MIN;
  for (const Slice huge : {Slice{0, 1, kMost}, Slice{4, kMost, 2}, Slice{0, kLeast, 2}, Slice{4, -1, kMost},
                           Slice{kMost, 1, 1}, Slice{kLeast, 1, 1}, Slice{0, kMost, kMost}, Slice{0, 1, kLeast}}) {
    CHECK_THROWS_AS(slice(x, std::vector<Slice>{huge, {0, 1, 1}}), ShapeError);
  }
  CHECK(slice(x, std::vector<Slice>{{4, 0, 3}, {0, 1, 1}}).size() == 3);
  CHECK(slice(x, std::vector<Slice>{{4, -4, 2}, {0, 6, 2}}).size() == 4);
  CHECK(slice(x, std::vector<Slice>{{4, kLeast, 1}, {0, kMost, 1}}).size() == 1);
}

TEST_CASE("broadcast_to and flip") {
  const Array x = random(DType::f32, {3, 1});
  const Array y = broadcast_to(x, Dims{2, 3, 4});
  CHECK(y.buffer() == x.buffer());
  const auto a = elements(x), b = elements(y);
  for (std::size_t i = 0; i < 24; ++i) CHECK(b[i] == a[i / 4 % 3]);
  CHECK(elements(broadcast_to(Array(2.0), Dims{2, 2})) == std::vector<double>{2, 2, 2, 2});
  CHECK(broadcast_to(x, Dims{3, 0}).size() == 0);
  CHECK_THROWS_AS(broadcast_to(x, Dims{2, 1}), ShapeError);
  CHECK_THROWS_AS(broadcast_to(x, Dims{3}), ShapeError);

  const Array z = random(DType::f64, {2, 3});
  const auto c = elements(z);
  CHECK(elements(flip(z, Dims{-1})) == std::vector{c[2], c[1], c[0], c[5], c[4], c[3]});
  CHECK(elements(flip(flip(z, Dims{0, 1}), Dims{1, 0})) == c);
  CHECK(flip(Array::empty(DType::f64, Dims{0, 2}), Dims{0}).size() == 0);
}

TEST_CASE("strided layouts read as the arrays they stand for") {
  for (const Dims& shape : {Dims{5}, Dims{4, 3}, Dims{2, 3, 4}, Dims{2, 1, 3, 2}, Dims{0, 2}}) {
    const Array x = random(DType::f64, shape);
    CHECK(elements(strided(x)) == elements(x));
    CHECK(same_bits(strided(x), x));
  }
}

TEST_CASE("concatenate promotes and joins along any axis") {
  const Array a = random(DType::f64, {2, 3}), b = strided(random(DType::f32, {2, 2}, 2)),
              c = Array::empty(DType::i64, Dims{2, 0});
  const Array* parts[] = {&a, &b, &c};
  const Array y = concatenate(parts, -1);
  CHECK(y.dtype() == DType::f64);
  CHECK(same_bits(slice(y, std::vector<Slice>{{0, 1, 2}, {0, 1, 3}}), a));
  CHECK(same_bits(slice(y, std::vector<Slice>{{0, 1, 2}, {3, 1, 2}}), b.cast(DType::f64)));
  const Array* same[] = {&a, &a};
  CHECK(same_shape(concatenate(same, 0).shape(), Dims{4, 3}));
  CHECK_THROWS_AS(concatenate(parts, 0), ShapeError);
  CHECK_THROWS_AS(concatenate(parts, 2), ShapeError);
  const Array scalar(1.0);
  const Array* scalars[] = {&scalar};
  CHECK_THROWS_AS(concatenate(scalars, 0), ShapeError);
}
