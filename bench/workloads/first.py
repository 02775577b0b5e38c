# SPDX-License-Identifier: MIT
"""From a Python function to the first result: tracing, compiling, and a loop too short to matter.

Each run makes its functions anew, so that nothing is found in a cache. Three steps: the seed's descent and Adam on its
loss for 100 iterations, and one step of the network of `digits`. Start with `seed`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..model import Answer, Case, Competitor
from . import digits, rates
from .digits import BATCH, RATE, Params, initial, numpy_after
from .rates import START, Task, reference

ITERATIONS, LEARN_RATE = 100, 0.01


def seed(method: str) -> Callable[[], Answer]:
    import dualtape as dt

    def run() -> Answer:
        step = rates.steps()[method == "Adam"]
        done = dt.loop(step, rates.initial(method), iterations=ITERATIONS, learn_rate=LEARN_RATE, record_every=None)
        return [float(x) for x in (done.state if method == "descent" else done.state[0])]

    return run


def seed_jax(method: str) -> Callable[[], Answer]:
    import jax

    from .rates_frameworks import jax_steps

    def run() -> Answer:
        step = jax_steps()[method]

        @jax.jit
        def train(rate: Any) -> Any:
            return jax.lax.fori_loop(0, ITERATIONS, lambda t, state: step(state, rate, t + 1.0), rates.initial(method))

        state = jax.block_until_ready(train(LEARN_RATE))
        return state if method == "descent" else state[0]

    return run


def seed_casadi() -> Callable[[], Answer]:
    import casadi

    from .seed import loss

    def run() -> Answer:
        x, rate = casadi.SX.sym("x", 2), casadi.SX.sym("rate")
        step = casadi.Function("step", [x, rate], [x - rate * casadi.gradient(loss(x[0], x[1]), x)])
        return step.fold(ITERATIONS)([START, START], LEARN_RATE).full()

    return run


def seed_numba() -> Callable[[], Answer]:
    import numba

    def run() -> Answer:
        @numba.njit
        def train(rate):  # type: ignore[no-untyped-def]
            x1 = x2 = START
            for _ in range(ITERATIONS):
                a = x2 - x1 * x1
                d2 = 2 * a
                x1 = x1 - rate * (-2 * d2 * x1 - 2 * (1 - x1))
                x2 = x2 - rate * d2
            return x1, x2

        return train(LEARN_RATE)

    return run


def network() -> Callable[[], Answer]:
    import dualtape as dt
    from dualtape import numpy as dnp

    x, labels = digits.batch(0)
    pair = x, digits.one_hot(labels)

    def run() -> Answer:
        def my_loss(params: Params, x: Any, targets: Any) -> Any:
            scores = dnp.tanh(x @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]
            loss = -(dt.log_softmax(scores, axis=1) * targets).sum() / BATCH
            return loss, dt.dlgradient(loss, params)

        def step(state: Any, iteration: Any, batch: Any) -> Any:
            params, avg_g, avg_sqg = state
            _, grads = dt.dlfeval(my_loss, params, *batch)
            return dt.adamupdate(params, grads, avg_g, avg_sqg, iteration, RATE)

        params = initial()
        zeros = {name: np.zeros_like(value) for name, value in params.items()}
        done = dt.loop(step, (params, zeros, zeros), iterations=1, data=pair, batch_size=BATCH, record_every=None)
        return {name: dt.extractdata(leaf) for name, leaf in done.state[0].items()}

    return run


def network_jax() -> Callable[[], Answer]:
    import jax

    from .training_frameworks import jax_train

    def run() -> Answer:
        params = {name: jax.numpy.asarray(value) for name, value in initial().items()}
        return jax.block_until_ready(jax.jit(jax_train(1))(params, RATE))

    return run


def cases(quick: bool) -> list[Case]:
    """A case for each step; the same in a quick run."""
    found = []
    for method in ("descent", "Adam"):
        competitors = [
            Competitor("dualtape loop", functools.partial(seed, method), "compiled", ours=True),
            Competitor("JAX fori_loop", functools.partial(seed_jax, method), "compiled"),
        ]
        if method == "descent":
            competitors += [
                Competitor("CasADi fold", seed_casadi, "compiled"),
                Competitor("numba", seed_numba, "by hand"),
            ]
        one = functools.partial(_one, Task(method, 1, ITERATIONS))
        found.append(Case(f"first result: {method}", 1, "function", one, competitors, rtol=1e-9))
    competitors = [
        Competitor("dualtape loop", network, "compiled", ours=True),
        Competitor("JAX scan", network_jax, "compiled"),
    ]
    found.append(
        Case("first result: a network", 1, "function", lambda: numpy_after(1), competitors, rtol=1e-7, atol=1e-10)
    )
    return found


def _one(task: Task) -> Answer:
    return reference(task, LEARN_RATE)
