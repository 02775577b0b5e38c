# SPDX-License-Identifier: MIT
"""Calls of NumPy's functions that are tried in every way of numpy_ways.py. tests/test_numpy_functions.py runs them;
tools/numpy_doc.py makes the table of docs/numpy.md from them.

Where to start: `CASES`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
from numpy_ways import A, Case

import dualtape.numpy as dnp
from dualtape import _core

V, W, M, N, T = A((4,)), A((3,)), A((3, 4)), A((3, 4)), A((2, 3, 4))
P, UP, HOLES = A((4,), "positive"), A((4,), "ascending"), A((3, 4), "holes")


def _of(name: str, *args: Any, **kwargs: Any) -> Case:
    return Case(name, args, kwargs)


def _made(name: str, made: Callable[..., Any], *args: Any) -> Case:
    return Case(name, args, made=made)


def _eager(name: str, *args: Any, **kwargs: Any) -> Case:
    """A function that needs the numbers of its operands, which a program being traced has not."""
    return Case(name, args, kwargs, refused=("traced", "in lanes"))


def _foreign(name: str, *args: Any, **kwargs: Any) -> Case:
    """A function of NumPy's that dualtape has not: it gets the numbers of dlarrays that are not differentiated."""

    def made(namespace: Any, *args: Any, **kwargs: Any) -> Any:
        return attrgetter(name)(np)(*args, **kwargs)

    return Case(name, args, kwargs, made, ("forward", "reverse", "second order", "traced", "in lanes"))


def elementwise() -> list[Case]:
    """A call of each elementwise function, under its first name."""
    cases = []
    for row in _core.op_table():
        if row["numpy_name"] and row["numpy_name"] != "where":
            # Away from the ends, since differences look to both sides.
            kinds = [(low + 0.05 * (high - low), high - 0.05 * (high - low)) for low, high, *_ in row["domains"]]
            cases.append(Case(row["numpy_name"], tuple(A((3,), kind) for kind in kinds)))
    return cases


