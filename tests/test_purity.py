# SPDX-License-Identifier: MIT
"""Side effects that a program cannot repeat are refused, with file and line; what only looks like one is not."""

from __future__ import annotations

import functools
import random
import random as python_random
import threading
from collections.abc import Callable
from random import gauss
from typing import Any

import numpy as np
import pytest

import dualtape as dt
from dualtape import _core
from dualtape._purity import purity

calls, counts, log = 0, [0], []
memory: dict[str, Any] = {}
state = dt.dlarray(np.zeros(2))
buffer = np.zeros(2)
generator, python_generator = np.random.default_rng(0), random.Random(0)


class Model:
    rate = 0.5

    def __init__(self) -> None:
        self.calls = 0
        self.weights = dt.dlarray([1.0, 2.0])

    def count(self, x: Any) -> Any:
        self.calls += 1
        return (self.weights * x).sum() * self.rate

    def __call__(self, x: Any) -> Any:
        return (self.weights * x).sum() * self.rate


def count_in_a_global(x: Any) -> Any:
    global calls
    calls += 1
    return x


def delete_a_global(x: Any) -> Any:
    global calls
    del calls
    return x


def helper(x: Any) -> Any:
    counts[0] += 1
    return x


def nonlocal_counter() -> Callable[[Any], Any]:
    count = 0

    def f(x: Any) -> Any:
        def inner() -> None:
            nonlocal count
            count += 1

        inner()
        return x

    return f


def append(x: Any) -> Any:
    log.append(3)
    return x


def assign(x: Any) -> Any:
    state[0] = 1.0
    return state.sum() * x


def fill(x: Any) -> Any:
    buffer[0] = 1.0
    return x * buffer[0]


EFFECTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a global": (count_in_a_global, "writes to the global name 'calls'"),
    "a global that is deleted": (delete_a_global, "writes to the global name 'calls'"),
    "a variable around": (nonlocal_counter(), "writes to the nonlocal name 'count'"),
    "a counter in a list": (helper, r"global 'counts'\[0\] was changed"),
    "a helper's effect": (lambda x: helper(x), r"global 'counts'\[0\] was changed"),
    "an append": (append, "global 'log' was changed"),
    "a dlarray": (assign, "global 'state' was changed"),
    "an ndarray": (fill, "global 'buffer' was changed"),
    "an attribute": (Model().count, r"'?self\.calls was changed|\.calls was changed"),
    "a partial": (functools.partial(count_in_a_global), "writes to the global"),
    "behind value_and_grad": (dt.value_and_grad(count_in_a_global), "writes to the global"),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_side_effects(name: str) -> None:
    f, words = EFFECTS[name]
    for attempt in (lambda: dt.trace(f, 1.0), lambda: dt.dlaccelerate(f)(1.0)):
        counts[0], log[:], buffer[0] = 0, [], 0.0
        state[0] = 0.0
        with pytest.raises(dt.TraceError, match=f"({words}).*side effect") as caught:
            attempt()
        assert f"{__file__}:" in str(caught.value)
        assert not _core.is_tracing()


def test_the_line_is_that_of_the_effect() -> None:
    for f, offset in ((count_in_a_global, 2), (append, 1), (assign, 1), (helper, 1)):
        with pytest.raises(dt.TraceError, match=rf":{f.__code__.co_firstlineno + offset}\b"):
            dt.trace(f, 1.0)


def local_counter(x: Any) -> Any:
    count = 0

    def bump() -> None:
        nonlocal count
        count += 1

    bump()
    return x * count


def memoized(x: Any) -> Any:
    if "scale" not in memory:
        memory["scale"] = 3.0
    return x * memory["scale"]


def own_list(x: Any) -> Any:
    found: list[Any] = []
    for k in range(3):
        found.append(x * k)
    return sum(found)


def own_arrays(x: Any) -> Any:
    zeros = np.zeros(3)
    zeros[1] = 2.0
    return (x * zeros).sum()


PURE: dict[str, Callable[[Any], Any]] = {
    "its own variables": local_counter,
    "a memo": memoized,
    "its own list": own_list,
    "its own arrays": own_arrays,
    "reading": lambda x: x * counts[0] + state.sum() * buffer.sum() + len(log),
    "an object": Model(),
    "a seeded generator of its own": lambda x: x * np.random.default_rng(3).normal() + random.Random(3).random(),
    "holding a generator": lambda x: x if generator is not None else -x,
}


@pytest.mark.parametrize("name", PURE)
def test_what_is_no_side_effect(name: str) -> None:
    memory.clear()
    x = dt.dlarray(2.0)
    want = float(PURE[name](x))
    assert float(dt.trace(PURE[name], x)(x)) == pytest.approx(want)


# ---- random numbers -------------------------------------------------------------------------------------------


def imported_inside(x: Any) -> Any:
    import random as later

    return x + later.random()


DRAWS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "Python's": (lambda x: x + random.random(), "drawn from Python's random"),
    "Python's by another name": (lambda x: x + python_random.uniform(0, 1), "drawn from Python's random"),
    "a function of Python's": (lambda x: x + gauss(0, 1), "drawn from Python's random"),
    "imported inside": (imported_inside, "drawn from Python's random"),
    "shuffle": (lambda x: random.shuffle([1, 2, 3]) or x, "drawn from Python's random"),
    "NumPy's": (lambda x: x + np.random.normal(), "drawn from numpy.random"),  # noqa: NPY002
    "a generator": (lambda x: x + generator.normal(), "drawn from global 'generator'"),
    "a Random": (lambda x: x + python_generator.random(), "drawn from global 'python_generator'"),
    "without a seed": (lambda x: x + np.random.default_rng().normal(), "default_rng.. without a seed"),
    "ours, outside of a loop": (lambda x: x + dt.random.normal(), "drawn with dualtape.random outside of a loop"),
}


@pytest.mark.parametrize("name", DRAWS)
def test_random_numbers(name: str) -> None:
    f, words = DRAWS[name]
    for _ in range(3):
        for attempt in (lambda: dt.trace(f, 1.0), lambda: dt.dlaccelerate(f)(1.0)):
            with pytest.raises(dt.TraceError, match=f"{words}.*dualtape.random|{words}.*loop") as caught:
                attempt()
            assert f"{__file__}:" in str(caught.value)


def test_another_thread_may_draw() -> None:
    """The generators are everybody's; a function is blamed only where its code uses them."""
    done = threading.Event()

    def draw() -> None:
        while not done.is_set():
            random.random()
            np.random.random()  # noqa: NPY002

    def long(x: Any) -> Any:
        for _ in range(3000):
            x = x * 0.5
        return x

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        for _ in range(3):
            dt.trace(long, 1.0)
        for name in DRAWS:
            with pytest.raises(dt.TraceError):
                dt.trace(DRAWS[name][0], 1.0)
    finally:
        done.set()
        thread.join()


# ---- the helper itself ----------------------------------------------------------------------------------------


def test_as_a_context() -> None:
    with purity(PURE["reading"], "here"):
        pass
    with pytest.raises(dt.TraceError, match=r"^here: .*'counts'\[0\] was changed"), purity(helper, "here"):
        helper(1.0)
    with pytest.raises(ZeroDivisionError), purity(helper, "here"):  # an exception is not covered up
        helper(1.0 / 0.0)
    with purity(max, "here"), purity(functools.partial(min, 1), "here"):  # nothing to read
        pass
