# SPDX-License-Identifier: MIT
"""Making dlarrays, and joining them: `array`, `zeros`, `linspace`, `concatenate`, `stack` and others.

What is made from numbers is made by NumPy and copied. Where an argument is a dlarray that is being
differentiated (the elements of `array`, the value of `full`, the ends of `linspace`), the result depends on
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import dlarray

from ._elementwise import TABLE, refuse_out
from ._shaped import ndim, shape, size

Shape = int | Sequence[int]


def _holds_dlarrays(object: Any) -> bool:
    if isinstance(object, (list, tuple)):
        return any(map(_holds_dlarrays, object))
    return isinstance(object, dlarray)


def array(object: Any, dtype: Any = None, *, copy: bool | None = True, ndmin: int = 0) -> dlarray:
    """A dlarray of numbers, arrays and dlarrays, nested in sequences, as numpy.array.

    Parameters
    ----------
    object : number, array, dlarray, or nested sequence of these
        Dlarrays in sequences are stacked, so the result depends on them.
    dtype : dtype, optional
        float64, float32, int64 or bool. Python's numbers become float64 without it.
    copy : bool, optional
        False or None: a dlarray of the wanted dtype is handed back as it is.
    ndmin : int
        Axes of extent 1 are put in front until there are so many.

    Returns
    -------
    dlarray
    """
    if isinstance(object, dlarray):
        changed = dtype is not None and np.dtype(dtype) != object.dtype
        made = _core.astype(object, dtype) if changed else object.copy() if copy else object
    elif isinstance(object, (list, tuple)) and _holds_dlarrays(object):
        made = _core.stack([array(item, dtype, copy=None) if _holds_dlarrays(item) else item for item in object], 0)
        made = made if dtype is None else array(made, dtype, copy=None)
    else:
        made = dlarray(object, dtype=dtype)
    return _core.reshape(made, (1,) * (ndmin - made.ndim) + made.shape) if made.ndim < ndmin else made


def asarray(a: Any, dtype: Any = None) -> dlarray:
    """As `array`, without a copy where `a` is a dlarray of the wanted dtype."""
    return array(a, dtype, copy=None)


def copy(a: Any) -> dlarray:
    """A copy that assignments to `a` do not reach, as numpy.copy."""
    return array(a)


def astype(x: Any, dtype: Any, /) -> dlarray:
    """The values in another dtype; derivatives pass between float32 and float64."""
    return _core.astype(x, dtype)


def zeros(shape: Shape, dtype: Any = np.float64) -> dlarray:
    """Zeros, as numpy.zeros."""
    return dlarray(np.zeros(shape, dtype))


def ones(shape: Shape, dtype: Any = np.float64) -> dlarray:
    """Ones, as numpy.ones."""
    return dlarray(np.ones(shape, dtype))


def empty(shape: Shape, dtype: Any = np.float64) -> dlarray:
    """An array to be assigned to, as numpy.empty; its elements are zero until then."""
    return zeros(shape, dtype)


def full(shape: Shape, fill_value: Any, dtype: Any = None) -> dlarray:
    """An array of one value, as numpy.full; it depends on the value where that is a dlarray."""
    if isinstance(fill_value, dlarray):
        value = fill_value if dtype is None else _core.astype(fill_value, dtype)
        return _core.broadcast_to(value, shape if isinstance(shape, int) else tuple(shape)).copy()
    return dlarray(np.full(shape, fill_value, dtype))


def _like(a: Any, dtype: Any, wanted: Shape | None) -> tuple[Shape, Any]:
    """Shape and dtype of `a`, unless others are wanted."""
    found = dtype if dtype is not None else a.dtype if hasattr(a, "dtype") else np.float64
    return shape(a) if wanted is None else wanted, found


def zeros_like(a: Any, dtype: Any = None, *, shape: Shape | None = None) -> dlarray:
    """Zeros of the shape and dtype of `a`, as numpy.zeros_like."""
    return zeros(*_like(a, dtype, shape))


def ones_like(a: Any, dtype: Any = None, *, shape: Shape | None = None) -> dlarray:
    """Ones of the shape and dtype of `a`, as numpy.ones_like."""
    return ones(*_like(a, dtype, shape))


def empty_like(prototype: Any, dtype: Any = None, *, shape: Shape | None = None) -> dlarray:
    """An array to be assigned to, of the shape and dtype of `prototype`, as numpy.empty_like."""
    return zeros(*_like(prototype, dtype, shape))


def full_like(a: Any, fill_value: Any, dtype: Any = None, *, shape: Shape | None = None) -> dlarray:
    """An array of one value, of the shape and dtype of `a`, as numpy.full_like."""
    extents, found = _like(a, dtype, shape)
    return full(extents, fill_value, found)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> dlarray:
    """Evenly spaced numbers in a half-open interval, as numpy.arange."""
    return dlarray(np.arange(start, stop, step, dtype=dtype))


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Evenly spaced numbers in an interval, as numpy.linspace; they depend on ends that are dlarrays."""
    first, last = start, stop
    if isinstance(start, dlarray) or isinstance(stop, dlarray):
        first, last = asarray(start), asarray(stop)
        made = _between(first, last, num, endpoint)
        made = made if dtype is None else _core.astype(made, dtype)
        made = made if axis == 0 else _core.moveaxis(made, 0, axis)
    else:
        made = dlarray(np.linspace(start, stop, num, endpoint, dtype=dtype, axis=axis))
    if not retstep:
        return made
    gaps = num - 1 if endpoint else num
    return made, (np.subtract(last, first) / gaps if gaps > 0 else np.nan)


