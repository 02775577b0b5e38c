# SPDX-License-Identifier: MIT
"""`sweep`: one step, thousands of runs side by side. Start reading at sweep."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, TraceError, dlarray, extractdata
from dualtape.loops._checkpoint import Checkpoint
from dualtape.loops._drive import STOPS, Meter, Progress, check_memory, drive
from dualtape.loops._eager import run_eagerly
from dualtape.loops._loop import Data, check_every, check_iterations, sources
from dualtape.loops._over import Over
from dualtape.loops._remote import run_parts
from dualtape.loops._results import Runs
from dualtape.loops._step import Names, Step, as_leaf, location
from dualtape.tree import flatten, paths, unflatten


def sweep(
    step: Callable[..., Any],
    state: Any,
    /,
    *,
    iterations: int,
    over: Over,
    until: Callable[..., Any] | None = None,
    record_every: int | None = None,
    data: Any = None,
    batch_size: int | None = None,
    shuffle: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    executor: Any = None,
    progress: Progress = None,
    checkpoint: Any = None,
    checkpoint_every: int = 1_000_000,
    compiled: bool = True,
    contract: bool = True,
    lanes: int | None = None,
    **hyperparameters: Any,
) -> Runs:
    """Run a training loop for many hyperparameters or starting points at once.

    Parameters
    ----------
    step : callable
        As in :func:`loop`.
    state : tree or callable
        Where all runs start; or a function of swept hyperparameters that gives each run's start, as in
        ``lambda x1_0, x2_0: (x1_0, x2_0)``.
    iterations : int
        How many at most, for each run.
    over : Over
        What is swept: :func:`grid`, :func:`points`, or products of them.
    until : callable, optional
        As in :func:`loop`, for each run: one that is done leaves its lane to one that waits.
    record_every : int, optional
        Keep the value of every so many-th iteration of every run; by default none. The memory is reserved at once,
        and refused with the number of bytes if it is not there.
    data, batch_size, shuffle, seed
        As in :func:`loop`. All runs see the same minibatches; random numbers differ from run to run.
    threads : int, optional
        By default as many as there are cores. Results do not depend on it.
    executor : concurrent.futures.Executor, optional
        Runs parts of the sweep elsewhere: a process pool, ``dask.distributed.Client.get_executor()``, ... What travels
        is the traced program and numbers, never the step.
    progress : bool or callable
        True shows a bar (tqdm); a function is called with (runs done, runs) now and then.
    checkpoint, checkpoint_every
        As in :func:`loop`; counted in iterations of all runs together.
    compiled, contract
        As in :func:`loop`.
    lanes : int, optional
        Runs side by side in a block; by default as many as fit the cache. Results do not depend on it.
    **hyperparameters
        Those that all runs share.

    Returns
    -------
    Runs
        Arrays with the sweep's axes in front, and the means to look at them.

    Raises
    ------
    MemoryError
        The results would not fit; nothing has been computed then.
    TypeError, ValueError, ShapeError, TraceError
        As in :func:`loop`.

    See Also
    --------
    Runs.why : which operation made a run infinite or NaN.
    """
    where, iterations = "sweep", check_iterations("sweep", iterations)
    if not isinstance(over, Over):
        raise TypeError(
            f"sweep: over must be dt.grid(...) or dt.points(...); a {type(over).__name__} was given; "
            "over=dt.grid(learn_rate=np.geomspace(1e-3, 0.2, 100)) works."
        )
    every = check_every(where, record_every, iterations)
    source = Data(where, data, batch_size, shuffle)
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)) or threads < 1:
        raise ValueError(f"sweep: threads must be a whole number from 1; got {threads!r}.")
    columns = over.columns()
    start, starts, used = starting_points(where, state, columns, over.size)
    maker = Step(where, step, start, hyperparameters, columns, until, source.batch(1), seed, iterations)
    maker.check_extra(used)
    begin = time.perf_counter()
    if not compiled:
        return sweep_eagerly(maker, source, over, starts, iterations, every, progress, begin)

    def values_of(run: int, iteration: int) -> list[Any]:
        return inputs_of(maker, source, run, iteration)

    program, _ = maker.trace([dlarray(leaf[0]) for leaf in starts], values_of(0, 1), contract)
    check_memory(where, over.size, iterations // every if every else 0, maker.state, maker.kinds[len(maker.state) :])
    settings = {
        "values": len(maker.value_paths),
        "until": until is not None,
        "sources": sources(maker),
        "iterations": iterations,
        "record_every": every,
        "lanes": lanes or 0,
        "batches": source.core,
    }
    core = _core.Sweep(program=program, count=over.size, state=starts, first_stream=0, **settings)
    meter = Meter(progress, over.size, "run")
    keeper = Checkpoint.of(where, checkpoint, checkpoint_every, core, program, maker)
    if executor is not None:
        program, interrupted = run_parts(
            maker, core, program, settings, values_of, contract, executor, meter, keeper
        )
    else:
        program, interrupted = drive(
            maker, core, program, values_of, contract, min(threads, over.size), meter, keeper.maybe_write
        )
    keeper.write()
    counters = core.counters()
    return Runs(
        over=over,
        state=shaped(maker.structure, core.state, over.shape),
        value=shaped(maker.value_structure, core.value, over.shape) if core.value else None,
        history=shaped(maker.value_structure, core.history, over.shape) if core.history else None,
        iterations=core.iterations.reshape(over.shape),
        stopped=STOPS[core.stopped].reshape(over.shape),
        record_every=every or None,
        seconds=time.perf_counter() - begin,
        useful=counters["done"] / counters["computed"] if counters["computed"] else 1.0,
        why=lambda run: explain(maker, source, core, run, contract),
    )


def shaped(structure: Any, leaves: list[Any], shape: tuple[int, ...]) -> Any:
    return unflatten(structure, [leaf.reshape(shape + leaf.shape[1:]) for leaf in leaves])


def inputs_of(maker: Step, source: Data, run: int, iteration: int) -> list[Any]:
    """The inputs of the step at an iteration of a run."""
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
        elif item.source == "table":
            value = float(maker.tables[item.name][iteration - 1])
        elif item.source == "batch":
            value = next(batch)
        out.append(value)
    return out


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
        return traced_starts(where, state, columns, used, count)
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
        raise ShapeError(f"{where}: the starts of all runs must have the same shapes; check{location(state)}.") from None


def traced_starts(where: str, state: Any, columns: dict[str, Any], used: list[str], count: int) -> Any:
    """The starts of all runs at once: the function is a step that is run for one iteration, without a state."""
    structure: list[Any] = []

    def begin(_: Any, **given: Any) -> Any:
        made = state(**given)
        leaves, found = flatten(made)
        structure[:] = [found]
        return (), [as_leaf(where, path, leaf) for path, leaf in zip(paths(found, "state"), leaves, strict=True)]

    picked = {name: columns[name] for name in used}
    maker = Step(where, begin, (), {}, picked, None, None, 0, 1)
    none = Data(where, None, None, None)
    program, _ = maker.trace([], inputs_of(maker, none, 0, 1), False)
    core = _core.Sweep(
        program=program, count=count, state=[], values=len(maker.value_paths), until=False, sources=sources(maker),
        iterations=1, record_every=0, first_stream=0, lanes=0, batches=None,
    )  # fmt: skip
    drive(maker, core, program, lambda run, k: inputs_of(maker, none, run, k), False, 1, Meter(None, 0, ""))
    leaves = core.value
    return unflatten(structure[0], [dlarray(leaf[0]) for leaf in leaves]), leaves, used


def sweep_eagerly(
    maker: Step, source: Data, over: Over, starts: list[Any], iterations: int, every: int, progress: Any, begin: float
) -> Runs:
    """The same sweep in Python, run by run."""
    found = []
    meter = Meter(progress, over.size, "run")
    for run in range(over.size):
        state = [dlarray(leaf[run]) for leaf in starts]
        found.append(run_eagerly(maker, source, iterations, every, Meter(None, 0, ""), run, state))
        meter.show(run + 1)
    meter.close()
    records = iterations // every if every else 0

    def stacked(trees: list[Any], length: int | None = None) -> Any:
        structure = flatten(trees[0])[1]
        columns = zip(*(flatten(tree)[0] for tree in trees), strict=True)
        return unflatten(structure, [stack([as_numbers(leaf) for leaf in c], length, over.shape) for c in columns])

    return Runs(
        over=over,
        state=stacked([run.state for run in found]),
        value=stacked([run.value for run in found]) if found[0].value is not None else None,
        history=stacked([run.history for run in found], records) if found[0].history is not None else None,
        iterations=np.array([run.iterations for run in found], np.int64).reshape(over.shape),
        stopped=np.array([run.stopped for run in found]).reshape(over.shape),
        record_every=every or None,
        seconds=time.perf_counter() - begin,
        useful=1.0,
        why=None,
    )


def as_numbers(leaf: Any) -> Any:
    return np.asarray(extractdata(leaf) if isinstance(leaf, dlarray) else leaf)


def stack(leaves: list[Any], length: int | None, shape: tuple[int, ...]) -> Any:
    """Leaves of all runs in one array; records are filled up with NaN to `length`."""
    if length is not None:
        filled = []
        for leaf in leaves:
            full = np.full((length, *leaf.shape[1:]), math.nan)
            full[: leaf.shape[0]] = leaf
            filled.append(full)
        leaves = filled
    both = np.stack(leaves)
    return both.reshape(shape + both.shape[1:])


def explain(maker: Step, source: Data, core: Any, run: int, contract: bool) -> str:
    """Which operation made a run infinite or NaN: the last iteration again, with a watch on every result."""
    iteration = int(core.iterations[run])
    state = [dlarray(leaf[run]) for leaf in core.state]
    _, broken = maker.trace(state, inputs_of(maker, source, run, iteration), contract, None, (), True)
    if broken is None:
        return (
            f"run {run}, iteration {iteration}: it broke by a rounding that only the compiled step makes; in plain "
            "arithmetic this iteration stays finite."
        )
    what, line = broken
    return f"run {run}, iteration {iteration}: {what}, at {line}"


__all__ = ["sweep"]
