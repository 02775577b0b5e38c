# SPDX-License-Identifier: MIT
"""The loop that the project started from: 100 steps of descent on (x2 - x1**2)**2 + (1 - x1)**2 from (2, 2).

Two scalars and six operations: what is measured is the price of differentiating anything at all.  Start with
`dualtape`, the loop as the README has it; all eager competitors run the same loss in the same loop.  Three
write the gradient by hand: in a function that is called like the others', written into the loop, and in C++.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..model import Case, Competitor, Prepared
from ..native import double, doubles, function, int64, pointer
from ..reference import tape

ITERATIONS = 100
RATE = 0.1


def loss(x1: Any, x2: Any) -> Any:
    """Return the post's function; any number type may come in."""
    return (x2 - x1**2) ** 2 + (1 - x1) ** 2


def reference() -> tuple[float, float, float]:
    """Return x1, x2 and the last loss by the textbook's gradient, which no competitor uses."""
    x1 = x2 = 2.0
    last = 0.0
    for _ in range(ITERATIONS):
        last = loss(x1, x2)
        step1 = -4.0 * x1 * (x2 - x1 * x1) - 2.0 * (1.0 - x1)
        step2 = 2.0 * (x2 - x1 * x1)
        x1, x2 = x1 - RATE * step1, x2 - RATE * step2
    return x1, x2, last


def dualtape() -> Callable[[], object]:
    import dualtape as dt

    def my_loss(x1: Any, x2: Any) -> Any:
        y = (x2 - x1**2) ** 2 + (1 - x1) ** 2
        dydx1, dydx2 = dt.dlgradient(y, x1, x2)
        return y, dydx1, dydx2

    def run() -> object:
        x1, x2 = dt.dlarray(2.0), dt.dlarray(2.0)
        for _ in range(ITERATIONS):
            loss, dydx1, dydx2 = dt.dlfeval(my_loss, x1, x2)
            x1 = x1 - RATE * dydx1
            x2 = x2 - RATE * dydx2
        return float(x1), float(x2), float(loss)

    return run


def floats_called() -> Callable[[], object]:
    def my_loss(x1: float, x2: float) -> tuple[float, float, float]:
        # Products, not **2, which costs floats twice as much: by hand one writes what is fast.
        a = x2 - x1 * x1
        b = 1 - x1
        y = a * a + b * b
        dydx2 = 2 * a
        dydx1 = -2 * dydx2 * x1 - 2 * b
        return y, dydx1, dydx2

    def run() -> object:
        x1, x2 = 2.0, 2.0
        for _ in range(ITERATIONS):
            loss, dydx1, dydx2 = my_loss(x1, x2)
            x1 = x1 - RATE * dydx1
            x2 = x2 - RATE * dydx2
        return x1, x2, loss

    return run


def floats_inlined() -> Callable[[], object]:
    def run() -> object:
        x1, x2 = 2.0, 2.0
        for _ in range(ITERATIONS):
            a = x2 - x1 * x1
            b = 1 - x1
            y = a * a + b * b
            dydx2 = 2 * a
            dydx1 = -2 * dydx2 * x1 - 2 * b
            x1 = x1 - RATE * dydx1
            x2 = x2 - RATE * dydx2
        return x1, x2, y

    return run


def pure_python() -> Callable[[], object]:
    slope = tape.value_and_grad(loss)

    def run() -> object:
        x1, x2 = 2.0, 2.0
        for _ in range(ITERATIONS):
            y, (dydx1, dydx2) = slope(x1, x2)
            x1 = x1 - RATE * dydx1
            x2 = x2 - RATE * dydx2
        return x1, x2, y

    return run


def xad() -> Callable[[], object]:
    import xad.adj_1st as ad

    def run() -> object:
        x1, x2 = 2.0, 2.0
        # One tape for the whole loop, recorded anew in each iteration, as XAD recommends.
        with ad.Tape() as active:
            for _ in range(ITERATIONS):
                a1, a2 = ad.Real(x1), ad.Real(x2)
                active.registerInput(a1)
                active.registerInput(a2)
                active.newRecording()
                y = loss(a1, a2)
                active.registerOutput(y)
                y.derivative = 1.0
                active.computeAdjoints()
                x1 = x1 - RATE * a1.derivative
                x2 = x2 - RATE * a2.derivative
            return x1, x2, y.value

    return run


