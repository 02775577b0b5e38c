// SPDX-License-Identifier: MIT
// Matrix products. `tile` is the inner kernel: kRows x kVectors vectors of the result stay in registers while k runs,
// so every element is one chain of fused multiply-adds in the order of k. `product` walks the tiles. Small operands
// are read where they lie (a through broadcasts at any strides, b as vectors if its columns are adjacent); others are
// packed, block by block, into tiles' order. Blocks along k continue the chain from c, so blocking leaves no trace.
// Start reading at `product`.
#include "dualtape/array/kernels/matmul.hpp"

#include "dualtape/array/kernels/tree.hpp"
#include "dualtape/array/kernels/vector.hpp"

namespace dualtape::array::DUALTAPE_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kTileRows = 8;  // 8 x 3 accumulators of the 32 registers
#else
constexpr int kTileRows = 4;  // 4 x 3 of 16
#endif
constexpr int kTileVectors = 3;
template <class T>
constexpr int kPanel = kTileVectors* kWidth<T>;

// Blocks in bytes of one row or column: a tile's rows of a stay in L1, a block of either operand in L2.
template <class T>
constexpr std::int64_t kBlockK = 2048 / sizeof(T);
template <class T>
constexpr std::int64_t kBlockM = 960 / sizeof(T);
constexpr std::int64_t kBlockN = kPanel<double> * 20;
constexpr std::int64_t kReadInPlace = 128 << 10;  // bytes of an operand that is not worth packing

std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

/// c[kRows][kVectors] += a @ b over k. `tail` counts the columns of the last vector.
template <class T, int kRows, int kVectors, bool kTail>
void tile(std::int64_t k, const T* a, std::int64_t a_row, std::int64_t a_column, const T* b, std::int64_t b_row, T* c,
          std::int64_t c_row, bool accumulate, int tail) {
  constexpr int kW = kWidth<T>;
  const auto get = [tail](const T* from, int v) {
    if constexpr (kTail) {
      if (v == kVectors - 1) return load_first(from + v * kW, tail, Vector<T>{});
    }
    return load(from + v * kW);
  };
  Vector<T> sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) sums[i][v] = accumulate ? get(c + i * c_row, v) : Vector<T>{};
  }
  for (; k > 0; --k, a += a_column, b += b_row) {
    Vector<T> row[kVectors];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) row[v] = get(b, v);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Vector<T> factor = broadcast(a[i * a_row]);
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) sums[i][v] = fma(factor, row[v], sums[i][v]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) {
      T* to = c + i * c_row + v * kW;
      if (kTail && v == kVectors - 1)
        store_first(to, tail, sums[i][v]);
      else
        store(to, sums[i][v]);
    }
  }
}

/// All rows of a against one panel of b.
template <class T, int kVectors, bool kTail>
void panel(const Product<T>& p, int tail) {
  const T* a = p.a;
  T* c = p.c;
  std::int64_t m = p.m;
  const auto run = [&]<int kRows>() {
    tile<T, kRows, kVectors, kTail>(p.k, a, p.a_row, p.a_column, p.b, p.b_row, c, p.c_row, p.accumulate, tail);
    a += kRows * p.a_row;
    c += kRows * p.c_row;
    m -= kRows;
  };
  while (m >= kTileRows) run.template operator()<kTileRows>();
  if (m >= 4) run.template operator()<4>();
  if (m >= 2) run.template operator()<2>();
  if (m >= 1) run.template operator()<1>();
}

/// `panel` for n columns, at most kPanel.
template <class T>
void panel_of(const Product<T>& p) {
  constexpr int kW = kWidth<T>;
  const int n = static_cast<int>(p.n), tail = n % kW;
  if (tail == 0) {
    if (n == 3 * kW) return panel<T, 3, false>(p, 0);
    if (n == 2 * kW) return panel<T, 2, false>(p, 0);
    return panel<T, 1, false>(p, 0);
  }
  if (n > 2 * kW) return panel<T, 3, true>(p, tail);
  if (n > kW) return panel<T, 2, true>(p, tail);
  return panel<T, 1, true>(p, tail);
}

