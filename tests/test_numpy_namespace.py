# SPDX-License-Identifier: MIT
"""dualtape.numpy against NumPy: the same names, the same signatures, the same values, and derivatives that
are right.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numeric import check_derivatives, value

import dualtape as dt
import dualtape.numpy as dnp
from dualtape import _core

SHAPES = [(), (1,), (7,), (3, 4), (2, 3, 4), (2, 1, 3, 2), (0, 3), (3, 0)]


def numbers(shape: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def assert_same(got: Any, want: Any, rtol: float | None = None) -> None:
    got, want = np.asarray(value(got)), np.asarray(want)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    eps = np.finfo(want.dtype).eps if want.dtype.kind == "f" else 0
    np.testing.assert_allclose(got, want, rtol=32 * eps if rtol is None else rtol, atol=32 * eps)


def test_every_op_of_the_table_is_here_under_every_name_numpy_has() -> None:
    for row in _core.op_table():
        if row["numpy_name"]:
            assert row["numpy_name"] in dnp.__all__
            ufunc = getattr(np, row["numpy_name"])
            if isinstance(ufunc, np.ufunc):
                for alias, other in vars(np).items():
                    assert other is not ufunc or getattr(dnp, alias) is getattr(dnp, row["numpy_name"]), alias


def test_everything_here_is_in_numpy() -> None:
    assert [name for name in dnp.__all__ if not hasattr(np, name)] == []
    here = [name for name in dnp.linalg.__all__ if not hasattr(np.linalg, name)]
    assert here == ["expm", "solve_triangular"]  # (SciPy's)


@pytest.mark.parametrize("name", [n for n in dnp.__all__ if inspect.isfunction(getattr(dnp, n))])
def test_parameters_are_those_of_numpy(name: str) -> None:
    """Positional parameters have NumPy's names and order, as far as they go; so calls can be carried over."""
    try:
        theirs = inspect.signature(getattr(np, name))
    except ValueError:  # of some functions in C, up to NumPy 2.3
        return
    if name == "arange":  # says start_or_stop
        return
    ours = inspect.signature(getattr(dnp, name))
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    mine = [p.name for p in ours.parameters.values() if p.kind in kinds]
    wanted = [p.name for p in theirs.parameters.values() if p.kind in kinds]
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in theirs.parameters.values()):
        return
    left_out = {
        "order",
        "like",
        "device",
        "axes",
        "stable",
        "kind",
        "bias",
        "retstep",
        "subok",
        "where",
        "prepend",
    }
    wanted = [n for n in wanted if n not in left_out]
    mine = [n for n in mine if n not in left_out]
    assert mine == wanted[: len(mine)]


