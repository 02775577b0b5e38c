// SPDX-License-Identifier: MIT
// Helpers of the tests of the tape: a function of Vars, and each way to differentiate it.
#pragma once

#include <functional>
#include <vector>

#include "dualtape/array/reduce.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/reverse.hpp"
#include "tests/array_testing.hpp"

namespace dualtape::testing {

using tape::Scope;
using tape::Tape;
using tape::Var;

/// A function of several Vars with one value.
using Function = std::function<Var(std::span<const Var>)>;
using Arrays = std::vector<Array>;

inline Var op(ops::Op code, std::initializer_list<Var> operands) { return tape::apply(code, operands); }

inline std::vector<Var> constants(const Arrays& values) { return {values.begin(), values.end()}; }
inline Array value_of(const Function& f, const Arrays& x) { return f(constants(x)).value(); }

/// Sum of the products of elements, in double.
inline double dot(const Array& a, const Array& b) {
  const std::vector<double> x = elements(a), y = elements(b);
  REQUIRE(x.size() == y.size());
  double total = 0;
  for (std::size_t i = 0; i < x.size(); ++i) total += x[i] * y[i];
  return total;
}
inline double dot(const Arrays& a, const Arrays& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i) total += dot(a[i], b[i]);
  return total;
}

inline Arrays like(const Arrays& x, unsigned seed) {
  Arrays out;
  for (const Array& each : x) out.push_back(random(each.dtype(), Dims(each.shape()), seed++));
  return out;
}

/// x + step * direction, element by element, in float64.
inline Arrays moved(const Arrays& x, const Arrays& direction, double step) {
  Arrays out;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Var scaled = op(ops::Op::multiply, {Var(direction[i].cast(DType::f64)), Var(step)});
    out.push_back(op(ops::Op::add, {Var(x[i].cast(DType::f64)), scaled}).value());
  }
  return out;
}

/// Cotangents of the inputs by a reverse pass, recorded or numeric.
inline Arrays vjp(const Function& f, const Arrays& x, const Array& cotangent, bool record = false) {
  Scope scope;
  std::vector<Var> leaves;
  for (const Array& each : x) leaves.push_back(scope.tape().leaf(Var(each)));
  const Var y = f(leaves), ct(cotangent);
  Arrays out;
  for (const Var& v : tape::pull_back(&scope.tape(), {&y, 1}, {&ct, 1}, leaves, {record, false}))
    out.push_back(v.value());
  return out;
}

/// The tangent of the value by dual numbers.
inline Array jvp(const Function& f, const Arrays& x, const Arrays& tangents) {
  const std::uint32_t level = tape::new_level();
  std::vector<Var> pairs;
  for (std::size_t i = 0; i < x.size(); ++i) pairs.push_back(Var::dual(level, Var(x[i]), Var(tangents[i]), 0));
  const Var y = f(pairs);
  return y.level() == level ? y.tangent().value() : Array::zeros(y.dtype(), y.shape());
}

/// The same by a forward pass over the tape.
inline Array pushed(const Function& f, const Arrays& x, const Arrays& tangents) {
  Scope scope;
  std::vector<Var> leaves;
  for (const Array& each : x) leaves.push_back(scope.tape().leaf(Var(each)));
  const Var y = f(leaves);
  return tape::push_forward(scope.tape(), leaves, constants(tangents), {&y, 1}, 0)[0].value();
}

/// (up - down) / 2h
inline Array central(const Array& up, const Array& down, double h) {
  return op(ops::Op::true_divide, {op(ops::Op::subtract, {Var(up), Var(down)}), Var(2 * h)}).value();
}