def torch() -> Callable[[], object]:
    import torch

    torch.set_num_threads(1)

    def run() -> object:
        x1 = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        x2 = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        for _ in range(ITERATIONS):
            y = loss(x1, x2)
            dydx1, dydx2 = torch.autograd.grad(y, (x1, x2))
            x1 = (x1.detach() - RATE * dydx1).requires_grad_()
            x2 = (x2.detach() - RATE * dydx2).requires_grad_()
        return x1.item(), x2.item(), y.item()

    return run


def autograd() -> Callable[[], object]:
    from autograd import value_and_grad

    slope = value_and_grad(loss, (0, 1))

    def run() -> object:
        x1, x2 = 2.0, 2.0
        for _ in range(ITERATIONS):
            y, (dydx1, dydx2) = slope(x1, x2)
            x1 = x1 - RATE * dydx1
            x2 = x2 - RATE * dydx2
        return x1, x2, y

    return run


def casadi() -> Callable[[], object]:
    import casadi

    x1, x2 = casadi.SX.sym("x1"), casadi.SX.sym("x2")
    y = loss(x1, x2)
    slope: Any = casadi.Function("slope", [x1, x2], [y, *casadi.vertsplit(casadi.gradient(y, casadi.vertcat(x1, x2)))])
    buffer, call = slope.buffer()
    keep = (slope, buffer)  # the bare call does not keep alive what it works on
    point, result = np.empty(2), np.empty(3)  # one cell for each argument and result
    for i in range(2):
        buffer.set_arg(i, point[i : i + 1].data)
    for i in range(3):
        buffer.set_res(i, result[i : i + 1].data)

    def run(_: object = keep) -> object:
        point[:] = 2.0
        for _ in range(ITERATIONS):
            call()
            point[0] -= RATE * result[1]
            point[1] -= RATE * result[2]
        return point[0], point[1], result[0]

    return run


def jax_each() -> Callable[[], object]:
    import jax

    slope = jax.jit(jax.value_and_grad(loss, (0, 1)))

    def run() -> object:
        x1, x2 = 2.0, 2.0
        for _ in range(ITERATIONS):
            y, (dydx1, dydx2) = slope(x1, x2)
            x1 = x1 - RATE * dydx1
            x2 = x2 - RATE * dydx2
        return float(x1), float(x2), float(y)

    return run


def jax_loop() -> Callable[[], object]:
    import jax

    slope = jax.value_and_grad(loss, (0, 1))

    def step(_: Any, state: Any) -> Any:
        x1, x2, _ = state
        y, (dydx1, dydx2) = slope(x1, x2)
        return x1 - RATE * dydx1, x2 - RATE * dydx2, y

    descend = jax.jit(lambda x1, x2: jax.lax.fori_loop(0, ITERATIONS, step, (x1, x2, 0.0)))
    return lambda: [float(x) for x in descend(2.0, 2.0)]


def numba() -> Callable[[], object]:
    import numba

    by_hand = numba.njit(floats_inlined())
    # The loop's bounds are closure values: numba freezes them, which is fair to a compiler.
    return lambda: by_hand()


def native() -> Prepared:
    descend = function("seed", "descend", int64, double, double, double, doubles)
    result = np.empty(3)
    address = pointer(result)

    def answer() -> object:
        descend(ITERATIONS, RATE, 2.0, 2.0, address)
        return result

    return Prepared(lambda: descend(ITERATIONS, RATE, 2.0, 2.0, address), answer)


def cases(quick: bool) -> list[Case]:
    """One case; it is short enough to be the same in a quick run."""
    competitors = (
        Competitor("dualtape", dualtape, ours=True),
        Competitor("Python floats", floats_called, "by hand"),
        Competitor("Python floats, inlined", floats_inlined, "by hand"),
        Competitor("Python tape", pure_python, "pure Python"),
        Competitor("XAD", xad),
        Competitor("PyTorch", torch),
        Competitor("autograd", autograd),
        Competitor("CasADi, bound buffers", casadi, "compiled"),
        Competitor("JAX jit, each step", jax_each, "compiled"),
        Competitor("JAX fori_loop", jax_loop, "compiled"),
        Competitor("numba", numba, "by hand"),
        Competitor("C++", native, "by hand"),
    )
    return [Case("seed", ITERATIONS, "iteration", reference, competitors, rtol=1e-10, atol=1e-12, featured=True)]
