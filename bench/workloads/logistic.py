# SPDX-License-Identifier: MIT
"""Logistic regression on 32 points that 4,096 runs share: an exp and a log for each point, run and iteration.

Gradient descent over as many learning rates; the step returns the loss. Start with `dualtape`. Times are per run,
iteration and point. C++ may compute with fast-math and functions that are right to 4 ULP.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import alone
from ..model import Answer, Case, Competitor, Prepared
from ..native import Array, doubles, function, int64, pointer

POINTS = 32


@dataclass(frozen=True)
class Task:
    """So many rates and iterations."""

    count: int
    iterations: int

    def rates(self) -> Array:
        return np.geomspace(0.01, 1.0, self.count)


def points() -> tuple[Array, Array]:
    """Return the points (32 by 2), and their labels, 1 or -1, some of them wrong."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(POINTS, 2))
    return x, np.where(x @ np.array([1.0, -0.5]) + 0.3 + rng.normal(size=POINTS) > 0, 1.0, -1.0)


def reference(task: Task) -> Answer:
    """Return weights, biases and last losses in NumPy's extended precision."""
    x, label = (np.asarray(a, np.longdouble) for a in points())
    rate = np.asarray(task.rates(), np.longdouble)
    w, b = np.zeros((2, task.count), np.longdouble), np.zeros(task.count, np.longdouble)
    for _ in range(task.iterations):
        margin = label[:, None] * (x @ w + b)
        value = np.log1p(np.exp(-margin)).mean(axis=0)
        slope = -label[:, None] / (1 + np.exp(margin)) / POINTS
        w, b = w - rate * (x.T @ slope), b - rate * slope.sum(axis=0)
    return w[0], w[1], b, value


def dualtape(task: Task, threads: int = 1) -> Prepared:
    import dualtape as dt
    from dualtape import numpy as dnp

    x, label = points()

    def my_loss(w: Any, b: Any) -> Any:
        y = dnp.log(1.0 + dnp.exp(-label * (x @ w + b))).mean()
        return y, *dt.dlgradient(y, w, b)

    def step(state: Any, learn_rate: Any) -> Any:
        w, b = state
        y, dw, db = dt.dlfeval(my_loss, w, b)
        return (w - learn_rate * dw, b - learn_rate * db), y

    start = np.zeros(2), 0.0
    over = dt.points(learn_rate=task.rates())

    def run() -> Any:
        return dt.sweep(step, start, iterations=task.iterations, over=over, threads=threads)

    def answer() -> Answer:
        runs = run()
        rates = task.rates()
        alone.check(
            runs, step, lambda _: start, 4, lambda i: {"learn_rate": float(rates[i])}, iterations=task.iterations
        )
        w, b = runs.state
        return w[:, 0], w[:, 1], b, runs.value

    return Prepared(run, answer)


def native(task: Task) -> Callable[[], Answer]:
    call = function("logistic", "descend", *[int64] * 3, *[doubles] * 5, flags=("-ffast-math",))
    x, label = points()
    arrays = np.ascontiguousarray(x[:, 0]), np.ascontiguousarray(x[:, 1]), label, task.rates()
    result = np.empty((4, task.count))
    places = [pointer(a) for a in (*arrays, result)]

    def run(_: object = arrays) -> Answer:
        call(task.count, task.iterations, POINTS, *places)
        return result

    return run


def jax(task: Task) -> Callable[[], Answer]:
    import jax

    x, label = (jax.numpy.asarray(a) for a in points())

    def loss(w: Any, b: Any) -> Any:
        return jax.numpy.log(1.0 + jax.numpy.exp(-label * (x @ w + b))).mean()

    def one(rate: Any) -> Any:
        def step(_: Any, carry: Any) -> Any:
            w, b, _ = carry
            y, (dw, db) = jax.value_and_grad(loss, (0, 1))(w, b)
            return w - rate * dw, b - rate * db, y

        return jax.lax.fori_loop(0, task.iterations, step, (jax.numpy.zeros(2), 0.0, 0.0))

    train = jax.jit(jax.vmap(one))
    rates = jax.numpy.asarray(task.rates())

    def run() -> Answer:
        w, b, y = jax.block_until_ready(train(rates))
        return w[:, 0], w[:, 1], b, y

    return run


def torch(task: Task) -> Callable[[], Answer]:
    import torch

    torch.set_num_threads(1)
    x, label = (torch.from_numpy(a) for a in points())
    rate = torch.from_numpy(task.rates())

    def run() -> Answer:
        w = torch.zeros((2, task.count), dtype=torch.float64, requires_grad=True)
        b = torch.zeros(task.count, dtype=torch.float64, requires_grad=True)
        for _ in range(task.iterations):
            y = torch.log(1.0 + torch.exp(-label[:, None] * (x @ w + b))).mean(dim=0)
            dw, db = torch.autograd.grad(y.sum(), (w, b))
            w = (w.detach() - rate * dw).requires_grad_()
            b = (b.detach() - rate * db).requires_grad_()
        return w[0].detach(), w[1].detach(), b.detach(), y.detach()

    return run


def cases(quick: bool) -> list[Case]:
    """One case."""
    task = Task(128, 10) if quick else Task(4096, 100)
    bound = functools.partial
    competitors = [
        Competitor("dualtape", bound(dualtape, task), "compiled", ours=True),
        Competitor("dualtape, 2 threads", bound(dualtape, task, 2), "compiled", ours=True),
        Competitor("JAX vmap(fori_loop)", bound(jax, task), "compiled"),
        Competitor("PyTorch", bound(torch, task)),
        Competitor("C++, fast-math", bound(native, task), "by hand"),
    ]
    units = task.count * task.iterations * POINTS
    name = f"logistic: {task.count:,} by {task.iterations}"
    return [Case(name, units, "point", bound(reference, task), competitors, rtol=1e-9, atol=1e-10, featured=True)]
