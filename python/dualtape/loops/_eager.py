# SPDX-License-Identifier: MIT
"""The loop in plain Python, for `compiled=False`: the same step, line by line, with the same numbers.

Hyperparameters and the iteration come as weak scalars: dlarrays that take the dtype of what they meet, as Python's
numbers do, so that powers and the like are computed by the same functions as inside the core.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from dualtape._core import extractdata
from dualtape.loops._drive import Meter
from dualtape.loops._results import Run
from dualtape.loops._step import Step
from dualtape.tree import unflatten


def is_finite(leaf: Any) -> bool:
    return leaf.dtype.kind != "f" or bool(np.isfinite(extractdata(leaf)).all())


def run_eagerly(step: Step, every: int, meter: Meter, run: int = 0, state: Sequence[Any] | None = None) -> Run:
    """One run; `state` are the leaves to start with, by default the step's."""
    begin = time.perf_counter()
    now = list(step.state if state is None else state)
    value: list[Any] = []
    records: list[list[Any]] = []
    done, stopped = 0, "iterations"
    try:
        for iteration in range(1, step.iterations + 1):
            new, value, stop = step.resolve(list(now), step.values(run, iteration))
            done = iteration
            if every and iteration % every == 0:
                records.append([np.asarray(extractdata(leaf)) for leaf in value])
            if not all(map(is_finite, new)):
                stopped = "nonfinite"
                break
            now = new
            meter.show(done)
            if stop is not None and bool(stop):
                stopped = "until"
                break
    except KeyboardInterrupt:
        stopped = "interrupted"
    finally:
        meter.close()
    history = None
    if every and value and step.value_structure is not None:
        columns = [np.array([row[i] for row in records], leaf.dtype) for i, leaf in enumerate(value)]
        columns = [c.reshape(len(records), *leaf.shape) for c, leaf in zip(columns, value, strict=True)]
        history = unflatten(step.value_structure, columns)
    return Run(
        state=unflatten(step.structure, now),
        value=unflatten(step.value_structure, value) if value and step.value_structure is not None else None,
        history=history,
        iterations=done,
        stopped=stopped,
        record_every=every or None,
        seconds=time.perf_counter() - begin,
    )
