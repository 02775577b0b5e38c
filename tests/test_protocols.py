# SPDX-License-Identifier: MIT
"""A dlarray among others: NumPy's functions, ndarrays on either side, DLPack, buffers, pickles, and Python
itself.
"""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
from numeric import check_derivatives, value

import dualtape as dt
import dualtape.scipy.special as special


def numbers(*shape: int) -> Any:
    return np.random.default_rng(0).uniform(0.2, 2.0, size=shape)


def tracked(action: Callable[[Any], Any], x: Any = (1.0, 2.0)) -> Any:
    """Runs an action on a value that is being differentiated."""
    return dt.dlfeval(action, dt.dlarray(np.asarray(x)))


OPERATORS = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow),
    *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge, operator.matmul, divmod),
]


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: op.__name__)
def test_ndarrays_and_numbers_on_either_side(op: Callable[[Any, Any], Any]) -> None:
    x, y = numbers(3), numbers(3)[::-1].copy()
    cases: list[tuple[Any, Any]] = [(x, y)]
    if op is not operator.matmul:
        cases += [(x, 1.5), (2, x), (x, np.float64(0.5)), (np.float32(0.5), x), (x, np.array(0.5))]
    for a, b in cases:
        want = op(a, b)
        variants = [(dt.dlarray(a), b), (a, dt.dlarray(b)), (dt.dlarray(a), dt.dlarray(b))]
        for left, right in variants:
            if not isinstance(left, dt.dlarray) and not isinstance(right, dt.dlarray):
                continue
            got = op(left, right)
            for g, w in zip(got, want, strict=True) if op is divmod else [(got, want)]:
                assert isinstance(g, dt.dlarray)
                np.testing.assert_allclose(value(g), w, rtol=1e-15)


def test_numpys_functions_give_dlarrays() -> None:
    x = dt.dlarray(numbers(3, 4))
    for y in (np.sin(x), np.sum(x), np.add(numbers(4), x), np.matmul(x, numbers(4)), np.stack([x, x]), np.abs(x)):
        assert isinstance(y, dt.dlarray)
    check_derivatives(lambda x: np.sum(np.sin(x) * np.ones((3, 4)), axis=0), numbers(3, 4))
    check_derivatives(lambda x: numbers(3) / x - 2.0**x, numbers(3))


def test_methods_of_ufuncs() -> None:
    x, y = numbers(3, 4), numbers(2)
    d = dt.dlarray(x)
    for ufunc in (np.add, np.multiply, np.maximum, np.minimum):
        for kwargs in ({}, {"axis": 1}, {"axis": None}, {"axis": (0, 1), "keepdims": True}):
            got = ufunc.reduce(d, **kwargs)
            assert isinstance(got, dt.dlarray)
            np.testing.assert_allclose(value(got), ufunc.reduce(x, **kwargs))
        np.testing.assert_allclose(value(ufunc.outer(d, y)), ufunc.outer(x, y))
        check_derivatives(lambda x, ufunc=ufunc: ufunc.reduce(x), x, second=False)
        check_derivatives(lambda x, y, ufunc=ufunc: ufunc.outer(x, y), x, y + 0.01, second=False)
    np.testing.assert_allclose(value(np.add.accumulate(d)), np.add.accumulate(x))
    np.testing.assert_allclose(value(np.add.accumulate(d, 1)), np.add.accumulate(x, 1))
    assert np.logical_and.reduce(d > 0).tolist() == [True] * 4
    assert np.sin(d, dtype=np.float32).dtype == np.float32
    with pytest.raises(TypeError, match="where= is not taken"):
        np.sin(d, where=x > 1)
    np.testing.assert_allclose(value(np.multiply.accumulate(d, 1)), np.multiply.accumulate(x, 1))
    check_derivatives(lambda x: np.multiply.accumulate(x), x)
    with pytest.raises(TypeError, match="out="):
        np.add(x, d, out=x)
    with pytest.raises(TypeError, match="out="):
        x += d


