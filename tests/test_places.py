# SPDX-License-Identifier: MIT
"""Places that are values of a traced program, what makes places, and functions of integers and truths."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import pytest
from numeric import value

import dualtape as dt
import dualtape.numpy as dnp


def numbers(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape)


def test_a_program_reads_at_places_that_it_computes() -> None:
    program = dt.trace(lambda x: x[np.argsort(x)] * np.arange(4.0), numbers(4))
    assert "take_along_axis" in str(program)
    for x in (numbers(4), -numbers(4), np.array([3.0, 1.0, 2.0, 0.0])):
        np.testing.assert_array_equal(value(program(x)), np.sort(x) * np.arange(4.0))


def test_a_place_along_two_axes_does_not_run_over_into_the_next_row() -> None:
    x = numbers(3, 4)
    program = dt.trace(lambda x, k: x[np.argmax(x, axis=1) * 0 + k, dnp.argmax(x, axis=1)], x, np.array([1, 0, 2]))
    np.testing.assert_array_equal(value(program(x, np.array([-1, 0, 1]))), x[[-1, 0, 1], np.argmax(x, axis=1)])
    with pytest.raises((IndexError, dt.ShapeError)):
        program(x, np.array([1, 0, 3]))


def test_a_program_computes_with_integers() -> None:
    def f(x: Any) -> Any:
        k = np.argsort(x)
        return x[(k + 1) % 4], (2 * k - 3) // 2, k / 2, -k, np.maximum(k, 1), k * k, (x > 0.0) + k, np.sqrt(k)

    x, y = numbers(4), -numbers(4)
    for ours, theirs in zip(dt.trace(f, x)(y), f(y), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(value(ours), theirs)


ASSIGNMENTS: dict[str, Any] = {
    "a permutation": lambda y, x: operator.setitem(y[0], np.argsort(x[0]), x[0] ** 2),
    "a number": lambda y, x: operator.setitem(y, np.argsort(x[:, 0])[:2], 7.0),
    "rows": lambda y, x: operator.setitem(y, np.argsort(x[:, 0])[:2], x[1] * 2.0),
    "columns": lambda y, x: operator.setitem(y, (slice(1, None), np.argsort(x[0])[:2]), x[:2, :2]),
    "elements": lambda y, x: operator.setitem(y, (np.argsort(x[:, 0]), np.argmax(x, axis=1)), x[:, 1] * 3.0),
    "places that come again": lambda y, x: operator.setitem(y[1], np.argsort(x[0]) // 2, x[2]),
    "from behind": lambda y, x: operator.setitem(y[:, 1], -1 - np.argsort(x[:, 0]), x[:, 3]),
}


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_a_program_assigns_at_places_that_it_computes(name: str) -> None:
    def f(x: Any) -> Any:
        y = dnp.array(x * 0.5)
        ASSIGNMENTS[name](y, x)
        return y

    def loss(x: Any) -> Any:
        return (f(x) * np.cos(np.arange(12.0).reshape(3, 4))).sum()

    x = numbers(3, 4)
    program, slope = dt.trace(f, x), dt.trace(dt.grad(loss), x)
    for z in (x, -x, x[::-1, ::-1].copy()):
        np.testing.assert_array_equal(value(program(z)), value(f(dt.dlarray(z))))
        np.testing.assert_allclose(value(slope(z)), value(dt.grad(loss)(z)), rtol=1e-15)


def test_a_program_assigns_integers() -> None:
    def f(x: Any) -> Any:
        order = np.argsort(x)
        inverse = dt.dlarray(np.zeros(4, int))
        inverse[order] = np.arange(4)
        return x[order][inverse], inverse

    for ours, theirs in zip(dt.trace(f, numbers(4))(-numbers(4)), f(dt.dlarray(-numbers(4))), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(value(ours), value(theirs))

    def step(x: Any, scale: Any) -> Any:
        return f(x * scale)[0] * 0.5, x.sum()

    runs = dt.sweep(step, numbers(4), iterations=3, over=dt.grid(scale=np.array([1.0, -1.0])))
    np.testing.assert_allclose(value(runs.state), numbers(4) * 0.125 * np.array([[1.0], [-1.0]]))


def test_a_number_for_all_places_of_a_mask() -> None:
    def f(x: Any, number: Any) -> Any:
        y = x * 2.0
        y[y < 0.0] = number * number
        part = y[:2]
        part[part > 1.0] = 1.0
        return y

    x = numbers(4) - 0.1
    program = dt.trace(f, x, 0.5)
    for numbers_, number in ((x, 0.5), (-x, 3.0)):
        np.testing.assert_array_equal(value(program(numbers_, number)), value(f(dt.dlarray(numbers_), number)))
    weights = np.arange(1.0, 5.0)
    slopes = dt.trace(dt.grad(lambda x, number: (f(x, number) * weights).sum(), (0, 1)), x, 0.5)(-x, 3.0)
    eager = dt.grad(lambda x, number: (f(dnp.asarray(x), number) * weights).sum(), (0, 1))(-x, 3.0)
    for ours, theirs in zip(slopes, eager, strict=True):
        np.testing.assert_array_equal(value(ours), value(theirs))


def test_what_a_program_cannot_know() -> None:
    x = numbers(4)

    with pytest.raises(dt.TraceError, match=r"index\(4,\): a mask .*numpy\.where\(mask, x, 0\.0\).*test_places\.py"):
        dt.trace(lambda x: x[x > 0.0], x)
    with pytest.raises(dt.TraceError, match=r"assignment\(4,\): a mask .*numpy\.where\(mask, value, x\)"):
        dt.trace(lambda x: operator.setitem(x.copy(), x > 0.0, [1.0, 2.0]), x)

    def careless(x: Any) -> Any:
        try:
            return x[x > 0.0]
        except TypeError:
            return x

    with pytest.raises(dt.TraceError, match="a mask"):  # a refusal that is caught is still one
        dt.trace(careless, x)
    with pytest.raises(IndexError, match=r"a mask.*nonzero\(mask\)"):
        dt.trace(lambda x: x[[True, False], np.argmax(x, axis=0)], numbers(2, 4))
    with pytest.raises(dt.TraceError, match="being traced"):
        dt.trace(dnp.nonzero, x)


def test_kinds_of_ix() -> None:
    x = numbers(3, 4)
    for key in ([0, 2], [3, 1]), ([True, False, True], np.array([0])), ([], [1]), (range(2), [0, 0]):
        np.testing.assert_array_equal(value(dt.dlarray(x)[dnp.ix_(*key)]), x[np.ix_(*key)])
    with pytest.raises(ValueError, match=r"ix_: the places along axis 0 must be a vector"):
        dnp.ix_([[0, 1]], [0])


def test_r_and_c_as_numpy() -> None:
    v, m = numbers(3), numbers(2, 3)
    cases: list[Any] = [
        *((v, 1, 2.5), (1, 2, 3), ([1, 2], 4), (slice(0, 1, 3j), slice(2, 5)), ("1", m, m), ("0,2,0", v, v)),
        *(("0,2,1", v, m), ("1,3,-2", v, v), (v.astype(np.float32), 0.5)),
    ]
    for key in cases:
        ours, theirs = dnp.r_[key], np.r_[key]
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(value(ours), theirs)
    np.testing.assert_array_equal(value(dnp.c_[v, v, m.T]), np.c_[v, v, m.T])
    assert value(dnp.r_[:4]).tolist() == [0, 1, 2, 3]
    assert len(dnp.r_) == 0
    with pytest.raises(ValueError, match="no matrices"):
        dnp.r_["r", v]
    with pytest.raises(TypeError, match="start:stop:5j"):
        dnp.r_[0 : dt.dlarray(3.0)]
    with pytest.raises(dt.TraceError, match="being differentiated"):
        dt.grad(lambda x: np.r_[x, x].sum())(v)


def test_integers_and_bits() -> None:
    a, b = np.array([6, 4, 9]), np.array([4, 6, 3])
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift", "gcd", "lcm"):
        ours = getattr(dnp, name)
        for got in (ours(a, b), getattr(np, name)(dt.dlarray(a), b), ours(dt.dlarray(a), b)):
            assert isinstance(got, dt.dlarray)
            np.testing.assert_array_equal(value(got), getattr(np, name)(a, b))
    np.testing.assert_array_equal(value(np.invert(dt.dlarray(a))), ~a)
    assert dnp.bitwise_and(6, dt.dlarray(a)).tolist() == [6, 4, 0]
    with pytest.raises(TypeError, match="out="):
        dnp.gcd(a, b, out=a)


def test_assignment_by_function_keeps_derivatives() -> None:
    def f(x: Any) -> Any:
        y = dnp.zeros((3, 3))
        np.fill_diagonal(y, x)
        np.copyto(y, x[:, None] ** 2, where=np.tri(3, k=-1, dtype=bool))
        return y

    x = numbers(3)
    want = np.diag(x) + np.tril(np.tile(x[:, None] ** 2, 3), -1)
    np.testing.assert_array_equal(value(f(dt.dlarray(x))), want)
    np.testing.assert_allclose(value(dt.grad(lambda x: f(x).sum())(x)), 1.0 + 2.0 * x * np.arange(3.0))
    for call in (lambda: np.copyto(np.zeros(3), dt.dlarray(x)), lambda: dnp.fill_diagonal(np.eye(3), 1.0)):
        with pytest.raises(TypeError, match="make it a dlarray first"):
            call()
    with pytest.raises(dt.ShapeError, match="must be a matrix"):
        dnp.fill_diagonal(dt.dlarray(x), 1.0)


def test_names_that_are_not_there_say_why() -> None:
    reasons = {"fft": "complex", "complex128": "complex", "float16": "float64", "histogram": "NumPy's own"}
    for name, why in reasons.items():
        with pytest.raises(AttributeError, match=why):
            getattr(dnp, name)
    with pytest.raises(AttributeError, match="complex"):
        dnp.linalg.eig  # noqa: B018
    with pytest.raises(AttributeError, match="neither has numpy"):
        dnp.mean_of_means  # noqa: B018


sine = math.sin


class Holder:
    function = math.exp


@pytest.mark.parametrize("run", ["reverse", "forward"])
def test_math_refuses_what_is_being_differentiated(run: str) -> None:
    def differentiate(f: Any) -> Any:
        return dt.grad(f)(0.5) if run == "reverse" else dt.jvp(f, (0.5,), (1.0,))

    local = math.cos
    for f in (
        lambda x: math.sin(x),
        lambda x: 2.0 * math.exp(x * x) + x,
        lambda x: math.pow(2.0, x),
        lambda x: math.hypot(x, 1.0),
        lambda x: sine(x),
        lambda x: local(x),
        lambda x: Holder.function(x),
    ):
        with pytest.raises(dt.TraceError, match=r"math\.\w+: .*derivative would be lost; use numpy\.\w+.*extractdata"):
            differentiate(f)
    with pytest.raises(dt.TraceError, match=r"dualtape\.scipy\.special\.gammaln"):
        differentiate(lambda x: math.lgamma(x))


def test_a_look_at_the_number_stays_possible() -> None:
    def f(x: Any) -> Any:
        assert float(x) == 0.5
        assert not math.isnan(x)
        assert math.isfinite(x)
        assert math.floor(x) == 0
        assert math.isclose(x, 0.5)
        assert f"{float(x):.1f}" == "0.5"
        assert [float(v) for v in [x]] == [0.5]
        return x * x

    assert float(dt.grad(f)(0.5)) == 1.0
    assert math.sin(dt.dlarray(0.5)) == math.sin(0.5)  # (a constant)
