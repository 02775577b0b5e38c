// SPDX-License-Identifier: MIT
// Philox4x32-10: random numbers as a function of a counter and a key (Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011). There is no state, so a number can be computed by whoever needs it, in any
// order, on any machine: the k-th draw of the i-th iteration of the r-th run is always the same.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace dualtape::num {

using Philox4 = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

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

/// A double in (0, 1), never 0 or 1, from 52 bits.
[[gnu::always_inline]] constexpr double open_unit(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = (std::uint64_t{high} << 32 | low) >> 12;
  return (static_cast<double>(bits) + 0.5) * 0x1p-52;
}
/// A float in (0, 1), from 23 bits.
[[gnu::always_inline]] constexpr float open_unit(std::uint32_t word) {
  return (static_cast<float>(word >> 9) + 0.5f) * 0x1p-23f;
}

/// The numbers 0 ... n - 1 in an order that follows from the seed and the epoch.
inline std::vector<std::int64_t> permutation(std::int64_t n, std::uint64_t seed, std::uint64_t epoch) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) out[static_cast<std::size_t>(i)] = i;
  const PhiloxKey key{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  std::uint64_t number = 0;
  const auto word = [&] {
    const Philox4 four = philox({static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32),
                                 static_cast<std::uint32_t>(epoch), static_cast<std::uint32_t>(epoch >> 32)},
                                key);
    ++number;
    return std::uint64_t{four[0]} << 32 | four[1];
  };
  // Fisher and Yates; a draw that would favour small numbers is drawn again.
  for (std::uint64_t i = static_cast<std::uint64_t>(n); i-- > 1;) {
    const std::uint64_t range = i + 1, limit = UINT64_MAX - UINT64_MAX % range;
    std::uint64_t draw = word();
    while (draw >= limit) draw = word();
    std::swap(out[i], out[draw % range]);
  }
  return out;
}

}  // namespace dualtape::num
