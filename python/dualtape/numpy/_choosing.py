# SPDX-License-Identifier: MIT
"""Values chosen by conditions, and what NumPy asks about complex numbers of arrays that have none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._creation import asarray
from ._elementwise import TABLE, refuse_out, without_out
from ._shaped import Axis, ndim, shape

_where, _not_equal = TABLE["where"], TABLE["not_equal"]


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> dlarray:
    """Elements of the first choice whose condition holds, as numpy.select.

    Choices that are not taken get a derivative of exactly zero.
    """
    if len(condlist) != len(choicelist) or not condlist:
        raise ValueError(
            f"select: {len(condlist)} conditions and {len(choicelist)} choices were given; give as many of both, one "
            "or more."
        )
    made = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        made = _where(condition, choice, made)
    return made


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> dlarray:
    """Functions evaluated where their conditions hold, as numpy.piecewise.

    Parameters
    ----------
    x : array
    condlist : array or sequence of arrays
        Of the last condition that holds the function is taken, as in NumPy.
    funclist : sequence of functions and numbers
        One for each condition, and one more, if wished, for elements for which none holds (0 otherwise).
    *args, **kw
        Handed on to the functions.

    Returns
    -------
    dlarray
        Of the dtype of `x`. Each function sees the whole array (which elements it is for is not known while a program
        is traced), and what it gives elsewhere is dropped; so it must be elementwise.
    """
    at = asarray(x)
    if isinstance(condlist, (list, tuple)):
        conditions = [condlist] if at.ndim and ndim(condlist[0]) == 0 else list(condlist)
    else:
        conditions = list(condlist) if ndim(condlist) > at.ndim else [condlist]
    if len(funclist) not in (len(conditions), len(conditions) + 1):
        raise ValueError(
            f"piecewise{at.shape}: {len(conditions)} conditions and {len(funclist)} functions were given; give "
            "as many, or one function more."
        )
    pieces = [f(at, *args, **kw) if callable(f) else f for f in funclist]
    made = pieces[-1] if len(pieces) > len(conditions) else 0.0
    made = _core.broadcast_to(made, at.shape)
    for condition, piece in zip(conditions, pieces, strict=False):
        made = _where(condition, piece, made)
    return _core.astype(made, at.dtype)


def count_nonzero(a: Any, axis: Axis = None, *, keepdims: bool = False) -> dlarray:
    """How many elements over axes are not zero, as numpy.count_nonzero: a constant."""
    return _core.sum(_core.astype(_not_equal(a, 0), np.int64), axis, keepdims)


def array_equiv(a1: Any, a2: Any) -> bool:
    """Whether arrays are equal after broadcasting, as numpy.array_equiv."""
    try:
        np.broadcast_shapes(shape(a1), shape(a2))
    except ValueError:
        return False
    return bool(_core.all(TABLE["equal"](a1, a2)))


def choose(a: Any, choices: Sequence[Any], out: None = None, mode: str = "raise") -> dlarray:
    """For each element the choice with its number, as numpy.choose; the numbers are constants."""
    if out is not None:
        refuse_out("choose")
    places = np.choose(np.asarray(a), list(range(len(choices))), mode=mode)  # type: ignore[call-overload]
    made = asarray(choices[0])
    for number, choice in enumerate(choices[1:], 1):
        made = _where(places == number, choice, made)
    return _core.broadcast_to(made, np.broadcast_shapes(made.shape, places.shape))


# Assignment by function. The array gets new values, which derivatives follow.


def copyto(dst: dlarray, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    """Assign values, where a condition holds, as numpy.copyto."""
    if not isinstance(dst, dlarray):
        raise TypeError("copyto: an ndarray cannot hold what is differentiated; make it a dlarray first.")
    dst[...] = src if where is True else _where(where, src, dst)


def fill_diagonal(a: dlarray, val: Any, wrap: bool = False) -> None:
    """Assign to the diagonal of a matrix, as numpy.fill_diagonal."""
    if not isinstance(a, dlarray):
        raise TypeError("fill_diagonal: an ndarray cannot hold what is differentiated; make it a dlarray first.")
    if a.ndim != 2 or wrap:
        raise ShapeError(f"fill_diagonal({a.shape}): the array must be a matrix, and wrap=True is not taken.")
    places = np.arange(min(a.shape))
    a[places, places] = val


# Complex numbers: every dlarray is real.


def real(val: Any) -> dlarray:
    """The real part, as numpy.real: the array itself."""
    return asarray(val)


def imag(val: Any) -> dlarray:
    """The imaginary part, as numpy.imag: zeros."""
    return dlarray(np.zeros(shape(val), asarray(val).dtype))


@without_out
def conjugate(x: Any, /) -> dlarray:
    """The complex conjugate, as numpy.conjugate: the array itself."""
    return asarray(x)


def real_if_close(a: Any, tol: float = 100) -> dlarray:
    """A real array, as numpy.real_if_close: the array itself."""
    return asarray(a)


def angle(z: Any, deg: bool = False) -> dlarray:
    """The angle of real numbers in the complex plane, as numpy.angle: 0, or half a turn for negative ones."""
    turn = TABLE["arctan2"](0.0, z)
    return TABLE["rad2deg"](turn) if deg else turn


def isreal(x: Any) -> dlarray:
    """Whether elements have no imaginary part, as numpy.isreal: all."""
    return dlarray(np.ones(shape(x), np.bool_))


def iscomplex(x: Any) -> dlarray:
    """Whether elements have an imaginary part, as numpy.iscomplex: none."""
    return dlarray(np.zeros(shape(x), np.bool_))
