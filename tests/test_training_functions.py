# SPDX-License-Identifier: MIT
"""The functions of custom training loops: against PyTorch's numbers, with and without labels, traced and in lanes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numeric import check_derivatives, close, value

import dualtape as dt

DATA = json.loads((Path(__file__).parent / "data" / "torch_functions.json").read_text(encoding="utf-8"))
ONE_HOT = np.eye(3)[[0, 2, 1, 1, 0]]
CLASSES = np.array([0, 2, 1, 1, 0])
WEIGHTS = [0.5, 1.0, 2.0]


def network(x: Any, w1: Any, b1: Any, shift: Any, scale: Any, kept: Any, w2: Any, b2: Any) -> Any:
    """The layers of examples/digits_batchnorm.py in training, with a given dropout of a quarter, and their loss."""
    hidden = dt.relu(dt.batchnorm(dt.fullyconnect(x, w1, b1), shift, scale)[0]) * kept / 0.75
    return dt.crossentropy(dt.softmax(dt.fullyconnect(hidden, w2, b2)), ONE_HOT)


#: The same functions here, of unlabelled arrays whose first axis are the observations and whose last the features.
PLAIN: dict[str, Callable[..., Any]] = {
    "mse": dt.mse,
    "l2loss": dt.l2loss,
    "l1loss": dt.l1loss,
    "huber": dt.huber,
    "huber 0.5": lambda y, t: dt.huber(y, t, transition_point=0.5),
    "crossentropy": lambda x: dt.crossentropy(dt.softmax(x), ONE_HOT),
    "indexcrossentropy": lambda x: dt.indexcrossentropy(dt.softmax(x), CLASSES, WEIGHTS),
    "multilabel": lambda x: dt.crossentropy(dt.sigmoid(x), ONE_HOT, classification_mode="multilabel"),
    "softmax": dt.softmax,
    "log_softmax": dt.log_softmax,
    "relu": dt.relu,
    "leakyrelu": lambda x: dt.leakyrelu(x, 0.1),
    "gelu": dt.gelu,
    "sigmoid": dt.sigmoid,
    "swish": dt.swish,
    "fullyconnect": dt.fullyconnect,
    "batchnorm": lambda x, b, w: dt.batchnorm(x, b, w)[0],
    "batchnorm of images": lambda x, b, w: dt.batchnorm(x, b, w, axis=1)[0],
    "batchnorm for inference": dt.batchnorm,
    "network": network,
    "layernorm": dt.layernorm,
    "layernorm of images": lambda x, b, w: dt.layernorm(
        x, np.zeros((3, 4, 2)) + b[:, None, None], np.zeros((3, 4, 2)) + w[:, None, None], axis=(1, 2, 3)
    ),
}


def label(x: Any) -> Any:
    return dt.dlarray(x, {2: "BC", 4: "BCSS"}[x.ndim])


def unlabel(y: Any) -> Any:
    """In PyTorch's order of axes."""
    return dt.stripdims(y, {2: "BC", 4: "BCSS"}[y.ndim]) if dt.dims(y) else y


#: The same of labelled arrays: the first argument, and targets, are labelled.
LABELLED: dict[str, Callable[..., Any]] = {
    **{name: lambda y, t, f=PLAIN[name]: f(label(y), label(t)) for name in ("mse", "l2loss", "l1loss", "huber")},
    "crossentropy": lambda x: dt.crossentropy(dt.softmax(label(x)), label(ONE_HOT)),
    "indexcrossentropy": lambda x: dt.indexcrossentropy(dt.softmax(label(x)), CLASSES, WEIGHTS),
    "multilabel": lambda x: dt.crossentropy(dt.sigmoid(label(x)), label(ONE_HOT), classification_mode="multilabel"),
    **{name: lambda x, f=PLAIN[name]: f(label(x)) for name in ("softmax", "log_softmax", "gelu", "swish", "leakyrelu")},
    "fullyconnect": lambda x, w, b: dt.fullyconnect(label(x), w, b),
    "batchnorm": lambda x, b, w: dt.batchnorm(label(x), b, w)[0],
    "batchnorm of images": lambda x, b, w: dt.batchnorm(label(x), b, w)[0],
    "batchnorm for inference": lambda x, *more: dt.batchnorm(label(x), *more),
    "layernorm": lambda x, b, w: dt.layernorm(label(x), b, w),
    "layernorm of images": lambda x, b, w: dt.layernorm(label(x), b, w),
}
CASES = [(name, f) for table in (PLAIN, LABELLED) for name, f in table.items()]
IDS = list(PLAIN) + [f"{name}, labelled" for name in LABELLED]


