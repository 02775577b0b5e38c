// SPDX-License-Identifier: MIT
// Instruction sets. A kernel source is compiled once for each (CMake: dualtape_kernel_sources) with
// DUALTAPE_ISA set to its name; everything in it lives in the namespace DUALTAPE_ISA, so that no function exists
// twice under one name with different instructions. Such a source ends in one function `kernels()` that returns
// a table of function pointers, and a caller picks the table of `current_isa()`.
//
// A kernel source includes no standard header that brings inline functions (<vector>, <string>, <algorithm>):
// the linker keeps one copy of those for the whole program, and it might keep the one with AVX-512 in it.
#pragma once

#include <string_view>

#ifndef DUALTAPE_ISA
#define DUALTAPE_ISA generic
#endif

namespace dualtape::num {

/// From the most portable to the fastest; `generic` is scalar code.
enum class Isa { generic, avx2, avx512 };

/// What this machine can run.
Isa best_isa();
/// What is used: `best_isa()`, or less where the environment variable DUALTAPE_ISA (generic, avx2, avx512) asks
/// for it when the first array is computed. Error for an unknown name or a set this machine lacks.
Isa current_isa();
/// Chooses anew, for tests.
void force_isa(Isa isa);
/// True where scalar code has fused multiply-add, so that it gives the bits of the vector code.
bool has_fma();
std::string_view name(Isa isa);

}  // namespace dualtape::num