REDUCTIONS = [
    "sum",
    "mean",
    "prod",
    "max",
    "min",
    "amax",
    "amin",
    "any",
    "all",
    "var",
    "std",
    "ptp",
    "average",
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_reductions(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    x = numbers(shape, dtype)
    axes: list[Any] = [None, *range(-len(shape), len(shape))]
    if name != "average":
        axes += list(itertools.combinations(range(len(shape)), 2))
    for axis, keepdims in itertools.product(axes, (False, True)):
        try:
            want = getattr(np, name)(x, axis=axis, keepdims=keepdims)
        except (ValueError, ZeroDivisionError):
            if name != "average":
                with pytest.raises(ValueError, match=r"max|min"):
                    getattr(dnp, name)(x, axis=axis, keepdims=keepdims)
            continue
        got = getattr(dnp, name)(x, axis=axis, keepdims=keepdims)
        assert_same(got, want)
        assert_same(getattr(np, name)(dt.dlarray(x), axis=axis, keepdims=keepdims), want)


@pytest.mark.parametrize("name", ["argmax", "argmin", "cumsum"])
@pytest.mark.parametrize("shape", [s for s in SHAPES if 0 not in s], ids=str)
def test_along_one_axis(name: str, shape: tuple[int, ...]) -> None:
    x = np.round(numbers(shape), 1)
    for axis in (None, *range(-len(shape), len(shape))):
        assert_same(getattr(dnp, name)(x, axis=axis), getattr(np, name)(x, axis=axis))


def test_options_of_reductions() -> None:
    x = numbers((3, 4))
    mask = x > 0
    for name in ("sum", "prod", "max", "min"):
        ours, theirs = getattr(dnp, name), getattr(np, name)
        assert_same(ours(x, axis=1, initial=0.5), theirs(x, axis=1, initial=0.5))
        assert_same(ours(x, axis=1, initial=0.5, where=mask), theirs(x, axis=1, initial=0.5, where=mask))
        assert_same(ours(x[:, :0], axis=1, initial=0.5), theirs(x[:, :0], axis=1, initial=0.5))
    assert_same(dnp.sum(x, where=mask), np.sum(x, where=mask))
    for whole in (np.arange(12).reshape(3, 4) - 5, np.arange(12).reshape(3, 4) % 2 == 0):
        for name in ("sum", "prod", "nansum", "mean", "std", "any", "all"):
            ours, theirs = getattr(dnp, name), getattr(np, name)
            assert_same(ours(whole, axis=1, where=mask), theirs(whole, axis=1, where=mask))
        for name in ("max", "min", "nanmax", "nanmin"):
            ours, theirs = getattr(dnp, name), getattr(np, name)
            one = whole.dtype.type(1)
            assert_same(ours(whole, axis=1, where=mask, initial=one), theirs(whole, axis=1, where=mask, initial=one))
    assert_same(dnp.sum(x, dtype=np.float32), np.sum(x, dtype=np.float32), rtol=1e-6)
    assert_same(dnp.var(x, 0, ddof=1), np.var(x, 0, ddof=1))
    assert_same(dnp.std(x, 0, ddof=1), np.std(x, 0, ddof=1))
    weights = np.arange(4.0)
    assert_same(dnp.average(x, axis=1, weights=weights), np.average(x, axis=1, weights=weights))
    assert_same(dnp.average(x, weights=np.abs(x)), np.average(x, weights=np.abs(x)))
    assert_same(dnp.sum(np.arange(6).reshape(2, 3), axis=0), np.sum(np.arange(6).reshape(2, 3), axis=0))


REARRANGED: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("reshape", ((4, 6),), {}),
    ("reshape", (-1,), {}),
    ("reshape", ((3, -1),), {"order": "F"}),
    ("ravel", (), {}),
    ("ravel", ("F",), {}),
    ("transpose", (), {}),
    ("transpose", ((2, 0, 1),), {}),
    ("permute_dims", ((-1, 0, 1),), {}),
    ("matrix_transpose", (), {}),
    ("swapaxes", (0, -1), {}),
    ("moveaxis", (0, -1), {}),
    ("moveaxis", ((0, 1), (-1, -2)), {}),
    ("expand_dims", (1,), {}),
    ("expand_dims", ((0, -1),), {}),
    ("broadcast_to", ((5, 2, 3, 4),), {}),
    ("flip", (), {}),
    ("flip", (1,), {}),
    ("flip", ((0, -1),), {}),
    ("fliplr", (), {}),
    ("flipud", (), {}),
    ("roll", (2,), {}),
    ("roll", (-1,), {"axis": 1}),
    ("roll", ((1, 2),), {"axis": (0, 2)}),
    ("repeat", (3,), {}),
    ("repeat", ([1, 0, 2],), {"axis": 1}),
    ("tile", (2,), {}),
    ("tile", ((2, 1, 1, 3),), {}),
    ("take", ([5, 0, -1],), {}),
    ("take", ([[1, 0], [2, -1]],), {"axis": 1}),
    ("take", ([7, -9],), {"axis": 1, "mode": "wrap"}),
    ("take", ([7, -9],), {"axis": 1, "mode": "clip"}),
    ("diagonal", (), {}),
    ("diagonal", (1, 1, 2), {}),
    ("diagonal", (-2, -1, 0), {}),
    ("trace", (), {}),
    ("tril", (), {}),
    ("triu", (-1,), {}),
    ("diff", (), {}),
    ("diff", (2, 0), {}),
    ("diff", (2, 1), {}),
    ("sort", (), {}),
    ("sort", (0,), {}),
    ("sort", (), {"axis": None}),
    ("cumsum", (), {"axis": 1}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), REARRANGED, ids=lambda x: str(x).replace(" ", ""))
def test_rearrangements(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    x = numbers((2, 3, 4))
    want = getattr(np, name)(x, *args, **kwargs)
    assert_same(getattr(dnp, name)(x, *args, **kwargs), want, rtol=1e-15)
    assert_same(getattr(np, name)(dt.dlarray(x), *args, **kwargs), want, rtol=1e-15)
    check_derivatives(lambda x: getattr(dnp, name)(x, *args, **kwargs), x, second=False)


def test_squeeze_and_shapes() -> None:
    x = numbers((2, 1, 3, 1))
    for axis in (None, 1, -1, (1, 3)):
        assert_same(dnp.squeeze(x, axis), np.squeeze(x, axis))
    with pytest.raises(dt.ShapeError, match="extent"):
        dnp.squeeze(x, 0)
    d = dt.dlarray(x)
    assert (np.shape(d), np.ndim(d), np.size(d), np.size(d, 2)) == (x.shape, x.ndim, x.size, 3)
    assert np.result_type(d, np.float32) == np.float64
    assert np.isrealobj(d)
    assert not np.iscomplexobj(d)
    assert [a.shape for a in dnp.broadcast_arrays(x, np.zeros(5)[:, None, None, None, None])] == [(5, 2, 1, 3, 1)] * 2
    for count in (1, 2, 3):
        for shape in ((), (2,), (2, 3), (2, 3, 4)):
            name = f"atleast_{count}d"
            assert getattr(dnp, name)(numbers(shape)).shape == getattr(np, name)(numbers(shape)).shape
    assert [a.ndim for a in dnp.atleast_2d(1.0, [2.0])] == [2, 2]


def test_joining() -> None:
    a, b, v, w = numbers((2, 3)), numbers((2, 3), seed=1), numbers((3,)), numbers((3,), seed=1)
    for name in ("vstack", "hstack", "column_stack", "dstack"):
        for pair in ([a, b], [v, w]):
            assert_same(getattr(dnp, name)(pair), getattr(np, name)(pair))
            assert_same(getattr(np, name)([dt.dlarray(x) for x in pair]), getattr(np, name)(pair))
            check_derivatives(lambda x, y, name=name: getattr(dnp, name)([x, y]), *pair, second=False)
    for axis in (0, 1, -1):
        assert_same(dnp.concatenate([a, b], axis), np.concatenate([a, b], axis))
        assert_same(dnp.stack([a, b], axis), np.stack([a, b], axis))
    assert_same(dnp.concatenate([a, v], axis=None), np.concatenate([a, v], axis=None))
    assert_same(dnp.concat([a, b]), np.concat([a, b]))
    assert_same(dnp.append(a, b, 1), np.append(a, b, 1))
    assert_same(dnp.stack([a.astype(np.float32), b]), np.stack([a.astype(np.float32), b]))
    for sections in (3, [1, 2], [0, 7]):
        for ours, theirs in zip(dnp.split(a, sections, 1), np.split(a, sections, 1), strict=True):
            assert_same(ours, theirs)
    for ours, theirs in zip(dnp.array_split(v, 2), np.array_split(v, 2), strict=True):
        assert_same(ours, theirs)
    with pytest.raises(ValueError, match="array_split"):
        dnp.split(a, 2, 1)


def test_making() -> None:
    pairs: list[tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
        (dnp.zeros, np.zeros, (3,), {}),
        (dnp.zeros, np.zeros, ((2, 3), np.float32), {}),
        (dnp.ones, np.ones, ((2, 0),), {}),
        (dnp.full, np.full, ((2, 2), 0.5), {}),
        (dnp.arange, np.arange, (5,), {}),
        (dnp.arange, np.arange, (1.0, 2.0, 0.25), {}),
        (dnp.linspace, np.linspace, (0, 1, 5), {}),
        (dnp.linspace, np.linspace, (0, 1, 5, False), {}),
        (dnp.eye, np.eye, (3, 4, 1), {}),
        (dnp.identity, np.identity, (3,), {}),
        (dnp.array, np.array, ([[1.0, 2.0]],), {}),
        (dnp.array, np.array, ([1.0],), {"ndmin": 3}),
        (dnp.asarray, np.asarray, ([1.0, 2.0], np.float32), {}),
        (dnp.diag, np.diag, (numbers((3,)), 1), {}),
        (dnp.diag, np.diag, (numbers((3, 4)), -1), {}),
    ]
    for ours, theirs, args, kwargs in pairs:
        assert_same(ours(*args, **kwargs), theirs(*args, **kwargs))
    x = dt.dlarray(numbers((2, 3), np.float32))
    for name in ("zeros_like", "ones_like"):
        assert_same(getattr(np, name)(x), getattr(np, name)(numbers((2, 3), np.float32)))
        assert getattr(dnp, name)(x, dtype=np.float64, shape=(4,)).shape == (4,)
    assert dnp.empty((2, 3)).shape == dnp.empty_like(x).shape == (2, 3)
    assert_same(np.full_like(x, 2.0), np.full((2, 3), 2.0, np.float32))
    assert_same(np.zeros(3, like=x), np.zeros(3))
    assert dnp.array([1, 2]).dtype == np.float64
    assert dnp.asarray(x) is x
    assert dnp.array(x) is not x
    assert (dnp.pi, dnp.e, dnp.inf, dnp.newaxis) == (np.pi, np.e, np.inf, None)
    assert (dnp.float64, dnp.float32) == (np.float64, np.float32)
    assert np.isnan(dnp.nan)


def test_what_is_made_of_tracked_values_depends_on_them() -> None:
    x, y = np.asarray(0.7), np.asarray(-0.3)
    check_derivatives(lambda x, y: dnp.array([[x, 1.0], [x * y, y]]), x, y)
    check_derivatives(lambda x: dnp.full((2, 3), x), x)
    check_derivatives(lambda x, y: dnp.linspace(x, y, 5), x, y)
    check_derivatives(lambda x: dnp.linspace(x, 2.0, 5, endpoint=False), x)
    check_derivatives(lambda v: dnp.diag(v, 1), numbers((3,)))
    check_derivatives(lambda x: dnp.full_like(dt.dlarray(np.zeros(3)), x), x)
    assert_same(dnp.linspace(dt.dlarray(1.0), 2.0, 5), np.linspace(1.0, 2.0, 5), rtol=1e-15)


def test_clip_where_and_nan_to_num() -> None:
    x = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    for low, high in ((-1.0, 1.0), (None, 1.0), (-1.0, None), (np.full(5, -0.2), 0.3)):
        assert_same(dnp.clip(x, low, high), np.clip(x, low, high))
        assert_same(np.clip(dt.dlarray(x), low, high), np.clip(x, low, high))
        check_derivatives(lambda x, low=low, high=high: dnp.clip(x, low, high), x, second=False)
    assert_same(dnp.clip(x, min=-1.0), np.clip(x, min=-1.0))
    assert_same(dnp.clip(x), x)
    assert_same(dnp.where(x > 0, x, 0.0), np.where(x > 0, x, 0.0))
    for ours, theirs in zip(dnp.where(x > 0), np.where(x > 0), strict=True):
        assert_same(ours, theirs)
    with pytest.raises(TypeError, match="both x and y"):
        dnp.where(x > 0, x)
    bad = np.array([np.nan, np.inf, -np.inf, 1.0])
    options: list[dict[str, Any]] = [
        {},
        {"nan": 7.0},
        {"posinf": 1.0},
        {"nan": 2.0, "posinf": 3.0, "neginf": 4.0},
    ]
    for kwargs in options:
        assert_same(dnp.nan_to_num(bad, **kwargs), np.nan_to_num(bad, **kwargs))
        gradient = dt.grad(lambda x, kwargs=kwargs: dnp.nan_to_num(x, **kwargs).sum())(bad)
        np.testing.assert_array_equal(value(gradient), [0, 0, 0, 1])


def test_round_divmod_and_comparisons() -> None:
    x = np.array([-2.5, -1.5, -0.125, 0.5, 1.5, 1234.5678])
    for decimals in (0, 2, -2):
        assert_same(dnp.round(x, decimals), np.round(x, decimals))
        assert_same(np.around(dt.dlarray(x), decimals), np.around(x, decimals))
    for ours, theirs in zip(np.divmod(dt.dlarray(x), 0.7), np.divmod(x, 0.7), strict=True):
        assert_same(ours, theirs)
    y = x * (1 + 1e-7)
    assert dnp.allclose(x, y)
    assert not dnp.allclose(x, y + 1e-3)
    assert float(dt.grad(lambda x: x * 2 if np.allclose(x, 1.0) else x)(1.0)) == 2.0
    odd = np.array([np.nan, np.inf, -np.inf, 1.0])
    for equal_nan in (False, True):
        assert_same(dnp.isclose(odd, odd, equal_nan=equal_nan), np.isclose(odd, odd, equal_nan=equal_nan))
        assert dnp.array_equal(odd, odd, equal_nan=equal_nan) is equal_nan
    assert not dnp.array_equal(x, x[:2])


MATRICES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
]


@pytest.mark.parametrize(("a", "b"), [*MATRICES, ((), ()), ((), (3,)), ((2, 0), (0, 3)), ((4, 5, 2, 3), (3,))], ids=str)
def test_products(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    for dtype in (np.float64, np.float32):
        x, y = numbers(a, dtype), numbers(b, dtype, 1)
        assert_same(dnp.dot(x, y), np.dot(x, y))
        assert_same(np.dot(dt.dlarray(x), y), np.dot(x, y))
        if a and b:
            assert_same(dnp.matmul(x, y), np.matmul(x, y))
            assert_same(np.matmul(dt.dlarray(x), y), np.matmul(x, y))
        assert_same(dnp.outer(x, y), np.outer(x, y))
        assert_same(dnp.kron(x, y), np.kron(x, y))
        inner = np.swapaxes(y, -1, -2) if y.ndim > 1 else y
        assert_same(dnp.inner(x, inner), np.inner(x, inner))
    x, y = numbers(a), numbers(b, seed=1)
    if x.size and y.size:
        for product in (dnp.dot, dnp.outer, dnp.kron):
            check_derivatives(product, x, y)
        check_derivatives(dnp.inner, x, inner.astype(float))


def test_products_of_whole_arrays() -> None:
    x, y = numbers((3, 4)), numbers((3, 4), seed=1)
    assert_same(dnp.vdot(x, y), np.vdot(x, y))
    assert_same(dnp.vecdot(x, y), np.vecdot(x, y))
    assert_same(dnp.vecdot(x, y, axis=0), np.vecdot(x, y, axis=0))
    check_derivatives(dnp.vdot, x, y)
    check_derivatives(dnp.vecdot, x, y)


@pytest.mark.parametrize(
    "axes",
    [0, 1, 2, ((2, 0), (0, 2)), (1, 1), ((-1, 1), (0, 1)), ((), ())],
    ids=lambda a: str(a).replace(" ", ""),
)
def test_tensordot(axes: Any) -> None:
    x, y = numbers((4, 3, 2)), numbers((2, 3, 4), seed=1)
    if axes == 2:
        y = numbers((3, 2, 5), seed=1)
    assert_same(dnp.tensordot(x, y, axes), np.tensordot(x, y, axes))
    assert_same(np.tensordot(dt.dlarray(x), y, axes), np.tensordot(x, y, axes))
    check_derivatives(lambda x, y: dnp.tensordot(x, y, axes), x, y, second=axes == 1)


def test_tensordot_says_what_does_not_fit() -> None:
    with pytest.raises(dt.ShapeError, match=r"tensordot\(\(2, 3\), \(2, 3\)\).*same extent"):
        dnp.tensordot(numbers((2, 3)), numbers((2, 3)), 1)


@pytest.mark.parametrize(
    ("ord", "axis"),
    [
        (None, None),
        (None, 0),
        (None, (0, 1)),
        (1, 0),
        (2, 1),
        (3, -1),
        (np.inf, 0),
        (-np.inf, 0),
        (0.5, 1),
        (0, 1),
        ("fro", None),
        (1, None),
        (-1, None),
        (np.inf, None),
        (-np.inf, (1, 0)),
    ],
)
def test_norms(ord: Any, axis: Any) -> None:
    x = numbers((3, 4))
    for keepdims in (False, True):
        want = np.linalg.norm(x, ord, axis, keepdims)
        assert_same(dnp.linalg.norm(x, ord, axis, keepdims), want)
        assert_same(np.linalg.norm(dt.dlarray(x), ord, axis, keepdims), want)
    if ord != 0:
        check_derivatives(lambda x: dnp.linalg.norm(x, ord, axis), x)


def test_the_norm_of_zero_has_derivative_zero() -> None:
    assert value(dt.grad(np.linalg.norm)(np.zeros(3))).tolist() == [0, 0, 0]
    assert float(dt.jvp(np.linalg.norm, (np.zeros(3),), (np.ones(3),))[1]) == 0
    with pytest.raises(dt.ShapeError, match="norm"):
        dnp.linalg.norm(numbers((2, 2)), 3)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "var", "std", "cumsum", "average", "ptp"])
