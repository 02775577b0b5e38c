// SPDX-License-Identifier: MIT
// The one order in which n numbers are summed (multiplied, compared). It depends on n alone:
//
//   * the sequence is cut into blocks of 512; element i of a block belongs to lane i mod 32, and a lane combines its
//     elements in order;
//   * the 32 lanes of a block are halved five times: lane j takes lane j + 16, then j + 8, j + 4, j + 2, j + 1;
//   * the blocks are combined pairwise, neighbours first (a binary counter), what is left over last.
//
// A lane without elements holds the identity of the operation, which leaves every bit as it is (that of a sum is
// -0.0). The error of a sum grows with 16 + 5 + log2(n / 512) roundings: that of NumPy's pairwise sum.
// `row_tree` does it for adjacent elements, `column_tree` for all columns of a matrix at once. For inclusion in kernel
// sources only.
#pragma once

#include <cstdint>

#include "dualtape/array/kernels/vector.hpp"

namespace dualtape::array::DUALTAPE_ISA {

inline constexpr int kLanes = 32;
inline constexpr std::int64_t kBlock = 512;

/// Two-operand operations on numbers and vectors of them, with the identity that stands for an absent element.
struct Add {
  template <class T>
  static constexpr T kIdentity = T(-0.0);
  template <class V>
  static V of(V a, V b) {
    return a + b;
  }
};
struct Multiply {
  template <class T>
  static constexpr T kIdentity = T(1);
  template <class V>
  static V of(V a, V b) {
    return a * b;
  }
};
struct Maximum {
  template <class T>
  static constexpr T kIdentity = -T(__builtin_inf());
  template <class V>
  static V of(V a, V b) {
    const V larger = a > b ? a : b;
    return a != a ? a : larger;  // b is what a comparison with a NaN b gives already
  }
};
struct Minimum {
  template <class T>
  static constexpr T kIdentity = T(__builtin_inf());
  template <class V>
  static V of(V a, V b) {
    const V smaller = a < b ? a : b;
    return a != a ? a : smaller;
  }
};

/// Values combined pairwise, neighbours first: leaf(0), leaf(1), ... count of them, at most 2 ** kLevels.
template <class Op, int kLevels, class Leaf>
inline auto pairwise(std::int64_t count, Leaf leaf) {
  decltype(leaf(count)) open[kLevels + 1];  // values that wait for their neighbour, one for each bit of the number
  int top = 0;
  for (std::int64_t number = 0; number < count; ++number) {
    auto value = leaf(number);
    for (std::int64_t bits = number; bits & 1; bits >>= 1) value = Op::of(open[--top], value);
    open[top++] = value;
  }
  auto value = open[--top];
  while (top > 0) value = Op::of(open[--top], value);
  return value;
}
/// `pairwise` over the blocks of n elements: block(start, count).
template <class Op, class Block>
inline auto pairwise_blocks(std::int64_t n, Block block) {
  if (n <= kBlock) return block(std::int64_t{0}, n);
  return pairwise<Op, 54>((n + kBlock - 1) / kBlock, [&](std::int64_t number) {
    const std::int64_t start = number * kBlock;
    return block(start, n - start < kBlock ? n - start : kBlock);
  });
}

/// A vector halved until one element is left.
template <class Op, class T>
inline T fold(Vector<T> v) {
  constexpr int kW = kWidth<T>;
#pragma GCC unroll 4
  for (int half = kW / 2; half > 0; half /= 2) {
    typename VectorOf<T>::mask upper;
#pragma GCC unroll 16
    for (int j = 0; j < kW; ++j) upper[j] = (j + half) % kW;
    v = Op::of(v, __builtin_shuffle(v, upper));
  }
  return v[0];
}

/// A block of n <= kBlock elements; `take(sum, i, count)` adds the `count` elements from i on to a vector.
template <class Op, class T, class Take>
inline T block_tree(std::int64_t n, Take take) {
  constexpr int kW = kWidth<T>, kVectors = kLanes / kW;
  Vector<T> lanes[kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) lanes[v] = broadcast(Op::template kIdentity<T>);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) lanes[v] = take(lanes[v], i + v * kW, kW);
  }
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v, i += kW) {
    if (i >= n) break;
    lanes[v] = take(lanes[v], i, n - i < kW ? static_cast<int>(n - i) : kW);
  }
