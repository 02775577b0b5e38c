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
// `row_trees` does it for adjacent elements, `column_tree` for all columns of a matrix at once. For inclusion in kernel
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

/// A block of n <= kBlock elements down to one vector of lanes; `take(sum, i, count)` adds the `count` elements from i
/// on to a vector.
template <class Op, class T, class Take>
inline Vector<T> block_lanes(std::int64_t n, Take take) {
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
  return lanes[0];
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

/// kWidth vectors folded at once: element i of the result is the fold of v[i]. Each round halves two vectors into one.
template <class Op, class T>
inline Vector<T> fold_all(Vector<T>* v) {
  constexpr int kW = kWidth<T>;
#pragma GCC unroll 4
  for (int half = kW / 2; half > 0; half /= 2) {
    typename VectorOf<T>::mask low;
#pragma GCC unroll 16
    for (int j = 0; j < kW; ++j) low[j] = j / half * 2 * half + j % half;
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) {
      v[i] =
          Op::of(__builtin_shuffle(v[2 * i], v[2 * i + 1], low), __builtin_shuffle(v[2 * i], v[2 * i + 1], low + half));
    }
  }
  return v[0];
}

template <class Op, class T>
[[gnu::noinline]] Vector<T> row_lanes(const T* x, std::int64_t n) {
  return block_lanes<Op, T>(n, [x](Vector<T> sum, std::int64_t i, int count) {
    return Op::of(sum, load_up_to(x + i, count, broadcast(Op::template kIdentity<T>)));
  });
}
/// The tree of x[0] ... x[n - 1].
template <class Op, class T>
[[gnu::noinline]] T row_tree(const T* x, std::int64_t n) {
  return pairwise_blocks<Op>(
      n, [x](std::int64_t start, std::int64_t count) { return fold<Op, T>(row_lanes<Op>(x + start, count)); });
}
/// The trees of `rows` rows that are `row` elements apart.
template <class Op, class T>
[[gnu::noinline]] void row_trees(const T* x, std::int64_t rows, std::int64_t row, std::int64_t n, T* out) {
  if (n > kBlock || rows == 1) {
    for (std::int64_t i = 0; i < rows; ++i) out[i] = row_tree<Op>(x + i * row, n);
    return;
  }
  for_vectors<T>(rows, [=](std::int64_t first, int count) {
    Vector<T> lanes[kWidth<T>] = {};
    for (int i = 0; i < count; ++i) lanes[i] = row_lanes<Op>(x + (first + i) * row, n);
    store_up_to(out + first, count, fold_all<Op, T>(lanes));
  });
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

/// A block of n <= kBlock elements of any type: `take(sum, i)` adds element i to a lane's sum.
template <class Op, class V, class Take>
inline V strided_lanes(std::int64_t n, V identity, Take take) {
  // Of the lanes without elements only those that fill up a power of two matter to the shape of the tree.
  int unused = 0;
  while (unused < 5 && (kLanes >> (unused + 1)) >= n) ++unused;
  return pairwise<Op, 5>(kLanes >> unused, [&](std::int64_t number) {
    V sum = identity;
    for (std::int64_t i = kHalvingOrder[number] >> unused; i < n; i += kLanes) sum = take(sum, i);
    return sum;
  });
}

/// A block of n <= kBlock rows: of kVectors full vectors each, or of the first `columns` elements of one.
template <class Op, class T, int kVectors>
[[gnu::noinline]] Columns<T, kVectors> column_block(const T* x, std::int64_t n, std::int64_t row, int columns) {
  Columns<T, kVectors> identity;
  for (int v = 0; v < kVectors; ++v) identity.at[v] = broadcast(Op::template kIdentity<T>);
  return strided_lanes<Each<Op>>(n, identity, [&](const Columns<T, kVectors>& sum, std::int64_t i) {
    Columns<T, kVectors> out;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const T* from = x + i * row + v * kWidth<T>;
      out.at[v] = Op::of(sum.at[v], kVectors == 1 ? load_first(from, columns, Vector<T>{}) : load(from));
    }
    return out;
  });
}

template <class Op, class T, int kVectors>
inline void column_trees(const T* x, std::int64_t n, std::int64_t row, T* out, int columns) {
  const auto result = pairwise_blocks<Each<Op>>(n, [=](std::int64_t start, std::int64_t count) {
    return column_block<Op, T, kVectors>(x + start * row, count, row, columns);
  });
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    T* to = out + v * kWidth<T>;
    if (kVectors == 1) {
      store_first(to, columns, result.at[v]);
    } else {
      store(to, result.at[v]);
    }
  }
}

/// The trees of the columns of a matrix of n >= 1 rows.
template <class Op, class T>
void column_tree(const T* x, std::int64_t n, std::int64_t row, std::int64_t columns, T* out) {
  constexpr int kWide = 4 * kWidth<T>;
  std::int64_t j = 0;
  for (; j + kWide <= columns; j += kWide) column_trees<Op, T, 4>(x + j, n, row, out + j, kWide);
  for_vectors<T>(columns - j,
                 [=](std::int64_t i, int count) { column_trees<Op, T, 1>(x + j + i, n, row, out + j + i, count); });
}

}  // namespace dualtape::array::DUALTAPE_ISA
