# SPDX-License-Identifier: MIT
"""What the transformations share: their arguments read, checked, and made into leaves."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import GradientError, dlarray, extractdata
from dualtape.tree import Structure, flatten, unflatten

Argnums = int | Sequence[int]


def unwrapped(value: Any) -> Any:
    """The dlarray inside of an xarray.DataArray, which holds it as its data; anything else as it is."""
    if isinstance(value, (dlarray, float, np.ndarray)):
        return value
    inner = getattr(value, "data", None)
    return inner if isinstance(inner, dlarray) else value


def as_dlarray(value: Any) -> dlarray:
    value = unwrapped(value)
    return value if isinstance(value, dlarray) else dlarray(value)


def flatten_result(result: Any) -> tuple[list[Any], Structure]:
    """The leaves of what a function returned, and their structure; labelled arrays count as the dlarrays inside."""
    leaves, structure = flatten(result)
    return [unwrapped(leaf) for leaf in leaves], structure


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a dlarray or of anything NumPy understands, without converting the former."""
    return value.shape if isinstance(value, dlarray) else np.shape(value)


def make_leaves(scope: _core.Scope, argument: Any) -> tuple[list[dlarray], Any]:
    """The leaves of an argument as things to differentiate with respect to, and the argument made of them.

    The function gets copies, so that an assignment to its argument does not change what the leaf is.
    """
    if isinstance(argument, (dlarray, float)):
        leaf = scope.leaf(argument)
        return [leaf], leaf.copy()
    values, structure = flatten(argument)
    leaves = [scope.leaf(value) for value in values]
    return leaves, unflatten(structure, [leaf.copy() for leaf in leaves])


def rebuild(argument: Any, leaves: list[Any]) -> Any:
    """`leaves` in the structure of `argument`."""
    if isinstance(argument, (dlarray, float)):
        return leaves[0]
    return unflatten(flatten(argument)[1], leaves)


def read_argnums(name: str, fun: Any, argnums: Any, *, several: bool = False) -> tuple[int, ...]:
    """The argnums as a tuple, and a look at what is to be transformed: both are known before any call."""
    if not callable(fun):
        raise TypeError(
            f"{name}: the first argument must be the function to differentiate; a {type(fun).__name__} was given; "
            f"write {name}(fun)(x), not {name}(fun(x))."
        )
    try:
        return tuple(map(operator.index, argnums)) if several and np.iterable(argnums) else (operator.index(argnums),)
    except TypeError:
        raise TypeError(
            f"{name}: argnums must be a whole number{' or several' if several else ''}; {argnums!r} was given; "
            f"the point comes in a call of its own: {name}(fun)(x)."
        ) from None


def check_argnums(name: str, numbers: tuple[int, ...], count: int) -> tuple[int, ...]:
    for number in numbers:
        if not -count <= number < count:
            raise ValueError(
                f"{name}: argnums names argument {number}; the function was called with {count} positional "
                f"arguments; "
                + (f"name one of 0 to {count - 1}." if count else "pass what to differentiate by position.")
            )
    positive = tuple(number % count for number in numbers)
    if len(set(positive)) < len(positive):
        raise ValueError(f"{name}: argnums names an argument twice; {numbers} was given; name each once.")
    return positive


def require_scalar(name: str, value: Any) -> dlarray:
    if value is None or isinstance(value, (tuple, list, dict)):
        remedy = "return the loss" if value is None else "return one scalar, or (value, aux) with has_aux=True"
        raise GradientError(
            f"{name}: the function must return a scalar; it returned {'' if value is None else 'a '}"
            f"{'None' if value is None else type(value).__name__}; {remedy}."
        )
    y = as_dlarray(value)
    if y.size != 1:
        raise GradientError(
            f"{name}{y.shape}: the function's value is not a scalar; reduce it, for instance with .sum(), "
            f"or use jacrev or jacfwd."
        )
    return y


def value_and_aux(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise GradientError(
            f"grad: with has_aux=True the function must return (value, aux); it returned "
            f"{f'{len(result)} values' if isinstance(result, tuple) else f'a {type(result).__name__}'}; "
            f"put everything but the value into aux."
        )
    return result


def is_nested(args: Any) -> bool:
    return any(_core.level_of(leaf) or _core.is_tracked(leaf) for leaf in flatten(args)[0])


def as_given(derivative: Any, argument: Any) -> Any:
    """A derivative with respect to an ndarray as an ndarray, for code of NumPy and SciPy; others as they are."""
    if type(argument) is not np.ndarray or type(derivative) is not dlarray:
        return derivative
    if derivative.tracked or _core.is_traced(derivative) or _core.level_of(derivative):
        return derivative
    return extractdata(derivative)
