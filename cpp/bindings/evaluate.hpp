// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/pybind11.h>

#include "bindings/dlarray.hpp"

namespace dualtape::bindings {

void bind_evaluate(pybind11::module_& module);

/// A dlarray to differentiate with respect to, with the value of `array`. DTypeError for integers and bools.
PyObject* make_leaf(tape::Tape& tape, PyObject* array);
/// What leaves a scope: dlarrays in `owned` (a reference that is taken over) as plain values, in trees too.
PyObject* outcome_of(tape::Scope& scope, PyObject* owned);
/// True for objects that trees are made of.
bool may_hold_arrays(PyObject* object);

}  // namespace dualtape::bindings
