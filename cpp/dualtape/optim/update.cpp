// SPDX-License-Identifier: MIT
#include "dualtape/optim/update.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "dualtape/num/isa.hpp"
#include "dualtape/optim/kernels/update.hpp"
#include "dualtape/optim/rules.hpp"

namespace dualtape::optim {
namespace {

using namespace DUALTAPE_ISA;

constexpr double kInf = std::numeric_limits<double>::infinity();

/// Lets an entry of the table be written as a chain of calls.
struct Entry : RuleInfo {
  constexpr explicit Entry(std::string_view rule) { name = rule; }
  constexpr Entry state(std::string_view state) const {
    Entry out = *this;
    out.state_names[out.state_count++] = state;
    return out;
  }
  constexpr Entry carry(std::string_view carry) const {
    Entry out = *this;
    out.carry_names[out.carry_count++] = carry;
    return out;
  }
  constexpr Entry hyper(HyperInfo hyper) const {
    Entry out = *this;
    out.hyper_infos[out.hyper_count++] = hyper;
    return out;
  }
};

const RuleInfo kRules[] = {
#define RULE(rule) Entry(#rule)
#define STATE(state_name) .state(#state_name)
#define CARRY(carry_name) .carry(#carry_name)
#define HYPER(hyper_name, default_value, low, high) .hyper({#hyper_name, default_value, low, high})
#define END(rule) ,
#include "dualtape/optim/rules.def"
};

template <class Numbers>
Scalars as_list(const Numbers& numbers) {
  static_assert(sizeof(Numbers) <= sizeof(Scalars));
  Scalars out{};
  std::memcpy(&out, &numbers, sizeof(Numbers));
  return out;
}

/// memcpy for lists that may be empty: it takes no null pointer, not even for 0 bytes.
void copy_bytes(void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

/// The rule's structs are lists of doubles to those who do not know it.
template <class R, class Hyper, class Carry>
Scalars prepare_as(std::span<const double> hyper, double t, std::span<double> carry) {
  Hyper h;
  copy_bytes(&h, hyper.data(), std::min(sizeof(h), hyper.size_bytes()));
  Carry c;
  copy_bytes(&c, carry.data(), std::min(sizeof(c), carry.size_bytes()));
  const Scalars out = as_list(R::prepare(h, t, c));
  copy_bytes(carry.data(), &c, std::min(sizeof(c), carry.size_bytes()));
  return out;
}

template <class T>
const UpdateKernels<T>& kernels() {
  switch (num::current_isa()) {
#if defined(__x86_64__)
    case num::Isa::avx512:
      return avx512::update_kernels<T>();
    case num::Isa::avx2:
      return avx2::update_kernels<T>();
#endif
    default:
      return generic::update_kernels<T>();
  }
}

template <class T>
void update_any(Rule rule, const Scalars& scalars, const TermValues& terms, Slice<T> slice) {
  for (int k = 0; k < info(rule).state_count; ++k) {
    if (slice.states[k]) continue;
    std::fill_n(slice.states_out[k], slice.count, T(0));
    slice.states[k] = slice.states_out[k];
  }
  const Scalars list = as_list(terms);
  kernels<T>().update[static_cast<int>(rule)](scalars.values, terms.idle() ? nullptr : list.values, slice);
}

template <class T>
double norm_any(std::span<const T> values) {
  const std::int64_t count = static_cast<std::int64_t>(values.size());
  const double plain = std::sqrt(kernels<T>().sum_of_squares(values.data(), count, 1.0));
  if (plain > 1e-140 && plain < kInf) return plain;
  const double largest = kernels<T>().largest(values.data(), count);
  if (!(largest > 0.0 && largest < kInf)) return largest;
  const double scale = std::exp2(-std::ilogb(largest));  // a power of two, so that scaling is exact
  return std::sqrt(kernels<T>().sum_of_squares(values.data(), count, scale)) / scale;
}

template <class T>
bool all_finite_any(std::span<const T> values) {
  return kernels<T>().largest(values.data(), static_cast<std::int64_t>(values.size())) < kInf;
}

}  // namespace

std::span<const RuleInfo> rule_table() { return kRules; }

std::optional<Rule> find_rule(std::string_view name) {
  for (int i = 0; i < kRuleCount; ++i) {
    if (kRules[i].name == name) return static_cast<Rule>(i);
  }
  return std::nullopt;
}

Scalars prepare(Rule rule, std::span<const double> hyper, double t, std::span<double> carry) {
  switch (rule) {
#define RULE(name) \
  case Rule::name: \
    return prepare_as<rules::name, hyper::name<double>, carry::name<double>>(hyper, t, carry);
#include "dualtape/optim/rules.def"
  }
  return {};
}

void update(Rule rule, const Scalars& scalars, const TermValues& terms, const Slice<double>& slice) {
  update_any(rule, scalars, terms, slice);
}
void update(Rule rule, const Scalars& scalars, const TermValues& terms, const Slice<float>& slice) {
  update_any(rule, scalars, terms, slice);
}

double norm(std::span<const double> values) { return norm_any(values); }
double norm(std::span<const float> values) { return norm_any(values); }
bool all_finite(std::span<const double> values) { return all_finite_any(values); }
bool all_finite(std::span<const float> values) { return all_finite_any(values); }

}  // namespace dualtape::optim
