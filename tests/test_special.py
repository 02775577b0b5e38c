# SPDX-License-Identifier: MIT
"""The special functions on wide grids against SciPy; what every op has to pass is in test_ops.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special
from numeric import check_derivatives, value

import dualtape as dt
from dualtape.scipy import special

LINE = np.linspace
TINY = 2.0 ** -np.arange(1, 1000)
#: Grids, and how far from SciPy in units of the last place of max(|value|, floor).
GRIDS: dict[str, tuple[Any, float, float]] = {
    "erf": (LINE(-7, 7, 4001), 2, 0),
    "erfc": (LINE(-6, 5, 4001), 32, 0),  # (ours is the nearer one: 1.5 ulp from the truth)
    "erfinv": (np.r_[LINE(-1, 1, 2001), TINY, 1 - TINY], 8, 0),
    "ndtri": (np.r_[LINE(0, 1, 2001), TINY, 1 - TINY], 8, 0),
    "ndtr": (LINE(-5, 9, 4001), 64, 0),  # (an ulp of x is x^2 ulp of the result)
    "log_ndtr": (np.r_[LINE(-60, 9, 4001), -np.logspace(1, 150, 200)], 32, 0),
    "logit": (np.r_[LINE(0, 1, 4001), TINY], 4, 0),
    "expit": (LINE(-700, 40, 4001), 4, 0),
    "gammaln": (np.r_[LINE(0.01, 170, 4001), np.logspace(3, 300, 200)], 4, 1),
    "digamma": (np.r_[LINE(0.01, 170, 4001), np.logspace(3, 300, 200)], 8, 1),
    "entr": (np.r_[0, np.logspace(-300, 300, 2001)], 4, 0),
    "i0": (LINE(-700, 700, 4001), 8, 0),
    "i1": (LINE(-700, 700, 4001), 12, 0),
    "i0e": (np.r_[LINE(-50, 50, 4001), np.logspace(1, 300, 500)], 4, 0),
    "i1e": (np.r_[LINE(-50, 50, 4001), np.logspace(-300, 300, 500)], 8, 0),
    "j0": (LINE(-100, 100, 8001), 5, 1),
    "j1": (LINE(-100, 100, 8001), 5, 1),
}


@pytest.mark.parametrize("name", GRIDS)
def test_wide_grids(name: str) -> None:
    x, most, floor = GRIDS[name]
    got, want = value(getattr(special, name)(x)), getattr(scipy.special, name)(x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    units = np.abs(got[finite] - want[finite]) / np.spacing(np.maximum(np.abs(want[finite]), floor))
    assert units.max() <= most, f"{name}({x[finite][units.argmax()]}): {units.max()} units in the last place"


def test_functions_of_two_numbers() -> None:
    a, b = np.meshgrid(np.logspace(-3, 3, 41), np.logspace(-3, 3, 43))
    for name, rtol in (("xlogy", 1e-15), ("xlog1py", 1e-15), ("rel_entr", 1e-14)):
        got = value(getattr(special, name)(a, b))
        np.testing.assert_allclose(got, getattr(scipy.special, name)(a, b), rtol=rtol, atol=1e-300)
    np.testing.assert_allclose(value(special.kl_div(a, b)), scipy.special.kl_div(a, b), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(value(special.betaln(a, b)), scipy.special.betaln(a, b), rtol=1e-12, atol=1e-12)
    check_derivatives(special.betaln, np.array([0.5, 2.0, 7.0]), np.array([1.5, 0.3, 4.0]))


def test_scipys_own_functions_come_here() -> None:
    x = np.array([0.3, 0.6])
    for name in ("erfinv", "ndtr", "ndtri", "log_ndtr", "logit", "entr", "i0", "i1", "i0e", "i1e", "j0", "j1"):
        f = getattr(scipy.special, name)
        assert isinstance(f(dt.dlarray(x)), dt.dlarray), name
        slope = value(dt.grad(lambda x, f=f: f(x).sum())(x))
        np.testing.assert_allclose(slope, (f(x + 1e-6) - f(x - 1e-6)) / 2e-6, rtol=1e-7)
    for name in ("rel_entr", "kl_div", "xlog1py", "betaln"):
        f = getattr(scipy.special, name)
        assert isinstance(f(dt.dlarray(x), x[::-1]), dt.dlarray), name


def test_derivatives_of_bessel_functions_at_zero() -> None:
    for name, slopes in (("i1", (0.5, 0.0)), ("j1", (0.5, 0.0)), ("i0", (0.0, 0.5)), ("j0", (0.0, -0.5))):
        f = getattr(special, name)
        first = dt.grad(f)(0.0)
        assert (float(first), float(dt.grad(dt.grad(f))(0.0))) == slopes, name
