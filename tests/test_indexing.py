# SPDX-License-Identifier: MIT
"""Reading and assigning elements: every kind of index against NumPy on the same key, views in both directions, and
assignment inside differentiated functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numeric import check_derivatives, value

import dualtape as dt

SHAPE = (3, 4, 5)
MASK = np.arange(60).reshape(SHAPE) % 3 == 0
PLAIN: list[Any] = [
    0,
    -1,
    np.int64(2),
    (1, 2),
    (1, 2, 3),
    (-1, -1, -1),
    slice(None),
    slice(1, 3),
    slice(None, None, -1),
    slice(5, 0, -2),
    slice(2, 2),
    slice(10, 20),
    (slice(None), 1),
    (slice(None), slice(1, None, 2), 0),
    (slice(None, None, 2), slice(None, None, -1), slice(4, None, -3)),
    ...,
    (..., 0),
    (0, ..., 1),
    (..., slice(1, 3), slice(None)),
    None,
    (None, 0, None),
    (slice(None), None, ..., None, 2),
    (),
]
ADVANCED: list[Any] = [
    [0, 2],
    [2, 0, 0, -1],
    np.array([[0, 1], [2, 2]]),
    (slice(None), [3, 1]),
    (slice(None), slice(1, 3), [0, 0, 4]),
    (..., [1, 1]),
    ([0, 1], [2, 3]),
    ([0, 1], [2, 3], [4, 0]),
    ([0, 1], slice(None), [4, 0]),
    (1, [2, 3]),
    ([0, 2], 1),
    (slice(None), [0, 1], 2),
    (np.array([[0], [2]]), [1, 3]),
    ([0, 1], None, [2, 3]),
    (None, [0, 1]),
    MASK,
    MASK[:, 0, 0],
    (slice(None), MASK[0, :, 0]),
    MASK[:, :, 0],
    (MASK[:, :, 0], 2),
    (0, MASK[0]),
    (MASK[:, 0, 0], slice(1, 3), MASK[0, 0]),
    np.ones(SHAPE, dtype=bool),
    np.zeros(SHAPE, dtype=bool),
    np.array([], dtype=int),
    [],
    [True, False, True],
]
KEYS = PLAIN + ADVANCED


def name(key: Any) -> str:
    return str(key).replace("\n", "").replace(" ", "")[:40]


def numbers(shape: tuple[int, ...] = SHAPE, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def as_dlarrays(key: Any) -> Any:
    """The same key with dlarrays in place of integer and boolean ndarrays."""
    if isinstance(key, tuple):
        return tuple(map(as_dlarrays, key))
    return dt.dlarray(key) if isinstance(key, np.ndarray) else key


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, bool])
@pytest.mark.parametrize("key", KEYS, ids=name)
def test_reading(key: Any, dtype: Any) -> None:
    x = (10 * numbers()).astype(dtype)
    want = x[key]
    for form in (key, as_dlarrays(key)):
        got = dt.dlarray(x)[form]
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(value(got), want)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("key", KEYS, ids=name)
def test_assigning(key: Any, dtype: Any) -> None:
    """A number, an array of the place's shape, one that broadcasts, and a dlarray, each into a fresh array."""
    place = numbers(dtype=dtype)[key]
    rng = np.random.default_rng(1)
    values = [7.0, rng.normal(size=place.shape), rng.normal(size=place.shape[-1:]).astype(np.float32)]
    for new in [*values, *map(dt.dlarray, values)]:
        x, d = numbers(dtype=dtype), dt.dlarray(numbers(dtype=dtype))
        x[key] = value(new)
        d[key] = new
        assert d.dtype == dtype
        np.testing.assert_array_equal(value(d), x)


@pytest.mark.parametrize("key", KEYS, ids=name)
def test_derivatives_of_reading(key: Any) -> None:
    check_derivatives(lambda x: np.sin(x)[key] if np.size(numbers()[key]) else x.sum(), numbers(), second=False)


