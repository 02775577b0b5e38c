# SPDX-License-Identifier: MIT
"""What people do wrong with loops and sweeps, and what they are told: each message says what is wrong, what was given
and what would work, and names the step's file and line where that helps."""

from __future__ import annotations

import math
import random as python_random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from steps import descent

import dualtape as dt
from dualtape import _core

Case = tuple[Callable[[], Any], type[BaseException], str]
START = (2.0, 2.0)
RATES = dt.grid(learn_rate=[0.1, 0.2])


def loop(step: Callable[..., Any], state: Any = 1.0, **options: Any) -> Any:
    return dt.loop(step, state, **{"iterations": 5} | options)


def sweep(step: Callable[..., Any] = descent, state: Any = START, **options: Any) -> Any:
    return dt.sweep(step, state, **{"iterations": 5, "over": RATES} | options)


def halve(x: Any) -> Any:
    return x * 0.5


def use(x: Any, batch: Any) -> Any:
    return x + batch.sum()


def expect(case: Case) -> None:
    attempt, error, words = case
    with pytest.raises(error, match=words):
        attempt()
    assert not _core.is_tracing()
    # nothing is left behind that would hinder the next one
    assert float(loop(halve, 32.0).state) == 1.0


# ---- what a trace cannot see ------------------------------------------------------------------------------------

kept: list[Any] = []


def takes_a_float(x: Any) -> Any:
    return x * math.exp(float(x))


def takes_a_float_deep_inside(x: Any) -> Any:
    return helper(x)


def helper(x: Any) -> Any:
    return x + float(x)


def takes_an_array(x: Any) -> Any:
    return x + np.asarray(x)


def keeps(x: Any) -> Any:
    kept.append(x * 2)
    return x * 0.5


def keeps_the_input(x: Any) -> Any:
    kept.append(x)
    return x * 0.5


total = 0
generator = np.random.default_rng(0)


def counts(x: Any) -> Any:
    kept.append(1)
    return x * 0.5


def writes_a_global(x: Any) -> Any:
    global total
    total += 1
    return x * total


def writes_around() -> Callable[..., Any]:
    count = 0

    def step(x: Any) -> Any:
        nonlocal count
        count += 1
        return x * count

    return step


def draws_from_numpy(state: Any, learn_rate: Any) -> Any:
    return state[0] + np.random.normal() * learn_rate, state[1]  # noqa: NPY002


def draws_from_python(x: Any) -> Any:
    return x + python_random.random()


def draws_from_a_generator(x: Any) -> Any:
    return x + generator.normal()


def line(function: Any, offset: int = 1) -> str:
    code = function.__code__
    return rf"test_loop_errors\.py:{code.co_firstlineno + offset}\b"


TRACES: dict[str, Case] = {
    "float": (
        lambda: loop(takes_a_float),
        dt.TraceError,
        rf"a number taken out of a traced value would be frozen(.|\n)*{line(takes_a_float)}",
    ),
    "float in a helper": (
        lambda: loop(takes_a_float_deep_inside),
        dt.TraceError,
        rf"frozen(.|\n)*{line(helper)}",
    ),
    "asarray": (lambda: loop(takes_an_array), dt.TraceError, rf"frozen(.|\n)*{line(takes_an_array)}"),
    "float in until": (
        lambda: loop(halve, until=lambda x: float(x) < 0.1),
        dt.TraceError,
        r"a number taken out of a traced value would be frozen(.|\n)*test_loop_errors\.py",
    ),
    "float in a sweep": (
        lambda: sweep(lambda s, learn_rate: (s[0] * float(learn_rate), s[1])),
        dt.TraceError,
        r"frozen(.|\n)*test_loop_errors\.py",
    ),
    "append": (
        lambda: loop(keeps),
        dt.TraceError,
        rf"a traced value was stored outside of the function(.|\n)*return the value instead(.|\n)*{line(keeps)}",
    ),
    "append of the state": (lambda: loop(keeps_the_input), dt.TraceError, r"stored outside of the function"),
    "append of a number": (lambda: loop(counts), dt.TraceError, rf"'kept'.* was changed \(at .*{line(counts)}\)"),
    "global": (
        lambda: loop(writes_a_global),
        dt.TraceError,
        rf"loop: writes_a_global writes to the global name 'total', a side effect.*{line(writes_a_global, 2)}",
    ),
    "nonlocal": (lambda: loop(writes_around()), dt.TraceError, r"loop: .*writes to the nonlocal name 'count'"),
    "NumPy's random": (
        lambda: sweep(draws_from_numpy),
        dt.TraceError,
        rf"sweep: random numbers were drawn from numpy\.random \(at .*{line(draws_from_numpy)}\).*use dualtape\.random",
    ),
    "Python's random": (
        lambda: loop(draws_from_python),
        dt.TraceError,
        rf"random numbers were drawn from Python's random \(at .*{line(draws_from_python)}\)",
    ),
    "a generator": (lambda: loop(draws_from_a_generator), dt.TraceError, r"random numbers were drawn from .*generator"),
    "random in until": (
        lambda: loop(halve, until=lambda x: x < np.random.uniform()),  # noqa: NPY002
        dt.TraceError,
        r"random numbers were drawn from numpy\.random",
    ),
    "random in a schedule": (
        lambda: loop(lambda x, rate: x * rate, rate=lambda k: python_random.random() / k),
        dt.TraceError,
        r"random numbers were drawn from Python's random",
    ),
}


