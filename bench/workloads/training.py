# SPDX-License-Identifier: MIT
"""Training the network of `digits` with all steps in one call, and 256 narrower ones side by side.

Adam in float64 on minibatches of 64 in order: a thousand steps of one 64-32-10 network in `dt.loop`, and fifty of 256
networks with 16 hidden units and as many learning rates in `dt.sweep`. Start with `dualtape` and `dualtape_many`.
Answers are the parameters at the end; the reference is NumPy by hand, whose first steps `digits` checks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import alone
from ..model import Answer, Case, Competitor, Prepared
from ..native import Array, double, doubles, function, int64, pointer
from .digits import BATCH, OUTPUTS, RATE, Params, data, initial, numpy_after, one_hot

NARROW = 16


@functools.cache
def observations() -> tuple[Array, Array]:
    """Return images and one-hot targets, as many as make whole minibatches."""
    images, labels, _ = data()
    count = len(labels) // BATCH * BATCH
    return np.ascontiguousarray(images[:count]), one_hot(labels[:count])


def narrow() -> dict[str, Array]:
    """Return the parameters that all narrow networks start from: the first units of the wide one."""
    wide = initial()
    return {
        "W1": wide["W1"][:, :NARROW].copy(),
        "b1": np.zeros(NARROW),
        "W2": wide["W2"][:NARROW].copy(),
        "b2": np.zeros(OUTPUTS),
    }


def rates(networks: int) -> Array:
    return np.geomspace(1e-4, 1e-2, networks)


def numpy_many(networks: int, steps: int) -> Answer:
    """Return the narrow networks after so many steps; the leading axis of everything is the network."""
    images, targets = observations()
    rate = rates(networks)[:, None, None]
    params = [np.repeat(np.atleast_2d(value)[None], networks, axis=0) for value in narrow().values()]
    m, v = ([np.zeros_like(p) for p in params] for _ in range(2))
    for k in range(steps):
        first = k * BATCH % len(images)
        x, y = images[first : first + BATCH], targets[first : first + BATCH]
        w1, b1, w2, b2 = params
        h = np.tanh(x @ w1 + b1)
        weights = np.exp(h @ w2 + b2)
        delta = (weights / weights.sum(axis=2, keepdims=True) - y) / BATCH
        back = delta @ w2.transpose(0, 2, 1) * (1 - h * h)
        grads = (
            x.T @ back,
            back.sum(axis=1, keepdims=True),
            h.transpose(0, 2, 1) @ delta,
            delta.sum(axis=1, keepdims=True),
        )
        for i, g in enumerate(grads):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g * g
            root = np.sqrt(v[i] / (1 - 0.999 ** (k + 1))) + 1e-8
            params[i] = params[i] - rate * (m[i] / (1 - 0.9 ** (k + 1))) / root
    return dict(zip(initial(), params, strict=True))


def _step() -> Callable[..., Any]:
    """Return the step that loop and sweep run."""
    import dualtape as dt
    from dualtape import numpy as dnp

    def my_loss(params: Params, x: Any, targets: Any) -> Any:
        h = dnp.tanh(x @ params["W1"] + params["b1"])
        scores = h @ params["W2"] + params["b2"]
        loss = -(dt.log_softmax(scores, axis=1) * targets).sum() / BATCH
        return loss, dt.dlgradient(loss, params)

    def step(state: Any, iteration: Any, batch: Any, learn_rate: Any) -> Any:
        params, avg_g, avg_sqg = state
        _, grads = dt.dlfeval(my_loss, params, *batch)
        return dt.adamupdate(params, grads, avg_g, avg_sqg, iteration, learn_rate)

    return step


def _start(params: dict[str, Array]) -> Any:
    zeros = {name: np.zeros_like(value) for name, value in params.items()}
    return params, zeros, zeros


def dualtape(steps: int) -> Callable[[], Answer]:
    import dualtape as dt

    step, start = _step(), _start(initial())

    def run() -> Answer:
        trained = dt.loop(
            step, start, iterations=steps, data=observations(), batch_size=BATCH, learn_rate=RATE, record_every=None
        )
        return {name: dt.extractdata(leaf) for name, leaf in trained.state[0].items()}

    return run


def dualtape_many(networks: int, steps: int, threads: int = 1) -> Prepared:
    import dualtape as dt

    step, start = _step(), _start(narrow())
    options: dict[str, Any] = {"iterations": steps, "data": observations(), "batch_size": BATCH}
    over = dt.points(learn_rate=rates(networks))

    def run() -> Any:
        return dt.sweep(step, start, over=over, threads=threads, **options)

    def answer() -> Answer:
        runs = run()
        alone.check(runs, step, lambda _: start, 2, lambda i: {"learn_rate": float(rates(networks)[i])}, **options)
        return runs.state[0]

    return Prepared(run, answer)


def native(steps: int) -> Callable[[], Answer]:
    call = function("digits", "train_long", int64, double, int64, *[doubles] * 5)
    images, targets = observations()
    start = np.concatenate([value.ravel() for value in initial().values()])
    flat, m, v = (np.empty_like(start) for _ in range(3))
    places = [pointer(a) for a in (images, targets, flat, m, v)]
    ends = np.cumsum([value.size for value in initial().values()])

    def run() -> Answer:
        flat[:], m[:], v[:] = start, 0.0, 0.0
        call(steps, RATE, len(images) // BATCH, *places)
        return dict(zip(initial(), np.split(flat, ends[:-1]), strict=True))

    return run


def native_many(networks: int, steps: int) -> Callable[[], Answer]:
    call = function("digits", "train_many", int64, int64, doubles, int64, *[doubles] * 5)
    images, targets = observations()
    rate = rates(networks)
    start = np.concatenate([value.ravel() for value in narrow().values()])
    flat, m, v = (np.empty((networks, start.size)) for _ in range(3))
    places = [pointer(a) for a in (images, targets, flat, m, v)]
    ends = np.cumsum([value.size for value in narrow().values()])

    def run() -> Answer:
        flat[:], m[:], v[:] = start, 0.0, 0.0
        call(networks, steps, pointer(rate), len(images) // BATCH, *places)
        return dict(zip(initial(), np.split(flat, ends[:-1], axis=1), strict=True))

    return run


def cases(quick: bool) -> list[Case]:
    """Two cases: one network, many networks."""
    from . import training_frameworks as frameworks

    bound = functools.partial
    steps = 20 if quick else 4000
    one = [
        Competitor("dualtape loop", bound(dualtape, steps), "compiled", ours=True),
        Competitor("JAX scan", bound(frameworks.jax, steps), "compiled"),
        Competitor("PyTorch", bound(frameworks.torch, steps)),
        Competitor("C++", bound(native, steps), "by hand"),
    ]
    networks, fewer = (8, 5) if quick else (256, 50)
    many = [
        Competitor("dualtape sweep", bound(dualtape_many, networks, fewer), "compiled", ours=True),
        Competitor("dualtape sweep, 2 threads", bound(dualtape_many, networks, fewer, 2), "compiled", ours=True),
        Competitor("JAX vmap(scan)", bound(frameworks.jax_many, networks, fewer), "compiled"),
        Competitor("PyTorch, batched", bound(frameworks.torch_many, networks, fewer)),
        Competitor("C++, one by one", bound(native_many, networks, fewer), "by hand"),
    ]
    random = "" if data()[2] else " (random data)"
    return [
        Case(
            f"training: {steps:,} steps{random}",
            steps,
            "step",
            bound(numpy_after, steps),
            one,
            rtol=1e-6,
            atol=1e-8,
            featured=True,
        ),
        Case(
            f"training: {networks} networks by {fewer} steps{random}",
            networks * fewer,
            "step",
            bound(numpy_many, networks, fewer),
            many,
            rtol=1e-6,
            atol=1e-8,
        ),
    ]
