# SPDX-License-Identifier: MIT
"""The loop in plain Python, for `compiled=False`: the same step, line by line, with the same numbers.

Hyperparameters and the iteration come as weak scalars: dlarrays that take the dtype of what they meet, as Python's
numbers do, so that powers and the like are computed by the same functions as inside the core.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import dlarray
from dualtape.loops._results import Run
from dualtape.loops._step import Step
from dualtape.tree import unflatten


def eager_values(maker: Step, source: Any, run: int, iteration: int) -> list[Any]:
    """The inputs of an iteration of a run."""
    batch = iter(source.batch_leaves(iteration))
    out = []
    for item in maker.inputs:
        value = item.value
        if item.source == "swept":
            value = maker.swept[item.name][run]
        elif item.source == "iteration":
            value = float(iteration)
        elif item.source == "stream":
            value = float(run)
        elif item.source == "batch":
            value = next(batch)
        if item.weak:
            out.append(_core.weak_scalar(float(value)))
        else:
            out.append(value if isinstance(value, dlarray) else dlarray(value))
    return out


def is_finite(leaf: Any) -> bool:
    return leaf.dtype.kind != "f" or bool(np.isfinite(_core.extractdata(leaf)).all())


def run_eagerly(
    maker: Step, source: Any, iterations: int, every: int, meter: Any, run: int = 0, state: Any = None
) -> Run:
    """One run; `state` are the leaves to start with, by default the maker's."""
    begin = time.perf_counter()
    now = list(maker.state if state is None else state)
    value: list[Any] = []
    records: list[list[Any]] = []
    done, stopped = 0, "iterations"
    try:
        for iteration in range(1, iterations + 1):
            new, value, stop = maker.resolve(list(now), eager_values(maker, source, run, iteration))
            done = iteration
            if every and iteration % every == 0:
                records.append([_core.extractdata(leaf) for leaf in value])
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
    if every and value and maker.value_structure is not None:
        history = unflatten(maker.value_structure, [np.array(column) for column in zip(*records, strict=True)]) if records else None
    return Run(
        state=unflatten(maker.structure, now),
        value=unflatten(maker.value_structure, value) if value and maker.value_structure is not None else None,
        history=history,
        iterations=done,
        stopped=stopped,
        record_every=every or None,
        seconds=time.perf_counter() - begin,
    )
