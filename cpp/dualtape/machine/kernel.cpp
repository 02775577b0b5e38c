// SPDX-License-Identifier: MIT
#include "dualtape/machine/kernel.hpp"

#include <atomic>
#include <cstdlib>

#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <cfenv>
#endif

#include "dualtape/base/error.hpp"

namespace dualtape::machine {
namespace {
std::atomic<bool> failed{false};
}

std::unique_ptr<Kernel> compile(const Body& body, bool scalar) {
  if (vector_width(body.single) == 0) return nullptr;
  std::unique_ptr<Kernel> out = emit(body, scalar);
  if (!out) failed = true;
  return out;
}
bool has_failed() { return failed; }

bool is_wanted() {
  const char* name = std::getenv("DUALTAPE_EXECUTOR");
  const std::string wanted = name ? name : "machine";
  if (wanted == "interpreter") return false;
  if (wanted == "machine") return true;
  throw Error("DUALTAPE_EXECUTOR: \"" + wanted + "\" is no executor; it is interpreter or machine.");
}

#if defined(__x86_64__)
namespace {
constexpr unsigned kNotFinite = _MM_EXCEPT_INVALID | _MM_EXCEPT_DIV_ZERO | _MM_EXCEPT_OVERFLOW;
}
void FiniteFlags::clear() { _mm_setcsr(_mm_getcsr() & ~kNotFinite); }
bool FiniteFlags::all_finite() { return !(_mm_getcsr() & kNotFinite); }
#else
void FiniteFlags::clear() { std::feclearexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW); }
bool FiniteFlags::all_finite() { return !std::fetestexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW); }
#endif

}  // namespace dualtape::machine
