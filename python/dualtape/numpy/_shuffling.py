# SPDX-License-Identifier: MIT
"""Elements put elsewhere, around an array, or into blocks: `rot90`, `pad`, `block`, `hsplit`, `meshgrid` and others.

Everything but the numbers follows from shapes and arguments, so the places are worked out by NumPy and become constants
of a traced program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._creation import asarray, split
from ._indexed import flip
from ._shaped import ndim, shape

#: Ways to fill the border that repeat elements of the array itself.
_REPEATING = ("edge", "reflect", "symmetric", "wrap")


def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> dlarray:
    """The array turned by quarters from the first of two axes towards the second, as numpy.rot90."""
    x = asarray(m)
    first, second = (i % x.ndim for i in axes)
    if first == second:
        raise ShapeError(f"rot90{x.shape}: the axes {axes} are one; name two different ones.")
    turns = k % 4
    if turns == 2:
        return flip(x, axes)
    if turns == 1:
        return _core.swapaxes(flip(x, second), first, second)
    return flip(_core.swapaxes(x, first, second), second) if turns == 3 else x


def rollaxis(a: Any, axis: int, start: int = 0) -> dlarray:
    """An axis moved until it lies in a given place, as numpy.rollaxis; `moveaxis` is easier to read."""
    rank = ndim(a)
    axis, start = axis % rank, start + rank if start < 0 else start
    return _core.moveaxis(a, axis, start - 1 if axis < start else start)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[dlarray, ...]:
    """The parts of an array along an axis, as numpy.unstack."""
    return tuple(_core.moveaxis(asarray(x), axis, 0))


def _pairs(function: str, given: Any, rank: int) -> list[tuple[Any, Any]]:
    """A pair for each axis, from what NumPy takes for it: a number, a pair, one for each axis, a dict of axes."""
    if isinstance(given, Mapping):
        made: list[tuple[Any, Any]] = [(0, 0)] * rank
        for axis, pair in given.items():
            made[axis] = (pair, pair) if np.ndim(pair) == 0 else tuple(pair)
        return made
    if isinstance(given, dlarray) or np.ndim(given) == 0:
        return [(given, given)] * rank
    try:
        return [tuple(pair) for pair in np.broadcast_to(np.asarray(given), (rank, 2)).tolist()]
    except ValueError:
        raise ShapeError(
            f"{function}: {given!r} says nothing about {rank} axes; give a number, a pair, or a pair for each axis."
        ) from None


def pad(array: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> dlarray:
    """A border around an array, as numpy.pad.

    Parameters
    ----------
    array : array
    pad_width : int, pair of ints, sequence of pairs, or dict
        How many elements go before and after, along each axis.
    mode : {"constant", "edge", "reflect", "symmetric", "wrap"}
        A value; the outermost element; the array mirrored at its outermost element, or beyond it; its other end.
    constant_values : number or array
        The value, as numbers like `pad_width`, or as a dlarray of one element, on which the result depends.

    Returns
    -------
    dlarray
    """
    x = asarray(array)
    widths = _pairs("pad", pad_width, x.ndim)
    if mode == "constant":
        for axis, ((before, after), values) in enumerate(
            zip(widths, _pairs("pad", constant_values, x.ndim), strict=True)
        ):
            border = list(x.shape)
            parts = []
            for count, value in ((before, values[0]), (after, values[1])):
                border[axis] = int(count)
                parts.append(_core.broadcast_to(_core.astype(value, x.dtype), border))
            if before or after:
                x = _core.concatenate((parts[0], x, parts[1]), axis)
        return x
    if mode not in _REPEATING:
        raise ValueError(
            f"pad{x.shape}: mode={mode!r} is not there; use 'constant' or one of {', '.join(map(repr, _REPEATING))}."
        )
    for axis, pair in enumerate(widths):
        if any(pair):
            x = _core.take(x, np.pad(np.arange(x.shape[axis]), pair, mode=mode), axis)  # type: ignore[call-overload]
    return x


def hsplit(ary: Any, indices_or_sections: int | Sequence[int]) -> list[dlarray]:
    """An array cut along its second axis, a vector along its only one, as numpy.hsplit."""
    return split(ary, indices_or_sections, 1 if ndim(ary) > 1 else 0)


def vsplit(ary: Any, indices_or_sections: int | Sequence[int]) -> list[dlarray]:
    """An array cut along its first axis, as numpy.vsplit."""
    if ndim(ary) < 2:
        raise ShapeError(f"vsplit({shape(ary)}): the array has no rows; use split, or an array of 2 axes or more.")
    return split(ary, indices_or_sections, 0)


def dsplit(ary: Any, indices_or_sections: int | Sequence[int]) -> list[dlarray]:
    """An array cut along its third axis, as numpy.dsplit."""
    if ndim(ary) < 3:
        raise ShapeError(f"dsplit({shape(ary)}): there is no third axis; use split, or an array of 3 axes or more.")
    return split(ary, indices_or_sections, 2)


def block(arrays: Any) -> dlarray:
    """An array put together from nested lists of blocks, as numpy.block.

    The innermost lists are joined along the last axis, those around them along the last but one, and so on.
    """

    def depth_of(item: Any) -> int:
        if not isinstance(item, list):
            return 0
        depths = {depth_of(part) for part in item}
        if len(depths) != 1:
            raise ValueError("block: the lists are not nested evenly; every block must stand equally deep.")
        return 1 + depths.pop()

    def rank_of(item: Any) -> int:
        return max(map(rank_of, item)) if isinstance(item, list) else ndim(item)

    depth = depth_of(arrays)
    rank = max(depth, rank_of(arrays))

    def join(item: Any, level: int) -> dlarray:
        if level:
            return _core.concatenate([join(part, level - 1) for part in item], rank - level)
        extents = shape(item)
        return _core.reshape(item, (1,) * (rank - len(extents)) + extents)

    return join(arrays, depth)


def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[dlarray, ...]:
    """Coordinates of a grid from those of its axes, as numpy.meshgrid.

    Parameters
    ----------
    *xi : array
        Vectors.
    copy : bool
        Taken for NumPy's sake; the results are never written to behind your back.
    sparse : bool
        Whether the results keep extent 1 along the other axes.
    indexing : {"xy", "ij"}
        "xy" exchanges the first two axes, as pictures have it.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij'; {indexing!r} was given.")
    rank = len(xi)
    places = list(range(rank))
    if indexing == "xy" and rank > 1:
        places[:2] = 1, 0
    grids = [
        _core.reshape(x, [-1 if i == place else 1 for i in range(rank)]) for x, place in zip(xi, places, strict=True)
    ]
    if sparse:
        return tuple(grids)
    common = np.broadcast_shapes(*(grid.shape for grid in grids))
    return tuple(_core.broadcast_to(grid, common) for grid in grids)