REDUCED = [
    _of(name, M, **kwargs)
    for name in ("sum", "prod", "mean", "max", "min", "any", "all", "std", "var", "ptp", "average", "median")
    for kwargs in ({}, {"axis": 1}, {"axis": (0, 1), "keepdims": True})
]
HALF = np.arange(12).reshape(3, 4) % 5 < 3
REDUCED += [
    *(
        _of(name, M, axis=axis, where=HALF)
        for name in ("sum", "prod", "mean", "any", "all", "std", "var")
        for axis in (None, 1, (0, 1))
    ),
    *(_of(name, M, axis=1, initial=0.3, where=HALF) for name in ("max", "min", "sum", "prod")),
    _of("mean", T, axis=(0, 2), where=np.arange(4) > 0, keepdims=True),
    _of("var", M, axis=0, ddof=1, where=HALF[:, 1:2]),
    _of("var", M, axis=1, mean=A((3, 1)), correction=1),
    _of("std", M, axis=0, mean=A((1, 4)), where=HALF, keepdims=True),
    _of("average", M, 1, np.arange(1.0, 5.0), keepdims=True),
    _of("average", M, (1, 0), A((4, 3), "positive")),
    _of("average", T, (0, 2), A((2, 4), "positive")),
    _of("average", M, None, A((3, 4), "positive"), True),
    _of("average", M, 0, returned=True),
]
LEFT_OUT = [
    _of(name, HOLES, **kwargs)
    for name in ("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nanmedian")
    for kwargs in ({}, {"axis": 0}, {"axis": 1, "keepdims": True})
]
LEFT_OUT += [
    *(_of(name, HOLES, axis=1, where=HALF, initial=0.5) for name in ("nansum", "nanprod", "nanmax", "nanmin")),
    *(_of(name, HOLES, where=HALF, keepdims=True) for name in ("nanmean", "nanvar", "nanstd")),
    _of("nanvar", HOLES, axis=1, mean=A((3, 1)), correction=1),
]
SHUFFLED = [
    _of("tile", M, 2),
    _of("tile", V, (2, 1, 3)),
    _of("repeat", M, 2),
    _of("repeat", M, [1, 0, 2], axis=0),
    _of("roll", M, 1),
    _of("roll", M, (1, -1), axis=(0, 1)),
    _of("flip", T),
    _of("flip", T, (0, 2)),
    _of("fliplr", M),
    _of("flipud", M),
    *(_of("rot90", M, k) for k in range(-1, 4)),
    _of("rot90", T, 1, (2, 0)),
    _of("pad", M, 1),
    _of("pad", M, ((1, 2), (0, 3)), constant_values=((1.0, 2.0), (3.0, 4.0))),
    *(_of("pad", M, ((1, 2), (2, 0)), mode) for mode in ("edge", "reflect", "symmetric", "wrap")),
    _of("pad", V, (9, 5), "reflect"),
    _of("tril", M),
    _of("triu", T, -1),
    _of("diag", V, 1),
    _of("diag", M, -1),
    _of("diagflat", M),
    _of("diagonal", T, 1, 1, 2),
    _of("trace", T),
    _of("reshape", M, (2, -1)),
    _of("ravel", M, "F"),
    _of("transpose", T, (2, 0, 1)),
    _of("matrix_transpose", T),
    _of("swapaxes", T, 0, -1),
    _of("moveaxis", T, 0, -1),
    _of("rollaxis", T, 2),
    _of("expand_dims", M, (0, -1)),
    _of("squeeze", A((1, 3, 1))),
    _of("broadcast_to", V, (3, 4)),
    _of("broadcast_arrays", M, V),
    _of("take", M, [3, 0, -1], axis=1),
    _of("take", M, [[13, -2], [5, 0]], mode="wrap"),
    _of("compress", [True, False, True], M, axis=0),
    _of("delete", M, [1, 2], axis=1),
    _of("insert", M, 1, W, axis=1),
    _of("insert", V, [0, 4], 5.0),
    _of("unstack", M, axis=1),
    _of("apply_along_axis", lambda v: v[:2] * v.sum(), 1, T),
    _of("apply_over_axes", lambda v, axis: v.sum(axis), T, (0, 2)),
    _of("copy", M),
    _of("astype", M, np.float64),
    _of("real", M),
    _of("imag", M),
    _of("conjugate", M),
    _of("real_if_close", M),
    _of("angle", M),
    _of("isreal", M),
    _of("iscomplex", M),
]
JOINED = [
    _of("concatenate", [M, N], axis=1),
    _of("stack", [M, N], axis=-1),
    _of("append", M, N, axis=0),
    *(_of(name, [M, N]) for name in ("vstack", "hstack", "dstack", "column_stack")),
    *(_of(name, [V, V]) for name in ("vstack", "hstack", "dstack", "column_stack")),
    _of("block", [[M, N], [M, N]]),
    _of("block", [[A((2, 1)), A((2, 3))], [A((1, 4))]]),
    _of("array_split", V, 3),
    _of("split", M, [1, 3], axis=1),
    _of("hsplit", M, 2),
    _of("vsplit", M, [1]),
    _of("dsplit", T, 2),
    *(_of(f"atleast_{n}d", A(()), V, M) for n in (1, 2, 3)),
    _of("meshgrid", V, W),
    _of("meshgrid", V, W, indexing="ij", sparse=True),
    _of("array", [A(()), A(())]),
    _of("asarray", M),
    _of("full", (2, 3), A(())),
    _of("full_like", M, A(())),
    _of("linspace", A(()), A(()), 5),
    _of("linspace", V, V, 3, axis=1),
    _of("logspace", A(()), A(()), 4),
    _of("geomspace", A((), "positive"), A((), "positive"), 4),
]
MULTIPLIED = [
    _of("matmul", T, A((4, 2))),
    _of("dot", M, V),
    _of("inner", M, V),
    _of("outer", V, W),
    _of("vdot", M, N),
    _of("matvec", T, V),
    _of("vecmat", A((2, 3)), T),
    _of("vecdot", M, N),
    _of("tensordot", T, A((4, 3)), ((2, 1), (0, 1))),
    _of("kron", A((2, 2)), V),
    _of("cross", A((2, 3)), W),
    _of("cross", A((3, 2)), A((3, 2)), axis=0),
    _of("einsum", "ij,jk,kl->il", A((2, 3)), M, A((4, 2))),
    _of("einsum", "...i,i->...", T, V),
    _of("einsum", "ii->i", A((3, 3))),
    *(_of(name, V, W, mode) for name in ("convolve", "correlate") for mode in ("full", "same", "valid")),
    *(_of(name, A((2,)), V, mode) for name in ("convolve", "correlate") for mode in ("full", "same", "valid")),
    _of("vander", W),
    _of("vander", W, 5, True),
    _of("polyval", W, V),
    _of("cov", M),
    _of("cov", V, V),
    _of("cov", M, rowvar=False, bias=True, aweights=np.arange(1.0, 4.0)),
    _of("corrcoef", M),
]
#: Places that are values: a traced program computes them anew.
PLACED = [
    _made("x[argsort(x)]", lambda xp, x: x[xp.argsort(x)], V),
    _made("x[:, places]", lambda xp, x: x[:, xp.argsort(x[0])[:2]], M),
    _made("x[rows, columns]", lambda xp, x: x[xp.argsort(x[:, 0]), xp.argmax(x, axis=1)], M),
    _made("x[places, :, None, 1]", lambda xp, x: x[xp.argsort(x[:, 0, 0]), :, None, 1], T),
    _made("x[..., places, 0]", lambda xp, x: x[..., xp.argsort(-x[0, :, 0]), 0], T),
    _made("x[ix_(...)]", lambda xp, x: x[xp.ix_(xp.argsort(x[:, 0]), xp.argsort(x[0])[1:])], M),
    _made("ix_", lambda xp, x: x[xp.ix_([True, False, True], [3, 0])], M),
    _made("indices", lambda xp, x: x * xp.indices((3, 4))[1], M),
    _made("indices", lambda xp, x: x * xp.indices((3, 4), sparse=True)[0], M),
    _made("take", lambda xp, x: xp.take(x, xp.argsort(x[0]), axis=1), M),
    _made("take", lambda xp, x: xp.take(x, xp.argsort(-x, axis=None), mode="clip"), M),
    _made("diag_indices", lambda xp, x: x[xp.diag_indices(3)], M),
    _made("tril_indices", lambda xp, x: x[xp.tril_indices(3, -1)], M),
    _made("triu_indices", lambda xp, x: x[xp.triu_indices(3, 1)], M),
    _made("unravel_index", lambda xp, x: x[xp.unravel_index([5, 1], (3, 4))], M),
    _made("ravel_multi_index", lambda xp, x: x.ravel()[xp.ravel_multi_index(([2, 0], [1, 3]), (3, 4))], M),
]
#: Without NumPy's own on dlarrays, since these are no functions and have no protocol.
JOINED += [
    _made("r_", lambda xp, x, y: xp.r_[x, 0.5, 1:3, 0:1:3j, y], V, A(())),
    _made("r_", lambda xp, x: xp.r_["0,2", x, x], V),
    _made("r_", lambda xp, x: xp.r_["-1,3,0", x, [[1.0], [2.0]]], A((2,))),
    _made("c_", lambda xp, x, y: xp.c_[x, y, xp.ones(3)], A((3, 2)), W),
]
RUNNING = [
    _of("diff", M, 2),
    _of("diff", M, axis=0, prepend=0.5, append=N),
    _of("ediff1d", M, to_begin=[1.0, 2.0], to_end=A(())),
    _of("gradient", M),
    _of("gradient", M, 0.5, axis=1),
    _of("gradient", M, edge_order=2, axis=0),
    _of("gradient", V, UP),
    _of("gradient", V, UP, edge_order=2),
    _of("trapezoid", M),
    _of("trapezoid", M, UP),
    _of("trapezoid", M, dx=0.5, axis=0),
    _of("cumsum", M, axis=1),
    _of("cumprod", M),
    _of("cumprod", T, axis=1),
    _of("cumulative_sum", M, axis=1, include_initial=True),
    _of("cumulative_prod", M, axis=0, include_initial=True),
    _of("nancumsum", HOLES, axis=1),
    _of("nancumprod", HOLES),
    _of("unwrap", A((9,), (-8.0, 8.0))),
    _of("unwrap", A((3, 4), (-3.0, 3.0)), axis=0, period=2.0),
]
CHOSEN = [
    _of("where", np.arange(4) % 2 == 0, V, A(())),
    _of("clip", M, -0.5, 0.6),
    _of("round", M, 1),
    _of("divmod", M, 0.7),
    _of("modf", M),
    _of("ldexp", M, [1, -2, 0, 3]),
    _of("i0", M),
    _of("signbit", M),
    _of("isposinf", M),
    _of("isneginf", M),
    _of("bincount", np.array([2, 0, 2, 4]), V, minlength=6),
    _made("bitwise_and", lambda xp, x: xp.bitwise_and(x > 0.0, x < 0.5), M),
    _made("bitwise_or", lambda xp, x: xp.bitwise_or(x > 0.5, x < -0.5), M),
    _made("bitwise_xor", lambda xp, x: xp.bitwise_xor(x > 0.5, True), M),
    _made("invert", lambda xp, x: xp.invert(x > 0.5), M),
    _of("select", [np.arange(4) < 1, np.arange(4) < 3], [V, P], 7.0),
    _of("piecewise", V, [np.arange(4) < 1, np.arange(4) > 2], [lambda x: x * x, 2.0, lambda x: -x]),
    _of("choose", [0, 1, 1, 0], [V, P]),
    _of("extract", np.arange(12).reshape(3, 4) % 5 == 0, M),
    _of("isclose", M, N),
    _of("allclose", M, N),
    _of("array_equal", M, N),
    _of("array_equiv", M, V),
    _of("count_nonzero", M, axis=0),
    _of("argmax", M, axis=1),
    _of("argmin", M),
]
SORTED = [
    _of("sort", M),
    _of("sort", T, axis=1),
    _of("sort", M, axis=None),
    _of("argsort", M, axis=0),
    _of("argsort", HOLES),
    _of("quantile", M, A((2,), "share"), axis=1),
    *(
        _of("quantile", V, 0.31, method=method)
        for method in ("hazen", "weibull", "median_unbiased", "lower", "higher", "midpoint", "nearest")
    ),
    _of("percentile", T, [[10.0, 50.0]], axis=(0, 2)),
    _of("nanquantile", HOLES, 0.4, axis=1),
    _of("nanpercentile", HOLES, [20.0, 70.0]),
    _of("searchsorted", UP, M),
    _of("searchsorted", UP, M, "right"),
    _of("digitize", M, UP),
    _of("digitize", M, UP, True),
    _of("interp", M, UP, V),
    _of("interp", M, UP, V, left=-1.0, right=2.0),
    _of("interp", W, A((4,), "share"), V, period=1.0),
    _of("take_along_axis", M, np.array([[0, -1, 1]]), axis=1),
    _of("take_along_axis", M, np.array([[2, 0, 0, 1]]), axis=0),
]


