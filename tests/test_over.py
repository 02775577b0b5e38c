# SPDX-License-Identifier: MIT
"""What a sweep goes over: order, values, products, messages."""

from __future__ import annotations

import copy
import itertools
import pickle
import tracemalloc

import numpy as np
import pytest

import dualtape as dt
from dualtape.loops._over import Over, grid, points

RATES = [0.01, 0.1, 0.2]


def mixed() -> Over:
    return points(x1=[2.0, -1.0], x2=[3.0, 0.5]) * grid(learn_rate=RATES, w=np.arange(8.0).reshape(4, 2))


# ---- shape and order --------------------------------------------------------------------------------------


def test_a_grid_is_the_outer_product_in_c_order() -> None:
    over = grid(a=[1.0, 2.0], b=RATES)
    assert (over.names, over.dims, over.shape, over.size) == (("a", "b"), ("a", "b"), (2, 3), 6)
    rows = list(itertools.product([1.0, 2.0], RATES))
    columns = over.columns()
    assert list(zip(columns["a"], columns["b"], strict=True)) == rows
    assert [tuple(over.at(i).values()) for i in range(6)] == rows


def test_points_advance_together() -> None:
    over = points(a=[1.0, 2.0, 3.0], b=RATES)
    assert (over.names, over.dims, over.shape, over.size) == (("a", "b"), ("point",), (3,), 3)
    assert over.columns()["a"].tolist() == [1.0, 2.0, 3.0]
    assert over.columns()["b"].tolist() == RATES
    assert over.at(-1) == {"a": 3.0, "b": 0.2}


def test_products_have_the_axes_of_both() -> None:
    over = mixed()
    assert over.names == ("x1", "x2", "learn_rate", "w")
    assert over.dims == ("point", "learn_rate", "w")
    assert over.shape == (2, 3, 4)
    columns = over.columns()
    assert {name: column.shape for name, column in columns.items()} == {
        "x1": (24,), "x2": (24,), "learn_rate": (24,), "w": (24, 2),
    }  # fmt: skip
    for flat, place in enumerate(np.ndindex(over.shape)):
        for one, other in ((over.at(place), over.at(flat)), (over.at(flat), {n: c[flat] for n, c in columns.items()})):
            assert all(np.array_equal(one[name], other[name]) for name in over.names)


def test_every_axis_of_points_has_a_name_of_its_own() -> None:
    over = points(a=[1.0]) * grid(b=[1.0]) * points(c=[1.0, 2.0]) * points(d=[1.0])
    assert over.dims == ("point", "b", "point_2", "point_3")
    assert (points(a=[1.0]) * grid(point=[1.0])).dims == ("point_2", "point")
    assert (points(point=[1.0])).dims == ("point_2",)


def test_products_are_associative() -> None:
    a, b, c = grid(a=RATES), points(b=[1.0, 2.0]), grid(c=[5.0])
    assert (a * b) * c == a * (b * c)
    assert grid(a=[1.0], b=[2.0]) == grid(a=[1.0]) * grid(b=[2.0])


def test_coordinates_name_what_each_hyperparameter_varies_along() -> None:
    coordinates = mixed().coordinates()
    assert {name: dims for name, (dims, _) in coordinates.items()} == {
        "x1": ("point",), "x2": ("point",), "learn_rate": ("learn_rate",), "w": ("w", "w.axis0"),
    }  # fmt: skip
    np.testing.assert_array_equal(coordinates["w"][1], np.arange(8.0).reshape(4, 2))


def test_a_large_grid_is_not_multiplied_out() -> None:
    values = np.linspace(0, 1, 10_000)
    tracemalloc.start()
    over = grid(a=values, b=values)
    assert over.size == 100_000_000
    assert over.at((9_999, 0)) == {"a": 1.0, "b": 0.0}
    assert over.at(-1) == {"a": 1.0, "b": 1.0}
    assert "100,000,000 runs" in repr(over)
    assert over == grid(a=values, b=values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


# ---- values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        ([1, 2], np.float64),
        ([True, False], np.float64),
        (range(3), np.float64),
        (np.array([1.0, 2.0], np.float32), np.float32),
        (np.array([1.0, 2.0], np.float16), np.float64),
        (np.array([1, 2], np.uint8), np.float64),
        (np.array([2.0, 1.0])[::-1], np.float64),
        ((2.0**53,), np.float64),
    ],
)
def test_dtypes(data: object, dtype: type) -> None:
    column = grid(a=data).columns()["a"]
    assert column.dtype == dtype
    np.testing.assert_array_equal(column, np.asarray(data, dtype=dtype))


def test_dlarrays_are_values() -> None:
    assert grid(a=dt.dlarray([1.0, 2.0]), b=[dt.dlarray(3.0)]).columns()["a"].tolist() == [1.0, 2.0]
    assert points(w=[dt.dlarray([1.0, 2.0])] * 3).columns()["w"].shape == (3, 2)


def test_one_run_has_python_floats() -> None:
    run = (grid(a=[0.5], b=np.ones((1, 2))) * points(c=np.array([1], np.float32))).at(0)
    assert type(run["a"]) is float
    assert type(run["b"]) is np.ndarray
    assert type(run["c"]) is np.float32


