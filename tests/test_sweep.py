# SPDX-License-Identifier: MIT
"""dt.sweep: starts and hyperparameters that are swept, runs that stop at different times, decisions that runs take
differently. The judge is one loop for each run, to the bit."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from steps import (
    START,
    assert_each_as_alone,
    assert_same_run,
    backtracking,
    branching,
    count_traces,
    descent,
    noisy,
    seeded,
    valley,
    valley_and_slopes,
)

import dualtape as dt
from dualtape.loops import _sweep

# ---- where runs come from ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("lanes", [None, 1, 3, 8, 64])
def test_the_same_bits_in_any_lane(lanes: int | None, threads: int) -> None:
    over = dt.grid(learn_rate=np.linspace(0.01, 0.25, 30))
    options: dict[str, Any] = {"iterations": 60, "over": over, "record_every": 7}
    wanted = dt.sweep(descent, START, **options)
    runs = dt.sweep(descent, START, lanes=lanes, threads=threads, **options)
    assert_same_run(runs, wanted)
    assert runs.history.shape == (30, 8)
    assert_each_as_alone(descent, START, wanted, range(0, 30, 7), iterations=60)


def test_eager_sweeps_agree() -> None:
    for step, start, over in (
        (descent, START, dt.grid(learn_rate=[0.1, 0.2, 0.25])),
        (branching, (2.0, 0.0), dt.grid(learn_rate=[0.1, 0.3])),
        (lambda x, a: x * a, np.ones(2), dt.grid(a=[0.5, 2.0])),
        (lambda x, a: (x * a, {"a": a, "x": x}), np.ones(2, np.float32), dt.grid(a=[0.5, 2.0])),
    ):
        for every in (None, 1, 4, 50):
            options: dict[str, Any] = {"iterations": 40, "over": over, "record_every": every}
            compiled = dt.sweep(step, start, contract=False, **options)
            assert_same_run(compiled, dt.sweep(step, start, compiled=False, **options))


def test_one_run() -> None:
    runs = dt.sweep(descent, START, iterations=100, over=dt.grid(learn_rate=[0.1]), record_every=10)
    assert runs.shape == (1,)
    assert_each_as_alone(descent, START, runs, iterations=100)


def test_nothing_to_do() -> None:
    runs = dt.sweep(descent, START, iterations=0, over=dt.grid(learn_rate=[0.1, 0.2]), record_every=1)
    assert runs.iterations.tolist() == [0, 0]
    assert runs.stopped.tolist() == ["iterations"] * 2
    np.testing.assert_array_equal(runs.state[0], [2, 2])
    assert runs.history.shape == (2, 0)
    assert np.isnan(runs.value).all()


def start_at(x1: Any, x2: Any) -> Any:
    return x1, x2


def test_starts_are_functions_of_what_is_swept() -> None:
    over = dt.points(x1=seeded(12), x2=seeded(12, 1)) * dt.grid(learn_rate=[0.01, 0.05])
    runs = dt.sweep(descent, start_at, iterations=30, over=over, record_every=30)
    assert runs.shape == (12, 2)
    assert_each_as_alone(descent, start_at, runs, iterations=30)
    plain = dt.sweep(descent, start_at, iterations=30, over=over, record_every=30, compiled=False)
    assert_same_run(dt.sweep(descent, start_at, iterations=30, over=over, record_every=30, contract=False), plain)


@pytest.mark.parametrize(
    "start",
    [
        lambda a: {"x": dt.numpy.stack([a, a * 2]), "n": 0},
        lambda a: {"x": np.array([1.0, 2.0]) * math.exp(float(a)), "n": 0.0},  # not traceable: called for each run
        lambda a: {"x": [a, 1.0], "n": a} if a > 0.2 else {"x": [a, a], "n": 2.0},
        lambda a, b=2.0: {"x": a * b, "n": 1},
    ],
)
def test_starts_of_any_kind(start: Any) -> None:
    def step(state: Any, a: Any) -> Any:
        state = dt.tree.tree_map(lambda leaf: leaf * a, state)
        return state, state["n"]

    runs = dt.sweep(step, start, iterations=5, over=dt.grid(a=[0.1, 0.2, 0.3, 0.4]), record_every=1)
    for run, a in enumerate([0.1, 0.2, 0.3, 0.4]):
        one = dt.loop(step, start(a=dt.dlarray(a)), iterations=5, a=a, record_every=1)
        assert_same_run(runs[run], one)


def test_hyperparameters_that_are_swept_may_be_arrays() -> None:
    def step(x: Any, w: Any, rate: Any) -> Any:
        return x * w * rate, x @ w

    over = dt.grid(w=np.linspace(0, 1, 12).reshape(4, 3), rate=np.array([0.5, 0.25], np.float32))
    runs = dt.sweep(step, np.ones(3), iterations=4, over=over, record_every=1)
    assert runs.state.shape == (4, 2, 3)
    assert runs.history.shape == (4, 2, 4)
    assert_each_as_alone(step, np.ones(3), runs, iterations=4)


def test_functions_of_what_is_swept() -> None:
    """A schedule may name a swept hyperparameter; fixed and shared ones are there too."""

    def rate(k: Any, base: Any, decay: Any) -> Any:
        return base / (1 + decay * k) if k < 20 else base / 100

    options: dict[str, Any] = {"iterations": 40, "decay": 0.1}
    over = dt.grid(base=[0.01, 0.1, 0.2])
    runs = dt.sweep(descent, START, over=over, record_every=1, learn_rate=rate, **options)
    assert_each_as_alone(descent, START, runs, learn_rate=rate, **options)


def test_arrays_that_depend_on_the_iteration_while_runs_are_at_different_ones() -> None:
    def step(x: Any, weights: Any, a: Any, iteration: Any) -> Any:
        return x * weights + a / iteration, x.sum()

    for function in (lambda k: np.arange(1.0, 4.0) / (k + 1), lambda k: np.arange(1.0, 4.0) / math.exp(float(k) / 9)):
        options: dict[str, Any] = {
            "iterations": 60, "weights": function, "until": lambda state, value, a: value < 3 * a
        }  # fmt: skip
        runs = dt.sweep(step, np.ones(3), over=dt.grid(a=np.geomspace(1e-3, 1, 21)), lanes=4, record_every=5, **options)
        assert len(set(runs.iterations.tolist())) > 3
        assert_each_as_alone(step, np.ones(3), runs, **options)


@dataclasses.dataclass
class Cell:
    w: Any
    memory: Any


def test_states_and_values_are_trees() -> None:
    def step(cell: Any, a: Any) -> Any:
        w = cell.w * a + cell.memory[1]
        return Cell(w, [w.sum(), cell.memory[0] * 0.5]), {"sum": w.sum(), "parts": (w, [a])}

    start = Cell(np.ones((2, 3)), [0.0, 1.0])
    runs = dt.sweep(step, start, iterations=6, over=dt.grid(a=[0.1, 0.5, 0.9]), record_every=2)
    assert isinstance(runs.state, Cell)
    assert runs.state.w.shape == (3, 2, 3)
    assert runs.history["parts"][0].shape == (3, 3, 2, 3)
    assert_each_as_alone(step, start, runs, iterations=6)


def test_labelled_states() -> None:
    start = dt.dlarray(np.ones((2, 3)), "CB")

    def step(x: Any, a: Any) -> Any:
        assert x.dims == "CB"
        return (x * a if x.sum() > 2 else x + a), x.sum()

    runs = dt.sweep(step, start, iterations=20, over=dt.grid(a=[0.1, 0.5, 0.9]))
    for index, a in enumerate([0.1, 0.5, 0.9]):
        np.testing.assert_array_equal(runs.state[index], np.asarray(dt.loop(step, start, iterations=20, a=a).state))


def test_a_swept_optimizer() -> None:
    def step(state: Any, learn_rate: Any, decay: Any, iteration: Any) -> Any:
        x, g, g2 = state
        _, *slopes = dt.dlfeval(valley_and_slopes, *x)
        x, g, g2 = dt.adamupdate(x, tuple(slopes), g, g2, iteration, learn_rate, decay)
        return (x, g, g2), valley(*x)

    start = (START, (0.0, 0.0), (0.0, 0.0))
    over = dt.grid(learn_rate=np.geomspace(1e-3, 0.5, 5), decay=[0.0, 0.9])
    runs = dt.sweep(step, start, iterations=200, over=over, record_every=50)
    assert_each_as_alone(step, start, runs, iterations=200)
    assert runs.value[3, 1] < 1e-2


# ---- runs that stop at different times --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 5, 8, 61])
@pytest.mark.parametrize("lanes", [1, 4, 8, None])
def test_runs_give_their_lanes_to_others(lanes: int | None, count: int) -> None:
    over = dt.points(x1=seeded(count), x2=seeded(count, 1))
    options: dict[str, Any] = {"iterations": 400, "until": lambda state, loss: loss < 1e-3, "learn_rate": 0.02}
    runs = dt.sweep(descent, start_at, over=over, lanes=lanes, record_every=50, **options)
    assert_each_as_alone(descent, start_at, runs, **options)
    if count > 8:
        assert {"until", "iterations"} <= set(runs.stopped.tolist())
    assert 0 < runs.useful <= 1
    # records end where the run did
    for run in range(count):
        assert np.isnan(runs.history[run, runs.iterations[run] // 50 :]).all()
        assert np.isfinite(runs.history[run, : runs.iterations[run] // 50]).all() or runs.stopped[run] == "nonfinite"


def test_useful_lanes() -> None:
    """Where runs wait for lanes, hardly any iteration is computed in vain."""

    def step(x: Any) -> Any:
        return x + 1, x

    def until(x: Any, value: Any, n: Any) -> Any:
        return x >= n

    over = dt.grid(n=np.random.default_rng(0).permutation(np.arange(1.0, 1001.0)))
    runs = dt.sweep(step, 0.0, iterations=2000, over=over, until=until, lanes=16, threads=1)
    np.testing.assert_array_equal(runs.iterations, over.columns()["n"])
    np.testing.assert_array_equal(runs.state, over.columns()["n"])
    assert runs.useful > 0.95


def test_results_are_at_their_own_place() -> None:
    over = dt.points(a=seeded(50)) * dt.grid(n=np.arange(1.0, 8.0), b=[0.0, 1.0])
    runs = dt.sweep(
        lambda x, a, b: (x + a, x * b),
        0.0,
        iterations=20,
        over=over,
        until=lambda x, v, iteration, n: iteration >= n,
        lanes=8,
    )
    assert runs.shape == (50, 7, 2)
    n = np.broadcast_to(np.arange(1, 8)[:, None], (50, 7, 2))
    np.testing.assert_array_equal(runs.iterations, n)
    np.testing.assert_allclose(runs.state, n * np.array(seeded(50))[:, None, None], rtol=1e-13)
    assert (runs.value[..., 0] == 0).all()
    np.testing.assert_allclose(runs.value[..., 1], (n[..., 1] - 1) * np.array(seeded(50))[:, None], rtol=1e-13)


def test_values_of_every_dtype() -> None:
    def step(x: Any, a: Any) -> Any:
        return x * a, {"small": x.sum(), "flag": (x > 0.3).all(), "where": dt.numpy.argmax(x)}

    start = np.array([0.5, 1.0], np.float32)
    runs = dt.sweep(
        step, start, iterations=9, over=dt.grid(a=[0.1, 0.5, 0.9]), until=lambda x: x[0] < 0.2, record_every=1
    )
    assert runs.state.dtype == runs.value["small"].dtype == np.float32
    assert runs.value["flag"].dtype == np.bool_
    assert np.isnan(runs.history["small"][0, 1:]).all()
    assert_each_as_alone(step, start, runs, iterations=9, until=lambda x: x[0] < 0.2)


# ---- decisions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("until", [None, lambda state, value: abs(value) < 1e-3])
@pytest.mark.parametrize("lanes", [None, 4])
def test_branching_steps(lanes: int | None, until: Any) -> None:
    def start(x: Any) -> Any:
        return x, 0.0

    over = dt.grid(x=seeded(40)) * dt.grid(learn_rate=[0.05, 0.3])
    options: dict[str, Any] = {"iterations": 120, "until": until}
    runs = dt.sweep(branching, start, over=over, record_every=40, lanes=lanes, **options)
    assert_each_as_alone(branching, start, runs, **options)
    plain = dt.sweep(branching, start, over=dt.grid(x=seeded(3)), learn_rate=0.3, compiled=False, **options)
    one = dt.sweep(branching, start, over=dt.grid(x=seeded(3)), learn_rate=0.3, contract=False, **options)
    assert_same_run(one, plain)


def test_line_searches() -> None:
    options: dict[str, Any] = {"iterations": 150, "until": lambda state, value: value["loss"] < 1e-8}
    over = dt.points(x1=seeded(25), x2=seeded(25, 1)) * dt.grid(shrink=[0.5, 0.8])
    runs = dt.sweep(backtracking, start_at, over=over, record_every=30, **options)
    assert_each_as_alone(backtracking, start_at, runs, **options)
    assert (runs.value["loss"] < 1e-3).all()
    assert len(np.unique(runs.value["rate"])) > 3


def test_paths_that_come_late_and_by_one_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(x: Any, limit: Any) -> Any:
        if x > limit:
            return x * 0, x
        return x + 1, x

    traces = count_traces(monkeypatch)
    runs = dt.sweep(step, 0.0, iterations=3000, over=dt.grid(limit=[1e9, 1e9, 2500.0, 1e9]), record_every=500)
    assert len(traces) == 2
    assert runs.state.tolist() == [3000, 3000, 3000 - 2502, 3000]
    assert_each_as_alone(step, 0.0, runs, iterations=3000)


def test_decisions_with_minibatches() -> None:
    def step(w: Any, batch: Any, rate: Any) -> Any:
        error = (batch[0] * w - batch[1]).mean()
        w = w - rate * error
        return (w * 0.5 if abs(w) > 2 else w), error

    rng = np.random.default_rng(0)
    x = rng.normal(size=30)
    options: dict[str, Any] = {"iterations": 50, "data": (x, 3 * x + 1), "batch_size": 8, "shuffle": 5}
    runs = dt.sweep(step, 0.0, over=dt.grid(rate=[0.1, 0.5, 1.0, -1.0]), record_every=10, **options)
    assert_each_as_alone(step, 0.0, runs, **options)


def test_runs_of_one_block_stop_each_in_its_own_time() -> None:
    def step(state: Any, rate: Any, iteration: Any) -> Any:
        x, m = state
        m = 0.9 * m + 0.1 * (2 * x)
        return (x - rate * m / (1 - 0.9**iteration), m), x

    options: dict[str, Any] = {"iterations": 400, "until": lambda state, x: abs(x) < 1e-3}
    over = dt.grid(rate=np.linspace(0.01, 0.2, 64))
    runs = dt.sweep(step, (3.0, 0.0), over=over, record_every=1, **options)
    assert len(set(runs.iterations.tolist())) > 20
    assert_each_as_alone(step, (3.0, 0.0), runs, **options)


def test_minibatches_with_until() -> None:
    """All runs see the same batch, so nobody gets a lane before the others are done."""
    options: dict[str, Any] = {
        "iterations": 30,
        "data": np.arange(12.0),
        "batch_size": 5,
        "shuffle": 5,
        "until": lambda x, v, limit: x > limit,
    }
    over = dt.grid(limit=np.linspace(0, 200, 13))
    runs = dt.sweep(lambda x, batch: (x + batch.sum(), batch), 0.0, over=over, lanes=4, record_every=1, **options)
    assert len(set(runs.iterations.tolist())) > 4
    assert_each_as_alone(lambda x, batch, limit: (x + batch.sum(), batch), 0.0, runs, **options)


def test_random_numbers_differ_from_run_to_run() -> None:
    over = dt.grid(scale=np.ones(20))
    runs = dt.sweep(noisy, 0.0, over=over, iterations=30, record_every=1, seed=1, lanes=4)
    assert len(set(runs.state.tolist())) == 20
    assert_same_run(runs, dt.sweep(noisy, 0.0, over=over, iterations=30, record_every=1, seed=1, threads=1))
    plain = dt.sweep(noisy, 0.0, over=over, iterations=30, record_every=1, seed=1, compiled=False)
    assert_same_run(dt.sweep(noisy, 0.0, over=over, iterations=30, record_every=1, seed=1, contract=False), plain)
    assert_same_run(runs[0], dt.loop(noisy, 0.0, iterations=30, record_every=1, seed=1, scale=1.0))


# ---- memory -----------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_before_any_work() -> None:
    def step(x: Any, a: Any) -> Any:
        return x * a, x

    over = dt.grid(a=np.linspace(0, 1, 1000))
    for start, options in (
        (1.0, {"iterations": 10**12, "record_every": 10}),
        (np.ones((100, 100)), {"iterations": 10**9, "record_every": 1000}),
    ):
        with pytest.raises(
            MemoryError, match=r"sweep: [\d,]+ bytes are needed for 1,000 runs with [\d,]+ records each"
        ):
            dt.sweep(step, start, over=over, **options)
    large = dt.grid(a=np.linspace(0, 1, 100_000), b=np.linspace(0, 1, 100_000), c=np.linspace(0, 1, 1000))
    with pytest.raises(MemoryError, match=r"sweep: 240,000,000,000,000 bytes are needed for the hyperparameters of"):
        dt.sweep(lambda x, a, b, c: x * a, 1.0, iterations=1, over=large)
    with pytest.raises(MemoryError, match=r"loop: [\d,]{15,} bytes are needed for 1 runs"):
        dt.loop(lambda x: (x, x), 1.0, iterations=10**14, record_every=2)


@pytest.mark.parametrize("traced", [False, True])
def test_starts_that_only_put_numbers_in_their_places_need_no_trace(traced: bool, monkeypatch: Any) -> None:
    if traced:
        monkeypatch.setattr(_sweep, "placed_starts", lambda *_: None)
    else:
        monkeypatch.setattr(_sweep, "traced_starts", lambda *_: pytest.fail("it was traced"))
    over = dt.points(a=np.linspace(-1.0, 1.0, 5), b=np.arange(10.0).reshape(5, 2).astype(np.float32))

    def start(a: Any, b: Any) -> Any:
        return {"x": a, "pair": (b, 0.5), "again": [a]}

    runs = dt.sweep(lambda s: s | {"x": s["x"] * 2.0}, start, over=over, iterations=1)
    np.testing.assert_array_equal(runs.state["x"], 2.0 * np.linspace(-1.0, 1.0, 5))
    np.testing.assert_array_equal(runs.state["pair"][0], np.arange(10.0, dtype=np.float32).reshape(5, 2), strict=True)
    np.testing.assert_array_equal(runs.state["pair"][1], np.full(5, 0.5), strict=True)
    np.testing.assert_array_equal(runs.state["again"][0], np.linspace(-1.0, 1.0, 5))


@pytest.mark.parametrize(
    "start",
    [
        lambda a: (a if a > 0 else -a, 0.0),
        lambda a: (abs(a), 0.0),
        lambda a: (np.maximum(a, -a), 0.0),
        lambda a: (float(a) if float(a) > 0 else -float(a), 0.0),
        lambda a: (-a if a in (-1.0, -0.5) else a, 0.0),
        lambda a: (np.array([a, 0.0]).sum() ** 2 / max(abs(a), 1e-300), 0.0),
    ],
)
def test_starts_that_compute_or_decide(start: Any) -> None:
    over = dt.points(a=np.linspace(-1.0, 1.0, 5))
    runs = dt.sweep(lambda s: (s[0], s[1]), start, over=over, iterations=1)
    np.testing.assert_array_equal(runs.state[0], np.abs(np.linspace(-1.0, 1.0, 5)))
