# SPDX-License-Identifier: MIT
"""What updates.py and optim/ share: running a rule of the core over trees, or saying what is wrong.

The core (`optim_update`, cpp/bindings/optim.cpp) does the whole of a regular update in one call: it walks
tuples, lists and dicts of dlarrays, ndarrays and numbers, checks, computes and builds the new trees. Whatever
is not in order it declines before it has changed anything. Then :func:`carefully` does the checks one by one,
with tree.py's paths in the messages, brings odd leaves into shape (other containers, strided or foreign
arrays) and tries again.

Start reading at :func:`carefully`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ._core import DTypeError, NumericError, ShapeError, dlarray, optim_norm, optim_rules, optim_update
from .tree import Structure, check_same, flatten, paths, unflatten

IN_PLACE, CHECK_FINITE = 1, 2  # flags of optim_update
THRESHOLD_METHODS = ("none", "l2norm", "global-l2norm", "absolute-value")  # numbered as in optim_traced.hpp


class Rule(NamedTuple):
    """A rule of the core's table (cpp/dualtape/optim/rules.def)."""

    number: int
    states: tuple[str, ...]
    carries: tuple[str, ...]
    hypers: tuple[tuple[str, float, float, float], ...]  # name, default, low <= value < high


RULES = {name: Rule(*row) for name, row in optim_rules().items()}


def is_unset(state: Any) -> bool:
    """Whether a state is what a first call passes: None, [] or ()."""
    return state is None or (type(state) in (list, tuple) and not state)


def fail_range(function: str, name: str, value: Any, low: float, high: float) -> NoReturn:
    """Say what a hyperparameter may be."""
    if high == math.inf:
        wanted = f"a finite number of at least {low:g}"
    elif (low, high) == (0, 2):
        wanted = "True or False"
    else:
        wanted = f"a number from {low:g} up to, but not including, {high:g}"
    raise ValueError(f"{function}({name}): {name} must be {wanted}; got {value!r}; check what computes it.")


def as_number(function: str, name: str, value: Any) -> float:
    """A hyperparameter as a float, or TypeError."""
    if isinstance(value, str | bytes) or np.ndim(value) != 0:
        raise TypeError(f"{function}({name}): {name} must be one number; got {value!r}; pass a float.")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{function}({name}): {name} must be a number; got {value!r}; pass a float.") from None


def check_number(function: str, name: str, value: Any, low: float, high: float) -> None:
    """Check that low <= value < high."""
    if not low <= as_number(function, name, value) < high:
        fail_range(function, name, value, low, high)


def _check_iteration(function: str, iteration: Any) -> None:
    number = as_number(function, "iteration", iteration)
    if not (number >= 1 and number % 1 == 0):
        raise ValueError(
            f"{function}(iteration): iteration must be a whole number of at least 1; got "
            f"{iteration!r}; count the "
            "first update as 1 and add 1 for each update."
        )


def ready_leaf(function: str, path: str, leaf: Any, dtype: Any = None) -> Any:
    """A leaf as the core takes it: a float dlarray, a native contiguous float ndarray, or a float."""
    if isinstance(leaf, dlarray):
        if leaf.dtype.kind != "f":
            raise DTypeError(
                f"{function}({path}): only floating-point arrays can be updated; got a dlarray of "
                f"{leaf.dtype}; "
                "make it with dtype=float."
            )
        return leaf
    if isinstance(leaf, float | int) and not isinstance(leaf, bool):
        return float(leaf)
    array = None if isinstance(leaf, str | bytes | bool) else np.asarray(leaf)
    if array is None or array.dtype.kind not in ("f" if dtype is None else "fiu"):
        what = f"an array of {leaf.dtype}" if isinstance(leaf, np.ndarray) else f"{type(leaf).__name__} {leaf!r}"
        raise DTypeError(
            f"{function}({path}): a leaf must be a float, or a dlarray or ndarray of floating-point "
            "numbers; got "
            f"{what}; convert it, for instance with np.asarray(x, dtype=float)."
        )
    if dtype is None:
        dtype = np.float32 if array.dtype.itemsize <= 4 else np.float64
    ready = np.ascontiguousarray(array, dtype=dtype)
    return ready if ready.ndim == array.ndim else ready.reshape(array.shape)  # 0-d arrays become 1-d


def _dtype(leaf: Any) -> Any:
    return np.dtype(float) if isinstance(leaf, float) else leaf.dtype


