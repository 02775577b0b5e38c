# SPDX-License-Identifier: MIT
"""`dualtape.numpy.linalg`: linear algebra with derivatives, under NumPy's names.

Matrices are the last two axes, and the axes before them are batches. The factorisations are shaped ops of the
core (cpp/dualtape/tape/shaped_linalg.cpp and shaped_spectral.cpp) with derivatives of every order in both modes;
everything else here is composed of them. They are computed in float64; float32 operands give float32 results.

Where there is no answer (a singular matrix, one that is not positive definite) NumericError says so. A traced
program does not raise: such a matrix gives NaN in its run, which `loop` and `sweep` report as "nonfinite".
docs/derivatives.md says what holds for repeated eigenvalues and singular values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._creation import asarray, eye
from ._differences import cross
from ._elementwise import TABLE
from ._indexed import diagonal as _diagonal
from ._indexed import matrix_transpose
from ._norms import cond, matrix_norm, norm, svdvals, vector_norm
from ._products import matmul, outer, plain, tensordot, vecdot

__all__ = [
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "expm",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]

_linalg = _core.linalg


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: dlarray
    eigenvectors: dlarray


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: dlarray
    R: dlarray


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: dlarray
    logabsdet: dlarray


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: dlarray
    S: dlarray
    Vh: dlarray


def solve(a: Any, b: Any) -> dlarray:
    """X with a X = b, as numpy.linalg.solve, by LU with partial pivoting.

    Parameters
    ----------
    a : array, shape (..., n, n)
    b : array, shape (n,) or (..., n, k)
        One right-hand side, which is for all matrices, or k of them for each.

    Returns
    -------
    dlarray
        Of the shape (..., n), or (..., n, k).

    Raises
    ------
    ShapeError
        Shapes do not fit.
    NumericError
        The matrix is singular.
    """
    right = plain(b)
    if right.ndim == 1:
        return _core.squeeze(_linalg.solve(plain(a), _core.expand_dims(right, 1)), -1)
    return _linalg.solve(plain(a), right)


def solve_triangular(
    a: Any, b: Any, trans: Literal[0, 1, "N", "T"] = 0, lower: bool = False, unit_diagonal: bool = False
) -> dlarray:
    """X with a X = b for a triangular matrix, as scipy.linalg.solve_triangular.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The other half is not read.
    b : array, shape (n,) or (..., n, k)
    trans : {0, 1, "N", "T"}
        1 and "T" solve with the transpose of `a`.
    lower : bool
        Whether `a` is its lower half, rather than its upper one.
    unit_diagonal : bool
        Whether the diagonal is 1, and is not read.

    Returns
    -------
    dlarray
        Of the shape (..., n), or (..., n, k).

    Raises
    ------
    NumericError
        There is a zero on the diagonal.
    """
    t, right = plain(a), plain(b)
    if trans in (1, "T"):
        t, lower = _core.swapaxes(t, -1, -2), not lower
    if right.ndim == 1:
        right = _core.expand_dims(right, 1)
        return _core.squeeze(_linalg.triangular_solve(t, right, lower, unit_diagonal), -1)
    return _linalg.triangular_solve(t, right, lower, unit_diagonal)


def inv(a: Any) -> dlarray:
    """Inverses of square matrices, as numpy.linalg.inv; NumericError for a singular one."""
    return _linalg.inv(plain(a))


def det(a: Any) -> dlarray:
    """Determinants, as numpy.linalg.det. The first derivative is right for singular matrices too."""
    return _linalg.det(plain(a))


def slogdet(a: Any) -> SlogdetResult:
    """Signs of determinants and logarithms of their absolute values, as numpy.linalg.slogdet.

    Returns
    -------
    SlogdetResult
        ``sign`` is -1, 1 or, for a singular matrix, 0, and a constant; ``logabsdet`` is -inf for a singular
        matrix, and has no derivative there (NumericError).
    """
    return SlogdetResult(*_linalg.slogdet(plain(a)))


def cholesky(a: Any, /, *, upper: bool = False) -> dlarray:
    """The lower triangular L with L L' = a, as numpy.linalg.cholesky.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Symmetric and positive definite; only the lower half is read. Derivatives are those with respect to a
        symmetric matrix: tangents are taken as symmetric, and gradients are.
    upper : bool
        Whether to return the transpose of L, from the upper half of `a`.

    Returns
    -------
    dlarray, shape (..., n, n)

    Raises
    ------
    NumericError
        The matrix is not positive definite.
    """
    x = plain(a)
    return _core.swapaxes(_linalg.cholesky(_core.swapaxes(x, -1, -2)), -1, -2) if upper else _linalg.cholesky(x)


def qr(a: Any, mode: Literal["reduced", "complete", "r"] = "reduced") -> Any:
    """Q with orthonormal columns and the upper triangular R with Q R = a, as numpy.linalg.qr.

    Parameters
    ----------
    a : array, shape (..., m, n)
    mode : {"reduced", "complete", "r"}
        "reduced": Q has min(m, n) columns. "complete": Q is square, without a derivative if m > n. "r": R alone.

    Returns
    -------
    QRResult, or dlarray for mode "r"

    Raises
    ------
    GradientError
        A derivative of a complete factorisation with m > n.
    NumericError
        A derivative where the columns are linearly dependent.
    """
    if mode not in ("reduced", "complete", "r"):
        raise ShapeError(f"qr: mode={mode!r} is not there; use 'reduced', 'complete' or 'r'.")
    q, r = _linalg.qr(plain(a), mode == "complete")
    return r if mode == "r" else QRResult(q, r)


def eigh(a: Any, UPLO: Literal["L", "U"] = "L") -> EighResult:
    """Eigenvalues and eigenvectors of symmetric matrices, as numpy.linalg.eigh.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Only the half that `UPLO` names is read. Derivatives are those with respect to a symmetric matrix.
    UPLO : {"L", "U"}

    Returns
    -------
    EighResult
        Eigenvalues in ascending order, and the eigenvectors as columns. Eigenvalues that are equal up to
        rounding (n eps times the largest) have no eigenvectors of their own: derivatives of the eigenvectors
        leave out how they turn among each other, which is right for what does not depend on that choice
        through equal eigenvalues, such as sums over the eigenvectors of one eigenvalue.
    """
    x = plain(a)
    return EighResult(*_linalg.eigh(_core.swapaxes(x, -1, -2) if UPLO.upper() == "U" else x))


def eigvalsh(a: Any, UPLO: Literal["L", "U"] = "L") -> dlarray:
    """Eigenvalues of symmetric matrices in ascending order, as numpy.linalg.eigvalsh; see `eigh`."""
    return eigh(a, UPLO)[0]


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Singular value decomposition, as numpy.linalg.svd.

    Parameters
    ----------
    a : array, shape (..., m, n)
    full_matrices : bool
        Whether U and Vh are square. That has no derivative unless m = n; with False there always is one.
    compute_uv : bool
        Whether to return U and Vh too.
    hermitian : bool
        Whether `a` is symmetric. (Makes no difference.)

    Returns
    -------
    SVDResult, or the singular values alone
        U, the singular values in descending order, and the transpose of V. What `eigh` says of equal
        eigenvalues holds for equal singular values.

    Raises
    ------
    GradientError
        A derivative of full matrices that are not those of a square matrix.
    """
    if not compute_uv:
        return svdvals(a)
    u, s, v = _linalg.svd(plain(a), full_matrices)
    return SVDResult(u, s, _core.swapaxes(v, -1, -2))


