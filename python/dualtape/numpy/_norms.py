# SPDX-License-Identifier: MIT
"""Norms and condition numbers, as numpy.linalg has them; `linalg` shows them to the world."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._elementwise import TABLE
from ._products import plain
from ._shaped import Axis

_absolute, _divide, _power, _sqrt, _square, _where = (
    TABLE[n] for n in ("absolute", "true_divide", "power", "sqrt", "square", "where")
)


def svdvals(x: Any, /) -> dlarray:
    """Singular values in descending order, as numpy.linalg.svdvals."""
    return _core.linalg.svd(plain(x), False)[1]


def _root_of_squares(a: dlarray, axes: tuple[int, ...], keepdims: bool) -> dlarray:
    squares = _core.sum(_square(a), axes, keepdims)
    # At zero the root has no slope; a constant stands in, on a branch that is not taken.
    zero = TABLE["equal"](squares, 0.0)
    return _where(zero, 0.0, _sqrt(_where(zero, 1.0, squares)))


def norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> dlarray:
    """Norm of vectors or matrices, as numpy.linalg.norm.

    Parameters
    ----------
    x : array
    ord : {None, "fro", "nuc", int, float, inf, -inf}, optional
        None: the root of the sum of squares over all axes in `axis`. For one axis any number p: the p-th
        root of the sum of p-th powers, with inf and -inf for the largest and the smallest absolute value,
        and 0 for the number of elements that are not zero. For two axes "fro", "nuc" (the sum of the
        singular values), 2, -2 (the largest and the smallest of them), 1, -1 (sums of columns), inf and
        -inf (sums of rows).
    axis : int or pair of ints, optional
        By default all axes.
    keepdims : bool
        Whether axes stay, with extent 1.

    Returns
    -------
    dlarray
        The derivative of the root of a sum of squares is 0 where all elements are 0.

    Raises
    ------
    ShapeError
        There is no such norm over so many axes.
    """
    a = plain(x)
    if axis is None:
        axes = tuple(range(a.ndim))
    else:
        axes = tuple(i % a.ndim for i in (axis if isinstance(axis, tuple) else (axis,)))
    if ord is None or (ord == "fro" and len(axes) == 2) or (ord == 2 and len(axes) == 1):
        return _root_of_squares(a, axes, keepdims)
    number = isinstance(ord, (int, float, np.integer, np.floating))
    if len(axes) == 1 and number:
        size = _absolute(a)
        if ord in (np.inf, -np.inf):
            return (_core.max if ord > 0 else _core.min)(size, axes, keepdims)
        if ord == 0:
            return _core.sum(_core.astype(TABLE["not_equal"](a, 0.0), a.dtype), axes, keepdims)
        if ord == 1:
            return _core.sum(size, axes, keepdims)
        return _power(_core.sum(_power(size, ord), axes, keepdims), 1.0 / ord)
    if len(axes) == 2 and ord in (1, -1, 2, -2, np.inf, -np.inf, "nuc"):
        rows, columns = axes
        if ord in (2, -2, "nuc"):
            values = svdvals(_core.moveaxis(a, (rows, columns), (-2, -1)))
            outer = {"nuc": _core.sum, 2: _core.max, -2: _core.min}[ord](values, -1)
            return _core.expand_dims(outer, tuple(sorted(axes))) if keepdims else outer
        summed, over = (rows, columns) if ord in (1, -1) else (columns, rows)
        outer = (_core.max if ord > 0 else _core.min)(_core.sum(_absolute(a), summed, True), over, True)
        return outer if keepdims else _core.squeeze(outer, (rows, columns))
    raise ShapeError(
        f"norm({a.shape}): ord={ord!r} over {len(axes)} axes is not there; for vectors use any number, for "
        "matrices 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, and name the axes."
    )


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> dlarray:
    """Norms of the matrices in the last two axes, as numpy.linalg.matrix_norm; see `norm`."""
    return norm(x, ord, (-2, -1), keepdims)


def vector_norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: Any = 2) -> dlarray:
    """Norms of vectors, as numpy.linalg.vector_norm: several axes, by default all, are one vector."""
    a = plain(x)
    axes = tuple(range(a.ndim)) if axis is None else tuple(i % a.ndim for i in np.atleast_1d(axis).tolist())
    kept = tuple(i for i in range(a.ndim) if i not in axes)
    flat = _core.reshape(_core.transpose(a, kept + axes), (*(a.shape[i] for i in kept), -1))
    out = norm(flat, ord, -1)
    return _core.reshape(out, tuple(1 if i in axes else n for i, n in enumerate(a.shape))) if keepdims else out


def cond(x: Any, p: Any = None) -> dlarray:
    """Condition numbers of matrices, as numpy.linalg.cond.

    Parameters
    ----------
    x : array, shape (..., m, n)
    p : {None, 2, -2, "fro", "nuc", 1, -1, inf, -inf}, optional
        None and 2: the largest singular value over the smallest; -2 the other way round. Others: the norm of
        the matrix times that of its inverse.

    Returns
    -------
    dlarray, shape (...)
        inf for a singular matrix and p 2.

    Raises
    ------
    NumericError
        The matrix is singular, and p needs its inverse.
    """
    a = plain(x)
    if p in (None, 2, -2):
        values = svdvals(a)
        first, last = values[..., 0], values[..., -1]
        return _divide(last, first) if p == -2 else _divide(first, last)
    return norm(a, p, (-2, -1)) * norm(_core.linalg.inv(a), p, (-2, -1))
