# SPDX-License-Identifier: MIT
"""Calls of programs and accelerated functions, which begin in C++: layouts of arguments and results, what is kept."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import sys
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import dualtape as dt
from dualtape.tree import flatten

Pair = namedtuple("Pair", ["first", "second"])


@dataclass
class Point:
    x: Any
    y: Any


LAYOUTS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "flat": (lambda a, b: (a + b, a * b), (1.5, 2.5), {}),
    "a single result": (lambda a: a * 2, (1.5,), {}),
    "nested": (lambda a, b: (a[0] + b[1][0], [b[0], (a[1],)]), ([1.5, 2.5], (0.5, (3.0,))), {}),
    "a dict": (lambda p: {"z": p["w"] * 2, "a": p["b"]}, ({"w": 1.5, "b": 0.5},), {}),
    "keywords": (lambda a, *, scale, shift: a * scale + shift, (1.5,), {"shift": 0.5, "scale": 2.0}),
    "only keywords": (lambda **kw: kw["x"] - kw["y"], (), {"y": 1.5, "x": 4.0}),
    "constants": (lambda a, n, how: (a * n, None, []), (1.5, 3, "up"), {}),
    "None": (lambda a, b: (a, b), (1.5, None), {}),
    "nothing at all": (lambda: (1.5, ()), (), {}),
    "a namedtuple": (lambda p: Pair(p.second, p.first), (Pair(1.5, 2.5),), {}),
    "a dataclass": (lambda p: Point(p.y, p.x), (Point(1.5, 2.5),), {}),
    "an OrderedDict": (lambda p: OrderedDict(b=p["a"]), (OrderedDict(a=1.5),), {}),
    "numbers as keys": (lambda p: {1: p[0]}, ({0: 1.5},), {}),
    "arrays": (lambda a, b: (a @ b, a.sum()), (dt.dlarray(np.ones((2, 3))), dt.dlarray(np.arange(3.0))), {}),
    "labels": (lambda a: (a * 2, a.sum()), (dt.dlarray(np.ones((2, 3)), "CB"),), {}),
    "float32": (lambda a: (a * 2, a > 1), (dt.dlarray(1.5, dtype=np.float32),), {}),
}


def deep(levels: int) -> Any:
    out: Any = 1.5
    for _ in range(levels):
        out = [out]
    return out


LAYOUTS["deep"] = (lambda a: a, (deep(80),), {})


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("make", [dt.trace, dt.dlaccelerate])
def test_results_are_laid_out_as_the_function_returns_them(name: str, make: Any) -> None:
    function, args, kwargs = LAYOUTS[name]
    call = dt.trace(function, *args, **kwargs) if make is dt.trace else make(lambda *a, **k: function(*a, **k))
    wanted = function(*args, **kwargs)
    for _ in range(3):
        got = call(*args, **kwargs)
        (leaves, structure), (right, like) = flatten(got), flatten(wanted)
        assert structure is like
        for leaf, value in zip(leaves, right, strict=True):
            value = dt.dlarray(value)
            assert np.array_equal(np.asarray(leaf), np.asarray(value))
            assert (leaf.dtype, leaf.shape, leaf.dims) == (value.dtype, value.shape, value.dims)


def test_every_other_layout_is_refused_by_a_program() -> None:
    program = dt.trace(lambda p, n: p["w"] * n, {"w": 1.5}, 2)
    assert float(program({"w": 3.0}, 2)) == 6.0
    for args, kwargs in (
        (({"w": 1.5}, 3), {}),
        (({"w": 1.5}, 2.0), {}),
        (({"w": 1.5}, True), {}),
        (({"v": 1.5}, 2), {}),
        (({"w": 1.5, "v": 1.0}, 2), {}),
        (([1.5], 2), {}),
        (({"w": 1.5},), {}),
        (({"w": 1.5}, 2, 2), {}),
        (({"w": 1.5},), {"n": 2}),
        (({"w": (1.5,)}, 2), {}),
        (({"w": None}, 2), {}),
    ):
        with pytest.raises(ValueError, match="laid out as they were"):
            program(*args, **kwargs)


def test_an_accelerated_function_traces_anew_for_every_other_layout() -> None:
    calls = dt.dlaccelerate(lambda p, n=2: (p["w"] if isinstance(p, dict) else p[0]) * n)
    for number, (args, kwargs, value) in enumerate(
        (
            (({"w": 1.5},), {}, 3.0),
            (({"w": 1.5}, 3), {}, 4.5),
            (({"w": 1.5},), {"n": 3}, 4.5),
            (([1.5],), {}, 3.0),
            (((1.5,),), {}, 3.0),
            (([dt.dlarray(1.5)],), {}, 3.0),
            (([dt.dlarray(1.5, dtype=np.float32)],), {}, 3.0),
        ),
        start=1,
    ):
        assert [float(calls(*args, **kwargs)) for _ in range(3)] == [value] * 3
        assert calls.retraces == number
    assert calls.hit_rate == pytest.approx(100 * 14 / 21)


def test_the_order_of_keywords_and_of_keys_does_not_matter() -> None:
    program = dt.trace(lambda p, *, a, b: p["x"] - p["y"] + a * b * b, {"x": 1.0, "y": 2.0}, a=1.0, b=2.0)
    assert float(program({"y": 2.0, "x": 5.0}, b=3.0, a=10.0)) == 93.0


def test_settings_decide_whether_a_trace_answers() -> None:
    plain = dt.dlaccelerate(lambda x: x * 2)
    plain(1.0)
    plain.enabled = False
    plain(1.0)
    assert plain.hit_rate == 0.0
    plain.enabled = True
    plain(1.0)
    assert plain.hit_rate == 50.0
    plain.check_mode = "tolerance"
    plain(1.0)
    plain.check_mode = "none"
    plain.clear_cache()
    plain(1.0)
    assert (plain.hit_rate, plain.retraces) == (0.0, 1)


def test_wrappers_of_a_function_share_counts() -> None:
    def double(x: Any) -> Any:
        return x * 2

    first, second = dt.dlaccelerate(double), dt.dlaccelerate(double)
    first(1.0)
    second(1.0)
    first(1.0)
    assert first.hit_rate == second.hit_rate == pytest.approx(200 / 3)
    assert first.retraces == 1


def test_a_class_may_call_a_program_in_its_own_way() -> None:
    class Louder(dt.Program):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs) * 10

    program = dt.trace(lambda x: x * 2, 1.0)
    louder = Louder(program._core, program._call)
    assert float(louder(3.0)) == 60.0


def test_programs_can_be_copied_and_kept_in_sets() -> None:
    program = dt.trace(lambda x: {"y": x * 2}, 1.0)
    for other in (copy.copy(program), copy.deepcopy(program), pickle.loads(pickle.dumps(program))):
        assert float(other(3.0)["y"]) == 6.0
    assert len({program, program}) == 1
    assert weakref.ref(program)() is program
    assert str(inspect.signature(program)) == "(*args, **kwargs)"
    assert callable(program)


def test_an_error_in_an_argument_is_passed_on_and_nothing_leaks() -> None:
    class Broken:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise ArithmeticError("no")

    program = dt.trace(lambda x, y: (x * 2, y), np.ones(3), 1.0)
    marker = object()
    before = sys.getrefcount(marker)
    for bad in (Broken(), marker, "text", None, 1j):
        with pytest.raises(Exception, match=r".+"):
            program(bad, 1.0)
    assert sys.getrefcount(marker) == before
    live = dt._core.memory()["arrays"]
    for _ in range(100):
        program(np.ones(3), 1.0)
    assert dt._core.memory()["arrays"] <= live + 1


def test_cycles_through_programs_are_collected() -> None:
    class Owner:
        def __init__(self) -> None:
            self.program = dt.trace(lambda x, by: x * by.scale, 1.0, self)
            self.fast = dt.dlaccelerate(lambda x: x * self.scale)
            self.fast(1.0)

        scale = 2.0

    owner = Owner()
    assert float(owner.program(3.0, owner)) == 6.0
    alive = weakref.ref(owner)
    del owner
    gc.collect()
    assert alive() is None


def test_buffers_go_on_when_their_program_is_gone() -> None:
    x, y = np.array(1.5), np.empty(())
    call = dt.trace(lambda x: x * 2, 1.0).bind(x, y)
    gc.collect()
    call()
    assert y == 3.0
    x[...] = 4.0
    call()
    assert y == 8.0
    with pytest.raises(TypeError, match="no arguments"):
        call(1.0)
