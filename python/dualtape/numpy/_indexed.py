# SPDX-License-Identifier: MIT
"""Functions made of indexing, under NumPy's names: each picks elements, so its derivative is that of the
index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualtape import _core
from dualtape._core import dlarray

from ._creation import asarray
from ._elementwise import TABLE, refuse_out, without_out
from ._shaped import shape

_where = TABLE["where"]


def _along(axis: int, index: Any) -> tuple[Any, ...]:
    return (*(slice(None),) * axis, index)


def flip(m: Any, axis: int | Sequence[int] | None = None) -> dlarray:
    """Elements in reverse order along axes, by default all, as numpy.flip."""
    x = asarray(m)
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    turned = {i % x.ndim for i in axes}
    return x[tuple(slice(None, None, -1 if i in turned else None) for i in range(x.ndim))]


def fliplr(m: Any) -> dlarray:
    """Columns in reverse order, as numpy.fliplr."""
    return flip(m, 1)


def flipud(m: Any) -> dlarray:
    """Rows in reverse order, as numpy.flipud."""
    return flip(m, 0)


def roll(a: Any, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> dlarray:
    """Elements moved along axes, those that fall off coming in at the other end, as numpy.roll."""
    x = asarray(a)
    if axis is None:
        return _core.reshape(_core.take(x, np.roll(np.arange(x.size), shift)), x.shape)
    for steps, i in np.broadcast(shift, axis):
        x = _core.take(x, np.roll(np.arange(x.shape[i]), steps), int(i))
    return x


def matrix_transpose(x: Any, /) -> dlarray:
    """The last two axes exchanged, as numpy.matrix_transpose."""
    return _core.swapaxes(x, -1, -2)


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> dlarray:
    """A diagonal of two axes, as the last axis, as numpy.diagonal."""
    x = _core.moveaxis(asarray(a), (axis1, axis2), (-2, -1))
    rows, columns = x.shape[-2:]
    length = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    places = max(-offset, 0) * columns + max(offset, 0) + np.arange(length) * (columns + 1)
    return _core.take(_core.reshape(x, (*x.shape[:-2], rows * columns)), places, -1)


def diag(v: Any, k: int = 0) -> dlarray:
    """The diagonal of a matrix, or the matrix with a vector on its diagonal, as numpy.diag."""
    x = asarray(v)
    if x.ndim == 2:
        return diagonal(x, k)
    n = x.size + abs(k)
    made = dlarray(np.zeros((n, n), x.dtype))
    i = np.arange(x.size)
    made[i + max(-k, 0), i + max(k, 0)] = x
    return made


@without_out
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> dlarray:
    """Sum along a diagonal, as numpy.trace."""
    return _core.sum(diagonal(a, offset, axis1, axis2), -1)


def _triangle(m: Any, k: int) -> NDArray[np.bool_]:
    """True on and below a diagonal of the last two axes."""
    rows, columns = shape(m)[-2:]
    return np.tri(rows, columns, k, dtype=np.bool_)


def tril(m: Any, k: int = 0) -> dlarray:
    """The lower triangle, zeros above, as numpy.tril."""
    return _where(_triangle(m, k), m, 0.0)


def triu(m: Any, k: int = 0) -> dlarray:
    """The upper triangle, zeros below, as numpy.triu."""
    return _where(_triangle(m, k - 1), 0.0, m)


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> dlarray:
    """Differences of neighbours along an axis, `n` times, as numpy.diff; values may be put before and after."""
    x = asarray(a)
    place = axis % x.ndim
    parts = [x]
    for end, position in ((prepend, 0), (append, 2)):
        if end is not None:
            new = asarray(end)
            one = [1 if i == place else extent for i, extent in enumerate(x.shape)]
            parts.insert(position, _core.broadcast_to(new, one) if new.ndim == 0 else new)
    x = _core.concatenate(parts, place) if len(parts) > 1 else x
    for _ in range(n):
        x = x[_along(place, slice(1, None))] - x[_along(place, slice(None, -1))]
    return x


def diagflat(v: Any, k: int = 0) -> dlarray:
    """The matrix with the flattened array on its diagonal, as numpy.diagflat."""
    return diag(_core.ravel(asarray(v)), k)


def compress(condition: Any, a: Any, axis: int | None = None, out: None = None) -> dlarray:
    """The parts along an axis for which a condition holds, as numpy.compress; the condition is a constant."""
    if out is not None:
        refuse_out("compress")
    return _core.take(a, np.flatnonzero(np.asarray(condition)), axis)


def extract(condition: Any, arr: Any) -> dlarray:
    """The elements for which a condition holds, as numpy.extract; the condition is a constant."""
    return _core.take(_core.ravel(asarray(arr)), np.flatnonzero(np.asarray(condition)))
