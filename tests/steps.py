# SPDX-License-Identifier: MIT
"""Steps and comparisons that the tests of loops and sweeps share."""

from __future__ import annotations

import random as python_random
from typing import Any

import numpy as np
import pytest

import dualtape as dt
from dualtape import _core

START = (2.0, 2.0)  # of the key terms


def valley(x1: Any, x2: Any) -> Any:
    """The loss of the key terms."""
    return (x2 - x1**2) ** 2 + (1 - x1) ** 2


def valley_and_slopes(x1: Any, x2: Any) -> Any:
    y = valley(x1, x2)
    return y, *dt.dlgradient(y, x1, x2)


def descent(state: Any, learn_rate: Any) -> Any:
    """Gradient descent on the valley; the value is the loss before the update."""
    x1, x2 = state
    loss, d1, d2 = dt.dlfeval(valley_and_slopes, x1, x2)
    return (x1 - learn_rate * d1, x2 - learn_rate * d2), loss


def branching(state: Any, learn_rate: Any) -> Any:
    """A step with decisions: signs, a rare reset, a bounded loop."""
    x, count = state
    slope = 2 * x + dt.numpy.sin(3 * x)
    if slope > 1:
        slope = slope / slope
    elif slope < -1:
        slope = -0.5
    x = x - learn_rate * slope
    halvings = 0
    while abs(x) > 2 and halvings < 3:
        x = x / 2
        halvings += 1
    if count > 30:
        return (x + 1.5, count * 0.0), x
    return (x, count + 1), x


def backtracking(state: Any, shrink: Any) -> Any:
    """Gradient descent with a backtracking line search."""
    x1, x2 = state
    loss, d1, d2 = dt.dlfeval(valley_and_slopes, x1, x2)
    rate, slope = 1.0, d1 * d1 + d2 * d2
    while valley(x1 - rate * d1, x2 - rate * d2) > loss - 0.3 * rate * slope:
        rate = rate * shrink
    return (x1 - rate * d1, x2 - rate * d2), {"loss": loss, "rate": rate * (loss * 0 + 1)}


def noisy(state: Any, scale: Any) -> Any:
    return 0.9 * state + scale * dt.random.normal(), state


def leaves(data: Any) -> list[Any]:
    """The leaves of a tree as ndarrays."""
    return [np.asarray(dt.extractdata(leaf)) for leaf in dt.tree.flatten(data)[0]]


def assert_same_bits(a: Any, b: Any) -> None:
    """Two trees have the same containers, dtypes, shapes and bits."""
    assert dt.tree.flatten(a)[1] is dt.tree.flatten(b)[1]
    for x, y in zip(leaves(a), leaves(b), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_array_equal(x, y)
        assert x.tobytes() == y.tobytes()


def assert_same_run(a: Any, b: Any) -> None:
    """Two runs, or runs, agree in everything but time."""
    np.testing.assert_array_equal(a.iterations, b.iterations)
    np.testing.assert_array_equal(a.stopped, b.stopped)
    for name in ("state", "value", "history"):
        assert_same_bits(getattr(a, name), getattr(b, name))


def by_hand(step: Any, state: Any, **options: Any) -> tuple[Any, Any]:
    """(compiled without contraction, in plain Python): runs whose bits must agree."""
    return dt.loop(step, state, contract=False, **options), dt.loop(step, state, compiled=False, **options)


def alone(step: Any, start: Any, runs: Any, index: Any, **options: Any) -> Any:
    """A run of a sweep repeated as a loop of its own."""
    swept = runs.over.at(index)
    taken = start.__code__.co_varnames[: start.__code__.co_argcount] if callable(start) else ()
    state = start(**{name: swept.pop(name) for name in taken}) if callable(start) else start
    return dt.loop(step, state, record_every=runs.record_every, **swept, **options)


def assert_each_as_alone(step: Any, start: Any, runs: Any, indices: Any = None, **options: Any) -> None:
    """Runs of a sweep are those of loops of their own."""
    for index in np.ndindex(runs.shape) if indices is None else indices:
        assert_same_run(runs[index], alone(step, start, runs, index, **options))


def count_traces(patch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one with each trace."""
    made: list[int] = []
    real = _core.trace

    def counting(*args: Any, **kwargs: Any) -> Any:
        made.append(1)
        return real(*args, **kwargs)

    patch.setattr(_core, "trace", counting)
    return made


def seeded(count: int, seed: int = 0) -> list[float]:
    """Numbers from -3 to 3."""
    generator = python_random.Random(seed)
    return [generator.uniform(-3, 3) for _ in range(count)]
