# SPDX-License-Identifier: MIT
"""Elementwise functions under NumPy's names, made from the table of ops.

`TABLE` maps every name that NumPy has for an op, aliases such as ``abs`` and ``acos`` included, to the
function of the core; `UFUNCS` does the same for NumPy's ufunc objects. Neither is a list kept by hand: the
names come from `_core.op_table`, the aliases from NumPy itself, where they are the same object. Below them
are the few functions whose NumPy signature says more than the op does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from dualtape import _core
from dualtape._core import dlarray

Function = Callable[..., Any]

_ops: dict[str, Function] = {
    row["numpy_name"]: getattr(_core.elementwise, row["name"]) for row in _core.op_table() if row["numpy_name"]
}
# Names that NumPy gives to separate ufuncs with the same values.
_ops |= {"degrees": _ops["rad2deg"], "radians": _ops["deg2rad"], "fabs": _ops["absolute"]}

#: NumPy's ufunc to the function of the core.
UFUNCS: dict[np.ufunc, Function] = {
    ufunc: function for name, function in _ops.items() if isinstance(ufunc := getattr(np, name), np.ufunc)
}
#: Every name of an elementwise function to the function of the core.
TABLE: dict[str, Function] = _ops | {
    name: UFUNCS[value] for name, value in vars(np).items() if isinstance(value, np.ufunc) and value in UFUNCS
}

_absolute, _clip, _isnan, _multiply, _rint = (_ops[n] for n in ("absolute", "clip", "isnan", "multiply", "rint"))
_maximum, _minimum, _nan_to_num, _positive = (_ops[n] for n in ("maximum", "minimum", "nan_to_num", "positive"))
_true_divide, _where = _ops["true_divide"], _ops["where"]


def refuse_out(function: str) -> NoReturn:
    """Say why results are not written into arrays that exist."""
    raise TypeError(
        f"{function}: out= is not taken, since writing into an array that exists would pass by the tape; "
        "an output array was given; use the result, or assign it with y[...] = result."
    )


def without_out(function: Function) -> Function:
    """The function, which says why when ``out=`` is given."""

    @functools.wraps(function)
    def call(*args: Any, out: None = None, **kwargs: Any) -> Any:
        if out is not None:
            refuse_out(function.__name__)
        return function(*args, **kwargs)

    return call


def clip(
    a: Any, a_min: Any = None, a_max: Any = None, out: None = None, *, min: Any = None, max: Any = None
) -> dlarray:
    """Limit values to an interval, as numpy.clip; a bound of None does not limit.

    Parameters
    ----------
    a : array
    a_min, a_max : array or number, optional
        Broadcast against `a`. `min` and `max` are other names for them.
    out : None
        Not taken.

    Returns
    -------
    dlarray
        At a bound the derivative is shared evenly, as minimum(maximum(a, a_min), a_max) does.
    """
    if out is not None:
        refuse_out("clip")
    low, high = a_min if min is None else min, a_max if max is None else max
    if low is None:
        return _positive(a) if high is None else _minimum(a, high)
    return _maximum(a, low) if high is None else _clip(a, low, high)


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """Elements of `x` where the condition holds, of `y` elsewhere; alone, the places where it holds.

    Parameters
    ----------
    condition : array
        Has no derivative.
    x, y : array or number, optional
        Both or neither. The branch that is not taken gets a derivative of exactly zero.

    Returns
    -------
    dlarray, or tuple of dlarray
        For a condition alone one int64 array for each axis, as numpy.nonzero.
    """
    if x is None and y is None:
        places = np.nonzero(condition.numpy() if isinstance(condition, dlarray) else condition)
        return tuple(dlarray(place) for place in places)
    if x is None or y is None:
        raise TypeError("where: the values for one of the branches are missing; give both x and y, or neither.")
    return _where(condition, x, y)


def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> dlarray:
    """Replace NaN and infinities by numbers, as numpy.nan_to_num.

    Parameters
    ----------
    x : array
    copy : bool
        Taken for NumPy's sake; the result is always a new array.
    nan, posinf, neginf : array or number, optional
        The replacements; by default 0 and the largest numbers of the dtype.

    Returns
    -------
    dlarray
        The derivative with respect to `x` is 0 where it is replaced.
    """
    y = _nan_to_num(x)
    if posinf is not None:
        y = _where(TABLE["equal"](x, np.inf), posinf, y)
    if neginf is not None:
        y = _where(TABLE["equal"](x, -np.inf), neginf, y)
    return y if isinstance(nan, float) and nan == 0.0 else _where(_isnan(x), nan, y)


def round(a: Any, decimals: int = 0, out: None = None) -> dlarray:
    """Round to a number of decimals, halves to even, as numpy.round.

    Parameters
    ----------
    a : array
    decimals : int
        Negative ones round to tens, hundreds, ...
    out : None
        Not taken.

    Returns
    -------
    dlarray
        Its derivative is 0 everywhere.
    """
    if out is not None:
        refuse_out("round")
    if decimals == 0:
        return _rint(a)
    scale = 10.0 ** abs(decimals)
    if decimals > 0:
        return _true_divide(_rint(_multiply(a, scale)), scale)
    return _multiply(_rint(_true_divide(a, scale)), scale)


@without_out
def divmod(x1: Any, x2: Any, /) -> tuple[dlarray, dlarray]:
    """Quotient rounded down and remainder, as numpy.divmod."""
    return TABLE["floor_divide"](x1, x2), TABLE["remainder"](x1, x2)


@without_out
def modf(x: Any, /) -> tuple[dlarray, dlarray]:
    """Fractional and whole part, both with the sign of `x`, as numpy.modf."""
    whole = TABLE["trunc"](x)
    return TABLE["copysign"](TABLE["where"](TABLE["isinf"](x), 0.0, TABLE["subtract"](x, whole)), x), whole


@without_out
def ldexp(x1: Any, x2: Any, /) -> dlarray:
    """x1 * 2**x2, as numpy.ldexp; x2 is a constant."""
    power = TABLE["exp2"](_core.astype(x2, np.float64))
    return _multiply(x1, _core.astype(power, x1.dtype) if hasattr(x1, "dtype") else power)


def isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> dlarray:
    """Whether elements are equal within tolerances, as numpy.isclose: ``|a - b| <= atol + rtol * |b|``."""
    near = TABLE["less_equal"](_absolute(TABLE["subtract"](a, b)), TABLE["add"](_multiply(_absolute(b), rtol), atol))
    same = near & TABLE["isfinite"](b) | TABLE["equal"](a, b)
    return same | (_isnan(a) & _isnan(b)) if equal_nan else same


def allclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are equal within tolerances, as numpy.allclose."""
    return bool(_core.all(isclose(a, b, rtol, atol, equal_nan)))


#: The modified Bessel function, which NumPy has too.
i0: Function = _core.elementwise.i0

UFUNCS[np.divmod] = divmod