def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> dlarray:
    """Pseudo-inverses by singular values, as numpy.linalg.pinv.

    Parameters
    ----------
    a : array, shape (..., m, n)
    rcond, rtol : number or array of shape (...), optional
        Singular values up to this factor times the largest count as zero; by default 1e-15. (Two names of one
        thing, as in NumPy.)
    hermitian : bool
        Whether `a` is symmetric. (Makes no difference.)

    Returns
    -------
    dlarray, shape (..., n, m)
        The derivative is that for a rank that stays as it is.
    """
    cut = 1e-15 if rcond is None and rtol is None else rtol if rcond is None else rcond
    return _linalg.pinv(plain(a), _core.expand_dims(_core.astype(asarray(cut), np.float64), (-2, -1)))


class LstsqResult(NamedTuple):
    """What `lstsq` returns, in NumPy's order."""

    x: dlarray
    residuals: dlarray
    rank: dlarray
    s: dlarray


def lstsq(a: Any, b: Any, rcond: Any = None) -> LstsqResult:
    """The x that minimises the norm of a x - b, and of those the shortest, as numpy.linalg.lstsq.

    Parameters
    ----------
    a : array, shape (m, n)
    b : array, shape (m,) or (m, k)
    rcond : number, optional
        Singular values up to this factor times the largest count as zero; by default max(m, n) eps.

    Returns
    -------
    LstsqResult
        x of shape (n,) or (n, k); the sums of squares of a x - b, or nothing where m <= n (NumPy leaves them out
        for matrices without full rank, too); the rank, a constant; the singular values.
    """
    matrix, right = plain(a), plain(b)
    if matrix.ndim != 2 or right.ndim not in (1, 2) or right.shape[0] != matrix.shape[0]:
        raise ShapeError(
            f"lstsq({matrix.shape}, {right.shape}): there must be a matrix and as many right-hand elements as it has "
            "rows; use pinv(a) @ b for batches."
        )
    m, n = matrix.shape
    dtype = np.result_type(matrix.dtype, right.dtype, np.float32)
    cut = max(m, n) * float(np.finfo(dtype).eps) if rcond is None else rcond
    x = _core.matmul(pinv(matrix, cut), right)
    rest = right - _core.matmul(matrix, x)
    residuals = _core.sum(TABLE["square"](rest), 0)
    empty = dlarray(np.zeros(0, x.dtype))
    values = svdvals(matrix)
    return LstsqResult(x, _core.reshape(residuals, (-1,)) if m > n else empty, _rank(values, cut), values)


