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
constexpr int kTileLine = 6;           // columns of a tile with one row
constexpr std::int64_t kStretch = 64;  // of k: so many rows of a tile's columns fit into L1
constexpr std::int64_t kWorthPacking = 4 * kTileRows;

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
  bool accumulate;
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
  Vector<T> sums[kRows][kColumns][kVectors];
  // (Loops over constant bounds are unrolled, so that the sums are registers.)
  const auto each = [&](auto&& body) {
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 6
      for (int j = 0; j < kColumns; ++j) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) body(sums[i][j][v], p.c + i * p.c_row + j * p.c_column + v * kWidth<T>);
      }
    }
  };
  each([&](Vector<T>& sum, const T* from) {
    sum = !p.accumulate ? Vector<T>{} : kTail ? load_first(from, p.count, Vector<T>{}) : load(from);
  });
  const T *a = p.a, *b = p.b;
  for (std::int64_t k = p.k; k > 0; --k, a += p.a_column, b += p.b_row) {
    // Numbers of a that all lanes share take one register each and are read once; vectors of them would be too many.
    const auto rows = [&](int i) { return Lanes<T, kVectors, kSharedA, kTail>(a + i * p.a_row, p.count); };
    const auto columns = [&](int j) { return Lanes<T, kVectors, false, kTail>(b + j * p.b_column, p.count); };
    const auto add = [&](int i, int j, const auto& x, const auto& y) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sums[i][j][v] = fma(x.at[v], y.at[v], sums[i][j][v]);
    };
    if constexpr (kSharedA) {
      Vector<T> x[kRows];
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) x[i] = broadcast(a[i * p.a_row]);
#pragma GCC unroll 6
      for (int j = 0; j < kColumns; ++j) {
        const auto y = columns(j);
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
          for (int v = 0; v < kVectors; ++v) sums[i][j][v] = fma(x[i], y.at[v], sums[i][j][v]);
        }
      }
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        const auto x = rows(i);
#pragma GCC unroll 6
        for (int j = 0; j < kColumns; ++j) add(i, j, x, columns(j));
      }
    }
  }
  each([&](Vector<T>& sum, T* to) { kTail ? store_first(to, p.count, sum) : store(to, sum); });
}

/// All elements for one or two vectors of lanes. Columns are the outer loop: those of b stay in L1.
template <class T, int kVectors, bool kSharedA, bool kTail>
void tiles(Place<T> p, std::int64_t m, std::int64_t n) {
  const auto columns = [&]<int kRows, int kColumns>() {
    Place<T> at = p;
    // Rows of b are often a power of two apart, and then they evict each other.
    Vector<T> packed[kStretch][kColumns][kVectors];
    if (m >= kWorthPacking) {
      for (std::int64_t k = 0; k < p.k; ++k) {
#pragma GCC unroll 6
        for (int j = 0; j < kColumns; ++j) {
          const Lanes<T, kVectors, false, kTail> y(p.b + k * p.b_row + j * p.b_column, p.count);
#pragma GCC unroll 2
          for (int v = 0; v < kVectors; ++v) packed[k][j][v] = y.at[v];
        }
      }
      at.b = reinterpret_cast<const T*>(packed);
      at.b_column = kVectors * kWidth<T>;
      at.b_row = kColumns * at.b_column;
    }
    std::int64_t i = 0;
    const auto advance = [&](std::int64_t rows) {
      at.a += rows * p.a_row;
      at.c += rows * p.c_row;
      i += rows;
    };
    for (; i + kRows <= m; advance(kRows)) tile<T, kRows, kColumns, kVectors, kSharedA, kTail>(at);
    for (; i < m; advance(1)) tile<T, 1, kColumns, kVectors, kSharedA, kTail>(at);
    p.b += kColumns * p.b_column;
    p.c += kColumns * p.c_column;
    n -= kColumns;
  };
  while (m == 1 && n >= kTileLine) columns.template operator()<1, kTileLine>();
  while (n >= kTileColumns) columns.template operator()<kTileRows, kTileColumns>();
  while (n >= 1) columns.template operator()<kTileRows, 1>();
}

/// The same, a stretch of k at a time: the chain goes on from c.
template <class T, int kVectors, bool kSharedA, bool kTail>
void stretches(Place<T> p, std::int64_t m, std::int64_t n) {
  const std::int64_t k = p.k;
  for (std::int64_t done = 0; done == 0 || done < k; done += kStretch) {
    p.k = k - done < kStretch ? k - done : kStretch;
    tiles<T, kVectors, kSharedA, kTail>(p, m, n);
    p.a += p.k * p.a_column;
    p.b += p.k * p.b_row;
    p.accumulate = true;
  }
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
  for (; lanes >= 2 * kW; lanes -= 2 * kW, advance(2 * kW)) stretches<T, 2, kSharedA, false>(p, whole.m, whole.n);
  for (; lanes > 0; lanes -= kW, advance(kW)) {
    p.count = static_cast<int>(lanes < kW ? lanes : kW);
    stretches<T, 1, kSharedA, true>(p, whole.m, whole.n);
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
  Place<T> at{p.k, p.a, p.a_row, p.a_column, p.b, p.b_row, p.b_column, p.c, p.n * p.lanes, p.lanes, 0, false};
  LanesProduct<T> whole = p;
  // A factor that is shared comes first, and otherwise the one with fewer rows: tiles are wider than high.
  if (p.b_shared || (!p.a_shared && p.n < p.m)) {
    at = {p.k, p.b, p.b_column, p.b_row, p.a, p.a_column, p.a_row, p.c, p.lanes, p.n * p.lanes, 0, false};
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
