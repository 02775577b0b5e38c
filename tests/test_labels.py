# SPDX-License-Identifier: MIT
"""Labels: how formats are read, how labelled arrays meet in elementwise ops, and that derivatives pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numeric import check_derivatives, value

import dualtape as dt
import dualtape.numpy as dnp
from dualtape import _core


def numbers(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape)


@pytest.mark.parametrize(
    ("shape", "fmt", "wanted", "axes"),
    [
        ((3, 4), "TS", "ST", (1, 0)),
        ((5, 4, 3, 2), "TSSU", "SSTU", (1, 2, 0, 3)),
        ((2, 3, 4), "BCS", "SCB", (2, 1, 0)),
        ((2, 3, 4), "SSS", "SSS", (0, 1, 2)),
        ((2, 3, 4), "USU", "SUU", (1, 0, 2)),
        ((2, 3), "CB", "CB", (0, 1)),
    ],
)
def test_axes_are_brought_into_order(shape: tuple[int, ...], fmt: str, wanted: str, axes: tuple[int, ...]) -> None:
    x = numbers(*shape)
    d = dt.dlarray(x, fmt)
    assert dt.dims(d) == d.dims == wanted
    np.testing.assert_array_equal(value(d), x.transpose(axes))
    # A new format takes the place of the old one, and goes by the order in which the axes are now.
    assert dt.dims(dt.dlarray(d, "U" * len(shape))) == "U" * len(shape)


def test_longer_formats_and_vectors() -> None:
    assert dt.dlarray(numbers(3, 4), "SSCB").shape == (3, 4, 1, 1)
    d = dt.dlarray(numbers(3, 4), "CBS")
    assert (d.shape, d.dims) == ((1, 3, 4), "SCB")
    for vector in (numbers(5), numbers(5, 1), numbers(1, 5)):
        d = dt.dlarray(vector, "T")
        assert (d.shape, d.dims) == ((5, 1), "TU")
    scalar = dt.dlarray(2.0, "C")
    assert (scalar.shape, scalar.dims) == ((1,), "C")
    assert dt.dims(dt.dlarray(numbers(2), "")) == ""
    assert dt.dlarray(dt.dlarray(numbers(2, 3), "CB")).dims == "CB"
    assert "'CB'" in repr(dt.dlarray(numbers(2, 3), "CB"))


@pytest.mark.parametrize(
    ("shape", "fmt", "message"),
    [
        ((2, 3), "XY", "'X' is no label"),
        ((2, 3), "sc", "'s' is no label"),
        ((2, 3), "CC", "only one axis can have the label C"),
        ((2, 3), "BB", "only one axis can have the label B"),
        ((2, 3, 4), "TST", "only one axis can have the label T"),
        ((2, 3, 4), "SC", "needs as many labels"),
        ((2, 3), "S", "needs as many labels"),
    ],
)
def test_formats_that_do_not_fit(shape: tuple[int, ...], fmt: str, message: str) -> None:
    with pytest.raises(dt.ShapeError, match=message):
        dt.dlarray(numbers(*shape), fmt)


def test_a_format_is_text() -> None:
    with pytest.raises(dt.DTypeError, match="a format is a str"):
        dt.dlarray(numbers(2, 3), 5)  # type: ignore[arg-type]


def test_finddim_stripdims_isdlarray() -> None:
    d = dt.dlarray(numbers(5, 4, 3, 2), "TSSU")
    assert dt.finddim(d, "S") == (0, 1)
    assert dt.finddim(d, "T") == (2,)
    assert dt.finddim(d, "B") == ()
    assert dt.finddim(np.zeros(3), "S") == ()
    with pytest.raises(dt.ShapeError, match="'X' is no label"):
        dt.finddim(d, "X")
    plain = dt.stripdims(d)
    assert (dt.dims(plain), plain.shape) == ("", d.shape)
    assert dt.stripdims(plain) is plain
    x = np.zeros(3)
    assert dt.stripdims(x) is x
    assert (dt.isdlarray(d), dt.isdlarray(x)) == (True, False)
    labelled = dt.dlarray(numbers(2, 3, 4), "SCB")
    turned = dt.stripdims(labelled, "BTCS")
    assert (turned.shape, turned.dims) == ((4, 1, 3, 2), "")
    np.testing.assert_array_equal(value(turned)[:, 0], value(labelled).transpose(2, 1, 0))
    with pytest.raises(dt.ShapeError, match="no place for the axis B"):
        dt.stripdims(labelled, "SC")


PAIRS = [
    ((2, 3), "CB", (2, 3), "CB", "CB", lambda a, b: a + b),
    ((2, 3), "CB", (3, 2), "BC", "CB", lambda a, b: a + b.T),
    ((2, 3), "SC", (3, 4), "CB", "SCB", lambda a, b: a[:, :, None] + b[None]),
    ((2, 3), "CB", (4, 5), "SS", "SSCB", lambda a, b: a + b[:, :, None, None]),
    ((4, 5), "SS", (4, 3), "SC", "SSC", lambda a, b: a[:, :, None] + b[:, None]),
    ((3, 1), "CB", (3, 4), "CB", "CB", lambda a, b: a + b),
    ((2, 3), "UU", (4, 2), "CU", "CUU", lambda a, b: a[None] + b[:, :, None]),
    ((2, 3), "CB", (3,), None, "CB", lambda a, b: a + b),
    ((2, 3), "CB", (), None, "CB", lambda a, b: a + b),
    ((1, 3), "CB", (2, 1), None, "CB", lambda a, b: a + b),
]


@pytest.mark.parametrize(("a", "fa", "b", "fb", "wanted", "rule"), PAIRS)
def test_labelled_operands_meet_label_by_label(a: Any, fa: Any, b: Any, fb: Any, wanted: str, rule: Any) -> None:
    x, y = numbers(*a), numbers(*b) + 1.0
    want = rule(value(dt.dlarray(x, fa)) if fa in ("SS", "CB", "SC", "UU") else x, y)
    for got in (
        dt.dlarray(x, fa) + dt.dlarray(y, fb),
        dt.dlarray(y, fb) + dt.dlarray(x, fa),
        np.add(dt.dlarray(x, fa), dt.dlarray(y, fb)),
        dnp.add(dt.dlarray(y, fb), dt.dlarray(x, fa)),
    ):
        assert got.dims == wanted
        np.testing.assert_allclose(value(got), want)
    if fb is None:
        got = dt.dlarray(x, fa) + y
        assert got.dims == wanted
        np.testing.assert_allclose(value(y + dt.dlarray(x, fa)), want)
    check_derivatives(lambda x, y: dt.dlarray(x, fa) * dt.dlarray(y, fb), x, y)


def test_three_operands_and_numbers() -> None:
    x = dt.dlarray(numbers(2, 3), "CB")
    low, high = dt.dlarray([-0.1, -0.2], "C"), dt.dlarray(np.full((1, 3), 0.3), "CB")
    low = dt.dlarray(np.array([[-0.1], [-0.2]]), "CB")
    assert np.clip(x, low, high).dims == "CB"
    assert np.where(x > 0, x, 0.0).dims == "CB"
    for y in (2.0 * x, x**2, x**2.5, x / 3, -x, np.exp(x), x > 0, np.maximum(x, 0.0), abs(x)):
        assert y.dims == "CB"
    np.testing.assert_array_equal(value(x**2), value(x) ** 2)


def test_shapes_that_do_not_fit() -> None:
    x = dt.dlarray(numbers(2, 3), "CB")
    with pytest.raises(dt.ShapeError, match="broadcast"):
        x + dt.dlarray(numbers(2, 4), "CB")
    with pytest.raises(dt.ShapeError, match="more axes than the labels 'CB' name"):
        x + numbers(4, 2, 3)


def test_what_becomes_of_labels() -> None:
    x = dt.dlarray(numbers(2, 3, 4), "SCB")
    assert dt.dims(x.sum()) == ""
    assert dt.dims(x.sum(axis=0, keepdims=True)) == "SCB"
    assert dt.dims(dt.softmax(x)) == dt.dims(dt.relu(x)) == dt.dims(dt.leakyrelu(x)) == "SCB"
    assert dt.dims(x.copy()) == dt.dims(x.astype(np.float32)) == "SCB"
    np.testing.assert_allclose(value(dt.softmax(x)).sum(axis=1), 1.0)
    gradient = dt.dlfeval(lambda x: dt.dlgradient((x * x).sum(), x), x)
    assert gradient.dims == "SCB"
    np.testing.assert_array_equal(value(gradient), 2 * value(x))


def test_derivatives_through_formats() -> None:
    check_derivatives(lambda x: dt.stripdims(dt.dlarray(x, "TSSU")) ** 2, numbers(2, 3, 2, 2))
    check_derivatives(lambda x: dt.stripdims(dt.dlarray(x, "SCB"), "BTCS") ** 2, numbers(2, 3, 2))
    check_derivatives(lambda x: dt.dlarray(x, "T") ** 2, numbers(3))


def test_with_labels_of_the_core() -> None:
    x = dt.dlarray(numbers(2, 3))
    assert _core.with_labels(x, "CB").dims == "CB"
    assert _core.with_labels(_core.with_labels(x, "CB"), None).dims == ""


LINEAR = [
    ((3, 4), "CB", "CB", (3,)),
    ((2, 2, 3, 4), "SSCB", "CB", (12,)),
    ((3, 4, 2), "CBT", "CBT", (3,)),
    ((2, 4), "SB", "CB", (2,)),
]


@pytest.mark.parametrize(("shape", "fmt", "wanted", "features"), LINEAR)
def test_fullyconnect_with_labels(shape: Any, fmt: str, wanted: str, features: tuple[int, ...]) -> None:
    x, w, b = numbers(*shape), numbers(5, *features), numbers(5)
    y = dt.fullyconnect(dt.dlarray(x, fmt), w, b)
    assert y.dims == wanted
    flat = x.reshape(*features, -1)
    np.testing.assert_allclose(value(y).reshape(5, -1), w @ flat + b[:, None])
    np.testing.assert_allclose(value(dt.fullyconnect(dt.dlarray(x, fmt), dt.dlarray(w, "UU"), b[:, None])), value(y))
    check_derivatives(lambda x, w, b: dt.fullyconnect(dt.dlarray(x, fmt), w, b), x, w, b, second=False)


def test_fullyconnect_without_labels() -> None:
    x, w, b = numbers(2, 4, 3), numbers(5, 3), numbers(5)
    np.testing.assert_allclose(value(dt.fullyconnect(x, w, b)), x @ w.T + b)
    np.testing.assert_allclose(value(dt.fullyconnect(x[0, 0], w)), w @ x[0, 0])
    check_derivatives(dt.fullyconnect, x, w, b, second=False)
    with pytest.raises(dt.ShapeError, match=r"has 4 features; weights of shape \(5, 3\).*\(outputs, 4\)"):
        dt.fullyconnect(numbers(2, 4), w)
    with pytest.raises(dt.ShapeError, match="5 outputs; a bias of shape"):
        dt.fullyconnect(x, w, numbers(4))


def test_functions_of_networks() -> None:
    import scipy.special

    x = numbers(3, 4)
    np.testing.assert_allclose(value(dt.softmax(x)), scipy.special.softmax(x, axis=-1))
    np.testing.assert_allclose(value(dt.softmax(x, 0)), scipy.special.softmax(x, axis=0))
    np.testing.assert_allclose(value(dt.log_softmax(x, axis=0)), scipy.special.log_softmax(x, axis=0))
    np.testing.assert_allclose(value(dt.logsumexp(x)), scipy.special.logsumexp(x))
    np.testing.assert_allclose(value(dt.logsumexp(x, (0, 1), True)), scipy.special.logsumexp(x, (0, 1), keepdims=True))
    np.testing.assert_allclose(value(dt.sigmoid(x)), scipy.special.expit(x))
    np.testing.assert_allclose(value(dt.softplus(x)), np.log1p(np.exp(x)))
    np.testing.assert_allclose(value(dt.leakyrelu(x)), np.where(x > 0, x, 0.01 * x))
    np.testing.assert_allclose(value(dt.gelu(x)), x * scipy.special.ndtr(x))
    for f in (dt.softmax, dt.log_softmax, dt.logsumexp, dt.sigmoid, dt.softplus, dt.gelu):
        check_derivatives(f, x)
    extreme = np.array([1e4, -1e4, 0.0])
    np.testing.assert_array_equal(value(dt.softmax(extreme)), [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(value(dt.log_softmax(extreme)), [0.0, -2e4, -1e4])
    assert float(dt.logsumexp(np.full(2, -np.inf))) == -np.inf
