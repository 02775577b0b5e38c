# SPDX-License-Identifier: MIT
"""Products of arrays under NumPy's names, all made of matmul, multiplication and rearrangement; einsum has
its own file.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._creation import asarray
from ._elementwise import TABLE, refuse_out, without_out

_multiply = TABLE["multiply"]


def plain(a: Any) -> dlarray:
    """`a` as a dlarray without labels: products name their axes themselves."""
    x = asarray(a)
    return _core.with_labels(x, None) if x.dims else x


def matmul(x1: Any, x2: Any, /, out: None = None) -> dlarray:
    """Matrix product, as numpy.matmul: the last two axes are matrices, those before them broadcast."""
    if out is not None:
        refuse_out("matmul")
    return _core.matmul(x1, x2)


def dot(a: Any, b: Any, out: None = None) -> dlarray:
    """Dot product, as numpy.dot: sums over the last axis of `a` and the last but one of `b`."""
    if out is not None:
        refuse_out("dot")
    x, y = plain(a), plain(b)
    if x.ndim == 0 or y.ndim == 0:
        return _multiply(x, y)
    return _core.matmul(x, y) if y.ndim <= 2 else tensordot(x, y, (-1, -2))


def inner(a: Any, b: Any, /) -> dlarray:
    """Inner product, as numpy.inner: sums over the last axis of both."""
    x, y = plain(a), plain(b)
    return _multiply(x, y) if x.ndim == 0 or y.ndim == 0 else tensordot(x, y, (-1, -1))


def vdot(a: Any, b: Any, /) -> dlarray:
    """Dot product of the flattened arrays, as numpy.vdot."""
    return _core.matmul(_core.ravel(plain(a)), _core.ravel(plain(b)))


@without_out
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> dlarray:
    """Dot products of the vectors along an axis, as numpy.vecdot."""
    x, y = plain(x1), plain(x2)
    if x.ndim and y.ndim and x.shape[axis] != y.shape[axis]:
        raise ShapeError(
            f"vecdot({x.shape}, {y.shape}): the vectors differ in length; {x.shape[axis]} and {y.shape[axis]} elements "
            "were given; they must be equal."
        )
    return _core.sum(_multiply(x, y), axis)


@without_out
def matvec(x1: Any, x2: Any, /) -> dlarray:
    """Products of matrices with vectors, the last axis, as numpy.matvec."""
    return _core.squeeze(_core.matmul(plain(x1), _core.expand_dims(plain(x2), -1)), -1)


@without_out
def vecmat(x1: Any, x2: Any, /) -> dlarray:
    """Products of vectors, the last axis, with matrices, as numpy.vecmat."""
    return _core.squeeze(_core.matmul(_core.expand_dims(plain(x1), -2), plain(x2)), -2)


def outer(a: Any, b: Any, out: None = None) -> dlarray:
    """Products of all pairs of elements of two flattened arrays, as numpy.outer."""
    if out is not None:
        refuse_out("outer")
    return _multiply(_core.reshape(plain(a), (-1, 1)), _core.reshape(plain(b), (1, -1)))


def kron(a: Any, b: Any) -> dlarray:
    """Kronecker product, as numpy.kron."""
    x, y = plain(a), plain(b)
    rank = max(x.ndim, y.ndim)
    ours, theirs = (1,) * (rank - x.ndim) + x.shape, (1,) * (rank - y.ndim) + y.shape
    left = _core.reshape(x, [n for extent in ours for n in (extent, 1)])
    right = _core.reshape(y, [n for extent in theirs for n in (1, extent)])
    return _core.reshape(_multiply(left, right), [n * m for n, m in zip(ours, theirs, strict=True)])


def tensordot(a: Any, b: Any, axes: int | tuple[int | Sequence[int], int | Sequence[int]] = 2) -> dlarray:
    """Product summed over given axes, as numpy.tensordot.

    Parameters
    ----------
    a, b : array
    axes : int, or pair of ints or of sequences of ints
        How many of the last axes of `a` and of the first axes of `b` to sum over, or which.

    Returns
    -------
    dlarray
        The axes of `a` that are left, then those of `b`.

    Raises
    ------
    ShapeError
        The axes to sum over differ in number or extent.
    """
    x, y = plain(a), plain(b)
    if isinstance(axes, int):
        ours, theirs = tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes))
    else:
        first, second = axes
        ours = tuple(i % x.ndim for i in ((first,) if isinstance(first, int) else first))
        theirs = tuple(i % y.ndim for i in ((second,) if isinstance(second, int) else second))
    if [x.shape[i] for i in ours] != [y.shape[i] for i in theirs]:
        raise ShapeError(
            f"tensordot({x.shape}, {y.shape}): the axes to sum over do not fit; {ours} of the first and "
            f"{theirs} of the second were given; each pair must have the same extent."
        )
    kept = tuple(i for i in range(x.ndim) if i not in ours)
    left = tuple(i for i in range(y.ndim) if i not in theirs)
    summed = prod(x.shape[i] for i in ours)
    rows, columns = tuple(x.shape[i] for i in kept), tuple(y.shape[i] for i in left)
    # Extents are given in full, because -1 has no meaning beside an extent of 0.
    product = _core.matmul(
        _core.reshape(_core.transpose(x, kept + ours), (prod(rows), summed)),
        _core.reshape(_core.transpose(y, theirs + left), (summed, prod(columns))),
    )
    return _core.reshape(product, rows + columns)