@pytest.mark.parametrize("key", [k for k in KEYS if np.size(numbers()[k])], ids=name)
def test_derivatives_of_assigning(key: Any) -> None:
    """With respect to what is assigned and to what is assigned into, with the array read before and
    afterwards.
    """

    def f(x: Any, new: Any) -> Any:
        y = x * 1.0
        before = (y * y).sum()
        y[key] = np.sin(new)
        return y * x + before

    place = numbers()[key]
    unique = np.unique(np.arange(60).reshape(SHAPE)[key]).size == place.size
    # With positions that occur twice the last one counts, for a value of one element as well.
    check_derivatives(f, numbers(), np.random.default_rng(2).normal(size=place.shape if unique else ()))


def test_the_last_assignment_to_a_position_counts() -> None:
    def f(x: Any, new: Any) -> Any:
        y = x * 1.0
        y[[0, 1, 0]] = new
        return y

    x, new = np.zeros(3), np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(value(f(dt.dlarray(x), dt.dlarray(new))), [3.0, 2.0, 0.0])
    gradient = dt.grad(lambda new: f(dt.dlarray(x), new).sum())(new)
    np.testing.assert_array_equal(value(gradient), [0.0, 1.0, 1.0])
    np.testing.assert_array_equal(value(dt.grad(lambda x: f(x, new).sum())(x)), [0.0, 0.0, 1.0])
    # Reading a position twice gives its derivative twice.
    np.testing.assert_array_equal(value(dt.grad(lambda x: x[[0, 1, 0]].sum())(x)), [2.0, 1.0, 0.0])


VIEWS: list[tuple[str, Callable[[Any], Any]]] = [
    ("row", lambda x: x[1]),
    ("slice", lambda x: x[:, 1:3]),
    ("strided", lambda x: x[::2, ::-1]),
    ("new axis", lambda x: x[None, :, 0]),
    ("transpose", lambda x: x.T),
    ("transpose of axes", lambda x: x.transpose(1, 2, 0)),
    ("swapaxes", lambda x: x.swapaxes(0, 1)),
    ("reshape", lambda x: x.reshape(12, 5)),
    ("ravel", lambda x: x.ravel()),
    ("squeeze", lambda x: x[:1].squeeze(0)),
    ("expand_dims", lambda x: np.expand_dims(x, 0)),
    ("moveaxis", lambda x: np.moveaxis(x, 0, -1)),
    ("view of a view", lambda x: x[1:][0].T[:, 1]),
    ("transposed reshape", lambda x: x.reshape(12, 5).T[1:3]),
    ("copy", lambda x: x.copy()),
    ("take", lambda x: x[[0, 1]]),
    ("mask", lambda x: x[x == x]),
    ("reshape that copies", lambda x: x.T.reshape(60)),
    ("computed", lambda x: x + 0.0),
]


@pytest.mark.parametrize(("kind", "make"), VIEWS, ids=[kind for kind, _ in VIEWS])
def test_views_follow_in_both_directions_as_in_numpy(kind: str, make: Callable[[Any], Any]) -> None:
    x, d = numbers(), dt.dlarray(numbers())
    v, w = make(x), make(d)
    x[1, 2] = 5.0
    d[1, 2] = 5.0
    np.testing.assert_array_equal(value(w), v)  # forwards: the base was assigned to
    v[...] = v * 2
    w[...] = w * 2
    np.testing.assert_array_equal(value(d), x)  # backwards: the view was assigned to
    v[0], w[0] = 9.0, 9.0
    x[-1], d[-1] = 3.0, 3.0
    np.testing.assert_array_equal(value(w), v)
    np.testing.assert_array_equal(value(d), x)


@pytest.mark.parametrize(("kind", "make"), VIEWS, ids=[kind for kind, _ in VIEWS])
def test_derivatives_through_views(kind: str, make: Callable[[Any], Any]) -> None:
    def f(x: Any, new: Any) -> Any:
        y = x * 1.0
        view = make(y)
        total = (view * 3.0).sum()
        view[...] = view * new
        y[1, 2] = new * new
        return np.concatenate([np.ravel(y * x), np.ravel(view)]) * total

    check_derivatives(f, numbers() + 0.1, np.asarray(0.7), rtol=1e-5)


