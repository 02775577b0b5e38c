// SPDX-License-Identifier: MIT
// Machine code: bodies of random ops against the same ops one by one, with more values than registers, guards that are
// taken and not, states that change places, tables, records and early ends; on each instruction set, bit for bit.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "dualtape/array/convert.hpp"
#include "dualtape/array/kernels/elementwise.hpp"
#include "dualtape/machine/kernel.hpp"
#include "dualtape/num/isa.hpp"
#include "dualtape/ops/rules.hpp"

using namespace dualtape;
using machine::Body;
using machine::Input;
using machine::LineId;
using machine::Recorder;

namespace {

constexpr std::int64_t kLanes = 64;

template <class Body>
void for_vector_isas(Body&& body) {
  for (const num::Isa isa : {num::Isa::avx2, num::Isa::avx512}) {
    if (isa > num::best_isa()) continue;
    CAPTURE(num::name(isa));
    num::force_isa(isa);
    body();
  }
  num::force_isa(num::best_isa());
}

template <class T>
bool same_bits(T a, T b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0 || (std::isnan(a) && std::isnan(b));
}

/// A body made at random, and what each of its values is for given inputs.
template <class T>
struct Random {
  static constexpr int kInputs = 6;
  Body body;
  struct Step {
    ops::Op op;
    std::vector<std::size_t> operands;
  };
  std::vector<Step> steps;  // value k + kInputs
  std::vector<std::size_t> results;

  Random(unsigned seed, int length, bool finite) {
    std::mt19937 generator(seed);
    body.single = sizeof(T) == 4;
    body.finite = finite;
    Recorder recorder(body);
    std::vector<LineId> lines;
    for (int i = 0; i < kInputs; ++i) {
      // The last one is shared by all lanes.
      const auto from = i + 1 < kInputs ? Input::From::lanes : Input::From::shared;
      lines.push_back(recorder.input(from, i + 1 < kInputs ? i * kLanes * std::int64_t(sizeof(T)) : 16));
    }
    while (static_cast<int>(steps.size()) < length) {
      const auto op = static_cast<ops::Op>(generator() % ops::kOpCount);
      if (!machine::is_light(op) || op == ops::Op::strong_multiply_add) continue;
      Step step{op, {}};
      std::vector<LineId> operands;
      const int arity = ops::dispatch(op, [](auto rule) { return decltype(rule)::arity; });
      for (int k = 0; k < arity; ++k) {
        // Old values are read again late, so that there are more of them than registers.
        step.operands.push_back(generator() % lines.size());
        operands.push_back(lines[step.operands.back()]);
      }
      lines.push_back(*recorder.op(op, operands));
      steps.push_back(std::move(step));
    }
    for (std::size_t i = 0; i < lines.size(); i += 3) {
      body.records.push_back({lines[i], static_cast<std::int64_t>(results.size()) * kLanes * body.item()});
      results.push_back(i);
    }
  }

