# SPDX-License-Identifier: MIT
"""MATLAB's update functions: known results, trees of every kind, derivatives through updates, and bad input."""

from __future__ import annotations

import math
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import dualtape as dt

Layer = namedtuple("Layer", ["weight", "bias"])


@dataclass
class Model:
    layer: Any
    scale: Any


def key_terms(x1: float, x2: float) -> tuple[float, tuple[float, float]]:
    """The loss of the Key Terms post and its gradient."""
    a, b = x2 - x1 * x1, 1.0 - x1
    return a * a + b * b, (-(2.0 * a) * (2.0 * x1) - 2.0 * b, 2.0 * a)


def train(update: Any, iterations: int) -> tuple[float, float, float]:
    params, state = (2.0, 2.0), None
    for iteration in range(1, iterations + 1):
        params, state = update(params, key_terms(*params)[1], state, iteration)
    return (*params, key_terms(*params)[0])


def adam(learn_rate: float, **options: Any) -> Any:
    def update(params: Any, grads: Any, state: Any, iteration: int) -> Any:
        avg_g, avg_sqg = state or (None, None)
        params, *state = dt.adamupdate(params, grads, avg_g, avg_sqg, iteration, learn_rate, **options)
        return params, tuple(state)

    return update


def sgdm(learn_rate: float, momentum: float) -> Any:
    return lambda p, g, v, _: dt.sgdmupdate(p, g, v, learn_rate, momentum)


# Known results -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("update", "iterations", "expected"),
    [
        (sgdm(0.1, 0.0), 100, (1.0088382026363243, 1.0213919187601477, 9.1344502139361692e-05)),
        (sgdm(0.2, 0.0), 100, (0.74077812798442277, 0.89232438153384408, 0.18523779887377523)),
        (sgdm(0.01, 0.9), 1, (1.82, 2.04, 2.29140176)),
        (sgdm(0.01, 0.9), 100, (0.990249801890134, 0.982953662118219, 1.00631206318675e-4)),
        (sgdm(0.1, 0.9), 10, (-2.48874, 4.83779, 14.0101)),
        (sgdm(0.1, 0.9), 100, (1.02351415338759, 1.05866829611671, 6.75838617908514e-4)),
        (
            lambda p, g, s, _: dt.rmspropupdate(p, g, s, 0.01),
            100,
            (1.39799998871564, 2.07519897026659, 0.172995423481777),
        ),
        (adam(0.1), 1, (1.90000000005556, 2.09999999975, None)),
        (adam(0.1), 100, (1.05770841842613, 1.1345282181228, 0.00357930529665039)),
        (adam(0.1, epsilon_mode="hat"), 1, (1.90000000175682, 2.09999999209431, None)),
        (adam(0.1, epsilon_mode="hat"), 100, (1.05770842238015, 1.1345282299688, 0.00357930586289829)),
    ],
)
def test_paths_on_the_key_terms_problem(update: Any, iterations: int, expected: Any) -> None:
    for got, wanted in zip(train(update, iterations), expected, strict=True):
        if wanted is not None:
            assert got == pytest.approx(wanted, rel=1e-5 if wanted in (-2.48874, 4.83779, 14.0101) else 1e-12)


def test_documented_single_steps() -> None:
    params, avg_g, avg_sqg = dt.adamupdate(0.0, 1.0, None, None, 1, 0.05, 0.75, 0.95)
    assert (params, avg_g, avg_sqg) == pytest.approx((-0.05, 0.25, 0.05), rel=1e-7)
    assert dt.sgdmupdate(0.0, 1.0, None, 0.05, 0.95) == (-0.05, -0.05)


# Kinds of leaves and trees ----------------------------------------------------------------------------------------


def test_results_are_of_the_kind_of_the_parameters() -> None:
    for params, grads in [
        (1.0, np.array(1.0)),
        (np.ones(3), dt.dlarray(np.ones(3))),
        (dt.dlarray(np.ones(3)), np.ones(3)),
        (dt.dlarray(1.0), 1.0),
        (np.ones((2, 2), np.float32), np.ones((2, 2))),
        (dt.dlarray(np.ones(2), dtype=np.float32), np.ones(2)),
    ]:
        for result in dt.adamupdate(params, grads, None, None, 1):
            assert type(result) is type(params)
            if not isinstance(params, float):
                assert result.dtype == params.dtype
                assert result.shape == params.shape


