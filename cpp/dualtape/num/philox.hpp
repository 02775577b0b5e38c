// SPDX-License-Identifier: MIT
// Philox4x32-10: random numbers as a function of a counter and a key (Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011). There is no state, so a number can be computed by whoever needs it, in any
// order, on any machine: the k-th draw of the i-th iteration of the r-th run is always the same.
//
// Who uses which counters and keys, so that no two uses share one:
//
//            uniform numbers (tape/shaped_random.cpp)              permutations (below)
//   key      seed 0-31;  stream                                    seed 0-31;  seed 32-63
//   counter  element;  draw (20 bits) and seed 32-43;              number of the word, 64 bits;
//            iteration 0-31;  iteration 32-52 and seed 44-52       epoch 0-31;  epoch 32-62 and a bit that is 1
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace dualtape::num {

using Philox4 = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

/// The four words of a counter under a key. Many at once: num/kernels/philox.hpp.
[[gnu::always_inline]] constexpr Philox4 philox(Philox4 c, PhiloxKey k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c[0], b = std::uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ k[0], static_cast<std::uint32_t>(b),
         static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ k[1], static_cast<std::uint32_t>(a)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return c;
}

/// A double in (0, 1), never 0 or 1: an odd multiple of 2^-53, from 52 bits.
[[gnu::always_inline]] constexpr double open_unit(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = (std::uint64_t{high} << 32 | low) >> 12;
  return (static_cast<double>(bits) + 0.5) * 0x1p-52;
}
/// A float in (0, 1), never 0 or 1: an odd multiple of 2^-24, from 23 bits.
[[gnu::always_inline]] constexpr float open_unit(std::uint32_t word) {
  return (static_cast<float>(word >> 9) + 0.5f) * 0x1p-23f;
}

/// A use of random numbers: the layout above, for seed and iteration < 2^53, stream < 2^32, draw < 2^20.
struct DrawKey {
  Philox4 counter;  // without the number of the element
  PhiloxKey key;
};
[[gnu::always_inline]] constexpr DrawKey draw_key(std::uint64_t seed, std::uint64_t stream, std::uint64_t iteration,
                                                  std::uint64_t draw) {
  const std::uint64_t high = seed >> 32;
  return {{0, static_cast<std::uint32_t>(draw | (high & 0xFFF) << 20), static_cast<std::uint32_t>(iteration),
           static_cast<std::uint32_t>(iteration >> 32 | high >> 12 << 21)},
          {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(stream)}};
}

/// The numbers 0 ... n - 1 in an order that follows from the seed and the epoch (< 2^63).
inline std::vector<std::int64_t> permutation(std::int64_t n, std::uint64_t seed, std::uint64_t epoch) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::int64_t>(i);
  const PhiloxKey key{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  std::uint64_t number = 0;
  const auto word = [&] {
    const Philox4 four =
        philox({static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32),
                static_cast<std::uint32_t>(epoch), static_cast<std::uint32_t>(epoch >> 32) | 0x80000000u},
               key);
    ++number;
    return std::uint64_t{four[0]} << 32 | four[1];
  };
  // Fisher and Yates; a word that would favour small numbers is drawn again.
  for (std::uint64_t i = out.size(); i-- > 1;) {
    const std::uint64_t range = i + 1, limit = UINT64_MAX - UINT64_MAX % range;
    std::uint64_t draw = word();
    while (draw >= limit) draw = word();
    std::swap(out[i], out[draw % range]);
  }
  return out;
}

}  // namespace dualtape::num
