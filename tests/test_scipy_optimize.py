# SPDX-License-Identifier: MIT
"""SciPy's optimizers take the derivatives as they are, and need fewer evaluations than with finite differences."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize

import dualtape as dt
from dualtape import numpy as dnp

EXAMPLE = runpy.run_path(str(Path(__file__).resolve().parent.parent / "examples" / "scipy_optimize.py"))
PROBLEMS = EXAMPLE["PROBLEMS"]


def test_there_are_ten_problems() -> None:
    assert len({problem.name for problem in PROBLEMS}) == 10


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_fewer_evaluations_than_with_finite_differences(problem: Any) -> None:
    ours, theirs = problem.ours(), problem.differences()
    assert ours.success
    # (Hessians, products and Jacobians included.)
    assert ours.nfev + ours.get("further", 0) < theirs.nfev
    # The same solution, to what differences can do; the better one is ours.
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-2, atol=2e-2)
    if np.ndim(ours.fun) == 0:
        assert float(ours.fun) <= float(theirs.fun) + 1e-7


def test_the_example_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    EXAMPLE["main"]()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    for line in lines[1:]:
        ours, theirs, further = map(int, line.split()[-3:])
        assert ours + further < theirs


def valley(x: Any) -> Any:
    return dnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


@pytest.mark.parametrize("method", ["CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP", "trust-constr"])
def test_methods_with_gradients(method: str) -> None:
    options = {"maxfun": 5000} if method == "TNC" else {}
    found = scipy.optimize.minimize(dt.value_and_grad(valley), np.zeros(4), jac=True, method=method, options=options)
    np.testing.assert_allclose(found.x, 1.0, atol=5e-3)
    assert type(found.x) is np.ndarray


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov", "trust-exact"])
@pytest.mark.parametrize("second", ["hess", "hessp"])
def test_methods_with_second_derivatives(method: str, second: str) -> None:
    if (method, second) == ("trust-exact", "hessp"):
        pytest.skip("it needs the matrix")
    start = np.full(4, 0.9)
    derivative = {"hess": dt.hessian(valley), "hessp": dt.hvp(valley)}[second]
    found = scipy.optimize.minimize(dt.value_and_grad(valley), start, jac=True, method=method, **{second: derivative})
    np.testing.assert_allclose(found.x, 1.0, atol=1e-5)


def test_derivatives_of_an_ndarray_are_ndarrays() -> None:
    """Those of anything else are dlarrays, and within another derivative nothing is cut off."""
    x, v = np.array([0.5, -1.5]), np.array([1.0, 2.0])
    value, gradient = dt.value_and_grad(valley)(x)
    assert type(value) is dt.dlarray
    for derivative in (gradient, dt.grad(valley)(x), dt.hessian(valley)(x), dt.hvp(valley)(x, v)):
        assert type(derivative) is np.ndarray
        assert derivative.flags.writeable
    for jacobian in (dt.jacfwd, dt.jacrev):
        assert type(jacobian(lambda x: x**2)(x)) is np.ndarray
    assert type(dt.grad(valley)(dt.dlarray(x))) is dt.dlarray
    assert type(dt.grad(lambda p: valley(p["x"]))({"x": x})["x"]) is dt.dlarray
    outer = dt.grad(lambda s: dnp.sum(dt.grad(lambda y: dnp.sum(s * y**2))(x)))(3.0)
    assert float(outer) == 2.0 * x.sum()
    program = dt.trace(lambda s: dt.grad(lambda y: dnp.sum(s * y**2))(x), 3.0)
    np.testing.assert_array_equal(dt.extractdata(program(2.0)), 4.0 * x)