def test_foreign_leaves_are_brought_into_shape() -> None:
    strided = np.arange(6.0).reshape(2, 3).T
    assert np.array_equal(dt.sgdmupdate(strided, strided, None, 1.0)[0], np.zeros((3, 2)))
    assert np.array_equal(dt.sgdmupdate(np.ones(2), np.array([1, 2]), None, 1.0)[0], [0.0, -1.0])
    assert np.array_equal(dt.sgdmupdate(np.ones(2, ">f8"), np.ones(2), None, 1.0)[0], [0.0, 0.0])
    assert dt.sgdmupdate(np.float32(1.0), 1.0, None, 1.0)[0].dtype == np.float32
    assert dt.sgdmupdate(2, 1, None, 1.0) == (1.0, -1.0)


def test_labels_stay() -> None:
    params = dt.dlarray(np.ones((2, 3)), "CB")
    assert all(result.dims == "CB" for result in dt.sgdmupdate(params, np.ones((2, 3))))


@pytest.mark.parametrize("absent", [None, [], ()])
def test_every_tree_is_walked(absent: Any) -> None:
    one = np.ones(2)
    trees = [
        one,
        [one, (one, None), {"b": one, "a": [one]}],
        Layer(one, {"x": one}),
        Model([one, one], Layer(one, one)),
        {},
        [],
        {1: one, 0: (one,)},
    ]
    for tree in trees:
        params, avg_g, avg_sqg = dt.adamupdate(tree, tree, absent, absent, 1, 0.5, epsilon=0.0)
        for leaf in dt.tree.flatten(params)[0]:
            assert np.allclose(leaf, 0.5)
        again = dt.adamupdate(params, tree, avg_g, avg_sqg, 2)
        assert dt.tree.flatten(again[2])[1] == dt.tree.flatten(tree)[1]


def test_nothing_is_changed() -> None:
    params, grads = {"w": np.ones(3)}, {"w": np.full(3, 2.0)}
    _, avg_g, avg_sqg = dt.adamupdate(params, grads, None, None, 1)
    kept = avg_g["w"].copy(), avg_sqg["w"].copy()
    dt.adamupdate(params, grads, avg_g, avg_sqg, 2)
    assert np.array_equal(params["w"], np.ones(3))
    assert np.array_equal(grads["w"], np.full(3, 2.0))
    assert np.array_equal(avg_g["w"], kept[0])
    assert np.array_equal(avg_sqg["w"], kept[1])


def test_the_way_through_python_gives_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    w, b, gw, gb = rng.normal(size=(4, 37))
    fast = dt.adamupdate({"w": w, "b": b}, {"w": gw, "b": gb}, None, None, 1)
    slow = dt.adamupdate(Layer(w, b), Layer(gw, gb), None, None, 1)
    for quick, careful in zip(fast, slow, strict=True):
        assert np.array_equal(quick["w"], careful.weight)
        assert np.array_equal(quick["b"], careful.bias)


def test_large_arrays() -> None:
    rng = np.random.default_rng(1)
    params, grads = rng.normal(size=(2, 100_001))
    got = dt.adamupdate(params, grads, None, None, 1, 0.1)[0]
    assert np.allclose(got, params - 0.1 * grads / (np.abs(grads) + 1e-8), rtol=1e-14, atol=1e-15)


# Derivatives ------------------------------------------------------------------------------------------------------


def test_updates_are_differentiated() -> None:
    def final(learn_rate: Any, start: Any) -> Any:
        x, avg_g, avg_sqg, vel = start, None, None, None
        for iteration in range(1, 4):
            x, avg_g, avg_sqg = dt.adamupdate(x, x**3, avg_g, avg_sqg, iteration, learn_rate)
            x, vel = dt.sgdmupdate([x], [2.0 * x], vel, learn_rate)
            x = x[0]
        return x.sum() if hasattr(x, "sum") else x

    start = np.array([0.5, -1.5])
    rate_slope, start_slope = dt.grad(final, argnums=(0, 1))(0.05, start)
    e = 1e-6
    assert float(rate_slope) == pytest.approx((final(0.05 + e, start) - final(0.05 - e, start)) / (2 * e), rel=1e-7)
    for i in range(2):
        step = e * np.eye(2)[i]
        slope = (final(0.05, start + step) - final(0.05, start - step)) / (2 * e)
        assert float(start_slope[i]) == pytest.approx(slope, rel=1e-7)


