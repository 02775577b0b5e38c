// SPDX-License-Identifier: MIT
// Adam on Rosenbrock's function from many starts, each run until the gradient is small enough: vectors whose lanes
// are refilled as runs end, and one run after the other. Start with `refilled`.
//
// The corrections for Adam's biases depend on the iteration alone, which differs from lane to lane: a table holds
// them, and a gather is cheaper than another root and another division.
#include <algorithm>
#include <limits>

#include "lanes.hpp"

namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;
constexpr double kTiny = 1e-300;  // below lie numbers that take a processor a hundred times as long

// For iteration t from 1: entry 2 t is what the rate is multiplied by, 2 t + 1 what is added to the root.
std::vector<double> corrections(std::int64_t limit, double rate) {
  std::vector<double> table(2 * limit + 2);
  double power1 = 1.0, power2 = 1.0;
  for (std::int64_t t = 1; t <= limit; ++t) {
    power1 = std::max(power1 * kBeta1, kTiny);
    power2 = std::max(power2 * kBeta2, kTiny);
    const double root = std::sqrt(1.0 - power2);
    table[2 * t] = rate * root / (1.0 - power1);
    table[2 * t + 1] = kEpsilon * root;
  }
  return table;
}

inline Vector gather(const double* table, Mask index) {
#if defined(__AVX512F__)
  return (Vector)_mm512_i64gather_pd((__m512i)index, table, 8);
#else
  Vector v;
  for (int i = 0; i < kWidth; ++i) v[i] = table[index[i]];
  return v;
#endif
}

struct Block {
  Vector x1, x2, m1, v1, m2, v2;
  Mask iteration;
  std::int64_t run[kWidth];  // whose lane it is; -1 for none

  Vector step(const double* table) {
    iteration += 1;
    const Mask place = iteration + iteration;
    const Vector rate = gather(table, place), epsilon = gather(table + 1, place);
    const Vector a = x2 - x1 * x1, b = 1.0 - x1;
    const Vector d2 = 200.0 * a, d1 = -2.0 * (d2 * x1 + b);
    m1 = kBeta1 * m1 + (1.0 - kBeta1) * d1;
    v1 = kBeta2 * v1 + (1.0 - kBeta2) * (d1 * d1);
    x1 -= rate * m1 / (square_root(v1) + epsilon);
    m2 = kBeta1 * m2 + (1.0 - kBeta1) * d2;
    v2 = kBeta2 * v2 + (1.0 - kBeta2) * (d2 * d2);
    x2 -= rate * m2 / (square_root(v2) + epsilon);
    return d1 * d1 + d2 * d2;
  }
};

struct Ended {
  unsigned first, second;
};

// Runs two blocks, whose roots and divisions overlap, for so many steps or until a lane is done.
Ended advance(Block& one, Block& two, const double* table, std::int64_t steps, double tolerance) {
  Block a = one, b = two;  // in registers
  const Vector small = fill(tolerance * tolerance);
  Ended ended{};
  for (; steps > 0; --steps) {
    const Vector norm_a = a.step(table), norm_b = b.step(table);
    ended = {less(norm_a, small), less(norm_b, small)};
    if (__builtin_expect(ended.first | ended.second, 0)) break;
  }
  one = a;
  two = b;
  return ended;
}

}  // namespace

// n runs from x1, x2; there they leave where they ended, and in `iterations` how many they took.
extern "C" void refilled(std::int64_t n, std::int64_t limit, double rate, double tolerance, double* x1, double* x2,
                         double* iterations) {
  const std::vector<double> table = corrections(limit, rate);
  Block blocks[2];
  std::int64_t next = 0, running = 0;
  const auto refill = [&](Block& block, int lane) {
    const bool waiting = next < n;
    // A lane without a run holds NaN, which is never small.
    block.x1[lane] = waiting ? x1[next] : std::numeric_limits<double>::quiet_NaN();
    block.x2[lane] = waiting ? x2[next] : 0.0;
    block.m1[lane] = block.v1[lane] = block.m2[lane] = block.v2[lane] = 0.0;
    block.iteration[lane] = 0;
    block.run[lane] = waiting ? next++ : -1;
    running += waiting;
  };
  for (Block& block : blocks) {
    for (int lane = 0; lane < kWidth; ++lane) refill(block, lane);
  }
  while (running > 0) {
    std::int64_t latest = 0;
    for (Block& block : blocks) {
      for (int lane = 0; lane < kWidth; ++lane) {
        if (block.run[lane] < 0) block.iteration[lane] = 0;  // stays inside the table
        if (block.iteration[lane] > latest) latest = block.iteration[lane];
      }
    }
    const Ended ended = advance(blocks[0], blocks[1], table.data(), limit - latest, tolerance);
    for (int k = 0; k < 2; ++k) {
      Block& block = blocks[k];
      const unsigned small = k ? ended.second : ended.first;
      for (int lane = 0; lane < kWidth; ++lane) {
        const std::int64_t run = block.run[lane];
        if (run < 0 || !(small >> lane & 1 || block.iteration[lane] == limit)) continue;
        x1[run] = block.x1[lane];
        x2[run] = block.x2[lane];
        iterations[run] = static_cast<double>(block.iteration[lane]);
        --running;
        refill(block, lane);
      }
    }
  }
}

extern "C" void one_by_one(std::int64_t n, std::int64_t limit, double rate, double tolerance, double* x1s, double* x2s,
                           double* iterations) {
  const std::vector<double> table = corrections(limit, rate);
  for (std::int64_t run = 0; run < n; ++run) {
    double x1 = x1s[run], x2 = x2s[run], m1 = 0.0, v1 = 0.0, m2 = 0.0, v2 = 0.0;
    std::int64_t t = 0;
    while (t < limit) {
      ++t;
      const double factor = table[2 * t], epsilon = table[2 * t + 1];
      const double a = x2 - x1 * x1, b = 1.0 - x1;
      const double d2 = 200.0 * a, d1 = -2.0 * (d2 * x1 + b);
      m1 = kBeta1 * m1 + (1.0 - kBeta1) * d1;
      v1 = kBeta2 * v1 + (1.0 - kBeta2) * (d1 * d1);
      x1 -= factor * m1 / (std::sqrt(v1) + epsilon);
      m2 = kBeta1 * m2 + (1.0 - kBeta1) * d2;
      v2 = kBeta2 * v2 + (1.0 - kBeta2) * (d2 * d2);
      x2 -= factor * m2 / (std::sqrt(v2) + epsilon);
      if (d1 * d1 + d2 * d2 < tolerance * tolerance) break;
    }
    x1s[run] = x1;
    x2s[run] = x2;
    iterations[run] = static_cast<double>(t);
  }
}
