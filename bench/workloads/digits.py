# SPDX-License-Identifier: MIT
"""One training step of a small network on handwritten digits: 64-32-10, tanh, Adam, a batch of 64.

The network is so small that an array library spends its time on calls, not on arithmetic.  Start with
`numpy_by_hand`, which has the whole step in the open; the reference is the same step in plain Python floats.
Answers are the parameters after three steps on three batches.  The data are scikit-learn's bundled digits;
without scikit-learn, random numbers of the same shape, and the name of the case says so.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import Answer, Case, Competitor, Prepared
from ..native import Array, double, doubles, function, int64, pointer
from ..reference import updates

INPUTS, HIDDEN, OUTPUTS, BATCH = 64, 32, 10, 64
RATE = 1e-3
CHECKED = 3

Params = dict[str, Any]
Step = Callable[[int], Any]


@functools.cache
def data() -> tuple[Array, NDArray[np.int64], bool]:
    """Return images scaled to [0, 1], their labels, and whether they are real."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        rng = np.random.default_rng(0)
        return rng.integers(0, 17, (1797, INPUTS)) / 16.0, rng.integers(0, OUTPUTS, 1797), False
    images, labels = load_digits(return_X_y=True)
    return images / 16.0, labels.astype(np.int64), True


def batch(k: int) -> tuple[Array, NDArray[np.int64]]:
    """Return the k-th minibatch of images and labels."""
    images, labels, _ = data()
    start = k * BATCH % (len(labels) - BATCH)
    return np.ascontiguousarray(images[start : start + BATCH]), labels[start : start + BATCH]


def one_hot(labels: NDArray[np.int64]) -> Array:
    return np.eye(OUTPUTS)[labels]


def initial() -> dict[str, Array]:
    """Return the parameters to start from (Glorot and Bengio 2010, uniform)."""
    rng = np.random.default_rng(1)
    wide, narrow = math.sqrt(6 / (INPUTS + HIDDEN)), math.sqrt(6 / (HIDDEN + OUTPUTS))
    return {
        "W1": rng.uniform(-wide, wide, (INPUTS, HIDDEN)),
        "b1": np.zeros(HIDDEN),
        "W2": rng.uniform(-narrow, narrow, (HIDDEN, OUTPUTS)),
        "b2": np.zeros(OUTPUTS),
    }


def reference() -> Answer:
    """Return the parameters after the checked steps, number by number in plain Python."""
    params = {name: value.tolist() for name, value in initial().items()}
    flat = [0.0] * sum(np.size(v) for v in params.values())
    averages: list[tuple[float | None, float | None]] = [(None, None)] * len(flat)
    for k in range(CHECKED):
        x, labels = (a.tolist() for a in batch(k))
        grads = _gradient(params, x, labels)
        flat = [v for name in params for v in np.ravel(params[name]).tolist()]
        for i, (p, g) in enumerate(zip(flat, grads, strict=True)):
            flat[i], m, v = updates.adam(p, g, *averages[i], k + 1, RATE)
            averages[i] = m, v
        params = _unflatten(flat)
    return {name: np.array(value) for name, value in params.items()}


def _unflatten(flat: list[float]) -> dict[str, Any]:
    params, start = {}, 0
    for name, value in initial().items():
        params[name] = np.reshape(flat[start : start + value.size], value.shape).tolist()
        start += value.size
    return params