def test_every_case_of_the_data_is_here() -> None:
    assert set(PLAIN) == set(DATA["cases"])


@pytest.mark.parametrize(("name", "f"), CASES, ids=IDS)
def test_forwards_and_backwards_as_torch(name: str, f: Callable[..., Any]) -> None:
    case = DATA["cases"][name]
    inputs = [np.array(x) for x in case["inputs"]]

    def weighted(*xs: Any) -> Any:
        y = unlabel(f(*xs))
        return (y * np.cos(np.arange(y.size)).reshape(y.shape)).sum(), y

    numbers = tuple(range(len(inputs)))
    (_, y), gradients = dt.value_and_grad(weighted, argnums=numbers, has_aux=True)(*map(dt.dlarray, inputs))
    np.testing.assert_allclose(value(y), case["result"], rtol=1e-10, atol=1e-12)
    for got, want in zip(gradients, case["gradients"], strict=True):
        if want is not None:
            np.testing.assert_allclose(value(got), want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "f"), CASES, ids=IDS)
def test_derivatives_in_every_mode_and_in_programs(name: str, f: Callable[..., Any]) -> None:
    inputs = [np.array(x) for x in DATA["cases"][name]["inputs"]]
    check_derivatives(lambda *xs: unlabel(f(*xs)), *inputs, rtol=1e-5, atol=1e-7)
    gradient = dt.grad(lambda *xs: (unlabel(f(*xs)) ** 2).sum())
    program = dt.trace(gradient, *inputs, contract=False)
    np.testing.assert_array_equal(value(program(*inputs)), value(gradient(*inputs)))


def test_normalisation_of_losses() -> None:
    y, t = np.array([[1.0, 2.0], [3.0, 5.0]]), np.zeros((2, 2))
    mask = np.array([[True, False], [True, True]])
    assert float(dt.l2loss(y, t)) == 39 / 2
    assert float(dt.mse(y, t)) == 39 / 4
    assert float(dt.l2loss(y, t, mask=mask)) == 35 / 2
    assert float(dt.l2loss(y, t, mask=mask, normalization_factor="mask-included")) == pytest.approx(35 / 3)
    assert float(dt.l2loss(y, t, normalization_factor="all-elements")) == 39 / 4
    assert float(dt.l1loss(y, t, normalization_factor="none")) == 11
    assert dt.l1loss(y, t, reduction="none").tolist() == y.tolist()
    assert float(dt.l1loss(y, t, [1.0, 0.0])) == 2.0
    assert float(dt.l2loss(y, t, batch_axis=1)) == 39 / 2
    assert float(dt.mse(dt.dlarray(y.T, "CB"), dt.dlarray(t, "CB"))) == 39 / 4
    assert float(dt.mse(y, t, data_format="CS")) == 39 / 2  # (no B: one observation)
    assert dt.dims(dt.mse(y, t, data_format="BC")) == ""
    assert float(dt.mse(dt.dlarray(3.0), 1.0)) == 2.0


def test_probabilities_of_zero_give_no_nan() -> None:
    y, t = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]])
    assert float(dt.crossentropy(y, t)) == 0
    assert float(dt.crossentropy(y, t, classification_mode="multilabel")) == 0
    wrong = dt.crossentropy(y, t[:, ::-1])
    assert np.isfinite(float(wrong))
    assert float(wrong) > 700
    assert np.isfinite(value(dt.grad(lambda y: dt.crossentropy(y, t))(y))).all()


