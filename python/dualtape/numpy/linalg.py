# SPDX-License-Identifier: MIT
"""`dualtape.numpy.linalg`: norms."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._elementwise import TABLE
from ._products import plain
from ._shaped import Axis

__all__ = ["norm"]

_absolute, _power, _sqrt, _square, _where = (TABLE[n] for n in ("absolute", "power", "sqrt", "square", "where"))


def norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> dlarray:
    """Norm of vectors or matrices, as numpy.linalg.norm.

    Parameters
    ----------
    x : array
    ord : {None, "fro", int, float, inf, -inf}, optional
        None: the root of the sum of squares over all axes in `axis`. For one axis any number p: the p-th
        root of the sum of p-th powers, with inf and -inf for the largest and the smallest absolute value,
        and 0 for the number of elements that are not zero. For two axes "fro", 1, -1, inf and -inf.
    axis : int or pair of ints, optional
        By default all axes.
    keepdims : bool
        Whether axes stay, with extent 1.

    Returns
    -------
    dlarray
        The derivative of the root of a sum of squares is 0 where all elements are 0.
    """
    a = plain(x)
    if axis is None and (ord is None or a.ndim <= 2):
        axes = tuple(range(a.ndim))
    else:
        axes = axis if isinstance(axis, tuple) else tuple(range(a.ndim)) if axis is None else (axis,)
    if ord is None or (ord == "fro" and len(axes) == 2) or (ord == 2 and len(axes) == 1):
        squares = _core.sum(_square(a), axes, keepdims)
        # At zero the root has no slope; a constant stands in, on a branch that is not taken.
        zero = TABLE["equal"](squares, 0.0)
        return _where(zero, 0.0, _sqrt(_where(zero, 1.0, squares)))
    extreme = {np.inf: _core.max, -np.inf: _core.min}.get(ord) if isinstance(ord, (int, float)) else None
    if len(axes) == 1 and isinstance(ord, (int, float)):
        size = _absolute(a)
        if extreme is not None:
            return extreme(size, axes, keepdims)
        if ord == 0:
            return _core.sum(_core.astype(TABLE["not_equal"](a, 0.0), a.dtype), axes, keepdims)
        if ord == 1:
            return _core.sum(size, axes, keepdims)
        return _power(_core.sum(_power(size, ord), axes, keepdims), 1.0 / ord)
    if len(axes) == 2 and ord in (1, -1, np.inf, -np.inf):
        rows, columns = (i % a.ndim for i in axes)
        summed, over = (rows, columns) if ord in (1, -1) else (columns, rows)
        outer = (_core.max if ord > 0 else _core.min)(_core.sum(_absolute(a), summed, True), over, True)
        return outer if keepdims else _core.squeeze(outer, (rows, columns))
    raise ShapeError(
        f"norm({a.shape}): ord={ord!r} over {len(axes)} axes is not there; for vectors use any number, for "
        "matrices 'fro', 1, -1, inf or -inf."
    )
