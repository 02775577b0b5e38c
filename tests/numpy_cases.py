# SPDX-License-Identifier: MIT
"""Calls of NumPy's functions, and the ways in which each is tried: its value, forward and reverse derivatives, second
order, in a traced program, in lanes of a sweep. tests/test_numpy_functions.py runs the ways; tools/numpy_doc.py makes
the table of the documentation from them.

Where to start: `CASES`, then `WAYS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numeric import check_derivatives, value

import dualtape as dt
import dualtape.numpy as dnp
from dualtape import _core


@dataclass(frozen=True)
class A:
    """An array to be drawn: of normal numbers, or as `kind` says, which may be an interval."""

    shape: tuple[int, ...]
    kind: str | tuple[float, float] = "normal"

    def draw(self, rng: Any) -> Any:
        x = rng.normal(size=self.shape)
        if isinstance(self.kind, tuple):
            return rng.uniform(*self.kind, size=self.shape)
        if self.kind == "positive":
            return np.abs(x) + 0.2
        if self.kind == "ascending":
            return np.cumsum(np.abs(x) + 0.1) - 1.0
        if self.kind == "share":
            return 0.1 + 0.8 * rng.uniform(size=self.shape)
        if self.kind == "holes":
            x.flat[:: max(2, x.size // 4)] = np.nan
        return x


@dataclass(frozen=True)
class Case:
    """A call of a function; arrays to be drawn may stand anywhere in its arguments."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        def told(x: Any) -> str:
            if isinstance(x, A):
                return str(x.shape)
            if isinstance(x, (list, tuple)):
                return "[" + ",".join(map(told, x)) + "]"
            return f"array{x.shape}" if isinstance(x, np.ndarray) else "f" if callable(x) else str(x)

        given = [told(x) for x in self.args] + [f"{key}={told(x)}" for key, x in self.kwargs.items()]
        return f"{self.name}({','.join(given)})".replace(" ", "")

    def drawn(self) -> list[A]:
        """The arrays, in order."""
        return list(_leaves((self.args, tuple(self.kwargs.values()))))

    def draw(self, seed: int = 0, dtype: Any = np.float64) -> list[Any]:
        """Numbers for them."""
        rng = np.random.default_rng(seed)
        return [np.asarray(a.draw(rng), dtype) for a in self.drawn()]

    def call(self, function: Callable[..., Any], arrays: Any) -> Any:
        """The function's result for these arrays."""
        rest = iter(arrays)
        args = tuple(_filled(x, rest) for x in self.args)
        return function(*args, **{key: _filled(x, rest) for key, x in self.kwargs.items()})

    def numbers(self, *arrays: Any) -> Any:
        """All the numbers of dualtape's result in one vector."""
        parts = results_of(self.call(getattr(dnp, self.name), arrays))
        return dnp.concatenate([dnp.astype(dnp.ravel(part), np.result_type(part.dtype, float)) for part in parts])

    def constant(self) -> bool:
        """Whether the results are places, truths or counts."""
        arrays = [dt.dlarray(x) for x in self.draw()]
        return not any(np.dtype(y.dtype).kind == "f" for y in results_of(self.call(getattr(dnp, self.name), arrays)))


def _leaves(tree: Any) -> Iterator[A]:
    if isinstance(tree, A):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for x in tree:
            yield from _leaves(x)


def _filled(tree: Any, rest: Iterator[Any]) -> Any:
    if isinstance(tree, A):
        return next(rest)
    return type(tree)(_filled(x, rest) for x in tree) if isinstance(tree, (list, tuple)) else tree


def results_of(result: Any) -> list[Any]:
    """The arrays of a result, which may be several."""
    if isinstance(result, (list, tuple)):
        return [y for part in result for y in results_of(part)]
    return [result if hasattr(result, "dtype") else dt.dlarray(result)]


# ---- the ways ---------------------------------------------------------------------------------------------------


def _same(case: Case, arrays: list[Any], plain: list[Any], rtol: float) -> None:
    want = results_of(case.call(getattr(np, case.name), plain))
    for namespace in (dnp, np):
        got = results_of(case.call(getattr(namespace, case.name), arrays))
        assert len(got) == len(want)
        for ours, theirs in zip(got, want, strict=True):
            assert ours.shape == theirs.shape
            # (The table of ops keeps float32 where NumPy's float_power goes over to float64.)
            assert np.dtype(ours.dtype) == theirs.dtype or case.name == "float_power"
            np.testing.assert_allclose(value(ours), value(theirs), rtol=rtol, atol=rtol)


def has_values(case: Case) -> None:
    """NumPy's values and dtypes, for float64, float32 and views that run backwards."""
    with np.errstate(all="ignore"):
        for dtype, rtol in ((np.float64, 1e-11), (np.float32, 1e-4)):
            plain = case.draw(dtype=dtype)
            _same(case, [dt.dlarray(x) for x in plain], plain, rtol)
        backwards = tuple(slice(None, None, -1) for _ in range(4))
        plain = case.draw()
        _same(case, [dt.dlarray(np.flip(x))[backwards[: x.ndim]] for x in plain], plain, 1e-11)


