// SPDX-License-Identifier: MIT
// Kernel source (see isa.hpp): Philox4x32-10 on vectors of 64-bit elements. Only the lower half of an element is a
// word; the upper halves hold whatever the products left there, since products of words do not look at them.
#include "dualtape/num/kernels/philox.hpp"

#include "dualtape/num/lanes.hpp"

namespace dualtape::DUALTAPE_ISA {
namespace {

constexpr int kW = kWidth<double>;
using Words = detail::Raw<std::uint64_t, kW>::type;

DUALTAPE_INLINE Words all(std::uint64_t word) { return Words{} + word; }
DUALTAPE_INLINE Words load(const std::uint64_t* from) {
  Words out;
  __builtin_memcpy(&out, from, sizeof out);
  return out;
}

/// The products of the lower halves. The compilers do not see that one instruction does it.
DUALTAPE_INLINE Words product(Words a, Words b) {
#if defined(DUALTAPE_ISA_avx512)
  return (Words)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);  // (without a mask, GCC 12 warns)
#elif defined(DUALTAPE_ISA_avx2)
  return (Words)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#else
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

/// A number in (0, 1) from the first two words, as num::open_unit makes it: the bits are those of a number in [1, 2).
template <class T>
DUALTAPE_INLINE T open_unit(std::uint64_t first, std::uint64_t second) {
  if constexpr (sizeof(T) == 8) {
    const std::uint64_t bits = (first << 32 | (second & 0xFFFFFFFFu)) >> 12 | 0x3FF0000000000000u;
    return __builtin_bit_cast(double, bits) - 1.0 + 0x1p-53;
  } else {
    const std::uint32_t bits = static_cast<std::uint32_t>(first) >> 9 | 0x3F800000u;
    return __builtin_bit_cast(float, bits) - 1.0f + 0x1p-24f;
  }
}

/// K vectors at a time, since one waits for its own products; K * kW numbers, of which the first `count` are written.
template <int K, class T>
DUALTAPE_INLINE void rounds(Words (&c)[4][K], Words (&key)[2][K], int count, T* out) {
  for (int round = 0; round < 10; ++round) {
    for (int k = 0; k < K; ++k) {
      const Words x = product(c[0][k], all(0xD2511F53u)), y = product(c[2][k], all(0xCD9E8D57u));
      c[0][k] = (y >> 32) ^ c[1][k] ^ key[0][k];
      c[1][k] = y;
      c[2][k] = (x >> 32) ^ c[3][k] ^ key[1][k];
      c[3][k] = x;
      key[0][k] += 0x9E3779B9u;
      key[1][k] += 0xBB67AE85u;
    }
  }
  std::uint64_t words[2][K * kW];
  __builtin_memcpy(words[0], c[0], sizeof words[0]);
  __builtin_memcpy(words[1], c[1], sizeof words[1]);
  if (count >= K * kW) {
    for (int i = 0; i < K * kW; ++i) out[i] = open_unit<T>(words[0][i], words[1][i]);
  } else {
    for (int i = 0; i < count; ++i) out[i] = open_unit<T>(words[0][i], words[1][i]);
  }
}

/// Elements first, first + 1, ... of one lane.
template <int K, class T>
DUALTAPE_INLINE void along_elements(const num::PhiloxBlock& block, std::int64_t first, std::int64_t count, T* out) {
  static constexpr std::uint64_t kNumbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  static_assert(K * kW <= 16);
  Words c[4][K], key[2][K];
  for (int k = 0; k < K; ++k) {
    c[0][k] = all(static_cast<std::uint64_t>(first)) + load(kNumbers + k * kW);
    for (int word = 0; word < 3; ++word) c[word + 1][k] = all(block.counter[word][0]);
    for (int word = 0; word < 2; ++word) key[word][k] = all(block.key[word][0]);
  }
  rounds<K>(c, key, count < K * kW ? static_cast<int>(count) : K * kW, out);
}

/// One element of lanes first, first + 1, ...
template <int K, class T>
DUALTAPE_INLINE void along_lanes(const num::PhiloxBlock& block, std::int64_t element, int first, int count, T* out) {
  Words c[4][K], key[2][K];
  for (int k = 0; k < K; ++k) {
    c[0][k] = all(static_cast<std::uint64_t>(element));
    for (int word = 0; word < 3; ++word) c[word + 1][k] = load(block.counter[word] + first + k * kW);
    for (int word = 0; word < 2; ++word) key[word][k] = load(block.key[word] + first + k * kW);
  }
  rounds<K>(c, key, count, out);
}

template <class T>
void uniform(const num::PhiloxBlock& block, std::int64_t elements, int count, std::int64_t stride, T* out) {
  constexpr int kMany = 2;
  static_assert(num::kPhiloxLanes % (kMany * kW) == 0);
  if (count == 1 && stride == 1) {
    std::int64_t e = 0;
    for (; e + kW < elements; e += kMany * kW) along_elements<kMany>(block, e, elements - e, out + e);
    if (e < elements) along_elements<1>(block, e, elements - e, out + e);
    return;
  }
  for (std::int64_t e = 0; e < elements; ++e, out += stride) {
    int lane = 0;
    for (; lane + kW < count; lane += kMany * kW) along_lanes<kMany>(block, e, lane, count - lane, out + lane);
    if (lane < count) along_lanes<1>(block, e, lane, count - lane, out + lane);
  }
}

}  // namespace

template <>
num::UniformKernel<double> uniform_kernel<double>() {
  return uniform<double>;
}
template <>
num::UniformKernel<float> uniform_kernel<float>() {
  return uniform<float>;
}

}  // namespace dualtape::DUALTAPE_ISA
