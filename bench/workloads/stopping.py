# SPDX-License-Identifier: MIT
"""A sweep whose runs stop each in its own time: Adam on Rosenbrock's function from 1,000 starts.

A run ends when the gradient's norm is below 1e-6, or after 20,000 iterations; here the first takes some hundred, the
last ten thousand. What counts is what becomes of a lane whose run has ended. Start with `dualtape`, which also repeats
some of its runs alone, as loops, and wants the same bits. Answers are where the runs end, and how many iterations
they took on average; times are per useful iteration, that is, those of runs that had not ended.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import alone
from ..model import USEFUL, Answer, Case, Competitor, Prepared
from ..native import Array, double, doubles, function, int64, pointer

LIMIT, RATE, TOLERANCE = 20_000, 0.02, 1e-6
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Task:
    """So many starts."""

    count: int

    def starts(self) -> tuple[Array, Array]:
        rng = np.random.default_rng(3)
        return rng.uniform(-2.0, 2.0, self.count), rng.uniform(-1.0, 3.0, self.count)


def loss(x1: Any, x2: Any) -> Any:
    """Return Rosenbrock's function, factor 100; any number type may come in."""
    return 100.0 * (x2 - x1**2) ** 2 + (1.0 - x1) ** 2


def answer_of(x1: Any, x2: Any, iterations: Any) -> Answer:
    """Return what is compared.

    Roundings differ, and with them, now and then by a thousand, the iteration in which a norm falls below the
    tolerance. So it is the mean number of iterations that counts, and the case's 1e-5 allows 100 of some 6,000.
    """
    return np.asarray(x1), np.asarray(x2), np.mean(np.asarray(iterations)) * 1e-7


@functools.cache
def reference(task: Task) -> tuple[Array, Array, Array]:
    """Return where the runs end and after how many iterations, in NumPy's extended precision."""
    one = np.longdouble(1)
    x: Any = np.array(task.starts(), np.longdouble)
    m, v = np.zeros_like(x), np.zeros_like(x)
    found: Any = np.zeros((3, task.count))
    alive = np.arange(task.count)
    for t in range(1, LIMIT + 1):
        off = x[1] - x[0] * x[0]
        g = np.stack([-400 * x[0] * off - 2 * (1 - x[0]), 200 * off])
        m = one * BETA1 * m + (1 - one * BETA1) * g
        v = one * BETA2 * v + (1 - one * BETA2) * g * g
        x = x - RATE * (m / (1 - (one * BETA1) ** t)) / (np.sqrt(v / (1 - (one * BETA2) ** t)) + EPSILON)
        done = (g[0] ** 2 + g[1] ** 2 < TOLERANCE**2) | (t == LIMIT)
        if done.any():
            found[:2, alive[done]], found[2, alive[done]] = x[:, done], t
            x, m, v, alive = x[:, ~done], m[:, ~done], v[:, ~done], alive[~done]
            if not alive.size:
                break
    return found[0], found[1], found[2]


def dualtape(task: Task, singles: int, threads: int = 1) -> Prepared:
    import dualtape as dt

    def my_loss(x1: Any, x2: Any) -> Any:
        y = loss(x1, x2)
        return y, *dt.dlgradient(y, x1, x2)

    def step(state: Any, iteration: Any) -> Any:
        point, avg_g, avg_sqg = state
        _, d1, d2 = dt.dlfeval(my_loss, *point)
        state = dt.adamupdate(point, (d1, d2), avg_g, avg_sqg, iteration, RATE)
        return state, d1**2 + d2**2

    def start(a: Any, b: Any) -> Any:
        return (a, b), (0.0, 0.0), (0.0, 0.0)

    def until(_: Any, norm2: Any) -> Any:
        return norm2 < TOLERANCE**2

    starts = task.starts()
    over = dt.points(a=starts[0], b=starts[1])
    useful = 1.0

    def run() -> Any:
        nonlocal useful
        runs = dt.sweep(step, start, iterations=LIMIT, over=over, until=until, threads=threads)
        useful = runs.useful
        return runs

    def answer() -> Answer:
        runs = run()
        alone.check(
            runs,
            step,
            lambda i: start(float(starts[0][i]), float(starts[1][i])),
            singles,
            iterations=LIMIT,
            until=until,
        )
        x1, x2 = runs.state[0]
        return answer_of(x1, x2, runs.iterations)

    return Prepared(run, answer, lambda: {USEFUL: useful})


def native(task: Task, name: str) -> Callable[[], Answer]:
    call = function("stopping", name, int64, int64, double, double, doubles, doubles, doubles)
    starts = task.starts()
    x1, x2, iterations = (np.empty(task.count) for _ in range(3))
    places = [pointer(array) for array in (x1, x2, iterations)]

    def run() -> Answer:
        x1[:], x2[:] = starts
        call(task.count, LIMIT, RATE, TOLERANCE, *places)
        return answer_of(x1, x2, iterations)

    return run


def jax(task: Task) -> Callable[[], Answer]:
    import jax

    gradient = jax.grad(loss, (0, 1))

    def going_on(carry: Any) -> Any:
        _, t, norm2 = carry
        return (norm2 >= TOLERANCE**2) & (t < LIMIT)

    def step(carry: Any) -> Any:
        (point, m, v), t, _ = carry
        t = t + 1
        grads = gradient(*point)
        m = tuple(BETA1 * a + (1.0 - BETA1) * g for a, g in zip(m, grads, strict=True))
        v = tuple(BETA2 * a + (1.0 - BETA2) * g * g for a, g in zip(v, grads, strict=True))
        root = jax.numpy.sqrt(1.0 - BETA2**t)
        factor = RATE * root / (1.0 - BETA1**t)
        point = tuple(
            p - factor * a / (jax.numpy.sqrt(b) + EPSILON * root) for p, a, b in zip(point, m, v, strict=True)
        )
        return (point, m, v), t, grads[0] ** 2 + grads[1] ** 2

    def one(x1: Any, x2: Any) -> Any:
        zeros = (0.0, 0.0)
        return jax.lax.while_loop(going_on, step, (((x1, x2), zeros, zeros), 0, float("inf")))

    train = jax.jit(jax.vmap(one))
    starts = [jax.numpy.asarray(x) for x in task.starts()]

    def run() -> Answer:
        ((x1, x2), _, _), iterations, _ = jax.block_until_ready(train(*starts))
        return answer_of(x1, x2, iterations)

    return run


def cases(quick: bool) -> list[Case]:
    """One case."""
    task = Task(64) if quick else Task(1000)
    useful = int(reference(task)[2].sum())
    bound = functools.partial
    competitors = [
        Competitor("dualtape", bound(dualtape, task, 4 if quick else 40), "compiled", ours=True),
        Competitor("dualtape, 2 threads", bound(dualtape, task, 4, 2), "compiled", ours=True),
        Competitor("JAX vmap(while_loop)", bound(jax, task), "compiled"),
        Competitor("C++ vectors, refilled", bound(native, task, "refilled"), "by hand"),
        Competitor("C++, one by one", bound(native, task, "one_by_one"), "by hand"),
    ]
    return [
        Case(
            f"stopping: Adam from {task.count:,} starts",
            useful,
            "iteration",
            lambda: answer_of(*reference(task)),
            competitors,
            rtol=0.0,
            atol=1e-5,
            featured=True,
        )
    ]