def _of_matrix(name: str, *args: Any, symmetric: bool = False, **kwargs: Any) -> Case:
    """A function of linalg on well-conditioned matrices; several results are squared, since signs are free."""

    def made(xp: Any, x: Any, *args: Any) -> Any:
        x = x * 0.3 + 3.0 * xp.eye(x.shape[-1], dtype=x.dtype) * np.arange(1, x.shape[-1] + 1).astype(x.dtype)
        found = attrgetter(name)(xp)(x + xp.swapaxes(x, -1, -2) if symmetric else x, *args, **kwargs)
        return [y * y for y in found] if isinstance(found, tuple) and "slogdet" not in name else found

    return Case(name, args, made=made)


SQUARE, BATCH = A((3, 3)), A((2, 2, 2))
ALGEBRA = [
    *(_of_matrix(f"linalg.{name}", SQUARE) for name in ("inv", "det", "slogdet", "qr", "pinv", "cond", "matrix_rank")),
    *(_of_matrix(f"linalg.{name}", SQUARE, symmetric=True) for name in ("cholesky", "eigh", "eigvalsh")),
    *(_of_matrix(f"linalg.{name}", BATCH) for name in ("inv", "det", "svd", "svdvals")),
    _of_matrix("linalg.solve", SQUARE, W),
    _of_matrix("linalg.solve", SQUARE, A((3, 2))),
    _of_matrix("linalg.matrix_power", SQUARE, 3),
    _of_matrix("linalg.matrix_power", SQUARE, -2),
    _made("linalg.lstsq", lambda xp, x, y: xp.linalg.lstsq(x, y)[0], A((5, 2)), A((5,))),
    _made("linalg.multi_dot", lambda xp, *xs: xp.linalg.multi_dot(xs), W, M, A((4, 2))),
    *(_of("linalg.norm", M, *args) for args in ((), ("nuc",), (2,), (1, 0), (3.0, 1), (np.inf, 1))),
    _of("linalg.matrix_norm", T),
    _of("linalg.vector_norm", T, axis=(0, 2)),
    _of("linalg.diagonal", T, offset=1),
    _of("linalg.trace", T),
    _of("linalg.matrix_transpose", T),
    _of("linalg.cross", A((2, 3)), A((2, 3))),
    _of("linalg.matmul", M, A((4, 2))),
    _of("linalg.outer", V, W),
    _of("linalg.tensordot", T, A((4, 2)), axes=1),
    _of("linalg.vecdot", M, N),
]
COUNTED = [
    *(_eager(name, M) for name in ("argwhere", "flatnonzero", "nonzero", "nanargmax", "nanargmin")),
    _eager("isin", V, [0.5, 1.0]),
    _eager("lexsort", M),
    Case("nextafter", (V, 0.0), refused=("forward", "reverse", "second order", "traced", "in lanes")),
    _eager("unique", M),
    _eager("unique", V, True, True, True),
    *(_eager(name, V) for name in ("unique_all", "unique_counts", "unique_inverse", "unique_values")),
]
FOREIGN = [
    _foreign("histogram", V, 3),
    _foreign("histogram_bin_edges", V, 3),
    _foreign("polyfit", UP, V, 1),
    _foreign("polyadd", V, W),
    _foreign("polymul", V, W),
    _foreign("polyder", V),
    _foreign("polyint", V),
    _foreign("poly", W),
    _foreign("trim_zeros", V),
    _foreign("resize", V, (2, 3)),
    _foreign("union1d", V, W),
    _foreign("intersect1d", V, W),
    _foreign("setdiff1d", V, W),
    _foreign("setxor1d", V, W),
    _foreign("spacing", V),
    _foreign("frexp", V),
    _foreign("linalg.tensorinv", A((4, 2, 2)), 1),
    _foreign("linalg.tensorsolve", A((2, 2, 4)), A((2, 2))),
]
#: Of complex results.
FOREIGN += [
    _foreign("fft.rfft", V),
    _foreign("fft.fft", V),
    _foreign("fft.ifft", V),
    _foreign("fft.fft2", M),
    _foreign("fft.fftn", M),
    _foreign("fft.irfft", V),
    _foreign("linalg.eig", A((3, 3))),
    _foreign("linalg.eigvals", A((3, 3))),
    _foreign("roots", V),
    _foreign("sort_complex", V),
]
GROUPS = (REDUCED, LEFT_OUT, SHUFFLED, JOINED, MULTIPLIED, ALGEBRA, PLACED, RUNNING, CHOSEN, SORTED, COUNTED, FOREIGN)
CASES = [
    *elementwise(),
    # (Some functions came to NumPy after 2.0.)
    *(case for cases in GROUPS for case in cases if case.made or case.name in dir(np) or "." in case.name),
]
#: Functions with tests of their own: what is made from numbers alone, what only looks at shapes, what assigns, and
#: partitions, whose order NumPy leaves open.
ELSEWHERE = {
    *("zeros", "ones", "empty", "eye", "identity", "tri", "arange", "zeros_like", "ones_like", "empty_like"),
    *("shape", "ndim", "size", "result_type", "iscomplexobj", "isrealobj", "put_along_axis"),
    *("partition", "argpartition", "copyto", "fill_diagonal", "broadcast_shapes", "issubdtype"),
    *("left_shift", "right_shift", "gcd", "lcm"),
}


def names() -> dict[str, list[str]]:
    """Every function of `dualtape.numpy`, with its other names."""
    found: dict[Any, list[str]] = {}
    first = {case.name for case in CASES if hasattr(dnp, case.name)} | ELSEWHERE
    for name in sorted(filter(partial(hasattr, np), dnp.__all__), key=lambda name: (name not in first, name)):
        function = getattr(dnp, name)
        if name in ("r_", "c_") or (callable(function) and not isinstance(function, type)):
            found.setdefault(function, []).append(name)
    return {aliases[0]: aliases[1:] for aliases in found.values()}
