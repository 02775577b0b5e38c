# SPDX-License-Identifier: MIT
"""Rearrangements under NumPy's names and signatures, each a call of the shaped op of the core, and what an array is
without its numbers.

What they add to the core is NumPy's order of arguments, and ``order="F"``.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dualtape import _core
from dualtape._core import dlarray

from ._elementwise import TABLE, refuse_out

Axis = int | tuple[int, ...] | None
Order = Literal["C", "F", "A", "K"]

# Rearranging: views, where NumPy gives views.


def _order(order: str) -> bool:
    """Whether elements run down the columns."""
    if order not in ("C", "F", "A", "K"):
        raise ValueError(f"reshape: order must be 'C' (along the rows) or 'F' (down the columns); {order!r} was given.")
    return order == "F"


def reshape(a: Any, /, shape: int | Sequence[int], order: Order = "C", *, copy: bool | None = None) -> dlarray:
    """The same elements in another shape, as numpy.reshape; one extent may be -1."""
    extents = (shape,) if isinstance(shape, int) else tuple(shape)
    if _order(order):
        return _core.transpose(_core.reshape(_core.transpose(a), extents[::-1]))
    y = _core.reshape(a, extents)
    return y.copy() if copy else y


def ravel(a: Any, order: Order = "C") -> dlarray:
    """The elements in one axis, as numpy.ravel."""
    return _core.ravel(_core.transpose(a) if _order(order) else a)


def transpose(a: Any, axes: Sequence[int] | None = None) -> dlarray:
    """Axes permuted, by default reversed, as numpy.transpose."""
    return _core.transpose(a, None if axes is None else tuple(axes))


def swapaxes(a: Any, axis1: int, axis2: int) -> dlarray:
    """Two axes exchanged, as numpy.swapaxes."""
    return _core.swapaxes(a, axis1, axis2)


def moveaxis(a: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> dlarray:
    """Axes moved to other places, as numpy.moveaxis."""
    return _core.moveaxis(a, source, destination)


def squeeze(a: Any, axis: Axis = None) -> dlarray:
    """Axes of extent 1 dropped, as numpy.squeeze."""
    return _core.squeeze(a, axis)


def expand_dims(a: Any, axis: int | tuple[int, ...]) -> dlarray:
    """New axes of extent 1, as numpy.expand_dims."""
    return _core.expand_dims(a, axis)


def broadcast_to(array: Any, shape: int | Sequence[int], subok: bool = False) -> dlarray:
    """The array repeated to a shape without a copy, as numpy.broadcast_to."""
    return _core.broadcast_to(array, shape if isinstance(shape, int) else tuple(shape))


def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[dlarray, ...]:
    """Arrays repeated to their common shape, as numpy.broadcast_arrays."""
    common = np.broadcast_shapes(*builtins.map(shape, args))
    return tuple(_core.broadcast_to(a, common) for a in args)


def take(a: Any, indices: Any, axis: int | None = None, out: None = None, mode: str = "raise") -> dlarray:
    """Elements at integer positions along an axis, or of the flattened array, as numpy.take.

    `mode` may be "raise", "wrap" (positions modulo the extent) or "clip" (positions limited to the extent).
    Positions may be values of a traced program, such as those of `argsort`.
    """
    if out is not None:
        refuse_out("take")
    if mode != "raise":
        extent = size(a) if axis is None else shape(a)[axis]
        # (A program has no arithmetic of integers; float64 holds places exactly.)
        places = _core.astype(indices, np.float64)
        within = TABLE["remainder"](places, extent) if mode == "wrap" else TABLE["clip"](places, 0, extent - 1)
        indices = _core.astype(within, np.int64)
    return _core.take(a, indices, axis)


# What an array is, without its numbers.


def shape(a: Any) -> tuple[int, ...]:
    """Extents of the axes, as numpy.shape."""
    return a.shape if hasattr(a, "shape") else np.shape(a)


def ndim(a: Any) -> int:
    """Number of axes, as numpy.ndim."""
    return len(shape(a))


def size(a: Any, axis: Axis = None) -> int:
    """Number of elements, of all axes or along some, as numpy.size."""
    extents = shape(a)
    axes = range(len(extents)) if axis is None else (axis,) if isinstance(axis, int) else axis
    count = 1
    for i in axes:
        count *= extents[i]
    return count


def dtype_of(a: Any) -> np.dtype[Any]:
    """The dtype of an array, or of what NumPy would make of it."""
    return a.dtype if isinstance(a, dlarray) else np.asarray(a).dtype


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype that NumPy's promotion gives, as numpy.result_type."""
    return np.result_type(*(x.dtype if isinstance(x, dlarray) else x for x in arrays_and_dtypes))


def iscomplexobj(x: Any) -> bool:
    """Whether the dtype is complex: never, as numpy.iscomplexobj."""
    return False if isinstance(x, dlarray) else np.iscomplexobj(x)


def isrealobj(x: Any) -> bool:
    """Whether the dtype is real: always, as numpy.isrealobj."""
    return not iscomplexobj(x)


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    """Whether shapes and elements are equal, as numpy.array_equal."""
    if shape(a1) != shape(a2):
        return False
    same = TABLE["equal"](a1, a2)
    return bool(_core.all(same | (TABLE["isnan"](a1) & TABLE["isnan"](a2)) if equal_nan else same))
