// SPDX-License-Identifier: MIT
// The factorisations behind python/dualtape/numpy/linalg.py.
#include "dualtape/tape/linalg.hpp"

#include <pybind11/pybind11.h>

#include "bindings/dlarray.hpp"
#include "dualtape/tape/functions.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

py::object give(Var x) { return py::reinterpret_steal<py::object>(make_dlarray(std::move(x))); }
py::tuple give(std::pair<Var, Var> parts) {
  return py::make_tuple(give(std::move(parts.first)), give(std::move(parts.second)));
}

}  // namespace

void bind_linalg(py::module_& module) {
  py::module_ linalg = module.def_submodule("linalg", "Factorisations of matrices, batched over leading axes.");
  linalg.def(
      "solve",
      [](const py::object& a, const py::object& b) {
        return give(tape::solve(operand("solve", a.ptr()), operand("solve", b.ptr())));
      },
      py::arg("a"), py::arg("b"), "The inverse of matrices times matrices.");
  linalg.def(
      "inv", [](const py::object& a) { return give(tape::inv(operand("inv", a.ptr()))); }, py::arg("a"), "Inverses.");
  linalg.def(
      "det", [](const py::object& a) { return give(tape::det(operand("det", a.ptr()))); }, py::arg("a"),
      "Determinants.");
  linalg.def(
      "slogdet", [](const py::object& a) { return give(tape::slogdet(operand("slogdet", a.ptr()))); }, py::arg("a"),
      "Signs of determinants, and logarithms of their absolute values.");
  linalg.def(
      "triangular_solve",
      [](const py::object& t, const py::object& b, bool lower, bool unit) {
        return give(tape::triangular_solve(operand("solve_triangular", t.ptr()), operand("solve_triangular", b.ptr()),
                                           lower, unit));
      },
      py::arg("t"), py::arg("b"), py::arg("lower"), py::arg("unit"),
      "The inverse of triangular matrices times matrices.");
  linalg.def(
      "cholesky", [](const py::object& a) { return give(tape::cholesky(operand("cholesky", a.ptr()))); }, py::arg("a"),
      "Lower triangular factors.");
  linalg.def(
      "qr", [](const py::object& a, bool complete) { return give(tape::qr(operand("qr", a.ptr()), complete)); },
      py::arg("a"), py::arg("complete"), "Q and R.");
  linalg.def(
      "eigh", [](const py::object& a) { return give(tape::eigh(operand("eigh", a.ptr()))); }, py::arg("a"),
      "Eigenvalues and eigenvectors of symmetric matrices.");
  linalg.def(
      "pinv",
      [](const py::object& a, const py::object& cut) {
        return give(tape::pinv(operand("pinv", a.ptr()), operand("pinv", cut.ptr())));
      },
      py::arg("a"), py::arg("cut"), "Pseudo-inverses; cut has the shape (..., 1, 1).");
  linalg.def(
      "expm", [](const py::object& a) { return give(tape::expm(operand("expm", a.ptr()))); }, py::arg("a"),
      "Exponentials.");
  linalg.def(
      "svd",
      [](const py::object& a, bool full) {
        tape::Svd parts = tape::svd(operand("svd", a.ptr()), full);
        return py::make_tuple(give(std::move(parts.u)), give(std::move(parts.s)), give(std::move(parts.v)));
      },
      py::arg("a"), py::arg("full"), "U, singular values, and V.");
}

}  // namespace dualtape::bindings