def _filled_holes(x: Any) -> Any:
    """Different numbers in place of NaN, which has no differences."""
    return np.where(np.isnan(x), 0.37 * np.arange(x.size).reshape(x.shape) - 0.5, x)


def has_derivatives(case: Case, second: bool = False) -> None:
    """Forward derivatives are differences, and reverse ones the same."""
    check_derivatives(case.numbers, *map(_filled_holes, case.draw(3)), second=second)


def has_second_order(case: Case) -> None:
    """Hessian products are differences of gradients, by both orders of passes."""
    has_derivatives(case, second=True)


def _loss(case: Case, xs: Any) -> Any:
    y = case.numbers(*xs)
    return (y * np.cos(np.arange(y.size))).sum() + sum((x * 0.5).sum() for x in xs)


def traces(case: Case) -> None:
    """The program traced on some numbers gives the value and the gradients for others."""

    def f(*xs: Any) -> Any:
        return dt.value_and_grad(lambda *ys: _loss(case, ys), tuple(range(len(xs))))(*xs)

    program = dt.trace(f, *map(dt.dlarray, case.draw(1)), contract=False)
    for seed in (1, 2):
        arrays = [dt.dlarray(x) for x in case.draw(seed)]
        got, want = dt.tree.flatten(program(*arrays))[0], dt.tree.flatten(f(*arrays))[0]
        for ours, theirs in zip(got, want, strict=True):
            np.testing.assert_allclose(value(ours), value(theirs), rtol=1e-12, atol=1e-13)


def runs_in_lanes(case: Case) -> None:
    """A sweep whose step takes the function's gradient gives what its runs give one by one in Python."""

    def step(state: Any, scale: Any) -> Any:
        def loss(*xs: Any) -> Any:
            y = _loss(case, [x * scale for x in xs])
            return y, *(dt.dlgradient(y, *xs) if len(xs) > 1 else (dt.dlgradient(y, *xs),))

        y, *slopes = dt.dlfeval(loss, *state)
        return tuple(x - 0.01 * slope for x, slope in zip(state, slopes, strict=True)), y

    over = dt.grid(scale=np.array([0.9, 1.0, 1.05]))
    start = tuple(map(_filled_holes, case.draw(4)))
    ours = dt.sweep(step, start, iterations=2, over=over, contract=False)
    theirs = dt.sweep(step, start, iterations=2, over=over, compiled=False)
    for a, b in zip(ours.state, theirs.state, strict=True):
        np.testing.assert_allclose(value(a), value(b), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(value(ours.value), value(theirs.value), rtol=1e-10, atol=1e-12)


WAYS: dict[str, Callable[[Case], None]] = {
    "value": has_values,
    "forward and reverse": has_derivatives,
    "second order": has_second_order,
    "traced": traces,
    "in lanes": runs_in_lanes,
}


# ---- the calls --------------------------------------------------------------------------------------------------

V, W, M, N, T = A((4,)), A((3,)), A((3, 4)), A((3, 4)), A((2, 3, 4))
P, UP, HOLES = A((4,), "positive"), A((4,), "ascending"), A((3, 4), "holes")


def _of(name: str, *args: Any, **kwargs: Any) -> Case:
    return Case(name, args, kwargs)


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
    if not (name == "average" and len(kwargs) > 1)
]
LEFT_OUT = [
    _of(name, HOLES, **kwargs)
    for name in ("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nanmedian")
    for kwargs in ({}, {"axis": 0}, {"axis": 1, "keepdims": True})
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
]
CHOSEN = [
    _of("where", np.arange(4) % 2 == 0, V, A(())),
    _of("clip", M, -0.5, 0.6),
    _of("round", M, 1),
    _of("divmod", M, 0.7),
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
CASES = [
    *elementwise(),
    *(case for cases in (REDUCED, LEFT_OUT, SHUFFLED, JOINED, MULTIPLIED, RUNNING, CHOSEN, SORTED) for case in cases),
]
#: Functions with tests of their own: what is made from numbers alone, what only looks at shapes, what assigns, and
#: partitions, whose order NumPy leaves open.
ELSEWHERE = {
    *("zeros", "ones", "empty", "eye", "identity", "tri", "arange", "zeros_like", "ones_like", "empty_like"),
    *("shape", "ndim", "size", "result_type", "iscomplexobj", "isrealobj", "put_along_axis"),
    *("partition", "argpartition"),
}


def names() -> dict[str, list[str]]:
    """Every function of `dualtape.numpy`, with its other names."""
    found: dict[Any, list[str]] = {}
    first = {case.name for case in CASES} | ELSEWHERE
    for name in sorted(dnp.__all__, key=lambda name: (name not in first, name)):
        function = getattr(dnp, name)
        if callable(function) and not isinstance(function, type):
            found.setdefault(function, []).append(name)
    return {aliases[0]: aliases[1:] for aliases in found.values()}
