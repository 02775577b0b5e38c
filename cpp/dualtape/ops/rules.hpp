// SPDX-License-Identifier: MIT
// The rules of the table as code: for each op a struct, say tanh_op, with its value and its partials as templates
// over the number type T.
//
//   tanh_op::code, tanh_op::arity, tanh_op::predicate, tanh_op::differentiable<i>
//   tanh_op::value(x)             T; for a predicate the mask type of T (bool for double)
//   tanh_op::partial<i>(x, y)     the derivative with respect to operand i; y is the value
//   dispatch(op, f)               f(tanh_op{}) for the op's code
//
// A number type T needs: operators as hidden friends, conversion from double, comparisons that give a mask with
// & | ^ !, `select(mask, T, T)`, and every function of the table, found through T. double and float have them here,
// lanes in lanes_functions.hpp; another type generates them from ops.def in a few lines, as dual/dual.hpp does.
#pragma once

#include "dualtape/ops/codes.hpp"
#include "dualtape/ops/helpers.hpp"

namespace dualtape::ops {

namespace detail {
/// Whether the text of a partial is other than `none`.
constexpr bool is_partial(const char* text) { return __builtin_strcmp(text, "none") != 0; }
}  // namespace detail

#define DUALTAPE_UNARY(name, numpy, dx, value_, px, kink)                                                      \
  struct name##_op {                                                                                           \
    static constexpr Op code = Op::name;                                                                       \
    static constexpr int arity = 1;                                                                            \
    static constexpr bool predicate = false;                                                                   \
    template <int I>                                                                                           \
    static constexpr bool differentiable = detail::is_partial(#px);                                            \
    template <class T>                                                                                         \
    [[gnu::always_inline]] static constexpr T value(const T& x) {                                              \
      return T(value_);                                                                                        \
    }                                                                                                          \
    template <int I, class T>                                                                                  \
    [[gnu::always_inline]] static inline T partial([[maybe_unused]] const T& x, [[maybe_unused]] const T& y) { \
      static_assert(I == 0 && differentiable<I>);                                                              \
      return T(px);                                                                                            \
    }                                                                                                          \
  };
#define DUALTAPE_BINARY(name, numpy, da, db, value_, pa, pb, kink)                                           \
  struct name##_op {                                                                                         \
    static constexpr Op code = Op::name;                                                                     \
    static constexpr int arity = 2;                                                                          \
    static constexpr bool predicate = false;                                                                 \
    template <int I>                                                                                         \
    static constexpr bool differentiable = detail::is_partial(I == 0 ? #pa : #pb);                           \
    template <class T>                                                                                       \
    [[gnu::always_inline]] static constexpr T value(const T& a, const T& b) {                                \
      return T(value_);                                                                                      \
    }                                                                                                        \
    template <int I, class T>                                                                                \
    [[gnu::always_inline]] static inline T partial([[maybe_unused]] const T& a, [[maybe_unused]] const T& b, \
                                                   [[maybe_unused]] const T& y) {                            \
      static_assert(I < 2 && differentiable<I>);                                                             \
      if constexpr (I == 0) {                                                                                \
        return T(pa);                                                                                        \
      } else {                                                                                               \
        return T(pb);                                                                                        \
      }                                                                                                      \
    }                                                                                                        \
  };
#define DUALTAPE_TERNARY(name, numpy, da, db, dc, value_, pa, pb, pc, kink)                                    \
  struct name##_op {                                                                                           \
    static constexpr Op code = Op::name;                                                                       \
    static constexpr int arity = 3;                                                                            \
    static constexpr bool predicate = false;                                                                   \
    template <int I>                                                                                           \
    static constexpr bool differentiable = detail::is_partial(I == 0   ? #pa                                   \
                                                              : I == 1 ? #pb                                   \
                                                                       : #pc);                                 \
    template <class T>                                                                                         \
    [[gnu::always_inline]] static constexpr T value(const T& a, const T& b, const T& c) {                      \
      return T(value_);                                                                                        \
    }                                                                                                          \
    template <int I, class T>                                                                                  \
    [[gnu::always_inline]] static inline T partial([[maybe_unused]] const T& a, [[maybe_unused]] const T& b,   \
                                                   [[maybe_unused]] const T& c, [[maybe_unused]] const T& y) { \
      static_assert(I < 3 && differentiable<I>);                                                               \
      if constexpr (I == 0) {                                                                                  \
        return T(pa);                                                                                          \
      } else if constexpr (I == 1) {                                                                           \
        return T(pb);                                                                                          \
      } else {                                                                                                 \
        return T(pc);                                                                                          \
      }                                                                                                        \
    }                                                                                                          \
  };
#define DUALTAPE_PREDICATE1(name, numpy, dx, value_)                 \
  struct name##_op {                                                 \
    static constexpr Op code = Op::name;                             \
    static constexpr int arity = 1;                                  \
    static constexpr bool predicate = true;                          \
    template <int I>                                                 \
    static constexpr bool differentiable = false;                    \
    template <class T>                                               \
    [[gnu::always_inline]] static constexpr auto value(const T& x) { \
      return decltype(x == x)(value_);                               \
    }                                                                \
  };
#define DUALTAPE_PREDICATE2(name, numpy, da, db, value_)                         \
  struct name##_op {                                                             \
    static constexpr Op code = Op::name;                                         \
    static constexpr int arity = 2;                                              \
    static constexpr bool predicate = true;                                      \
    template <int I>                                                             \
    static constexpr bool differentiable = false;                                \
    template <class T>                                                           \
    [[gnu::always_inline]] static constexpr auto value(const T& a, const T& b) { \
      return decltype(a == b)(value_);                                           \
    }                                                                            \
  };
/// What stands where an operand has no partial; never evaluated.
inline constexpr double none = 0;
#include "dualtape/ops/ops.def"

/// Calls f with the op's struct.
template <class F>
decltype(auto) dispatch(Op op, F&& f) {
  switch (op) {
#define DUALTAPE_UNARY(name, ...) \
  case Op::name:                  \
    return static_cast<F&&>(f)(name##_op{});
#define DUALTAPE_BINARY DUALTAPE_UNARY
#define DUALTAPE_TERNARY DUALTAPE_UNARY
#include "dualtape/ops/ops.def"
  }
  __builtin_unreachable();
}

// The functions of plain numbers, declared in functions.hpp.
#define DUALTAPE_UNARY_NATIVE(name, ...)
#define DUALTAPE_BINARY_NATIVE(name, ...)
#define DUALTAPE_UNARY(name, ...)                              \
  inline double name(double x) { return name##_op::value(x); } \
  inline float name(float x) { return name##_op::value(x); }
#define DUALTAPE_BINARY(name, ...)                                          \
  inline double name(double a, double b) { return name##_op::value(a, b); } \
  inline float name(float a, float b) { return name##_op::value(a, b); }
#define DUALTAPE_TERNARY(name, ...)                                                      \
  inline double name(double a, double b, double c) { return name##_op::value(a, b, c); } \
  inline float name(float a, float b, float c) { return name##_op::value(a, b, c); }
#define DUALTAPE_PREDICATE1(name, ...)                       \
  inline bool name(double x) { return name##_op::value(x); } \
  inline bool name(float x) { return name##_op::value(x); }
#define DUALTAPE_PREDICATE2(name, ...)                                    \
  inline bool name(double a, double b) { return name##_op::value(a, b); } \
  inline bool name(float a, float b) { return name##_op::value(a, b); }
#include "dualtape/ops/ops.def"

}  // namespace dualtape::ops