#pragma GCC unroll 4
  for (int half = kVectors / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int v = 0; v < half; ++v) lanes[v] = Op::of(lanes[v], lanes[v + half]);
  }
  return fold<Op, T>(lanes[0]);
}

template <class Op, class T>
[[gnu::noinline]] T row_block(const T* x, std::int64_t n) {
  return block_tree<Op, T>(n, [x](Vector<T> sum, std::int64_t i, int width) {
    if (width == kWidth<T>) return Op::of(sum, load(x + i));
    return Op::of(sum, load_first(x + i, width, broadcast(Op::template kIdentity<T>)));
  });
}
/// The tree of x[0] ... x[n - 1].
template <class Op, class T>
inline T row_tree(const T* x, std::int64_t n) {
  return pairwise_blocks<Op>(n,
                             [x](std::int64_t start, std::int64_t count) { return row_block<Op>(x + start, count); });
}

/// Lanes in the order in which halving brings them together: their numbers with the five bits reversed.
inline constexpr unsigned char kHalvingOrder[kLanes] = {0, 16, 8, 24, 4, 20, 12, 28, 2, 18, 10, 26, 6, 22, 14, 30,
                                                        1, 17, 9, 25, 5, 21, 13, 29, 3, 19, 11, 27, 7, 23, 15, 31};

/// Several vectors side by side.
template <class T, int kVectors>
struct Columns {
  Vector<T> at[kVectors];
};
/// An operation on each of them.
template <class Op>
struct Each {
  template <class C>
  static C of(const C& a, const C& b) {
    C out;
#pragma GCC unroll 4
    for (unsigned v = 0; v < sizeof a.at / sizeof a.at[0]; ++v) out.at[v] = Op::of(a.at[v], b.at[v]);
    return out;
  }
};

/// A block of n <= kBlock rows of kVectors vectors each, `tail` columns in the last one (all if kTail is false).
template <class Op, class T, int kVectors, bool kTail>
[[gnu::noinline]] Columns<T, kVectors> column_block(const T* x, std::int64_t n, std::int64_t row, int tail) {
  typedef Columns<T, kVectors> Row;
  const auto get = [&](std::int64_t i) {
    Row out;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const T* from = x + i * row + v * kWidth<T>;
      out.at[v] = kTail && v == kVectors - 1 ? load_first(from, tail, Vector<T>{}) : load(from);
    }
    return out;
  };
  // Of the lanes without elements only those that fill up a power of two matter to the shape of the tree.
  int unused = 0;
  while (unused < 5 && (kLanes >> (unused + 1)) >= n) ++unused;
  return pairwise<Each<Op>, 5>(kLanes >> unused, [&](std::int64_t number) {
    std::int64_t i = kHalvingOrder[number] >> unused;
    Row sum;
    for (int v = 0; v < kVectors; ++v) sum.at[v] = broadcast(Op::template kIdentity<T>);
    if (i >= n) return sum;
    sum = get(i);
    for (i += kLanes; i < n; i += kLanes) sum = Each<Op>::of(sum, get(i));
    return sum;
  });
}

template <class Op, class T, int kVectors, bool kTail>
inline void column_trees(const T* x, std::int64_t n, std::int64_t row, T* out, int tail) {
  const auto result = pairwise_blocks<Each<Op>>(n, [=](std::int64_t start, std::int64_t count) {
    return column_block<Op, T, kVectors, kTail>(x + start * row, count, row, tail);
  });
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    T* to = out + v * kWidth<T>;
    if (kTail && v == kVectors - 1)
      store_first(to, tail, result.at[v]);
    else
      store(to, result.at[v]);
  }
}

/// The trees of the columns of a matrix of n >= 1 rows.
template <class Op, class T>
void column_tree(const T* x, std::int64_t n, std::int64_t row, std::int64_t columns, T* out) {
  constexpr int kW = kWidth<T>;
  std::int64_t j = 0;
  for (; j + 4 * kW <= columns; j += 4 * kW) column_trees<Op, T, 4, false>(x + j, n, row, out + j, 0);
  for (; j + kW <= columns; j += kW) column_trees<Op, T, 1, false>(x + j, n, row, out + j, 0);
  if (j < columns) column_trees<Op, T, 1, true>(x + j, n, row, out + j, static_cast<int>(columns - j));
}

}  // namespace dualtape::array::DUALTAPE_ISA
