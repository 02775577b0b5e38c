# SPDX-License-Identifier: MIT
"""Orders and places: `sort`, `argsort`, `partition`, `searchsorted`, `interp` and what reads at such places.

Orders are values: a traced program computes them anew (the op `argsort`) and reads through them (`take_along_axis`), so
a derivative goes to the element that a result comes from.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._creation import asarray
from ._elementwise import TABLE
from ._shaped import shape

_where, _less, _less_equal, _isnan = (TABLE[n] for n in ("where", "less", "less_equal", "isnan"))


def _refuse_order(function: str, kind: Any, order: Any) -> None:
    if order is not None:
        raise TypeError(f"{function}: order= names the fields of structured arrays, which dlarrays have not.")
    if kind not in (None, "quicksort", "mergesort", "heapsort", "stable"):
        raise ValueError(f"{function}: kind must be 'stable', or one of NumPy's others, which come to the same.")


def argsort(
    a: Any, axis: int | None = -1, kind: Any = None, order: None = None, *, stable: bool | None = None
) -> dlarray:
    """Places that sort along an axis, or the flattened array, as numpy.argsort: a constant.

    Equal elements keep their order, whatever `kind` and `stable` say, and NaN comes last.
    """
    _refuse_order("argsort", kind, order)
    return _core.argsort(a, axis)


def sort(a: Any, axis: int | None = -1, kind: Any = None, order: None = None, *, stable: bool | None = None) -> dlarray:
    """Elements in ascending order along an axis, or all of them, as numpy.sort; NaN comes last.

    The derivative goes to the element that a result comes from; equal ones keep their order.
    """
    _refuse_order("sort", kind, order)
    x = asarray(a)
    if axis is None:
        x, axis = _core.ravel(x), 0
    return _core.take_along_axis(x, _core.argsort(x, axis), axis)


def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: None = None) -> dlarray:
    """Elements along an axis with those at `kth` in their place of the order, as numpy.partition; all are sorted."""
    x = asarray(a)
    _check_kth("partition", x, kth, axis)
    return sort(x, axis, order=order)


def argpartition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: None = None) -> dlarray:
    """Places that partition, as numpy.argpartition: those that sort."""
    x = asarray(a)
    _check_kth("argpartition", x, kth, axis)
    return argsort(x, axis, order=order)


def _check_kth(function: str, x: dlarray, kth: Any, axis: int | None) -> None:
    extent = x.size if axis is None else x.shape[axis]
    if any(not -extent <= k < extent for k in np.ravel(kth)):
        raise ValueError(f"{function}{x.shape}: kth={kth!r} is out of bounds for an axis of extent {extent}.")


def _integers(function: str, indices: Any) -> dlarray:
    places = indices if isinstance(indices, dlarray) else dlarray(np.asarray(indices))
    if places.dtype != np.int64:
        raise IndexError(f"{function}: the places must be integers; {places.dtype} was given; use astype(int).")
    return places


def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> dlarray:
    """Elements at places of its own for each vector along an axis, as numpy.take_along_axis.

    The places may be values of a traced program, such as those of `argsort`. In lanes of a sweep a place that is not
    there gives NaN; everywhere else it is an error.
    """
    x, places = asarray(arr), _integers("take_along_axis", indices)
    if axis is None:
        x, axis = _core.ravel(x), 0
    if places.ndim != x.ndim:
        raise ShapeError(
            f"take_along_axis({x.shape}, {places.shape}): the array and the places must have as many axes; give "
            "extent 1 to axes that repeat."
        )
    axis %= x.ndim
    extents = [tuple(1 if i == axis else n for i, n in enumerate(z.shape)) for z in (x, places)]
    common = np.broadcast_shapes(*extents)
    x, places = (_core.broadcast_to(z, (*common[:axis], z.shape[axis], *common[axis + 1 :])) for z in (x, places))
    return _core.take_along_axis(x, places, axis)


def put_along_axis(arr: dlarray, indices: Any, values: Any, axis: int | None) -> None:
    """Assign to places of its own for each vector along an axis, as numpy.put_along_axis; `arr` gets the new values.

    Of equal places the last one stays. The cost grows with the number of places for each vector times its length.
    """
    if not isinstance(arr, dlarray):
        raise TypeError("put_along_axis: an ndarray cannot hold what is differentiated; make it a dlarray first.")
    places = _integers("put_along_axis", indices)
    x = _core.ravel(arr) if axis is None else arr
    at = 0 if axis is None else axis % x.ndim
    extent = x.shape[at]
    numbers = _core.reshape(np.arange(float(extent)), (-1, *(1,) * (x.ndim - 1 - at)))
    new = _core.broadcast_to(values, np.broadcast_shapes(shape(values), places.shape))
    for k in range(places.shape[at]):
        part = (*(slice(None),) * at, slice(k, k + 1))
        place = _core.astype(places[part], np.float64)  # (a program has no arithmetic of integers)
        x = _where(TABLE["equal"](_where(place < 0.0, place + float(extent), place), numbers), new[part], x)
    arr[...] = _core.reshape(x, arr.shape)


def _known(*arrays: Any) -> bool:
    """Whether numbers are there to look at, which a traced program has not."""
    return not any(isinstance(x, dlarray) and _core.is_traced(x) for x in arrays)


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> dlarray:
    """Places where values would have to be put to keep a vector sorted, as numpy.searchsorted: a constant.

    In a traced program every value is compared with every element, since it has no loop to search with.
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right'; {side!r} was given.")
    x, values = asarray(a), asarray(v)
    if x.ndim != 1:
        raise ShapeError(f"searchsorted({x.shape}, {values.shape}): the sorted array must be a vector.")
    if sorter is not None:
        x = take_along_axis(x, sorter, 0)
    if _known(x, values):
        wanted: Literal["left", "right"] = "left" if side == "left" else "right"
        return dlarray(np.searchsorted(_core.extractdata(x), _core.extractdata(values), wanted))
    each = _core.expand_dims(values, values.ndim)
    before = _less(x, each) if side == "left" else _less_equal(x, each)
    # NaN lies behind all numbers.
    late = _isnan(each) & ~_isnan(x) if side == "left" else _isnan(each)
    return _core.sum(_core.astype(before | late, np.int64), -1)


