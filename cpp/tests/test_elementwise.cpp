// SPDX-License-Identifier: MIT
// The element loops against the scalar rules (the same bits on every instruction set), and the executor's ways
// through shapes, strides and dtypes.
#include <doctest/doctest.h>

#include <string>

#include "dualtape/base/error.hpp"
#include "dualtape/num/isa.hpp"
#include "tests/samples.hpp"

using namespace dualtape;
using array::Array;
using array::DType;
using ops::Op;
using tests::same_bits;

namespace {

Array vector_of(const std::vector<double>& numbers, DType dtype = DType::f64) {
  const std::int64_t n = static_cast<std::int64_t>(numbers.size());
  Array out = Array::empty(DType::f64, Dims{n});
  std::copy(numbers.begin(), numbers.end(), out.writable_data<double>());
  return out.cast(dtype);
}

std::vector<double> numbers_of(const Array& x) {
  const Array wide = x.cast(DType::f64).as_contiguous();
  return {wide.data<double>(), wide.data<double>() + wide.size()};
}

Array apply(Op op, std::vector<Array> operands) {
  std::vector<const Array*> at;
  for (const Array& x : operands) at.push_back(&x);
  return array::apply(op, at);
}

Array times_partial(Op op, int which, std::vector<Array> operands, const Array& y, const Array& c) {
  std::vector<const Array*> at;
  for (const Array& x : operands) at.push_back(&x);
  return array::times_partial(op, which, at, y, c);
}

std::vector<num::Isa> isas() {
  std::vector<num::Isa> out;
  for (num::Isa isa : {num::Isa::generic, num::Isa::avx2, num::Isa::avx512}) {
    if (isa <= num::best_isa()) out.push_back(isa);
  }
  return out;
}

/// Forces an instruction set for a scope.
struct Forced {
  num::Isa before = num::current_isa();
  explicit Forced(num::Isa isa) { num::force_isa(isa); }
  ~Forced() { num::force_isa(before); }
};

/// Counts differences, and shows the first.
void check_same(const std::vector<double>& got, const std::vector<double>& expected,
                const std::vector<std::vector<double>>& x, const std::string& what) {
  REQUIRE(got.size() == expected.size());
  int differences = 0;
  std::string first;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (same_bits(got[i], expected[i])) continue;
    if (differences++) continue;
    char text[300];
    std::snprintf(text, sizeof text, "got %.17g, expected %.17g at %.17g %.17g", got[i], expected[i], x[0][i],
                  x.size() > 1 ? x[1][i] : 0.0);
    first = text;
  }
  CHECK_MESSAGE(differences == 0, what << ": " << differences << " differ; " << first);
}

}  // namespace

TEST_CASE("every op has the same bits as a scalar, in every instruction set") {
  for (num::Isa isa : isas()) {
    const Forced forced(isa);
    for (int i = 0; i < ops::kOpCount; ++i) {
      const Op op = static_cast<Op>(i);
      const ops::OpInfo& row = ops::info(op);
      const auto x = tests::trial_operands(op);
      const std::string what = std::string(row.name) + " " + std::string(num::name(isa));
      std::vector<double> expected, slopes[ops::kMaxArity];
      for (std::size_t j = 0; j < x[0].size(); ++j) {
        double numbers[ops::kMaxArity];
        for (std::size_t k = 0; k < x.size(); ++k) numbers[k] = x[k][j];
        expected.push_back(array::scalar_value(op, numbers));
        for (int k = 0; k < row.arity; ++k) slopes[k].push_back(array::scalar_partial(op, k, numbers, expected.back()));
      }
      std::vector<Array> operands;
      for (const auto& numbers : x) operands.push_back(vector_of(numbers));
      const Array y = apply(op, operands);
      CHECK(y.dtype() == (row.predicate ? DType::boolean : DType::f64));
      check_same(numbers_of(y), expected, x, what);
      if (row.predicate) continue;
      for (int k = 0; k < row.arity; ++k) {
        const Array slope = times_partial(op, k, operands, y, Array(1.0));
        check_same(numbers_of(slope), slopes[k], x, what + " partial " + std::to_string(k));
      }
    }
  }
}

TEST_CASE("float32 has the same bits in every instruction set") {
  for (int i = 0; i < ops::kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    const ops::OpInfo& row = ops::info(op);
    const auto x = tests::trial_operands(op);
    std::vector<Array> operands;
    for (const auto& numbers : x) operands.push_back(vector_of(numbers, DType::f32));
    std::vector<std::vector<double>> expected;
    for (num::Isa isa : isas()) {
      const Forced forced(isa);
      std::vector<std::vector<double>> got;
      const Array y = apply(op, operands);
      CHECK(y.dtype() == (row.predicate ? DType::boolean : DType::f32));
      got.push_back(numbers_of(y));
      for (int k = 0; k < row.arity && !row.predicate; ++k) {
        got.push_back(numbers_of(times_partial(op, k, operands, y, Array::full(DType::f32, {}, 1.0))));
      }
      if (expected.empty()) expected = got;
      for (std::size_t j = 0; j < got.size(); ++j) {
        check_same(got[j], expected[j], x, std::string(row.name) + " float32 " + std::string(num::name(isa)));
      }
    }
  }
}