  std::vector<T> values(std::vector<T> at) const {
    const array::ElementLoops& loops = array::element_loops(sizeof(T) == 4 ? array::DType::f32 : array::DType::f64);
    for (const Step& step : steps) {
      const void* in[ops::kMaxArity] = {};
      std::vector<T> operands;
      for (std::size_t k : step.operands) operands.push_back(at[k]);
      for (std::size_t k = 0; k < operands.size(); ++k) in[k] = &operands[k];
      T out;
      loops.single[static_cast<int>(step.op)](in, &out);
      at.push_back(out);
    }
    return at;
  }
};

template <class T>
void check_random(unsigned seed, int length, bool scalar) {
  const Random<T> random(seed, length, false);
  const auto kernel = machine::compile(random.body, scalar);
  REQUIRE(kernel);
  constexpr int kInputs = Random<T>::kInputs;
  std::vector<T> lanes(static_cast<std::size_t>(kInputs * kLanes)), shared(16);
  std::mt19937 generator(seed + 1);
  for (T& x : lanes) {
    const T special[] = {T(0), T(-0.0), T(1), T(-2), std::numeric_limits<T>::infinity()};
    x = generator() % 8 == 0 ? special[generator() % 5] : static_cast<T>(std::normal_distribution<>(0, 2)(generator));
  }
  shared[16 / sizeof(T)] = T(0.75);
  std::vector<T> records(random.results.size() * static_cast<std::size_t>(kLanes), T(-99));
  machine::Call call;
  call.lanes = reinterpret_cast<char*>(lanes.data());
  call.shared = reinterpret_cast<const char*>(shared.data());
  call.records = reinterpret_cast<char*>(records.data());
  const std::int64_t count = scalar ? 1 : kLanes;
  call.bytes = count * static_cast<std::int64_t>(sizeof(T));
  (*kernel)(call);
  for (std::int64_t lane = 0; lane < count; ++lane) {
    std::vector<T> inputs;
    for (int i = 0; i + 1 < kInputs; ++i) inputs.push_back(lanes[static_cast<std::size_t>(i * kLanes + lane)]);
    inputs.push_back(T(0.75));
    const std::vector<T> want = random.values(inputs);
    for (std::size_t r = 0; r < random.results.size(); ++r) {
      CAPTURE(lane);
      CAPTURE(random.results[r]);
      const T got = records[r * static_cast<std::size_t>(kLanes) + static_cast<std::size_t>(lane)];
      CHECK_MESSAGE(same_bits(got, want[random.results[r]]), got, " instead of ", want[random.results[r]]);
    }
  }
}

}  // namespace

TEST_CASE("machine: random bodies") {
  for_vector_isas([] {
    for (unsigned seed = 0; seed < 40; ++seed) {
      CAPTURE(seed);
      const int length = seed % 4 == 0 ? 150 : 25;
      for (const bool scalar : {false, true}) {
        check_random<double>(seed, length, scalar);
        check_random<float>(seed, length, scalar);
      }
    }
  });
}

TEST_CASE("machine: states go round, lanes end in iterations of their own") {
  for_vector_isas([] {
    for (const bool scalar : {false, true}) {
      // (a, b, c) becomes (b, c, a + 1); a lane is done when a is at its limit; the table is added to d.
      Body body;
      Recorder recorder(body);
      LineId state[4];
      const auto at = [](int i) { return i * kLanes * 8; };
      for (int i = 0; i < 4; ++i) state[i] = recorder.input(Input::From::lanes, at(i));
      const LineId limit = recorder.input(Input::From::lanes, at(4)), table = recorder.input(Input::From::table, 0);
      const LineId a = recorder.line(machine::Kind::add, 0, state[0], recorder.constant(1.0));
      const LineId d = recorder.line(machine::Kind::add, 0, state[3], table);
      body.states = {{0, state[1]}, {1, state[2]}, {2, a}, {3, d}};
      body.records = {{a, 0}};
      body.until = recorder.line(machine::Kind::compare, std::uint32_t(machine::Comparison::greater_equal), a, limit);
      body.own_iterations = true;
      const auto kernel = machine::compile(body, scalar);
      REQUIRE(kernel);
      std::vector<double> lanes(5 * kLanes), records(kLanes), entries(100);
      std::vector<std::int64_t> own(kLanes);
      std::vector<char> active(kLanes * 8), done(kLanes * 8);
      const std::int64_t count = scalar ? 1 : kLanes;
      for (int lane = 0; lane < kLanes; ++lane) {
        lanes[std::size_t(lane + 4 * kLanes)] = 3.0 + lane / 8;
        own[std::size_t(lane)] = lane;
        const std::uint32_t bits = scalar ? 1 : (1u << kernel->width()) - 1;
        std::memcpy(active.data() + lane * 8, &bits, 4);
      }
      for (std::size_t i = 0; i < entries.size(); ++i) entries[i] = static_cast<double>(i);
      const char* tables[] = {reinterpret_cast<const char*>(entries.data())};
      machine::Call call;
      call.lanes = reinterpret_cast<char*>(lanes.data());
      call.tables = tables;
      call.records = reinterpret_cast<char*>(records.data());
      call.iterations_done = reinterpret_cast<const char*>(own.data());
      call.active = active.data();
      call.done = done.data();
      call.bytes = count * 8;
      call.iterations = 20;
      (*kernel)(call);
      for (std::int64_t lane = 0; lane < count; ++lane) {
        CAPTURE(lane);
        std::int32_t iterations;
        const std::int64_t vector = lane / kernel->width() * kernel->width();
        std::memcpy(&iterations, done.data() + vector * 8, 4);
        CHECK(iterations >= 3);
        CHECK(iterations <= 20);
        double s[3] = {}, sum = 0.0, last = 0.0;
        for (int i = 0; i < iterations; ++i) {
          last = s[0] + 1.0;
          sum += static_cast<double>(lane + i);
          s[0] = s[1], s[1] = s[2], s[2] = last;
        }
        for (int i = 0; i < 3; ++i) CHECK(lanes[std::size_t(lane + i * kLanes)] == s[i]);
        CHECK(lanes[std::size_t(lane + 3 * kLanes)] == sum);
        CHECK(records[std::size_t(lane)] == last);
      }
    }
  });
}

