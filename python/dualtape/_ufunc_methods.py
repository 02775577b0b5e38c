# SPDX-License-Identifier: MIT
"""The methods of NumPy's ufuncs on dlarrays: `reduce`, `accumulate`, `reduceat`, `outer`, `at`.

Where the core has a shaped op for a method it is used; elsewhere the function is applied to one part of the array after
another, so every elementwise function has its methods, with derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import dualtape.numpy as dnp
from dualtape import _core
from dualtape._core import ShapeError, dlarray

Function = Callable[..., Any]


def _logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> dlarray:
    return _core.logsumexp(a, axis, keepdims)


#: Ufuncs whose ``reduce`` has a shaped op.
REDUCTIONS: dict[np.ufunc, Function] = {
    np.add: dnp.sum,
    np.multiply: dnp.prod,
    np.maximum: dnp.max,
    np.minimum: dnp.min,
    np.logical_and: dnp.all,
    np.logical_or: dnp.any,
    np.logaddexp: _logsumexp,
}
_RUNNING: dict[np.ufunc, Function] = {np.add: dnp.cumsum, np.multiply: dnp.cumprod}

#: For which running results may be found by doubling: f(f(a, b), c) is f(a, f(b, c)).
_ASSOCIATIVE = {np.maximum, np.minimum, np.fmax, np.fmin, np.logical_and, np.logical_or, np.logaddexp, np.logaddexp2}


def _leading(x: dlarray, axis: Any) -> dlarray:
    """The array with an axis, or several as one, in front."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    first = tuple(i % x.ndim for i in axes)
    moved = _core.moveaxis(x, first, tuple(range(len(first))))
    return _core.reshape(moved, (-1, *moved.shape[len(first) :]))


def _fold(ufunc: np.ufunc, function: Function, x: dlarray, axis: Any, keepdims: bool, initial: Any) -> dlarray:
    """The function applied to parts along an axis from left to right."""
    if isinstance(axis, tuple) and len(axis) > 1 and ufunc.identity is None and ufunc not in _ASSOCIATIVE:
        raise ValueError(f"{ufunc.__name__}.reduce: the order matters, so only one axis can be reduced; name it.")
    parts: list[Any] = list(_leading(x, axis)) if x.ndim else [x]
    if initial is not None:
        parts.insert(0, initial)
    if not parts:
        if ufunc.identity is None:
            raise ShapeError(f"{ufunc.__name__}.reduce({x.shape}): there is nothing to reduce; give initial=.")
        parts = [_core.broadcast_to(float(ufunc.identity), _leading(x, axis).shape[1:])]
    made = parts[0]
    for part in parts[1:]:
        made = function(made, part)
    made = dnp.asarray(made)
    if not keepdims:
        return made
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    kept = {i % x.ndim for i in axes}
    return _core.reshape(made, tuple(1 if i in kept else n for i, n in enumerate(x.shape)))


def reduce(
    ufunc: np.ufunc,
    function: Function,
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    keepdims: bool = False,
    **options: Any,
) -> dlarray:
    """``ufunc.reduce``: the function applied to one part after another; `initial` and `where` as there."""
    x = dnp.asarray(array, dtype)
    op = REDUCTIONS.get(ufunc)
    if op is not None and not (ufunc is np.logaddexp and options):
        return op(x, axis=axis, keepdims=keepdims, **options)
    initial, where = options.pop("initial", None), options.pop("where", True)
    if where is not True:
        if ufunc.identity is None:
            raise TypeError(f"{ufunc.__name__}.reduce: where= is not taken, since nothing stands for what is left out.")
        x = _core.elementwise.where(where, x, float(ufunc.identity))
    return _fold(ufunc, function, x, axis, keepdims, initial, **options)


def accumulate(ufunc: np.ufunc, function: Function, array: Any, axis: int = 0, dtype: Any = None) -> dlarray:
    """``ufunc.accumulate``: all results on the way of ``reduce``."""
    x = dnp.asarray(array, dtype)
    if ufunc in _RUNNING:
        return _RUNNING[ufunc](x, axis=axis)
    rows = _core.moveaxis(x, axis, 0)
    if ufunc in _ASSOCIATIVE:
        step = 1
        while step < rows.shape[0]:
            rows = _core.concatenate((rows[:step], function(rows[:-step], rows[step:])), 0)
            step *= 2
        return _core.moveaxis(rows, 0, axis)
    made = list(rows[:1])
    for row in rows[1:]:
        made.append(function(made[-1], row))
    return _core.moveaxis(_core.stack(made), 0, axis) if made else x


def reduceat(
    ufunc: np.ufunc, function: Function, array: Any, indices: Any, axis: int = 0, dtype: Any = None
) -> dlarray:
    """``ufunc.reduceat``: ``reduce`` of the stretches between places, which are constants."""
    x = _core.moveaxis(dnp.asarray(array, dtype), axis, 0)
    starts = np.asarray(indices).tolist()
    made = []
    for start, stop in zip(starts, [*starts[1:], x.shape[0]], strict=True):
        made.append(reduce(ufunc, function, x[start:stop]) if start < stop else x[start])
    return _core.moveaxis(_core.stack(made), 0, axis)


def outer(ufunc: np.ufunc, function: Function, first: Any, second: Any, **options: Any) -> dlarray:
    """``ufunc.outer``: the function of every pair of elements."""
    a, b = map(dnp.asarray, (first, second))
    return ufunc(_core.reshape(a, a.shape + (1,) * b.ndim), b, **options)


def _rounds(places: Any) -> list[Any]:
    """Which places to visit in each round, so that none comes twice in one."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    first = np.searchsorted(ordered, ordered)
    turn = np.empty_like(order)
    turn[order] = np.arange(order.size) - first
    return [np.flatnonzero(turn == k) for k in range(int(turn.max(initial=-1)) + 1)]


def at(ufunc: np.ufunc, function: Function, array: Any, indices: Any, *operands: Any) -> None:
    """``ufunc.at``: the function applied to elements at places, once for each time that a place occurs.

    The array gets new values, which derivatives follow. For `add` and `subtract` places may be values of a traced
    program; for others a place that occurs n times costs n rounds.
    """
    if not isinstance(array, dlarray):
        raise TypeError(f"{ufunc.__name__}.at: an ndarray cannot hold what is differentiated; make it a dlarray first.")
    x = array
    places = dlarray(np.arange(x.size).reshape(x.shape))[indices]
    flat = _core.ravel(places)
    values = [_core.ravel(_core.broadcast_to(operand, places.shape)) for operand in operands]
    floats = x.dtype in (np.float64, np.float32)
    if ufunc in (np.add, np.subtract) and floats:
        total = _core.add_along_axis(_core.astype(values[0], x.dtype), flat, 0, x.size)
        x[...] = function(x, _core.reshape(total, x.shape))
        return
    numbers = _core.extractdata(flat)
    made = _core.ravel(x).copy()
    for chosen in _rounds(numbers):
        now = numbers[chosen]
        made[now] = function(made[now], *(value[chosen] for value in values))
    x[...] = _core.reshape(made, x.shape)


METHODS: dict[str, Function] = {f.__name__: f for f in (reduce, accumulate, reduceat, outer, at)}
