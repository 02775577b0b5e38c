# SPDX-License-Identifier: MIT
"""Random programs and random steps: eager, traced, replayed, as lanes, loaded again; the bits are the same.

Hypothesis writes a program as a list of moves over a pool of arrays (moves.py): ops, slices, assignments, branches,
loops, gradients. Whatever comes out, NaN and infinities too, must come out in every way of running it: in plain
Python and, where nothing is contracted, in a replay; with contraction, in replays, in programs that grew path by path
or were traced at one place only, in programs that were loaded, and in sweeps of any width at any level (as states, as
hyperparameters, as tables). (Which NaN a NaN is does not count.)

300 programs and 100 steps by default, always the same ones; DUALTAPE_NIGHTLY=1 makes that 10,000 and 2,000.
Start reading at check_program.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from moves import SHAPES, SMOOTH, TABLE, Move, broadcasts, moves, perform, programs, run_moves

import dualtape as dt
from dualtape import _core
from dualtape import numpy as dnp

NIGHTLY = os.environ.get("DUALTAPE_NIGHTLY") == "1"


def configured(ci: int, nightly: int) -> Any:
    return settings(
        max_examples=nightly if NIGHTLY else ci,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True, scope="module")
def at_once() -> Iterator[None]:
    """Machine code even where it does not pay; in plain Python there is none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALTAPE_EXECUTOR", "machine")
        yield


# ---- comparing --------------------------------------------------------------------------------------------------


def bits(x: Any) -> tuple[Any, ...]:
    """dtype, shape and bytes, every NaN the same."""
    array = np.array(dt.extractdata(x))
    if array.dtype.kind == "f":
        array[np.isnan(array)] = np.nan
    return array.dtype.str, array.shape, array.tobytes()


def assert_same(got: Any, want: Any, what: str) -> None:
    for number, (a, b) in enumerate(zip(got, want, strict=True)):
        if bits(a) != bits(b):
            raise AssertionError(f"{what}, result {number}: {np.asarray(a)!r} is not {np.asarray(b)!r}")


@contextlib.contextmanager
def described(body: list[Move]) -> Iterator[None]:
    """With the moves in the report, should something fail."""
    for number, move in enumerate(body):
        note(f"move {number}: {move}")
    yield


# ---- programs ---------------------------------------------------------------------------------------------------


def lanes_of(f: Callable[..., Any], places: list[list[Any]], how: str, lanes: int, contract: bool) -> list[list[Any]]:
    """The results at each place, as lanes of one sweep; `how` says what the inputs are to the step."""
    count = len(places[0])

    def step(xs: list[Any]) -> list[Any]:
        return [*xs, *f(*xs)]

    def traced(known: Any, at: list[Any], forced: Any) -> Any:
        names = [f"x{k}" for k in range(count)]
        return _core.trace(step, [dt.dlarray(x) for x in at], names, [False] * count, contract, known, forced)[0]

    program = traced(None, places[0], [])
    columns = [np.stack([at[k] for at in places]) for k in range(count)]
    many = len(program.results()) - count
    runs, iterations, states, values, sources = len(places), 1, [], many + count, []
    if how == "states":
        states, values = columns, many
    elif how == "swept":
        sources = [("swept", column, 0) for column in columns]
    else:
        runs, iterations = 1, len(places)
        sources = [("table", column, 0) for column in columns]
    core = _core.Sweep(
        program=program, count=runs, state=states, values=values, until=False, sources=sources, iterations=iterations,
        record_every=1, first_stream=0, lanes=lanes, batches=None,
    )  # fmt: skip
    while (missing := core.run(60.0, 1)) is not None:
        run, iteration, forced = missing
        program = traced(program, places[run + iteration - 1], forced)
        assert program is not None
        core.extend(program)
    skipped = 0 if how == "states" else count
    history = [x.reshape(len(places), *x.shape[2:]) for x in core.history[skipped:]]
    return [[x[k] for x in history] for k in range(len(places))]


