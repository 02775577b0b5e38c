# SPDX-License-Identifier: MIT
"""What a step is given in dt.loop: hyperparameters of every kind, schedules and other functions of the iteration, and
minibatches. Where a loop in plain Python is the judge, bits are compared."""

from __future__ import annotations

import dataclasses
import math
from collections import namedtuple
from typing import Any, NamedTuple

import numpy as np
import pytest
from steps import (
    START,
    assert_same_bits,
    assert_same_run,
    by_hand,
    count_traces,
    descent,
    leaves,
)

import dualtape as dt
from dualtape import _core

Pair = namedtuple("Pair", "first second")


class Typed(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Layer:
    W: Any
    b: Any
    kind: str = dataclasses.field(default="relu", metadata={"static": True})


# ---- hyperparameters --------------------------------------------------------------------------------------------

S = dt.schedules
SCHEDULES: dict[str, Any] = {
    "constant": S.constant(0.1),
    "time_based_decay": S.time_based_decay(0.2, 0.01),
    "piecewise": S.piecewise(0.1, 0.5, 10),
    "exponential": S.exponential(0.1, 0.97),
    "polynomial": S.polynomial(0.1, 40),
    "warm_up": S.warm_up(0.1, 5),
    "chain": S.chain(S.warm_up(0.1, 5), S.cosine(0.1, 40)),
    "per_epoch": S.per_epoch(S.piecewise(0.1, 0.5, 3), 7),
    "cosine": S.cosine(0.1, 10),
    "cyclical": S.cyclical(0.1, 2.0, 10),
    "one_cycle": S.one_cycle(0.1, 60),
    "lambda": lambda iteration: 0.1 / iteration**0.5,
    "two paths": lambda iteration: 0.1 if iteration < 20 else 0.02,
    "every third": lambda iteration: 0.1 if iteration % 3 == 0 else 0.05,
    "math": lambda iteration: 0.1 * math.exp(-0.05 * iteration),
    "math after a while": lambda iteration: 0.1 if iteration < 25 else math.sqrt(1 / iteration) / 10,
    "list": lambda iteration, table=[0.1 / k for k in range(1, 61)]: table[int(iteration) - 1],
    "numpy": lambda iteration: 0.1 * np.exp(-0.05 * iteration),
    "a number": lambda iteration: 0.05,
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    """The bits are those of the loop in Python; one that calls the schedule with a number has them but for last digits
    of NumPy's and Python's own functions."""
    schedule = SCHEDULES[name]
    compiled, plain = by_hand(descent, START, iterations=60, learn_rate=schedule)
    assert_same_run(compiled, plain)
    x: Any = tuple(map(dt.dlarray, START))
    for iteration in range(1, 61):
        x, loss = descent(x, schedule(float(iteration)))
        assert float(loss) == pytest.approx(compiled.history[iteration - 1], rel=1e-11)
    if isinstance(schedule, S.cosine | S.one_cycle | S.chain):
        traced = dt.trace(schedule, 3.0, contract=False)
        assert [float(traced(float(k))) for k in range(1, 61)] == [schedule(k) for k in range(1, 61)]


def test_a_function_that_looks_up_is_a_table_before_paths_are_too_many() -> None:
    rates = np.linspace(0.01, 0.1, 3000).tolist()
    compiled, plain = by_hand(descent, START, iterations=3000, learn_rate=lambda k: rates[int(k) - 1], record_every=300)
    assert_same_run(compiled, plain)


def test_functions_of_iterations_may_return_arrays_and_trees() -> None:
    def step(x: Any, scale: Any) -> Any:
        return x * scale["a"] + scale["b"][0], scale["b"]

    for power in (lambda k: k**-0.5, lambda k: math.exp(-float(k))):
        compiled, plain = by_hand(
            step, np.ones(3), iterations=9, scale=lambda k, power=power: {"a": power(k), "b": [np.arange(3.0) / k]}
        )
        assert_same_run(compiled, plain)


def test_functions_take_other_hyperparameters_by_name() -> None:
    wanted = [3.0 * 0.5**k / k for k in range(1, 10)]
    for half in (0.5, lambda k: 0.5, lambda k: math.exp(math.log(0.5))):
        compiled, plain = by_hand(
            lambda x, rate: (x + rate, rate),
            0.0,
            iterations=9,
            rate=lambda k, base, half: base * half**k / k,  # before those that it needs
            base=3.0,
            half=half,
        )
        assert_same_run(compiled, plain)
        np.testing.assert_allclose(compiled.history, wanted, rtol=1e-14)


def test_a_table_takes_hyperparameters_too() -> None:
    compiled, plain = by_hand(
        lambda x, rate: (x + rate, rate),
        0.0,
        iterations=5,
        rate=lambda k, base, cut: base * math.exp(-float(cut) * k),
        base=3.0,
        cut=lambda k: 0.1 * k,
    )
    assert_same_run(compiled, plain)
    np.testing.assert_allclose(compiled.history, [3 * math.exp(-0.1 * k * k) for k in range(1, 6)], rtol=1e-14)


def test_hyperparameters_are_numbers_arrays_and_trees() -> None:
    def step(x: Any, scale: Any, layers: Any, flag: Any, nothing: Any, count: Any) -> Any:
        assert nothing is None
        y = x * scale + layers[0].W.sum() * layers[1]["b"]
        if flag:
            y = y / count
        return y, y.sum()

    for flag in (True, False):
        compiled, plain = by_hand(
            step,
            np.arange(3.0),
            iterations=7,
            scale=np.array([0.5, 0.25, 1.0]),
            layers=[Layer(np.ones((2, 2)), 0.0), {"b": 0.125}],
            flag=flag,
            nothing=None,
            count=2,
        )
        assert_same_run(compiled, plain)


def test_numbers_take_the_dtype_of_what_they_meet() -> None:
    def step(x: Any, rate: Any, schedule: Any, iteration: Any) -> Any:
        return x * rate + schedule / iteration, (x * rate).sum()

    for schedule in (lambda k: 0.1 / k, lambda k: 0.1 / math.sqrt(k)):
        compiled, plain = by_hand(step, np.ones(3, np.float32), iterations=9, rate=0.7, schedule=schedule)
        assert_same_run(compiled, plain)
        assert compiled.state.dtype == np.float32
        assert compiled.history.dtype == np.float32


def test_iteration_counts_from_one() -> None:
    run = dt.loop(lambda x, iteration: (x + iteration, iteration), 0.0, iterations=5)
    np.testing.assert_array_equal(run.history, [1, 2, 3, 4, 5])
    assert float(run.state) == 15


def test_parameters_with_defaults_and_keywords() -> None:
    def step(x: Any, *, rate: Any = 0.5, **rest: Any) -> Any:
        return x * rate + rest.get("shift", 0.0), rest["iteration"]

    assert float(dt.loop(step, 1.0, iterations=2).state) == 0.25
    assert float(dt.loop(step, 1.0, iterations=2, rate=1.0, shift=3.0).state) == 7.0


def test_a_step_without_decisions_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = count_traces(monkeypatch)
    dt.loop(lambda x, rate, iteration: x * rate / iteration, 1.0, iterations=1000, rate=lambda k: 0.999**k)
    assert len(traces) == 1


# ---- minibatches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [None, 0, 7])
@pytest.mark.parametrize("size", [1, 3, 5, 10, None])
def test_an_epoch_sees_each_row_once(size: int | None, shuffle: int | None) -> None:
    """The rows that are left over at the end of an epoch are left out."""
    data = np.arange(10.0)
    compiled, plain = by_hand(
        lambda x, batch: (x + batch.sum(), batch), 0.0, iterations=20, data=data, batch_size=size, shuffle=shuffle
    )
    assert_same_run(compiled, plain)
    size = size or 10
    orders = []
    for epoch in range(20 // (10 // size)):
        rows = compiled.history[epoch * (10 // size) : (epoch + 1) * (10 // size)].ravel()
        assert len(set(rows)) == 10 // size * size
        orders.append(tuple(rows))
    if shuffle is None:
        assert set(orders) == {tuple(data[: 10 // size * size])}
    else:
        assert len(set(orders)) == len(orders)  # another order in each epoch


def test_batches_are_trees() -> None:
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(12, 2, 3)), "y": [np.arange(12) % 3, rng.normal(size=12).astype(np.float32) > 0]}

    def step(w: Any, batch: Any) -> Any:
        assert batch["x"].shape == (4, 2, 3)
        return w + (batch["x"] * 0.1).sum(axis=0), (batch["y"][0], batch["y"][1])

    compiled, plain = by_hand(step, np.zeros((2, 3)), iterations=7, data=data, batch_size=4, shuffle=3)
    assert_same_run(compiled, plain)
    assert leaves(compiled.value)[0].dtype == np.int64
    assert leaves(compiled.value)[1].dtype == np.bool_


def test_seeds_of_the_order() -> None:
    def order(shuffle: int) -> Any:
        return dt.loop(
            lambda x, batch: (x, batch), 0.0, iterations=5, data=np.arange(50.0), batch_size=10, shuffle=shuffle
        ).history

    assert_same_bits(order(1), order(1))
    assert (order(1) != order(2)).any()


def test_the_order_is_the_same_on_every_machine() -> None:
    run = dt.loop(lambda x, batch: (x, batch), 0.0, iterations=2, data=np.arange(8.0), batch_size=4, shuffle=0)
    rows = [_core.batch_rows(8, 4, 0, k) for k in (1, 2)]
    np.testing.assert_array_equal(run.history, rows)


def test_epochs_and_schedules_meet() -> None:
    compiled, plain = by_hand(
        lambda w, batch, rate: (w + rate * batch.sum(), rate),
        0.0,
        iterations=9,
        data=np.arange(6.0),
        batch_size=2,
        shuffle=1,
        rate=S.per_epoch(S.piecewise(0.1, 0.5, 1), 3),
    )
    assert_same_run(compiled, plain)
    np.testing.assert_allclose(compiled.history, np.repeat([0.1, 0.05, 0.025], 3))