def test_updates_of_dual_numbers() -> None:
    def final(learn_rate: Any) -> Any:
        return dt.sgdmupdate(1.0, 3.0, 0.5, learn_rate)[0]

    value, slope = dt.jvp(final, (0.1,), (1.0,))
    assert float(value) == pytest.approx(1.0 + 0.9 * 0.5 - 0.3)
    assert float(slope) == pytest.approx(-3.0)


# dlupdate, clipping, regularisation ---------------------------------------------------------------------------------


def test_dlupdate() -> None:
    params, grads = {"w": np.ones(2), "b": 1.0}, {"w": np.full(2, 3.0), "b": 5.0}
    new = dt.dlupdate(lambda p, g: p - 0.1 * g, params, grads)
    assert np.allclose(new["w"], 0.7)
    assert new["b"] == 0.5
    low, high = dt.dlupdate(lambda p: (p - 1.0, p + 1.0), params)
    assert low["b"] == 0.0
    assert high["b"] == 2.0
    with pytest.raises(ValueError, match=r"grads has no 'b', which params has"):
        dt.dlupdate(lambda p, g: p, params, {"w": 1.0})
    with pytest.raises(ValueError, match="as many values"):
        dt.dlupdate(lambda p: (p,) if isinstance(p, float) else (p, p), params)


def test_clipping() -> None:
    grads = {"a": np.array([3.0, 4.0]), "b": dt.dlarray([0.3, 0.4]), "c": 12.0}
    clipped = dt.threshold_l2norm(grads, 1.0)
    assert np.allclose(clipped["a"], [0.6, 0.8])
    assert np.allclose(clipped["b"].numpy(), [0.3, 0.4])
    assert clipped["c"] == pytest.approx(1.0)
    together = dt.threshold_global_l2norm({"a": np.array([3.0, 4.0]), "c": 12.0}, 6.5)
    assert np.allclose(together["a"], [1.5, 2.0])
    assert together["c"] == 6.0
    bounded = dt.threshold_absolute_value(grads, 0.35)
    assert np.allclose(bounded["a"], 0.35)
    assert np.allclose(bounded["b"].numpy(), [0.3, 0.35])
    assert bounded["c"] == 0.35
    assert math.isnan(dt.threshold_absolute_value(math.nan, 1.0))
    assert dt.threshold_l2norm(grads, math.inf)["c"] == 12.0
    assert dt.threshold_l2norm(np.array([3e200, 4e200]), 5.0) == pytest.approx([3.0, 4.0])
    for function in (dt.threshold_l2norm, dt.threshold_global_l2norm, dt.threshold_absolute_value):
        with pytest.raises(ValueError, match="threshold must be a number of at least 0"):
            function(grads, -1.0)
        with pytest.raises(ValueError, match="threshold must be a number of at least 0"):
            function(grads, math.nan)


@pytest.mark.parametrize("clip", [dt.threshold_l2norm, dt.threshold_global_l2norm])
def test_clipping_is_differentiated(clip: Any) -> None:
    slope = dt.grad(lambda x: clip(x, 1.0)[0])(np.array([3.0, 4.0]))
    assert np.allclose(np.asarray(slope), [16.0 / 125.0, -12.0 / 125.0])


def test_regularisation() -> None:
    grads, params = {"W": np.ones(2), "b": 1.0}, {"W": np.array([2.0, -4.0]), "b": 3.0}
    only_weights = dt.l2_regularize(grads, params, 0.5, where=lambda path: path == "params['W']")
    assert np.allclose(only_weights["W"], [2.0, -1.0])
    assert only_weights["b"] == 1.0
    signs = dt.l1_regularize(grads, params, 0.5)
    assert np.allclose(signs["W"], [1.5, 0.5])
    assert signs["b"] == 1.5
    with pytest.raises(ValueError, match="factor must be a finite number of at least 0"):
        dt.l2_regularize(grads, params, -1.0)
    with pytest.raises(ValueError, match=r"grads has no .b."):
        dt.l1_regularize({"W": 1.0}, params, 0.1)


# Bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, -math.inf])
def test_bad_learning_rates(bad: float) -> None:
    for update in (
        lambda: dt.sgdmupdate(1.0, 1.0, learn_rate=bad),
        lambda: dt.rmspropupdate(1.0, 1.0, learn_rate=bad),
        lambda: dt.adamupdate(1.0, 1.0, None, None, 1, bad),
    ):
        with pytest.raises(ValueError, match=r"update\(learn_rate\): learn_rate must be a finite number of at least 0"):
            update()


def test_bad_hyperparameters() -> None:
    with pytest.raises(ValueError, match=r"momentum must be a number from 0 up to, but not including, 1; got 1"):
        dt.sgdmupdate(1.0, 1.0, momentum=1)
    with pytest.raises(ValueError, match="sq_grad_decay must be"):
        dt.rmspropupdate(1.0, 1.0, sq_grad_decay=-0.1)
    with pytest.raises(ValueError, match="epsilon must be"):
        dt.adamupdate(1.0, 1.0, None, None, 1, epsilon=-1e-8)
    with pytest.raises(ValueError, match="use 'standard' or 'hat'"):
        dt.adamupdate(1.0, 1.0, None, None, 1, epsilon_mode="b")
    with pytest.raises(TypeError, match=r"learn_rate must be one number; got '0\.1'"):
        dt.sgdmupdate(1.0, 1.0, learn_rate="0.1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="learn_rate must be one number"):
        dt.sgdmupdate(1.0, 1.0, learn_rate=np.ones(2))  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [0, -1, 1.5, math.nan])
def test_bad_iterations(bad: Any) -> None:
    with pytest.raises(ValueError, match="iteration must be a whole number of at least 1"):
        dt.adamupdate(1.0, 1.0, None, None, bad)


def test_trees_that_do_not_match() -> None:
    params = {"fc1": {"W": np.ones(3), "bias": 1.0}}
    with pytest.raises(ValueError, match=r"grads\['fc1'\] has no 'bias', which params\['fc1'\] has"):
        dt.sgdmupdate(params, {"fc1": {"W": np.ones(3)}})
    with pytest.raises(ValueError, match=r"vel\['fc1'\] is a leaf"):
        dt.sgdmupdate(params, params, {"fc1": 1.0})
    with pytest.raises(dt.ShapeError, match=r"params\['fc1'\]\['W'\] \(3,\), grads\['fc1'\]\['W'\] \(4,\)"):
        dt.sgdmupdate(params, {"fc1": {"W": np.ones(4), "bias": 1.0}})
    with pytest.raises(dt.ShapeError, match=r"avg_sqg"):
        dt.adamupdate(np.ones(2), np.ones(2), np.ones(2), np.ones(3), 2)
    with pytest.raises(dt.DTypeError, match="a state must have the dtype of its parameter"):
        dt.sgdmupdate(np.ones(2), np.ones(2), np.ones(2, np.float32))


@pytest.mark.parametrize(
    "leaf", ["text", np.arange(3), np.array(["a"]), np.array([None]), 1j, True, np.ones(2, complex), {1, 2}]
)
def test_leaves_that_cannot_be_updated(leaf: Any) -> None:
    with pytest.raises(TypeError, match=r"sgdmupdate\(params\['w'\]\)"):
        dt.sgdmupdate({"w": leaf}, {"w": leaf})


def test_check_finite_names_the_gradient() -> None:
    params = {"a": np.ones(2), "b": np.ones(2)}
    for bad in (math.nan, math.inf, -math.inf):
        grads = {"a": np.ones(2), "b": np.array([1.0, bad])}
        with pytest.raises(dt.NumericError, match=r"grads\['b'\].*must be finite"):
            dt.adamupdate(params, grads, None, None, 1, check_finite=True)
        dt.adamupdate(params, grads, None, None, 1)  # goes through, as in MATLAB