def test_siblings_see_each_other() -> None:
    x, d = numbers(), dt.dlarray(numbers())
    a, b, c, e = x[0], x[:, 1], d[0], d[:, 1]
    a[1], c[1] = 4.0, 4.0
    np.testing.assert_array_equal(value(e), b)
    b[...] = b + 1.0
    e[...] = e + 1.0
    np.testing.assert_array_equal(value(c), a)
    np.testing.assert_array_equal(value(d), x)


def test_a_loop_that_fills_an_array() -> None:
    """The seed of many a simulation: B[i, j] = f(B[i - 1, j], ...) inside dlfeval."""

    def f(a: Any) -> Any:
        b = dt.dlarray(np.zeros((4, 3)))
        for i in range(4):
            for j in range(3):
                before = b[i - 1, j] if i else a[j]
                b[i, j] = np.sin(before) * a[j] + (b[i, j - 1] if j else 0.0)
        b[3] = b[3] * b[0]
        return b

    def by_hand(a: Any) -> Any:
        rows: list[list[Any]] = []
        for i in range(4):
            row: list[Any] = []
            for j in range(3):
                before = rows[i - 1][j] if i else a[j]
                row.append(np.sin(before) * a[j] + (row[j - 1] if j else 0.0))
            rows.append(row)
        rows[3] = [x * y for x, y in zip(rows[3], rows[0], strict=True)]
        return dt.numpy.array(rows)

    a = np.array([0.3, -0.8, 1.2])
    check_derivatives(f, a)

    def loss(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def evaluate(a: Any) -> Any:
            y = (make(a) ** 2).sum()
            return y, dt.dlgradient(y, a)

        return evaluate

    (y, dy), (z, dz) = (dt.dlfeval(loss(make), dt.dlarray(a)) for make in (f, by_hand))
    np.testing.assert_allclose(float(y), float(z), rtol=1e-14)
    np.testing.assert_allclose(value(dy), value(dz), rtol=1e-13)


def test_overwritten_values_keep_their_part_in_what_was_computed_from_them() -> None:
    def f(x: Any) -> Any:
        y = x * 2.0
        square = y[0] * y[0]
        y[0] = 100.0  # a constant now
        y[1] = y[1] * y[0]
        y[1] = y[1] + square
        return y.sum()

    x = np.array([3.0, 5.0, 7.0])
    assert float(f(dt.dlarray(x))) == 100.0 + (10.0 * 100.0 + 36.0) + 14.0
    np.testing.assert_array_equal(value(dt.grad(f)(x)), [24.0, 200.0, 2.0])


def test_an_argument_that_is_assigned_to_inside() -> None:
    """The tracked argument becomes another value; the gradient is with respect to what came in."""

    def f(x: Any) -> Any:
        whole = x * 1.0
        whole[0] = whole[1] ** 2
        whole[1] = 2.0
        return (whole * whole).sum()

    np.testing.assert_allclose(value(dt.grad(f)(np.array([1.0, 3.0]))), [0.0, 4 * 27.0])


def test_the_callers_array_is_not_touched_by_a_differentiated_function() -> None:
    x = dt.dlarray(np.arange(3.0))

    def f(x: Any) -> Any:
        x[0] = 10.0
        return (x * x).sum()

    np.testing.assert_array_equal(value(dt.grad(f)(x)), [0.0, 2.0, 4.0])
    np.testing.assert_array_equal(value(x), [0.0, 1.0, 2.0])
    source = np.arange(3.0)
    d = dt.dlarray(source)
    d[0] = 5.0
    assert source[0] == 0.0


def test_an_array_from_outside_that_is_filled_inside_ends_as_plain_numbers() -> None:
    store = dt.dlarray(np.zeros(2))

    def f(x: Any) -> Any:
        store[0] = x * x
        store[1] = 3.0
        return dt.dlgradient(store.sum(), x)

    assert float(dt.dlfeval(f, dt.dlarray(2.0))) == 4.0
    assert not store.tracked
    np.testing.assert_array_equal(value(store), [4.0, 3.0])


def test_single_precision_stays_single() -> None:
    def f(x: Any) -> Any:
        y = x * 1.0
        y[1] = np.float64(0.1)
        y[2:] = x[:2] * 2.0
        return y

    out, tangent = dt.jvp(f, (np.ones(4, np.float32),), (np.ones(4, np.float32),))
    assert (out.dtype, tangent.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(value(tangent), [1, 0, 2, 2])
    assert dt.grad(lambda x: f(x).sum())(np.ones(4, np.float32)).dtype == np.float32


def test_in_place_arithmetic() -> None:
    x, d = numbers(), dt.dlarray(numbers())
    x[1] += 2.0
    d[1] += 2.0
    x[:, 0] *= x[:, 1]
    d[:, 0] *= d[:, 1]
    np.testing.assert_array_equal(value(d), x)
    same = d
    d += 1.0  # binds the name to a new array, unlike NumPy: what was traced stays as it was
    np.testing.assert_array_equal(value(same), x)


def test_integer_and_boolean_arrays() -> None:
    i = dt.dlarray(np.arange(4))
    i[1] = 7
    assert (i.dtype, i.tolist()) == (np.int64, [0, 7, 2, 3])
    b = dt.dlarray(np.zeros(3, dtype=bool))
    b[1:] = True
    assert b.tolist() == [False, True, True]
    x = dt.dlarray([10.0, 20.0, 30.0])
    assert x[i[0]].tolist() == 10.0
    assert x[i[:1]].tolist() == [10.0]
    assert x[b].tolist() == [20.0, 30.0]
    assert x[x > 15].tolist() == [20.0, 30.0]
    with pytest.raises(dt.DTypeError, match="int64 array, which has no derivatives"):
        dt.grad(lambda x: i.__setitem__(0, x))(1.0)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (3, "3 is out of range for axis 0 of extent 3"),
        ((0, -5), "-5 is out of range for axis 1 of extent 4"),
        ((0, 0, 0, 0), "too many indices"),
        ((0, 0, 0, slice(None)), "too many indices"),
        ((..., ...), "only one Ellipsis"),
        ([0, 3], "out of (range|bounds)"),
        (([0, 1], [0, 4]), "out of (range|bounds)"),
        (([0, 1], [0, 1, 2]), "broadcast"),
        (np.zeros(2, dtype=bool), "mask|boolean"),
        (np.zeros((3, 3), dtype=bool), "mask|boolean"),
        (1.0, "only integers"),
        ("a", "only integers|text"),
        ([0.5], "only integers|integer"),
    ],
    ids=name,
)
def test_keys_that_do_not_fit(key: Any, message: str) -> None:
    d = dt.dlarray(numbers())
    with pytest.raises((IndexError, dt.DTypeError, dt.ShapeError), match=message):
        d[key]
    with pytest.raises((IndexError, dt.DTypeError, dt.ShapeError), match=message):
        d[key] = 0.0
    np.testing.assert_array_equal(value(d), numbers())


def test_values_that_do_not_fit() -> None:
    d = dt.dlarray(numbers())
    for key in (0, (slice(None), 0), [0, 1], MASK):
        with pytest.raises(dt.ShapeError, match=r"assignment\(.*does not fit the place|assignment"):
            d[key] = np.zeros(17)
    with pytest.raises(dt.DTypeError, match="deleted"):
        del d[0]
    with pytest.raises(dt.DTypeError, match="text"):
        d[0] = "a"
    with pytest.raises(dt.DTypeError, match="complex"):
        d[0] = 1j
    np.testing.assert_array_equal(value(d), numbers())


def test_labels_follow_the_axes() -> None:
    d = dt.dlarray(numbers(), "SCB")
    assert [dt.dims(d[key]) for key in (0, slice(1), (slice(None), 0), ..., None)] == ["CB", "SCB", "SB", "SCB", "USCB"]
    assert dt.dims(d[:, [0, 1]]) == "SCB"


def test_scalars() -> None:
    d = dt.dlarray(2.0)
    assert float(d[()]) == 2.0
    assert d[None].shape == (1,)
    d[()] = 5.0
    d[...] = d + 1.0
    assert float(d) == 6.0
    with pytest.raises(IndexError, match="too many"):
        d[0]
