# SPDX-License-Identifier: MIT
"""The methods of NumPy's ufuncs on dlarrays, against NumPy and with derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numeric import check_derivatives, value

import dualtape as dt
import dualtape.numpy as dnp


def numbers(*shape: int) -> Any:
    return np.random.default_rng(0).uniform(0.3, 1.8, size=shape)


#: Functions of two numbers with a value for everything between 0.3 and 1.8, and for the values they give there.
BINARY = [
    *(np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum, np.fmax, np.fmin, np.hypot),
    *(np.logaddexp, np.logaddexp2, np.copysign),
]


@pytest.mark.parametrize("ufunc", BINARY, ids=lambda ufunc: ufunc.__name__)
def test_methods(ufunc: Any) -> None:
    x, y = numbers(3, 4), numbers(2) + 0.05
    d = dt.dlarray(x)
    options: list[dict[str, Any]] = [{}, {"axis": 1}, {"axis": -1, "keepdims": True}]
    calls: list[Callable[[Any], Any]] = [
        *(lambda x, k=kwargs: ufunc.reduce(x, **k) for kwargs in options),
        lambda x: ufunc.reduce(x[0], initial=0.7),
        lambda x: ufunc.accumulate(x),
        lambda x: ufunc.accumulate(x, axis=1),
        lambda x: ufunc.reduceat(x, [0, 2, 1]),
        lambda x: ufunc.reduceat(x, [1, 3], axis=1),
        lambda x: ufunc.outer(x, y),
        lambda x: ufunc.outer(y, x),
    ]
    for call in calls:
        got, want = call(d), call(x)
        assert isinstance(got, dt.dlarray)
        assert got.shape == want.shape
        np.testing.assert_allclose(value(got), want, rtol=1e-13)
        check_derivatives(call, x, second=False)
    for call in calls[4:6]:
        program = dt.trace(call, x)
        np.testing.assert_allclose(value(program(x[::-1])), call(x[::-1]), rtol=1e-12)


@pytest.mark.parametrize("ufunc", [np.power, np.arctan2], ids=lambda ufunc: ufunc.__name__)
def test_reductions_run_from_left_to_right(ufunc: Any) -> None:
    # (Along the last axis NumPy 2.4 itself gives other numbers for these two, with AVX-512.)
    x = numbers(3, 4)
    for axis, rows in ((0, x), (1, x.T)):
        np.testing.assert_allclose(value(ufunc.reduce(dt.dlarray(x), axis=axis)), functools.reduce(ufunc, rows))
        check_derivatives(lambda x, axis=axis: ufunc.reduce(dnp.asarray(x), axis=axis), x, second=False, rtol=1e-5)


@pytest.mark.parametrize("ufunc", [*BINARY, np.power, np.square, np.negative], ids=lambda ufunc: ufunc.__name__)
def test_at(ufunc: Any) -> None:
    x, v = numbers(3, 4), numbers(5) + 0.05
    pairs = (np.array([0, 0, 1, 2, 0]), np.array([1, 1, 2, 3, 1]))
    for key in ([2, 0, 2, 2, 1], (slice(None), [3, 0, 3, 3, 3]), pairs):
        operands = () if ufunc.nin == 1 else (v[:, None] if isinstance(key, list) else v,)

        def call(x: Any, *operands: Any, key: Any = key) -> Any:
            y = x.copy()
            assert ufunc.at(y, key, *operands) is None
            return y

        np.testing.assert_allclose(value(call(dt.dlarray(x), *operands)), call(x, *operands), rtol=1e-13)
        check_derivatives(lambda *xs, call=call: call(*map(dnp.asarray, xs)), x, *operands, second=False)


def test_at_with_places_of_a_program() -> None:
    def histogram(x: Any) -> Any:
        counts = dnp.zeros(4)
        np.add.at(counts, dnp.astype(np.floor(x * 2.0), np.int64), x)
        return counts

    program = dt.trace(histogram, numbers(6))
    for x in (numbers(6), numbers(6)[::-1].copy(), numbers(7)[1:]):
        want = np.zeros(4)
        np.add.at(want, np.floor(x * 2.0).astype(int), x)
        np.testing.assert_allclose(value(program(x)), want)
        np.testing.assert_allclose(value(histogram(dt.dlarray(x))), want)
    slope = dt.grad(lambda x: (histogram(x) * [1.0, 2.0, 3.0, 4.0]).sum())
    np.testing.assert_array_equal(value(slope(numbers(6))), np.floor(numbers(6) * 2.0) + 1.0)


def test_integers_and_truths() -> None:
    a = np.array([[6, 5], [3, 4]])
    for ufunc in (np.add, np.multiply, np.maximum, np.bitwise_and, np.bitwise_or, np.gcd):
        for method in ("reduce", "accumulate"):
            got = getattr(ufunc, method)(dt.dlarray(a), axis=1)
            assert got.dtype == np.int64
            np.testing.assert_array_equal(value(got), getattr(ufunc, method)(a, axis=1))
    got = dt.dlarray(a.copy())
    np.add.at(got, [0, 0], 1)
    assert got.tolist() == [[8, 7], [3, 4]]
    for ufunc in (np.logical_and, np.logical_or, np.logical_xor):
        np.testing.assert_array_equal(value(ufunc.reduce(dt.dlarray(a > 3))), ufunc.reduce(a > 3))


def test_options() -> None:
    x = numbers(3, 4)
    d, mask = dt.dlarray(x), numbers(3, 4) > 1.0
    for ufunc in (np.add, np.multiply, np.maximum, np.minimum):
        for kwargs in ({"initial": 0.5}, {"initial": 0.5, "where": mask}, {"axis": (0, 1)}, {"axis": None}):
            np.testing.assert_allclose(value(ufunc.reduce(d, **kwargs)), ufunc.reduce(x, **kwargs))
    for kwargs in ({"initial": 0.5}, {"where": mask}, {"axis": (0, 1)}, {"axis": None, "keepdims": True}):
        np.testing.assert_allclose(value(np.logaddexp.reduce(d, **kwargs)), np.logaddexp.reduce(x, **kwargs))
        np.testing.assert_allclose(value(np.hypot.reduce(d, **kwargs)), np.hypot.reduce(x, **kwargs))
    assert np.add.reduce(d, dtype=np.float32).dtype == np.float32
    assert np.add.accumulate(d, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(value(np.hypot.reduce(dt.dlarray(np.ones((0, 2))))), [0.0, 0.0])
    np.testing.assert_array_equal(value(np.subtract.accumulate(dt.dlarray(np.ones((0, 2))))), np.ones((0, 2)))


def test_errors() -> None:
    x = dt.dlarray(numbers(2, 3))
    with pytest.raises(ValueError, match="order matters"):
        np.subtract.reduce(x, axis=(0, 1))
    with pytest.raises(TypeError, match="nothing stands for what is left out"):
        np.subtract.reduce(x, where=numbers(2, 3) > 1)
    with pytest.raises(dt.ShapeError, match="nothing to reduce"):
        np.subtract.reduce(x[:0])
    with pytest.raises(TypeError, match=r"add\.at: an ndarray cannot hold"):
        np.add.at(np.zeros(3), [0], x[0, :1])
    with pytest.raises(TypeError, match="out="):
        np.add.reduce(x, out=x[0])
    with pytest.raises((ValueError, RuntimeError), match=r"signature|reduce"):
        np.matmul.reduce(x)
    with pytest.raises(ValueError, match="reduce only supported for"):
        np.sin.reduce(x)
    with pytest.raises(dt.TraceError, match="being traced"):
        dt.trace(lambda x: np.multiply.at(x.copy(), np.argsort(x), 2.0), numbers(3))
