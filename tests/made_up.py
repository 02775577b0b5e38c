# SPDX-License-Identifier: MIT
"""Results of sweeps that no sweep has computed, for tests of what results can do."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from typing import Any

import numpy as np

from dualtape import tree
from dualtape.loops._over import Over, grid
from dualtape.loops._results import Runs

Pair = namedtuple("Pair", "loss norm")
RATES = [0.01, 0.1, 0.2]


@dataclasses.dataclass
class Layer:
    W: Any
    bias: Any
    kind: str = dataclasses.field(default="relu", metadata={"static": True})


def runs_of(over: Over | None = None, records: int = 4, **changes: Any) -> Runs:
    """A sweep of 3 rates and 2 momenta: 40 iterations, a record every 10, one run not finite, some stopped early."""
    over = over or grid(learn_rate=RATES, momentum=[0.0, 0.9])
    shape = over.shape
    flat = np.arange(over.size, dtype=np.float64).reshape(shape)
    iterations = 40 - 10 * (flat.astype(np.int64) % 2)
    stopped = np.where(flat % 2 == 1, "until", "iterations")
    stopped.flat[-1] = "nonfinite"
    loss = 10.0 - flat
    history = loss[..., None] + np.arange(records, 0, -1)
    history = np.where(np.arange(1, records + 1) * 10 > iterations[..., None], np.nan, history)
    parts: dict[str, Any] = {
        "over": over,
        "state": {"x1": flat, "W": flat[..., None, None] + np.ones((2, 3))},
        "value": {"loss": loss, "g": flat[..., None] + np.ones(3)},
        "history": {"loss": history, "g": history[..., None] + np.ones(3)},
        "iterations": iterations,
        "stopped": stopped,
        "record_every": 10,
        "seconds": 0.0123,
        "useful": 0.9,
    }
    return Runs(**(parts | changes))


def line(**changes: Any) -> Runs:
    """One axis, and a value that is a single number."""
    parts: dict[str, Any] = {
        "over": grid(learn_rate=RATES),
        "state": (np.array([1.0, 2.0, 3.0]),),
        "value": np.array([0.5, 0.25, np.nan]),
        "iterations": np.array([5, 4, 2]),
        "stopped": np.array(["iterations", "until", "nonfinite"]),
    }
    return Runs(**(parts | changes))


def same(a: Runs, b: Runs) -> None:
    assert a.over == b.over
    for name in ("state", "value", "history"):
        one, other = getattr(a, name), getattr(b, name)
        tree.check_same(tree.flatten(one)[1], other)
        for path, leaf in tree.leaves_with_paths(one, name):
            again = dict(tree.leaves_with_paths(other, name))[path]
            np.testing.assert_array_equal(again, leaf)
            assert again.dtype == leaf.dtype
    np.testing.assert_array_equal(a.iterations, b.iterations)
    np.testing.assert_array_equal(a.stopped, b.stopped)
    np.testing.assert_array_equal(
        [a.seconds, a.useful, a.record_every or 0], [b.seconds, b.useful, b.record_every or 0]
    )  # NaN is equal here
