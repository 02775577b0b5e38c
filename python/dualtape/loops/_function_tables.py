# SPDX-License-Identifier: MIT
"""Functions of the iteration that cannot be traced, as tables of what they return; and what a leaf may be."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dualtape import _core
from dualtape._core import DTypeError, ShapeError, dlarray
from dualtape.tree import Structure, flatten, paths, unflatten

if TYPE_CHECKING:
    from dualtape.loops._step import Step


def location(function: Callable[..., Any]) -> str:
    """Where a function is defined, for messages: " (step, train.py:12)"."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    name = getattr(function, "__name__", type(function).__name__)
    return f" ({name}, {code.co_filename}:{code.co_firstlineno})" if code else f" ({name})"


def as_leaf(where: str, path: str, value: Any) -> dlarray:
    """A leaf of a state, a value or a hyperparameter as a dlarray."""
    if isinstance(value, dlarray):
        return value
    if isinstance(value, (str, bytes)) or value is None:
        raise DTypeError(f"{where}: {path} must be a number or an array; got {value!r:.60}; leave it out.")
    try:
        return dlarray(float(value) if isinstance(value, int) and not isinstance(value, bool) else value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {path} must be a number or an array; {error}") from None


def is_number(value: Any) -> bool:
    """Whether a value is one of Python's own numbers (NumPy's float64 is one too)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Table(NamedTuple):
    """What a function of the iteration returned for each of them."""

    structure: Structure
    columns: list[Any]  # an array for each leaf, the iterations along the leading axis
    weak: list[bool]  # Python numbers

    def at(self, iteration: int) -> Any:
        """What the function returned in an iteration, as the step sees it."""
        leaves = [column[iteration - 1] for column in self.columns]
        return unflatten(self.structure, [as_seen(x, weak) for x, weak in zip(leaves, self.weak, strict=True)])


def as_seen(leaf: Any, weak: bool) -> dlarray:
    """A leaf as the step sees it."""
    return _core.weak_scalar(float(leaf)) if weak else dlarray(leaf)


def tabulated(step: Step, names: list[str]) -> dict[str, Table]:
    """Call functions of the iteration, in the order given, for every iteration."""
    given: dict[str, Any] = {}
    for name, value in step.hyper.items():
        if name not in step.functions:
            leaves, structure = flatten(value)
            seen = [
                as_seen(leaf, True) if is_number(leaf) else as_leaf(step.where, path, leaf)
                for path, leaf in zip(paths(structure, name), leaves, strict=True)
            ]
            given[name] = unflatten(structure, seen)
    takes = {name: [*step.function_names[name].wanted({**step.hyper, "iteration": None})] for name in names}
    others = {other for taken in takes.values() for other in taken if other in step.tables}
    results: dict[str, list[Any]] = {name: [] for name in names}
    for iteration in range(1, max(step.iterations, 1) + 1):
        k = given["iteration"] = as_seen(iteration, True)
        for name in others:
            given[name] = step.tables[name].at(iteration)
        for name in names:
            given[name] = step.functions[name](k, **{other: given[other] for other in takes[name]})
            results[name].append(given[name])
    return {name: table_of(step, name, results[name]) for name in names}


def table_of(step: Step, name: str, results: list[Any]) -> Table:
    """The results of all iterations."""
    structure = flatten(results[0])[1]
    if all(type(result) is float for result in results):
        return Table(structure, [np.array(results)], [True])
    rows = [flatten(result) for result in results]
    place = location(step.functions[name])
    if any(found is not structure for _, found in rows):
        raise ValueError(
            f"{step.where}: the function for {name} must give one structure in all iterations; check{place}."
        )
    columns: list[Any] = []
    for path, column in zip(paths(structure, name), zip(*(row for row, _ in rows), strict=True), strict=True):
        made = [np.asarray(as_leaf(step.where, path, leaf)) for leaf in column]
        shapes = sorted({str(leaf.shape) for leaf in made})
        if len(shapes) > 1:
            raise ShapeError(
                f"{step.where}: {path} must keep its shape; the function{place} gave {', '.join(shapes)}; "
                "make them equal."
            )
        columns.append(np.stack(made))
    return Table(structure, columns, [column.ndim == 1 and column.dtype == np.float64 for column in columns])
