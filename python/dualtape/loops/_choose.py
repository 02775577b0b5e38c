# SPDX-License-Identifier: MIT
"""Which number of a run is meant: what `by` says, for results and for pictures.

`final` gives one number per run, `recorded` one per run and record. Leaves are named in two ways: by their path as
dualtape.tree writes it (``value['loss']``, ``state[0]``), and tidily, with dots (``value.loss``, ``state.0``), as
columns of tables are called. Both are understood everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dualtape import tree
from dualtape._core import ShapeError
from dualtape._structure import LEAF, accessors
from dualtape.tree import Structure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._results import Runs

By: TypeAlias = str | Callable[..., Any] | None
Floats: TypeAlias = "NDArray[np.float64]"


def _tidy(structure: Structure, prefix: str) -> list[str]:
    if structure.kind == LEAF:
        return [prefix]
    names: list[str] = []
    for accessor, child in zip(accessors(structure), structure.children, strict=True):
        key = accessor[1:] if accessor.startswith(".") else accessor[1:-1].strip("'\"")
        names += _tidy(child, f"{prefix}.{key}")
    return names


def tidy_names(data: Any, name: str) -> list[str]:
    """Names of the leaves with dots: ``state.fc1.W``. Where two would be the same, all of them are paths."""
    structure = tree.flatten(data)[1]
    names = _tidy(structure, name)
    return names if len(set(names)) == len(names) else tree.paths(structure, name)


def named_leaves(data: Any, name: str) -> dict[str, NDArray[Any]]:
    """Tidy name -> leaf; empty for None."""
    return dict(zip(tidy_names(data, name), tree.flatten(data)[0], strict=True))


def _find(data: Any, name: str, wanted: str) -> tuple[str, NDArray[Any]] | None:
    """The leaf of a path or of a tidy name, with its tidy name."""
    leaves, structure = tree.flatten(data)
    tidy = tidy_names(data, name)
    for names in (tree.paths(structure, name), tidy):
        if wanted in names:
            place = names.index(wanted)
            return tidy[place], leaves[place]
    return None


def scalar_paths(runs: Runs) -> list[str]:
    """The paths of everything in value and state that is one number per run."""
    return [
        path
        for name in ("value", "state")
        for path, leaf in tree.leaves_with_paths(getattr(runs, name), name)
        if leaf.shape == runs.shape
    ]


def default_path(where: str, runs: Runs) -> str:
    """The path of what a run is judged by when nobody says: its only value, or its loss."""
    leaves = tree.leaves_with_paths(runs.value, "value")
    scalars = [path for path, leaf in leaves if leaf.shape == runs.shape]
    if len(leaves) == 1 and scalars:
        return scalars[0]
    for path in ("value['loss']", "value.loss"):
        if path in scalars:
            return path
    given = ", ".join(f"{path} of shape {leaf.shape[len(runs.shape) :]}" for path, leaf in leaves)
    choice = scalar_paths(runs)
    raise ValueError(
        f"{where}: it is not clear which value is meant, a single number or one called 'loss'; got "
        f"{given or 'no value from the step'}; "
        + (f'pass by="{choice[0]}" (or {", ".join(choice[1:]) or "another path"}), ' if choice else "pass by=")
        + "a function of the runs that returns one number for each."
    )


def _called(where: str, runs: Runs, by: Callable[..., Any], shape: tuple[int, ...]) -> tuple[str, Floats]:
    values = np.asarray(by(runs), dtype=np.float64)
    if values.shape != shape:
        raise ShapeError(
            f"{where}: by(runs) must return one number for each of them; got shape {values.shape}; "
            f"the shape wanted is {shape}."
        )
    name = getattr(by, "__name__", "value")
    return ("value" if name == "<lambda>" else name), values


def _unknown(where: str, runs: Runs, by: Any) -> ValueError:
    return ValueError(
        f"{where}: by is the path of a number in value or state, or a function of the runs; got {by!r}; "
        f"these runs have {', '.join(scalar_paths(runs)) or 'no such number: pass a function'}."
    )


def _scalar(where: str, runs: Runs, by: str, leaf: NDArray[Any], shape: tuple[int, ...]) -> Floats:
    if leaf.shape != shape:
        raise ShapeError(
            f"{where}: runs are compared by one number each; got {by!r}, which has shape {leaf.shape[len(shape) :]} in "
            f"each run; pass a function, such as lambda runs: runs.value['loss'].max(axis=-1)."
        )
    return np.asarray(leaf, dtype=np.float64)


def final(where: str, runs: Runs, by: By = None) -> tuple[str, Floats]:
    """A label, and one number per run: an array of ``runs.shape``, NaN and infinities as they are."""
    if callable(by):
        return _called(where, runs, by, runs.shape)
    path = default_path(where, runs) if by is None else by
    if not isinstance(path, str):
        raise _unknown(where, runs, by)
    found = _find(runs.value, "value", path) or _find(runs.state, "state", path)
    if found is None:
        raise _unknown(where, runs, by)
    return found[0].removeprefix("value."), _scalar(where, runs, path, found[1], runs.shape)


def recorded(where: str, runs: Runs, by: By = None) -> tuple[str, Floats]:
    """A label, and one number per run and record: an array of ``(*runs.shape, records)``."""
    if runs.history is None:
        raise ValueError(
            f"{where}: the runs have recorded nothing; got history None; call sweep with record_every=100, for example."
        )
    shape = (*runs.shape, runs.recorded.size)
    if callable(by):
        return _called(where, runs, by, shape)
    path = default_path(where, runs) if by is None else by
    if not isinstance(path, str):
        raise _unknown(where, runs, by)
    inside = path.removeprefix("value").removeprefix("history")
    found = _find(runs.history, "history", f"history{inside}")
    if found is None:
        raise ValueError(
            f"{where}: what is recorded is what the step returns beside the state; got {by!r}; "
            f"the history has {', '.join(tree.paths(runs.history, 'history'))}."
        )
    label = found[0].removeprefix("history.")
    return "value" if label == "history" else label, _scalar(where, runs, path, found[1], shape)