def test_derivatives_of_reductions(name: str, shape: tuple[int, ...]) -> None:
    x = numbers(shape, seed=4)
    for axis in (None, *range(len(shape))):
        check_derivatives(lambda x, axis=axis: getattr(dnp, name)(x, axis=axis), x)
    if name not in ("cumsum", "average") and len(shape) > 1:
        check_derivatives(lambda x: getattr(dnp, name)(x, axis=(0, 1), keepdims=True), x)


def test_derivatives_of_reductions_at_their_kinks() -> None:
    zeros = np.array([[2.0, 0.0, 3.0], [0.0, 5.0, 0.0]])
    np.testing.assert_array_equal(
        value(dt.grad(lambda x: np.prod(x, axis=1).sum())(zeros)), [[0.0, 6.0, 0.0], [0.0, 0.0, 0.0]]
    )
    ties = np.array([3.0, 1.0, 3.0, 3.0])
    np.testing.assert_array_equal(value(dt.grad(np.max)(ties)), np.array([1, 0, 1, 1]) / 3)
    np.testing.assert_array_equal(value(dt.grad(np.min)(-ties)), np.array([1, 0, 1, 1]) / 3)
    np.testing.assert_array_equal(value(dt.jvp(np.max, (ties,), (ties,))[1]), 3.0)


def test_out_is_refused_with_a_reason() -> None:
    x, out = numbers((3,)), np.empty(3)
    for name in ("sum", "cumsum", "round", "take"):
        args = ([0, 1],) if name == "take" else ()
        with pytest.raises(TypeError, match=rf"{name}: out= is not taken.*tape"):
            getattr(dnp, name)(x, *args, out=out)
    for call in (np.add, dnp.add):
        with pytest.raises(TypeError, match=r"out=.*tape"):
            call(dt.dlarray(x), x, out=out)
    with pytest.raises(TypeError, match=r"sin: the keyword 'dtype' is not taken.*astype"):
        dnp.sin(x, dtype=np.float32)
