# SPDX-License-Identifier: MIT
"""A loop that stays rolled: a driven, damped pendulum over 10^6 steps, its end and the gradient of its end.

What is measured is the price of a step of a `scan`, forwards alone and with reverse mode, and what reverse mode keeps:
JAX and the loop by hand keep every state, dualtape a logarithm of them, and computes the others again. Start with
`pendulum`, which serves every library.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..model import Answer, Case, Competitor

STEP = 1e-3
STIFFNESS, DAMPING, ANGLE = 1.0, 0.1, 0.5


@functools.cache
def forces(steps: int) -> Any:
    return np.cos(1.3 * STEP * np.arange(steps))


def pendulum(sin: Callable[[Any], Any], scan: Callable[..., Any]) -> Callable[..., Any]:
    """Return the angle at the end as a function of stiffness, damping, the angle at the start and the forces."""

    def end(k: Any, c: Any, x: Any, drive: Any) -> Any:
        def body(state: Any, force: Any) -> Any:
            x, v = state
            return (x + STEP * v, v + STEP * (force - k * sin(x) - c * v)), None

        return scan(body, (x, 0.0 * x), drive)[0][0]

    return end


def by_hand(steps: int) -> tuple[float, tuple[float, float, float]]:
    """Return the end and its derivatives by pushing three tangents along: the reference, which shares nothing."""
    x, v = ANGLE, 0.0
    dx, dv = [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]
    for force in forces(steps).tolist():
        s, slope = math.sin(x), math.cos(x)
        own = (s, v, 0.0)  # how the acceleration depends on the parameters themselves
        new = [a + STEP * b for a, b in zip(dx, dv, strict=True)]
        dv = [b + STEP * (-STIFFNESS * slope * a - DAMPING * b - o) for a, b, o in zip(dx, dv, own, strict=True)]
        dx = new
        x, v = x + STEP * v, v + STEP * (force - STIFFNESS * s - DAMPING * v)
    return x, (dx[0], dx[1], dx[2])


def dualtape(steps: int, gradient: bool) -> Callable[[], Answer]:
    import dualtape as dt

    f = pendulum(dt.numpy.sin, dt.scan)
    drive = dt.dlarray(forces(steps))
    if not gradient:
        return lambda: float(f(STIFFNESS, DAMPING, ANGLE, drive))
    both = dt.value_and_grad(f, (0, 1, 2))

    def run() -> Answer:
        y, slopes = both(STIFFNESS, DAMPING, ANGLE, drive)
        return float(y), [float(s) for s in slopes]

    return run


def jax(steps: int, gradient: bool) -> Callable[[], Answer]:
    import jax

    f = pendulum(jax.numpy.sin, jax.lax.scan)
    drive = jax.numpy.asarray(forces(steps))
    run = jax.jit(jax.value_and_grad(f, (0, 1, 2)) if gradient else f)
    return lambda: jax.tree_util.tree_map(float, run(STIFFNESS, DAMPING, ANGLE, drive))


def numba(steps: int, gradient: bool) -> Callable[[], Answer]:
    import numba

    @numba.njit
    def forward(k, c, x, drive):  # type: ignore[no-untyped-def]
        v = 0.0
        for force in drive:
            x, v = x + STEP * v, v + STEP * (force - k * math.sin(x) - c * v)
        return x

    @numba.njit
    def both(k, c, x, drive):  # type: ignore[no-untyped-def]
        path = np.empty((drive.size, 2))
        v = 0.0
        for i, force in enumerate(drive):
            path[i, 0], path[i, 1] = x, v
            x, v = x + STEP * v, v + STEP * (force - k * math.sin(x) - c * v)
        bar_x, bar_v, bar_k, bar_c = 1.0, 0.0, 0.0, 0.0
        for i in range(drive.size - 1, -1, -1):
            at, speed = path[i, 0], path[i, 1]
            bar_k -= STEP * bar_v * math.sin(at)
            bar_c -= STEP * bar_v * speed
            bar_x, bar_v = bar_x - STEP * bar_v * k * math.cos(at), bar_v + STEP * bar_x - STEP * bar_v * c
        return x, (bar_k, bar_c, bar_x)

    drive = forces(steps)
    run = both if gradient else forward
    return lambda: run(STIFFNESS, DAMPING, ANGLE, drive)


def cases(quick: bool) -> list[Case]:
    """10^6 steps, or 10^4 in a quick run; the end alone, and with its gradient."""
    size, steps = ("10^4", 10_000) if quick else ("10^6", 1_000_000)
    return [_case(size, steps, gradient) for gradient in (False, True)]


def _case(size: str, steps: int, gradient: bool) -> Case:
    def competitor(name: str, build: Callable[..., Any], how: str = "compiled", ours: bool = False) -> Competitor:
        return Competitor(name, lambda: build(steps, gradient), how, ours)

    return Case(
        f"scan of {size} steps, {'gradient' if gradient else 'forward'}",
        steps,
        "step",
        lambda: by_hand(steps) if gradient else by_hand(steps)[0],
        [
            competitor("dualtape", dualtape, ours=True),
            competitor("JAX scan", jax),
            competitor("numba", numba, "by hand"),
        ],
        rtol=1e-8,  # the roundings of a million steps, in different orders
        memory=True,
        featured=gradient,
    )