def test_functions_that_dualtape_lacks_work_on_constants_only() -> None:
    x = dt.dlarray(numbers(3, 3))
    np.testing.assert_allclose(np.linalg.eigvals(x), np.linalg.eigvals(value(x)))
    assert isinstance(np.spacing(x), np.ndarray)
    assert np.allclose(x, x)
    for function in (
        np.linalg.eigvals,
        np.spacing,
        lambda x: np.trim_zeros(x[0]),
        lambda x: np.histogram(x, bins=3),
        lambda x: np.fft.rfft(x),
    ):
        with pytest.raises(dt.TraceError, match=r"(has no derivative of this function|are complex).*extractdata"):
            tracked(function, numbers(3, 3))
        with pytest.raises(dt.TraceError, match=r"has no derivative|are complex"):
            dt.jvp(function, (numbers(3, 3),), (numbers(3, 3),))
    # Cut off on purpose, it goes.
    assert tracked(lambda x: np.linalg.det(dt.extractdata(x)), numbers(3, 3)) == np.linalg.det(numbers(3, 3))


SPECIAL = ["digamma", "erf", "erfc", "expit", "gammaln", "log_expit", "psi"]


@pytest.mark.parametrize("name", SPECIAL)
def test_scipys_ufuncs_come_to_dualtape(name: str) -> None:
    x = numbers(5)
    want = getattr(scipy.special, name)(x)
    for got in (getattr(special, name)(x), getattr(scipy.special, name)(dt.dlarray(x))):
        assert isinstance(got, dt.dlarray)
        np.testing.assert_allclose(value(got), want, rtol=1e-13, atol=1e-15)
    check_derivatives(getattr(scipy.special, name), x)


def test_scipys_other_functions() -> None:
    x, y = numbers(3, 4), numbers(3, 4) + 0.3
    np.testing.assert_allclose(value(scipy.special.xlogy(x, dt.dlarray(y))), scipy.special.xlogy(x, y))
    for n in (0, 1, 2, np.array([1, 2, 3, 4])):
        np.testing.assert_allclose(value(special.polygamma(n, x)), scipy.special.polygamma(n, x), rtol=1e-12)
        check_derivatives(lambda x, n=n: special.polygamma(n, x), x)
    for axis in (None, 0, -1, (0, 1)):
        for f in ("softmax", "log_softmax"):
            ours, theirs = getattr(special, f), getattr(scipy.special, f)
            np.testing.assert_allclose(value(ours(x, axis)), theirs(x, axis), rtol=1e-13)
            check_derivatives(lambda x, ours=ours, axis=axis: ours(x, axis), x)
        for b in (None, y, 0.5):
            for keepdims in (False, True):
                want = scipy.special.logsumexp(x, axis, b, keepdims)
                np.testing.assert_allclose(value(special.logsumexp(x, axis, b, keepdims)), want, rtol=1e-13)
        check_derivatives(lambda x, b, axis=axis: special.logsumexp(x, axis, b), x, y)
    assert [name for name in special.__all__ if not hasattr(scipy.special, name) and name != "softplus"] == []
    with pytest.raises(dt.TraceError, match="has no derivative"):
        tracked(scipy.special.gamma)


def test_asarray_of_a_constant_is_a_read_only_view() -> None:
    x = dt.dlarray(numbers(2, 3))
    a = np.asarray(x)
    assert not a.flags.writeable
    assert np.shares_memory(a, np.asarray(x))
    x[0, 0] = 7.0
    assert np.asarray(x)[0, 0] == 7.0
    assert np.array(x).flags.writeable
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    assert np.asarray(dt.dlarray(2.0)) == 2.0
    fresh = x.numpy()
    fresh[0, 0] = 1.0
    assert float(x[0, 0]) == 7.0


