# SPDX-License-Identifier: MIT
"""Statistics: quantiles and covariances."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._creation import asarray
from ._elementwise import TABLE, refuse_out
from ._shaped import Axis, ndim

_where, _isnan, _floor, _sqrt = (TABLE[n] for n in ("where", "isnan", "floor", "sqrt"))
_minimum, _maximum = TABLE["minimum"], TABLE["maximum"]

# Hyndman and Fan, Sample quantiles in statistical packages, The American Statistician 50 (1996), 361-365: definitions
# 4 to 9. Of n elements, counted from 0, that at n * q + alpha + q * (1 - alpha - beta) - 1 is the quantile.
_PLOTTING_POSITIONS: dict[str, tuple[float, float]] = {
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "linear": (1.0, 1.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
_BETWEEN = ("lower", "higher", "midpoint", "nearest")


def _gathered(a: Any, axis: Axis) -> tuple[dlarray, tuple[int, ...]]:
    """The array with the axes to reduce as one, at the end; and the shape with them as 1."""
    x = asarray(a)
    x = x if x.dtype in (np.float32, np.float64) else _core.astype(x, np.float64)
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    reduced = sorted(i % x.ndim for i in axes)
    kept = [i for i in range(x.ndim) if i not in reduced]
    moved = _core.transpose(x, (*kept, *reduced))
    extents = tuple(x.shape[i] for i in kept)
    count = 1
    for i in reduced:
        count *= x.shape[i]
    return (
        _core.reshape(moved, (*extents, count)),
        tuple(1 if i in reduced else n for i, n in enumerate(x.shape)),
    )


def _position(q: Any, count: Any, method: str) -> Any:
    """Where, among `count` sorted elements, a quantile lies."""
    if method in _PLOTTING_POSITIONS:
        alpha, beta = _PLOTTING_POSITIONS[method]
        return count * q + (alpha + q * (1.0 - alpha - beta)) - 1.0
    if method in _BETWEEN:
        at = (count - 1.0) * q
        if method == "nearest":
            return TABLE["rint"](at)
        if method == "midpoint":
            return 0.5 * (_floor(at) + TABLE["ceil"](at))
        return _floor(at) if method == "lower" else TABLE["ceil"](at)
    raise ValueError(
        f"quantile: method={method!r} is not there; use one of {', '.join((*_PLOTTING_POSITIONS, *_BETWEEN))}."
    )


def _quantiles(name: str, a: Any, q: Any, axis: Axis, method: str, keepdims: bool, skip_nan: bool) -> dlarray:
    x, kept_shape = _gathered(a, axis)
    if x.shape[-1] == 0:
        raise ShapeError(f"{name}({asarray(a).shape}): there is no element to choose; give at least one.")
    shares = q if isinstance(q, dlarray) else dlarray(np.asarray(q, x.dtype if isinstance(q, (int, float)) else None))
    extents = shares.shape
    if not isinstance(q, dlarray) and not np.all((np.asarray(q) >= 0) & (np.asarray(q) <= 1)):
        raise ValueError(f"{name}: shares must lie between 0 and 1 (percentages between 0 and 100); {q!r} was given.")
    flat = _core.reshape(shares, (-1,))
    last = x.shape[-1] - 1
    ordered = _core.take_along_axis(x, _core.argsort(x, -1), -1)
    missing = _isnan(x)
    if skip_nan:
        count = _core.sum(_core.astype(~missing, x.dtype), -1, True)
    else:
        count = dlarray(np.full((*x.shape[:-1], 1), float(last + 1), x.dtype))
    highest = _maximum(count - 1.0, 0.0)
    at = _minimum(_maximum(_position(flat, count, method), 0.0), highest)
    below = _floor(at)
    above = _minimum(below + 1.0, highest)
    low, high = (
        _core.take_along_axis(ordered, _core.astype(place, np.int64), -1)
        for place in (_core.stop_gradient(below), _core.stop_gradient(above))
    )
    share = at - below
    made = low + _where(share > 0.0, (high - low) * share, 0.0)
    spoilt = _core.all(missing, -1, True) if skip_nan else _core.any(missing, -1, True)
    made = _where(spoilt, np.nan, made)
    # Shares come first.
    made = _core.reshape(_core.moveaxis(made, -1, 0), extents + x.shape[:-1])
    return _core.reshape(made, extents + kept_shape) if keepdims else made


def quantile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
) -> dlarray:
    """The values below which given shares of the elements lie, as numpy.quantile.

    Parameters
    ----------
    a : array
    q : number or array
        Shares from 0 to 1. The result depends on them where they are a dlarray.
    axis : int or tuple of ints, optional
        By default all.
    out : None
        Not taken.
    overwrite_input : bool
        Taken for NumPy's sake; `a` stays as it is.
    method : str
        NumPy's continuous ones, and "lower", "higher", "midpoint" and "nearest".
    keepdims : bool
        Whether axes stay, with extent 1.

    Returns
    -------
    dlarray
        The axes of `q`, then those of `a` that are left. NaN among the elements gives NaN.
    """
    if out is not None:
        refuse_out("quantile")
    return _quantiles("quantile", a, q, axis, method, keepdims, False)


def percentile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
) -> dlarray:
    """`quantile` with shares in per cent, as numpy.percentile."""
    if out is not None:
        refuse_out("percentile")
    return _quantiles("percentile", a, _shares(q), axis, method, keepdims, False)


def nanquantile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
) -> dlarray:
    """`quantile` of the elements that are not NaN, as numpy.nanquantile."""
    if out is not None:
        refuse_out("nanquantile")
    return _quantiles("nanquantile", a, q, axis, method, keepdims, True)


def nanpercentile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
) -> dlarray:
    """`percentile` of the elements that are not NaN, as numpy.nanpercentile."""
    if out is not None:
        refuse_out("nanpercentile")
    return _quantiles("nanpercentile", a, _shares(q), axis, method, keepdims, True)


def _shares(q: Any) -> Any:
    return q / 100.0 if isinstance(q, (int, float, dlarray)) else np.asarray(q, np.float64) / 100.0


def median(
    a: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False
) -> dlarray:
    """The middle of the sorted elements, or the mean of the two in the middle, as numpy.median."""
    if out is not None:
        refuse_out("median")
    return _quantiles("median", a, 0.5, axis, "linear", keepdims, False)


def nanmedian(
    a: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False
) -> dlarray:
    """`median` of the elements that are not NaN, as numpy.nanmedian."""
    if out is not None:
        refuse_out("nanmedian")
    return _quantiles("nanmedian", a, 0.5, axis, "linear", keepdims, True)


# How variables go together.


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> dlarray:
    """Covariances of variables, as numpy.cov.

    Parameters
    ----------
    m : array
        A variable, or several in the rows (in the columns if not `rowvar`).
    y : array, optional
        Further variables.
    rowvar, bias, ddof
        The divisor is N - ddof, by default N - 1, and N with `bias`.
    fweights, aweights : array, optional
        How often each observation counts, and how much.
    dtype : dtype, optional

    Returns
    -------
    dlarray
        A matrix, or a number for one variable.
    """
    x = _variables(m, rowvar, dtype)
    if y is not None:
        x = _core.concatenate((x, _variables(y, rowvar, dtype)), 0)
    ddof = (0 if bias else 1) if ddof is None else ddof
    weights: Any = None
    for w in (fweights, aweights):
        weights = w if weights is None else weights if w is None else TABLE["multiply"](weights, w)
    if weights is None:
        free: Any = x.shape[1] - ddof
        centred = x - _core.mean(x, 1, True)
        made = _core.matmul(centred, _core.transpose(centred)) / free
    else:
        w = asarray(weights)
        total = _core.sum(w)
        centred = x - _core.sum(x * w, 1, True) / total
        counted = w if aweights is None else w * aweights
        free = total - ddof if aweights is None else total - ddof * _core.sum(counted) / total
        made = _core.matmul(centred * w, _core.transpose(centred)) / free
    return _core.squeeze(made)


def _variables(m: Any, rowvar: bool, dtype: Any) -> dlarray:
    x = asarray(m, dtype)
    if x.ndim > 2:
        raise ShapeError(f"cov{x.shape}: variables have one or two axes; {x.ndim} were given.")
    x = x if dtype is not None else _core.astype(x, np.float64)
    if x.ndim < 2:
        return _core.reshape(x, (1, -1))
    return x if rowvar or x.shape[0] == 1 else _core.transpose(x)


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> dlarray:
    """Correlation coefficients of variables, as numpy.corrcoef; numbers a little over 1 are not cut off."""
    c = cov(x, y, rowvar, dtype=dtype)
    if ndim(c) == 0:
        return c / c
    n = c.shape[0]
    spread = _sqrt(_core.take(_core.ravel(c), np.arange(n) * (n + 1)))
    return c / _core.reshape(spread, (n, 1)) / spread