def _gradient(params: dict[str, Any], x: list[list[float]], labels: list[int]) -> list[float]:
    """Return the gradient of the mean cross-entropy, flat, in the order of the parameters."""
    w1, b1, w2, b2 = params.values()
    dw1 = [[0.0] * HIDDEN for _ in range(INPUTS)]
    dw2 = [[0.0] * OUTPUTS for _ in range(HIDDEN)]
    db1, db2 = [0.0] * HIDDEN, [0.0] * OUTPUTS
    for image, label in zip(x, labels, strict=True):
        h = [math.tanh(b1[j] + sum(image[i] * w1[i][j] for i in range(INPUTS))) for j in range(HIDDEN)]
        scores = [b2[c] + sum(h[j] * w2[j][c] for j in range(HIDDEN)) for c in range(OUTPUTS)]
        weights = [math.exp(s - max(scores)) for s in scores]
        delta = [(w / sum(weights) - (c == label)) / BATCH for c, w in enumerate(weights)]
        for c in range(OUTPUTS):
            db2[c] += delta[c]
        for j in range(HIDDEN):
            back = sum(delta[c] * w2[j][c] for c in range(OUTPUTS)) * (1.0 - h[j] ** 2)
            db1[j] += back
            for c in range(OUTPUTS):
                dw2[j][c] += h[j] * delta[c]
            for i in range(INPUTS):
                dw1[i][j] += image[i] * back
    return [v for rows in (dw1, [db1], dw2, [db2]) for row in rows for v in row]


def stepping(start: Callable[[], tuple[Step, Callable[[], Answer]]]) -> Prepared:
    """Prepare a competitor from a function that gives a step and a look at the parameters."""
    step, _ = start()
    k = 0

    def run() -> None:
        nonlocal k
        step(k)
        k += 1

    def answer() -> Answer:
        fresh, look = start()
        for i in range(CHECKED):
            fresh(i)
        return look()

    return Prepared(run, answer)