def _between(first: dlarray, last: dlarray, num: int, endpoint: bool) -> dlarray:
    part = np.linspace(0.0, 1.0, num, endpoint, dtype=np.result_type(first.dtype, last.dtype, 1.0))
    part = part.reshape(-1, *(1,) * max(first.ndim, last.ndim))
    return first * (1.0 - part) + last * part


def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> dlarray:
    """Powers of a base with evenly spaced exponents, as numpy.logspace; they depend on ends and base."""
    if not any(isinstance(x, dlarray) for x in (start, stop, base)):
        return dlarray(np.logspace(start, stop, num, endpoint, base, dtype, axis))
    made = TABLE["power"](base, linspace(start, stop, num, endpoint, axis=axis))
    return made if dtype is None else _core.astype(made, dtype)


def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> dlarray:
    """Numbers with a constant ratio in an interval, as numpy.geomspace; they depend on ends that are dlarrays."""
    if not (isinstance(start, dlarray) or isinstance(stop, dlarray)):
        return dlarray(np.geomspace(start, stop, num, endpoint, dtype, axis))
    first = asarray(start, np.float64)
    ratio = TABLE["log"](TABLE["true_divide"](stop, first))
    made = first * TABLE["exp"](linspace(ratio * 0.0, ratio, num, endpoint))
    made = made if axis == 0 else _core.moveaxis(made, 0, axis)
    return made if dtype is None else _core.astype(made, dtype)


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = np.float64) -> dlarray:
    """Ones on a diagonal, as numpy.eye."""
    return dlarray(np.eye(N, M, k, dtype))


def identity(n: int, dtype: Any = np.float64) -> dlarray:
    """The identity matrix, as numpy.identity."""
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = np.float64) -> dlarray:
    """Ones on and below a diagonal, as numpy.tri."""
    return dlarray(np.tri(N, M, k, dtype))


# Joining and cutting up.


def concatenate(arrays: Sequence[Any], /, axis: int | None = 0, out: None = None, *, dtype: Any = None) -> dlarray:
    """Arrays joined along an axis that they have, as numpy.concatenate."""
    if out is not None:
        refuse_out("concatenate")
    joined = _core.concatenate(arrays, axis)
    return joined if dtype is None else _core.astype(joined, dtype)


def stack(arrays: Sequence[Any], axis: int = 0, out: None = None, *, dtype: Any = None) -> dlarray:
    """Arrays of one shape joined along a new axis, as numpy.stack."""
    if out is not None:
        refuse_out("stack")
    joined = _core.stack(arrays, axis)
    return joined if dtype is None else _core.astype(joined, dtype)


