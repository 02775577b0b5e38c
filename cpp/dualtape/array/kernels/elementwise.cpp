// SPDX-License-Identifier: MIT
// Kernel source (see num/isa.hpp): every rule of the table as a loop over contiguous runs, one register of lanes at
// a time. The last, partly filled register is computed like the others, so that an element has the same bits
// wherever it stands.
#include "dualtape/array/kernels/elementwise.hpp"

#include "dualtape/ops/cost.hpp"
#include "dualtape/ops/lanes_functions.hpp"

namespace dualtape::DUALTAPE_ISA {
namespace {

using array::ElementLoop;

template <int... I>
struct Indices {};
template <int N>
struct Constant {
  static constexpr int value = N;
};
template <int N, int... I>
struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
template <int... I>
struct MakeIndices<0, I...> {
  using type = Indices<I...>;
};

/// f on the inputs, whole registers first. A constant input is spread over a register that is read again and again.
template <class T, class Out, class F, int... I>
DUALTAPE_INLINE void run(const void* const* in, const int* steps, void* out_, std::int64_t n, F f, Indices<I...>) {
  using V = lanes<T, kWidth<T>>;
  constexpr int width = V::width;
  constexpr int inputs = sizeof...(I);
  alignas(64) T constants[inputs][width];
  const T* at[inputs];
  std::int64_t stride[inputs];
  for (int k = 0; k < inputs; ++k) {
    at[k] = static_cast<const T*>(in[k]);
    stride[k] = steps[k] * width;
    if (steps[k] == 0) {
      V(*at[k]).store(constants[k]);
      at[k] = constants[k];
    }
  }
  Out* out = static_cast<Out*>(out_);
  for (; n >= width; n -= width, out += width) {
    f(V::load(at[I])...).store(out);
    ((at[I] += stride[I]), ...);
  }
  if (n > 0) {
    const int rest = static_cast<int>(n);
    f(V::load_part(at[I], rest)...).store_part(out, rest);
  }
}

/// The loop of a light op where the inputs whose bit is set in kVarying have a step of 1: the others stay in
/// registers, four registers of lanes a turn.
template <unsigned kVarying, class T, class Out, class F, int... I>
DUALTAPE_INLINE void run_light(const void* const* in, void* out_, std::int64_t n, F f, Indices<I...>) {
  using V = lanes<T, kWidth<T>>;
  constexpr int width = V::width;
  const T* const at[] = {static_cast<const T*>(in[I])...};
  const V numbers[] = {V(*at[I])...};
  Out* out = static_cast<Out*>(out_);
  std::int64_t i = 0;
  const auto input = [&](auto k, std::int64_t from) -> V {
    constexpr int kInput = decltype(k)::value;
    if constexpr (kVarying >> kInput & 1) {
      return V::load(at[kInput] + from);
    } else {
      return numbers[kInput];
    }
  };
  for (; i + 4 * width <= n; i += 4 * width) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) f(input(Constant<I>(), i + j * width)...).store(out + i + j * width);
  }
  for (; i + width <= n; i += width) f(input(Constant<I>(), i)...).store(out + i);
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    f((kVarying >> I & 1 ? V::load_part(at[I] + i, rest) : numbers[I])...).store_part(out + i, rest);
  }
}

constexpr int kLight = 12;

/// The loop for the steps that are given, where it has been compiled; false for the others.
template <class Rule, class T, class Out, class F>
DUALTAPE_INLINE bool light([[maybe_unused]] const void* const* in, [[maybe_unused]] const int* steps,
                           [[maybe_unused]] void* out, [[maybe_unused]] std::int64_t n, [[maybe_unused]] F f) {
  if constexpr (ops::cost<Rule>() <= kLight) {
    unsigned varying = 0;
    for (int k = 0; k < Rule::arity; ++k) varying |= static_cast<unsigned>(steps[k]) << k;
    typename MakeIndices<Rule::arity>::type indices;
    constexpr unsigned kAll = (1u << Rule::arity) - 1;
    if (varying == kAll) return run_light<kAll, T, Out>(in, out, n, f, indices), true;
    if constexpr (Rule::arity > 1) {
      if (varying == (kAll & ~1u)) return run_light<kAll & ~1u, T, Out>(in, out, n, f, indices), true;
      if (varying == (kAll & ~2u)) return run_light<kAll & ~2u, T, Out>(in, out, n, f, indices), true;
    }
  }
  return false;
}