/// Columns of the next panel: the vectors that n fills, spread evenly.
template <class T>
std::int64_t panel_width(std::int64_t n) {
  constexpr std::int64_t kW = kWidth<T>;
  const std::int64_t vectors = (n + kW - 1) / kW, panels = (vectors + kTileVectors - 1) / kTileVectors;
  return smaller(n, (vectors + panels - 1) / panels * kW);
}

/// to[i * to_row + j] = from[i * row + j * column] for a rows x columns piece.
template <class T>
void pack(const T* from, std::int64_t row, std::int64_t column, std::int64_t rows, std::int64_t columns, T* to,
          std::int64_t to_row) {
  constexpr int kW = kWidth<T>;
  std::int64_t i = 0;
  if (column == 1) {
    for (; i < rows; ++i) {
      std::int64_t j = 0;
      for (; j + kW <= columns; j += kW) store(to + i * to_row + j, load(from + i * row + j));
      for (; j < columns; ++j) to[i * to_row + j] = from[i * row + j];
    }
    return;
  }
  if (row == 1) {
    for (; i + kW <= rows; i += kW) {
      std::int64_t j = 0;
      for (; j + kW <= columns; j += kW) transpose_square(from + i + j * column, column, to + i * to_row + j, to_row);
      for (; j < columns; ++j) {
        for (int u = 0; u < kW; ++u) to[(i + u) * to_row + j] = from[i + u + j * column];
      }
    }
  }
  for (; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) to[i * to_row + j] = from[i * row + j * column];
  }
}

/// Rows of a in groups of kTileRows, each group column after column.
template <class T>
void pack_rows(const Product<T>& p, T* to) {
  for (std::int64_t i = 0; i < p.m; i += kTileRows) {
    const std::int64_t rows = smaller(kTileRows, p.m - i);
    pack(p.a + i * p.a_row, p.a_column, p.a_row, p.k, rows, to + i * p.k, kTileRows);
  }
}

/// Does reading b in place cost more than a copy of it?
template <class T>
bool packs_b(const Product<T>& p) {
  return p.b_column != 1 || (p.m > 2 * kTileRows && p.k * p.n > kReadInPlace / std::int64_t{sizeof(T)});
}
template <class T>
bool packs_a(const Product<T>& p) {
  return p.n > kPanel<T> && p.m * p.k > kReadInPlace / std::int64_t{sizeof(T)};
}

/// Is the result one column, whose elements lie better side by side, as a row of the transposed product?
template <class T>
bool is_column(const Product<T>& p) {
  return p.n == 1 && p.m > 1 && p.a_column != 1;
}
template <class T>
Product<T> as_row(const Product<T>& p) {
  Product<T> out = p;
  out.m = 1, out.n = p.m;
  out.a = p.b, out.a_row = p.b_column, out.a_column = p.b_row;
  out.b = p.a, out.b_row = p.a_column, out.b_column = p.a_row;
  return out;
}

template <class T>
std::int64_t scratch(const Product<T>& p) {
  if (is_column(p)) return scratch(as_row(p));
  const std::int64_t k = smaller(p.k, kBlockK<T>);
  std::int64_t elements = 0;
  if (packs_b(p)) elements += k * ((smaller(p.n, kBlockN) + kPanel<T> - 1) / kPanel<T> * kPanel<T>);
  if (packs_a(p)) elements += k * ((smaller(p.m, kBlockM<T>) + kTileRows - 1) / kTileRows * kTileRows);
  return elements;
}