def _at_least(rank: int, a: Any) -> dlarray:
    extents = shape(a)
    missing = rank - len(extents)
    if missing <= 0:
        return asarray(a)
    # As NumPy has it: a vector becomes a row, and a matrix a stack of pixels.
    before = (1,) * min(missing, 1) if len(extents) < 2 else ()
    after = (1,) * (missing - len(before))
    return _core.reshape(a, before + extents + after)


def atleast_1d(*arys: Any) -> Any:
    """Arrays with one axis or more, as numpy.atleast_1d; a tuple for several."""
    made = tuple(_at_least(1, a) for a in arys)
    return made[0] if len(made) == 1 else made


def atleast_2d(*arys: Any) -> Any:
    """Arrays with two axes or more, as numpy.atleast_2d; a tuple for several."""
    made = tuple(_at_least(2, a) for a in arys)
    return made[0] if len(made) == 1 else made


def atleast_3d(*arys: Any) -> Any:
    """Arrays with three axes or more, as numpy.atleast_3d; a tuple for several."""
    made = tuple(_at_least(3, a) for a in arys)
    return made[0] if len(made) == 1 else made


def vstack(tup: Sequence[Any]) -> dlarray:
    """Arrays joined along the first axis, vectors as rows, as numpy.vstack."""
    return _core.concatenate([_at_least(2, a) for a in tup], 0)


def hstack(tup: Sequence[Any]) -> dlarray:
    """Arrays joined along the second axis, vectors along their only one, as numpy.hstack."""
    arrays = [_at_least(1, a) for a in tup]
    return _core.concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1)


def column_stack(tup: Sequence[Any]) -> dlarray:
    """Arrays joined along the second axis, vectors as columns, as numpy.column_stack."""
    return _core.concatenate([a if ndim(a) > 1 else _core.reshape(a, (-1, 1)) for a in tup], 1)


def dstack(tup: Sequence[Any]) -> dlarray:
    """Arrays joined along the third axis, as numpy.dstack."""
    return _core.concatenate([_at_least(3, a) for a in tup], 2)


def append(arr: Any, values: Any, axis: int | None = None) -> dlarray:
    """Values after those of an array, as numpy.append."""
    return _core.concatenate((arr, values), axis)


def array_split(ary: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[dlarray]:
    """An array cut into parts, nearly equal ones or at given places, as numpy.array_split; the parts are
    views.
    """
    x, places = asarray(ary), range(shape(ary)[axis])
    before = (slice(None),) * (axis % ndim(ary))
    # NumPy's own function cuts the places; the array is cut in the same way.
    parts = np.array_split(np.asarray(places), indices_or_sections)
    starts = np.cumsum([0, *map(len, parts)])
    return [x[(*before, slice(int(i), int(i) + len(part)))] for i, part in zip(starts, parts, strict=False)]


def split(ary: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[dlarray]:
    """An array cut into equal parts or at given places, as numpy.split; the parts are views."""
    extent = shape(ary)[axis]
    if isinstance(indices_or_sections, int) and extent % indices_or_sections:
        raise ValueError(
            f"split{shape(ary)}: {indices_or_sections} equal parts were asked for along an axis of extent "
            f"{extent}; array_split makes parts that are nearly equal."
        )
    return array_split(ary, indices_or_sections, axis)


def repeat(a: Any, repeats: int | Sequence[int], axis: int | None = None) -> dlarray:
    """Each element several times, as numpy.repeat."""
    extent = size(a) if axis is None else shape(a)[axis]
    return _core.take(a, np.repeat(np.arange(extent), repeats), axis)


def tile(A: Any, reps: int | Sequence[int]) -> dlarray:
    """An array several times side by side, as numpy.tile."""
    counts = (reps,) if isinstance(reps, int) else tuple(reps)
    rank = max(len(counts), ndim(A))
    counts = (1,) * (rank - len(counts)) + counts
    extents = (1,) * (rank - ndim(A)) + shape(A)
    apart = _core.reshape(A, [n for extent in extents for n in (1, extent)])
    copies = _core.broadcast_to(apart, [n for pair in zip(counts, extents, strict=True) for n in pair])
    return _core.reshape(copies, [count * extent for count, extent in zip(counts, extents, strict=True)])