TEST_CASE("machine: guarded lines") {
  for_vector_isas([] {
    for (const bool scalar : {false, true}) {
      // Where x > 0: sqrt(x) * y + 2, and within that, where it is > 3, its square; elsewhere y - x.
      Body body;
      Recorder recorder(body);
      const auto greater = std::uint32_t(machine::Comparison::greater);
      const LineId x = recorder.input(Input::From::lanes, 0), y = recorder.input(Input::From::lanes, kLanes * 8);
      const LineId other = recorder.line(machine::Kind::subtract, 0, y, x);
      const LineId positive = recorder.line(machine::Kind::compare, greater, x, recorder.constant(0.0));
      const LineId outer = recorder.guard(positive);
      const LineId root = recorder.line(machine::Kind::sqrt, 0, x);
      const LineId value = recorder.line(machine::Kind::fma, 0, root, y, recorder.constant(2.0));
      const LineId large = recorder.line(machine::Kind::compare, greater, value, recorder.constant(3.0));
      const LineId inner = recorder.guard(recorder.line(machine::Kind::both, 0, positive, large));
      const LineId square = recorder.line(machine::Kind::multiply, 0, value, value);
      recorder.join(inner);
      const LineId chosen = recorder.line(machine::Kind::select, 0, large, square, value);
      recorder.join(outer);
      // What was known behind a guard is computed anew.
      CHECK(recorder.line(machine::Kind::sqrt, 0, x) != root);
      body.records = {{recorder.line(machine::Kind::select, 0, positive, chosen, other), 0}, {other, kLanes * 8}};
      const auto kernel = machine::compile(body, scalar);
      REQUIRE(kernel);
      for (int kind = 0; kind < 3; ++kind) {
        std::vector<double> lanes(2 * kLanes), records(2 * kLanes);
        for (int lane = 0; lane < kLanes; ++lane) {
          const double sign = kind == 0 ? -1.0 : kind == 1 ? 1.0 : lane / 3 % 2 ? 1.0 : -1.0;
          lanes[std::size_t(lane)] = sign * (lane + 1) / 8;
          lanes[std::size_t(lane + kLanes)] = 0.25 * (lane % 5);
        }
        machine::Call call;
        call.lanes = reinterpret_cast<char*>(lanes.data());
        call.records = reinterpret_cast<char*>(records.data());
        call.bytes = (scalar ? 1 : kLanes) * 8;
        (*kernel)(call);
        for (int lane = 0; lane < (scalar ? 1 : kLanes); ++lane) {
          const double a = lanes[std::size_t(lane)], b = lanes[std::size_t(lane + kLanes)];
          double want = b - a;
          if (a > 0) {
            want = std::fma(std::sqrt(a), b, 2.0);
            if (want > 3) want = want * want;
          }
          CHECK(records[std::size_t(lane)] == want);
          CHECK(records[std::size_t(lane + kLanes)] == b - a);
        }
      }
    }
  });
}

TEST_CASE("machine: code is freed") {
  if (machine::vector_width(false) == 0) return;
  const std::size_t before = machine::Pages::in_use();
  for (unsigned i = 0; i < 2000; ++i) {
    const Random<double> random(i % 7, 10, true);
    const auto kernel = machine::compile(random.body, i % 2 == 0);
    REQUIRE(kernel);
    CHECK(machine::Pages::in_use() > before);
  }
  CHECK(machine::Pages::in_use() == before);
}
