# SPDX-License-Identifier: MIT
"""One step, thousands of runs side by side: what `sweep` does. Start reading at run_sweep."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, TraceError, dlarray, extractdata
from dualtape._execution import execution_of
from dualtape._purity import purity
from dualtape.loops._checkpoint import Checkpoint
from dualtape.loops._data import Data
from dualtape.loops._drive import STOPS, Job, Meter, Progress, refuse_beyond
from dualtape.loops._eager import run_eagerly
from dualtape.loops._function_tables import as_leaf, location
from dualtape.loops._loop import check_every, check_iterations
from dualtape.loops._names import Names
from dualtape.loops._over import Over
from dualtape.loops._results import Runs
from dualtape.loops._step import Step
from dualtape.tree import flatten, paths, unflatten


def run_sweep(
    step: Callable[..., Any], state: Any, iterations: int, over: Over, until: Callable[..., Any] | None,
    record_every: int | None, data: tuple[Any, Any, Any], seed: int, threads: int | None, executor: Any,
    progress: Progress, checkpoint: tuple[Any, Any], compiled: bool, contract: bool, lanes: int | None,
    hyperparameters: dict[str, Any],
) -> Runs:  # fmt: skip
    """See :func:`dualtape.sweep`; `data` with batch_size and shuffle, `checkpoint` with checkpoint_every."""
    where, iterations = "sweep", check_iterations("sweep", iterations)
    if not isinstance(over, Over):
        raise TypeError(
            f"sweep: over must be dt.grid(...) or dt.points(...); a {type(over).__name__} was given; "
            "over=dt.grid(learn_rate=np.geomspace(1e-3, 0.2, 100)) works."
        )
    every = check_every(where, record_every, iterations)
    source = Data(where, *data)
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name, given, example in (("threads", threads, 1), ("lanes", lanes, 64)):
        if given is not None and (isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1):
            raise ValueError(f"sweep: {name} must be a whole number from 1; got {given!r}; {name}={example} works.")
    if executor is not None:
        from dualtape.loops import _remote  # only where it is needed: it brings concurrent.futures

        _remote.check_executor(executor)
    refuse_beyond(where, 8 * over.size * len(over.names), f"the hyperparameters of {over.size:,} runs")
    columns = over.columns()
    start, starts, used = starting_points(where, state, columns, over.size)
    maker = Step(where, step, start, hyperparameters, columns, until, source, seed, iterations)
    maker.check_extra(used)
    begin = time.perf_counter()
    if not compiled:
        if checkpoint[0] is not None or executor is not None:
            raise ValueError(
                "sweep: a checkpoint and an executor need compiled=True; got compiled=False; leave them out to debug."
            )
        return sweep_eagerly(maker, over, starts, every, Meter(where, progress, over.size, "run"), begin)
    keeper = Checkpoint(where, *checkpoint)
    meter = Meter(where, progress, over.size, "run")
    job = Job(maker, starts, over.size, every, contract, lanes or 0, keeper)
    if executor is not None:
        _remote.run_parts(job, executor, meter, threads)
    else:
        job.run(meter, min(threads, over.size))
    keeper.write()
    return finish(job, over, time.perf_counter() - begin)


def finish(job: Job, over: Over, seconds: float) -> Runs:
    """All runs of a sweep as Runs."""
    step, core, counters = job.step, job.core, job.core.counters()

    def shaped(structure: Any, leaves: list[Any]) -> Any:
        return unflatten(structure, [leaf.reshape(over.shape + leaf.shape[1:]) for leaf in leaves])

    iterations = core.iterations
    return Runs(
        over=over,
        state=shaped(step.structure, core.state),
        value=shaped(step.value_structure, core.value) if core.value else None,
        history=shaped(step.value_structure, core.history) if core.history else None,
        iterations=iterations.reshape(over.shape),
        stopped=STOPS[core.stopped].reshape(over.shape),
        record_every=job.every or None,
        seconds=seconds,
        useful=counters["done"] / counters["computed"] if counters["computed"] else 1.0,
        execution=execution_of(core.execution()),
        why=lambda run: explain(step, run, int(iterations[run]), [leaf[run] for leaf in core.state], job.contract),
    )


def starting_points(where: str, state: Any, columns: dict[str, Any], count: int) -> tuple[Any, list[Any], list[str]]:
    """The first run's start as a tree, the leaves of all starts with an axis of runs, and the names that made them."""
    if not callable(state):
        leaves, structure = flatten(state)
        found = [as_leaf(where, path, leaf) for path, leaf in zip(paths(structure, "state"), leaves, strict=True)]
        return state, [np.repeat(np.asarray(leaf)[None], count, axis=0) for leaf in found], []
    names = Names(state, 0)
    missing = [name for name in names.required if name not in columns]
    if missing:
        raise TypeError(
            f"{where}: the function of the start{location(state)} takes {', '.join(missing)}, which is not swept; over "
            f"has {', '.join(columns)}."
        )
    used = list(names.wanted(columns))
    try:
        return placed_starts(where, state, columns, used, count) or traced_starts(where, state, columns, used, count)
    except TraceError:
        pass  # it takes numbers out of its arguments, so it is called for each run
    rows = [state(**{name: columns[name][run] for name in used}) for run in range(count)]
    structure = flatten(rows[0])[1]
    table = [[as_leaf(where, "state", leaf) for leaf in flatten(row)[0]] for row in rows]
    if any(flatten(row)[1] is not structure for row in rows):
        raise ValueError(f"{where}: the function of the start{location(state)} must give one structure for all runs.")
    try:
        return rows[0], [np.stack([np.asarray(leaf) for leaf in column]) for column in zip(*table, strict=True)], used
    except ValueError:
        raise ShapeError(
            f"{where}: the starts of all runs must have the same shapes; check{location(state)}."
        ) from None


