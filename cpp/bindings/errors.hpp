// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/pybind11.h>

namespace dualtape::bindings {

/// Makes the exception types and tells pybind11 how to raise them.
void bind_errors(pybind11::module_& module);

}  // namespace dualtape::bindings
