# SPDX-License-Identifier: MIT
"""Reductions under NumPy's names and signatures, each a call of the shaped op of the core.

What they add to the core is NumPy's order of arguments, ``dtype=`` (the array is converted first), ``where=`` and
``initial=`` where a neutral element makes sense of them.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._elementwise import TABLE, Function, refuse_out
from ._shaped import Axis, dtype_of, shape, size

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
            a = _where(where, a, _neutral(dtype_of(a), joined[1]))
        if initial is not None:
            if size(a) == 0:  # an extreme of nothing is the initial value alone
                return _core.broadcast_to(initial, _core.sum(a, axis, keepdims).shape)
            return joined[0](reduction(a, axis, keepdims), initial)
    return reduction(a, axis, keepdims)


def _neutral(dtype: np.dtype[Any], value: float) -> Any:
    """A neutral element as a number of the dtype, so that integers stay integers."""
    if dtype.kind == "f":
        return value
    if dtype.kind == "b":
        return value > 0.0
    return int(value) if np.isfinite(value) else np.iinfo(dtype).max if value > 0.0 else np.iinfo(dtype).min


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
    kind = dtype_of(a) if dtype is None else np.dtype(dtype)
    if kind.kind in "biu" and not (isinstance(a, dlarray) and _core.is_traced(a)):
        # (The core's product is one of floats; integers are NumPy's business.)
        numbers = _core.extractdata(a) if isinstance(a, dlarray) else np.asarray(a)
        options: dict[str, Any] = {} if initial is None else {"initial": initial}
        return dlarray(
            np.prod(numbers, axis, kind if dtype is not None else None, keepdims=keepdims, where=where, **options)
        )
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


def count(where: Any, a: Any, axis: Axis, keepdims: bool, dtype: Any) -> dlarray:
    """How many elements over axes are taken into account."""
    return _core.sum(_core.astype(_core.broadcast_to(where, shape(a)), dtype), axis, keepdims)


def mean(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> dlarray:
    """Arithmetic mean over axes, as numpy.mean; of the elements for which `where` holds."""
    if where is True:
        return _reduce(_core.mean, a, axis, dtype, out, keepdims)
    total = sum(a, axis, dtype, out, keepdims, where=where)
    total = total if total.dtype in (np.float32, np.float64) else _core.astype(total, np.float64)
    return TABLE["true_divide"](total, count(where, a, axis, keepdims, total.dtype))


def _ddof(name: str, ddof: float, correction: Any) -> float:
    if correction is None:
        return ddof
    if ddof != 0:
        raise ValueError(f"{name}: ddof and correction are two names of one number; give one of them.")
    return float(correction)


def var(
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
    """Variance over axes, as numpy.var: the divisor is N - ddof.

    Parameters
    ----------
    a : array
    axis : int or tuple of ints, optional
        By default all.
    dtype : dtype, optional
        To which `a` is converted first.
    out : None
        Not taken.
    ddof : number
        Also under the name `correction`.
    keepdims : bool
        Whether axes stay, with extent 1.
    where : array of bool
        The elements to take into account.
    mean : array, optional
        The mean, with `keepdims`, where it is there already. The result depends on it.
    """
    if out is not None:
        refuse_out("var")
    x = a if dtype is None else _core.astype(a, dtype)
    ddof = _ddof("var", ddof, correction)
    if where is True and mean is None:
        return _core.var(x, axis, ddof, keepdims)
    x = _core.astype(x, np.result_type(dtype_of(x), np.float32 if dtype_of(x) == np.float32 else np.float64))
    if mean is None:
        mean = TABLE["true_divide"](sum(x, axis, keepdims=True, where=where), count(where, x, axis, True, x.dtype))
    away = _where(where, TABLE["subtract"](x, mean), 0.0)
    free = TABLE["maximum"](count(where, x, axis, keepdims, x.dtype) - ddof, 0.0)
    return TABLE["true_divide"](_core.sum(TABLE["square"](away), axis, keepdims), free)


def std(
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
    """Standard deviation over axes, as numpy.std: the root of `var`."""
    if out is not None:
        refuse_out("std")
    if where is True and mean is None:
        x = a if dtype is None else _core.astype(a, dtype)
        return _core.std(x, axis, _ddof("std", ddof, correction), keepdims)
    spread = var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    return TABLE["sqrt"](spread)


def any(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = True) -> dlarray:
    """Whether any element over axes is true, as numpy.any: a constant."""
    return _reduce(_core.any, a if where is True else _where(where, a, 0.0), axis, None, out, keepdims)


def all(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = True) -> dlarray:
    """Whether all elements over axes are true, as numpy.all: a constant."""
    return _reduce(_core.all, a if where is True else _where(where, a, 1.0), axis, None, out, keepdims)


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


def _spread_weights(a: Any, axis: Axis, weights: Any) -> Any:
    """Weights of some axes as an array that broadcasts against `a`."""
    extents = shape(a)
    if shape(weights) == extents:
        return weights
    if axis is None:
        raise ShapeError(
            f"average({extents}, weights {shape(weights)}): the weights have another shape; name the axes that they "
            "are for."
        )
    axes = [i % len(extents) for i in ((axis,) if isinstance(axis, int) else axis)]
    wanted = tuple(extents[i] for i in axes)
    if shape(weights) != wanted:
        raise ShapeError(
            f"average({extents}, weights {shape(weights)}): the weights must have the shape of the array, or that of "
            f"its axes {tuple(axes)}, which is {wanted}."
        )
    ordered = _core.transpose(weights, tuple(axes.index(i) for i in sorted(axes)))
    return _core.reshape(ordered, tuple(n if i in axes else 1 for i, n in enumerate(extents)))


def average(a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """Weighted mean over axes, as numpy.average.

    Parameters
    ----------
    a : array
    axis : int or tuple of ints, optional
        By default all.
    weights : array, optional
        Of the shape of `a`, or of that of its axes `axis`, in their order. The result depends on them.
    returned : bool
        Whether the sum of the weights is returned too.
    keepdims : bool
        Whether axes stay, with extent 1.
    """
    if weights is None:
        made = mean(a, axis, keepdims=keepdims)
        count = float(size(a) / builtins.max(size(made), 1))
        total: Any = _core.broadcast_to(np.asarray(count, made.dtype), made.shape)
    else:
        spread = _spread_weights(a, axis, weights)
        total = sum(_core.broadcast_to(spread, shape(a)), axis, keepdims=keepdims)
        made = TABLE["true_divide"](sum(TABLE["multiply"](a, spread), axis, keepdims=keepdims), total)
    return (made, total) if returned else made


def ptp(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> dlarray:
    """Largest minus smallest element over axes, as numpy.ptp."""
    return TABLE["subtract"](max(a, axis, out, keepdims), min(a, axis, out, keepdims))
