# SPDX-License-Identifier: MIT
"""`loop` and `sweep` as they are called. What they do is in _loop.py and _sweep.py, which come with the first call.

So importing dualtape stays quick: a step, its program, checkpoints and the rest are not needed before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualtape.loops._drive import Progress
    from dualtape.loops._over import Over
    from dualtape.loops._results import Run, Runs


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
    from dualtape.loops._loop import run_loop

    return run_loop(
        step, state, iterations, until, record_every, (data, batch_size, shuffle), seed, progress,
        (checkpoint, checkpoint_every), compiled, contract, hyperparameters,
    )  # fmt: skip


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
    from dualtape.loops._sweep import run_sweep

    return run_sweep(
        step, state, iterations, over, until, record_every, (data, batch_size, shuffle), seed, threads, executor,
        progress, (checkpoint, checkpoint_every), compiled, contract, lanes, hyperparameters,
    )  # fmt: skip
