# SPDX-License-Identifier: MIT
"""Places: indices that are values of a traced program, and what NumPy has for making indices (`ix_`, `indices`, `r_`,
`c_`).

A program has no arithmetic of integers, so places are moved about as float64, which holds them exactly up to 2**53.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import dlarray

from ._creation import arange, asarray, atleast_1d, linspace
from ._elementwise import TABLE
from ._shaped import shape

_where = TABLE["where"]


def _inside(places: Any, extent: int) -> tuple[dlarray, dlarray]:
    """Places counted from the front, as float64, and whether they are there."""
    place = _core.astype(places, np.float64)
    place = _where(place < 0.0, place + float(extent), place)
    return place, (place >= 0.0) & (place < float(extent))


def flat_places(extents: Sequence[int], places: Sequence[Any]) -> dlarray:
    """Places in the flattened array for places along each of its axes, which are broadcast against each other.

    What is not there becomes the number of elements, which is not there either.
    """
    total, there = _inside(places[0], extents[0])
    for extent, along in zip(extents[1:], places[1:], strict=True):
        place, inside = _inside(along, extent)
        total, there = total * float(extent) + place, there & inside
    return _core.astype(_where(there, total, float(math.prod(extents))), np.int64)


def _whole_key(x: dlarray, key: Any) -> list[Any]:
    """The parts of an index, an Ellipsis as the slices it stands for."""
    items = list(key) if isinstance(key, tuple) else [key]
    given = sum(item is not None and item is not Ellipsis for item in items)
    for i, item in enumerate(items):
        if item is Ellipsis:
            return [*items[:i], *[slice(None)] * (x.ndim - given), *items[i + 1 :]]
    return items + [slice(None)] * (x.ndim - given)


def at(x: dlarray, key: Any) -> dlarray:
    """``x[key]`` where arrays in the key are values of a traced program; the core calls this.

    Parameters
    ----------
    x : dlarray
    key : tuple
        Integers, integer arrays, slices, None and an Ellipsis, by NumPy's rules: arrays are broadcast against each
        other, and their axes come first in the result unless they stand side by side in the key.

    Returns
    -------
    dlarray
    """
    items = _whole_key(x, key)
    basic = [item if item is None or isinstance(item, slice) else slice(None) for item in items]
    chosen = [i for i, item in enumerate(items) if item is not None and not isinstance(item, slice)]
    places = [items[i] if isinstance(items[i], dlarray) else dlarray(np.asarray(items[i])) for i in chosen]
    if any(place.dtype != np.int64 for place in places):
        raise IndexError(
            f"index{x.shape}: a mask or a list of other things stands beside places of a traced program; give places "
            "for each of these axes, as numpy.nonzero(mask) does."
        )
    front = _core.moveaxis(x[tuple(basic)], tuple(chosen), tuple(range(len(chosen))))
    extents, rest = front.shape[: len(chosen)], front.shape[len(chosen) :]
    found = _core.take(_core.reshape(front, (math.prod(extents), *rest)), flat_places(extents, places), 0)
    if chosen[-1] - chosen[0] + 1 != len(chosen):
        return found
    rank = found.ndim - len(rest)
    return _core.moveaxis(found, tuple(range(rank)), tuple(range(chosen[0], chosen[0] + rank)))


def assigned(x: dlarray, key: Any, value: Any) -> dlarray:
    """`x` after ``x[key] = value`` where arrays in the key are values of a traced program; the core calls this.

    Of equal places the last one counts, as in NumPy: the places are sorted, equal ones in their order, and the last of
    each is added to zeros. The cost is that of the sort.
    """
    grid = dlarray(np.arange(x.size).reshape(x.shape))[key]
    dtype = x.dtype if x.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    values = _core.astype(_core.ravel(_core.broadcast_to(value, grid.shape)), dtype)
    places = _core.ravel(grid)
    numbers = _core.astype(places, np.float64)
    order = _core.argsort(numbers, 0)
    ordered = _core.take(numbers, order, 0)
    last = TABLE["not_equal"](ordered, _core.concatenate((ordered[1:], np.array([-1.0]))))
    sorted_places = _core.take(places, order, 0)
    taken = _core.add_along_axis(_core.astype(last, dtype), sorted_places, 0, x.size)
    made = _core.add_along_axis(_where(last, _core.take(values, order, 0), 0.0), sorted_places, 0, x.size)
    flat = _where(taken > 0.0, made, _core.astype(_core.ravel(x), dtype))
    return _core.astype(_core.reshape(flat, x.shape), x.dtype)


def indices(dimensions: Sequence[int], dtype: Any = np.int64, sparse: bool = False) -> Any:
    """The places of a grid along each of its axes, as numpy.indices: a constant."""
    made: Any = np.indices(tuple(dimensions), dtype, sparse)  # type: ignore[call-overload]
    return tuple(map(dlarray, made)) if isinstance(made, tuple) else dlarray(made)


def ix_(*args: Any) -> tuple[dlarray, ...]:
    """Index arrays for every combination of places along the axes, as numpy.ix_.

    Masks become the places where they are true; places may be values of a traced program.
    """
    made = []
    for i, item in enumerate(args):
        place = asarray(item, np.int64) if isinstance(item, (list, range)) and len(item) == 0 else item
        if not isinstance(place, dlarray):
            place = dlarray(np.asarray(place))
        if place.ndim != 1:
            raise ValueError(f"ix_: the places along axis {i} must be a vector; shape {place.shape} was given.")
        if place.dtype == np.bool_:
            place = dlarray(np.flatnonzero(place.numpy()))
        made.append(_core.reshape(place, tuple(-1 if i == j else 1 for j in range(len(args)))))
    return tuple(made)


class _Joined:
    """What ``r_`` and ``c_`` do: arrays, numbers and ranges in brackets, joined along an axis."""

    def __init__(self, axis: int = 0, rank: int = 1, place: int = -1) -> None:
        self._settings = axis, rank, place

    def __getitem__(self, key: Any) -> dlarray:
        parts = list(key) if isinstance(key, tuple) else [key]
        axis, rank, place = self._settings
        if isinstance(parts[0], str):
            numbers = parts.pop(0).split(",")
            try:
                axis, rank, place = [int(n) for n in numbers] + [axis, rank, place][len(numbers) :]
            except ValueError:
                raise ValueError(
                    f"r_: {','.join(numbers)!r} is not there; dlarrays have no matrices; give up to three numbers, "
                    "such as '0,2'."
                ) from None
        made = [_of_rank(part, rank, place) for part in parts]
        joined = _core.concatenate(made, axis)
        # Python's numbers do not widen arrays.
        kinds = [part if isinstance(part, (int, float)) else x.dtype for part, x in zip(parts, made, strict=True)]
        return _core.astype(joined, np.result_type(*kinds))

    def __len__(self) -> int:
        return 0


def _of_rank(part: Any, rank: int, place: int) -> Any:
    """A part of ``r_`` with as many axes as wanted, its own from `place` on (at the end for -1)."""
    if isinstance(part, slice):
        start, step = 0 if part.start is None else part.start, 1 if part.step is None else part.step
        if isinstance(step, complex):
            part = linspace(start, part.stop, int(abs(step)))
        elif any(isinstance(x, dlarray) for x in (start, part.stop, step)):
            raise TypeError("r_: a range of dlarrays has no fixed number of elements; write start:stop:5j for five.")
        else:
            part = arange(start, part.stop, step)
        own = 1
    else:
        part = part if isinstance(part, dlarray) else np.asarray(part)
        own = part.ndim
        part = atleast_1d(part)
    missing = rank - part.ndim
    if missing <= 0:
        return part
    # (A number has no axes of its own to put anywhere.)
    before = missing if place == -1 or own == 0 else place if place >= 0 else missing + place + 1
    return _core.reshape(part, (1,) * before + shape(part) + (1,) * (missing - before))


#: Arrays, numbers and ranges joined along the first axis, as numpy.r_: ``r_[x, 0.0, 1:4]``.
r_ = _Joined()
#: Vectors as the columns of a matrix, as numpy.c_: ``c_[x, y]``.
c_ = _Joined(-1, 2, 0)
