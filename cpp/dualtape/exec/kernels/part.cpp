// SPDX-License-Identifier: MIT
// Kernel source (see isa.hpp). Lanes are worked on eight at a time: a byte of a set.
#include "dualtape/exec/kernels/part.hpp"

#include "dualtape/num/lanes.hpp"

namespace dualtape::exec::DUALTAPE_ISA {
namespace {

/// Whether each of eight numbers is not zero.
template <class T>
DUALTAPE_INLINE unsigned truths(const T* x) {
#if defined(DUALTAPE_ISA_avx512)
  if constexpr (sizeof(T) == 8) {
    return _mm512_cmp_pd_mask(_mm512_loadu_pd(x), _mm512_setzero_pd(), _CMP_NEQ_UQ);
  } else {
    return _mm256_cmp_ps_mask(_mm256_loadu_ps(x), _mm256_setzero_ps(), _CMP_NEQ_UQ);
  }
#elif defined(DUALTAPE_ISA_avx2)
  if constexpr (sizeof(T) == 8) {
    const auto four = [](const double* y) {
      return static_cast<unsigned>(
          _mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(y), _mm256_setzero_pd(), _CMP_NEQ_UQ)));
    };
    return four(x) | four(x + 4) << 4;
  } else {
    return static_cast<unsigned>(
        _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x), _mm256_setzero_ps(), _CMP_NEQ_UQ)));
  }
#else
  unsigned bits = 0;
  for (int k = 0; k < 8; ++k) bits |= static_cast<unsigned>(x[k] != T(0)) << k;
  return bits;
#endif
}

template <class T>
std::int64_t split(const T* x, const std::uint64_t* set, std::int64_t count, std::uint64_t* yes, std::uint64_t* no) {
  std::int64_t in_yes = 0;
  for (std::int64_t first = 0; first < count; first += 64, ++yes, ++no) {
    const std::int64_t here = count - first < 64 ? count - first : 64;
    std::uint64_t bits = 0;
    std::int64_t k = 0;
    for (; k + 8 <= here; k += 8) bits |= std::uint64_t{truths(x + first + k)} << k;
    for (; k < here; ++k) bits |= std::uint64_t{x[first + k] != T(0)} << k;
    const std::uint64_t all = here == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << here) - 1;
    const std::uint64_t these = set ? set[first / 64] : all;
    *yes = these & bits;
    *no = these & ~bits;
    in_yes += __builtin_popcountll(*yes);
  }
  return in_yes;
}

void put_8(const std::uint64_t* from, const std::uint64_t* set, std::int64_t count, std::uint64_t* to) {
  for (std::int64_t first = 0; first < count; first += 64, ++set) {
#if defined(DUALTAPE_ISA_avx512)
    for (int k = 0; k < 64; k += 8) {
      const auto which = static_cast<__mmask8>(*set >> k);
      _mm512_mask_storeu_epi64(to + first + k, which, _mm512_maskz_loadu_epi64(which, from + first + k));
    }
#else
    for (std::uint64_t rest = *set; rest; rest &= rest - 1) {
      const std::int64_t lane = first + __builtin_ctzll(rest);
      to[lane] = from[lane];
    }
#endif
  }
}

void gather_8(const std::uint64_t* from, const std::uint32_t* lanes, std::int64_t count, std::uint64_t* to) {
  std::int64_t k = 0;
#if defined(DUALTAPE_ISA_avx512)
  for (; k + 8 <= count; k += 8) {
    const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes + k));
    _mm512_storeu_si512(to + k, _mm512_mask_i32gather_epi64(_mm512_setzero_si512(), 0xFF, at, from, 8));
  }
#endif
  for (; k < count; ++k) to[k] = from[lanes[k]];
}

}  // namespace

const PartKernels& part_kernels() {
  static constexpr PartKernels kKernels{split<double>, split<float>, put_8, gather_8};
  return kKernels;
}

}  // namespace dualtape::exec::DUALTAPE_ISA
