// SPDX-License-Identifier: MIT
// Philox4x32-10: the answers that its authors publish, and the kernels of each instruction set against it, one by one.
#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "dualtape/num/kernels/philox.hpp"
#include "dualtape/num/philox.hpp"
#include "dualtape/tape/functions.hpp"
#include "tests/array_testing.hpp"

using namespace dualtape;
using namespace dualtape::testing;
using num::DrawKey;
using num::Philox4;

// kat_vectors of Random123.
static_assert(num::philox({0, 0, 0, 0}, {0, 0}) == Philox4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
static_assert(num::philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == Philox4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
static_assert(num::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
              Philox4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});

// The interval is open, whatever the words.
static_assert(num::open_unit(0, 0) == 0x1p-53 && num::open_unit(~0u, ~0u) == 1 - 0x1p-53);
static_assert(num::open_unit(0) == 0x1p-24f && num::open_unit(~0u) == 1 - 0x1p-24f);

namespace {

/// The number as philox.hpp lays it out.
template <class T>
T number(const DrawKey& draw, std::uint32_t element) {
  Philox4 counter = draw.counter;
  counter[0] = element;
  const Philox4 words = num::philox(counter, draw.key);
  if constexpr (sizeof(T) == 8)
    return num::open_unit(words[0], words[1]);
  else
    return num::open_unit(words[0]);
}

/// Seed, stream and iteration of a lane: something in every part of every word, or nothing.
std::array<std::uint64_t, 3> key_of(std::uint64_t lane) {
  if (lane % 5 == 4) return {0, 0, 0};
  return {0x1F23456789ABCDu ^ lane << 40, 0xFFFFFFFFu - lane, 0x1FFFFFFFFFFFFFu - 977 * lane};
}

template <class T>
void check(std::int64_t elements, std::int64_t lanes, std::uint64_t draw) {
  std::vector<double> keys[3];
  for (std::int64_t l = 0; l < lanes; ++l) {
    for (std::size_t i = 0; i < 3; ++i) {
      keys[i].push_back(static_cast<double>(key_of(static_cast<std::uint64_t>(l))[i]));
    }
  }
  const tape::Var seed(vector_of(keys[0])), stream(vector_of(keys[1])), iteration(vector_of(keys[2]));
  const Array out =
      tape::random_uniform(seed, stream, iteration, static_cast<std::int64_t>(draw), Dims{elements}, array::dtype_of<T>)
          .value();
  REQUIRE(same_shape(out.shape(), Dims{elements, lanes}));
  for (std::int64_t e = 0; e < elements; ++e) {
    for (std::int64_t l = 0; l < lanes; ++l) {
      CAPTURE(e);
      CAPTURE(l);
      const auto [s, r, k] = key_of(static_cast<std::uint64_t>(l));
      CHECK(out.data<T>()[e * lanes + l] == number<T>(num::draw_key(s, r, k, draw), static_cast<std::uint32_t>(e)));
    }
  }
}

}  // namespace

TEST_CASE("philox: kernels give the numbers of the definition, for every number of elements and lanes") {
  for_every_isa([] {
    // Along the elements of one lane, along lanes, and where vectors and blocks of lanes end.
    for (std::int64_t elements : {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100}) check<double>(elements, 1, 3);
    for (std::int64_t lanes : {2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 80, 130}) {
      check<double>(1, lanes, (1 << 20) - 1);
      check<float>(3, lanes, 0);
    }
    for (std::int64_t elements : {1, 5, 16, 18}) check<float>(elements, 1, 1 << 19);
  });
}

TEST_CASE("philox: the parts of a key do not overlap") {
  const DrawKey all = num::draw_key((1ull << 53) - 1, ~0u, (1ull << 53) - 1, (1u << 20) - 1);
  DrawKey sum = num::draw_key(0, 0, 0, 0);
  const auto add = [&sum](const DrawKey& part) {
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK((sum.counter[i] & part.counter[i]) == 0);
      sum.counter[i] |= part.counter[i];
    }
    for (std::size_t i = 0; i < 2; ++i) {
      CHECK((sum.key[i] & part.key[i]) == 0);
      sum.key[i] |= part.key[i];
    }
  };
  for (int bit = 0; bit < 53; ++bit) add(num::draw_key(1ull << bit, 0, 0, 0));
  for (int bit = 0; bit < 32; ++bit) add(num::draw_key(0, 1ull << bit, 0, 0));
  for (int bit = 0; bit < 53; ++bit) add(num::draw_key(0, 0, 1ull << bit, 0));
  for (int bit = 0; bit < 20; ++bit) add(num::draw_key(0, 0, 0, 1ull << bit));
  CHECK(sum.counter == all.counter);
  CHECK(sum.key == all.key);
  // Permutations have the highest bit of the last word to themselves.
  CHECK((all.counter[3] & 0x80000000u) == 0);
  CHECK(all.counter[0] == 0);
}

TEST_CASE("philox: permutations hold every number once, and follow from seed and epoch") {
  for (std::int64_t n : {0, 1, 2, 3, 100, 1000}) {
    const auto order = num::permutation(n, 5, 1);
    std::vector<std::int64_t> sorted = order, all(static_cast<std::size_t>(n));
    std::sort(sorted.begin(), sorted.end());
    std::iota(all.begin(), all.end(), 0);
    CHECK(sorted == all);
    CHECK(order == num::permutation(n, 5, 1));
  }
  CHECK(num::permutation(100, 5, 1) != num::permutation(100, 5, 2));
  CHECK(num::permutation(100, 5, 1) != num::permutation(100, 6, 1));
  CHECK(num::permutation(100, 5, 1) != num::permutation(100, 5 | 1ull << 40, 1));
}