/// The derivative along `tangents` of the cotangents: dual numbers around the tape.
inline Arrays forward_over_reverse(const Function& f, const Arrays& x, const Array& cotangent, const Arrays& tangents) {
  Scope scope;
  const std::uint32_t level = tape::new_level();
  std::vector<Var> pairs;
  for (std::size_t i = 0; i < x.size(); ++i) {
    pairs.push_back(Var::dual(level, scope.tape().leaf(Var(x[i])), Var(tangents[i]), 0));
  }
  const Var y = f(pairs), ct(cotangent);
  Arrays out;
  for (const Var& v : tape::pull_back(&scope.tape(), {&y, 1}, {&ct, 1}, pairs, {})) {
    out.push_back(v.level() == level ? v.tangent().value() : Array::zeros(v.dtype(), v.shape()));
  }
  return out;
}

/// The same as the gradient of (cotangents times tangents), by a second reverse pass over the first.
inline Arrays reverse_over_reverse(const Function& f, const Arrays& x, const Array& cotangent, const Arrays& tangents) {
  Scope scope;
  std::vector<Var> leaves;
  for (const Array& each : x) leaves.push_back(scope.tape().leaf(Var(each)));
  const Var y = f(leaves), ct(cotangent);
  const std::vector<Var> gradients = tape::pull_back(&scope.tape(), {&y, 1}, {&ct, 1}, leaves, {true, false});
  const std::vector<Var> seeds = constants(tangents);
  Arrays out;
  for (const Var& v : tape::pull_back(&scope.tape(), gradients, seeds, leaves, {})) out.push_back(v.value());
  return out;
}

/// Equal up to `tolerance`, relative to the larger of 1 and the numbers themselves.
inline bool close(double a, double b, double tolerance) {
  return std::fabs(a - b) <= tolerance * std::max({1.0, std::fabs(a), std::fabs(b)});
}
inline bool close(const Array& a, const Array& b, double tolerance) {
  const std::vector<double> x = elements(a), y = elements(b);
  if (!same_shape(a.shape(), b.shape())) return false;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!close(x[i], y[i], tolerance)) return false;
  }
  return true;
}

/// Everything that must agree about one function at one place. Differences are taken in float64 for float32 too.
inline void check_derivatives(const Function& f, const Arrays& x, unsigned seed = 11) {
  const bool single = x[0].dtype() == DType::f32;
  const double exact = single ? 2e-5 : 1e-12, numeric = single ? 1e-4 : 2e-7, h = 1e-5;
  const Arrays t = like(x, seed);
  const Array y = value_of(f, x), ct = random(y.dtype(), Dims(y.shape()), seed + 7);
  const Array tangent = jvp(f, x, t);
  REQUIRE(same_shape(tangent.shape(), y.shape()));
  CHECK(tangent.dtype() == y.dtype());
  CHECK(close(tangent, pushed(f, x, t), exact));
  const Arrays up = moved(x, t, h), down = moved(x, t, -h);
  CHECK(close(tangent, central(value_of(f, up), value_of(f, down), h), numeric));
  const Arrays pulled = vjp(f, x, ct);
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(pulled[i].dtype() == x[i].dtype());
    REQUIRE(same_shape(pulled[i].shape(), x[i].shape()));
  }
  const double size = 1 + std::sqrt(dot(ct, ct) * dot(tangent, tangent));
  CHECK(std::fabs(dot(ct, tangent) - dot(pulled, t)) <= exact * size);
  const Arrays recorded = vjp(f, x, ct, true);
  const Arrays second = forward_over_reverse(f, x, ct, t), again = reverse_over_reverse(f, x, ct, t);
  const Array wide = ct.cast(DType::f64);
  const Arrays above = vjp(f, up, wide), below = vjp(f, down, wide);
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(close(pulled[i], recorded[i], exact));
    REQUIRE(same_shape(second[i].shape(), x[i].shape()));
    // The Hessian is symmetric, so both orders give the same product.
    CHECK(close(second[i], again[i], 20 * exact));
    CHECK(close(second[i], central(above[i], below[i], h), 10 * numeric));
  }
}

}  // namespace dualtape::testing