@pytest.mark.parametrize(
    "way_out",
    [
        np.asarray,
        np.array,
        lambda x: x.numpy(),
        pickle.dumps,
        np.from_dlpack,
        memoryview,
        lambda x: np.frombuffer(x),
        lambda x: np.array([x, x]),
    ],
    ids=["asarray", "array", "numpy", "pickle", "dlpack", "memoryview", "frombuffer", "list"],
)
def test_a_tracked_array_does_not_lose_its_derivative_silently(way_out: Callable[[Any], Any]) -> None:
    for run in (tracked, lambda f: dt.jvp(f, (np.ones(2),), (np.ones(2),))):
        with pytest.raises(dt.TraceError, match=r"being differentiated.*extractdata"):
            run(way_out)


def test_dlpack_both_ways() -> None:
    for x in (numbers(2, 3), numbers(3).astype(np.float32), np.arange(4), numbers(4, 4)[::2, ::-1]):
        d = dt.dlarray(x)
        assert d.__dlpack_device__() == (1, 0)
        back = np.from_dlpack(d)
        assert back.dtype == x.dtype
        np.testing.assert_array_equal(back, x)

        class Foreign:
            def __init__(self, array: Any) -> None:
                self.array = array

            def __dlpack__(self, **kwargs: Any) -> Any:
                return self.array.__dlpack__(**kwargs)

            def __dlpack_device__(self) -> Any:
                return self.array.__dlpack_device__()

        np.testing.assert_array_equal(value(dt.dlarray(Foreign(x))), x)
        np.testing.assert_array_equal(value(d + Foreign(x)), x + x)


def test_buffers() -> None:
    x = numbers(2, 3)
    view = memoryview(dt.dlarray(x))
    assert (view.shape, view.format, view.readonly) == ((2, 3), "d", True)
    np.testing.assert_array_equal(np.asarray(view), x)
    with pytest.raises((BufferError, ValueError, TypeError)):
        np.frombuffer(dt.dlarray(x), dtype=float).__setitem__(0, 1.0)
    assert dt.dlarray(memoryview(x)).shape == (2, 3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, bool])
def test_pickle_and_copy(dtype: Any) -> None:
    for shape in ((), (3,), (2, 0)):
        d = dt.dlarray(numbers(*shape).astype(dtype))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(d, protocol))
            assert (again.shape, again.dtype, again.dims) == (d.shape, d.dtype, "")
            np.testing.assert_array_equal(value(again), value(d))
        for twin in (copy.copy(d), copy.deepcopy(d), d.copy()):
            assert twin is not d
            assert twin.dtype == d.dtype
            if d.size:
                twin[...] = 0
                np.testing.assert_array_equal(value(d), numbers(*shape).astype(dtype))
    labelled = pickle.loads(pickle.dumps(dt.dlarray(np.ones((2, 3)), "CB")))
    assert labelled.dims == "CB"


def test_hash_is_identity() -> None:
    a, b = dt.dlarray([1.0]), dt.dlarray([1.0])
    assert hash(a) == hash(a)
    assert len({a, b, a}) == 2
    assert {a: "x"}[a] == "x"


def test_repr_and_format() -> None:
    assert repr(dt.dlarray(2.0)) == "dlarray(2.0)"
    assert repr(dt.dlarray([1.0, 2.5])) == "dlarray([1. , 2.5])"
    assert repr(dt.dlarray(np.float32(1.5))) == "dlarray(1.5, dtype=float32)"
    assert "dtype=int64" in repr(dt.dlarray(np.arange(2)))
    assert repr(dt.dlarray(np.zeros((2, 2)), "CB")).endswith(", 'CB')")
    assert "tracked" in tracked(repr)
    seen = []
    dt.jvp(lambda x: (seen.append(repr(x)), x)[1], (1.0,), (1.0,))
    assert "dual" in seen[0]
    assert str(dt.dlarray([1.0, 2.0])) == "[1. 2.]"
    assert f"{dt.dlarray(3.14159):.2f} {dt.dlarray([2.0]):6.1f} {dt.dlarray(2.0)}" == "3.14    2.0 2.0"
    assert tracked(np.array2string) == tracked(np.array_str) == "[1. 2.]"
    assert np.can_cast(dt.dlarray([1.0]).dtype, np.float64)
    with pytest.raises(dt.ShapeError, match="one element"):
        format(dt.dlarray([1.0, 2.0]), ".2f")


