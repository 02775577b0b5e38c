// SPDX-License-Identifier: MIT
// Numbers to try ops on: samples of the table's domains, and the special ones.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "dualtape/array/elementwise.hpp"

namespace dualtape::tests {

/// A small generator (xorshift), the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2654435769u + 88172645463325252u) {}
  double uniform(double lo, double hi) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return lo + (hi - lo) * (static_cast<double>(state_ >> 11) * 0x1p-53);
  }
  /// Of any size: sign, exponent and digits are random.
  double any() { return std::copysign(std::exp2(uniform(-1074, 1024)), uniform(-1, 1)) * uniform(1, 2); }

 private:
  std::uint64_t state_;
};

/// A number from a domain, not within a tenth of its exception.
inline double sample(const ops::Domain& domain, Random& random) {
  while (true) {
    const double x = random.uniform(domain.lo, domain.hi);
    if (domain.integer) return std::round(x);
    if (!(std::fabs(x - domain.except) < 0.1)) return x;
  }
}

/// The numbers at which functions break.
inline const std::vector<double>& special_numbers() {
  using Limits = std::numeric_limits<double>;
  static const std::vector<double> numbers = [] {
    std::vector<double> out = {Limits::quiet_NaN()};
    for (double x : {0.0,
                     Limits::denorm_min(),
                     1e-310,
                     Limits::min(),
                     1e-300,
                     1e-160,
                     1e-45,
                     1e-38,
                     1e-20,
                     1e-8,
                     0.1,
                     0.3,
                     0.5,
                     0.75,
                     1.0,
                     1 + Limits::epsilon(),
                     1.5,
                     2.0,
                     2.5,
                     3.0,
                     4.0,
                     7.0,
                     10.0,
                     17.5,
                     31.0,
                     32.0,
                     88.0,
                     100.5,
                     709.0,
                     710.0,
                     745.0,
                     750.0,
                     1e5,
                     1e8,
                     4503599627370497.5,
                     9007199254740993.0,
                     1e22,
                     1e38,
                     1e160,
                     1e300,
                     Limits::max(),
                     Limits::infinity()}) {
      out.push_back(x);
      out.push_back(-x);
    }
    return out;
  }();
  return numbers;
}

/// Operands of an op, one vector for each: from its domains, of any size, and special ones against each other.
inline std::vector<std::vector<double>> trial_operands(ops::Op op) {
  const ops::OpInfo& row = ops::info(op);
  std::vector<std::vector<double>> out(static_cast<std::size_t>(row.arity));
  Random random(static_cast<std::uint64_t>(op) + 1);
  const auto add = [&](auto&& draw) {
    for (int k = 0; k < row.arity; ++k) {
      const ops::Domain& domain = row.domains[static_cast<std::size_t>(k)];
      out[static_cast<std::size_t>(k)].push_back(domain.integer ? sample(domain, random) : draw(k, domain));
    }
  };
  for (int i = 0; i < 3000; ++i) add([&](int, const ops::Domain& domain) { return sample(domain, random); });
  for (int i = 0; i < 3000; ++i) add([&](int, const ops::Domain&) { return random.any(); });
  for (int i = 0; i < 1000; ++i) add([&](int, const ops::Domain&) { return random.uniform(-800, 800); });
  const auto& special = special_numbers();
  const std::size_t n = special.size();
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < (row.arity > 1 ? n : 1); ++j) {
      const std::size_t at[] = {i, j, (i * 7 + j * 3) % n};
      add([&](int k, const ops::Domain&) { return special[at[k]]; });
    }
  }
  return out;
}

inline bool same_bits(double a, double b) {
  if (std::isnan(a) && std::isnan(b)) return true;
  return std::signbit(a) == std::signbit(b) && a == b;
}

}  // namespace dualtape::tests
