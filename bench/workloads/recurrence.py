# SPDX-License-Identifier: MIT
"""A long chain of cheap scalar operations: x = x * a + b / x, three nodes a step, up to 10^7 nodes.

What is measured is the price of a node, forwards and backwards together, in time and in bytes.  Start with
`recurrence`.  The constants make the step's slope at its fixed point 1 - 2e-7, so that all adjoints along the
chain stay of order one: no competitor gains by skipping zeros or loses to denormal numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..model import Answer, Case, Competitor
from ..native import double, doubles, function, int64, pointer
from ..reference import tape

X, A, B = 1.0, 1.0 - 1e-7, 2e-7


def recurrence(steps: int) -> Callable[[Any, Any, Any], Any]:
    """Return the function to differentiate, of any three numbers."""

    def run(x: Any, a: Any, b: Any) -> Any:
        for _ in range(steps):
            x = x * a + b / x
        return x

    return run


def forward_by_hand(steps: int) -> tuple[float, float, float, float]:
    """Return the value and its derivatives along x, a and b by pushing three tangents along: the reference.

    The competitors all go backwards, so that this shares nothing with them.
    """
    x, dx, da, db = X, 1.0, 0.0, 0.0
    for _ in range(steps):
        slope = A - B / (x * x)
        dx, da, db = slope * dx, slope * da + x, slope * db + 1.0 / x
        x = x * A + B / x
    return x, dx, da, db


def dualtape(steps: int) -> Callable[[], Answer]:
    import dualtape as dt

    f = recurrence(steps)

    def both(x: Any, a: Any, b: Any) -> Any:
        y = f(x, a, b)
        return y, dt.dlgradient(y, x, a, b)

    inputs = [dt.dlarray(v) for v in (X, A, B)]

    def run() -> Answer:
        y, slopes = dt.dlfeval(both, *inputs)
        return float(y), [float(s) for s in slopes]

    return run


def floats_by_hand(steps: int) -> Callable[[], Answer]:
    def run() -> Answer:
        x, path = X, []
        for _ in range(steps):
            path.append(x)
            x = x * A + B / x
        dx, da, db = 1.0, 0.0, 0.0
        for v in reversed(path):
            da += dx * v
            inverse = 1.0 / v
            db += dx * inverse
            dx *= A - B * inverse * inverse
        return x, dx, da, db

    return run


def pure_python(steps: int) -> Callable[[], Answer]:
    both = tape.value_and_grad(recurrence(steps))
    return lambda: both(X, A, B)


def xad(steps: int) -> Callable[[], Answer]:
    import xad.adj_1st as ad

    f = recurrence(steps)

    def run() -> Answer:
        with ad.Tape() as active:
            inputs = [ad.Real(v) for v in (X, A, B)]
            active.registerInputs(inputs)
            active.newRecording()
            y = f(*inputs)
            active.registerOutput(y)
            y.derivative = 1.0
            active.computeAdjoints()
            return y.value, [v.derivative for v in inputs]

    return run


def torch(steps: int) -> Callable[[], Answer]:
    import torch

    torch.set_num_threads(1)
    f = recurrence(steps)

    def run() -> Answer:
        inputs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (X, A, B)]
        y = f(*inputs)
        return y.item(), [g.item() for g in torch.autograd.grad(y, inputs)]

    return run


def autograd(steps: int) -> Callable[[], Answer]:
    from autograd import value_and_grad

    both = value_and_grad(recurrence(steps), (0, 1, 2))
    return lambda: both(X, A, B)


def jax(steps: int) -> Callable[[], Answer]:
    import jax

    def f(x: Any, a: Any, b: Any) -> Any:
        return jax.lax.scan(lambda x, _: (x * a + b / x, None), x, None, length=steps)[0]

    both = jax.jit(jax.value_and_grad(f, (0, 1, 2)))
    return lambda: jax.tree_util.tree_map(float, both(X, A, B))


def numba(steps: int) -> Callable[[], Answer]:
    import numba

    @numba.njit
    def run(x, a, b):  # type: ignore[no-untyped-def]
        path = np.empty(steps)
        for i in range(steps):
            path[i] = x
            x = x * a + b / x
        dx, da, db = 1.0, 0.0, 0.0
        for i in range(steps - 1, -1, -1):
            v = path[i]
            inverse = 1.0 / v
            da += dx * v
            db += dx * inverse
            dx *= a - b * inverse * inverse
        return x, dx, da, db

    return lambda: run(X, A, B)


def native(name: str) -> Callable[[int], Callable[[], Answer]]:
    def build(steps: int) -> Callable[[], Answer]:
        call = function("recurrence", name, int64, double, double, double, doubles)
        result = np.empty(4)
        address = pointer(result)

        def run() -> Answer:
            call(steps, X, A, B, address)
            return result

        return run

    return build


def cases(quick: bool) -> list[Case]:
    """10^5 nodes for everyone and 10^7 for those who can; in a quick run a tenth and a hundredth of that."""
    sizes = [("10^4", 3_333), ("10^5", 33_333)] if quick else [("10^5", 33_333), ("10^7", 3_333_333)]
    return [_case(label, steps, everyone=i == 0) for i, (label, steps) in enumerate(sizes)]


def _case(size: str, steps: int, everyone: bool) -> Case:
    def competitor(
        name: str, build: Callable[[int], Callable[[], Answer]], how: str = "eager", ours: bool = False
    ) -> Competitor:
        return Competitor(name, lambda: build(steps), how, ours)

    competitors = [
        competitor("dualtape", dualtape, ours=True),
        competitor("Python floats", floats_by_hand, "by hand"),
        competitor("Python tape", pure_python, "pure Python"),
        competitor("XAD", xad),
    ]
    if everyone:  # 10^7 nodes take these more than a minute and many gigabytes
        competitors += [competitor("PyTorch", torch), competitor("autograd", autograd)]
    competitors += [
        competitor("JAX scan", jax, "compiled"),
        competitor("numba", numba, "by hand"),
        competitor("C++ tape", native("on_tape")),
        competitor("C++", native("by_hand"), "by hand"),
    ]
    return Case(
        f"recurrence of {size} nodes",
        3 * steps,
        "node",
        lambda: forward_by_hand(steps),
        competitors,
        rtol=1e-7,  # the roundings of millions of steps, in different orders
        memory=True,
        featured=not everyone,
    )