template <class Rule, class T>
void value(const void* const* in, const int* steps, void* out, std::int64_t n) {
  using Out = std::conditional_t<Rule::predicate, bool, T>;
  const auto f = [](const auto&... x) { return Rule::value(x...); };
  if constexpr (!Rule::predicate) {
    if (light<Rule, T, Out>(in, steps, out, n, f)) return;
  }
  run<T, Out>(in, steps, out, n, f, typename MakeIndices<Rule::arity>::type());
}

template <class Rule, class T>
void number(const void* const* in, const int* steps, void* out, std::int64_t n) {
  const auto f = [](const auto&... x) {
    return select(Rule::value(x...), lanes<T, kWidth<T>>(1.0), lanes<T, kWidth<T>>(0.0));
  };
  if (light<Rule, T, T>(in, steps, out, n, f)) return;
  run<T, T>(in, steps, out, n, f, typename MakeIndices<Rule::arity>::type());
}
template <class Rule, class T>
constexpr ElementLoop number_loop() {
  if constexpr (Rule::predicate) {
    return number<Rule, T>;
  } else {
    return value<Rule, T>;
  }
}

template <class Rule, class T, int... I>
DUALTAPE_INLINE void single_of(const void* const* in, void* out, Indices<I...>) {
  using V = lanes<T, 1>;
  const auto value = Rule::value(V::load(static_cast<const T*>(in[I]))...);
  if constexpr (Rule::predicate) {
    *static_cast<T*>(out) = value.raw ? T(1) : T(0);
  } else {
    value.store(static_cast<T*>(out));
  }
}
template <class Rule, class T>
void single(const void* const* in, void* out) {
  single_of<Rule, T>(in, out, typename MakeIndices<Rule::arity>::type());
}

template <class Rule, int I, class T>
void times_partial(const void* const* in, const int* steps, void* out, std::int64_t n) {
  run<T, T>(
      in, steps, out, n,
      [](const auto& cotangent, const auto&... x) {
        return strong_multiply(cotangent, Rule::template partial<I>(x...));
      },
      typename MakeIndices<Rule::arity + 2>::type());
}

template <class Rule, int I, class T>
constexpr ElementLoop times_partial_or_null() {
  if constexpr (I < Rule::arity) {
    if constexpr (Rule::template differentiable<I>) return times_partial<Rule, I, T>;
  }
  return nullptr;
}

template <class T>
constexpr array::ElementLoops kLoops = {{
#define DUALTAPE_UNARY(name, ...) value<ops::name##_op, T>,
#define DUALTAPE_BINARY DUALTAPE_UNARY
#define DUALTAPE_TERNARY DUALTAPE_UNARY
#include "dualtape/ops/ops.def"
                                        },
                                        {
#define DUALTAPE_UNARY(name, ...) number_loop<ops::name##_op, T>(),
#define DUALTAPE_BINARY DUALTAPE_UNARY
#define DUALTAPE_TERNARY DUALTAPE_UNARY
#include "dualtape/ops/ops.def"
                                        },
                                        {
#define DUALTAPE_UNARY(name, ...) single<ops::name##_op, T>,
#define DUALTAPE_BINARY DUALTAPE_UNARY
#define DUALTAPE_TERNARY DUALTAPE_UNARY
#include "dualtape/ops/ops.def"
                                        },
                                        {
#define DUALTAPE_UNARY(name, ...)                                                                \
  {times_partial_or_null<ops::name##_op, 0, T>(), times_partial_or_null<ops::name##_op, 1, T>(), \
   times_partial_or_null<ops::name##_op, 2, T>()},
#define DUALTAPE_BINARY DUALTAPE_UNARY
#define DUALTAPE_TERNARY DUALTAPE_UNARY
#include "dualtape/ops/ops.def"
                                        }};

}  // namespace

const array::ElementKernels& element_kernels() {
  static constexpr array::ElementKernels kernels = {kLoops<double>, kLoops<float>};
  return kernels;
}

}  // namespace dualtape::DUALTAPE_ISA
