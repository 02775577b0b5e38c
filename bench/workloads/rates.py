# SPDX-License-Identifier: MIT
"""A sweep of 4,096 learning rates by 1,000 iterations: the seed's descent, and Adam on the same loss.

Start with `Task`, then `dualtape`: the step is the one that anybody would write, and `dt.sweep` runs it for all
rates. NumPy and C++ have the gradient by hand over vectors of rates, the frameworks batch the step. The rates end
below those at which the loop no longer converges, since rounding decides where such a run goes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import Answer, Case, Competitor
from ..native import Array, doubles, function, int64, pointer
from .seed import loss

START = 2.0
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Task:
    """One method for so many rates and iterations."""

    method: str  # "descent" or "Adam"
    count: int
    iterations: int

    def rates(self) -> Array:
        low, high = (0.01, 0.15) if self.method == "descent" else (0.001, 0.05)
        return np.linspace(low, high, self.count)


def reference(task: Task, *rates: float) -> Answer:
    """Return where the task's runs end, or those at the given rates, in extended precision by the textbook."""
    rate: Any = np.array(rates if rates else task.rates(), np.longdouble)
    x1, x2, m1, v1, m2, v2 = (np.full_like(rate, value) for value in (START, START, 0, 0, 0, 0))
    d1: Any
    for t in range(1, task.iterations + 1):
        d1 = -4 * x1 * (x2 - x1 * x1) - 2 * (1 - x1)
        d2 = 2 * (x2 - x1 * x1)
        if task.method == "Adam":
            one = np.longdouble(1)
            beta1, beta2 = one * BETA1, one * BETA2
            m1, m2 = beta1 * m1 + (1 - beta1) * d1, beta1 * m2 + (1 - beta1) * d2
            v1, v2 = beta2 * v1 + (1 - beta2) * d1 * d1, beta2 * v2 + (1 - beta2) * d2 * d2
            d1 = m1 / (1 - beta1**t) / (np.sqrt(v1 / (1 - beta2**t)) + EPSILON)
            d2 = m2 / (1 - beta1**t) / (np.sqrt(v2 / (1 - beta2**t)) + EPSILON)
        x1, x2 = x1 - rate * d1, x2 - rate * d2
    return x1, x2