def test_targets_that_do_not_count() -> None:
    y = np.full((3, 2), 0.5)
    full = float(dt.indexcrossentropy(y, [0, 1, 1]))
    assert full == pytest.approx(np.log(2))
    assert float(dt.indexcrossentropy(y, [0, -1, 1])) == pytest.approx(2 * np.log(2) / 3)
    assert float(dt.indexcrossentropy(y, [0, -1, 1], normalization_factor="mask-included")) == pytest.approx(np.log(2))
    assert dt.indexcrossentropy(y, [0, -1, 1], reduction="none").shape == (3,)
    with pytest.raises(dt.ShapeError, match="count from 0"):
        dt.indexcrossentropy(y, [0, 1, 2])
    with pytest.raises(dt.ShapeError, match="targets of shape"):
        dt.indexcrossentropy(y, [[0, 1], [1, 1], [1, 1]])


def test_batchnorm_gathers_statistics() -> None:
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(64, 3))
    y, mean, variance = dt.batchnorm(x, 0.0, 1.0)
    close(mean, x.mean(0))
    close(variance, x.var(0))
    np.testing.assert_allclose(value(y).mean(0), 0, atol=1e-12)
    _, moved, spread = dt.batchnorm(x, 0.0, 1.0, np.zeros(3), np.ones(3), training=True)
    close(moved, 0.1 * x.mean(0))
    close(spread, 0.9 + 0.1 * x.var(0))
    y = dt.batchnorm(x, 0.0, 1.0, mean, variance)
    close(y, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5))
    with pytest.raises(dt.ShapeError, match="label the channels"):
        dt.batchnorm(dt.dlarray(x, "BT"), 0.0, 1.0)
    with pytest.raises(dt.ShapeError, match="give both or none"):
        dt.batchnorm(x, 0.0, 1.0, mean)
    with pytest.raises(dt.ShapeError, match="offset"):
        dt.batchnorm(x, np.zeros(4), 1.0)


def test_dropout_is_a_draw() -> None:
    x = np.ones(10_000)
    dt.random.seed(1)
    first, second = value(dt.dropout(x, 0.25)), value(dt.dropout(x, 0.25))
    dt.random.seed(1)
    np.testing.assert_array_equal(value(dt.dropout(x, 0.25)), first)
    assert set(np.unique(first)) == {0.0, 1 / 0.75}
    assert abs(first.mean() - 1) < 0.02
    assert not np.array_equal(first, second)
    assert dt.dropout(x, 0.5, training=False).tolist() == x.tolist()
    assert dt.dims(dt.dropout(dt.dlarray(np.ones((2, 3)), "CB"))) == "CB"
    dt.random.seed(1)
    y, pull = dt.vjp(lambda x: dt.dropout(x, 0.25), x)
    np.testing.assert_array_equal(value(pull(np.ones(10_000))[0]), value(y))
    with pytest.raises(ValueError, match="probability"):
        dt.dropout(x, 1.0)


def test_dropout_draws_anew_in_each_iteration_and_run() -> None:
    def step(x: Any, rate: Any) -> Any:
        y = dt.dropout(np.ones(8) + 0.0 * rate, 0.5)
        return x, y

    alone = dt.loop(step, np.zeros(()), iterations=3, record_every=1, rate=1.0, seed=4)
    history = value(alone.history)
    assert not np.array_equal(history[0], history[1])
    runs = dt.sweep(step, np.zeros(()), iterations=3, over=dt.grid(rate=[1.0, 1.0, 1.0]), seed=4)
    masks = value(runs.value)
    assert not np.array_equal(masks[0], masks[1])


