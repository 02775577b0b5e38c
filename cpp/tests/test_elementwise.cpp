// SPDX-License-Identifier: MIT
// The element loops against the scalar rules (the same bits on every instruction set), and the executor's ways
// through shapes, strides and dtypes.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "dualtape/base/error.hpp"
#include "dualtape/num/isa.hpp"
#include "dualtape/ops/rules.hpp"
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
        for (int k = 0; k < row.arity; ++k)
          slopes[k].push_back(ops::strong_multiply(1.0, array::scalar_partial(op, k, numbers, expected.back())));
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

namespace {

/// 0, 1, 2, ... in that shape.
Array counting(Shape shape, DType dtype = DType::f64) {
  Array out = Array::empty(DType::f64, shape);
  if (out.is_scalar()) return Array(0.0).cast(dtype);
  for (std::int64_t i = 0; i < out.size(); ++i) out.writable_data<double>()[i] = static_cast<double>(i);
  return out.cast(dtype);
}

/// The same elements with the axes reversed: a view with strides that are not contiguous.
Array transposed(const Array& x) {
  Dims shape(x.shape()), strides(x.strides());
  std::reverse(shape.begin(), shape.end());
  std::reverse(strides.begin(), strides.end());
  return Array::view(x.buffer(), x.dtype(), shape, strides, x.offset());
}

double at(const Array& x, const Dims& index) {
  std::int64_t offset = 0;
  const int lead = index.size() - x.ndim();
  for (int axis = 0; axis < x.ndim(); ++axis) {
    const std::size_t k = static_cast<std::size_t>(axis);
    if (x.shape()[k] != 1) offset += index[lead + axis] * x.strides()[k];
  }
  const Array element = x.is_scalar() ? x : Array::view(x.buffer(), x.dtype(), {}, {}, x.offset() + offset);
  return element.item();
}

/// Checks y[i, j, ...] = f(a[i, j, ...], b[i, j, ...]) by indexing.
template <class F>
void check_elements(const Array& y, const Array& a, const Array& b, F f) {
  Dims index = Dims::filled(y.ndim(), 0);
  int wrong = 0;
  for (std::int64_t i = 0; i < y.size(); ++i) {
    wrong += at(y, index) != f(at(a, index), at(b, index));
    for (int axis = y.ndim() - 1; axis >= 0; --axis) {
      if (++index[axis] < y.shape()[static_cast<std::size_t>(axis)]) break;
      index[axis] = 0;
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("shapes broadcast, whatever the strides") {
  const Array operands[] = {Array(3.0),
                            counting(Dims{1}),
                            counting(Dims{40}),
                            counting(Dims{7, 40}),
                            counting(Dims{7, 1}),
                            counting(Dims{3, 7, 40}),
                            counting(Dims{3, 1, 40}),
                            counting(Dims{3, 1, 1}, DType::i64),
                            transposed(counting(Dims{40, 7})),
                            transposed(counting(Dims{40, 7, 3})),
                            transposed(counting(Dims{40, 1, 3}, DType::f32)),
                            counting(Dims{2, 3, 7, 40}, DType::boolean)};
  for (const Array& a : operands) {
    for (const Array& b : operands) {
      const Array y = apply(Op::subtract, {a, b});
      const Shape shapes[] = {a.shape(), b.shape()};
      CHECK(same_shape(y.shape(), broadcast_shapes("subtract", shapes)));
      CHECK(y.dtype() == (a.dtype() == DType::f32 && b.dtype() == DType::f32 ? DType::f32 : y.dtype()));
      check_elements(y, a, b, [](double p, double q) { return p - q; });
      const Array less = apply(Op::less, {a, b});
      CHECK(less.dtype() == DType::boolean);
      check_elements(less, a, b, [](double p, double q) { return p < q; });
    }
  }
  CHECK_THROWS_AS(apply(Op::add, {counting(Dims{3}), counting(Dims{4})}), ShapeError);
}

TEST_CASE("every length, with the same bits as alone") {
  std::vector<double> numbers;
  tests::Random random(3);
  for (int i = 0; i < 70; ++i) numbers.push_back(random.uniform(-3, 3));
  for (DType dtype : {DType::f64, DType::f32}) {
    for (std::size_t n = 0; n < numbers.size(); ++n) {
      const std::vector<double> part(numbers.begin(), numbers.begin() + static_cast<std::ptrdiff_t>(n));
      const auto got = numbers_of(apply(Op::tanh, {vector_of(part, dtype)}));
      REQUIRE(got.size() == n);
      for (std::size_t i = 0; i < n; ++i) {
        const double alone = apply(Op::tanh, {Array::full(dtype, {}, part[i])}).item();
        CHECK(got[i] == alone);
      }
      const auto sum = numbers_of(apply(Op::add, {vector_of(part, dtype), Array::full(dtype, {}, -0.0)}));
      for (std::size_t i = 0; i < n; ++i) CHECK(sum[i] == numbers_of(vector_of(part, dtype))[i]);
    }
  }
}

TEST_CASE("dtypes promote to a floating one") {
  const Array f64 = counting(Dims{3}), f32 = counting(Dims{3}, DType::f32), i64 = counting(Dims{3}, DType::i64),
              boolean = counting(Dims{3}, DType::boolean);
  CHECK(apply(Op::add, {f32, f32}).dtype() == DType::f32);
  CHECK(apply(Op::add, {f32, boolean}).dtype() == DType::f32);
  CHECK(apply(Op::add, {f32, f64}).dtype() == DType::f64);
  CHECK(apply(Op::add, {f32, i64}).dtype() == DType::f64);
  CHECK(apply(Op::add, {i64, i64}).dtype() == DType::f64);
  CHECK(apply(Op::exp, {boolean}).dtype() == DType::f64);
  CHECK(apply(Op::isnan, {i64}).dtype() == DType::boolean);
  CHECK(apply(Op::equal, {Array(1.0), Array(1.0)}).dtype() == DType::boolean);
  CHECK(apply(Op::add, {Array(1.0), Array(2.0)}).is_scalar());
}

TEST_CASE("times_partial multiplies by the cotangent, of any leading shape") {
  const Array x = counting(Dims{7, 5}), y = apply(Op::sin, {x}), c = counting(Dims{4, 7, 5});
  const Array got = times_partial(Op::sin, 0, {x}, y, c);
  CHECK(same_shape(got.shape(), Dims{4, 7, 5}));
  const Array cosine = apply(Op::cos, {x});
  check_elements(got, c, cosine, [](double p, double q) { return ops::strong_multiply(p, q); });
  // An operand that the partial does not read broadcasts, but is not looked at.
  const Array a = counting(Dims{7, 1}), b = counting(Dims{5}), sum = apply(Op::add, {a, b});
  CHECK(same_shape(times_partial(Op::add, 0, {a, b}, sum, Array(2.0)).shape(), Dims{7, 5}));
  // No partial: zeros.
  CHECK(numbers_of(times_partial(Op::floor, 0, {b}, b, b)) == std::vector<double>(5, 0.0));
  // A cotangent of zero meets an infinite slope.
  const Array zero = Array::zeros(DType::f64, Dims{3});
  CHECK(numbers_of(times_partial(Op::sqrt, 0, {zero}, zero, zero)) == std::vector<double>(3, 0.0));
  CHECK(times_partial(Op::sqrt, 0, {Array(0.0)}, Array(0.0), Array(0.0)).item() == 0);
  const Array narrow = counting(Dims{3}, DType::f32);
  CHECK(times_partial(Op::square, 0, {narrow}, narrow, Array(1.0)).dtype() == DType::f32);
}

TEST_CASE("the shortcut for x**2 has the bits of the general way") {
  const Array x = vector_of({-1.1, 0.0, 3.3, 1e-200}), two = Array(2.0), twos = Array::full(DType::f64, Dims{4}, 2.0);
  const Array y = apply(Op::integer_power, {x, two});
  CHECK(numbers_of(y) == numbers_of(apply(Op::integer_power, {x, twos})));
  const auto slope = [&](const Array& n) {
    return numbers_of(times_partial(Op::integer_power, 0, {x, n}, y, Array(1.7)));
  };
  CHECK(slope(two) == slope(twos));
}

TEST_CASE("accumulate adds in place") {
  Array to = Array::full(DType::f64, Dims{3, 7}, 1.0);
  const void* memory = to.raw_data();
  const Array row = counting(Dims{7}), column = counting(Dims{3, 1}), all = transposed(counting(Dims{7, 3}));
  array::accumulate(to, row);
  array::accumulate(to, column);
  array::accumulate(to, all);
  array::accumulate(to, Array(0.5));
  CHECK(to.raw_data() == memory);
  CHECK(at(to, Dims{2, 4}) == 1.0 + 4 + 2 + (4 * 3 + 2) + 0.5);
  Array scalar(1.5);
  array::accumulate(scalar, Array(2.0));
  CHECK(scalar.item() == 3.5);
  Array single = Array::full(DType::f32, Dims{4}, 1.0);
  array::accumulate(single, counting(Dims{4}));
  CHECK(at(single, Dims{3}) == 4.0);
}
