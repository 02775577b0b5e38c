// SPDX-License-Identifier: MIT
// Matrix products of many lanes, which lie innermost: no operand is packed or turned, since every element is a vector
// of lanes wherever it stands. Elements have the bits that kernels/matmul.cpp gives them in a product of their own.
// Start reading at `product`.
#include "dualtape/array/kernels/matmul_lanes.hpp"

#include "dualtape/array/kernels/tree.hpp"
#include "dualtape/array/kernels/vector.hpp"

namespace dualtape::array::DUALTAPE_ISA {
namespace {

// A tile of kRows x kColumns elements, each of one or two vectors of lanes, stays in registers while k runs.
#if defined(__AVX512F__)
constexpr int kTileRows = 4;  // 4 x 3 x 2 accumulators of the 32 registers
#else
constexpr int kTileRows = 2;  // 2 x 3 x 2 of 16
#endif
constexpr int kTileColumns = 3;
constexpr int kTileLine = 6;  // columns of a tile with one row

/// The product from its element (i, j) and one of its lanes on.
template <class T>
struct Place {
  std::int64_t k;
  const T* a;
  std::int64_t a_row, a_column;
  const T* b;
  std::int64_t b_row, b_column;
  T* c;
  std::int64_t c_row, c_column;
  int count;  // of lanes in the last vector
};

/// kVectors vectors of lanes, or one number for all of them.
template <class T, int kVectors, bool kShared, bool kTail>
struct Lanes {
  Vector<T> at[kVectors];
  Lanes(const T* from, int count) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      if constexpr (kShared) {
        at[v] = broadcast(*from);
      } else if constexpr (kTail) {
        at[v] = load_first(from, count, Vector<T>{});
      } else {
        at[v] = load(from + v * kWidth<T>);
      }
    }
  }
};

/// kTail: one vector of lanes, of which `count` are there.
template <class T, int kRows, int kColumns, int kVectors, bool kSharedA, bool kTail>
void tile(const Place<T>& p) {
  Vector<T> sums[kRows][kColumns][kVectors] = {};
  const T *a = p.a, *b = p.b;
  for (std::int64_t k = p.k; k > 0; --k, a += p.a_column, b += p.b_row) {
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const Lanes<T, kVectors, kSharedA, kTail> x(a + i * p.a_row, p.count);
#pragma GCC unroll 6
      for (int j = 0; j < kColumns; ++j) {
        const Lanes<T, kVectors, false, kTail> y(b + j * p.b_column, p.count);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sums[i][j][v] = fma(x.at[v], y.at[v], sums[i][j][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 6
    for (int j = 0; j < kColumns; ++j) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        T* to = p.c + i * p.c_row + j * p.c_column + v * kWidth<T>;
        if constexpr (kTail) {
          store_first(to, p.count, sums[i][j][v]);
        } else {
          store(to, sums[i][j][v]);
        }
      }
    }
  }
}

/// All elements for one or two vectors of lanes.
template <class T, int kVectors, bool kSharedA, bool kTail>
void tiles(Place<T> p, std::int64_t m, std::int64_t n) {
  const auto row = [&]<int kRows, int kColumns>() {
    Place<T> at = p;
    std::int64_t j = 0;
    const auto advance = [&](std::int64_t columns) {
      at.b += columns * p.b_column;
      at.c += columns * p.c_column;
      j += columns;
    };
    for (; j + kColumns <= n; advance(kColumns)) tile<T, kRows, kColumns, kVectors, kSharedA, kTail>(at);
    for (; j < n; advance(1)) tile<T, kRows, 1, kVectors, kSharedA, kTail>(at);
    p.a += kRows * p.a_row;
    p.c += kRows * p.c_row;
    m -= kRows;
  };
  while (m >= kTileRows) row.template operator()<kTileRows, kTileColumns>();
  while (m >= 1) row.template operator()<1, kTileLine>();
}

template <class T, bool kSharedA>
void all_lanes(Place<T> p, const LanesProduct<T>& whole) {
  constexpr std::int64_t kW = kWidth<T>;
  const auto advance = [&](std::int64_t lanes) {
    if (!kSharedA) p.a += lanes;
    p.b += lanes;
    p.c += lanes;
  };
  std::int64_t lanes = whole.lanes;
  for (; lanes >= 2 * kW; lanes -= 2 * kW, advance(2 * kW)) tiles<T, 2, kSharedA, false>(p, whole.m, whole.n);
  for (; lanes > 0; lanes -= kW, advance(kW)) {
    p.count = static_cast<int>(lanes < kW ? lanes : kW);
    tiles<T, 1, kSharedA, true>(p, whole.m, whole.n);
  }
}

/// One row times one column: the tree of a sum, whose additions are fused with the multiplications.
template <class T>
void dot(const LanesProduct<T>& p) {
  for_vectors<T>(p.lanes, [&](std::int64_t lane, int count) {
    const auto get = [&](const T* from, bool shared) {
      return shared ? broadcast(*from) : load_up_to(from + lane, count);
    };
    const auto sum = pairwise_blocks<Add>(p.k, [&](std::int64_t start, std::int64_t n) {
      return strided_lanes<Add, Vector<T>>(n, broadcast(T(-0.0)), [&](Vector<T> sum, std::int64_t i) {
        return fma(get(p.a + (start + i) * p.a_column, p.a_shared), get(p.b + (start + i) * p.b_row, p.b_shared), sum);
      });
    });
    store_up_to(p.c + lane, count, p.k == 0 ? Vector<T>{} : sum);
  });
}

template <class T>
void product(const LanesProduct<T>& p) {
  if (p.m == 1 && p.n == 1) return dot(p);
  Place<T> at{p.k, p.a, p.a_row, p.a_column, p.b, p.b_row, p.b_column, p.c, p.n * p.lanes, p.lanes, 0};
  LanesProduct<T> whole = p;
  // A factor that is shared comes first, and otherwise the one with fewer rows: tiles are wider than high.
  if (p.b_shared || (!p.a_shared && p.n < p.m)) {
    at = {p.k, p.b, p.b_column, p.b_row, p.a, p.a_column, p.a_row, p.c, p.lanes, p.n * p.lanes, 0};
    whole.m = p.n, whole.n = p.m;
  }
  p.a_shared || p.b_shared ? all_lanes<T, true>(at, whole) : all_lanes<T, false>(at, whole);
}

}  // namespace

template <class T>
LanesKernel<T> lanes_product() {
  return product<T>;
}
template LanesKernel<double> lanes_product<double>();
template LanesKernel<float> lanes_product<float>();

}  // namespace dualtape::array::DUALTAPE_ISA
