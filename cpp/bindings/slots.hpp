// SPDX-License-Identifier: MIT
// Each topic's share of the dlarray type's slots.
#pragma once

#include <vector>

#include "bindings/dlarray.hpp"

namespace dualtape::bindings {

void add_arithmetic_slots(std::vector<PyType_Slot>& slots);
void add_indexing_slots(std::vector<PyType_Slot>& slots);
void add_member_slots(std::vector<PyType_Slot>& slots);

}  // namespace dualtape::bindings