def check_program(body: list[Move], results: list[int], places: list[list[Any]], lanes: int) -> None:
    def f(*inputs: Any) -> list[Any]:
        pool = run_moves(body, inputs)
        return [pool[k] for k in results]

    eager = [f(*map(dt.dlarray, at)) for at in places]
    for contract in (False, True):
        program = dt.trace(f, *places[0], contract=contract)
        wanted = [program(*at) for at in places]
        if not contract:
            for got, want in zip(wanted, eager, strict=True):
                assert_same(got, want, "a replay and plain Python")
        loaded = pickle.loads(pickle.dumps(program))
        assert str(loaded) == str(program)
        for at, want in zip(places, wanted, strict=True):
            assert_same(program(*at), want, "the program with all its paths")
            assert_same(loaded(*at), want, "the loaded program")
            assert_same(dt.trace(f, *at, contract=contract)(*at), want, "a program traced at this place alone")
        for how in ("states", "swept", "table"):
            for width in (lanes, 0) if how == "states" else (lanes,):
                for got, want in zip(lanes_of(f, places, how, width, contract), wanted, strict=True):
                    assert_same(got, want, f"lanes ({how}, {width} wide, contract={contract})")


@given(programs(), st.integers(1, 9))
@configured(300, 10_000)
def test_random_programs_have_the_same_bits_in_every_way(
    example: tuple[list[Move], list[int], list[list[Any]]], lanes: int
) -> None:
    body, results, places = example
    with described(body):
        check_program(body, results, places, lanes)


# ---- steps ------------------------------------------------------------------------------------------------------


@st.composite
def random_steps(draw: Any) -> tuple[list[Move], list[tuple[int, float]], list[Any], int]:
    """(moves over state, rate and iteration; for each state what it is replaced with; the start; runs)."""
    kinds = [
        (draw(st.sampled_from(SHAPES)), draw(st.sampled_from([np.float64, np.float32])))
        for _ in range(draw(st.integers(1, 2)))
    ]
    start = [np.asarray(np.sin(np.arange(1, 1 + int(np.prod(shape)))).reshape(shape), dtype) for shape, dtype in kinds]
    pool: list[Any] = [*map(dt.dlarray, start), _core.weak_scalar(0.7), _core.weak_scalar(1.0)]
    body: list[Move] = []
    # A decision at least, on the state.
    first = draw(st.sampled_from([0.2, 0.0, 0.6]))
    body.append(("branch", 0, first, ("op", "tanh", [0]), ("op", "cos", [0])))
    pool.append(perform(body[0], pool))
    for _ in range(draw(st.integers(1, 6))):
        move = draw(moves(pool))
        result = perform(move, pool)
        if result.size > 64:
            continue
        body.append(move)
        pool.append(result)
    news = []
    for x in start:
        fitting = [k for k, y in enumerate(pool) if broadcasts(x.shape, y.shape)]
        fitting = [k for k in fitting if np.broadcast_shapes(x.shape, pool[k].shape) == x.shape]
        news.append((draw(st.sampled_from(fitting)), draw(st.sampled_from([0.5, 1.0, -1.5]))))
    return body, news, start, draw(st.integers(2, 14))


@given(random_steps(), st.integers(1, 9), st.booleans(), st.integers(1, 2))
@configured(100, 2_000)
def test_random_steps_in_sweeps_are_loops_one_by_one(
    example: tuple[list[Move], list[tuple[int, float]], list[Any], int], lanes: int, stops: bool, threads: int
) -> None:
    body, news, start, count = example
    decided = 0.4

    def step(state: Any, rate: Any, iteration: Any) -> Any:
        pool = run_moves(body, [*state, rate, iteration])
        new = []
        for x, (place, factor) in zip(state, news, strict=True):
            # bounded, so that a run goes on; NaN stops it
            new.append((x * 0.5 + dnp.sin(factor * pool[place])).astype(x.dtype))
        return new, pool[-1]

    def until(state: Any) -> Any:
        return dnp.sum(state[0]) > decided

    options: dict[str, Any] = {"iterations": 8, "until": until if stops else None}
    rates = np.linspace(-1.5, 2.5, count)
    with described(body):
        for contract in (True, False):
            runs = dt.sweep(
                step, start, over=dt.points(rate=rates), record_every=1, lanes=lanes, threads=threads,
                contract=contract, **options,
            )  # fmt: skip
            for k, rate in enumerate(rates):
                judges = [dt.loop(step, start, rate=rate, contract=contract, **options)]
                if not contract and k < 3:
                    judges.append(dt.loop(step, start, rate=rate, compiled=False, **options))
                for one in judges:
                    what = f"run {k} of the sweep, contract={contract}, judge {len(judges)}"
                    assert (runs.iterations[k], runs.stopped[k]) == (one.iterations, one.stopped), what
                    assert_same([x[k] for x in runs.state], one.state, what + ": state")
                    assert_same([runs.history[k][: one.iterations]], [one.history], what + ": history")


def test_the_whole_table_takes_part() -> None:
    assert len(SMOOTH) > 50
    for name in TABLE:
        assert callable(getattr(_core.elementwise, name))
