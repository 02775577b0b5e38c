# SPDX-License-Identifier: MIT
"""One training loop, inside the core: what `loop` does. Start reading at run_loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import dlarray
from dualtape._execution import execution_of
from dualtape.loops._checkpoint import Checkpoint
from dualtape.loops._data import Data
from dualtape.loops._drive import STOPS, Job, Meter, Progress
from dualtape.loops._eager import run_eagerly
from dualtape.loops._results import Run
from dualtape.loops._step import Step
from dualtape.tree import unflatten

RECORDS = 10_000  # so many at most, where nobody says how often to record


def check_iterations(where: str, iterations: Any) -> int:
    if isinstance(iterations, bool) or not isinstance(iterations, (int, np.integer)) or iterations < 0:
        raise ValueError(f"{where}: iterations must be a whole number from 0; got {iterations!r}; 1000 works.")
    return int(iterations)


def check_every(where: str, record_every: Any, iterations: int) -> int:
    if record_every is None:
        return 0
    if isinstance(record_every, bool) or not isinstance(record_every, (int, np.integer)) or record_every < 1:
        raise ValueError(
            f"{where}: record_every must be a whole number from 1, or None; got {record_every!r}; 100 keeps the value "
            "of every hundredth iteration."
        )
    return int(record_every)


def run_loop(
    step: Callable[..., Any], state: Any, iterations: int, until: Callable[..., Any] | None,
    record_every: int | str | None, data: tuple[Any, Any, Any], seed: int, progress: Progress,
    checkpoint: tuple[Any, Any], compiled: bool, contract: bool, hyperparameters: dict[str, Any],
) -> Run:  # fmt: skip
    """See :func:`dualtape.loop`; `data` with batch_size and shuffle, `checkpoint` with checkpoint_every."""
    where, iterations = "loop", check_iterations("loop", iterations)
    if record_every == "auto":
        record_every = max(1, iterations // RECORDS)
    every = check_every(where, record_every, iterations)
    source = Data(where, *data)
    maker = Step(where, step, state, hyperparameters, {}, until, source, seed, iterations)
    maker.check_extra()
    begin = time.perf_counter()
    if not compiled:
        if checkpoint[0] is not None:
            raise ValueError("loop: a checkpoint needs compiled=True; got compiled=False; leave one of them out.")
        return run_eagerly(maker, every, Meter(where, progress, iterations, "it"))
    keeper = Checkpoint(where, *checkpoint)
    meter = Meter(where, progress, iterations, "it")
    job = Job(maker, [np.asarray(leaf)[None] for leaf in maker.state], 1, every, contract, 1, keeper)
    job.run(meter, 1)
    keeper.write()
    return finish(job, time.perf_counter() - begin)


def finish(job: Job, seconds: float) -> Run:
    """The one run of a loop as a Run."""
    step, core = job.step, job.core
    assert step.value_structure is not None
    done = int(core.iterations[0])
    value, history = None, None
    if core.value and done:
        labels = step.value_labels
        leaves = [_core.with_labels(dlarray(leaf[0]), label) for leaf, label in zip(core.value, labels, strict=True)]
        value = unflatten(step.value_structure, leaves)
        if job.every:
            history = unflatten(step.value_structure, [leaf[0][: done // job.every] for leaf in core.history])
    return Run(
        state=unflatten(step.structure, step.labelled(leaf[0] for leaf in core.state)),
        value=value,
        history=history,
        iterations=done,
        stopped=str(STOPS[core.stopped[0]]),
        record_every=job.every or None,
        seconds=seconds,
        execution=execution_of(core.execution()),
    )
