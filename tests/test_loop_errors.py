# SPDX-License-Identifier: MIT
"""What people get wrong in calls of loop and sweep, and what they are told: hyperparameters, what is swept, data,
options. Mistakes inside of steps are in test_step_errors.py."""

from __future__ import annotations

import math
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
