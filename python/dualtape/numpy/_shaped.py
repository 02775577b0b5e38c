# SPDX-License-Identifier: MIT
"""Reductions and rearrangements under NumPy's names and signatures, each a call of the shaped op of the core.

What they add to the core is NumPy's order of arguments, ``dtype=`` (the array is converted first),
``where=`` and ``initial=`` where a neutral element makes sense of them, and ``order="F"``.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dualtape import _core
from dualtape._core import dlarray

from ._elementwise import TABLE, Function, refuse_out

Axis = int | tuple[int, ...] | None
Order = Literal["C", "F", "A", "K"]

_where = TABLE["where"]


def _reduce(
    reduction: Function,
    a: Any,
    axis: Axis,
    dtype: Any,
    out: Any,
    keepdims: bool,
    joined: tuple[Function, float] | None = None,
    initial: Any = None,
    where: Any = True,
) -> dlarray:
    """A reduction with NumPy's options; `joined` is the op of two elements that it repeats, and its neutral
    element.
    """
    if out is not None:
        refuse_out(reduction.__name__)
    if dtype is not None:
        a = _core.astype(a, dtype)
    if joined is not None:
        if where is not True:
            a = _where(where, a, joined[1])
        if initial is not None:
            if size(a) == 0:  # an extreme of nothing is the initial value alone
                return _core.broadcast_to(initial, _core.sum(a, axis, keepdims).shape)
            return joined[0](reduction(a, axis, keepdims), initial)
    return reduction(a, axis, keepdims)


def sum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> dlarray:
    """Sum of elements over axes, as numpy.sum."""
    return _reduce(_core.sum, a, axis, dtype, out, keepdims, (TABLE["add"], 0.0), initial, where)


def prod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> dlarray:
    """Product of elements over axes, as numpy.prod; its derivative is right where elements are zero."""
    return _reduce(_core.prod, a, axis, dtype, out, keepdims, (TABLE["multiply"], 1.0), initial, where)


def max(
    a: Any,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> dlarray:
    """Largest elements over axes, as numpy.max; equal ones share the derivative evenly."""
    return _reduce(_core.max, a, axis, None, out, keepdims, (TABLE["maximum"], -np.inf), initial, where)


def min(
    a: Any,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> dlarray:
    """Smallest elements over axes, as numpy.min; equal ones share the derivative evenly."""
    return _reduce(_core.min, a, axis, None, out, keepdims, (TABLE["minimum"], np.inf), initial, where)


def mean(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False) -> dlarray:
    """Arithmetic mean over axes, as numpy.mean."""
    return _reduce(_core.mean, a, axis, dtype, out, keepdims)


def var(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: bool = False
) -> dlarray:
    """Variance over axes, as numpy.var: the divisor is N - ddof."""
    if out is not None:
        refuse_out("var")
    return _core.var(a if dtype is None else _core.astype(a, dtype), axis, ddof, keepdims)


def std(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: bool = False
) -> dlarray:
    """Standard deviation over axes, as numpy.std: the divisor is N - ddof."""
    if out is not None:
        refuse_out("std")
    return _core.std(a if dtype is None else _core.astype(a, dtype), axis, ddof, keepdims)


def any(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> dlarray:
    """Whether any element over axes is true, as numpy.any: a constant."""
    return _reduce(_core.any, a, axis, None, out, keepdims)


def all(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> dlarray:
    """Whether all elements over axes are true, as numpy.all: a constant."""
    return _reduce(_core.all, a, axis, None, out, keepdims)


def argmax(a: Any, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> dlarray:
    """Position of the first largest element, as numpy.argmax: a constant."""
    return _reduce(_core.argmax, a, axis, None, out, keepdims)


def argmin(a: Any, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> dlarray:
    """Position of the first smallest element, as numpy.argmin: a constant."""
    return _reduce(_core.argmin, a, axis, None, out, keepdims)


def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> dlarray:
    """Cumulative sum along an axis, or of the flattened array, as numpy.cumsum."""
    if out is not None:
        refuse_out("cumsum")
    return _core.cumsum(a if dtype is None else _core.astype(a, dtype), axis)


def average(a: Any, axis: Axis = None, weights: Any = None, *, keepdims: bool = False) -> dlarray:
    """Weighted mean over axes, as numpy.average; the weights have the shape of `a`, or that of its one
    axis.
    """
    if weights is None:
        return mean(a, axis, keepdims=keepdims)
    if isinstance(axis, int) and ndim(weights) == 1 and ndim(a) > 1:
        weights = _core.reshape(weights, (-1, *(1,) * (ndim(a) - 1 - axis % ndim(a))))
    total = sum(TABLE["multiply"](a, weights), axis, keepdims=keepdims)
    spread = _core.broadcast_to(weights, shape(a))
    return TABLE["true_divide"](total, sum(spread, axis, keepdims=keepdims))


def ptp(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> dlarray:
    """Largest minus smallest element over axes, as numpy.ptp."""
    return TABLE["subtract"](max(a, axis, out, keepdims), min(a, axis, out, keepdims))


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
    """
    if out is not None:
        refuse_out("take")
    if mode != "raise":
        extent = size(a) if axis is None else shape(a)[axis]
        places = indices.numpy() if isinstance(indices, dlarray) else np.asarray(indices)
        indices = places % extent if mode == "wrap" else np.clip(places, 0, extent - 1)
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
