// SPDX-License-Identifier: MIT
// Updates of buffers: the public face of this floor. One iteration is `prepare` (once) and then `update` for each
// parameter array; `norm` and `all_finite` serve gradient clipping and checks. The rules stand in rules.hpp, what they
// are called and steered by in rules.def, and the loops over memory in kernels/update.cpp, compiled for each
// instruction set.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

namespace dualtape::optim {

inline constexpr int kMaxStates = 3;
inline constexpr int kMaxCarries = 1;
inline constexpr int kMaxHypers = 5;
inline constexpr int kMaxScalars = 8;

/// Every rule of the table.
enum class Rule : std::uint8_t {
#define RULE(rule) rule,
#include "dualtape/optim/rules.def"
};
inline constexpr int kRuleCount = 0
#define RULE(name) +1
#include "dualtape/optim/rules.def"
    ;

/// A number that steers a rule; valid where low <= value < high.
struct HyperInfo {
  std::string_view name;
  double default_value, low, high;
};

/// What the table says of a rule.
struct RuleInfo {
  std::string_view name;
  std::string_view state_names[kMaxStates];
  std::string_view carry_names[kMaxCarries];
  HyperInfo hyper_infos[kMaxHypers];
  int state_count = 0, carry_count = 0, hyper_count = 0;

  std::span<const std::string_view> states() const { return {state_names, static_cast<std::size_t>(state_count)}; }
  std::span<const std::string_view> carries() const { return {carry_names, static_cast<std::size_t>(carry_count)}; }
  std::span<const HyperInfo> hypers() const { return {hyper_infos, static_cast<std::size_t>(hyper_count)}; }
};

/// All rules, in the order of the enumeration.
std::span<const RuleInfo> rule_table();
inline const RuleInfo& info(Rule rule) { return rule_table()[static_cast<std::size_t>(rule)]; }
std::optional<Rule> find_rule(std::string_view name);

/// The numbers of one iteration that are the same for all parameters.
struct Scalars {
  double values[kMaxScalars];
};
/// Computes them for iteration `t` = 1, 2, ...; `carry` holds the rule's carried numbers and is brought up to date.
Scalars prepare(Rule rule, std::span<const double> hyper, double t, std::span<double> carry);

/// The part that all rules share, applied before them; see Terms in rules.hpp.
struct TermValues {
  double scale = 1.0;
  double limit = std::numeric_limits<double>::infinity();
  double l1 = 0.0, l2 = 0.0;
  double shrink = 1.0;

  bool idle() const { return scale == 1.0 && limit == TermValues{}.limit && l1 == 0.0 && l2 == 0.0 && shrink == 1.0; }
};

/// One parameter array of `count` elements, its gradient and states, and where the results go: to the same places for
/// an update in place, otherwise to memory that overlaps none of them. A null state stands for zeros.
template <class T>
struct Slice {
  std::int64_t count;
  const T* param;
  const T* grad;
  const T* states[kMaxStates];
  T* param_out;
  T* states_out[kMaxStates];
};

/// Runs a rule over an array.
void update(Rule rule, const Scalars& scalars, const TermValues& terms, const Slice<double>& slice);
void update(Rule rule, const Scalars& scalars, const TermValues& terms, const Slice<float>& slice);

/// The Euclidean norm; it neither overflows nor underflows on the way. The order of summation is fixed.
double norm(std::span<const double> values);
double norm(std::span<const float> values);
bool all_finite(std::span<const double> values);
bool all_finite(std::span<const float> values);

}  // namespace dualtape::optim