def test_an_over_keeps_its_values() -> None:
    data = np.array([1.0, 2.0])
    over = grid(a=data)
    before = hash(over)
    data[0] = 7.0
    over.columns()["a"][0] = 7.0
    with pytest.raises(ValueError, match="read-only"):
        over.coordinates()["a"][1][0] = 7.0
    w = grid(w=np.ones((2, 2)))
    w.at(0)["w"][0] = 7.0
    assert w == grid(w=np.ones((2, 2)))
    assert over == grid(a=[1.0, 2.0])
    assert hash(over) == before
    with pytest.raises(AttributeError, match=r"Over\.names cannot be set: an Over does not change"):
        over.names = ("b",)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        over.other = 1  # type: ignore[attr-defined]


def test_equality() -> None:
    assert grid(a=[0.0]) == grid(a=[-0.0])
    assert hash(grid(a=[0.0])) == hash(grid(a=[-0.0]))
    others = [
        grid(a=[1.0, 2.0]), points(a=[1.0, 2.0]), grid(b=[1.0, 2.0]), grid(a=[1.0, 3.0]), grid(a=[[1.0], [2.0]]),
        grid(a=np.array([1.0, 2.0], np.float32)), points(a=[1.0, 2.0], b=[1.0, 2.0]), grid(a=[1.0, 2.0], b=[1.0, 2.0]),
    ]  # fmt: skip
    assert len(set(others)) == len(others)
    assert grid(a=[1.0]) != 1.0


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda over: pickle.loads(pickle.dumps(over))])
def test_copies(duplicate) -> None:
    over = mixed()
    again = duplicate(over)
    assert again == over
    assert hash(again) == hash(over)
    assert again.dims == over.dims
    assert not again.coordinates()["w"][1].flags.writeable


def test_it_is_no_sequence() -> None:
    over = grid(a=RATES)
    with pytest.raises(TypeError):
        iter(over)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        over * 2  # type: ignore[operator]


def test_repr() -> None:
    assert repr(mixed()).splitlines() == [
        "points(x1, x2) * grid(learn_rate, w): 24 runs",
        "  x1          2 values, -1 to 2, along point",
        "  x2          2 values, 0.5 to 3, along point",
        "  learn_rate  3 values, 0.01 to 0.2",
        "  w           4 arrays of shape (2,), 0 to 7",
    ]
    assert repr(grid(a=[2])) == "grid(a): 1 run\n  a  1 value, 2"


# ---- misuse -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [grid, points])
@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (
            0.1,
            dt.ShapeError,
            r"an axis needs a sequence of values; got the single number 0\.1; .*sweep\(\.\.\., a=0\.1",
        ),
        ([], ValueError, r"at least one value; got shape \(0,\)"),
        ([1.0, np.nan, np.inf], ValueError, r"must be finite; got 2 that are not, the first at index 1 \(nan\)"),
        ([[1.0, 2.0], [3.0, -np.inf]], ValueError, r"got 1 that are not, the first at index \(1, 1\) \(-inf\)"),
        (["x"], dt.DTypeError, r"must be real numbers; got dtype <U1"),
        ("adam", dt.DTypeError, r"must be real numbers"),
        ([1j], dt.DTypeError, r"got dtype complex128"),
        ([None], dt.DTypeError, r"got dtype object"),
        ([2**70], dt.DTypeError, r"got dtype object"),
        ([2**53 + 1], ValueError, r"holds them exactly up to 2\*\*53; got one of 9007199254740993"),
        ([-(2**53) - 1], ValueError, r"exactly"),
        ([[1.0], [1.0, 2.0]], dt.ShapeError, r"must have one shape"),
        (np.array(["2020-01-01"], "datetime64[D]"), dt.DTypeError, r"real numbers"),
    ],
)
def test_bad_values(make, values, error, message) -> None:
    with pytest.raises(error, match=message) as caught:
        make(a=values)
    assert str(caught.value).startswith(f"{make.__name__}(a=...): ")


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(np.float64).max, reason="longdouble is float64 here")
def test_numbers_too_large_for_float64() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        grid(a=np.array(["1e400"], dtype=np.longdouble))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: grid(), ValueError, r"grid\(\): there must be something to sweep over; .*grid\(learn_rate="),
        (lambda: points(), ValueError, r"points\(\): there must be something"),
        (
            lambda: points(a=[1, 2], b=[1]),
            dt.ShapeError,
            r"points\(a, b\): rows need a value in every column; got lengths a: 2, b: 1; use grid",
        ),
        (lambda: grid(**{"x 1": [1.0]}), ValueError, "passed to the step by name; got 'x 1'; names are Python identif"),
        (
            lambda: grid(a=[1.0], b=[1.0]) * points(b=[1.0], c=[1.0]),
            ValueError,
            r"grid\(a, b\) \* points\(b, c\): a hyperparameter can be swept once; got b on both sides",
        ),
        (
            lambda: grid(a=RATES).at(3),
            IndexError,
            r"Over\.at\(3\): there is no such run; got 3 for 3 of them; .*0 to 2",
        ),
        (lambda: grid(a=RATES).at(-4), IndexError, "no such run"),
        (lambda: mixed().at((0, 3, 0)), IndexError, r"no such run; got 3 for 3 of them"),
        (lambda: mixed().at((0, 0)), IndexError, r"one index per axis; got 2 for axes of \(2, 3, 4\)"),
        (lambda: mixed().at(0.5), TypeError, r"found by integers; got float"),
        (lambda: mixed().at("x1"), TypeError, r"found by integers; got str"),
    ],
)
def test_misuse(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
