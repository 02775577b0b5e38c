// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/pybind11.h>

namespace dualtape::bindings {

void bind_transforms(pybind11::module_& module);

}  // namespace dualtape::bindings
