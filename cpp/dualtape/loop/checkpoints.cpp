// SPDX-License-Identifier: MIT
#include "dualtape/loop/checkpoints.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace dualtape::loop {
namespace {

constexpr std::int64_t kPerDoubling = 80;
constexpr std::int64_t kFewestPerDoubling = 4;
constexpr std::size_t kMostBytes = std::size_t{256} << 20;

}  // namespace

std::int64_t reach(std::int64_t places, std::int64_t times) {
  if (places < 0 || times < 0) return 0;
  // binomial(places + times, k) for k = 1, 2, ... up to the smaller of the two; every intermediate value is whole.
  const std::int64_t few = std::min(places, times), all = places + times;
  std::int64_t out = 1;
  for (std::int64_t k = 1; k <= few; ++k) {
    if (__builtin_mul_overflow(out, all - few + k, &out)) return INT64_MAX;
    out /= k;
  }
  return out;
}

std::int64_t next_kept(std::int64_t steps, std::int64_t places) {
  if (steps <= places + 1) return 1;  // as in most calls: room for each
  std::int64_t times = 1;
  while (reach(places, times) < steps) ++times;
  // What is ahead of the new state has one place less; what is behind it is computed once more.
  const std::int64_t least = std::max(steps - reach(places - 1, times), reach(places, times - 2));
  return std::clamp<std::int64_t>(least, 1, steps - 1);
}

std::int64_t places_for(std::int64_t steps, std::size_t bytes) {
  const auto doublings =
      static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(std::max<std::int64_t>(steps, 2))));
  const auto fit = static_cast<std::int64_t>(kMostBytes / std::max<std::size_t>(bytes, 1));
  return std::clamp(fit, kFewestPerDoubling * doublings, kPerDoubling * doublings);
}

void Checkpoints::grow() { pieces_.push_back(std::make_unique_for_overwrite<char[]>(kTogether * bytes_)); }

void Checkpoints::offer(std::int64_t step, const char* state, std::int64_t places) {
  if (step & (every_ - 1)) return;
  if (count() == places) {
    every_ *= 2;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (steps_[i] & (every_ - 1)) continue;
      steps_[kept] = steps_[i];
      if (bytes_ && kept != i) std::memcpy(at(kept), at(i), bytes_);
      ++kept;
    }
    steps_.resize(kept);
    if (step & (every_ - 1)) return;
  }
  keep(step, state);
}

}  // namespace dualtape::loop
