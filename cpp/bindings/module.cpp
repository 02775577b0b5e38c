// SPDX-License-Identifier: MIT
// The extension module dualtape._core. Topics bind themselves; this file only calls them, in order.
#include <pybind11/pybind11.h>

#include "bindings/dlarray.hpp"
#include "bindings/errors.hpp"
#include "bindings/evaluate.hpp"
#include "bindings/functions.hpp"
#include "bindings/program.hpp"
#include "bindings/transforms.hpp"
#include "dualtape/base/buffer.hpp"
#include "dualtape/num/isa.hpp"

namespace py = pybind11;

namespace dualtape::bindings {

void bind_optim(py::module_& module);
void bind_dual(py::module_& module);
void bind_linalg(py::module_& module);

namespace {

py::dict build_info() {
  py::dict info;
  info["version"] = DUALTAPE_VERSION;
#if defined(__clang__)
  info["compiler"] = "Clang " __clang_version__;
#else
  info["compiler"] = "GCC " __VERSION__;
#endif
  info["isa_best"] = std::string(num::name(num::best_isa()));
  info["isa_used"] = std::string(num::name(num::current_isa()));
  info["fma"] = num::has_fma();
  info["sleef"] = DUALTAPE_SLEEF_VERSION;
  info["eigen"] = DUALTAPE_EIGEN_VERSION;
  return info;
}

py::dict memory() {
  const MemoryCounts& counts = memory_counts();
  py::dict out;
  out["buffers"] = counts.buffers.load();
  out["bytes"] = counts.bytes.load();
  out["arrays"] = counts.arrays.load();
  return out;
}

}  // namespace
}  // namespace dualtape::bindings

PYBIND11_MODULE(_core, module, py::mod_gil_used()) {
  using namespace dualtape::bindings;
  module.doc() = "The compiled core of dualtape.";
  module.attr("__version__") = DUALTAPE_VERSION;
  bind_errors(module);
  module.attr("dlarray") = py::reinterpret_steal<py::object>(checked(make_dlarray_type()));
  bind_functions(module);
  bind_evaluate(module);
  bind_transforms(module);
  bind_dual(module);
  bind_optim(module);
  bind_linalg(module);
  bind_program(module);
  bind_checks(module);
  bind_replay(module);
  bind_replayable(module);
  bind_bound(module);
  bind_loop(module);
  bind_random(module);
  bind_rolled(module);
  module.def("build_info", &build_info, "How the core was built and what it uses.");
  module.def("memory", &memory, "Counts of live buffers, their bytes, and arrays.");
  module.def("release_cached_memory", &dualtape::release_cached_memory, "Gives back the memory kept for reuse.");
}
