// SPDX-License-Identifier: MIT
// Programs as Python objects: what tracing, calling and loops share.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "dualtape/program/program.hpp"

namespace dualtape::bindings {

/// What `_core.Program` holds.
struct PyProgram {
  std::shared_ptr<const program::Program> program;
};

void bind_checks(pybind11::module_& module);
void bind_program(pybind11::module_& module);
void bind_replay(pybind11::module_& module);
void bind_replayable(pybind11::module_& module);
void bind_bound(pybind11::module_& module);
void bind_loop(pybind11::module_& module);
void bind_random(pybind11::module_& module);
void bind_rolled(pybind11::module_& module);

}  // namespace dualtape::bindings
