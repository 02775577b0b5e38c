# SPDX-License-Identifier: MIT
"""What comes back: a `Run` from `dt.loop`, `Runs` from `dt.sweep`.

Both hold trees shaped like what the step returned. In Runs each leaf has the sweep's axes in front, so a result is
used like any array: ``runs.state["x1"][3]``, ``runs.value.min()``. Taking one run out (``runs[3]``) gives the Run that
``loop`` would have given.

The text of reprs is in _text.py, what `by` may be in _choose.py, tables in _tables.py, files in _store.py.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dualtape import tree
from dualtape._core import ShapeError, dlarray
from dualtape._execution import Execution

from ._over import Over, unravel

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from xarray import Dataset

    from ._choose import By

REASONS = ("iterations", "until", "nonfinite", "interrupted")


def _recorded(history: Any, axis: int, record_every: int | None) -> NDArray[np.int64]:
    """The iterations of the records of a history whose records lie along `axis`."""
    leaves = tree.flatten(history)[0]
    count = leaves[0].shape[axis] if leaves and record_every else 0
    return np.arange(1, count + 1, dtype=np.int64) * (record_every or 1)


class Run:
    """What a loop gives back.

    Attributes
    ----------
    state : tree of dlarray
        The state after the last iteration.
    value : tree of dlarray, or None
        What the step returned beside the state in its last iteration.
    history : tree of ndarray, or None
        The values recorded on the way: the tree of `value`, each leaf with the records along its leading axis.
        Record r belongs to iteration ``(r + 1) * record_every``; see `recorded`.
    iterations : int
        How many iterations were run.
    stopped : str
        Why it ended: "iterations" (all were run), "until" (the condition held), "nonfinite" (a NaN or an infinity
        came up in the last iteration), or "interrupted" (Ctrl-C; what was reached is here).
    record_every : int or None
        Every how many iterations a value was recorded.
    seconds : float
        The time taken; NaN for a run taken out of a sweep, whose runs are not timed one by one.
    execution : Execution or None
        How the core ran the step; None where it did not (compiled=False), or elsewhere, or for one of many.
    """

    __slots__ = ("execution", "history", "iterations", "record_every", "seconds", "state", "stopped", "value")

    def __init__(
        self,
        *,
        state: Any,
        value: Any = None,
        history: Any = None,
        iterations: int,
        stopped: str,
        record_every: int | None = None,
        seconds: float = math.nan,
        execution: Execution | None = None,
    ) -> None:
        if stopped not in REASONS:
            raise ValueError(
                f"Run(stopped={stopped!r}): there is no such reason; got {stopped!r}; one of {REASONS} works."
            )
        self.state = state
        self.value = value
        self.history = history
        self.iterations = int(iterations)
        self.stopped = stopped
        self.record_every = record_every
        self.seconds = float(seconds)
        self.execution = execution

    @property
    def recorded(self) -> NDArray[np.int64]:
        """The iterations of the records, an array as long as the leaves of `history`; empty without a history."""
        return _recorded(self.history, 0, self.record_every)

    def __repr__(self) -> str:
        from . import _text

        return _text.run_text(self)


class Runs:
    """What a sweep gives back: the results of all its runs, with the sweep's axes in front.

    ``len(runs)`` is the number of runs, ``runs[i]`` the i-th as a :class:`Run` (with several axes, ``runs[i, j]``), and
    a loop over runs takes them in C order.

    Attributes
    ----------
    over : Over
        What the sweep went over.
    state : tree of ndarray
        The states after each run's last iteration; leaves have shape ``over.shape + shape of the leaf``.
    value : tree of ndarray, or None
        What the step returned in each run's last iteration; shapes as in `state`.
    history : tree of ndarray, or None
        The values recorded; leaves have shape ``over.shape + (records,) + shape of the leaf``. NaN where a run had
        stopped.
    iterations : ndarray of int64, shape ``over.shape``
        How many iterations each run took.
    stopped : ndarray of str, shape ``over.shape``
        Why each run ended; the words are those of :class:`Run`.
    record_every : int or None
        Every how many iterations a value was recorded.
    seconds : float
        The time the sweep took.
    useful : float
        The share of the iterations computed in lanes that belonged to a run: the rest is lanes that waited.
    execution : Execution or None
        How the core ran the step; None where it did not (compiled=False), or elsewhere, or in another session.
    """

    __slots__ = (
        "_why",
        "execution",
        "history",
        "iterations",
        "over",
        "record_every",
        "seconds",
        "state",
        "stopped",
        "useful",
        "value",
    )

    def __init__(
        self,
        *,
        over: Over,
        state: Any,
        value: Any = None,
        history: Any = None,
        iterations: NDArray[Any],
        stopped: NDArray[Any],
        record_every: int | None = None,
        seconds: float = math.nan,
        useful: float = 1.0,
        execution: Execution | None = None,
        why: Callable[[int], str] | None = None,
    ) -> None:
        self.over = over
        self.state = tree.tree_map(np.asarray, state)
        self.value = tree.tree_map(np.asarray, value)
        self.history = tree.tree_map(np.asarray, history)
        self.iterations = np.asarray(iterations, dtype=np.int64)
        self.stopped = np.asarray(stopped, dtype=np.str_)
        self.record_every = None if record_every is None else int(record_every)
        self.seconds = float(seconds)
        self.useful = float(useful)
        self.execution = execution
        self._why = why
        self._check()

    def _check(self) -> None:
        shape = self.shape
        for name in ("iterations", "stopped"):
            given = getattr(self, name).shape
            if given != shape:
                raise ShapeError(
                    f"Runs({name}): there must be one entry per run; got shape {given}; the sweep's axes are {shape}."
                )
        for name in ("state", "value"):
            for path, leaf in tree.leaves_with_paths(getattr(self, name), name):
                if leaf.shape[: len(shape)] != shape:
                    raise ShapeError(
                        f"Runs({path}): results have the sweep's axes in front; got shape {leaf.shape}; "
                        f"the sweep's axes are {shape}."
                    )
        if self.history is not None and not self.record_every:
            raise ValueError(
                f"Runs(record_every={self.record_every}): a history needs to know its iterations; got none; "
                "record_every=1 is a record in every iteration."
            )
        wanted = (*shape, self.recorded.size)
        for path, leaf in tree.leaves_with_paths(self.history, "history"):
            if leaf.shape[: len(wanted)] != wanted:
                raise ShapeError(
                    f"Runs({path}): a history has the sweep's axes and the records in front; got shape {leaf.shape}; "
                    f"the first axes must be {wanted}."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """The sweep's axes."""
        return self.over.shape

    @property
    def size(self) -> int:
        """The number of runs."""
        return self.over.size

    @property
    def recorded(self) -> NDArray[np.int64]:
        """The iterations of the records, shape (records,); empty without a history."""
        return _recorded(self.history, len(self.shape), self.record_every)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int | tuple[int, ...]) -> Run:
        """One run; its history ends with its last record."""
        if len(self.shape) > 1 and not isinstance(index, tuple):
            raise IndexError(
                f"runs[{index!r}]: there must be one index per axis; got 1 for axes of {self.shape}; "
                f"runs[{', '.join('0' * len(self.shape))}] is the first."
            )
        place = unravel("runs[...]", index, self.shape)
        iterations = int(self.iterations[place])
        records = min(self.recorded.size, iterations // (self.record_every or 1))
        return Run(
            state=tree.tree_map(lambda leaf: dlarray(leaf[place]), self.state),
            value=tree.tree_map(lambda leaf: dlarray(leaf[place]), self.value),
            # a copy, so that a run that is kept does not keep the whole sweep
            history=tree.tree_map(lambda leaf: leaf[place][:records].copy(), self.history),
            iterations=iterations,
            stopped=str(self.stopped[place]),
            record_every=self.record_every,
        )

    def __iter__(self) -> Iterator[Run]:
        return (self[place] for place in np.ndindex(self.shape))

    def best(self, by: By = None, last: bool = True) -> Any:
        """Where the best run is: the one with the smallest final value.

        Runs that stopped as "nonfinite", and values that are NaN or infinite, do not count. Of equal runs, the first.

        Parameters
        ----------
        by : str or callable, optional
            What to compare. A path in value or state as :func:`dualtape.tree.paths` writes it ("value['loss']"), or
            with dots ("value.loss"); or a function of the runs that returns one number for each. By default the value,
            if it is one number, or its "loss".
        last : bool
            True judges a run by its final value, False by the smallest value it recorded on the way or ended with
            (`by` must not be a function then).

        Returns
        -------
        int, or tuple of int for several axes
            So that ``runs[runs.best()]`` is the best run, and ``runs.over.at(runs.best())`` its hyperparameters.

        Raises
        ------
        ValueError
            No run is finite, or it is not clear which value is meant, or there is no such path; with ``last=False``,
            nothing was recorded.
        ShapeError
            What was named is an array in each run.
        """
        from . import _choose

        where = f"best(by={'None' if by is None else repr(by)})"
        if callable(by) and not last:
            raise ValueError(
                f"{where[:-1]}, last=False): a function of the runs says itself what counts; got last=False; "
                "let it return the smallest value of runs.history, and leave last out."
            )
        values = _choose.final(where, self, by)[1]
        if not last:
            records = _choose.recorded(where, self, by)[1]
            records = np.where(np.isfinite(records), records, np.inf)
            values = np.fmin(values, records.min(axis=-1, initial=np.inf))
        good = np.isfinite(values) & (self.stopped != "nonfinite")
        if not good.any():
            raise ValueError(
                f"{where}: there is no best run; got {self.size} runs of which none is finite; runs.why(0) says what "
                "happened in the first, and a smaller learning rate often helps."
            )
        place = np.unravel_index(int(np.argmin(np.where(good, values, np.inf))), self.shape)
        index = tuple(int(i) for i in place)
        return index[0] if len(index) == 1 else index

    def why(self, index: int | tuple[int, ...]) -> str:
        """What made a run not finite: the iteration, and the operation in the step.

        Parameters
        ----------
        index : int or tuple of int
            The number of the run in C order, or one index per axis.

        Raises
        ------
        ValueError
            The run did not stop as "nonfinite", or these runs come from a file.
        IndexError
            There is no such run.
        """
        place = unravel("why", index, self.shape)
        stopped = str(self.stopped[place])
        if stopped != "nonfinite":
            raise ValueError(
                f"why({index}): only a run that is not finite has a reason to tell; got one that stopped as "
                f"{stopped!r}; np.argwhere(runs.stopped == 'nonfinite') lists the others."
            )
        if self._why is None:
            raise ValueError(
                f"why({index}): finding the reason needs the step itself; got runs without it, from a file or another "
                "process; sweep over runs.over.at(index) again, and ask those runs."
            )
        return self._why(int(np.ravel_multi_index(place, self.shape)))

    def summary(self, by: By = None) -> str:
        """How the runs stopped, how long they took, and which is best (by `by`, as in :meth:`best`): a short text."""
        from . import _text

        return _text.summary_text(self, by)

    def to_xarray(self) -> Dataset:
        """The runs as an xarray.Dataset, with the hyperparameters as coordinates.

        Variables are named by their place in the tree, with dots: ``state.x1``, ``state.0``, ``value`` (when the value
        is a single array), ``value.loss``, ``history.loss``; then ``iterations`` and ``stopped``. Dimensions are the
        sweep's (``over.dims``), "record" for the history, and ``state.W.axis0``, ... for the axes of a leaf; value and
        history share theirs. The coordinate "record" has the iterations. A hyperparameter whose name is taken is
        called ``over.name``. The attributes hold record_every, seconds and useful.

        Raises
        ------
        ImportError
            xarray is missing; ``pip install dualtape[results]`` brings it.
        """
        from . import _tables

        return _tables.to_xarray(self)

    def to_pandas(self) -> Any:
        """The runs as a pandas.DataFrame: one row per run in C order.

        Columns are the hyperparameters, the scalar leaves of state and value (named as in :meth:`to_xarray`),
        ``iterations`` and ``stopped``. What is an array in each run (leaves, hyperparameters, the history) is left
        out: :meth:`to_xarray` has it.

        Raises
        ------
        ImportError
            pandas is missing; ``pip install dualtape[results]`` brings it.
        """
        from . import _tables

        return _tables.to_pandas(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the runs to one file, which :meth:`load` reads.

        The file is NumPy's .npz, uncompressed and without pickles. It appears under its name when it is complete:
        a crash leaves what was there before. Dicts, lists, tuples and None come back as they are; a dataclass or a
        namedtuple comes back as a plain dict of its fields (static fields are left out), since its class may be gone
        by then. What :meth:`why` needs is not saved.

        Parameters
        ----------
        path : str or path-like
            Where to. The name is taken as given; ``.npz`` is customary.

        Raises
        ------
        TypeError
            A dict has keys other than strings, numbers, bools and None.
        OSError
            The file cannot be written.
        """
        from . import _store

        _store.save(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Runs:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ValueError
            The file is damaged, is something else, or comes from a newer dualtape.
        OSError
            The file cannot be read.
        """
        from . import _store

        return _store.load(path)

    def __reduce__(self) -> tuple[Any, ...]:
        names = [name for name in self.__slots__ if name != "_why"]  # a closure over the program and the step
        return (_again, ({name: getattr(self, name) for name in names},))

    def __repr__(self) -> str:
        from . import _text

        return _text.runs_text(self)


def _again(parts: dict[str, Any]) -> Runs:
    return Runs(**parts)
