// SPDX-License-Identifier: MIT
// Checks: what a trace relies on, compared in a few nanoseconds each. python/dualtape/_captures.py finds the values
// and says what is to be checked; a call of an accelerated function only asks `unchanged`.
#pragma once

#include "bindings/dlarray.hpp"

namespace dualtape::bindings {

bool is_checks(PyObject* object);
/// Whether all is as it was. Throws PythonError where a check that is written in Python raises.
bool unchanged(PyObject* checks);

}  // namespace dualtape::bindings
