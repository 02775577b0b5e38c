# SPDX-License-Identifier: MIT
"""Functions whose results are constants (integers, truths, places): NumPy computes them, and they become dlarrays.

Most need the numbers of their operands, which a program being traced has not; there they are refused. Where a result
consists of elements of the operand (`unique`), the derivative goes to those.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dualtape import _core
from dualtape._core import TraceError, dlarray

from ._creation import asarray
from ._elementwise import TABLE, refuse_out, without_out


def _numbers(item: Any) -> Any:
    if isinstance(item, dlarray):
        return _core.extractdata(item)
    return type(item)(map(_numbers, item)) if type(item) in (list, tuple) else item


def _tracked(item: Any) -> bool:
    return any(map(_tracked, item)) if type(item) in (list, tuple) else isinstance(item, dlarray) and item.tracked


def _by_numpy(name: str) -> Callable[..., Any]:
    """NumPy's function of that name for dlarrays."""
    theirs = getattr(np, name)

    def made(result: Any, tracked: bool) -> Any:
        if isinstance(result, tuple):
            return tuple(made(part, tracked) for part in result)
        if tracked and np.asarray(result).dtype.kind == "f":
            raise TraceError(f"{name}: it has no derivative, and is being differentiated; use extractdata(x) first.")
        return dlarray(result)

    @functools.wraps(theirs, assigned=("__name__", "__qualname__", "__doc__"))
    def function(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("out") is not None:
            refuse_out(name)
        numbers = {key: _numbers(value) for key, value in kwargs.items()}
        return made(theirs(*map(_numbers, args), **numbers), _tracked([*args, *kwargs.values()]))

    return function


#: By name, what needs no more than NumPy itself.
BY_NUMPY: dict[str, Callable[..., Any]] = {
    name: _by_numpy(name)
    for name in (
        *("argwhere", "flatnonzero", "nonzero", "isin", "lexsort", "nanargmax", "nanargmin"),
        *("diag_indices", "tril_indices", "triu_indices", "unravel_index", "ravel_multi_index"),
        *("left_shift", "right_shift", "gcd", "lcm", "nextafter"),
    )
}


def _bits(x: Any) -> Any:
    return x if isinstance(x, (int, dlarray)) else dlarray(np.asarray(x))


@without_out
def bitwise_and(x1: Any, x2: Any, /) -> dlarray:
    """Bits, or truths, that are set in both, as numpy.bitwise_and."""
    return asarray(_bits(x1) & _bits(x2))


@without_out
def bitwise_or(x1: Any, x2: Any, /) -> dlarray:
    """Bits, or truths, that are set in either, as numpy.bitwise_or."""
    return asarray(_bits(x1) | _bits(x2))


@without_out
def bitwise_xor(x1: Any, x2: Any, /) -> dlarray:
    """Bits, or truths, that are set in one of both, as numpy.bitwise_xor."""
    return asarray(_bits(x1) ^ _bits(x2))


@without_out
def invert(x: Any, /) -> dlarray:
    """Bits, or truths, the other way round, as numpy.invert."""
    return asarray(~_bits(x if not isinstance(x, int) else np.asarray(x)))


@without_out
def signbit(x: Any, /) -> dlarray:
    """Whether the sign is minus, also that of zero and NaN, as numpy.signbit."""
    if isinstance(x, dlarray) and _core.is_traced(x):
        return TABLE["less"](TABLE["copysign"](1.0, x), 0.0)
    return dlarray(np.signbit(_numbers(x)))


def isposinf(x: Any, out: None = None) -> dlarray:
    """Where elements are positive infinity, as numpy.isposinf."""
    if out is not None:
        refuse_out("isposinf")
    return TABLE["equal"](x, math.inf)


def isneginf(x: Any, out: None = None) -> dlarray:
    """Where elements are negative infinity, as numpy.isneginf."""
    if out is not None:
        refuse_out("isneginf")
    return TABLE["equal"](x, -math.inf)


def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> dlarray:
    """How often each integer is there, or the sum of its weights, as numpy.bincount; the integers are constants."""
    places = np.asarray(_numbers(x))
    if weights is None:
        return dlarray(np.bincount(places, minlength=minlength))
    extent = max(int(places.max(initial=-1)) + 1, minlength)
    return _core.add_along_axis(_core.astype(weights, np.float64), places, 0, extent)


class UniqueAllResult(NamedTuple):
    """What `unique_all` gives."""

    values: dlarray
    indices: dlarray
    inverse_indices: dlarray
    counts: dlarray


class UniqueCountsResult(NamedTuple):
    """What `unique_counts` gives."""

    values: dlarray
    counts: dlarray


class UniqueInverseResult(NamedTuple):
    """What `unique_inverse` gives."""

    values: dlarray
    inverse_indices: dlarray


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
) -> Any:
    """The different elements in ascending order, or the different parts along an axis, as numpy.unique.

    The derivative goes to the first of equal elements.
    """
    x = asarray(ar)
    options: dict[str, Any] = {"return_inverse": return_inverse, "return_counts": return_counts}
    found = np.unique(_core.extractdata(x), True, axis=axis, equal_nan=equal_nan, **options)
    values = _core.take(x, found[1], axis)
    rest = [dlarray(part) for part in found[1 if return_index else 2 :]]
    return (values, *rest) if rest else values


def unique_all(x: Any, /) -> UniqueAllResult:
    """The different elements, the first place of each, where each element went, and how often it is there."""
    return UniqueAllResult(*unique(x, True, True, True, equal_nan=False))


def unique_counts(x: Any, /) -> UniqueCountsResult:
    """The different elements, and how often each is there, as numpy.unique_counts."""
    return UniqueCountsResult(*unique(x, return_counts=True, equal_nan=False))


def unique_inverse(x: Any, /) -> UniqueInverseResult:
    """The different elements, and for each element the place it went to, as numpy.unique_inverse."""
    return UniqueInverseResult(*unique(x, return_inverse=True, equal_nan=False))


def unique_values(x: Any, /) -> dlarray:
    """The different elements, as numpy.unique_values, in ascending order."""
    return unique(x, equal_nan=False)
