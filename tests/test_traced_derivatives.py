# SPDX-License-Identifier: MIT
"""Derivatives, updates, optimizers and schedules inside programs: the bits of the eager calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numeric import close
from steps import assert_same_bits
from test_tracing import check

import dualtape as dt
from dualtape import numpy as dnp


def loss(w: Any, x: Any) -> Any:
    return (dnp.tanh(x @ w) ** 2).sum() + (w * w * w).sum() / 3


def normal(*shapes: tuple[int, ...]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda rng: tuple(dt.dlarray(rng.normal(size=shape)) for shape in shapes)


WX = normal((3,), (4, 3))
V = normal((3,))


@dt.custom_jvp
def halved_slope(x: Any) -> Any:
    return dnp.sin(x)


@halved_slope.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return dnp.sin(primals[0]), 0.5 * dnp.cos(primals[0]) * tangents[0]


@dt.custom_vjp
def clipped_slope(x: Any) -> Any:
    return x * x


clipped_slope.defvjp(lambda x: (x * x, x), lambda x, ct: (dnp.clip(2 * x * ct, -1, 1),))


def verbs(w: Any, x: Any) -> Any:
    y = loss(w, x)
    return y, *dt.dlgradient(y, w, x)


def higher_verbs(w: Any, x: Any) -> Any:
    (slope,) = (dt.dlgradient(loss(w, x), w, enable_higher_derivatives=True),)
    return dt.dlgradient((slope * slope).sum(), w)


def linear_twice(w: Any, x: Any) -> Any:
    out, push = dt.linearize(lambda w: dnp.tanh(x @ w), w)
    return out, push(w), push(2 * w)


def pulled(w: Any, x: Any) -> Any:
    out, pull = dt.vjp(lambda w, x: dnp.tanh(x @ w), w, x)
    return out, *pull(out), *pull(out * 2)


def of_trees(w: Any, x: Any) -> Any:
    tree = {"w": w, "b": [x[0], x[1].sum()]}
    return dt.value_and_grad(lambda t: (t["w"] * t["b"][0]).sum() * t["b"][1])(tree)


DERIVATIVES: dict[str, Callable[..., Any]] = {
    "dlgradient": lambda w, x: dt.dlfeval(verbs, w, x),
    "dlgradient twice": lambda w, x: dt.dlfeval(higher_verbs, w, x),
    "grad": lambda w, x: dt.grad(loss, (0, 1))(w, x),
    "value_and_grad": lambda w, x: dt.value_and_grad(loss)(w, x),
    "has_aux": lambda w, x: dt.value_and_grad(lambda w: (loss(w, x), {"sum": w.sum()}), has_aux=True)(w),
    "trees": of_trees,
    "jvp": lambda w, x: dt.jvp(loss, (w, x), (w * 2, x + 1)),
    "vjp": pulled,
    "jacfwd": lambda w, x: dt.jacfwd(lambda w: dnp.tanh(x @ w))(w),
    "jacrev": lambda w, x: dt.jacrev(lambda w: dnp.tanh(x @ w))(w),
    "hessian": lambda w, x: dt.hessian(loss)(w, x),
    "hvp": lambda w, x: dt.hvp(lambda w: loss(w, x))(w, w + 1),
    "linearize": linear_twice,
    "reverse over reverse": lambda w, x: dt.grad(lambda w: (dt.grad(loss)(w, x) ** 2).sum())(w),
    "forward over reverse": lambda w, x: dt.jvp(dt.grad(loss), (w, x), (w, x))[1],
    "reverse over forward": lambda w, x: dt.grad(lambda w: dt.jvp(loss, (w, x), (w, x))[1])(w),
    "third order": lambda w, x: dt.grad(lambda a: dt.grad(lambda b: dt.grad(lambda c: loss(w * c, x))(b))(a))(w[0]),
    "custom_jvp": lambda w, x: (dt.grad(lambda w: halved_slope(w).sum())(w), dt.jvp(halved_slope, (w,), (w,))),
    "custom_vjp": lambda w, x: dt.grad(lambda w: clipped_slope(w).sum())(w),
    "checkpoint": lambda w, x: dt.grad(dt.checkpoint(loss))(w, x),
    "stop_gradient": lambda w, x: dt.grad(lambda w: (dt.stop_gradient(w) * w).sum())(w),
    "unconnected": lambda w, x: dt.grad(lambda w, x: (x * x).sum())(w, x),
    "logsumexp": lambda w, x: dt.grad(lambda w: dt.logsumexp(x @ w))(w),
    "of a decision": lambda w, x: dt.grad(lambda w: loss(w, x) if w.sum() > -100 else (w * 0).sum())(w),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name: str) -> None:
    check(DERIVATIVES[name], WX)


def test_the_divergence_and_the_laplacian() -> None:
    def f(x: Any) -> Any:
        u = x**3
        return dt.dldivergence(u, x), dt.dllaplacian((x**4).sum(0, keepdims=True), x), dt.dljacobian(u, x)

    check(lambda x: dt.dlfeval(f, x), normal((2, 3)))


# ---- updates --------------------------------------------------------------------------------------------------


def params_of(w: Any) -> Any:
    return {"w": w, "b": [w[0] * 2, w * w]}


UPDATES: dict[str, Callable[..., Any]] = {
    "dlupdate": lambda w, g, t: dt.dlupdate(lambda p, q: p - 0.1 * q, params_of(w), params_of(g)),
    "sgdm": lambda w, g, t: dt.sgdmupdate(params_of(w), params_of(g), params_of(g), 0.1, 0.9),
    "first sgdm": lambda w, g, t: dt.sgdmupdate(params_of(w), params_of(g), None, t / 100, momentum=0.5),
    "adam": lambda w, g, t: dt.adamupdate(
        params_of(w), params_of(g), params_of(g), params_of(abs(g)), t, 0.01 / t, 0.8, 0.9, 1e-7
    ),
    "first adam": lambda w, g, t: dt.adamupdate(params_of(w), params_of(g), None, None, 1),
    "rmsprop": lambda w, g, t: dt.rmspropupdate(params_of(w), params_of(g), params_of(abs(g)), t / 50, 0.8),
    "l2norm": lambda w, g, t: dt.threshold_l2norm([w, g * 100], 1.5),
    "global l2norm": lambda w, g, t: dt.threshold_global_l2norm({"a": w, "b": g * 100}, 1.5),
    "absolute value": lambda w, g, t: dt.threshold_absolute_value((w, g), 0.5),
    "l1": lambda w, g, t: dt.l1_regularize([w], [g], 0.1),
    "l2": lambda w, g, t: dt.l2_regularize([w], [g], 0.1),
}


@pytest.mark.parametrize("name", UPDATES)
def test_updates(name: str) -> None:
    check(
        UPDATES[name],
        lambda rng: (*normal((3,), (3,))(rng), dt.dlarray(float(rng.integers(1, 50)))),
        compare=close if name in NORMS else assert_same_bits,
    )


#: Clipping by a norm: the eager core adds in an order of its own, so only rounding is promised.
NORMS = {"clipped", "globally", "l2norm", "global l2norm"}

OPTIMIZERS = sorted(set(dt.optim.__all__) - {"Optimizer", "LBFGS"})
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "decay": {"weight_decay": 0.1, "l1": 0.01},
    "clipped": {"gradient_threshold": 0.5},
    "globally": {"gradient_threshold": 0.5, "gradient_threshold_method": "global-l2norm", "maximize": True},
    "by value": {"gradient_threshold": 0.5, "gradient_threshold_method": "absolute-value"},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str, options: str) -> None:
    """Several updates in a row, the iteration as a number that counts, and parameters of two kinds."""
    optimizer = getattr(dt.optim, name)(0.05, **OPTIONS[options])

    def run(w: Any, g: Any) -> Any:
        params, state = {"w": w, "b": w[0]}, None
        for k in range(3):
            grads = {"w": g * (k + 1) + params["w"], "b": g[1] - params["b"]}
            state = optimizer.init(params) if state is None else state
            params, state = optimizer.update(grads, state, params)
        return params, {key: value for key, value in state.items() if key != "iteration"}

    check(run, normal((3,), (3,)), times=2, compare=close if options in NORMS else assert_same_bits)


def test_an_optimizer_with_a_traced_iteration_and_rate() -> None:
    optimizer = dt.optim.Adam(0.1)

    def run(w: Any, g: Any, t: Any) -> Any:
        params, state = optimizer.update(g, optimizer.init(w) | {"iteration": t}, w)
        return params, state["iteration"], state

    check(run, lambda rng: (*normal((3,), (3,))(rng), dt.dlarray(float(rng.integers(1, 9)))))


@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_partial_is_as_precise_as_the_result(shape: tuple[int, ...]) -> None:
    """A float32 divisor of a float64 value: its reciprocal is a float64 number, traced or not."""
    x, y = np.full(shape, 0.12573022, np.float32), np.full(shape, 0.3)
    gradient = dt.grad(lambda y, x: dnp.sum(y / x))
    wanted = 1 / x.astype(np.float64)
    np.testing.assert_array_equal(gradient(y, x), wanted)
    np.testing.assert_array_equal(dt.trace(gradient, y, x, contract=False)(y, x), wanted)


# ---- schedules ------------------------------------------------------------------------------------------------

SCHEDULES: dict[str, Any] = {
    "constant": dt.schedules.constant(0.1),
    "time_based_decay": dt.schedules.time_based_decay(0.2, 0.01),
    "exponential": dt.schedules.exponential(0.1, 0.99),
    "piecewise": dt.schedules.piecewise(0.1, 0.5, 10),
    "polynomial": dt.schedules.polynomial(0.1, 40),
    "cosine": dt.schedules.cosine(0.1, 40),
    "cyclical": dt.schedules.cyclical(0.01, 10, 8),
    "one_cycle": dt.schedules.one_cycle(0.1, 40),
    "warm_up": dt.schedules.warm_up(0.1, 10),
    "chain": dt.schedules.chain(dt.schedules.warm_up(0.1, 5), dt.schedules.cosine(0.1, 30)),
    "per_epoch": dt.schedules.per_epoch(dt.schedules.exponential(0.1, 0.9), 7),
}


def test_all_schedules_are_here() -> None:
    others = {"PlateauState", "PlateauTracker", "Schedule", "reduce_on_plateau"}
    assert set(SCHEDULES) == set(dt.schedules.__all__) - others


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    """At every iteration, from one program that grows where the schedule decides."""
    schedule = SCHEDULES[name]
    program = dt.trace(lambda k, x: schedule(k) * x, 3.0, 1.0, contract=False)
    for k in range(1, 50):
        assert float(program(float(k), 1.0)) == float(schedule(dt.dlarray(float(k)))), k
        assert math.isclose(float(program(float(k), 1.0)), schedule(k), rel_tol=1e-14, abs_tol=1e-17), k
