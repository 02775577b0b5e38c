# SPDX-License-Identifier: MIT
"""What decisions cost in a sweep: a step with an `if`, and one with a backtracking line search, from 4,096 starts.

Both are gradient descent on a long valley. The first shortens a gradient that is too long; the second halves its rate
until the loss falls far enough (Armijo 1966), from 1 on, which takes two halvings on average. Start with `steps`. The
ratios are relative to a step without decisions: for the first, the step with a fixed rate (which has an answer of its
own); for the second, one that tries the rates of all halvings in every iteration. JAX has to be given the decision in
another form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import alone
from ..model import Answer, Case, Competitor, Prepared
from ..native import Array, double, doubles, function, int64, pointer

RATE, MOST, FIRST, ARMIJO = 0.02, 0.1, 1.0, 0.3
HALVINGS = 5  # the most that any of these runs makes in an iteration


@dataclass(frozen=True)
class Task:
    """So many starts and iterations."""

    count: int
    iterations: int

    def starts(self) -> tuple[Array, Array]:
        rng = np.random.default_rng(4)
        return rng.uniform(-2.0, 2.0, self.count), rng.uniform(-1.0, 3.0, self.count)


def loss(x1: Any, x2: Any) -> Any:
    """Return the seed's function along a longer valley; any number type may come in."""
    return (x2 - x1**2) ** 2 + 0.1 * (1 - x1) ** 2


def reference(task: Task, kind: str) -> Answer:
    """Return where the runs end, in NumPy's extended precision."""
    x1, x2 = (np.asarray(x, np.longdouble) for x in task.starts())
    tenth = np.longdouble(0.1)

    def exact(x1: Any, x2: Any) -> Any:
        return (x2 - x1 * x1) ** 2 + tenth * (1 - x1) ** 2

    for _ in range(task.iterations):
        d1 = -4 * x1 * (x2 - x1 * x1) - 2 * tenth * (1 - x1)
        d2 = 2 * (x2 - x1 * x1)
        square = d1 * d1 + d2 * d2
        rate: Any = np.full_like(x1, RATE)
        if kind == "if":
            rate = np.where(square > MOST**2, RATE * MOST / np.sqrt(square), RATE)
        elif kind == "search":
            rate = np.full_like(x1, FIRST)
            while (more := exact(x1 - rate * d1, x2 - rate * d2) > exact(x1, x2) - ARMIJO * rate * square).any():
                rate[more] /= 2
        x1, x2 = x1 - rate * d1, x2 - rate * d2
    return x1, x2


def steps() -> dict[str, Callable[..., Any]]:
    """Return the steps by their kinds, as one writes them."""
    import dualtape as dt
    from dualtape import numpy as dnp

    def my_loss(x1: Any, x2: Any) -> Any:
        y = loss(x1, x2)
        return y, *dt.dlgradient(y, x1, x2)

    def plain(state: Any, learn_rate: Any) -> Any:
        x1, x2 = state
        _, d1, d2 = dt.dlfeval(my_loss, x1, x2)
        return x1 - learn_rate * d1, x2 - learn_rate * d2

    def with_if(state: Any, learn_rate: Any) -> Any:
        x1, x2 = state
        _, d1, d2 = dt.dlfeval(my_loss, x1, x2)
        square = d1**2 + d2**2
        if square > MOST**2:
            learn_rate = learn_rate * MOST / dnp.sqrt(square)
        return x1 - learn_rate * d1, x2 - learn_rate * d2

    def with_where(state: Any, learn_rate: Any) -> Any:
        x1, x2 = state
        _, d1, d2 = dt.dlfeval(my_loss, x1, x2)
        square = d1**2 + d2**2
        learn_rate = dnp.where(square > MOST**2, learn_rate * MOST / dnp.sqrt(square), learn_rate)
        return x1 - learn_rate * d1, x2 - learn_rate * d2

    def with_search(state: Any, learn_rate: Any) -> Any:
        x1, x2 = state
        y, d1, d2 = dt.dlfeval(my_loss, x1, x2)
        square = d1**2 + d2**2
        while loss(x1 - learn_rate * d1, x2 - learn_rate * d2) > y - ARMIJO * learn_rate * square:
            learn_rate = learn_rate / 2
        return x1 - learn_rate * d1, x2 - learn_rate * d2

    def with_trials(state: Any, learn_rate: Any) -> Any:
        x1, x2 = state
        y, d1, d2 = dt.dlfeval(my_loss, x1, x2)
        square = d1**2 + d2**2
        for _ in range(HALVINGS):
            more = loss(x1 - learn_rate * d1, x2 - learn_rate * d2) > y - ARMIJO * learn_rate * square
            learn_rate = dnp.where(more, learn_rate / 2, learn_rate)
        return x1 - learn_rate * d1, x2 - learn_rate * d2

    return {"plain": plain, "if": with_if, "where": with_where, "search": with_search, "trials": with_trials}


