# SPDX-License-Identifier: MIT
"""Random programs: reverse mode, forward mode, second order and central differences agree on all of them.

Hypothesis writes a program as a list of steps over a pool of arrays: elementwise ops of the table, broadcasting,
slices, reductions, matrix products, assignments, branches on values. Steps are chosen so that values stay of the
order of one and away from kinks, where differences would not tell. DUALTAPE_EXAMPLES sets the number of programs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numeric import check_derivatives

import dualtape as dt
from dualtape import _core
from dualtape import numpy as dnp

EXAMPLES = int(os.environ.get("DUALTAPE_EXAMPLES", "60"))
SHAPES = [(), (3,), (2, 3), (2, 1), (3, 2), (1, 3), (2, 2, 3)]
TABLE = {row["name"]: row for row in _core.op_table()}


# Ops of one operand that are smooth on (-0.9, 0.9) or, shifted by two, on (1.1, 2.9).
CENTRED = [
    "sin",
    "cos",
    "tanh",
    "arctan",
    "sinh",
    "cosh",
    "arcsin",
    "arccos",
    "arctanh",
    "arcsinh",
    "exp",
    "expm1",
    "exp2",
    "erf",
    "erfc",
    "logistic",
    "softplus",
    "gelu",
    "tan",
    "square",
    "negative",
    "log1p",
    "sinc",
]
SHIFTED = ["log", "sqrt", "reciprocal", "cbrt", "log2", "log10", "gammaln", "digamma", "arccosh", "absolute", "relu"]
BINARY = ["add", "subtract", "multiply", "true_divide", "power", "arctan2", "hypot", "logaddexp", "maximum", "minimum"]


def squeeze(x: Any) -> Any:
    """Into (-0.9, 0.9), so that any chain of steps stays tame."""
    return 0.9 * dnp.tanh(x)


def apply_binary(name: str, a: Any, b: Any) -> Any:
    a, b = squeeze(a), squeeze(b)
    if name in ("true_divide", "power", "arctan2", "hypot"):
        a, b = a + 2, b + 2
    if name in ("maximum", "minimum"):
        b = b + 2.5  # which one it is does not change within a step of the differences
    return getattr(_core.elementwise, name)(a, b)


def broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    try:
        return len(np.broadcast_shapes(a, b)) <= 3
    except ValueError:
        return False


Step = Callable[[list[Any]], Any]


@st.composite
def steps(draw: Any, pool: list[tuple[int, ...]]) -> tuple[Step, tuple[int, ...]]:
    """A step on earlier values and the shape of what it gives; None where it changes nothing."""
    i = draw(st.integers(0, len(pool) - 1))
    a = pool[i]
    kind = draw(
        st.sampled_from(
            ["unary", "unary", "binary", "binary", "reduce", "index", "reshape", "matmul", "assign", "branch"]
        )
    )
    if kind == "binary":
        j = draw(st.sampled_from([j for j, b in enumerate(pool) if broadcasts(a, b)]))
        name = draw(st.sampled_from(BINARY))
        return lambda v: apply_binary(name, v[i], v[j]), np.broadcast_shapes(a, pool[j])
    if kind == "reduce" and a:
        name = draw(st.sampled_from(["sum", "mean", "prod", "max", "min", "logsumexp", "var"]))
        axis = draw(st.integers(-len(a), len(a) - 1))
        keepdims = draw(st.booleans())
        spread = np.linspace(0, 3, a[axis]).reshape([-1] + [1] * (len(a) - 1 - axis % len(a)))

        def reduce(v: list[Any]) -> Any:
            x = squeeze(v[i]) * 0.1 + spread  # elements differ, so that the extreme one is clear
            function = dt.logsumexp if name == "logsumexp" else getattr(dnp, name)
            return function(x, axis=axis, keepdims=keepdims)

        return reduce, np.empty(a).sum(axis=axis, keepdims=keepdims).shape
    if kind == "index" and a:
        options = [np.s_[0], np.s_[-1:], np.s_[::-1], np.s_[..., None], np.s_[np.array([0, 0, -1])]]
        if len(a) > 1:
            options += [np.s_[:, 0], np.s_[0, ..., ::2], np.s_[:, np.array([0, -1])]]
        index = draw(st.sampled_from(options))
        shape = np.empty(a)[index].shape
        if len(shape) <= 3:
            return lambda v: v[i][index], shape
    if kind == "reshape" and len(a) > 1:
        if draw(st.booleans()):
            return lambda v: v[i].reshape(-1), (int(np.prod(a)),)
        return lambda v: dnp.swapaxes(v[i], 0, -1), (a[-1], *a[1:-1], a[0])
    if kind == "matmul" and len(a) == 2:
        fitting = [j for j, b in enumerate(pool) if len(b) in (1, 2) and b[0] == a[1]]
        if fitting:
            j = draw(st.sampled_from(fitting))
            return lambda v: squeeze(v[i]) @ squeeze(v[j]), (a[0], *pool[j][1:])
    if kind == "assign" and a:
        fitting = [j for j, b in enumerate(pool) if broadcasts(a[1:], b) and np.broadcast_shapes(a[1:], b) == a[1:]]
        if fitting:
            j, row = draw(st.sampled_from(fitting)), draw(st.integers(-a[0], a[0] - 1))
            augmented = draw(st.booleans())

            def assign(v: list[Any]) -> Any:
                x = v[i] * 1.0
                if augmented:
                    x[row] += squeeze(v[j])
                else:
                    x[row] = squeeze(v[j]) * x[row]
                return x

            return assign, a
    if kind == "branch":

        def branch(v: list[Any]) -> Any:
            x = v[i]
            y = dnp.where(squeeze(x) > -2, x * 1.5, dnp.log(x * 0))  # the branch not taken is infinite
            return y if float((x * 0).sum()) == 0 else -y

        return branch, a
    if draw(st.booleans()):
        name = draw(st.sampled_from(CENTRED))
        return lambda v: getattr(_core.elementwise, name)(squeeze(v[i])), a
    name = draw(st.sampled_from(SHIFTED))
    return lambda v: getattr(_core.elementwise, name)(squeeze(v[i]) + 2), a


@st.composite
def programs(draw: Any) -> tuple[Callable[..., Any], list[np.ndarray]]:
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    pool, body = list(shapes), []
    for _ in range(draw(st.integers(1, 8))):
        step, shape = draw(steps(pool))
        body.append(step)
        pool.append(shape)

    def program(*inputs: Any) -> Any:
        values = [dnp.asarray(x) * 1.0 for x in inputs]
        for step in body:
            values.append(step(values))
        # every value has a say, so that no step is dead
        return sum(dnp.sin(value).sum() * (0.3 + 0.1 * k) for k, value in enumerate(values)) + squeeze(values[-1])

    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return program, [rng.uniform(-1, 1, shape) for shape in shapes]


@given(programs())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_modes_agree_on_random_programs(example: tuple[Callable[..., Any], list[np.ndarray]]) -> None:
    program, inputs = example
    with np.errstate(all="ignore"):
        check_derivatives(program, *inputs, rtol=1e-5, atol=1e-6)


@given(programs())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_transformations_agree_on_random_programs(example: tuple[Callable[..., Any], list[np.ndarray]]) -> None:
    """What is computed in several ways comes out alike: Jacobians, linear maps, checkpoints, Hessians."""
    program, inputs = example

    def f(x: Any) -> Any:
        return program(x, *inputs[1:])

    def loss(x: Any) -> Any:
        return dnp.sin(f(x)).sum()

    def close(got: Any, want: Any) -> None:
        np.testing.assert_allclose(dt.extractdata(got), dt.extractdata(want), rtol=1e-9, atol=1e-10)

    x = inputs[0]
    with np.errstate(all="ignore"):
        jacobian = dt.jacfwd(f)(x)
        close(dt.jacrev(f)(x), jacobian)
        v = np.cos(np.arange(x.size)).reshape(x.shape)
        along = dt.extractdata(jacobian).reshape(-1, x.size) @ v.ravel()
        close(dt.linearize(f, x)[1](v).reshape(-1), along)
        close(dt.grad(dt.checkpoint(loss))(x), dt.grad(loss)(x))
        hessian = dt.hessian(loss)(x)
        close(dt.jacrev(dt.grad(loss))(x), hessian)
        close(dt.jacfwd(dt.grad(dt.checkpoint(loss)))(x), hessian)
        close(dt.grad(lambda x: dt.jvp(loss, (x,), (v,))[1])(x), dt.hvp(loss)(x, v))
        gradient = dt.dlfeval(lambda x: dt.dlgradient(loss(x), x), dt.dlarray(x))
        close(gradient, dt.grad(loss)(x))


def test_the_ops_of_the_programs_are_in_the_table() -> None:
    for name in [*CENTRED, *SHIFTED, *BINARY]:
        assert any(TABLE[name]["differentiable"])
    assert len(CENTRED) + len(SHIFTED) + len(BINARY) > 35
