# SPDX-License-Identifier: MIT
"""Solutions of equations and their derivatives: against closed forms, differences, in programs and in lanes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numeric import check_derivatives, close, value

import dualtape as dt


def cubic(x: Any, a: Any) -> Any:
    return x**3 + x - a


def system(x: Any, a: Any, b: Any) -> Any:
    return dt.numpy.stack([x[0] ** 2 + a * x[1] - 1.0, x[1] ** 3 - x[0] * b])


def test_derivatives_of_a_root_are_right_up_to_the_third_order() -> None:
    def f(a: Any) -> Any:
        return dt.root(lambda x, a: x**2 - a, 1.0, a)

    orders = [f, dt.grad(f), dt.grad(dt.grad(f)), dt.grad(dt.grad(dt.grad(f)))]
    want = [np.sqrt(2.0), 2**-0.5 / 2, -(2**-1.5) / 4, 3 * 2**-2.5 / 8]
    for g, exact in zip(orders, want, strict=True):
        assert float(g(2.0)) == pytest.approx(exact, rel=1e-12)
    _, slope = dt.jvp(dt.grad(f), (2.0,), (1.0,))
    assert float(slope) == pytest.approx(want[2], rel=1e-12)


def test_roots_of_systems_in_every_mode() -> None:
    def f(a: Any, b: Any) -> Any:
        return dt.root(system, np.array([1.0, 1.0]), a, b)

    x = value(f(0.5, 0.7))
    np.testing.assert_allclose(value(system(x, 0.5, 0.7)), 0, atol=1e-12)
    check_derivatives(f, 0.5, 0.7, rtol=1e-5)


def test_parameters_may_be_trees_and_solvers_ones_own() -> None:
    def f(params: Any) -> Any:
        return dt.root(lambda x, p: p["w"] @ x - p["b"], np.zeros(2), params).sum()

    params = {"w": dt.dlarray([[2.0, 0.0], [1.0, 1.0]]), "b": dt.dlarray([2.0, 3.0])}
    assert float(f(params)) == 3.0
    gradient = dt.grad(f)(params)
    close(gradient["b"], np.linalg.inv(value(params["w"])).T @ np.ones(2))
    calls = []

    def bisection(g: Any, x0: Any) -> Any:
        low, high = 0.0, 4.0
        for _ in range(60):
            middle = (low + high) / 2
            calls.append(middle)
            low, high = (middle, high) if float(g(middle)) < 0 else (low, middle)
        return dt.dlarray(low)

    slope = dt.grad(lambda a: dt.root(cubic, 0.0, a, solver=bisection))(10.0)
    assert float(slope) == pytest.approx(1 / (3 * 2.0**2 + 1), rel=1e-12)
    assert len(calls) == 60


def test_fixed_points() -> None:
    def babylonian(x: Any, a: Any) -> Any:
        return (x + a / x) / 2

    f = lambda a: dt.fixed_point(babylonian, np.ones(2), a)  # noqa: E731
    a = np.array([2.0, 9.0])
    close(f(a), np.sqrt(a))
    check_derivatives(f, a, rtol=1e-5)
    g = dt.grad(lambda a: dt.fixed_point(lambda x, a: np.cos(a * x), 0.5, a))
    x = 0.7390851332151607
    assert float(g(1.0)) == pytest.approx(-np.sin(x) * x / (1 + np.sin(x)), rel=1e-10)


def test_steps_of_loops_and_sweeps_may_solve_equations() -> None:
    def step(a: Any, rate: Any) -> Any:
        error = lambda a: (dt.root(cubic, 1.0, a) - 1.5) ** 2  # noqa: E731
        loss, slope = dt.value_and_grad(error)(a)
        return a - rate * slope, loss

    rates = [1.0, 5.0, 10.0]
    runs = dt.sweep(step, 1.0, iterations=40, over=dt.grid(rate=rates))
    for lane, rate in enumerate(rates):
        alone = dt.loop(step, 1.0, iterations=40, rate=rate)
        assert float(alone.state) == value(runs.state)[lane]
    assert value(runs.state)[-1] == pytest.approx(1.5**3 + 1.5, rel=1e-3)


def test_no_solution_is_an_error() -> None:
    with pytest.raises(dt.NumericError, match="start nearer"):
        dt.root(lambda x: x**2 + 1.0, 0.7)
    with pytest.raises(dt.NumericError, match="singular"):
        dt.root(lambda x: 0.0 * x + 1.0, 1.0)
    with pytest.raises(dt.NumericError, match="still differ"):
        dt.fixed_point(lambda x: 2.0 * x, 1.0, max_iterations=20)
    with pytest.raises(dt.ShapeError, match="equation for each unknown"):
        dt.root(lambda x: x[:1], np.ones(2))
    with pytest.raises(dt.ShapeError, match="that of x"):
        dt.fixed_point(lambda x: x[:1], np.ones(2))
