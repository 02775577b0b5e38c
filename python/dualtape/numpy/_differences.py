# SPDX-License-Identifier: MIT
"""Differences, running products, and what is made of neighbours: `gradient`, `trapezoid`, `cumprod`, `convolve`,
`cross` and others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._creation import asarray
from ._elementwise import TABLE, refuse_out
from ._indexed import diff, flip
from ._products import plain
from ._shaped import ndim, shape


def _part(x: dlarray, axis: int, start: int | None, stop: int | None) -> dlarray:
    return x[(*(slice(None),) * axis, slice(start, stop))]


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> dlarray:
    """Differences of neighbours of the flattened array, with values before and after, as numpy.ediff1d."""
    x = _core.ravel(asarray(ary))
    parts = [x[1:] - x[:-1]]
    if to_begin is not None:
        parts.insert(0, _core.astype(_core.ravel(asarray(to_begin)), x.dtype))
    if to_end is not None:
        parts.append(_core.astype(_core.ravel(asarray(to_end)), x.dtype))
    return _core.concatenate(parts)


def unwrap(p: Any, discont: float | None = None, axis: int = -1, *, period: float = 2 * np.pi) -> dlarray:
    """Values with jumps of more than half a period taken back, as numpy.unwrap; the derivative is that of `p`."""
    x = asarray(p)
    at = axis % x.ndim
    jumps = _core.stop_gradient(diff(x, axis=at))
    half = period / 2.0
    kept = TABLE["remainder"](jumps + half, period) - half
    kept = TABLE["where"](TABLE["equal"](kept, -half) & (jumps > 0.0), half, kept)
    limit = half if discont is None else max(float(discont), half)
    turns = TABLE["where"](TABLE["absolute"](jumps) < limit, 0.0, kept - jumps)
    later = _part(x, at, 1, None) + _core.cumsum(turns, at)
    return _core.concatenate((_part(x, at, None, 1), later), at)


def gradient(f: Any, *varargs: Any, axis: int | Sequence[int] | None = None, edge_order: int = 1) -> Any:
    """Slopes along axes by second-order central differences, one-sided at the ends, as numpy.gradient.

    Parameters
    ----------
    f : array
    *varargs : number or array
        The distance of neighbours, one for all axes or one for each; or the coordinates along each axis. The result
        depends on them where they are dlarrays.
    axis : int or sequence of ints, optional
        By default all axes.
    edge_order : {1, 2}
        The order of the differences at the ends.

    Returns
    -------
    dlarray, or tuple of dlarray
        A tuple for several axes.
    """
    x = asarray(f)
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    axes = tuple(i % x.ndim for i in axes)
    if len(varargs) not in (0, 1, len(axes)):
        raise TypeError(
            f"gradient{x.shape}: {len(varargs)} distances were given for {len(axes)} axes; give one for all, or one "
            "for each."
        )
    if edge_order not in (1, 2):
        raise ValueError(f"gradient{x.shape}: edge_order must be 1 or 2; {edge_order!r} was given.")
    spacings = varargs if len(varargs) == len(axes) else varargs * len(axes) if varargs else (1.0,) * len(axes)
    slopes = tuple(_slope(x, i, spacing, edge_order) for i, spacing in zip(axes, spacings, strict=True))
    return slopes[0] if len(slopes) == 1 else slopes


def _slope(x: dlarray, axis: int, spacing: Any, edge_order: int) -> dlarray:
    """`gradient` along one axis."""
    extent = x.shape[axis]
    if extent < edge_order + 1:
        raise ShapeError(
            f"gradient{x.shape}: axis {axis} has extent {extent}; differences of order {edge_order} at its ends need "
            f"{edge_order + 1} elements."
        )
    steps = x[(*(slice(None),) * axis, slice(1, None))] - _part(x, axis, None, -1)
    if ndim(spacing) == 0:
        slopes = steps / spacing
        inside = 0.5 * (_part(slopes, axis, 1, None) + _part(slopes, axis, None, -1))
        first, last = _part(slopes, axis, None, 1), _part(slopes, axis, -1, None)
        if edge_order == 2:
            first = first + 0.5 * (first - _part(slopes, axis, 1, 2))
            last = last + 0.5 * (last - _part(slopes, axis, -2, -1))
        return _core.concatenate((first, inside, last), axis)
    places = asarray(spacing)
    if places.shape != (extent,):
        raise ShapeError(
            f"gradient({x.shape}, {places.shape}): axis {axis} has extent {extent}; its coordinates must be a vector "
            "of as many elements."
        )
    h = _core.reshape(places[1:] - places[:-1], (-1, *(1,) * (x.ndim - 1 - axis)))
    h = _core.reshape(h, (1,) * axis + h.shape)
    slopes = steps / h
    before, after = _part(h, axis, None, -1), _part(h, axis, 1, None)
    # The parabola through three neighbours has this slope in the middle one.
    inside = (_part(slopes, axis, None, -1) * after + _part(slopes, axis, 1, None) * before) / (before + after)
    first, last = _part(slopes, axis, None, 1), _part(slopes, axis, -1, None)
    if edge_order == 2:
        h0, h1 = _part(h, axis, None, 1), _part(h, axis, 1, 2)
        first = first + (first - _part(slopes, axis, 1, 2)) * h0 / (h0 + h1)
        h1, h0 = _part(h, axis, -2, -1), _part(h, axis, -1, None)
        last = last + (last - _part(slopes, axis, -2, -1)) * h0 / (h0 + h1)
    return _core.concatenate((first, inside, last), axis)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> dlarray:
    """The integral by the trapezoidal rule, as numpy.trapezoid; it depends on the coordinates too."""
    values = asarray(y)
    place = axis % values.ndim
    if x is None:
        width = dx
    else:
        places = asarray(x)
        if places.ndim == 1:
            steps = places[1:] - places[:-1]
            width = _core.reshape(steps, (-1, *(1,) * (values.ndim - 1 - place)))
        else:
            along = axis % places.ndim
            width = _part(places, along, 1, None) - _part(places, along, None, -1)
    middle = 0.5 * (_part(values, place, 1, None) + _part(values, place, None, -1))
    return _core.sum(width * middle, place)


def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> dlarray:
    """Running products along an axis, or of the flattened array, as numpy.cumprod.

    Made in log2(n) passes, in each of which an element takes in what lies twice as far back: so its derivative is right
    where elements are zero, and a few ops do for any extent.
    """
    if out is not None:
        refuse_out("cumprod")
    x = asarray(a, dtype)
    x, place = (_core.ravel(x), 0) if axis is None else (x, axis % x.ndim)
    if x.dtype == np.bool_:
        x = _core.astype(x, np.int64)
    reach, extent = 1, x.shape[place]
    while reach < extent:
        grown = _part(x, place, reach, None) * _part(x, place, None, -reach)
        x = _core.concatenate((_part(x, place, None, reach), grown), place)
        reach *= 2
    return x if extent > 1 else x.copy()


def _cumulative(name: str, run: Any, start: float, x: Any, axis: int | None, dtype: Any, initial: bool) -> dlarray:
    if axis is None:
        if ndim(x) > 1:
            raise ValueError(f"{name}{shape(x)}: there are {ndim(x)} axes; say along which one with axis=.")
        axis = 0
    made = run(x, axis, dtype)
    if not initial:
        return made
    extents = list(made.shape)
    extents[axis] = 1
    return _core.concatenate((np.full(extents, start, made.dtype), made), axis)


def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: None = None, include_initial: bool = False
) -> dlarray:
    """Running products, with a 1 in front on request, as numpy.cumulative_prod."""
    if out is not None:
        refuse_out("cumulative_prod")
    return _cumulative("cumulative_prod", cumprod, 1.0, x, axis, dtype, include_initial)


def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: None = None, include_initial: bool = False
) -> dlarray:
    """Running sums, with a 0 in front on request, as numpy.cumulative_sum."""
    if out is not None:
        refuse_out("cumulative_sum")

    def run(x: Any, axis: int, dtype: Any) -> dlarray:
        return _core.cumsum(asarray(x, dtype), axis)

    return _cumulative("cumulative_sum", run, 0.0, x, axis, dtype, include_initial)


def _vectors(name: str, a: Any, v: Any) -> tuple[dlarray, dlarray]:
    x, y = plain(a), plain(v)
    x, y = (_core.reshape(z, (1,)) if z.ndim == 0 else z for z in (x, y))
    if x.ndim != 1 or y.ndim != 1 or x.size == 0 or y.size == 0:
        raise ShapeError(f"{name}({x.shape}, {y.shape}): both must be vectors of one element or more.")
    return x, y


def convolve(a: Any, v: Any, mode: str = "full") -> dlarray:
    """The discrete convolution of two vectors, as numpy.convolve.

    Parameters
    ----------
    a, v : array
        Vectors.
    mode : {"full", "same", "valid"}
        All places where they overlap; as many as the longer one has, from the middle; those where they overlap wholly.
    """
    x, y = _vectors("convolve", a, v)
    if y.size > x.size:
        x, y = y, x
    n, m = x.size, y.size
    starts = {"full": (0, n + m - 1), "same": ((m - 1) // 2, n), "valid": (m - 1, n - m + 1)}
    if mode not in starts:
        raise ValueError(f"convolve({x.shape}, {y.shape}): mode must be 'full', 'same' or 'valid'; got {mode!r}.")
    start, count = starts[mode]
    # Each result is the product of the shorter vector, turned round, with a window of the longer one.
    border = np.zeros(m - 1, x.dtype)
    windows = start + np.arange(count)[:, None] + np.arange(m)
    return _core.matmul(_core.take(_core.concatenate((border, x, border)), windows), flip(y))


def correlate(a: Any, v: Any, mode: str = "valid") -> dlarray:
    """The cross-correlation of two vectors, as numpy.correlate; the modes are those of `convolve`."""
    x, y = _vectors("correlate", a, v)
    if y.size > x.size:
        return flip(convolve(y, flip(x), mode))
    return convolve(x, flip(y), mode)


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> dlarray:
    """The cross product of vectors of three elements, as numpy.cross."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = _core.moveaxis(plain(a), axisa, -1), _core.moveaxis(plain(b), axisb, -1)
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        raise ShapeError(
            f"cross({shape(a)}, {shape(b)}): vectors of three elements have a cross product; these have "
            f"{x.shape[-1]} and {y.shape[-1]}; for two elements write a[0] * b[1] - a[1] * b[0]."
        )
    next_, last = [1, 2, 0], [2, 0, 1]
    made = x[..., next_] * y[..., last] - x[..., last] * y[..., next_]
    return _core.moveaxis(made, -1, axisc)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> dlarray:
    """Powers of a vector in columns, the highest first, as numpy.vander."""
    v = asarray(x)
    if v.ndim != 1:
        raise ShapeError(f"vander{v.shape}: there are {v.ndim} axes; give a vector.")
    v = _core.astype(v, np.promote_types(v.dtype, np.int64))
    count = v.size if N is None else N
    if count == 0:
        return dlarray(np.zeros((v.size, 0), v.dtype))
    powers = [dlarray(np.ones(v.shape, v.dtype))]
    while len(powers) < count:
        powers.append(powers[-1] * v if len(powers) > 1 else v)
    return _core.stack(powers if increasing else powers[::-1], 1)


def polyval(p: Any, x: Any) -> dlarray:
    """The value of a polynomial with coefficients from the highest power down, as numpy.polyval (Horner's rule)."""
    at = asarray(x)
    made = at * 0.0
    for coefficient in asarray(p):
        made = made * at + coefficient
    return made
