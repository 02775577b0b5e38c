// SPDX-License-Identifier: MIT
// Indexing with integer arrays, against reading element by element.
#include "dualtape/array/gather.hpp"
#include "dualtape/base/error.hpp"
#include "tests/array_testing.hpp"

using namespace dualtape;
using namespace dualtape::array;
using namespace dualtape::testing;

TEST_CASE("take replaces the axis by the index") {
  const Array index = array_of<std::int64_t>({2, -1, 0, 2, -4, 1}, {2, 3});
  for (DType dtype : {DType::f64, DType::f32, DType::i64, DType::boolean}) {
    const Array x = random(dtype, {3, 4, 2});
    for (const Array& layout : {x, strided(x)}) {
      const Array y = take(layout, 1, index);
      CHECK(same_shape(y.shape(), Dims{3, 2, 3, 2}));
      CHECK(y.dtype() == dtype);
      const auto from = elements(x), to = elements(y), at = elements(index);
      for (std::size_t o = 0; o < 3; ++o) {
        for (std::size_t j = 0; j < 6; ++j) {
          const auto row = static_cast<std::size_t>(at[j] < 0 ? at[j] + 4 : at[j]);
          for (std::size_t k = 0; k < 2; ++k) CHECK(to[(o * 6 + j) * 2 + k] == from[(o * 4 + row) * 2 + k]);
        }
      }
    }
  }
  const Array x = random(DType::f64, {5});
  CHECK(take(x, 0, array_of<std::int64_t>({3}, {})).is_scalar());
  CHECK(take(x, 0, strided(index)).shape()[1] == 3);
  CHECK(take(x, 0, Array::empty(DType::i64, Dims{0})).size() == 0);
  CHECK(same_shape(take(Array::empty(DType::f64, Dims{0, 4}), 1, index).shape(), Dims{0, 2, 3}));
  CHECK_THROWS_WITH(take(x, 0, vector_of<std::int64_t>({0, 5})),
                    "take: index 5 is out of bounds; the axis has extent 5; use -5 to 4.");
  CHECK_THROWS_AS(take(x, 0, vector_of<std::int64_t>({-6})), ShapeError);
  CHECK_THROWS_AS(take(x, 1, index), ShapeError);
  CHECK_THROWS_AS(take(x, 0, vector_of<double>({0})), DTypeError);
  CHECK_THROWS_AS(take(Array::empty(DType::f64, Dims{0}), 0, vector_of<std::int64_t>({0})), ShapeError);
}

TEST_CASE("put_add is the transpose of take") {
  const Array index = vector_of<std::int64_t>({2, -1, 2, 2});
  const Array x = random(DType::f64, {2, 4, 3}), ct = random(DType::f64, {2, 4, 3}, 2);
  const Array y = take(x, 1, index), back = put_add(strided(ct), 1, index, x.shape());
  double left = 0, right = 0;
  for (std::size_t i = 0; i < 24; ++i) {
    left += elements(y)[i] * elements(ct)[i];
    right += elements(x)[i] * elements(back)[i];
  }
  CHECK(left == doctest::Approx(right));
  CHECK(elements(put_add(vector_of<float>({1, 2, 4, 8}), 0, index, Dims{4})) == std::vector<double>{0, 0, 13, 2});
}

TEST_CASE("put assigns, and of duplicates the last stays") {
  const Array index = vector_of<std::int64_t>({0, -1, 0});
  Array x = Array::zeros(DType::f32, Dims{2, 3});
  put(x, 1, index, vector_of<double>({1, 2, 3}));
  CHECK(elements(x) == std::vector<double>{3, 0, 2, 3, 0, 2});
  put(x, 0, vector_of<std::int64_t>({1}), Array(9.0));
  CHECK(elements(x) == std::vector<double>{3, 0, 2, 9, 9, 9});
  CHECK_THROWS_AS(put(x, 1, index, vector_of<double>({1, 2})), ShapeError);
  CHECK_THROWS_AS(put(x, 1, vector_of<std::int64_t>({3}), Array(1.0)), ShapeError);
  Array y = strided(random(DType::f64, {3, 2}));
  const auto before = elements(y);
  put(y, 0, vector_of<std::int64_t>({1}), Array(5.0));
  CHECK(elements(y) == std::vector{before[0], before[1], 5.0, 5.0, before[4], before[5]});
}

TEST_CASE("flat_nonzero") {
  CHECK(elements(flat_nonzero(array_of<bool>({true, false, true, true}, {2, 2}))) == std::vector<double>{0, 2, 3});
  CHECK(elements(flat_nonzero(transpose(array_of<double>({1, 0, 0, -0.0, 5, 6}, {2, 3}), Dims{1, 0}))) ==
        std::vector<double>{0, 3, 5});
  CHECK(flat_nonzero(Array(0.0)).size() == 0);
  CHECK(flat_nonzero(Array::empty(DType::boolean, Dims{0})).size() == 0);
}
