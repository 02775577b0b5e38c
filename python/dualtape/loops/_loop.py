# SPDX-License-Identifier: MIT
"""`loop`: one training loop, inside the core. Start reading at loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import dlarray
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


def loop(
    step: Callable[..., Any],
    state: Any,
    /,
    *,
    iterations: int,
    until: Callable[..., Any] | None = None,
    record_every: int | str | None = "auto",
    data: Any = None,
    batch_size: int | None = None,
    shuffle: int | None = None,
    seed: int = 0,
    progress: Progress = None,
    checkpoint: Any = None,
    checkpoint_every: int = 1000,
    compiled: bool = True,
    contract: bool = True,
    **hyperparameters: Any,
) -> Run:
    """Run a training loop inside the core: the step is traced once and repeated without Python.

    Parameters
    ----------
    step : callable
        ``step(state, <names>)`` returns the new state, or ``(new state, value)``. Its other parameters are filled by
        name: with hyperparameters, ``iteration`` (from 1) and ``batch``. It is ordinary code: `dlfeval`, updates,
        ``if``, ``while``, helper functions. Each path that its decisions take is traced when it is first met.
    state : tree
        Where the loop starts: numbers and arrays in any containers. Structure, shapes and dtypes stay what they are.
    iterations : int
        How many at most.
    until : callable, optional
        ``until(state, value)`` or ``until(state)``, seen after each iteration with the new state and what the step
        returned; the loop ends where it is true. Further parameters are filled by name, as those of the step, and so
        is a second one that is called like a hyperparameter, or ``iteration``.
    record_every : int or None
        Keep the value of every so many-th iteration. None keeps none. By default each, or as many as make 10,000.
    data : tree of arrays, optional
        Observations along the leading axes. The step gets `batch_size` of them as ``batch``, in the same tree; what is
        left over at the end of an epoch is left out.
    batch_size : int
        Observations in a minibatch; by default all.
    shuffle : int, optional
        The seed of the order, which is another one in each epoch and the same on every machine. None: in order.
    seed : int
        Seed of `dualtape.random` inside the step.
    progress : bool or callable
        True shows a bar (tqdm); a function is called with (iterations done, iterations at most) now and then.
    checkpoint : path, optional
        Where to keep what is needed to go on; a loop that finds the file goes on from there, with the same bits.
    checkpoint_every : int
        At least so many iterations lie between two checkpoints.
    compiled : bool
        False runs the very same step in Python, for debugging.
    contract : bool
        Whether a product and a sum may be rounded once (a fused multiply-add). With False the bits are those of
        ``compiled=False``.
    **hyperparameters
        Numbers, arrays, trees; or functions of the iteration, such as schedules (further parameters of theirs are
        filled by name). They are operands: another value needs no other program. A function that cannot be traced
        (``math.exp(iteration)``, a look-up in a list) is called for all iterations before the loop begins.

    Returns
    -------
    Run
        state, value, history, iterations, stopped ("iterations", "until", "nonfinite" or "interrupted").

    Raises
    ------
    TypeError, ValueError, ShapeError
        Names that do not match, a state that changes its structure, shape or dtype.
    TraceError
        A number is taken out of a traced value (``float(x)``), or a traced value is stored outside of the step.

    Notes
    -----
    A run whose state becomes infinite or NaN stops: `stopped` is "nonfinite", `iterations` the iteration in which it
    happened, and `state` the last one that was finite. Ctrl-C ends the loop and gives what it has.
    """
    where, iterations = "loop", check_iterations("loop", iterations)
    if record_every == "auto":
        record_every = max(1, iterations // RECORDS)
    every = check_every(where, record_every, iterations)
    source = Data(where, data, batch_size, shuffle)
    maker = Step(where, step, state, hyperparameters, {}, until, source, seed, iterations)
    maker.check_extra()
    begin = time.perf_counter()
    if not compiled:
        if checkpoint is not None:
            raise ValueError("loop: a checkpoint needs compiled=True; got compiled=False; leave one of them out.")
        return run_eagerly(maker, every, Meter(where, progress, iterations, "it"))
    keeper = Checkpoint(where, checkpoint, checkpoint_every)
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
    )
