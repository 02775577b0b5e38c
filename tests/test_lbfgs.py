# SPDX-License-Identifier: MIT
"""L-BFGS: convergence with every line search, what the state says, trees, and bad input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dualtape as dt

METHODS = ["weak-wolfe", "strong-wolfe", "backtracking"]


def rosenbrock(x: Any) -> Any:
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


@pytest.mark.parametrize("method", METHODS)
def test_rosenbrock_within_60_updates(method: str) -> None:
    x, state = dt.dlarray([-1.2, 1.0]), None
    losses = []
    for _ in range(60):
        x, state = dt.lbfgsupdate(x, dt.value_and_grad(rosenbrock), state, line_search_method=method)
        losses.append(state.loss)
        if state.gradients_norm < 1e-9:
            break
    assert np.allclose(x.numpy(), 1.0, atol=1e-7)
    assert losses == sorted(losses, reverse=True)
    assert state.iteration == len(losses) < 60


@pytest.mark.parametrize("method", METHODS)
def test_a_quadratic_of_condition_1e4(method: str) -> None:
    curvatures = np.geomspace(0.01, 100.0, 10)
    x, state = np.ones(10), dt.LbfgsState(history_size=20)
    for _ in range(100):
        x, state = dt.lbfgsupdate(
            x, lambda x: (0.5 * np.sum(curvatures * x * x), curvatures * x), state, line_search_method=method
        )
        if state.gradients_norm < 1e-9:
            break
    assert np.abs(x).max() < 1e-6


def test_the_state_says_what_happened() -> None:
    def loss_fcn(params: Any) -> Any:
        x = params["x"]
        return float(np.sum((x - 3.0) ** 2)), {"x": 2.0 * (x - 3.0)}, "extra", float(x[0])

    params, state = {"x": np.zeros(2)}, None
    params, state = dt.lbfgsupdate(params, loss_fcn, state, num_loss_function_outputs=4)
    assert state.line_search_status == "completed"
    assert state.line_search_iterations >= 1
    assert state.iteration == 1
    assert state.loss == pytest.approx(loss_fcn(params)[0])
    assert state.step_norm == pytest.approx(np.linalg.norm(params["x"]))
    assert state.gradients_norm == pytest.approx(np.linalg.norm(loss_fcn(params)[1]["x"]), abs=1e-12)
    assert np.allclose(state.gradients["x"], loss_fcn(params)[1]["x"])
    assert state.additional_loss_function_outputs == ("extra", params["x"][0])
    assert state.history_size == 10
    assert "line_search_status='completed'" in repr(state)


def test_one_evaluation_for_an_accepted_full_step_and_none_twice() -> None:
    points = []

    def loss_fcn(x: float) -> tuple[float, float]:
        points.append(x)
        return x * x / 2.0, x

    x, state = 4.0, None
    for _ in range(3):
        x, state = dt.lbfgsupdate(x, loss_fcn, state)
    assert x == 0.0
    assert len(points) == len(set(points)) == 2
    x, state = dt.lbfgsupdate(1.0, loss_fcn, state)  # moved by hand: evaluated anew
    assert points[2] == 1.0


def test_the_first_step() -> None:
    def slope(x: float) -> tuple[float, float]:
        return 8.0 * x, 8.0

    assert dt.lbfgsupdate(1.0, slope, max_num_line_search_iterations=1)[0] == pytest.approx(-7.0)
    scaled = dt.LbfgsState(initial_inverse_hessian_factor=0.5)
    assert dt.lbfgsupdate(1.0, slope, scaled, max_num_line_search_iterations=1)[0] == pytest.approx(-3.0)
    options = {"max_num_line_search_iterations": 1, "line_search_method": "backtracking"}
    assert dt.lbfgsupdate(1.0, slope, initial_step_size=0.25, **options)[0] == pytest.approx(0.75)
    assert dt.lbfgsupdate(1.0, slope, initial_step_size="auto", **options)[0] == pytest.approx(0.4)


def test_a_failed_search_says_so_and_keeps_the_best_point() -> None:
    x, state = dt.lbfgsupdate(1.0, lambda x: (x, -1.0), max_num_line_search_iterations=5)  # a wrong gradient
    assert state.line_search_status == "failed"
    assert x == 1.0
    assert state.step_norm == 0.0
    _, state = dt.lbfgsupdate(1.0, lambda x: (math.nan, math.nan))
    assert state.line_search_status == "failed"


def test_trees_and_dtypes_are_kept() -> None:
    def loss(params: Any) -> Any:
        return ((params["w"] - 2.0) ** 2).sum() + (params["b"][0] + 1.0) ** 2

    params = {"w": dt.dlarray(np.zeros((2, 3), np.float32), "CB"), "b": [0.5]}
    state = None
    for _ in range(4):
        params, state = dt.lbfgsupdate(params, dt.value_and_grad(loss), state)
    assert params["w"].dtype == np.float32
    assert params["w"].dims == "CB"
    assert isinstance(params["b"][0], float)
    assert np.allclose(params["w"].numpy(), 2.0, atol=1e-5)
    assert params["b"][0] == pytest.approx(-1.0, abs=1e-5)


def test_bad_input() -> None:
    def fine(x: Any) -> Any:
        return x * x, 2 * x

    with pytest.raises(ValueError, match="use 'weak-wolfe', 'strong-wolfe' or 'backtracking'"):
        dt.lbfgsupdate(1.0, fine, line_search_method="armijo")
    with pytest.raises(ValueError, match="max_num_line_search_iterations must be"):
        dt.lbfgsupdate(1.0, fine, max_num_line_search_iterations=0)
    with pytest.raises(ValueError, match="initial_step_size must be"):
        dt.lbfgsupdate(1.0, fine, initial_step_size=-1.0)
    with pytest.raises(ValueError, match="history_size must be a whole number"):
        dt.LbfgsState(history_size=0)
    with pytest.raises(TypeError, match="loss_fcn must return 2 values"):
        dt.lbfgsupdate(1.0, lambda x: x)
    with pytest.raises(ValueError, match=r"gradients has no 'b', which params has"):
        dt.lbfgsupdate({"a": 1.0, "b": 2.0}, lambda p: (1.0, {"a": 1.0}))
    with pytest.raises(ValueError, match=r"lbfgsupdate\(gradients\['a'\]\): the shape must be that of the parameter"):
        dt.lbfgsupdate({"a": 1.0}, lambda p: (1.0, {"a": np.ones(2)}))
    with pytest.raises(TypeError, match=r"lbfgsupdate\(params\)"):
        dt.lbfgsupdate("text", fine)
