# SPDX-License-Identifier: MIT
"""What the pictures show, read from whatever it is given: lists, arrays, dicts, runs. No matplotlib here.

A *run* is anything with `.history` and `.state`, such as the result of `dt.loop`. Its history is found by
name ("loss", "x1", "learn_rate") in a dict, a namedtuple or a dataclass; a history that is one plain array
is the loss. Its entries count as iterations 1, 2, ..., times `.record_every` if the run has that. Start
reading at `curves` (something over iterations) and `path` (points in the plane).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


class Curve(NamedTuple):
    """A line over the iterations; an empty label stays out of the legend."""

    label: str
    iterations: Floats
    values: Floats


class Path(NamedTuple):
    """A training path in the plane of two learnables; an empty label stays out of the legend."""

    label: str
    iterations: Floats
    x1: Floats
    x2: Floats


def is_run(data: Any) -> bool:
    return hasattr(data, "history") and hasattr(data, "state")


def vector(where: str, data: Any) -> Floats:
    """A 1-D float64 array of `data`: an array, or a list of numbers or of scalar dlarrays."""
    values: Floats
    try:
        if isinstance(data, (list, tuple)):  # item by item: a list of dlarrays is what a hand-written loop keeps
            values = np.array([float(value) for value in data], dtype=np.float64)
        else:
            values = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"{where}: the values must be numbers, one per iteration; got {data!r:.60}; "
            "a list of floats or an array works."
        ) from error
    if values.ndim != 1 or values.size == 0:
        raise ValueError(
            f"{where}: the values must be a sequence with one number per iteration; got shape "
            f"{values.shape}; pass several lines as a dict, label -> values."
        )
    return values


def _recorded(where: str, run: Any, name: str) -> tuple[Floats, Floats]:
    """The iterations and values that a run recorded under a name."""
    history = run.history
    if isinstance(history, Mapping):
        found = history.get(name)
    elif hasattr(history, name):
        found = getattr(history, name)
    else:
        found = history if name == "loss" and not isinstance(history, (tuple, type(None))) else None
    if found is None:
        raise ValueError(
            f"{where}: the run has recorded no {name!r}; got a history of type {type(history).__name__}; "
            f'let the step return a dict, for example {{"loss": loss, {name!r}: ...}}, beside the new state.'
        )
    values = vector(f"{where}, history {name!r}", found)
    every = float(getattr(run, "record_every", 1) or 1)
    return every * np.arange(1, values.size + 1, dtype=np.float64), values


def _counted(where: str, size: int, iterations: Any) -> Floats:
    if iterations is None:
        return np.arange(1, size + 1, dtype=np.float64)
    numbers = vector(f"{where}, iterations", iterations)
    if numbers.size != size:
        raise ValueError(
            f"{where}: every value needs its iteration; got {size} values and {numbers.size} iterations; "
            "leave iterations out to count from 1."
        )
    return numbers


def curves(
    where: str,
    data: Any,
    name: str,
    iterations: Any = None,
    sample: Callable[[Any], tuple[Floats, Floats] | None] | None = None,
) -> list[Curve]:
    """Read one line or several: values, a run, or a dict label -> values or run.

    `name` is what to look for in a run; `sample` may turn something else (a schedule) into a line.
    """

    def read(label: str, item: Any) -> Curve:
        here = f"{where}[{label!r}]" if label else where
        if is_run(item):
            return Curve(label, *_recorded(here, item, name))
        sampled = sample(item) if sample else None
        if sampled is not None:
            return Curve(label, *sampled)
        values = vector(here, item)
        return Curve(label, _counted(here, values.size, iterations), values)

    if isinstance(data, Mapping):
        if not data:
            raise ValueError(f"{where}: there is nothing to draw; got an empty dict; give it label -> values.")
        return [read(str(label), item) for label, item in data.items()]
    return [read("", data)]


def path(where: str, data: Any, label: str = "", iterations: Any = None) -> Path:
    """Read one path: a pair (x1, x2), an array of shape (n, 2), a dict with "x1" and "x2", or a run."""
    if is_run(data):
        numbers, x1 = _recorded(where, data, "x1")
        return Path(label, numbers, x1, _recorded(where, data, "x2")[1])
    if isinstance(data, Mapping) and "x1" in data and "x2" in data:
        pair = (data["x1"], data["x2"])
    elif isinstance(data, np.ndarray) and data.ndim == 2 and data.shape[1] == 2:
        pair = (data[:, 0], data[:, 1])
    elif isinstance(data, (tuple, list)) and len(data) == 2:
        pair = (data[0], data[1])
    else:
        given = f"an array of shape {data.shape}" if isinstance(data, np.ndarray) else f"{data!r:.60}"
        raise ValueError(
            f"{where}: a path is a pair (x1, x2) of sequences, an array of shape (n, 2), or a run; "
            f"got {given}; pass several paths as a dict, label -> path."
        )
    x1, x2 = vector(f"{where}, x1", pair[0]), vector(f"{where}, x2", pair[1])
    if x1.size != x2.size:
        raise ValueError(
            f"{where}: x1 and x2 must go together; got {x1.size} values of x1 and {x2.size} of x2; "
            "record both in every iteration."
        )
    return Path(label, _counted(where, x1.size, iterations), x1, x2)


def path_list(where: str, data: Any, iterations: Any = None) -> list[Path]:
    """Read one path, or a dict label -> path."""
    if data is None:
        return []
    if isinstance(data, Mapping) and not ("x1" in data and "x2" in data):
        return [path(f"{where}[{label!r}]", item, str(label), iterations) for label, item in data.items()]
    return [path(where, data, "", iterations)]
