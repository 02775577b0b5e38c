// SPDX-License-Identifier: MIT
// Kernel source (see isa.hpp).
#include "dualtape/exec/kernels/part.hpp"

#include "dualtape/num/lanes.hpp"

namespace dualtape::exec::DUALTAPE_ISA {
namespace {

#if defined(DUALTAPE_ISA_avx512)

__mmask8 truths_at(const double* from, __m256i lanes, __mmask8 which) {
  const __m512d x = _mm512_mask_i32gather_pd(_mm512_setzero_pd(), which, lanes, from, 8);
  return _mm512_mask_cmp_pd_mask(which, x, _mm512_setzero_pd(), _CMP_NEQ_UQ);
}
__mmask8 truths_at(const float* from, __m256i lanes, __mmask8 which) {
  const __m256 x = _mm256_mmask_i32gather_ps(_mm256_setzero_ps(), which, lanes, from, 4);
  return _mm256_mask_cmp_ps_mask(which, x, _mm256_setzero_ps(), _CMP_NEQ_UQ);
}
__mmask8 truths_from(const double* from, __mmask8 which) {
  return _mm512_mask_cmp_pd_mask(which, _mm512_maskz_loadu_pd(which, from), _mm512_setzero_pd(), _CMP_NEQ_UQ);
}
__mmask8 truths_from(const float* from, __mmask8 which) {
  return _mm256_mask_cmp_ps_mask(which, _mm256_maskz_loadu_ps(which, from), _mm256_setzero_ps(), _CMP_NEQ_UQ);
}

template <class T>
std::int64_t split(const T* truths, const std::uint32_t* members, std::int64_t count, std::uint32_t* yes,
                   std::uint32_t* no) {
  std::int64_t yes_count = 0, no_count = 0;
  __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (std::int64_t k = 0; k < count; k += 8) {
    const auto which = static_cast<__mmask8>(count - k >= 8 ? 0xFF : (1 << (count - k)) - 1);
    if (members) lanes = _mm256_maskz_loadu_epi32(which, members + k);
    const __mmask8 truth = members ? truths_at(truths, lanes, which) : truths_from(truths + k, which);
    const auto rest = static_cast<__mmask8>(which & ~truth);
    // (Compressing in a register: straight to memory is slow on some processors.)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(yes + yes_count), _mm256_maskz_compress_epi32(truth, lanes));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(no + no_count), _mm256_maskz_compress_epi32(rest, lanes));
    yes_count += __builtin_popcount(truth);
    no_count += __builtin_popcount(rest);
    if (!members) lanes = _mm256_add_epi32(lanes, _mm256_set1_epi32(8));
  }
  return yes_count;
}

void gather_8(const std::uint64_t* from, const std::uint32_t* lanes, std::int64_t count, std::uint64_t* to) {
  std::int64_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes + k));
    _mm512_storeu_si512(to + k, _mm512_mask_i32gather_epi64(_mm512_setzero_si512(), 0xFF, at, from, 8));
  }
  for (; k < count; ++k) to[k] = from[lanes[k]];
}

#else

template <class T>
std::int64_t split(const T* truths, const std::uint32_t* members, std::int64_t count, std::uint32_t* yes,
                   std::uint32_t* no) {
  std::int64_t yes_count = 0, no_count = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    const std::uint32_t lane = members ? members[k] : static_cast<std::uint32_t>(k);
    const bool truth = truths[lane] != T(0);
    yes[yes_count] = lane;
    no[no_count] = lane;
    yes_count += truth;
    no_count += !truth;
  }
  return yes_count;
}

void gather_8(const std::uint64_t* from, const std::uint32_t* lanes, std::int64_t count, std::uint64_t* to) {
  for (std::int64_t k = 0; k < count; ++k) to[k] = from[lanes[k]];
}

#endif

}  // namespace

const PartKernels& part_kernels() {
  static constexpr PartKernels kKernels{split<double>, split<float>, gather_8};
  return kKernels;
}

}  // namespace dualtape::exec::DUALTAPE_ISA
