// SPDX-License-Identifier: MIT
// The primitive behind python/dualtape/random.py, and the order of shuffled data.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "bindings/dlarray.hpp"
#include "bindings/program.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/num/philox.hpp"
#include "dualtape/tape/functions.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

constexpr const char* kUniform = "random_uniform";

py::object random_uniform(const py::object& seed, const py::object& stream, const py::object& iteration,
                          std::int64_t draw, const py::object& shape, const py::object& dtype) {
  const auto key = [](const py::object& object) { return tape::cast(operand(kUniform, object.ptr()), DType::f64); };
  const Dims dims = dims_from(kUniform, "an extent", shape.ptr());
  return py::reinterpret_steal<py::object>(make_dlarray(
      tape::random_uniform(key(seed), key(stream), key(iteration), draw, dims, dtype_from(kUniform, dtype.ptr()))));
}

py::array random_permutation(std::int64_t n, std::uint64_t seed, std::uint64_t epoch) {
  if (n < 0) {
    throw ShapeError("random_permutation: n must be a whole number from 0; got " + std::to_string(n) + "; 10 works.");
  }
  if (epoch >> 63)
    throw ShapeError("random_permutation: epoch must be below 2**63; got " + std::to_string(epoch) + ".");
  const std::vector<std::int64_t> order = num::permutation(n, seed, epoch);
  return py::array_t<std::int64_t>(static_cast<py::ssize_t>(order.size()), order.data());
}

}  // namespace

void bind_random(py::module_& module) {
  module.def(
      "random_uniform", &random_uniform, py::arg("seed"), py::arg("stream"), py::arg("iteration"), py::arg("draw"),
      py::arg("shape"), py::arg("dtype"),
      "Uniform numbers in (0, 1), a function of the keys. Keys of shape (L,) give an axis of L lanes at the end.");
  module.def("random_permutation", &random_permutation, py::arg("n"), py::arg("seed"), py::arg("epoch"),
             "The numbers 0 ... n - 1 in a random order, a function of seed and epoch.");
}

}  // namespace dualtape::bindings