def test_classes_as_vectors_and_back() -> None:
    labels = ["b", "a", "c", "a"]
    y = dt.onehotencode(labels)
    np.testing.assert_array_equal(value(y), np.eye(3)[[1, 0, 2, 0]])
    assert dt.onehotencode(labels, 0).shape == (3, 4)
    assert dt.onehotdecode(y, ["a", "b", "c"]).tolist() == labels
    assert dt.onehotdecode(dt.onehotencode(labels, 0), ["a", "b", "c"], 0).tolist() == labels
    numbers = dt.onehotencode(dt.dlarray([3, 1, 7]), class_names=[1, 3])
    np.testing.assert_array_equal(value(numbers), [[0, 1], [1, 0], [np.nan, np.nan]])
    assert np.isnan(value(dt.onehotencode(["d"], class_names=["a"]))).all()
    assert dt.onehotencode(labels, dtype=np.float32).dtype == np.float32
    program = dt.trace(lambda k: dt.onehotencode(k, class_names=[0, 1, 2]), np.array([0.0, 2.0]))
    np.testing.assert_array_equal(value(program(np.array([1.0, 2.0]))), np.eye(3)[[1, 2]])
    with pytest.raises(dt.DTypeError, match="2 classes"):
        dt.onehotdecode(y, ["a", "b"])


def test_initializers_have_their_spread() -> None:
    dt.random.seed(0)
    w = value(dt.initializers.glorot((60, 90)))
    assert np.abs(w).max() <= np.sqrt(6 / 150)
    assert w.std() == pytest.approx(np.sqrt(2 / 150), rel=0.05)
    assert value(dt.initializers.he((200, 50))).std() == pytest.approx(0.2, rel=0.05)
    for shape in ((5, 3), (3, 5), (4, 4)):
        q = value(dt.initializers.orthogonal(shape, 2.0))
        small = q if shape[0] <= shape[1] else q.T
        close(small @ small.T, 4 * np.eye(len(small)), atol=1e-12)
    dt.random.seed(0)
    np.testing.assert_array_equal(value(dt.initializers.glorot((60, 90))), w)
    assert dt.initializers.he((3, 3), dtype=np.float32).dtype == np.float32
    for wrong in (lambda: dt.initializers.glorot((3,)), lambda: dt.initializers.orthogonal((3,))):
        with pytest.raises(dt.ShapeError, match="outputs, inputs"):
            wrong()


def test_minibatchqueue() -> None:
    x, t = np.arange(14.0).reshape(7, 2), np.arange(7)
    queue = dt.minibatchqueue(x, t, mini_batch_size=3, mini_batch_format=("BC", ""))
    assert len(queue) == 3
    groups = list(queue)
    assert [b.shape for _, b in groups] == [(3,), (3,), (1,)]
    assert dt.dims(groups[0][0]) == "CB"
    assert groups[0][0].shape == (2, 3)
    assert not queue.hasdata()
    with pytest.raises(StopIteration, match="reset"):
        queue.next()
    queue.shuffle()
    orders = []
    while queue.hasdata():
        a, b = queue.next()
        np.testing.assert_array_equal(value(a)[0], 2 * value(b))
        orders += value(b).tolist()
    assert sorted(orders) == list(range(7))
    assert orders != list(range(7))
    queue.shuffle()
    assert [n for _, b in queue for n in value(b).tolist()] != orders
    whole = dt.minibatchqueue(x, mini_batch_size=3, partial_mini_batch="discard", output_cast="float32")
    assert [y.dtype for y in whole] == [np.float32] * 2
    doubled = dt.minibatchqueue(x.T, mini_batch_size=4, obs_axis=1, mini_batch_fcn=lambda x: 2 * x)
    assert [y.shape for y in doubled] == [(2, 4), (2, 3)]
    with pytest.raises(dt.ShapeError, match="observations"):
        dt.minibatchqueue(x, t[:3])
    with pytest.raises(ValueError, match="mini_batch_size"):
        dt.minibatchqueue(x, mini_batch_size=0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: dt.mse(np.ones(3), np.ones((3, 1))),
        lambda: dt.crossentropy(np.ones((2, 3)), np.ones(3)),
    ],
)
def test_shapes_must_agree(call: Callable[[], Any]) -> None:
    with pytest.raises(dt.ShapeError, match="differ in shape"):
        call()
    with pytest.raises(ValueError, match="'sum' or 'none'"):
        dt.l1loss(1.0, 1.0, reduction="mean")
    with pytest.raises(ValueError, match="multilabel"):
        dt.crossentropy(1.0, 1.0, classification_mode="both")