def delete(arr: Any, obj: Any, axis: int | None = None) -> dlarray:
    """An array without some of its parts, as numpy.delete; the places are constants."""
    x = asarray(arr)
    x, axis = (_core.ravel(x), 0) if axis is None else (x, axis)
    return _core.take(x, np.delete(np.arange(x.shape[axis]), obj), axis)


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> dlarray:
    """Values put before given places of an array, as numpy.insert; the places are constants."""
    x = asarray(arr)
    x, axis = (_core.ravel(x), 0) if axis is None else (x, axis % x.ndim)
    extent, one = x.shape[axis], np.ndim(obj) == 0 and not isinstance(obj, slice)
    new = asarray(values)
    if one and new.ndim == x.ndim - 1 > 0:
        # As NumPy has it: what goes to one place is a part of the array without that axis.
        new = _core.expand_dims(new, axis)
    elif new.ndim < x.ndim:
        new = _core.reshape(new, (1,) * (x.ndim - new.ndim) + new.shape)
    count = new.shape[axis] if one else len(np.arange(extent)[obj] if isinstance(obj, slice) else obj)
    wanted = [count if i == axis else n for i, n in enumerate(x.shape)]
    # NumPy puts the numbers of the new parts, which come after those of the array, where they belong.
    order = np.insert(np.arange(extent), obj, np.arange(extent, extent + count))
    return _core.take(_core.concatenate((x, _core.astype(_core.broadcast_to(new, wanted), x.dtype)), axis), order, axis)


def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> dlarray:
    """A function of vectors, called for each vector along an axis, as numpy.apply_along_axis."""
    x = asarray(arr)
    rows = _core.moveaxis(x, axis, -1)
    outer = rows.shape[:-1]
    results = [asarray(func1d(row, *args, **kwargs)) for row in _core.reshape(rows, (-1, rows.shape[-1]))]
    made = _core.reshape(_core.stack(results), outer + results[0].shape)
    # The axes of a result stand where the axis was.
    inner = results[0].ndim
    place = axis % x.ndim
    return _core.moveaxis(made, tuple(range(len(outer), len(outer) + inner)), tuple(range(place, place + inner)))


def apply_over_axes(func: Callable[..., Any], a: Any, axes: int | Sequence[int]) -> dlarray:
    """A reduction done along one axis after another, axes staying, as numpy.apply_over_axes."""
    x = asarray(a)
    for axis in (axes,) if isinstance(axes, int) else axes:
        y = func(x, axis)
        x = y if y.ndim == x.ndim else _core.expand_dims(y, axis)
    return x