@pytest.mark.parametrize("name", TRACES)
def test_what_a_trace_cannot_see(name: str) -> None:
    kept.clear()
    expect_trace = TRACES[name]
    with pytest.raises(expect_trace[1], match=expect_trace[2]):
        expect_trace[0]()
    kept.clear()
    assert not _core.is_tracing()
    assert float(loop(halve, 32.0).state) == 1.0


# ---- what a step returns ----------------------------------------------------------------------------------------

RETURNS: dict[str, Case] = {
    "nothing": (
        lambda: loop(lambda x: None),
        TypeError,
        r"the step \(<lambda>, .*test_loop_errors\.py:\d+\) must return the new state, or \(new state, value\); it "
        r"returned None; add a return",
    ),
    "another structure": (
        lambda: loop(lambda s: {"x": s["x"], "y": s["x"]}, {"x": 1.0}),
        ValueError,
        r"the state must keep its structure from iteration to iteration: .*test_loop_errors\.py:\d+",
    ),
    "a list for a tuple": (
        lambda: loop(lambda s: [s[0], s[1]], START),
        ValueError,
        r"must keep its structure.*returns the new state, or \(new state, value\)",
    ),
    "three things": (lambda: loop(lambda x: (x, x, x)), ValueError, r"must keep its structure"),
    "another shape": (
        lambda: loop(lambda x: (x.sum(), 1.0), np.ones(3)),
        dt.ShapeError,
        r"loop: state must keep its shape from iteration to iteration; it came as \(3,\) and the step \(<lambda>, "
        r".*test_loop_errors\.py:\d+\) returned \(\); start with an array of the final shape",
    ),
    "a shape that grows": (
        lambda: loop(lambda s: {"w": s["w"] + np.ones((2, 1))}, {"w": np.ones(3)}),
        dt.ShapeError,
        r"state\['w'\] must keep its shape.*came as \(3,\).*returned \(2, 3\)",
    ),
    "another dtype": (
        lambda: loop(lambda x: x * np.float64(2) + np.ones(3), np.ones(3, np.float32)),
        dt.DTypeError,
        r"state must keep its dtype.*came as float32.*returned float64; start with the dtype of the result, or use "
        r"astype",
    ),
    "a bool": (lambda: loop(lambda x: x > 0), dt.DTypeError, r"state must keep its dtype.*returned bool"),
    "a string for a state": (
        lambda: loop(lambda x: "done"),
        dt.DTypeError,
        r"state must be a number or an array.*'done'",
    ),
    "a string for a value": (
        lambda: loop(lambda x: (x, {"name": "x"})),
        dt.DTypeError,
        r"value\['name'\] must be a number or an array; got 'x'",
    ),
    "an object": (lambda: loop(lambda x: (x, object())), TypeError, r"value must be a number or an array"),
    "values of two structures": (
        lambda: loop(lambda x: (x - 1, {"a": x} if x > -1 else {"b": x})),
        ValueError,
        r"must return a value of one structure on every path.*return the same names everywhere",
    ),
    "values of two shapes": (
        lambda: loop(lambda x: (x - 1, x if x > -1 else np.ones(3))),
        dt.ShapeError,
        r"value must have one dtype and shape on every path.*float64 \(\) and float64 \(3,\)",
    ),
    "a state of another shape later on": (
        lambda: loop(lambda x: x - 1 if x.sum() > -1 else x.sum(), np.ones(2)),
        dt.ShapeError,
        r"state must keep its shape",
    ),
}


@pytest.mark.parametrize("name", RETURNS)
def test_what_a_step_returns(name: str) -> None:
    expect(RETURNS[name])


