# SPDX-License-Identifier: MIT
"""Reductions that leave NaN out: those of `_reductions`, of the elements that are not NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import dlarray

from . import _reductions
from ._creation import asarray
from ._differences import cumprod
from ._elementwise import TABLE, refuse_out
from ._shaped import Axis

_where, _isnan, _sqrt = (TABLE[n] for n in ("where", "isnan", "sqrt"))


def _known(name: str, a: Any, dtype: Any, out: Any, where: Any = True) -> tuple[dlarray, Any]:
    """The array, and which of its elements are to be taken into account."""
    if out is not None:
        refuse_out(name)
    x = asarray(a, dtype)
    there = ~_isnan(x) if x.dtype in (np.float32, np.float64) else True
    return x, there if where is True else TABLE["logical_and"](there, where)


def nansum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> dlarray:
    """Sum of the elements that are not NaN, as numpy.nansum."""
    x, there = _known("nansum", a, dtype, out, where)
    return _reductions.sum(x, axis, keepdims=keepdims, initial=initial, where=there)


def nanprod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> dlarray:
    """Product of the elements that are not NaN, as numpy.nanprod."""
    x, there = _known("nanprod", a, dtype, out, where)
    return _reductions.prod(x, axis, keepdims=keepdims, initial=initial, where=there)


def nanmean(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> dlarray:
    """Mean of the elements that are not NaN, as numpy.nanmean; NaN where there is none."""
    x, there = _known("nanmean", a, dtype, out, where)
    return _reductions.mean(x, axis, keepdims=keepdims, where=there)


def nanvar(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> dlarray:
    """Variance of the elements that are not NaN, as numpy.nanvar: the divisor is their number - ddof."""
    x, there = _known("nanvar", a, dtype, out, where)
    spread = _reductions.var(x, axis, ddof=ddof, keepdims=keepdims, where=there, mean=mean, correction=correction)
    taken = _reductions.count(there, x, axis, keepdims, np.float64)
    return _where(taken > (ddof if correction is None else correction), spread, np.nan)


def nanstd(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> dlarray:
    """Standard deviation of the elements that are not NaN, as numpy.nanstd."""
    if out is not None:
        refuse_out("nanstd")
    return _sqrt(nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction))


def _extreme(
    name: str, find: Callable[..., Any], a: Any, axis: Axis, out: Any, keepdims: bool, initial: Any, where: Any
) -> dlarray:
    x, there = _known(name, a, None, out, where)
    found = find(x, axis, keepdims=keepdims, initial=initial, where=there)
    if x.dtype not in (np.float32, np.float64):
        return found
    return _where(_reductions.all(_isnan(x), axis, keepdims=keepdims, where=where), np.nan, found)


def nanmax(
    a: Any,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> dlarray:
    """Largest element that is not NaN, as numpy.nanmax; NaN where there is none."""
    return _extreme("nanmax", _reductions.max, a, axis, out, keepdims, initial, where)


def nanmin(
    a: Any,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> dlarray:
    """Smallest element that is not NaN, as numpy.nanmin; NaN where there is none."""
    return _extreme("nanmin", _reductions.min, a, axis, out, keepdims, initial, where)


def nancumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> dlarray:
    """Cumulative sum with NaN counted as 0, as numpy.nancumsum."""
    x, there = _known("nancumsum", a, dtype, out)
    return _core.cumsum(x if there is True else _where(there, x, 0.0), axis)


def nancumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> dlarray:
    """Cumulative product with NaN counted as 1, as numpy.nancumprod."""
    x, there = _known("nancumprod", a, dtype, out)
    return cumprod(x if there is True else _where(there, x, 1.0), axis)