/// One block of a against one block of b, which lies in panels if `packed_b` is given.
template <class T>
void block(const Product<T>& p, const T* packed_b, T* packed_a) {
  if (packed_a) pack_rows(p, packed_a);
  const std::int64_t step = packed_a ? kTileRows : p.m;
  for (std::int64_t i = 0; i < p.m; i += step) {
    Product<T> part = p;
    part.m = smaller(step, p.m - i);
    part.a = packed_a ? packed_a + i * p.k : p.a + i * p.a_row;
    if (packed_a) part.a_row = 1, part.a_column = kTileRows;
    for (std::int64_t j = 0; j < p.n; j += part.n) {
      part.n = panel_width<T>(p.n - j);
      part.b = packed_b ? packed_b + j * p.k : p.b + j;
      if (packed_b) part.b_row = part.n;
      part.c = p.c + i * p.c_row + j;
      panel_of(part);
    }
  }
}

/// The product of one row and one column: the tree of a sum, with its additions fused with the multiplications.
template <class T>
T dot(const Product<T>& p) {
  T row[kBlock], column[kBlock];
  if (p.k == 0) return 0;
  return pairwise_blocks<Add>(p.k, [&](std::int64_t start, std::int64_t count) {
    const T* x = p.a + start * p.a_column;
    const T* y = p.b + start * p.b_row;
    if (p.a_column != 1) pack(x, p.a_column, std::int64_t{0}, count, std::int64_t{1}, row, 1), x = row;
    if (p.b_row != 1) pack(y, p.b_row, std::int64_t{0}, count, std::int64_t{1}, column, 1), y = column;
    // Absent elements are products -0.0 * 1, which change nothing.
    return fold<Add, T>(block_lanes<Add, T>(count, [x, y](Vector<T> sum, std::int64_t i, int width) {
      return fma(load_up_to(x + i, width, broadcast(T(-0.0))), load_up_to(y + i, width, broadcast(T(1))), sum);
    }));
  });
}

template <class T>
void product(const Product<T>& p) {
  if (p.m == 0 || p.n == 0) return;
  if (is_column(p)) return product(as_row(p));
  if (p.m == 1 && p.n == 1) {
    *p.c = p.accumulate ? *p.c + dot(p) : dot(p);
    return;
  }
  const bool pack_b = packs_b(p), pack_a = packs_a(p);
  if (!pack_a && !pack_b) return block<T>(p, nullptr, nullptr);
  T* packed_b = p.scratch;
  Product<T> part = p;
  for (std::int64_t j = 0; j < p.n; j += kBlockN) {
    part.n = smaller(kBlockN, p.n - j);
    for (std::int64_t k = 0; k == 0 || k < p.k; k += kBlockK<T>) {
      part.k = smaller(kBlockK<T>, p.k - k);
      part.accumulate = p.accumulate || k > 0;
      part.b = p.b + k * p.b_row + j * p.b_column;
      if (pack_b) {
        for (std::int64_t q = 0, width = 0; q < part.n; q += width) {
          width = panel_width<T>(part.n - q);
          pack(part.b + q * p.b_column, p.b_row, p.b_column, part.k, width, packed_b + q * part.k, width);
        }
      }
      T* packed_a = packed_b;
      if (pack_b) packed_a += part.k * ((part.n + kPanel<T> - 1) / kPanel<T> * kPanel<T>);
      for (std::int64_t i = 0; i < p.m; i += kBlockM<T>) {
        part.m = smaller(kBlockM<T>, p.m - i);
        part.a = p.a + i * p.a_row + k * p.a_column;
        part.c = p.c + i * p.c_row + j;
        block<T>(part, pack_b ? packed_b : nullptr, pack_a ? packed_a : nullptr);
      }
    }
  }
}

}  // namespace

template <class T>
const MatrixKernels<T>& matrix_kernels() {
  static constexpr MatrixKernels<T> kTable = {scratch<T>, product<T>};
  return kTable;
}
template const MatrixKernels<double>& matrix_kernels<double>();
template const MatrixKernels<float>& matrix_kernels<float>();

}  // namespace dualtape::array::DUALTAPE_ISA