@pytest.mark.parametrize("name", [name for name in RETURNS if "path" not in name and name != "values of two shapes"])
def test_the_same_is_said_in_python(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with a step is wrong with compiled=False, too."""
    real = dt.loop
    monkeypatch.setattr(dt, "loop", lambda step, state, **options: real(step, state, compiled=False, **options))
    expect(RETURNS[name])


# ---- until ------------------------------------------------------------------------------------------------------

UNTILS: dict[str, Case] = {
    "a number": (
        lambda: loop(halve, until=lambda x: x),
        TypeError,
        r"until must return one truth value; it returned a dlarray of float64 and shape \(\) \(<lambda>, "
        r".*test_loop_errors\.py:\d+\); compare, as in lambda state, loss: loss < 1e-9",
    ),
    "several": (
        lambda: loop(halve, np.ones(3), until=lambda x: x < 1),
        TypeError,
        r"a dlarray of bool and shape \(3,\)",
    ),
    "None": (lambda: loop(halve, until=lambda x: None), TypeError, r"it returned NoneType"),
    "a float": (lambda: loop(halve, until=lambda x: 1.0), TypeError, r"it returned float"),
    "no function": (lambda: loop(halve, until=1e-6), TypeError, r"until must be a function.*a float was given"),
    "names that are not there": (
        lambda: loop(halve, until=lambda x, v, tolerance: v < tolerance),
        TypeError,
        r"until takes tolerance, which was not given; got no hyperparameters; pass tolerance=",
    ),
    "in a sweep": (lambda: sweep(until=lambda x, v: v), TypeError, r"sweep: until must return one truth value"),
}


@pytest.mark.parametrize("name", UNTILS)
def test_untils(name: str) -> None:
    expect(UNTILS[name])


# ---- hyperparameters --------------------------------------------------------------------------------------------

NAMES: dict[str, Case] = {
    "missing": (
        lambda: loop(descent, START),
        TypeError,
        r"loop: the step \(descent, .*steps\.py:\d+\) takes learn_rate, which was not given; got no hyperparameters; "
        r"pass learn_rate=\.\.\., or give the parameter a default",
    ),
    "misspelt": (
        lambda: loop(descent, START, learning_rate=0.1),
        TypeError,
        r"takes learn_rate, which was not given; got learning_rate",
    ),
    "extra": (
        lambda: loop(halve, rate=0.1),
        TypeError,
        r"the step \(halve, .*test_loop_errors\.py:\d+\) takes no rate; it takes nothing but the state; rename the "
        r"argument, or add the parameter",
    ),
    "extra beside others": (
        lambda: loop(descent, START, learn_rate=0.1, momentum=0.9),
        TypeError,
        r"takes no momentum; it takes learn_rate",
    ),
    "extra and swept": (
        lambda: sweep(over=dt.grid(learn_rate=[0.1], momentum=[0.9])),
        TypeError,
        r"sweep: the step .* takes no momentum",
    ),
    "fixed and swept": (
        lambda: sweep(learn_rate=0.1),
        ValueError,
        r"a hyperparameter is either fixed or swept; learn_rate was given both",
    ),
    "iteration": (
        lambda: loop(lambda x, iteration: x, iteration=3),
        ValueError,
        r"no hyperparameter can be called iteration, which is the number of the iteration, from 1; got it as an "
        r"argument; choose another name",
    ),
    "batch": (
        lambda: loop(lambda x, batch: x, batch=3),
        ValueError,
        r"called batch, which is the minibatch; pass data=\.\.\. and batch_size=",
    ),
    "state": (
        lambda: dt.loop(halve, 1.0, iterations=3, state=3.0),
        ValueError,
        r"called state, which is the state; the start is the second argument",
    ),
    "iteration swept": (
        lambda: sweep(over=dt.grid(iteration=[1.0, 2.0])),
        ValueError,
        r"called iteration.*got it as an axis of over",
    ),
    "no batch": (
        lambda: loop(use),
        TypeError,
        r"takes batch, which was not given; got no hyperparameters; pass data=\.\.\. and batch_size=",
    ),
    "a string": (
        lambda: loop(lambda x, kind: x, kind="adam"),
        dt.DTypeError,
        r"loop: kind must be a number or an array",
    ),
    "a string inside": (
        lambda: loop(lambda x, options: x, options={"kind": ["adam"]}),
        dt.DTypeError,
        r"loop: options\['kind'\]\[0\] must be a number or an array; got 'adam'",
    ),
    "a circle": (
        lambda: loop(lambda x, a, b: x, a=lambda k, b: b, b=lambda k, a: a),
        ValueError,
        r"the functions for a, b take each other's results",
    ),
    "a function that names what is not there": (
        lambda: loop(lambda x, rate: x * rate, rate=lambda k, base: base / k),
        TypeError,
        r"the function for rate takes base, which was not given",
    ),
    "a function of no argument": (lambda: loop(lambda x, rate: x * rate, rate=lambda: 0.1), TypeError, r"positional"),
    "math of what is swept": (
        lambda: sweep(
            lambda s, rate: (s[0] * rate, s[1]),
            over=dt.grid(base=[0.1, 0.2]),
            rate=lambda k, base: base * math.exp(-float(k)),
        ),
        dt.TraceError,
        r"frozen(.|\n)*test_loop_errors\.py",
    ),
    "tables of several shapes": (
        lambda: loop(lambda x, w: x + w.sum(), w=lambda k: np.ones(math.floor(float(k)))),
        dt.ShapeError,
        r"w must keep its shape; the function \(<lambda>, .*test_loop_errors\.py:\d+\) gave \(1,\), \(2,\)",
    ),
    "tables of several structures": (
        lambda: loop(lambda x, w: x, w=lambda k: {"a": 1.0} if float(k) < 3 else 2.0),
        ValueError,
        r"the function for w must give one structure in all iterations",
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    expect(NAMES[name])


# ---- what is swept ----------------------------------------------------------------------------------------------

SWEPT: dict[str, Case] = {
    "lanes of unequal lengths": (
        lambda: sweep(over=dt.points(learn_rate=[0.1, 0.2], momentum=[0.9])),
        dt.ShapeError,
        r"points\(learn_rate, momentum\): rows need a value in every column; got lengths learn_rate: 2, momentum: 1",
    ),
    "a dict": (
        lambda: sweep(over={"learn_rate": [0.1]}),
        TypeError,
        r"sweep: over must be dt\.grid\(\.\.\.\) or dt\.points\(\.\.\.\); a dict was given; over=dt\.grid\(",
    ),
    "a list": (lambda: sweep(over=[0.1, 0.2]), TypeError, r"a list was given"),
    "starts of what is not swept": (
        lambda: sweep(state=lambda x1, x2: (x1, x2)),
        TypeError,
        r"the function of the start \(<lambda>, .*test_loop_errors\.py:\d+\) takes x1, x2, which is not swept; over "
        r"has "
        r"learn_rate",
    ),
    "starts of several shapes": (
        lambda: sweep(
            lambda x: x * 0.5, lambda n: np.ones(int(float(n))), over=dt.grid(n=[1.0, 2.0])
        ),
        dt.ShapeError,
        r"the starts of all runs must have the same shapes",
    ),
    "starts of several structures": (
        lambda: sweep(lambda x: x, lambda n: {"a": n} if n > 1 else {"b": n}, over=dt.grid(n=[1.0, 2.0])),
        ValueError,
        r"must give one structure for all runs",
    ),
    "starts of strings": (
        lambda: sweep(lambda x: x, lambda n: {"kind": "adam"}, over=dt.grid(n=[1.0])),
        dt.DTypeError,
        r"sweep: state\['kind'\] must be a number or an array",
    ),
    "why of a good run": (lambda: sweep().why(0), ValueError, r"only a run that is not finite has a reason"),
}  # fmt: skip


@pytest.mark.parametrize("name", SWEPT)
def test_what_is_swept(name: str) -> None:
    expect(SWEPT[name])


# ---- data -------------------------------------------------------------------------------------------------------

ROWS = np.ones((4, 2))
DATA: dict[str, Case] = {
    "of unequal lengths": (
        lambda: loop(use, data=(ROWS, np.ones(3))),
        dt.ShapeError,
        r"the arrays of data must have as many observations each; got \(4, 2\), \(3,\); the observations are the "
        r"leading",
    ),
    "a number": (
        lambda: loop(use, data=3.0),
        dt.ShapeError,
        r"data must be arrays with a leading axis of observations",
    ),
    "nothing in it": (lambda: loop(use, data=()), dt.ShapeError, r"data must be arrays"),
    "no rows": (lambda: loop(use, data=np.ones((0, 2))), dt.ShapeError, r"at least one observation; got \(0, 2\)"),
    "strings": (
        lambda: loop(use, data={"y": np.array(["cat", "dog"])}),
        dt.DTypeError,
        r"data\['y'\] must be numbers; got dtype <U3; number the classes",
    ),
    "a batch too large": (
        lambda: loop(use, data=ROWS, batch_size=5),
        ValueError,
        r"batch_size must be a whole number from 1 to 4, the number of observations; got 5",
    ),
    "a batch of nothing": (lambda: loop(use, data=ROWS, batch_size=0), ValueError, r"batch_size .* got 0"),
    "half a row": (lambda: loop(use, data=ROWS, batch_size=2.5), ValueError, r"batch_size .* got 2\.5"),
    "a bool": (lambda: loop(use, data=ROWS, batch_size=True), ValueError, r"batch_size .* got True"),
    "a batch without data": (
        lambda: loop(halve, batch_size=5),
        TypeError,
        r"batch_size and shuffle are for data; none was given; pass data=\(X, Y\)",
    ),
    "an order without data": (lambda: loop(halve, shuffle=5), TypeError, r"batch_size and shuffle are for data"),
    "a negative seed": (lambda: loop(use, data=ROWS, shuffle=-1), ValueError, r"shuffle must be the seed .* got -1"),
    "a word for a seed": (
        lambda: loop(use, data=ROWS, shuffle="yes"),
        ValueError,
        r"shuffle must be the seed .* 'yes'",
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_data(name: str) -> None:
    expect(DATA[name])


# ---- options ----------------------------------------------------------------------------------------------------

OPTIONS: dict[str, Case] = {
    "half an iteration": (
        lambda: loop(halve, iterations=2.5),
        ValueError,
        r"iterations must be a whole number .* 2\.5",
    ),
    "negative iterations": (lambda: loop(halve, iterations=-1), ValueError, r"iterations .* got -1"),
    "no iterations": (lambda: loop(halve, iterations=None), ValueError, r"iterations .* got None"),
    "true iterations": (lambda: sweep(iterations=True), ValueError, r"sweep: iterations .* got True"),
    "record_every=0": (
        lambda: loop(halve, record_every=0),
        ValueError,
        r"record_every must be a whole number from 1, or None; got 0; 100 keeps",
    ),
    "record_every=word": (lambda: sweep(record_every="all"), ValueError, r"sweep: record_every .* got 'all'"),
    "record_every=1.5": (lambda: sweep(record_every=1.5), ValueError, r"sweep: record_every .* got 1\.5"),
    "threads=0": (lambda: sweep(threads=0), ValueError, r"threads must be a whole number from 1; got 0"),
    "threads=1.5": (lambda: sweep(threads=1.5), ValueError, r"threads must be a whole number from 1; got 1\.5"),
    "lanes=0": (lambda: sweep(lanes=0), ValueError, r"lanes must be a whole number from 1; got 0"),
    "checkpoint_every=0": (
        lambda: loop(halve, checkpoint="x.npz", checkpoint_every=0),
        ValueError,
        r"checkpoint_every must be a whole number from 1; got 0",
    ),
    "no directory": (
        lambda: loop(halve, checkpoint="/nowhere/at/all/x.npz"),
        FileNotFoundError,
        r"there is no directory /nowhere/at/all for the checkpoint; make it first",
    ),
    "a checkpoint of a loop in Python": (
        lambda: loop(halve, checkpoint="x.npz", compiled=False),
        ValueError,
        r"a checkpoint needs compiled=True",
    ),
    "seed": (lambda: loop(halve, seed=1.5), ValueError, r"seed must be a whole number"),
    "progress": (
        lambda: loop(halve, progress="yes"),
        TypeError,
        r"progress must be True or a function of \(done, total\)",
    ),
    "executor": (
        lambda: sweep(executor=4),
        TypeError,
        r"executor must be a concurrent\.futures\.Executor; a int was given; ProcessPoolExecutor\(\) or",
    ),
    "no step": (
        lambda: loop(halve(2.0)),
        TypeError,
        r"the step must be a function of the state; a float was given",
    ),
    "a state of strings": (
        lambda: loop(halve, {"name": "x"}),
        dt.DTypeError,
        r"loop: state\['name'\] must be a number or an array; got 'x'",
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name: str) -> None:
    expect(OPTIONS[name])


# ---- too many paths ---------------------------------------------------------------------------------------------


def test_too_many_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision that comes out differently in every iteration."""
    monkeypatch.setattr("dualtape.loops._step.MOST_PATHS", 40)

    def step(x: Any) -> Any:
        return x + 1 if int(x) % 2 else x + 3

    for start in (dt.loop, lambda *args, **options: dt.sweep(*args, over=dt.grid(a=[0.0, 0.5]), **options)):
        own = step if start is dt.loop else lambda x, a: step(x)
        with pytest.raises(
            dt.TraceError,
            match=r"the step \(.*test_loop_errors\.py:\d+\) has taken more than 40 different paths(.|\n)*numpy\.where",
        ):
            start(own, 0.0, iterations=1000)
        assert not _core.is_tracing()
    assert dt.loop(step, 0.0, iterations=20).iterations == 20