def batches_as(convert: Callable[[Array, NDArray[np.int64]], tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Return the minibatches of an epoch, converted beforehand: what is measured is the step."""
    return [convert(*batch(k)) for k in range(len(data()[1]) // BATCH)]


def dualtape() -> Prepared:
    import dualtape as dt
    from dualtape import numpy as dnp

    batches = batches_as(lambda x, labels: (dt.dlarray(x), dt.dlarray(one_hot(labels))))

    def my_loss(params: Params, x: Any, targets: Any) -> Any:
        h = dnp.tanh(x @ params["W1"] + params["b1"])
        scores = h @ params["W2"] + params["b2"]
        loss = -(dt.log_softmax(scores, axis=1) * targets).sum() / BATCH
        return loss, dt.dlgradient(loss, params)

    def start() -> tuple[Step, Callable[[], Answer]]:
        params: Params = {name: dt.dlarray(value) for name, value in initial().items()}
        avg_g = avg_sqg = None

        def step(k: int) -> None:
            nonlocal params, avg_g, avg_sqg
            _, grads = dt.dlfeval(my_loss, params, *batches[k % len(batches)])
            params, avg_g, avg_sqg = dt.adamupdate(params, grads, avg_g, avg_sqg, k + 1, learn_rate=RATE)

        return step, lambda: {name: dt.extractdata(value) for name, value in params.items()}

    return stepping(start)


def numpy_by_hand() -> Prepared:
    return stepping(_start_numpy)


def numpy_after(steps: int) -> Answer:
    """Return the parameters after so many of NumPy's steps, the first of which the reference confirms."""
    step, look = _start_numpy()
    for k in range(steps):
        step(k)
    return look()


def _start_numpy() -> tuple[Step, Callable[[], Answer]]:
    batches = batches_as(lambda x, labels: (x, one_hot(labels)))

    params = initial()
    # All parameters in one vector, so that Adam is a dozen operations and not four dozen.
    flat = np.concatenate([value.ravel() for value in params.values()])
    grads, m, v, scratch = (np.zeros_like(flat) for _ in range(4))
    w1, b1, w2, b2 = _views(flat)
    dw1, db1, dw2, db2 = _views(grads)

    def step(k: int) -> None:
        x, targets = batches[k % len(batches)]
        h = np.tanh(x @ w1 + b1)
        scores = h @ w2 + b2
        delta = np.exp(scores - scores.max(axis=1, keepdims=True))
        delta /= delta.sum(axis=1, keepdims=True)
        delta -= targets
        delta /= BATCH
        np.matmul(h.T, delta, out=dw2)
        np.sum(delta, axis=0, out=db2)
        back = delta @ w2.T
        back *= 1.0 - h * h
        np.matmul(x.T, back, out=dw1)
        np.sum(back, axis=0, out=db1)
        np.multiply(m, 0.9, out=m)
        np.multiply(grads, 0.1, out=scratch)
        np.add(m, scratch, out=m)
        np.multiply(v, 0.999, out=v)
        np.multiply(grads, grads, out=scratch)
        np.multiply(scratch, 0.001, out=scratch)
        np.add(v, scratch, out=v)
        root = math.sqrt(1.0 - 0.999 ** (k + 1))
        np.sqrt(v, out=scratch)
        np.add(scratch, 1e-8 * root, out=scratch)
        np.divide(m, scratch, out=scratch)
        np.multiply(scratch, RATE * root / (1.0 - 0.9 ** (k + 1)), out=scratch)
        np.subtract(flat, scratch, out=flat)

    return step, lambda: dict(zip(params, (w1, b1, w2, b2), strict=True))


def _views(flat: Array) -> list[Array]:
    views, first = [], 0
    for value in initial().values():
        views.append(flat[first : first + value.size].reshape(value.shape))
        first += value.size
    return views


def autograd() -> Prepared:
    import autograd.numpy as anp
    from autograd import value_and_grad
    from autograd.scipy.special import logsumexp

    batches = batches_as(lambda x, labels: (x, one_hot(labels)))

    def loss(params: Params, x: Array, targets: Array) -> Any:
        scores = anp.tanh(x @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]
        return -anp.sum((scores - logsumexp(scores, axis=1, keepdims=True)) * targets) / BATCH

    slope = value_and_grad(loss)

    def start() -> tuple[Step, Callable[[], Answer]]:
        params: Params = dict(initial())
        averages = {name: (np.zeros_like(p), np.zeros_like(p)) for name, p in params.items()}

        def step(k: int) -> None:
            _, grads = slope(params, *batches[k % len(batches)])
            for name, g in grads.items():
                m, v = averages[name]
                m, v = averages[name] = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                root = np.sqrt(v / (1.0 - 0.999 ** (k + 1))) + 1e-8
                params[name] = params[name] - RATE * (m / (1.0 - 0.9 ** (k + 1))) / root

        return step, lambda: params

    return stepping(start)


def native() -> Prepared:
    batches = batches_as(lambda x, labels: (x, one_hot(labels)))
    addresses = [(pointer(x), pointer(targets)) for x, targets in batches]
    call = function("digits", "train", int64, double, *[doubles] * 5)

    def start() -> tuple[Step, Callable[[], Answer]]:
        flat = np.concatenate([value.ravel() for value in initial().values()])
        state = np.zeros_like(flat), np.zeros_like(flat)
        places = [pointer(a) for a in (flat, *state)]

        def step(k: int, _: object = (batches, state)) -> None:
            call(k + 1, RATE, *addresses[k % len(addresses)], *places)

        return step, lambda: dict(zip(initial(), _views(flat), strict=True))

    return stepping(start)


def cases(quick: bool) -> list[Case]:
    """One case; `training` has many steps in one call."""
    from . import digits_frameworks as frameworks

    competitors = [
        Competitor("dualtape", dualtape, ours=True),
        Competitor("NumPy", numpy_by_hand, "by hand"),
        Competitor("PyTorch", functools.partial(frameworks.torch, fused=False)),
        Competitor("PyTorch, fused Adam", functools.partial(frameworks.torch, fused=True)),
        Competitor("autograd", autograd),
        Competitor("JAX jit", frameworks.jax_each, "compiled"),
        Competitor("C++", native, "by hand"),
    ]
    name = "digits" if data()[2] else "digits (random data: scikit-learn is not installed)"
    return [Case(name, 1, "step", reference, competitors, rtol=1e-9, atol=1e-10, featured=True)]