class Place:
    """Stands for a hyperparameter in a function of the start: it can be put somewhere, and nothing else."""

    __slots__ = ("name",)
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        self.name = name

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"{self.name} can only be put in a place")

    __array__ = __bool__ = __eq__ = __ne__ = _refuse


def placed_starts(where: str, state: Any, columns: dict[str, Any], used: list[str], count: int) -> Any:
    """The starts of a function that only puts hyperparameters and numbers in their places; None for any other."""
    with purity(state, where):
        try:
            leaves, structure = flatten(state(**{name: Place(name) for name in used}))
        except Exception:  # whatever it is, it will be met again
            return None
    if not all(type(leaf) is Place or type(leaf) is float for leaf in leaves):
        return None
    table = [columns[leaf.name].copy() if type(leaf) is Place else np.full(count, leaf) for leaf in leaves]
    return unflatten(structure, [dlarray(column[0]) for column in table]), table, used


def traced_starts(where: str, state: Any, columns: dict[str, Any], used: list[str], count: int) -> Any:
    """The starts of all runs at once: the function is a step that is run for one iteration, without a state."""
    structure: list[Any] = []

    def begin(_: Any, **given: Any) -> Any:
        leaves, found = flatten(state(**{name: given[name] for name in used}))
        if structure and found is not structure[0]:
            raise ValueError(
                f"{where}: the function of the start{location(state)} must give one structure for all runs."
            )
        structure[:] = [found]
        return (), [as_leaf(where, path, leaf) for path, leaf in zip(paths(found, "state"), leaves, strict=True)]

    picked = {name: columns[name] for name in used}
    maker = Step(where, begin, (), {}, picked, None, Data(where), 0, 1)
    job = Job(maker, [], count, 0, False, 0, Checkpoint(where, None, 1))
    job.run(Meter(where, None, count, "run"), 1)
    leaves, labels = job.core.value, maker.value_labels
    first = [_core.with_labels(dlarray(leaf[0]), label) for leaf, label in zip(leaves, labels, strict=True)]
    return unflatten(structure[0], first), leaves, used


def sweep_eagerly(step: Step, over: Over, starts: list[Any], every: int, meter: Meter, begin: float) -> Runs:
    """The same sweep in Python, run by run."""
    found = []
    quiet = Meter(step.where, None, 0, "it")
    interrupted = False
    iterations = step.iterations
    try:
        for run in range(over.size):
            found.append(run_eagerly(step, every, quiet, run, step.labelled(leaf[run] for leaf in starts)))
            if found[-1].stopped == "interrupted":
                interrupted = True
                break
            meter.show(run + 1)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        meter.close()
    if interrupted:
        step.iterations = 0
        while len(found) < over.size:  # what has not begun
            rest = run_eagerly(step, every, quiet, 0, step.labelled(leaf[len(found)] for leaf in starts))
            rest.stopped = "interrupted"
            found.append(rest)
        step.iterations = iterations
    records = iterations // every if every else 0
    like = next((run for run in found if run.value is not None), None)
    done = np.array([run.iterations for run in found], np.int64)

    def stacked(trees: list[Any], length: int | None = None) -> Any:
        """Trees of all runs in one; where there is none, and where records end, stands NaN."""
        model, structure = flatten(next(tree for tree in trees if tree is not None))
        columns = []
        for i, leaf in enumerate(map(as_numbers, model)):
            shape = leaf.shape if length is None else (length, *leaf.shape[1:])
            full = np.full((len(trees), *shape), math.nan if leaf.dtype.kind == "f" else 0, leaf.dtype)
            for run, tree in enumerate(trees):
                if tree is not None:
                    given = as_numbers(flatten(tree)[0][i])
                    place: Any = run if length is None else (run, slice(given.shape[0]))
                    full[place] = given
            columns.append(full.reshape(over.shape + shape))
        return unflatten(structure, columns)

    states = [flatten(run.state)[0] for run in found]
    return Runs(
        over=over,
        state=stacked([run.state for run in found]),
        value=stacked([run.value for run in found]) if like else None,
        history=stacked([run.history for run in found], records) if like and every else None,
        iterations=done.reshape(over.shape),
        stopped=np.array([run.stopped for run in found]).reshape(over.shape),
        record_every=every or None,
        seconds=time.perf_counter() - begin,
        why=lambda run: explain(step, run, int(done[run]), states[run], False),
    )


def as_numbers(leaf: Any) -> Any:
    return np.asarray(extractdata(leaf) if isinstance(leaf, dlarray) else leaf)


def explain(step: Step, run: int, iteration: int, state: list[Any], contract: bool) -> str:
    """Which operation made a run infinite or NaN: the last iteration again, with a watch on every result."""
    leaves = step.labelled(np.asarray(leaf) for leaf in state)
    _, broken = step.trace(leaves, step.values(run, iteration), contract, None, (), True)
    if broken is None:
        return (
            f"run {run}, iteration {iteration}: it broke by a rounding that only the compiled step makes; in plain "
            "arithmetic this iteration stays finite."
        )
    what, line = broken
    return f"run {run}, iteration {iteration}: {what}, at {line}"