def _check_fit(function: str, path: str, param: Any, other_path: str, other: Any, same_dtype: bool) -> None:
    if np.shape(param) != np.shape(other):
        raise ShapeError(
            f"{function}({path} {np.shape(param)}, {other_path} {np.shape(other)}): the shapes must be "
            "equal; got "
            f"{np.shape(other)} for a parameter of {np.shape(param)}; pass what belongs to this parameter."
        )
    if same_dtype and _dtype(param) != _dtype(other):
        raise DTypeError(
            f"{function}({path}, {other_path}): a state must have the dtype of its parameter; got "
            f"{_dtype(other)} for "
            f"{_dtype(param)}; start again with an empty state, or convert it."
        )


def _check_place(function: str, path: str, given: Any, leaf: Any) -> None:
    """Check that the memory of a leaf can be written."""
    if isinstance(leaf, float):
        problem, remedy = "a number cannot be changed in place", "use update(), or make it an array"
    elif isinstance(leaf, np.ndarray) and leaf is not given:
        problem, remedy = (
            "the array must be a C-contiguous ndarray of native floats",
            "use update(), or copy it first",
        )
    elif isinstance(leaf, np.ndarray) and not leaf.flags.writeable:
        problem, remedy = "the array is read-only", "use update(), or copy it first"
    else:
        return
    raise ValueError(f"{function}({path}): {problem}; got {type(given).__name__}; {remedy}.")


def _check_finite(function: str, path: str, leaf: Any) -> None:
    """Raise NumericError if a leaf holds a NaN or an infinity."""
    norm = optim_norm(leaf)
    if norm is NotImplemented:  # tracked
        norm = float((abs(leaf)).max()) if np.size(leaf) else 0.0
    if not math.isfinite(norm):
        raise NumericError(
            f"{function}({path}): the gradient must be finite under check_finite; got NaN or infinity "
            "in it; lower "
            "the learning rate or clip the gradients. Nothing was updated."
        )


def carefully(
    function: str,
    rule: Rule,
    params: Any,
    grads: Any,
    states: tuple[Any, ...],
    iteration: Any,
    hyper: tuple[Any, ...],
    terms: tuple[Any, ...] | None = None,
    flags: int = 0,
) -> tuple[Any, ...]:
    """Run a rule where the core has declined: find the error, or a form of the leaves that the core takes."""
    for (name, _, low, high), value in zip(rule.hypers, hyper, strict=True):
        check_number(function, name, value, low, high)
    _check_iteration(function, iteration)
    structure = flatten(params)[1]
    param_paths = paths(structure, "params")
    columns: list[list[Any] | None] = []
    for name, tree in zip(("params", "grads", *rule.states), (params, grads, *states), strict=False):
        if name in rule.states and is_unset(tree):
            columns.append(None)
            continue
        leaves, other = flatten(tree)
        if other is not structure:
            check_same(structure, other, "params", name)
        tree_paths = paths(structure, name)
        column = []
        for i, (path, leaf) in enumerate(zip(tree_paths, leaves, strict=True)):
            param = columns[0][i] if columns and columns[0] is not None else None
            ready = ready_leaf(function, path, leaf, _dtype(param) if name == "grads" else None)
            if param is not None:
                _check_fit(function, param_paths[i], param, path, ready, name in rule.states)
            if flags & IN_PLACE and name != "grads":
                _check_place(function, path, leaf, ready)
            if flags & CHECK_FINITE and name == "grads":
                _check_finite(function, path, ready)
            column.append(ready)
        columns.append(column)
    carried = states[len(rule.states) :]
    result = optim_update(rule.number, columns[0], columns[1], (*columns[2:], *carried), iteration, hyper, terms, flags)
    if result is NotImplemented:
        raise _last_resort(function, flags)
    if flags & IN_PLACE:
        return tuple(result)
    trees = 1 + len(rule.states)
    return (*(unflatten(structure, leaves) for leaves in result[:trees]), *result[trees:])


def _last_resort(function: str, flags: int) -> Exception:
    if flags & IN_PLACE:
        return ValueError(
            f"{function}: a value that a derivative goes through cannot be changed in place; got a "
            "tracked array; "
            "use update(), which returns new arrays."
        )
    return DTypeError(f"{function}: the leaves do not go together; got a mixture of kinds; use one kind of array.")


def map_leaves(function: Callable[..., Any], structure: Structure, *columns: list[Any]) -> Any:
    """Apply a function to leaves side by side and put the results into the structure."""
    return unflatten(structure, [function(*leaves) for leaves in zip(*columns, strict=True)])


def zeros_like(function: str, path: str, leaf: Any) -> Any:
    """Zeros of the same kind as a leaf."""
    leaf = ready_leaf(function, path, leaf)
    if isinstance(leaf, float):
        return 0.0
    zeros = np.zeros(leaf.shape, leaf.dtype)
    return zeros if isinstance(leaf, np.ndarray) else dlarray(zeros)
