// SPDX-License-Identifier: MIT
#include "dualtape/num/isa.hpp"

#include <atomic>
#include <cstdlib>
#include <string>

#include "dualtape/base/error.hpp"

namespace dualtape::num {
namespace {

constexpr Isa kAll[] = {Isa::generic, Isa::avx2, Isa::avx512};

Isa choose() {
  const char* wanted = std::getenv("DUALTAPE_ISA");
  if (!wanted || !*wanted) return best_isa();
  for (Isa isa : kAll) {
    if (name(isa) != wanted) continue;
    if (isa > best_isa()) {
      throw Error("DUALTAPE_ISA: this machine has no " + std::string(wanted) + "; the best it has is " +
                  std::string(name(best_isa())) + "; unset the variable or name that.");
    }
    return isa;
  }
  throw Error("DUALTAPE_ISA: unknown instruction set '" + std::string(wanted) + "'; use generic, avx2 or avx512.");
}

std::atomic<int>& chosen() {
  static std::atomic<int> isa{static_cast<int>(choose())};
  return isa;
}

}  // namespace

Isa best_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
    return Isa::avx512;
  }
  if (avx2) return Isa::avx2;
#endif
  return Isa::generic;
}

bool has_fma() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("fma");
#else
  return true;
#endif
}

Isa current_isa() { return static_cast<Isa>(chosen().load(std::memory_order_relaxed)); }
void force_isa(Isa isa) { chosen().store(static_cast<int>(isa), std::memory_order_relaxed); }

std::string_view name(Isa isa) {
  constexpr std::string_view names[] = {"generic", "avx2", "avx512"};
  return names[static_cast<int>(isa)];
}

}  // namespace dualtape::num
