// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

namespace dualtape::bindings {

/// Functions of the module: shaped ones, and a submodule `elementwise` with every op of the table.
void bind_functions(pybind11::module_& module);
/// The shaped functions of one array, as methods of dlarray.
const std::vector<PyMethodDef>& shaped_methods();

}  // namespace dualtape::bindings
