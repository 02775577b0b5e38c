# SPDX-License-Identifier: MIT
"""Results of loops and sweeps: single runs, the best one, reasons, text. All data is made up; tables and files are in
test_result_files.py."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from made_up import Pair, line, runs_of, same

import dualtape as dt
from dualtape.loops._over import grid
from dualtape.loops._results import Run

# ---- one run ----------------------------------------------------------------------------------------------


def test_run() -> None:
    run = Run(
        state={"x1": dt.dlarray(1.0)}, value=dt.dlarray(0.5), history=np.array([3.0, 2.0, 0.5]), iterations=61,
        stopped="until", record_every=20, seconds=0.00123,
    )  # fmt: skip
    assert run.recorded.tolist() == [20, 40, 60]
    assert run.recorded.dtype == np.int64
    assert repr(run).splitlines() == [
        "Run: stopped by until after 61 iterations, in 1.23 ms",
        "  state {'x1': 1}",
        "  value 0.5; history: 3 records, every 20 iterations",
    ]


@pytest.mark.parametrize(
    ("stopped", "iterations", "first"),
    [
        ("iterations", 1234, "Run: ran all of its 1,234 iterations"),
        ("iterations", 1, "Run: ran all of its 1 iteration"),
        ("nonfinite", 7, "Run: stopped: not finite in iteration 7"),
        ("interrupted", 0, "Run: interrupted after 0 iterations"),
    ],
)
def test_run_without_extras(stopped: str, iterations: int, first: str) -> None:
    run = Run(state=(1.0, np.ones((2, 3))), iterations=iterations, stopped=stopped)
    assert repr(run).splitlines() == [first, "  state (1, <2 x 3>)", "  value None; history: nothing"]
    assert run.recorded.size == 0
    assert math.isnan(run.seconds)


def test_a_long_state_is_cut() -> None:
    lines = repr(Run(state=[1.0] * 1000, iterations=1, stopped="until")).splitlines()
    assert len(lines) == 3
    assert lines[1].endswith(" ...")
    assert max(map(len, lines)) < 120


def test_reasons_are_checked() -> None:
    with pytest.raises(ValueError, match=r"Run\(stopped='done'\): there is no such reason"):
        Run(state=1.0, iterations=1, stopped="done")


# ---- many runs --------------------------------------------------------------------------------------------


def test_runs_have_the_axes_of_the_sweep() -> None:
    runs = runs_of()
    assert (runs.shape, runs.size, len(runs)) == ((3, 2), 6, 6)
    assert runs.recorded.tolist() == [10, 20, 30, 40]
    assert runs.iterations.dtype == np.int64
    assert runs.stopped.dtype.kind == "U"
    assert runs.state["W"].shape == (3, 2, 2, 3)


def test_one_of_the_runs() -> None:
    runs = runs_of()
    run = runs[1, 1]
    assert (run.iterations, run.stopped, run.record_every) == (30, "until", 10)
    assert isinstance(run.state["x1"], dt.dlarray)
    assert float(run.state["x1"]) == 3.0
    np.testing.assert_array_equal(dt.extractdata(run.state["W"]), 3.0 + np.ones((2, 3)))
    assert float(run.value["loss"]) == 7.0
    assert run.history["loss"].tolist() == [11.0, 10.0, 9.0]
    assert run.history["g"].shape == (3, 3)
    assert run.recorded.tolist() == [10, 20, 30]
    run.history["loss"][0] = 0  # its own
    assert runs.history["loss"][1, 1, 0] == 11.0
    assert runs[-2, -1].iterations == 30
    assert [r.iterations for r in runs] == runs.iterations.ravel().tolist()


def test_one_axis() -> None:
    runs = line()
    assert runs[1].stopped == runs[(1,)].stopped == runs[np.int64(-2)].stopped == "until"
    assert runs[0].history is None
    assert len(list(runs)) == 3
    assert runs.recorded.size == 0
    single = line(state={"x": np.zeros(3, np.float32)}, value=None)[0]
    assert single.value is None
    assert dt.extractdata(single.state["x"]).dtype == np.float32


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (0, IndexError, r"runs\[0\]: there must be one index per axis; got 1 for axes of \(3, 2\); runs\[0, 0\] is"),
        ((0,), IndexError, r"one index per axis; got 1 for axes of \(3, 2\)"),
        ((3, 0), IndexError, r"no such run; got 3 for 3 of them"),
        ((0, slice(None)), TypeError, r"found by integers; got slice"),
    ],
)
def test_bad_indices(index, error, message) -> None:
    with pytest.raises(error, match=message):
        runs_of()[index]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"iterations": np.ones(6)},
            dt.ShapeError,
            r"Runs\(iterations\): there must be one entry per run; got shape \(6,",
        ),
        ({"stopped": np.array(["until"])}, dt.ShapeError, r"Runs\(stopped\): .*the sweep's axes are \(3, 2\)"),
        (
            {"state": {"x1": np.ones(6)}},
            dt.ShapeError,
            r"Runs\(state\['x1'\]\): results have the sweep's axes in front",
        ),
        ({"value": np.ones(())}, dt.ShapeError, r"Runs\(value\)"),
        ({"record_every": None}, ValueError, r"a history needs to know its iterations"),
        (
            {"history": [np.ones((3, 2, 4)), np.ones((3, 2, 5))]},
            dt.ShapeError,
            r"Runs\(history\[1\]\): .*the first axes must be \(3, 2, 4\)",
        ),
    ],
)
def test_results_that_do_not_fit(changes, error, message) -> None:
    with pytest.raises(error, match=message):
        runs_of(**changes)


def test_runs_pickle_without_their_reasons() -> None:
    runs = runs_of(why=lambda index: "because")
    again = pickle.loads(pickle.dumps(runs))
    same(again, runs)
    with pytest.raises(ValueError, match="needs the step itself"):
        again.why((2, 1))


# ---- the best ---------------------------------------------------------------------------------------------


def test_the_best_run_is_finite() -> None:
    runs = runs_of()
    assert runs.value["loss"].min() == runs.value["loss"][2, 1]  # which is not finite, and does not count
    assert runs.best() == (2, 0)
    assert runs.best("value['loss']") == runs.best("value.loss") == (2, 0)
    assert runs.best("state['x1']") == runs.best("state.x1") == (0, 0)
    assert runs.best(lambda runs: runs.iterations) == (0, 1)
    assert runs.over.at(runs.best()) == {"learn_rate": 0.2, "momentum": 0.0}
    assert type(line().best()) is int
    assert line().best() == 1
    assert line(value=np.array([np.nan, -np.inf, 0.0])[::-1], stopped=["until"] * 3).best() == 0


@pytest.mark.parametrize(
    "value",
    [
        Pair(np.array([2.0, 1.0, 3.0]), np.zeros(3)),
        {"loss": np.array([2.0, 1.0, 3.0]), "a": np.zeros(3)},
        [np.array([2.0, 1.0, 3.0])],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_run_is_judged_by(value: Any) -> None:
    assert line(value=value, stopped=["until"] * 3).best() == 1


def test_the_first_of_equals() -> None:
    assert line(value=np.array([1.0, 0.5, 0.5]), stopped=["until"] * 3).best() == 1


def test_the_best_on_the_way() -> None:
    history = {"loss": np.array([[9.0, 1.0], [5.0, np.nan], [np.inf, np.nan]])}
    runs = line(value={"loss": np.array([3.0, 2.0, np.nan])}, history=history, record_every=2)
    assert runs.best() == 1
    assert runs.best(last=False) == 0
    assert runs.best("value.loss", last=False) == 0


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (
            lambda: line(stopped=["nonfinite"] * 3).best(),
            ValueError,
            r"there is no best run; got 3 runs of which none is f",
        ),
        (
            lambda: line(value=(np.ones(3), np.ones((3, 2)))).best(),
            ValueError,
            r"best\(by=None\): it is not clear which value is meant.*value\[0\] of shape \(\), "
            r'value\[1\] of shape \(2,\); pass by="value\[0\]" \(or state\[0\]\)',
        ),
        (lambda: line(value=None).best(), ValueError, r'got no value from the step; pass by="state\[0\]"'),
        (
            lambda: line(value=None, state=np.ones((3, 2))).best(),
            ValueError,
            r"not clear.*pass by=a function of the runs",
        ),
        (lambda: line().best("value.loss"), ValueError, r"got 'value\.loss'; these runs have value, state\[0\]\."),
        (lambda: line().best(3), ValueError, r"got 3; these runs have"),
        (
            lambda: runs_of().best("state['W']"),
            dt.ShapeError,
            r"one number each; got \"state\['W'\]\", which has shape \(2, 3",
        ),
        (
            lambda: runs_of().best(lambda runs: runs.state["W"]),
            dt.ShapeError,
            r"got shape \(3, 2, 2, 3\); the shape wanted",
        ),
        (lambda: line().best(last=False), ValueError, r"recorded nothing; .*record_every=100"),
        (
            lambda: runs_of().best("state.x1", last=False),
            ValueError,
            r"the history has history\['g'\], history\['loss'\]",
        ),
        (lambda: runs_of().best(len, last=False), ValueError, "a function of the runs says itself what counts"),
    ],
)
def test_no_best(act, error, message) -> None:
    with pytest.raises(error, match=message):
        act()


def test_reasons() -> None:
    asked: list[int] = []

    def why(index: int) -> str:
        asked.append(index)
        return "division by zero in my_loss"

    runs = runs_of(why=why)
    assert runs.why((2, 1)) == runs.why(5) == runs.why((-1, -1)) == "division by zero in my_loss"
    assert asked == [5, 5, 5]
    with pytest.raises(ValueError, match=r"why\(0\): only a run that is not finite .*stopped as 'iterations'"):
        runs.why(0)
    with pytest.raises(IndexError, match="no such run"):
        runs.why(6)


# ---- text -------------------------------------------------------------------------------------------------


def test_repr() -> None:
    assert repr(runs_of()).splitlines() == [
        "Runs: 6 runs over learn_rate (3) x momentum (2) in 12.3 ms",
        "  3 ran all iterations, 2 stopped by until, 1 not finite",
        "  best: loss 6 at learn_rate = 0.2, momentum = 0: runs[2, 0]",
    ]
    assert repr(line(value=None)).endswith('best: say by what: runs.best(by="...")')
    assert repr(line(stopped=["nonfinite"] * 3)).endswith("best: none: no run is finite")
    arrays = line(over=grid(w=np.arange(6.0).reshape(3, 2)))
    assert repr(arrays).endswith("best: value 0.25 at w = [2. 3.]: runs[1]")


def test_summary() -> None:
    assert runs_of().summary().splitlines() == [
        "6 runs over learn_rate (3) x momentum (2) in 12.3 ms",
        "  ran all iterations             3   50.0 %",
        "  stopped by until               2   33.3 %",
        "  not finite                     1   16.7 %",
        "  iterations: least 30, 5 % 30, median 30, 95 % 40, most 40",
        "  work: 210 iterations, 58.6 us each; 90.0 % of what the lanes did was useful",
        "  best: loss 6 at learn_rate = 0.2, momentum = 0: runs[2, 0]",
    ]
    assert runs_of().summary("state.x1").endswith("best: state.x1 0 at learn_rate = 0.01, momentum = 0: runs[0, 0]")
    assert "work" not in line().summary()
    with pytest.raises(ValueError, match="got 'loss'"):
        line().summary("loss")


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.5e-8, "15 ns"), (2.5e-5, "25 us"), (0.5, "500 ms"), (61.2, "61.2 s"), (600, "10.0 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert repr(line(seconds=seconds)).splitlines()[0].endswith(f"in {text}")
