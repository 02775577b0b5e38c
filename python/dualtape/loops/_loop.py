# SPDX-License-Identifier: MIT
"""`loop`: one training loop, inside the core. Start reading at loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray
from dualtape.loops._checkpoint import Checkpoint
from dualtape.loops._drive import STOPS, Meter, Progress, check_memory, drive
from dualtape.loops._eager import run_eagerly
from dualtape.loops._results import Run
from dualtape.loops._step import Step, location
from dualtape.tree import flatten, tree_map, unflatten

RECORDS = 10_000  # so many at most, where nobody says how often to record


class Data:
    """The data of minibatches: a tree of arrays with a leading axis of observations."""

    def __init__(self, where: str, data: Any, batch_size: int | None, shuffle: int | bool | None) -> None:
        self.data, self.size, self.shuffle = data, batch_size, None
        if data is None:
            if batch_size is not None or shuffle is not None:
                raise TypeError(f"{where}: batch_size and shuffle are for data; none was given; pass data=(X, Y).")
            return
        self.leaves, self.structure = flatten(tree_map(as_data, data))
        if not self.leaves or any(leaf.ndim == 0 for leaf in self.leaves):
            raise ShapeError(f"{where}: data must be arrays with a leading axis of observations; got {data!r:.60}.")
        rows = {leaf.shape[0] for leaf in self.leaves}
        if len(rows) > 1:
            raise ShapeError(
                f"{where}: the arrays of data must have as many observations each; got "
                f"{', '.join(str(leaf.shape) for leaf in self.leaves)}; the observations are the leading axis."
            )
        self.rows = rows.pop()
        self.size = self.rows if batch_size is None else int(batch_size)
        if not 1 <= self.size <= self.rows:
            raise ValueError(f"{where}: batch_size must be 1 to {self.rows}, the number of observations; got {batch_size}.")
        if shuffle is not None and shuffle is not False:
            self.shuffle = int(shuffle)

    @property
    def core(self) -> Any:
        return None if self.data is None else (self.leaves, self.size, self.shuffle)

    def batch(self, iteration: int) -> Any:
        """The minibatch of an iteration, as the tree that the step sees."""
        return None if self.data is None else unflatten(self.structure, self.batch_leaves(iteration))

    def batch_leaves(self, iteration: int) -> list[dlarray]:
        if self.data is None:
            return []
        rows = _core.batch_rows(self.rows, self.size, self.shuffle, iteration)
        return [dlarray(leaf[rows]) for leaf in self.leaves]


def as_data(leaf: Any) -> Any:
    """A leaf of data as an ndarray of a dtype that the core has."""
    array = np.asarray(leaf)
    return np.ascontiguousarray(array if array.dtype in (np.float32, np.float64, np.bool_, np.int64) else array.astype(float))


def check_iterations(where: str, iterations: Any) -> int:
    if isinstance(iterations, bool) or not isinstance(iterations, (int, np.integer)) or iterations < 0:
        raise ValueError(f"{where}: iterations must be a whole number from 0; got {iterations!r}.")
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
    record_every: int | None | str = "auto",
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
        returned; the loop ends where it is true. Further parameters are filled by name, as those of the step.
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
        filled by name). They are operands: another value needs no other program.

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
    maker = Step(where, step, state, hyperparameters, {}, until, source.batch(1), seed, iterations)
    maker.check_extra()
    begin = time.perf_counter()
    if not compiled:
        if checkpoint is not None:
            raise ValueError("loop: a checkpoint needs compiled=True; leave it out to debug.")
        return run_eagerly(maker, source, iterations, every, Meter(progress, iterations, "it"))
    core, program, values_of = prepare(maker, source, iterations, every, contract)
    meter = Meter(progress, iterations, "it")
    keeper = Checkpoint.of(where, checkpoint, checkpoint_every, core, program, maker)
    program, interrupted = drive(maker, core, program, values_of, contract, 1, meter, keeper.maybe_write)
    keeper.write()
    return finish(maker, core, every, interrupted, time.perf_counter() - begin)


def prepare(maker: Step, source: Data, iterations: int, every: int, contract: bool) -> tuple[Any, Any, Any]:
    """Trace the first iteration and make the runs: (core, program, the inputs of any iteration)."""

    def values_of(run: int, iteration: int) -> list[Any]:
        batch = iter(source.batch_leaves(iteration))
        out = []
        for item in maker.inputs:
            value = item.value
            if item.source == "iteration":
                value = float(iteration)
            elif item.source == "table":
                value = float(maker.tables[item.name][iteration - 1])
            elif item.source == "batch":
                value = next(batch)
            out.append(value)
        return out

    program, _ = maker.trace(maker.state, [item.value for item in maker.inputs], contract)
    check_memory("loop", 1, iterations // every if every else 0, maker.state, maker.kinds[len(maker.state) :])
    core = _core.Sweep(
        program=program,
        count=1,
        state=[np.asarray(leaf)[None] for leaf in maker.state],
        values=len(maker.value_paths),
        until=maker.until is not None,
        sources=sources(maker),
        iterations=iterations,
        record_every=every,
        first_stream=0,
        lanes=1,
        batches=source.core,
    )
    return core, program, values_of


def sources(maker: Step) -> list[tuple[str, Any, int]]:
    """The inputs behind the state, as the core takes them."""
    out, leaf = [], 0
    for item in maker.inputs:
        value: Any = None
        if item.source == "fixed":
            value = np.asarray(item.value)
        elif item.source == "swept":
            value = maker.swept[item.name]
        elif item.source == "table":
            value = maker.tables[item.name]
        out.append((item.source, value, leaf))
        leaf += item.source == "batch"
    return out


def finish(maker: Step, core: Any, every: int, interrupted: bool, seconds: float) -> Run:
    """The one run of a loop as a Run."""
    assert maker.value_structure is not None
    state = [with_labels(leaf[0], like) for leaf, like in zip(core.state, maker.state, strict=True)]
    done = int(core.iterations[0])
    value = [dlarray(leaf[0]) for leaf in core.value]
    history = None
    if every and value:
        history = unflatten(maker.value_structure, [leaf[0][: done // every] for leaf in core.history])
    return Run(
        state=unflatten(maker.structure, state),
        value=unflatten(maker.value_structure, value) if value and done else None,
        history=history,
        iterations=done,
        stopped=str(STOPS[core.stopped[0]]),
        record_every=every or None,
        seconds=seconds,
    )


def with_labels(leaf: Any, like: dlarray) -> dlarray:
    return dlarray(leaf, like.dims) if like.dims else dlarray(leaf)


__all__ = ["Data", "finish", "location", "loop", "prepare", "sources"]
