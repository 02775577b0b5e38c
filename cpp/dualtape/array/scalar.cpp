// SPDX-License-Identifier: MIT
// The rules of the table on single numbers, for ops that are known at run time.
#include "dualtape/array/elementwise.hpp"
#include "dualtape/ops/rules.hpp"

namespace dualtape::array {
namespace {

template <class Rule, int I>
double partial(const double* x, double y) {
  if constexpr (I < Rule::arity) {
    if constexpr (Rule::template differentiable<I>) {
      if constexpr (Rule::arity == 1) return Rule::template partial<I>(x[0], y);
      if constexpr (Rule::arity == 2) return Rule::template partial<I>(x[0], x[1], y);
      if constexpr (Rule::arity == 3) return Rule::template partial<I>(x[0], x[1], x[2], y);
    }
  }
  return 0;
}

}  // namespace

double scalar_value(ops::Op op, const double* x) {
  return ops::dispatch(op, [x](auto rule) -> double {
    using Rule = decltype(rule);
    if constexpr (Rule::arity == 1) return Rule::value(x[0]);
    if constexpr (Rule::arity == 2) return Rule::value(x[0], x[1]);
    if constexpr (Rule::arity == 3) return Rule::value(x[0], x[1], x[2]);
  });
}

double scalar_partial(ops::Op op, int which, const double* x, double result) {
  return ops::dispatch(op, [=](auto rule) -> double {
    using Rule = decltype(rule);
    return which == 0   ? partial<Rule, 0>(x, result)
           : which == 1 ? partial<Rule, 1>(x, result)
                        : partial<Rule, 2>(x, result);
  });
}

}  // namespace dualtape::array
