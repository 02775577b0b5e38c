# SPDX-License-Identifier: MIT
"""Steps that cannot be loops, and what people are told: a trace sees no side effects, the state keeps its structure.
Each message says what is wrong, what was given and what would work, and where that helps, the step's file and line."""

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
    return rf"test_step_errors\.py:{code.co_firstlineno + offset}\b"


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
        r"a number taken out of a traced value would be frozen(.|\n)*test_step_errors\.py",
    ),
    "float in a sweep": (
        lambda: sweep(lambda s, learn_rate: (s[0] * float(learn_rate), s[1])),
        dt.TraceError,
        r"frozen(.|\n)*test_step_errors\.py",
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
        r"the step \(<lambda>, .*test_step_errors\.py:\d+\) must return the new state, or \(new state, value\); it "
        r"returned None; add a return",
    ),
    "another structure": (
        lambda: loop(lambda s: {"x": s["x"], "y": s["x"]}, {"x": 1.0}),
        ValueError,
        r"the state must keep its structure from iteration to iteration: .*test_step_errors\.py:\d+",
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
        r".*test_step_errors\.py:\d+\) returned \(\); start with an array of the final shape",
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
        r".*test_step_errors\.py:\d+\); compare, as in lambda state, loss: loss < 1e-9",
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
            match=r"the step \(.*test_step_errors\.py:\d+\) has taken more than 40 different paths(.|\n)*numpy\.where",
        ):
            start(own, 0.0, iterations=1000)
        assert not _core.is_tracing()
    assert dt.loop(step, 0.0, iterations=20).iterations == 20
