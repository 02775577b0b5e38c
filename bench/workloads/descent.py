# SPDX-License-Identifier: MIT
"""One long run in `dt.loop`: the seed's descent and Adam for 10^6 iterations, and descent for 10^8 for its memory.

Nothing can be done side by side here: what is measured is the latency of an iteration. Start with `dualtape`. The rate
is so small that the run is still on its way at the end: an answer is not just the minimum, and no moment becomes so
small that processors slow down.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..model import Answer, Case, Competitor
from ..native import double, doubles, function, int64, pointer
from ..reference import updates
from .rates import BETA1, BETA2, EPSILON, START, initial, steps


def _rate(iterations: int) -> float:
    return 0.5 / iterations


def reference(method: str, iterations: int) -> Answer:
    """Return where the run ends, in Python floats and by the textbook's gradient."""
    x1 = x2 = START
    rate = _rate(iterations)
    first: tuple[Any, Any] = (None, None)
    second: tuple[Any, Any] = (None, None)
    for t in range(1, iterations + 1):
        d1 = -4.0 * x1 * (x2 - x1 * x1) - 2.0 * (1.0 - x1)
        d2 = 2.0 * (x2 - x1 * x1)
        if method == "descent":
            x1, x2 = x1 - rate * d1, x2 - rate * d2
        else:
            x1, *first = updates.adam(x1, d1, *first, t, rate)  # type: ignore[assignment]
            x2, *second = updates.adam(x2, d2, *second, t, rate)  # type: ignore[assignment]
    return x1, x2


def dualtape(method: str, iterations: int) -> Callable[[], Answer]:
    import dualtape as dt

    step = steps()[method == "Adam"]

    def run() -> Answer:
        done = dt.loop(step, initial(method), iterations=iterations, learn_rate=_rate(iterations), record_every=None)
        return [float(x) for x in (done.state if method == "descent" else done.state[0])]

    return run


def jax(method: str, iterations: int) -> Callable[[], Answer]:
    import jax

    from .rates_frameworks import jax_steps

    step = jax_steps()[method]

    @jax.jit
    def train(rate: Any) -> Any:
        return jax.lax.fori_loop(0, iterations, lambda t, state: step(state, rate, t + 1.0), initial(method))

    def run() -> Answer:
        state = jax.block_until_ready(train(_rate(iterations)))
        return state if method == "descent" else state[0]

    return run


def numba(method: str, iterations: int) -> Callable[[], Answer]:
    import numba

    @numba.njit
    def descent(iterations, rate):  # type: ignore[no-untyped-def]
        x1 = x2 = START
        for _ in range(iterations):
            a = x2 - x1 * x1
            b = 1 - x1
            d2 = 2 * a
            x1 = x1 - rate * (-2 * d2 * x1 - 2 * b)
            x2 = x2 - rate * d2
        return x1, x2

    @numba.njit
    def adam(iterations, rate):  # type: ignore[no-untyped-def]
        x1 = x2 = START
        m1 = m2 = v1 = v2 = 0.0
        power1 = power2 = 1.0
        for _ in range(iterations):
            power1 = max(power1 * BETA1, 1e-300)  # not so small that processors slow down
            power2 = max(power2 * BETA2, 1e-300)
            root = np.sqrt(1.0 - power2)
            factor = rate * root / (1.0 - power1)
            a = x2 - x1 * x1
            b = 1 - x1
            d2 = 2 * a
            d1 = -2 * d2 * x1 - 2 * b
            m1 = BETA1 * m1 + (1.0 - BETA1) * d1
            v1 = BETA2 * v1 + (1.0 - BETA2) * d1 * d1
            m2 = BETA1 * m2 + (1.0 - BETA1) * d2
            v2 = BETA2 * v2 + (1.0 - BETA2) * d2 * d2
            x1 -= factor * m1 / (np.sqrt(v1) + EPSILON * root)
            x2 -= factor * m2 / (np.sqrt(v2) + EPSILON * root)
        return x1, x2

    train = descent if method == "descent" else adam
    return lambda: train(iterations, _rate(iterations))


def native(method: str, iterations: int) -> Callable[[], Answer]:
    library, name = ("seed", "descend") if method == "descent" else ("descent", "adam")
    call = function(library, name, int64, double, double, double, doubles)
    result = np.empty(3)
    address = pointer(result)

    def run() -> Answer:
        call(iterations, _rate(iterations), START, START, address)
        return result[:2]

    return run


def recorded(iterations: int) -> Callable[[], Answer]:
    """A loop as one would call it: with its value, and as many records as it keeps by default."""
    import dualtape as dt

    from .seed import loss

    def my_loss(x1: Any, x2: Any) -> Any:
        y = loss(x1, x2)
        return y, *dt.dlgradient(y, x1, x2)

    def step(state: Any, learn_rate: Any) -> Any:
        y, d1, d2 = dt.dlfeval(my_loss, *state)
        return (state[0] - learn_rate * d1, state[1] - learn_rate * d2), y

    def run() -> Answer:
        done = dt.loop(step, initial("descent"), iterations=iterations, learn_rate=0.1)
        return [float(x) for x in done.state]

    return run


def cases(quick: bool) -> list[Case]:
    """A case for each method, and a very long one that is there for its memory."""
    count, label = (10**4, "10^4") if quick else (10**6, "10^6")
    found = []
    for method in ("descent", "Adam"):
        arguments = (method, count)
        competitors = [
            Competitor("dualtape loop", functools.partial(dualtape, *arguments), "compiled", ours=True),
            Competitor("JAX fori_loop", functools.partial(jax, *arguments), "compiled"),
            Competitor("numba", functools.partial(numba, *arguments), "by hand"),
            Competitor("C++", functools.partial(native, *arguments), "by hand"),
        ]
        found.append(
            Case(
                f"loop: {method} for {label} iterations",
                count,
                "iteration",
                functools.partial(reference, *arguments),
                competitors,
                rtol=1e-8,
                featured=True,
            )
        )
    if not quick:
        ours = Competitor("dualtape loop, recording", functools.partial(recorded, 10**8), "compiled", ours=True)
        found.append(Case("loop: 10^8 iterations", 10**8, "iteration", lambda: (1.0, 1.0), [ours], memory=True))
    return found