def test_iteration_len_in_and_truth() -> None:
    d = dt.dlarray([[1.0, 2.0], [3.0, 4.0]])
    assert len(d) == 2
    assert [row.tolist() for row in d] == [[1.0, 2.0], [3.0, 4.0]]
    a, b = d[0]
    assert (float(a), float(b)) == (1.0, 2.0)
    assert 3.0 in d[1]
    assert 5.0 not in d[1]
    assert list(reversed(d[0].tolist())) == [2.0, 1.0]
    with pytest.raises(TypeError, match="scalar"):
        len(dt.dlarray(1.0))
    with pytest.raises(TypeError, match="scalar"):
        iter(dt.dlarray(1.0))
    assert bool(dt.dlarray(1.0))
    assert not dt.dlarray([0.0])
    with pytest.raises(dt.ShapeError, match=r"\.any\(\) or \.all\(\)"):
        bool(d)
    check_derivatives(lambda x: sum(row[0] * row[1] for row in x), numbers(3, 2))


def test_pythons_own_functions_of_sequences() -> None:
    x = numbers(4)
    d = dt.dlarray(x)
    assert float(sum(d)) == sum(x)
    assert (float(max(d)), float(min(d))) == (max(x), min(x))
    assert [float(v) for v in sorted(d)] == sorted(x)
    assert [float(v) for v in reversed(d)] == list(reversed(x))
    assert float(round(d[0], 2)) == round(x[0], 2)
    for f in (lambda x: sum(x) * max(x) - min(x), lambda x: sorted(x)[1] * 2.0):
        check_derivatives(f, x)
        program = dt.trace(f, x)
        np.testing.assert_allclose(value(program(x[::-1].copy())), value(f(dt.dlarray(x[::-1].copy()))), rtol=1e-15)
    grid = dt.dlarray([[1.0, 2.0], [3.0, 4.0]])
    assert 3.0 in grid
    assert 5.0 not in grid
    assert [1.0, 7.0] in grid  # (as in NumPy: any element is equal)
    assert None not in grid


METHODS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("flatten", (), {}),
    ("flatten", ("F",), {}),
    ("dot", (numbers(4),), {}),
    ("clip", (0.5, 1.5), {}),
    ("clip", (), {"max": 1.0}),
    ("round", (1,), {}),
    ("cumprod", (1,), {}),
    ("diagonal", (1,), {}),
    ("trace", (), {}),
    ("repeat", (2,), {"axis": 0}),
    ("conj", (), {}),
    ("nonzero", (), {}),
    ("argpartition", (3,), {"axis": None}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), METHODS, ids=lambda x: str(x))