def digitize(x: Any, bins: Any, right: bool = False) -> dlarray:
    """The number of the bin that each value falls into, as numpy.digitize: a constant.

    Parameters
    ----------
    x : array
    bins : array
        Edges, ascending or descending. Edges of a traced program are taken to ascend.
    right : bool
        Whether an edge belongs to the bin below it.
    """
    edges = asarray(bins)
    if _known(edges):
        steps = np.diff(_core.extractdata(edges))
        if np.all(steps <= 0) and np.any(steps < 0):
            above = _core.astype(searchsorted(edges[::-1], x, "left" if right else "right"), np.float64)
            return _core.astype(float(edges.size) - above, np.int64)
        if np.any(steps < 0):
            raise ValueError(f"digitize({shape(x)}, {edges.shape}): the edges must ascend or descend throughout.")
    return searchsorted(edges, x, "left" if right else "right")


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> dlarray:
    """Values of the polyline through given points, as numpy.interp.

    Parameters
    ----------
    x : array
        Where to evaluate.
    xp, fp : array
        Vectors: the coordinates of the points, ascending, and the values there. The result depends on both.
    left, right : number, optional
        The values outside; by default those of the outermost points.
    period : number, optional
        The period of `x` and `xp`, which need not ascend then.

    Returns
    -------
    dlarray
        At a point its slope is that of the stretch to the right.
    """
    at, places, values = (asarray(z, np.float64) for z in (x, xp, fp))
    if places.ndim != 1 or places.shape != values.shape or places.size == 0:
        raise ShapeError(
            f"interp({at.shape}, {places.shape}, {values.shape}): the points must be two vectors of one length, of one "
            "element or more."
        )
    if period is not None:
        at, places = TABLE["remainder"](at, period), TABLE["remainder"](places, period)
        order = argsort(places)
        places, values = take_along_axis(places, order), take_along_axis(values, order)
        places = _core.concatenate((places[-1:] - period, places, places[:1] + period))
        values = _core.concatenate((values[-1:], values, values[:1]))
        left = right = None
    first, last = values[0] if left is None else left, values[-1] if right is None else right
    if places.size == 1:
        inside = at * 0.0 + values[0]
    else:
        # (Places are moved about as numbers: a program has no arithmetic of integers.)
        upper = TABLE["clip"](_core.astype(searchsorted(places, at, "right"), np.float64), 1.0, places.size - 1.0)

        def pick(z: dlarray, k: dlarray) -> dlarray:
            flat = _core.reshape(_core.astype(k, np.int64), (-1,))
            return _core.reshape(_core.take_along_axis(z, flat, 0), at.shape)

        x0, x1, f0, f1 = pick(places, upper - 1.0), pick(places, upper), pick(values, upper - 1.0), pick(values, upper)
        inside = f0 + (f1 - f0) * ((at - x0) / (x1 - x0))
    return _where(at < places[0], first, _where(at > places[-1], last, inside))