def _rank(values: dlarray, cut: Any) -> dlarray:
    # (Of no singular values none is the largest.) A cut may be given for each matrix.
    each = _core.expand_dims(cut, -1) if np.ndim(cut) else cut
    limit = _core.max(values, -1, True) * each if values.shape[-1] else values
    return _core.sum(_core.astype(TABLE["greater"](values, limit), np.int64), -1)


def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> dlarray:
    """The number of singular values above a bound, as numpy.linalg.matrix_rank; a constant."""
    a = plain(A)
    if a.ndim < 2:
        return _core.astype(_core.any(a), np.int64)
    values = svdvals(a)
    if tol is None:
        return _rank(values, max(a.shape[-2:]) * float(np.finfo(values.dtype).eps) if rtol is None else rtol)
    bound = _core.expand_dims(asarray(tol), -1)
    return _core.sum(_core.astype(TABLE["greater"](values, bound), np.int64), -1)


def matrix_power(a: Any, n: int) -> dlarray:
    """Products of `n` times the same square matrix, as numpy.linalg.matrix_power: by squaring; n < 0 inverts."""
    x = plain(a)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"matrix_power({x.shape}): the last two axes must be a square matrix.")
    if n < 0:
        x, n = _linalg.inv(x), -n
    if n == 0:
        return _core.broadcast_to(eye(x.shape[-1], dtype=x.dtype), x.shape)
    power: dlarray | None = None
    while True:
        if n % 2:
            power = x if power is None else _core.matmul(power, x)
        n //= 2
        if n == 0:
            assert power is not None
            return power
        x = _core.matmul(x, x)


def multi_dot(arrays: Sequence[Any], *, out: None = None) -> dlarray:
    """The product of several matrices in the order that costs least, as numpy.linalg.multi_dot.

    The first and the last may be vectors.
    """
    if out is not None:
        raise TypeError("multi_dot: out= is not taken; use the result.")
    factors = [plain(x) for x in arrays]
    if len(factors) < 2:
        raise ShapeError("multi_dot: there is nothing to multiply; give at least two arrays.")
    first, last = factors[0].ndim == 1, factors[-1].ndim == 1
    if first:
        factors[0] = _core.expand_dims(factors[0], 0)
    if last:
        factors[-1] = _core.expand_dims(factors[-1], 1)
    extents = [factors[0].shape[0], *(x.shape[1] for x in factors)]
    # Least cost of the product of factors i to j, and where to split it.
    count = len(factors)
    cost = {(i, i): 0 for i in range(count)}
    split = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i, j], split[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + extents[i] * extents[k + 1] * extents[j + 1], k) for k in range(i, j)
            )

    def product(i: int, j: int) -> dlarray:
        return factors[i] if i == j else _core.matmul(product(i, split[i, j]), product(split[i, j] + 1, j))

    y = product(0, count - 1)
    dropped = (0,) * first + (-1,) * last
    return _core.squeeze(y, dropped) if dropped else y


def diagonal(x: Any, /, *, offset: int = 0) -> dlarray:
    """Diagonals of the last two axes, as numpy.linalg.diagonal."""
    return _diagonal(x, offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> dlarray:
    """Sums of the diagonals of the last two axes, as numpy.linalg.trace."""
    y = plain(x)
    return _core.sum(diagonal(y if dtype is None else _core.astype(y, dtype), offset=offset), -1)


def expm(A: Any) -> dlarray:
    """Exponentials of square matrices, as scipy.linalg.expm.

    By scaling and squaring with Padé approximants: N. Higham, "The scaling and squaring method for the matrix
    exponential revisited" (2005). Derivatives are blocks of exponentials of twice the size: R. Mathias, "A chain
    rule for matrix functions and applications" (1996).
    """
    return _linalg.expm(plain(A))


def __getattr__(name: str) -> Any:
    if name in ("eig", "eigvals"):
        raise AttributeError(
            f"module 'dualtape.numpy.linalg' has no attribute {name!r}: its results are complex, and dlarrays "
            "hold real numbers; eigh is there for symmetric matrices."
        )
    raise AttributeError(f"module 'dualtape.numpy.linalg' has no attribute {name!r}.")