def dualtape(task: Task, kind: str) -> Prepared:
    import dualtape as dt

    step = steps()[kind]
    a, b = task.starts()
    over = dt.points(a=a, b=b)
    options: dict[str, Any] = {
        "iterations": task.iterations,
        "learn_rate": FIRST if kind in ("search", "trials") else RATE,
    }

    def run() -> Any:
        return dt.sweep(step, lambda a, b: (a, b), over=over, threads=1, **options)

    def answer() -> Answer:
        runs = run()
        alone.check(runs, step, lambda i: (float(a[i]), float(b[i])), 16, **options)
        return runs.state

    return Prepared(run, answer)


def native(task: Task, name: str, *settings: float) -> Callable[[], Answer]:
    call = function("branches", name, int64, int64, *[double] * len(settings), doubles, doubles)
    starts = task.starts()
    x1, x2 = np.empty(task.count), np.empty(task.count)
    places = pointer(x1), pointer(x2)

    def run() -> Answer:
        x1[:], x2[:] = starts
        call(task.count, task.iterations, *settings, *places)
        return x1, x2

    return run


def jax(task: Task, kind: str) -> Callable[[], Answer]:
    import jax

    slopes = jax.value_and_grad(loss, (0, 1))

    def step(_: Any, state: Any) -> Any:
        x1, x2 = state
        y, (d1, d2) = slopes(x1, x2)
        square = d1**2 + d2**2

        def too_long(rate: Any) -> Any:
            return loss(x1 - rate * d1, x2 - rate * d2) > y - ARMIJO * rate * square

        if kind == "if":
            rate = jax.lax.cond(square > MOST**2, lambda: RATE * MOST / jax.numpy.sqrt(square), lambda: RATE)
        else:
            rate = jax.lax.while_loop(too_long, lambda rate: rate / 2, FIRST)
        return x1 - rate * d1, x2 - rate * d2

    train = jax.jit(jax.vmap(lambda x1, x2: jax.lax.fori_loop(0, task.iterations, step, (x1, x2))))
    starts = [jax.numpy.asarray(x) for x in task.starts()]
    return lambda: jax.block_until_ready(train(*starts))


def cases(quick: bool) -> list[Case]:
    """A case for each kind of decision."""
    task = Task(256, 20) if quick else Task(4096, 1000)
    bound = functools.partial
    plain = Competitor(
        "dualtape, no decision", bound(dualtape, task, "plain"), "compiled", True, bound(reference, task, "plain")
    )

    trials = Competitor("dualtape, all trials", bound(dualtape, task, "trials"), "compiled", True)

    def case(name: str, kind: str, base: Competitor, others: list[Competitor]) -> Case:
        return Case(
            f"{name} from {task.count:,} starts",
            task.count * task.iterations,
            "iteration",
            bound(reference, task, kind),
            [base, Competitor("dualtape", bound(dualtape, task, kind), "compiled", ours=True), *others],
            rtol=1e-8,
            atol=1e-9,
        )

    clipped = (RATE, MOST)
    return [
        case(
            "branches: an if",
            "if",
            plain,
            [
                Competitor("dualtape, where", bound(dualtape, task, "where"), "compiled", ours=True),
                Competitor("JAX vmap(cond)", bound(jax, task, "if"), "compiled"),
                Competitor("C++ vectors", bound(native, task, "clipped_vectors", *clipped), "by hand"),
                Competitor("C++, one by one", bound(native, task, "clipped", *clipped), "by hand"),
            ],
        ),
        case(
            "branches: a line search",
            "search",
            trials,
            [
                plain,
                Competitor("JAX vmap(while_loop)", bound(jax, task, "search"), "compiled"),
                Competitor("C++ vectors", bound(native, task, "searched_vectors", FIRST), "by hand"),
                Competitor("C++, one by one", bound(native, task, "searched", FIRST), "by hand"),
            ],
        ),
    ]
