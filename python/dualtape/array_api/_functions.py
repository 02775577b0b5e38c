# SPDX-License-Identifier: MIT
"""Functions that the array-API standard gives options which NumPy's have not, or spells otherwise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import dualtape.numpy as dnp
from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._creation import check_device


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> dlarray:
    """The values in another dtype; without `copy` the array itself where it has the dtype."""
    check_device(device)
    return x if not copy and x.dtype == dtype else dnp.array(x, dtype)


def _descending(x: Any, axis: int) -> dlarray:
    # Equal elements keep their order: sorted from behind, and read from behind.
    places = dnp.flip(_core.argsort(dnp.flip(x, axis), axis), axis)
    return (x.shape[axis] - 1) - places


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> dlarray:
    """Places that sort along an axis; equal elements keep their order."""
    return _descending(x, axis) if descending else dnp.argsort(x, axis)


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> dlarray:
    """Elements in order along an axis."""
    return dnp.take_along_axis(x, _descending(x, axis), axis) if descending else dnp.sort(x, axis)


def std(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> dlarray:
    """Standard deviation; the divisor is N - correction."""
    return dnp.std(x, axis, ddof=correction, keepdims=keepdims)


def var(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> dlarray:
    """Variance; the divisor is N - correction."""
    return dnp.var(x, axis, ddof=correction, keepdims=keepdims)


def clip(x: Any, /, min: Any = None, max: Any = None) -> dlarray:
    """Values limited to an interval; the dtype stays that of `x`."""
    return _core.astype(dnp.clip(x, min, max), x.dtype)


def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> dlarray:
    """Each element several times."""
    return dnp.repeat(x, repeats.numpy() if isinstance(repeats, dlarray) else repeats, axis)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether promotion leads from a dtype, or that of an array, to another."""
    return np.can_cast(from_.dtype if isinstance(from_, dlarray) else from_, to)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind, as numpy.isdtype."""
    return np.isdtype(np.dtype(dtype), kind)


class FloatInfo(NamedTuple):
    """Limits of a floating-point dtype, as Python's numbers."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype[Any]


def finfo(type: Any, /) -> FloatInfo:
    """Limits of a floating-point dtype, or that of an array."""
    found = np.finfo(type.dtype if isinstance(type, dlarray) else type)
    return FloatInfo(
        bits=found.bits,
        eps=float(found.eps),
        max=float(found.max),
        min=float(found.min),
        smallest_normal=float(found.smallest_normal),
        dtype=np.dtype(found.dtype),
    )


def iinfo(type: Any, /) -> Any:
    """Limits of an integer dtype, or that of an array."""
    return np.iinfo(type.dtype if isinstance(type, dlarray) else type)


def round(x: Any, /) -> dlarray:
    """Nearest integers, halves to even; the dtype stays."""
    return _core.astype(dnp.round(x), x.dtype)


def expand_dims(x: Any, /, axis: Any) -> dlarray:
    """A new axis of extent 1; IndexError for a place that is not there."""
    try:
        return dnp.expand_dims(x, axis)
    except ShapeError as error:
        raise IndexError(*error.args) from None


def broadcast_arrays(*arrays: Any) -> list[dlarray]:
    """Arrays repeated to their common shape."""
    return list(dnp.broadcast_arrays(*arrays))
