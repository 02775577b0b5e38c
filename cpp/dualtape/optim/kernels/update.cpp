// SPDX-License-Identifier: MIT
// The loops over memory of updates, norms and checks; compiled once for each instruction set (see num/isa.hpp). The
// last elements, too few for a register, are brought to its width: every element goes through the same instructions.
#include "dualtape/optim/kernels/update.hpp"

#include "dualtape/optim/rules.hpp"

namespace dualtape::optim::DUALTAPE_ISA {
namespace {

using dualtape::DUALTAPE_ISA::kWidth;
using dualtape::DUALTAPE_ISA::lanes;

template <class T>
using Wide = lanes<T, kWidth<T>>;

/// A struct of numbers (a Step or Terms) for elements of type T, filled from a list of doubles.
template <class Struct, class T>
DUALTAPE_INLINE Struct spread(const double* from) {
  static_assert(sizeof(Struct) % sizeof(Wide<T>) == 0);
  Struct to;
  for (unsigned k = 0; k < sizeof(Struct) / sizeof(Wide<T>); ++k) reinterpret_cast<Wide<T>*>(&to)[k] = from[k];
  return to;
}

template <int... k>
struct Indices {};
template <int count>
using IndicesTo = Indices<__integer_pack(count)...>;

/// The elements from i on, as many as a register holds.
template <class R, bool kTerms, class T, int... k>
DUALTAPE_INLINE void one(const typename R::template Step<Wide<T>>& step, const Terms<Wide<T>>& terms,
                         const Slice<T>& slice, std::int64_t i, Indices<k...>) {
  Wide<T> p = Wide<T>::load(slice.param + i), g = Wide<T>::load(slice.grad + i);
  [[maybe_unused]] Wide<T> states[] = {Wide<T>::load(slice.states[k] + i)..., Wide<T>{}};
  if constexpr (kTerms) terms.apply(p, g);
  R::update(step, p, g, states[k]...);
  p.store(slice.param_out + i);
  (states[k].store(slice.states_out[k] + i), ...);
}

template <class R, bool kTerms, class T, int... k>
void loop(const double* scalars, const double* term_values, const Slice<T>& slice, Indices<k...> indices) {
  constexpr int kStep = Wide<T>::width;
  const auto step = spread<typename R::template Step<Wide<T>>, T>(scalars);
  Terms<Wide<T>> terms;
  if constexpr (kTerms) terms = spread<Terms<Wide<T>>, T>(term_values);
  std::int64_t i = 0;
  for (; i + kStep <= slice.count; i += kStep) one<R, kTerms>(step, terms, slice, i, indices);
  const std::size_t bytes = static_cast<std::size_t>(slice.count - i) * sizeof(T);
  if (bytes == 0) return;
  T memory[2 + sizeof...(k)][kStep] = {};
  __builtin_memcpy(memory[0], slice.param + i, bytes);
  __builtin_memcpy(memory[1], slice.grad + i, bytes);
  (__builtin_memcpy(memory[2 + k], slice.states[k] + i, bytes), ...);
  one<R, kTerms>(step, terms, Slice<T>{kStep, memory[0], memory[1], {memory[2 + k]...}, memory[0], {memory[2 + k]...}},
                 0, indices);
  __builtin_memcpy(slice.param_out + i, memory[0], bytes);
  (__builtin_memcpy(slice.states_out[k] + i, memory[2 + k], bytes), ...);
}

template <class R, int kStates, class T>
void update(const double* scalars, const double* terms, const Slice<T>& slice) {
  if (terms) {
    loop<R, true>(scalars, terms, slice, IndicesTo<kStates>{});
  } else {
    loop<R, false>(scalars, terms, slice, IndicesTo<kStates>{});
  }
}

// Reductions run over kPartials partial results, which are folded in a fixed order: the same bits at every width.
constexpr int kPartials = 16;
constexpr std::int64_t kBlock = 1024;

template <class T>
double block_sum_of_squares(const T* x, std::int64_t count, double scale) {
  double partial[kPartials] = {};
  std::int64_t i = 0;
  for (; i + kPartials <= count; i += kPartials) {
    for (int k = 0; k < kPartials; ++k) {
      const double value = scale * static_cast<double>(x[i + k]);
      partial[k] += value * value;
    }
  }
  for (int k = 0; i + k < count; ++k) {
    const double value = scale * static_cast<double>(x[i + k]);
    partial[k] += value * value;
  }
  for (int half = kPartials / 2; half > 0; half /= 2) {
    for (int k = 0; k < half; ++k) partial[k] += partial[k + half];
  }
  return partial[0];
}

/// Sums of blocks meet pairwise, like carries of a binary counter: the error grows with the logarithm of the count.
template <class T>
double sum_of_squares(const T* x, std::int64_t count, double scale) {
  double levels[64];
  unsigned long long blocks = 0;
  int depth = 0;
  for (std::int64_t i = 0; i < count; i += kBlock, ++blocks) {
    double sum = block_sum_of_squares(x + i, count - i < kBlock ? count - i : kBlock, scale);
    for (unsigned long long bits = blocks; bits & 1; bits >>= 1) sum += levels[--depth];
    levels[depth++] = sum;
  }
  double total = 0.0;
  while (depth > 0) total += levels[--depth];
  return total;
}

template <class T>
double largest(const T* x, std::int64_t count) {
  T partial[kPartials] = {};
  const auto take = [&](int k, T value) {
    const T magnitude = num::absolute(value);
    partial[k] = (partial[k] > magnitude) | (partial[k] != partial[k]) ? partial[k] : magnitude;
  };
  std::int64_t i = 0;
  for (; i + kPartials <= count; i += kPartials) {
    for (int k = 0; k < kPartials; ++k) take(k, x[i + k]);
  }
  for (int k = 0; i + k < count; ++k) take(k, x[i + k]);
  for (int k = 1; k < kPartials; ++k) take(0, partial[k]);
  return static_cast<double>(partial[0]);
}

template <class T>
constexpr UpdateKernels<T> kKernels{
    {
#define RULE(name) &update < rules::name, 0
#define STATE(name) +1
#define END(name) , T >,
#include "dualtape/optim/rules.def"
    },
    &sum_of_squares<T>,
    &largest<T>,
};

}  // namespace

template <class T>
const UpdateKernels<T>& update_kernels() {
  return kKernels<T>;
}
template const UpdateKernels<double>& update_kernels<double>();
template const UpdateKernels<float>& update_kernels<float>();

}  // namespace dualtape::optim::DUALTAPE_ISA
