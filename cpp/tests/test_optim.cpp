// SPDX-License-Identifier: MIT
// The optim floor: what the table says, single steps worked out by hand, and the same bits whatever the instruction
// set, the length of the array, and whether the update is in place.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "dualtape/num/isa.hpp"
#include "dualtape/optim/update.hpp"

namespace {

using namespace dualtape;
using namespace dualtape::optim;

template <class T>
struct Problem {
  std::vector<T> param, grad, states[kMaxStates];

  explicit Problem(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      param.push_back(static_cast<T>(std::sin(0.7 * static_cast<double>(i))));
      grad.push_back(i % 11 == 10 ? T(0) : static_cast<T>(std::cos(1.3 * static_cast<double>(i))));
    }
    for (auto& state : states) {
      for (std::int64_t i = 0; i < count; ++i) state.push_back(static_cast<T>(0.01 * static_cast<double>(i % 7)));
    }
  }
};

std::vector<double> defaults(Rule rule) {
  std::vector<double> values;
  for (const HyperInfo& hyper : info(rule).hypers()) values.push_back(hyper.default_value);
  return values;
}

/// Three iterations of a rule, in place or through fresh memory each time.
template <class T>
Problem<T> run(Rule rule, std::int64_t count, bool in_place, const TermValues& terms = {}) {
  Problem<T> now(count);
  double carry[kMaxCarries] = {};
  for (int t = 1; t <= 3; ++t) {
    const auto hyper = defaults(rule);
    const Scalars scalars = prepare(rule, hyper, t, {carry, static_cast<std::size_t>(info(rule).carry_count)});
    Problem<T> next = now;
    Problem<T>& out = in_place ? now : next;
    Slice<T> slice{count, now.param.data(), now.grad.data(), {}, out.param.data(), {}};
    for (int k = 0; k < info(rule).state_count; ++k) {
      slice.states[k] = t == 1 ? nullptr : now.states[k].data();
      slice.states_out[k] = out.states[k].data();
    }
    update(rule, scalars, terms, slice);
    if (!in_place) now = next;
  }
  return now;
}

template <class T>
bool same(const Problem<T>& a, const Problem<T>& b) {
  bool equal = a.param == b.param;
  for (int k = 0; k < kMaxStates; ++k) equal = equal && a.states[k] == b.states[k];
  return equal;
}

struct Forced {
  num::Isa before = num::current_isa();
  ~Forced() { num::force_isa(before); }
};

template <class T>
void check_bits() {
  Forced restore;
  for (int r = 0; r < kRuleCount; ++r) {
    const Rule rule = static_cast<Rule>(r);
    CAPTURE(std::string(info(rule).name));
    for (std::int64_t count : {0, 1, 5, 16, 37}) {
      for (const TermValues& terms : {TermValues{}, TermValues{-0.5, 0.3, 1e-3, 1e-2, 0.99}}) {
        num::force_isa(num::Isa::generic);
        const auto expected = run<T>(rule, count, false, terms);
        for (num::Isa isa : {num::Isa::generic, num::Isa::avx2, num::Isa::avx512}) {
          if (isa > num::best_isa()) continue;
          num::force_isa(isa);
          CHECK(same(expected, run<T>(rule, count, false, terms)));
          CHECK(same(expected, run<T>(rule, count, true, terms)));
        }
      }
    }
  }
}

TEST_CASE("the table of update rules is complete and its defaults are valid") {
  CHECK(rule_table().size() == kRuleCount);
  for (const RuleInfo& rule : rule_table()) {
    CAPTURE(std::string(rule.name));
    CHECK(find_rule(rule.name) == static_cast<Rule>(&rule - rule_table().data()));
    CHECK(rule.hypers().front().name == "learn_rate");
    for (const HyperInfo& hyper : rule.hypers()) {
      CHECK(hyper.low <= hyper.default_value);
      CHECK(hyper.default_value < hyper.high);
    }
  }
  CHECK_FALSE(find_rule("no such rule"));
}

TEST_CASE("updates give the same bits for every instruction set, length and mode, in float64") { check_bits<double>(); }
TEST_CASE("updates give the same bits for every instruction set, length and mode, in float32") { check_bits<float>(); }

TEST_CASE("one step of sgdm and adam, worked out by hand") {
  const double grad = 1.0, start = 0.5;
  double param = start, vel = 0.0;
  Scalars scalars = prepare(Rule::sgdm, std::vector{0.05, 0.95}, 1, {});
  update(Rule::sgdm, scalars, {}, Slice<double>{1, &param, &grad, {&vel}, &param, {&vel}});
  CHECK(param == doctest::Approx(start - 0.05).epsilon(1e-15));
  CHECK(vel == -0.05);

  double avg_g = 0.0, avg_sqg = 0.0;
  for (double hat : {0.0, 1.0}) {
    param = start, avg_g = avg_sqg = 0.0;
    scalars = prepare(Rule::adam, std::vector{0.05, 0.75, 0.95, 1e-8, hat}, 1, {});
    update(Rule::adam, scalars, {}, Slice<double>{1, &param, &grad, {&avg_g, &avg_sqg}, &param, {&avg_g, &avg_sqg}});
    const double epsilon = hat > 0 ? 1e-8 / std::sqrt(0.05) : 1e-8;
    CHECK(param == doctest::Approx(start - 0.05 / (1 + epsilon)).epsilon(1e-14));
    CHECK(avg_g == 0.25);
    CHECK(avg_sqg == doctest::Approx(0.05).epsilon(1e-14));
  }
}

TEST_CASE("terms are applied in order: scale, limit, L1 and L2, weight decay") {
  const double grad[] = {3.0, -8.0};
  double param[] = {-2.0, 4.0};
  TermValues terms;
  terms.scale = 0.5, terms.limit = 2.0, terms.l1 = 0.1, terms.l2 = 0.01, terms.shrink = 0.5;
  update(Rule::sgd, prepare(Rule::sgd, std::vector{1.0}, 1, {}), terms, Slice<double>{2, param, grad, {}, param, {}});
  CHECK(param[0] == doctest::Approx(-1.0 - (1.5 - 0.1 - 0.02)));
  CHECK(param[1] == doctest::Approx(2.0 - (-2.0 + 0.1 + 0.04)));
}

TEST_CASE("norms neither overflow nor underflow, and NaN and infinity show") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(norm(std::vector{3.0, 4.0}) == 5.0);
  CHECK(norm(std::vector{3e300, 4e300}) == doctest::Approx(5e300));
  CHECK(norm(std::vector{3e-300, 4e-300}) == doctest::Approx(5e-300));
  CHECK(norm(std::vector{3e30f, 4e30f}) == doctest::Approx(5e30));
  CHECK(norm(std::vector<double>{}) == 0.0);
  CHECK(norm(std::vector{1.0, -inf}) == inf);
  CHECK(std::isnan(norm(std::vector{1.0, nan, inf})));
  const std::vector<double> many(5000, 2.0);
  CHECK(norm(many) == doctest::Approx(2.0 * std::sqrt(5000.0)).epsilon(1e-15));
  CHECK(all_finite(many));
  CHECK_FALSE(all_finite(std::vector{1.0, nan}));
  CHECK_FALSE(all_finite(std::vector{-inf, 1.0}));
}

}  // namespace
