# SPDX-License-Identifier: MIT
"""dt.loop: the runs of the key terms, trees of states and values, hyperparameters of every kind, minibatches, records,
stopping, progress and Ctrl-C. Where a loop in plain Python is the judge, bits are compared."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections import namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from steps import (
    assert_same_bits,
    assert_same_run,
    backtracking,
    branching,
    by_hand,
    count_traces,
    descent,
    leaves,
    noisy,
    valley,
    valley_and_slopes,
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


# ---- the key terms, with the numbers of shared/matlab.md --------------------------------------------------------

# name -> (learning rate, iteration -> (loss before, x1, x2, loss after))
KEY_TERMS: dict[str, tuple[Any, dict[int, tuple[float, float, float, float]]]] = {
    "rate 0.1": (
        0.1,
        {
            1: (5, 0.19999999999999996, 2.4, 6.2096),
            2: (6.2096, 0.54879999999999995, 1.928, 2.8501200671604741),
            10: (0.0325145890957299, 1.1649898865343433, 1.4166358606526188, 0.030754113524818587),
            50: (0.0028543384903639115, 1.0480130989059362, 1.117544277502613, 0.002674390196684388),
            100: (9.7863024903159214e-05, 1.0088382026363243, 1.0213919187601477, 9.1344502139361692e-05),
        },
    ),
    "rate 0.2": (
        0.2,
        {
            1: (5, -1.6000000000000001, 2.7999999999999998, 6.8176000000000005),
            2: (6.8176000000000005, -0.86719999999999919, 2.7040000000000002, 7.2965999219245079),
            10: (0.040168824961335017, 0.82474240741726401, 0.62941966375470859, 0.033293870226555188),
            50: (0.12052881799260262, 0.73918047881584936, 0.88532037154783327, 0.18290212406616899),
            100: (0.12034984420976809, 0.74077812798442277, 0.89232438153384408, 0.18523779887377523),
        },
    ),
    "decay": (
        dt.schedules.time_based_decay(0.2, 0.01),
        {
            1: (5, -1.5643564356435644, 2.7920792079207919, 6.6948579700360753),
            2: (6.6948579700360753, -0.98186113553604348, 2.6568367960849666, 6.7932963319331554),
            10: (0.061718141744522344, 0.8200340367894543, 0.54261217593906641, 0.049247120205089048),
            50: (0.00040351159548515891, 0.98234696413548461, 0.95759776904243332, 0.00036650501167668164),
            100: (6.766721210579963e-06, 0.99768004293670065, 0.99440287792450088, 6.3087805718056583e-06),
        },
    ),
    "decay from k - 1": (
        lambda iteration: 0.2 / (1 + 0.01 * (iteration - 1)),
        {
            1: (5, -1.6000000000000001, 2.7999999999999998, 6.8176000000000005),
            2: (6.8176000000000005, -0.87445544554455368, 2.7049504950495051, 7.2782625896806028),
            10: (0.0692573303830567590, 0.80200623573294672, 0.51322271232388716, 0.056099266120471898),
            50: (0.00043378423781941021, 0.98170497479951779, 0.95606381271407692, 0.0003937033244202298),
            100: (7.0881175043577121e-06, 0.99762603299268759, 0.99427266292145455, 6.6060207563587772e-06),
        },
    ),
}


@pytest.mark.parametrize("contract", [True, False])
@pytest.mark.parametrize("name", KEY_TERMS)
def test_key_terms(name: str, contract: bool) -> None:
    learn_rate, table = KEY_TERMS[name]

    def step(state: Any, learn_rate: Any) -> Any:
        new, loss = descent(state, learn_rate)
        return new, {"before": loss, "x1": new[0], "x2": new[1], "after": valley(*new)}

    run = dt.loop(step, (2.0, 2.0), iterations=100, learn_rate=learn_rate, contract=contract)
    assert (run.iterations, run.stopped) == (100, "iterations")
    for k, (before, x1, x2, after) in table.items():
        record = {name: column[k - 1] for name, column in run.history.items()}
        assert record["x1"] == pytest.approx(x1, abs=1e-12, rel=0)
        assert record["x2"] == pytest.approx(x2, abs=1e-12, rel=0)
        assert record["before"] == pytest.approx(before, rel=1e-9, abs=0)
        assert record["after"] == pytest.approx(after, rel=1e-9, abs=0)
    assert_same_bits(run.state, (dt.dlarray(run.history["x1"][-1]), dt.dlarray(run.history["x2"][-1])))


def test_rate_0_2_is_best_after_23_steps_and_ends_in_a_cycle() -> None:
    run = dt.loop(descent, (2.0, 2.0), iterations=100, learn_rate=0.2)
    assert int(np.argmin(run.history)) == 23  # the value of iteration 24 is the loss after step 23
    assert run.history[23] == pytest.approx(0.0060942703, rel=1e-8)
    far = dt.loop(descent, (2.0, 2.0), iterations=10_000, learn_rate=0.2, record_every=1).history
    np.testing.assert_allclose(sorted(far[-2:]), [0.120344927966, 0.185227881034], rtol=1e-10)
    np.testing.assert_array_equal(far[-2:], far[-4:-2])


def sgdm(state: Any, learn_rate: Any, momentum: Any = 0.9) -> Any:
    x, velocity = state
    _, *slopes = dt.dlfeval(valley_and_slopes, *x)
    x, velocity = dt.sgdmupdate(x, tuple(slopes), velocity, learn_rate, momentum)
    return (x, velocity), valley(*x)


def rmsprop(state: Any, learn_rate: Any) -> Any:
    x, average = state
    _, *slopes = dt.dlfeval(valley_and_slopes, *x)
    x, average = dt.rmspropupdate(x, tuple(slopes), average, learn_rate, 0.9)
    return (x, average), valley(*x)


def adam(epsilon_mode: str) -> Callable[..., Any]:
    def step(state: Any, learn_rate: Any, iteration: Any) -> Any:
        x, g, g2 = state
        _, *slopes = dt.dlfeval(valley_and_slopes, *x)
        x, g, g2 = dt.adamupdate(x, tuple(slopes), g, g2, iteration, learn_rate, epsilon_mode=epsilon_mode)
        return (x, g, g2), valley(*x)

    return step


ZERO, START = (0.0, 0.0), (2.0, 2.0)
OPTIMIZERS = {
    "sgdm": (
        sgdm,
        (START, ZERO),
        0.01,
        (1.82, 2.04, 2.29140176),
        (0.990249801890134, 0.982953662118219, 1.00631206318675e-4),
    ),
    "sgdm 0.1": (
        sgdm,
        (START, ZERO),
        0.1,
        (0.2, 2.4, 6.2096),
        (1.02351415338759, 1.05866829611671, 6.75838617908514e-4),
    ),
    "rmsprop": (
        rmsprop, (START, ZERO), 0.01, (1.96837722345387, 2.03162277635168, None),
        (1.39799998871564, 2.07519897026659, 0.172995423481777),
    ),
    "adam": (
        adam("standard"), (START, ZERO, ZERO), 0.1, (1.90000000005556, 2.09999999975, None),
        (1.05770841842613, 1.1345282181228, 0.00357930529665039),
    ),
    "adam of MATLAB": (
        adam("hat"), (START, ZERO, ZERO), 0.1, (1.90000000175682, 2.09999999209431, None),
        (1.05770842238015, 1.1345282299688, 0.00357930586289829),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    step, start, learn_rate, first, last = OPTIMIZERS[name]
    tolerance = 1e-7 if name == "sgdm 0.1" else 1e-9  # that one overshoots far, and roundings grow with it
    for iterations, wanted in ((1, first), (100, last)):
        run = dt.loop(step, start, iterations=iterations, learn_rate=learn_rate)
        for got, want in zip((*leaves(run.state[0]), leaves(run.value)[0]), wanted, strict=True):
            assert want is None or got == pytest.approx(want, rel=tolerance)
    assert_same_run(*by_hand(step, start, iterations=30, learn_rate=learn_rate))


def test_sgdm_without_momentum_is_gradient_descent() -> None:
    run = dt.loop(sgdm, (START, ZERO), iterations=100, learn_rate=0.1, momentum=0.0)
    assert_same_bits(run.state[0], dt.loop(descent, START, iterations=100, learn_rate=0.1).state)


# ---- states and values ------------------------------------------------------------------------------------------


def halve(state: Any) -> Any:
    return dt.tree.tree_map(lambda leaf: leaf * 0.5, state)


STATES: dict[str, Any] = {
    "number": 1.5,
    "int": 3,
    "numpy number": np.float64(1.5),
    "dlarray": dt.dlarray([1.0, 2.0]),
    "ndarray": np.arange(6.0).reshape(2, 3),
    "float32": np.arange(3, dtype=np.float32),
    "float32 number": np.float32(1.5),
    "both floats": (np.float32(1.5), 2.5),
    "list": [1.0, np.ones(2)],
    "tuple": (1.0, 2.0),
    "one": (1.0,),
    "dict": {"b": 1.0, "a": np.ones((2, 1))},
    "namedtuple": Pair(1.0, 2.0),
    "NamedTuple": Typed(np.ones(3), 2.0),
    "dataclass": Layer(np.ones((2, 2)), 0.5),
    "nested": {"layers": [Layer(np.ones((2, 2)), 0.5, "tanh"), Layer(1.0, 2.0)], "rest": (Pair(1.0, [2.0]), None)},
    "empty": (),
    "no elements": np.zeros((0, 3)),
}


@pytest.mark.parametrize("name", STATES)
def test_states_keep_their_containers(name: str) -> None:
    start = STATES[name]
    compiled, plain = by_hand(halve, start, iterations=3)
    assert_same_run(compiled, plain)
    as_arrays = dt.tree.tree_map(lambda leaf: leaf if isinstance(leaf, dt.dlarray) else dt.dlarray(leaf), start)
    if name != "int":  # Python's integers become floats, as everywhere
        assert_same_bits(compiled.state, dt.tree.tree_map(lambda leaf: leaf * 0.125, as_arrays))
    assert all(isinstance(leaf, dt.dlarray) for leaf in dt.tree.flatten(compiled.state)[0])
    assert compiled.value is None
    assert compiled.history is None


@pytest.mark.parametrize("name", STATES)
def test_values_keep_their_containers(name: str) -> None:
    value = STATES[name]
    compiled, plain = by_hand(lambda x: (x * 0.5, dt.tree.tree_map(lambda leaf: leaf * x, value)), 2.0, iterations=3)
    assert_same_run(compiled, plain)
    for record, leaf in zip(leaves(compiled.history), leaves(value), strict=True):
        assert record.shape == (3, *leaf.shape)


def test_the_start_is_left_alone() -> None:
    start = {"x": np.ones(3), "y": dt.dlarray([1.0, 2.0])}
    before = dt.tree.tree_map(lambda leaf: np.array(dt.extractdata(leaf)), start)
    run = dt.loop(halve, start, iterations=3)
    again = dt.loop(halve, run.state, iterations=3)
    assert_same_bits(start["x"], before["x"])
    assert_same_bits(start["y"], dt.dlarray(before["y"]))
    assert_same_bits(again.state, dt.loop(halve, start, iterations=6).state)


def test_labels_stay() -> None:
    start = dt.dlarray(np.arange(6.0).reshape(2, 3), "CB")

    def step(x: Any) -> Any:
        assert x.dims == "CB"
        if x.sum() > 1:  # so that a second path is traced later on
            return x * 0.5, x.sum(axis=0)
        return x * 0.25, x.sum(axis=0)

    compiled, plain = by_hand(step, start, iterations=10)
    assert_same_run(compiled, plain)
    for run in (compiled, plain):
        assert run.state.dims == "CB"
        assert run.value.dims == plain.value.dims


def test_states_that_change_places_stay_the_same_or_are_constant() -> None:
    cases: list[tuple[Callable[[Any], Any], Any]] = [
        (lambda s: (s[1], s[0]), (1.0, 2.0)),
        (lambda s: (s[2], s[0], s[1]), (1.0, 2.0, 3.0)),
        (lambda s: ((s[0], s[1] * 0.5), s[1]), (1.0, 2.0)),
        (lambda s: ((3.0, s[0]), s[1]), (1.0, 2.0)),
        (lambda s: ((s[0] * 0.5, s[0] * 0.5), s[0] * 0.5), (1.0, 2.0)),
        (lambda s: ((np.array([3.0, 4.0]), s[0]), s[1].sum()), (np.ones(2), np.zeros(2))),
        (lambda s: (s, 7.0), 1.0),
    ]
    for step, start in cases:
        assert_same_run(*by_hand(step, start, iterations=5))


def test_the_value_may_be_the_state_that_came_in() -> None:
    run = dt.loop(lambda x: (x * 0.5, x), 8.0, iterations=4)
    np.testing.assert_array_equal(run.history, [8.0, 4.0, 2.0, 1.0])
    assert float(run.value) == 1.0


def test_a_state_of_two_may_look_like_state_and_value() -> None:
    """(new state, value) is meant only where the whole is no state."""
    run = dt.loop(lambda s: (s[0] + 1, s[1] + 2), (0.0, 0.0), iterations=3)
    assert [float(x) for x in run.state] == [3.0, 6.0]
    assert run.value is None


def test_nothing_to_do() -> None:
    for start, step in ((1.0, lambda x: (x * 0.5, x)), (np.ones(3), halve)):
        compiled, plain = by_hand(step, start, iterations=0)
        assert_same_run(compiled, plain)
        assert (compiled.iterations, compiled.stopped, compiled.value) == (0, "iterations", None)
        assert_same_bits(compiled.state, dt.dlarray(start))


def test_one_iteration() -> None:
    compiled, plain = by_hand(lambda x: (x * 0.5, x), 2.0, iterations=1)
    assert_same_run(compiled, plain)
    assert float(compiled.state) == 1.0


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
    """The bits are those of the loop in Python, and of one that calls the schedule itself."""
    schedule = SCHEDULES[name]
    compiled, plain = by_hand(descent, START, iterations=60, learn_rate=schedule)
    assert_same_run(compiled, plain)
    x: Any = tuple(map(dt.dlarray, START))
    for iteration in range(1, 61):
        x, loss = descent(x, schedule(float(iteration)))
        assert float(loss) == pytest.approx(compiled.history[iteration - 1], rel=1e-11)


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


# ---- decisions --------------------------------------------------------------------------------------------------


def test_branching_steps() -> None:
    compiled, plain = by_hand(branching, (2.9, 0.0), iterations=200, learn_rate=0.2)
    assert_same_run(compiled, plain)
    assert compiled.history.max() > 1  # the rare reset did happen


def test_line_search() -> None:
    compiled, plain = by_hand(backtracking, START, iterations=100, shrink=0.5)
    assert_same_run(compiled, plain)
    assert len(set(compiled.history["rate"])) > 2
    assert compiled.history["loss"][-1] < 1e-3


def test_paths_are_traced_when_they_are_met_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(x: Any) -> Any:
        if x > 100:
            return x - 100
        if x < 0:
            raise AssertionError("never met")
        return x + 1

    traces = count_traces(monkeypatch)
    run = dt.loop(step, 0.0, iterations=1000)
    assert len(traces) == 2
    assert_same_run(run, dt.loop(step, 0.0, iterations=1000, compiled=False))


def test_a_path_that_fails_when_it_is_met() -> None:
    def step(x: Any) -> Any:
        if x > 3:
            raise ZeroDivisionError("over the edge")
        return x + 1

    for compiled in (True, False):
        with pytest.raises(ZeroDivisionError, match="over the edge"):
            dt.loop(step, 0.0, iterations=10, compiled=compiled)
        assert not _core.is_tracing()


# ---- until ------------------------------------------------------------------------------------------------------

UNTILS: dict[str, tuple[Callable[..., Any], int]] = {
    "state": (lambda state: state < 0.1, 4),
    "state and value": (lambda state, value: value < 0.1, 5),
    "by name": (lambda state, value, *, tolerance: value < tolerance, 8),
    "by name behind": (lambda state, value, tolerance: state < tolerance, 7),
    "without value": (lambda state, tolerance: state < tolerance, 7),
    "iteration": (lambda state, iteration: iteration >= 6, 6),
    "of both": (lambda state, value, iteration, tolerance: (state < tolerance) & (iteration > 9), 10),
    "decides": (lambda state: True if state < 0.2 else state == 0.25, 2),
    "numpy bool": (lambda state: np.bool_(False), 20),
    "at once": (lambda state: True, 1),
    "array of one": (lambda state: dt.numpy.reshape(state, (1,)) < 0.1, 4),
}


@pytest.mark.parametrize("name", UNTILS)
def test_until(name: str) -> None:
    until, wanted = UNTILS[name]
    compiled, plain = by_hand(lambda x: (x * 0.5, x), 1.0, iterations=20, until=until, tolerance=0.01) if (
        "tolerance" in until.__code__.co_varnames
    ) else by_hand(lambda x: (x * 0.5, x), 1.0, iterations=20, until=until)  # fmt: skip
    assert_same_run(compiled, plain)
    assert compiled.iterations == wanted
    assert compiled.stopped == ("iterations" if wanted == 20 else "until")
    assert float(compiled.state) == 0.5**wanted


def test_until_in_the_last_iteration_is_until() -> None:
    assert dt.loop(lambda x: x * 0.5, 1.0, iterations=4, until=lambda x: x < 0.1).stopped == "until"
    assert dt.loop(lambda x: x * 0.5, 1.0, iterations=3, until=lambda x: x < 0.1).stopped == "iterations"


# ---- records ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2, 3, 7, 10, 11, None])
def test_record_every(every: int | None) -> None:
    compiled, plain = by_hand(
        lambda x, iteration: (x + 1, {"k": iteration, "x": x}), 0.0, iterations=10, record_every=every
    )
    assert_same_run(compiled, plain)
    if every is None:
        assert compiled.history is None
        assert compiled.record_every is None
        return
    np.testing.assert_array_equal(compiled.history["k"], np.arange(every, 11, every))
    np.testing.assert_array_equal(compiled.recorded, np.arange(every, 11, every))


def test_by_default_there_are_ten_thousand_records_at_most() -> None:
    step = lambda x: (x + 1, x)  # noqa: E731
    assert dt.loop(step, 0.0, iterations=500).history.shape == (500,)
    run = dt.loop(step, 0.0, iterations=1_000_000)
    assert run.record_every == 100
    np.testing.assert_array_equal(run.history, np.arange(99, 1_000_000, 100))


def test_a_history_ends_where_the_run_ends() -> None:
    run = dt.loop(lambda x: (x * 0.5, x), 1.0, iterations=1000, until=lambda x: x < 0.01, record_every=3)
    assert run.iterations == 7
    np.testing.assert_array_equal(run.history, [0.25, 0.03125])


# ---- numbers that are not finite --------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "iterations"), [(0.22, 10), (0.25, 8), (0.30, 7)])
def test_diverging_runs_stop(rate: float, iterations: int) -> None:
    run = dt.loop(descent, START, iterations=5000, learn_rate=rate)
    assert (run.stopped, run.iterations) == ("nonfinite", iterations)
    assert all(np.isfinite(leaf).all() for leaf in leaves(run.state))
    assert_same_bits(run.state, dt.loop(descent, START, iterations=iterations - 1, learn_rate=rate).state)
    assert run.history.shape == (iterations,)
    assert_same_run(*by_hand(descent, START, iterations=5000, learn_rate=rate))


def test_long_after_the_start_too() -> None:
    """Found at the right iteration wherever in a stretch of iterations it happens."""
    for last in (1, 2, 255, 256, 257, 1000, 2500):
        compiled, plain = by_hand(
            lambda x, n, iteration: (dt.numpy.sqrt(n - iteration) + x * 0, x), 1.0, iterations=5000, n=float(last)
        )
        assert_same_run(compiled, plain)
        assert (compiled.stopped, compiled.iterations) == ("nonfinite", last + 1)


def test_only_the_state_must_be_finite() -> None:
    run = dt.loop(lambda x, iteration: (x + 1, 1 / (iteration - 3)), 0.0, iterations=5)
    assert run.stopped == "iterations"
    assert np.isinf(run.history[2])


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


# ---- random numbers ---------------------------------------------------------------------------------------------


def test_random_numbers() -> None:
    compiled, plain = by_hand(noisy, 0.0, iterations=50, scale=1.0, seed=3)
    assert_same_run(compiled, plain)
    assert len(set(compiled.history)) == 50
    other = dt.loop(noisy, 0.0, iterations=50, scale=1.0, seed=4)
    assert (other.history[1:] != compiled.history[1:]).all()


# ---- progress and Ctrl-C ----------------------------------------------------------------------------------------


def slow(x: Any, iteration: Any) -> Any:
    """A step whose million iterations take longer than a slice."""
    for _ in range(20):
        x = dt.numpy.sin(x) + 1e-3
    return x, iteration


def test_progress_is_told() -> None:
    calls: list[tuple[int, int]] = []
    dt.loop(slow, 0.5, iterations=1_500_000, progress=lambda done, total: calls.append((done, total)))
    assert len(calls) > 1
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1] == (1_500_000, 1_500_000)
    calls.clear()
    dt.loop(slow, 0.5, iterations=3, progress=lambda done, total: calls.append((done, total)), compiled=False)
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    for compiled in (True, False):
        dt.loop(slow, 0.5, iterations=10, progress=True, compiled=compiled)
        assert "it" in capsys.readouterr().err


def test_no_progress_bar_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"loop: progress=True shows a bar of tqdm.*pip install dualtape\[progress\]"):
        dt.loop(slow, 0.5, iterations=10, progress=True)


def interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_gives_what_there_is() -> None:
    run = dt.loop(slow, 0.5, iterations=10**12, record_every=100_000_000, progress=interrupt)
    assert run.stopped == "interrupted"
    assert run.iterations > 1
    assert float(run.value) == run.iterations
    assert_same_bits(run.state, dt.loop(slow, 0.5, iterations=run.iterations).state)
    assert not _core.is_tracing()


def test_ctrl_c_in_python() -> None:
    def at_three(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    run = dt.loop(slow, 0.5, iterations=10, progress=at_three, compiled=False)
    assert (run.stopped, run.iterations) == ("interrupted", 3)
    np.testing.assert_array_equal(run.history, [1, 2, 3])


def test_other_errors_of_the_progress_are_errors() -> None:
    def broken(done: int, total: int) -> None:
        raise OSError("no terminal")

    for compiled in (True, False):
        with pytest.raises(OSError, match="no terminal"):
            dt.loop(slow, 0.5, iterations=10, progress=broken, compiled=compiled)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal of POSIX")
def test_a_real_ctrl_c() -> None:
    program = """
        import signal
        import numpy as np
        import dualtape as dt
        # A shell that starts the tests in the background has them ignore the signal.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        def step(x, iteration):
            return dt.numpy.sin(x) + 1e-3, iteration
        print("ready", flush=True)
        run = dt.loop(step, 0.5, iterations=10**12, record_every=None)
        print(run.stopped, run.iterations == float(run.value), run.iterations > 0)
        runs = dt.sweep(step, lambda x: x, iterations=10**12, over=dt.grid(x=np.linspace(0, 1, 2000)))
        print(sorted(set(runs.stopped.tolist())), (runs.iterations == runs.value)[runs.iterations > 0].all())
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True, env=environment
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        lines = []
        for _ in range(2):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.7)
            process.send_signal(signal.SIGINT)
            watchdog = threading.Timer(60, process.kill)  # a line that never comes must not hold up the others
            watchdog.start()
            lines.append(process.stdout.readline().strip())
            watchdog.cancel()
        assert process.wait(20) == 0
    assert lines == ["interrupted True True", "['interrupted'] True"]


# ---- nothing is left open ---------------------------------------------------------------------------------------


def test_loops_inside_functions_that_are_differentiated() -> None:
    """A loop starts from numbers; in a trace it says so."""
    with pytest.raises(dt.TraceError):
        dt.trace(lambda x: dt.loop(halve, x, iterations=3).state, 2.0)
    assert not _core.is_tracing()
    assert float(dt.loop(halve, 8.0, iterations=3).state) == 1.0
