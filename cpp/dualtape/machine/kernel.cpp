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
constexpr std::size_t kAlignment = 64;  // of code, for its loops and its constants

std::string chosen() {
  const char* name = std::getenv("DUALTAPE_EXECUTOR");
  const std::string out = name ? name : "";
  if (name && out != "interpreter" && out != "machine") {
    throw Error("DUALTAPE_EXECUTOR: \"" + out + "\" is no executor; it is interpreter or machine.");
  }
  return out;
}

}  // namespace

std::unique_ptr<Kernel> compile(const Body& body, bool scalar) {
  Batch batch;
  std::unique_ptr<Kernel> out = batch.add(body, scalar);
  return batch.finish() ? std::move(out) : nullptr;
}

std::unique_ptr<Kernel> Batch::add(const Body& body, bool scalar) {
  const int width = vector_width(body.single);
  if (width == 0) return nullptr;
  const std::vector<std::byte> code = emit(body, scalar);
  if (code.empty()) {
    failed = true;
    return nullptr;
  }
  code_.resize((code_.size() + kAlignment - 1) / kAlignment * kAlignment);
  const std::size_t begin = code_.size();
  code_.insert(code_.end(), code.begin(), code.end());
  return std::make_unique<Kernel>(pages_, begin, code.size(), scalar ? 1 : width, body.item());
}

bool Batch::finish() {
  if (code_.empty()) return true;
  *pages_ = Pages::with(code_);
  if (!*pages_) failed = true;
  return static_cast<bool>(*pages_);
}

bool has_failed() { return failed; }

bool is_wanted() { return chosen() != "interpreter"; }
bool is_wanted_at_once() { return chosen() == "machine"; }

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
