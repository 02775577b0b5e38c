# SPDX-License-Identifier: MIT
"""The public dual number, and the differential operators dljacobian, dldivergence and dllaplacian."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numeric import close, value

import dualtape as dt
from dualtape import Dual
from dualtape import numpy as dnp

# ---- the public dual number -------------------------------------------------------------------------------


def test_dual_arithmetic() -> None:
    x = Dual(3.0, 1.0)
    y = (2 * x**3 - x / 4 + 1) / (x - 1)
    assert (y.primal, y.tangent) == pytest.approx((27.125, 13.3125))
    z = dnp.sin(x) * np.exp(x) + abs(-x) + 2**x + x**0.5
    want = np.cos(3) * np.exp(3) + np.sin(3) * np.exp(3) + 1 + np.log(2) * 8 + 0.5 / np.sqrt(3)
    assert z.tangent == pytest.approx(want, rel=1e-13)
    assert isinstance(y.primal, float)
    assert Dual(2.0).tangent == 0
    assert repr(Dual(1, 2)) == "Dual(1.0, 2.0)"


def test_duals_compare_by_their_primals() -> None:
    x = Dual(1.0, 5.0)
    assert x == 1
    assert x < 2
    assert Dual(0.0, 1.0) != 1
    assert not Dual(0.0, 1.0)
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


def test_nested_duals_give_higher_derivatives() -> None:
    x = Dual(Dual(Dual(2.0, 1.0), Dual(1.0, 0.0)), Dual(Dual(1.0, 0.0), Dual(0.0, 0.0)))
    y = x**5
    assert y.primal.primal.primal == 32
    assert y.primal.primal.tangent == y.tangent.primal.primal == 80
    assert y.tangent.tangent.primal == 160
    assert y.tangent.tangent.tangent == 240


def test_duals_over_arrays_and_over_a_tape() -> None:
    y = dnp.exp(Dual(dt.dlarray([0.0, 1.0]), dt.dlarray([1.0, 2.0])))
    close(y.tangent, np.exp([0.0, 1.0]) * [1, 2])
    # mixed second derivative: forward by the Dual, backward by the tape
    close(dt.grad(lambda x: (dnp.sin(Dual(x, 1.0) * 2)).tangent)(0.3), -4 * np.sin(0.6))
    close(dt.jvp(lambda x: (Dual(x, 1.0) ** 3).tangent, (2.0,), (1.0,))[1], 12.0)
    assert float(dt.dlfeval(lambda x: dt.dlgradient((Dual(x, 1.0) ** 3).tangent, x), dt.dlarray(2.0))) == 12


def test_duals_meet_numpy() -> None:
    x = Dual(1.0, 1.0)
    assert (np.float64(2.0) * x).tangent == 2
    assert np.hypot(Dual(3.0, 1.0), 4.0).tangent == pytest.approx(0.6)
    close((np.array([1.0, 2.0]) * x).tangent, np.array([1.0, 2.0]))
    assert np.maximum(x, 2.0).tangent == 0


# ---- differential operators -------------------------------------------------------------------------------


def test_dljacobian_has_the_documented_shape_and_values() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 2, 3, 8)), rng.normal(size=(5, 12))

    def field(x: Any) -> Any:
        return dnp.tanh(dnp.reshape(w @ dnp.reshape(x, (12, 8)), (5, 8)))

    jacobian = dt.dlfeval(lambda x: dt.dljacobian(field(x), x, 0), dt.dlarray(x))
    assert jacobian.shape == (5, 2, 2, 3, 8)
    u = np.tanh(w @ x.reshape(12, 8))
    want = (1 - u**2)[:, None, :] * w[:, :, None]
    close(jacobian, want.reshape(5, 2, 2, 3, 8))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_divergence_and_laplacian(dim: int) -> None:
    x = np.random.default_rng(0).normal(size=(3, 16) if dim == 0 else (16, 3))
    weights = np.array([1.0, 2.0, 3.0]).reshape((3, 1) if dim == 0 else (1, 3))

    def operators(x: Any) -> Any:
        u = weights * x**3
        scalar = (weights * x**4).sum(dim, keepdims=True)
        gradient = dt.dljacobian(scalar, x, dim)[0]
        return dt.dldivergence(u, x, dim), dt.dllaplacian(scalar, x, dim), dt.dldivergence(gradient, x, dim)

    divergence, laplacian, twice = dt.dlfeval(operators, dt.dlarray(x))
    assert divergence.shape == laplacian.shape == ((1, 16) if dim == 0 else (16, 1))
    close(divergence, (3 * weights * x**2).sum(dim, keepdims=True))
    close(laplacian, (12 * weights * x**2).sum(dim, keepdims=True))
    close(twice, value(laplacian))


def test_operators_can_be_differentiated() -> None:
    def residual(w: Any, x: Any) -> Any:
        u = dnp.sin(w * x).sum(0, keepdims=True)
        loss = (dt.dllaplacian(u, x) ** 2).sum()
        return dt.dlgradient(loss, w)

    w, x = 0.7, np.random.default_rng(0).normal(size=(2, 5))

    def plain(w: float) -> float:
        return float(((-w * w * np.sin(w * x)).sum(0) ** 2).sum())

    got = dt.dlfeval(residual, dt.dlarray(w), dt.dlarray(x))
    assert float(got) == pytest.approx((plain(w + 1e-6) - plain(w - 1e-6)) / 2e-6, rel=1e-7)


def test_the_laplacian_of_the_post() -> None:
    def laplacian(x: Any) -> Any:
        y = (x[1:] - x[:1] ** 2) ** 2 + (1 - x[:1]) ** 2
        return dt.dllaplacian(y, x)

    assert dt.dlfeval(laplacian, dt.dlarray([[2.0], [2.0]])).shape == (1, 1)
    assert float(dt.dlfeval(laplacian, dt.dlarray([[2.0], [2.0]]))) == 44
    close(
        dt.hessian(lambda x: (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2)(np.array([2.0, 2.0])),
        np.array([[42.0, -8], [-8, 2]]),
    )