def steps() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the two steps as a user of dualtape writes them: of descent, of Adam."""
    import dualtape as dt

    def my_loss(x1: Any, x2: Any) -> Any:
        y = loss(x1, x2)
        return y, *dt.dlgradient(y, x1, x2)

    def descent(state: Any, learn_rate: Any) -> Any:
        x1, x2 = state
        _, dydx1, dydx2 = dt.dlfeval(my_loss, x1, x2)
        return x1 - learn_rate * dydx1, x2 - learn_rate * dydx2

    def adam(state: Any, learn_rate: Any, iteration: Any) -> Any:
        point, avg_g, avg_sqg = state
        _, *grads = dt.dlfeval(my_loss, *point)
        return dt.adamupdate(point, tuple(grads), avg_g, avg_sqg, iteration, learn_rate)

    return descent, adam


def initial(method: str) -> Any:
    """Return the state that a step of `steps` starts from."""
    zeros = (0.0, 0.0)
    return (START, START) if method == "descent" else ((START, START), zeros, zeros)


def dualtape(task: Task, threads: int = 1) -> Callable[[], Answer]:
    import dualtape as dt

    step = steps()[task.method == "Adam"]
    over = dt.points(learn_rate=task.rates())

    def run() -> Answer:
        runs = dt.sweep(step, initial(task.method), iterations=task.iterations, over=over, threads=threads)
        return runs.state if task.method == "descent" else runs.state[0]

    return run


def numpy(task: Task) -> Callable[[], Answer]:
    rate = task.rates()
    a, b, g, scratch = (np.empty_like(rate) for _ in range(4))

    def gradient(x1: Array, x2: Array) -> None:
        """Write d/dx1 to g and d/dx2 to a."""
        np.multiply(x1, x1, out=a)
        np.subtract(x2, a, out=a)
        np.multiply(a, 2.0, out=a)
        np.subtract(x1, 1.0, out=b)
        np.multiply(b, 2.0, out=b)
        np.multiply(a, x1, out=g)
        np.multiply(g, -2.0, out=g)
        np.add(g, b, out=g)

    def descent() -> Answer:
        x1, x2 = np.full_like(rate, START), np.full_like(rate, START)
        for _ in range(task.iterations):
            gradient(x1, x2)
            np.multiply(g, rate, out=g)
            np.subtract(x1, g, out=x1)
            np.multiply(a, rate, out=a)
            np.subtract(x2, a, out=x2)
        return x1, x2

    def update(x: Array, grad: Array, m: Array, v: Array, t: int) -> None:
        np.multiply(m, BETA1, out=m)
        np.multiply(grad, 1.0 - BETA1, out=scratch)
        np.add(m, scratch, out=m)
        np.multiply(v, BETA2, out=v)
        np.multiply(grad, grad, out=scratch)
        np.multiply(scratch, 1.0 - BETA2, out=scratch)
        np.add(v, scratch, out=v)
        root = float((1.0 - BETA2**t) ** 0.5)
        np.sqrt(v, out=scratch)
        np.add(scratch, EPSILON * root, out=scratch)
        np.divide(m, scratch, out=scratch)
        np.multiply(scratch, root / (1.0 - BETA1**t), out=scratch)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(x, scratch, out=x)

    def adam() -> Answer:
        x1, x2 = np.full_like(rate, START), np.full_like(rate, START)
        m1, v1, m2, v2 = (np.zeros_like(rate) for _ in range(4))
        for t in range(1, task.iterations + 1):
            gradient(x1, x2)
            update(x1, g, m1, v1, t)
            update(x2, a, m2, v2, t)
        return x1, x2

    return descent if task.method == "descent" else adam


def native(task: Task, threads: int = 1) -> Callable[[], Answer]:
    name = "descend" if task.method == "descent" else "adam"
    call = function("rates", name, int64, int64, int64, doubles, doubles, doubles)
    count = -(-task.count // 32) * 32  # C++ wants whole groups of vectors
    rates, x1, x2 = np.resize(task.rates(), count), np.empty(count), np.empty(count)
    places = [pointer(array) for array in (rates, x1, x2)]

    def run(_: object = rates) -> Answer:
        x1[:] = x2[:] = START
        call(count, task.iterations, threads, *places)
        return x1[: task.count], x2[: task.count]

    return run


def cases(quick: bool) -> list[Case]:
    """Two cases for each method, the second ten times as long, so that tracing is a small part of it.

    C++ has the hand of an expert in it.
    """
    from . import rates_frameworks as frameworks

    found = []
    tasks = [Task(method, 4096, n) for method in ("descent", "Adam") for n in (1000, 10_000)]
    if quick:
        tasks = [Task(method, 512, 100) for method in ("descent", "Adam")]
    for task in tasks:
        method, bound = task.method, functools.partial
        competitors = [
            Competitor("dualtape", bound(dualtape, task), "compiled", ours=True),
            Competitor("dualtape, 2 threads", bound(dualtape, task, 2), "compiled", ours=True),
            Competitor("NumPy", bound(numpy, task), "by hand"),
            Competitor("PyTorch", bound(frameworks.torch, task)),
            Competitor("JAX vmap(fori_loop)", bound(frameworks.jax, task), "compiled"),
            Competitor("C++ vectors", bound(native, task), "by hand"),
            Competitor("C++ vectors, 2 threads", bound(native, task, 2), "by hand"),
        ]
        if task.iterations > 1000:
            competitors = [c for c in competitors if c.name not in ("NumPy", "PyTorch")]
        found.append(
            Case(
                f"rates, {method}: {task.count:,} by {task.iterations:,}",
                task.count * task.iterations,
                "iteration",
                functools.partial(reference, task),
                competitors,
                rtol=1e-9,
                atol=1e-11,
                featured=task.iterations <= 1000,
            )
        )
    return found
