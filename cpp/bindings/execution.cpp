// SPDX-License-Identifier: MIT
#include "bindings/execution.hpp"

#include <algorithm>

namespace py = pybind11;

namespace dualtape::bindings {

std::int64_t instructions_of(const exec::Code& code) {
  std::int64_t out = 0;
  for (const exec::Segment& segment : code.segments) out += static_cast<std::int64_t>(segment.instructions.size());
  return out;
}

py::dict execution_of(const exec::Code& code, std::int64_t lanes, std::int64_t covered,
                      const machine::Listing& kernels) {
  const std::int64_t instructions = instructions_of(code);
  py::dict out, listing;
  for (const auto& [name, bytes] : kernels) {
    listing[py::str(name)] = py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  out["executor"] = kernels.empty() ? "interpreter" : covered == instructions ? "machine" : "fused";
  out["lanes"] = lanes;
  out["instructions"] = instructions;
  out["paths"] = std::count_if(code.segments.begin(), code.segments.end(),
                               [](const exec::Segment& segment) { return segment.decision == exec::kNone; });
  out["bytes_per_lane"] = code.per_lane;
  out["machine_code"] = std::move(listing);
  return out;
}

}  // namespace dualtape::bindings
