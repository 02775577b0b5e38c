// SPDX-License-Identifier: MIT
// How code is executed, told to Python: what Execution (python/dualtape/_execution.py) is made of.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

#include "dualtape/exec/code.hpp"
#include "dualtape/machine/kernel.hpp"

namespace dualtape::bindings {

/// `covered`: instructions that are machine code.
pybind11::dict execution_of(const exec::Code& code, std::int64_t lanes, std::int64_t covered,
                            const machine::Listing& kernels);
std::int64_t instructions_of(const exec::Code& code);

}  // namespace dualtape::bindings
