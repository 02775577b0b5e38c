// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/pybind11.h>

namespace dualtape::bindings {

/// Adds the functions behind updates and optimizers.
void bind_optim(pybind11::module_& module);

}  // namespace dualtape::bindings
