// SPDX-License-Identifier: MIT
#include "dualtape/machine/kernel.hpp"

#include <cstdlib>

#include "dualtape/base/error.hpp"

namespace dualtape::machine {

bool is_wanted() {
  const char* name = std::getenv("DUALTAPE_EXECUTOR");
  const std::string wanted = name ? name : "machine";
  if (wanted == "interpreter") return false;
  if (wanted == "machine") return true;
  throw Error("DUALTAPE_EXECUTOR: \"" + wanted + "\" is no executor; it is interpreter or machine.");
}

}  // namespace dualtape::machine