def test_methods_of_ndarray(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    x = numbers(3, 4)
    got, want = getattr(dt.dlarray(x), name)(*args, **kwargs), getattr(x, name)(*args, **kwargs)
    if name == "argpartition":
        got, want = x.ravel()[value(got)[:4]].max(), x.ravel()[want[:4]].max()
    np.testing.assert_allclose([value(g) for g in got] if isinstance(got, tuple) else value(got), want)


def test_methods_that_assign_and_parts_of_complex_numbers() -> None:
    x = numbers(3, 4)
    d = dt.dlarray(x)
    assert d.real is d
    np.testing.assert_array_equal(value(d.imag), np.zeros((3, 4)))
    flat = d.flatten()
    flat[0] = 9.0
    assert float(d[0, 0]) == x[0, 0]
    d.sort(axis=0)
    np.testing.assert_array_equal(value(d), np.sort(x, axis=0))
    d.fill(2.0)
    assert value(d).tolist() == [[2.0] * 4] * 3


def filled(x: Any, array: Any = None) -> Any:
    array = np.zeros(3) if array is None else array
    for i in range(2):
        array[i + 1] = x[i] * x[i]
    return array.sum()


def noted(x: Any) -> Any:
    seen = np.zeros(2)
    for i in range(2):
        seen[i] = float(x[i])
    assert seen.tolist() == [0.5, 1.5]
    return x.sum()


def test_arrays_of_scalars_fail_loudly_or_keep_the_derivative() -> None:
    x = np.array([0.5, 1.5])
    for run in (lambda f: dt.grad(f)(x), lambda f: dt.jvp(f, (x,), (x,)), lambda f: dt.trace(f, x)):
        for make in (np.array, np.asarray, np.array):
            with pytest.raises(dt.TraceError, match=r"extractdata|frozen"):
                run(lambda x, make=make: make([x[0], 2.0, x[1]]).sum())
        with pytest.raises(dt.TraceError):
            run(lambda x: np.array([[x[0], 0.0], [0.0, x[1]]]).sum())
        with pytest.raises(dt.TraceError):
            run(lambda x: np.add(np.zeros(2), [x[0], 1.0]))
    for keep in (dt.numpy.array, np.stack):
        check_derivatives(lambda x, keep=keep: keep([x[0] * x[1], dt.numpy.asarray(2.0), x[1]]), x)
    # An ndarray cannot take the value in, either.
    with pytest.raises(ValueError, match="array element") as caught:  # (as NumPy words it)
        dt.grad(filled)(x)
    assert isinstance(caught.value.__cause__, dt.TraceError)
    assert "dualtape.numpy.zeros" in str(caught.value.__cause__)
    check_derivatives(lambda x: filled(x, dt.numpy.zeros(3)), x)
    assert value(dt.grad(noted)(x)).tolist() == [1.0, 1.0]


def test_numbers_of_python() -> None:
    d = dt.dlarray(2.75)
    assert (float(d), int(d), d.item()) == (2.75, 2, 2.75)
    assert dt.dlarray([[5.0]]).item() == 5.0
    assert dt.dlarray([1.0, 2.0]).item(1) == 2.0
    assert dt.dlarray(np.arange(3))[2].item() == 2
    assert range(5)[dt.dlarray(np.int64(3))] == 3
    for convert in (float, int):
        with pytest.raises(dt.ShapeError, match="one element"):
            convert(dt.dlarray([1.0, 2.0]))
    with pytest.raises(TypeError, match="integer"):
        range(5)[d]
    assert tracked(lambda x: float(x), 1.5) == 1.5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("1.0", "text"),
        (b"1", "text"),
        (1j, "complex"),
        (np.ones(2, dtype=complex), "complex"),
        (np.array(["a"]), "text"),
        (np.array([object()]), "Python objects"),
        (None, "NoneType"),
        ({1.0}, "set"),
        ({"a": 1.0}, "dict"),
        ([[1.0], [1.0, 2.0]], "regular array"),
        (np.array(["2020"], dtype="M8"), "datetime64"),
    ],
    ids=str,
)
def test_data_that_cannot_be_computed_with(data: Any, message: str) -> None:
    with pytest.raises(dt.DTypeError, match=message):
        dt.dlarray(data)
    if not isinstance(data, list):
        with pytest.raises(TypeError):
            dt.dlarray([1.0]) + data


def test_sparse_arrays_are_refused() -> None:
    import scipy.sparse

    with pytest.raises(dt.DTypeError, match=r"sparse.*toarray"):
        dt.dlarray(scipy.sparse.eye_array(3))
    with pytest.raises(dt.DTypeError, match="sparse"):
        dt.dlarray(np.eye(3)) + scipy.sparse.eye_array(3)


def test_other_types_may_take_over() -> None:
    class Other:
        def __radd__(self, x: Any) -> str:
            return "other"

        def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> str:
            return "other"

    assert dt.dlarray([1.0]) + Other() == "other"
    assert np.linalg.tensorsolve(dt.dlarray(np.eye(2)), Other()) == "other"
