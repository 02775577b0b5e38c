# SPDX-License-Identifier: MIT
"""What one call from Python costs: value and gradient of the seed's loss at two numbers, a thousand calls in a run.

The arithmetic takes a few nanoseconds; the rest is how arguments come in and results go out. Start with `dualtape`. The
limit is a C function that takes floats and gives a tuple. Those with bound buffers read and write fixed memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..model import Answer, Case, Competitor, Prepared
from ..native import module
from .seed import loss

CALLS = 1000
X1, X2 = 1.5, 0.25


def reference() -> Answer:
    """Return the value and the slopes by the textbook."""
    off = X2 - X1 * X1
    return (1 - X1) ** 2 + off**2, -4 * X1 * off - 2 * (1 - X1), 2 * off


def repeated(f: Callable[..., Any]) -> Callable[[], Any]:
    """Return the run: so many calls with two floats."""

    def run() -> Any:
        for _ in itertools.repeat(None, CALLS):
            y = f(X1, X2)
        return y

    return run


def bound(f: Callable[[], Any], look: Callable[[], Answer]) -> Prepared:
    """Prepare calls without arguments."""

    def run() -> None:
        for _ in itertools.repeat(None, CALLS):
            f()

    def answer() -> Answer:
        f()
        return look()

    return Prepared(run, answer)


def _slope() -> Callable[..., Any]:
    import dualtape as dt

    return dt.value_and_grad(loss, (0, 1))


def _as_floats(f: Callable[[], Any]) -> Prepared:
    def answer() -> Answer:
        y, (d1, d2) = f()
        return float(y), float(d1), float(d2)

    return Prepared(f, answer)


def dualtape() -> Prepared:
    import dualtape as dt

    slope = _slope()

    def flat(x1: Any, x2: Any) -> Any:
        """What the C function returns: a tuple of three."""
        y, slopes = slope(x1, x2)
        return y, *slopes

    run = repeated(dt.trace(flat, X1, X2))
    return Prepared(run, lambda: [float(number) for number in run()])


def dualtape_bound() -> Prepared:
    import dualtape as dt

    results = np.empty(()), (np.empty(()), np.empty(()))
    call = dt.trace(_slope(), X1, X2).bind((np.array(X1), np.array(X2)), results)
    return bound(call, lambda: (results[0], *results[1]))


def dualtape_accelerated() -> Prepared:
    import dualtape as dt

    return _as_floats(repeated(dt.dlaccelerate(_slope())))


def dualtape_eager() -> Prepared:
    return _as_floats(repeated(_slope()))


def _casadi() -> Any:
    import casadi

    x1, x2 = casadi.SX.sym("x1"), casadi.SX.sym("x2")
    y = loss(x1, x2)
    return casadi.Function("slope", [x1, x2], [y, *casadi.vertsplit(casadi.gradient(y, casadi.vertcat(x1, x2)))])


def casadi() -> Prepared:
    run = repeated(_casadi())
    return Prepared(run, lambda: [float(y) for y in run()])


def casadi_bound() -> Prepared:
    slope = _casadi()
    buffer, call = slope.buffer()
    point, result = np.array([X1, X2]), np.empty(3)
    for i in range(2):
        buffer.set_arg(i, point[i : i + 1].data)
    for i in range(3):
        buffer.set_res(i, result[i : i + 1].data)
    keep = slope, buffer, point  # the bare call does not keep alive what it works on
    return bound(call, lambda _=keep: result)  # type: ignore[misc]


def jax() -> Prepared:
    import jax

    return _as_floats(repeated(jax.jit(jax.value_and_grad(loss, (0, 1)))))


def _by_hand(x1: float, x2: float) -> tuple[float, float, float]:
    a = x2 - x1 * x1
    b = 1 - x1
    d2 = 2 * a
    return a * a + b * b, -2 * d2 * x1 - 2 * b, d2


def numba() -> Callable[[], Answer]:
    import numba

    return repeated(numba.njit(_by_hand))


def floats() -> Callable[[], Answer]:
    return repeated(_by_hand)


def native() -> Callable[[], Answer]:
    return repeated(module("fastcall").slope)


def cases(quick: bool) -> list[Case]:
    """One case, the same in a quick run."""
    competitors = [
        Competitor("dualtape, program", dualtape, "compiled", ours=True),
        Competitor("dualtape, bound buffers", dualtape_bound, "compiled", ours=True),
        Competitor("dualtape, dlaccelerate", dualtape_accelerated, "compiled", ours=True),
        Competitor("dualtape, eager", dualtape_eager, ours=True),
        Competitor("CasADi", casadi, "compiled"),
        Competitor("CasADi, bound buffers", casadi_bound, "compiled"),
        Competitor("JAX jit", jax, "compiled"),
        Competitor("numba", numba, "by hand"),
        Competitor("Python floats", floats, "by hand"),
        Competitor("C, METH_FASTCALL", native, "by hand"),
    ]
    return [Case("calls", CALLS, "call", reference, competitors, featured=True)]
