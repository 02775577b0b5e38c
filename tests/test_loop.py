# SPDX-License-Identifier: MIT
"""dt.loop: trees of states and values, decisions, stopping, records, random numbers. Where a loop in plain Python is
the judge, bits are compared. What a step is given is in test_loop_inputs.py, mistakes are in test_loop_errors.py."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from steps import (
    START,
    assert_same_bits,
    assert_same_run,
    backtracking,
    branching,
    by_hand,
    count_traces,
    descent,
    leaves,
    noisy,
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


# ---- random numbers ---------------------------------------------------------------------------------------------


def test_random_numbers() -> None:
    compiled, plain = by_hand(noisy, 0.0, iterations=50, scale=1.0, seed=3)
    assert_same_run(compiled, plain)
    assert len(set(compiled.history)) == 50
    other = dt.loop(noisy, 0.0, iterations=50, scale=1.0, seed=4)
    assert (other.history[1:] != compiled.history[1:]).all()


# ---- nothing is left open ---------------------------------------------------------------------------------------


def test_loops_inside_functions_that_are_differentiated() -> None:
    """A loop starts from numbers; in a trace it says so."""
    with pytest.raises(dt.TraceError):
        dt.trace(lambda x: dt.loop(halve, x, iterations=3).state, 2.0)
    assert not _core.is_tracing()
    assert float(dt.loop(halve, 8.0, iterations=3).state) == 1.0
