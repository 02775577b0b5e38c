# SPDX-License-Identifier: MIT
"""dlaccelerate: MATLAB's properties, and that a trace is never used where it does not apply.

First the cache and its numbers; then what a call must not confuse: kinds of arguments, decisions; then where
accelerated functions are called from. What they take from outside, and how a change of it is noticed, is in
test_captures.py.
"""

from __future__ import annotations

import functools
import gc
import warnings
import weakref
from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from steps import assert_same_bits, seeded, valley_and_slopes

import dualtape as dt
from dualtape import _core

F32 = np.float32
Pair = namedtuple("Pair", ["first", "second"])


@pytest.fixture(autouse=True)
def _clean_ending() -> Any:
    yield
    assert not _core.is_tracing()


def number(x: Any) -> float:
    return float(x)


def fresh(f: Callable[..., Any] = lambda x: x * x) -> dt.AcceleratedFunction:
    """An accelerated copy of a function, so that no other test shares its cache."""
    return dt.dlaccelerate(functools.wraps(f)(lambda *args, **kwargs: f(*args, **kwargs)))


# ---- properties -----------------------------------------------------------------------------------------------


def test_hits_and_occupancy() -> None:
    fast = fresh()
    assert (fast.hit_rate, fast.occupancy, fast.retraces, fast.cache_size) == (0.0, 0.0, 0, 50)
    assert number(fast(2.0)) == 4.0
    assert (fast.hit_rate, fast.occupancy, fast.retraces) == (0.0, 2.0, 1)
    assert [number(fast(x)) for x in (3.0, -1.0, 0.5)] == [9.0, 1.0, 0.25]
    assert (fast.hit_rate, fast.occupancy, fast.retraces) == (75.0, 2.0, 1)
    fast(np.ones(2))
    fast(np.zeros(2))
    assert (fast.occupancy, fast.retraces) == (4.0, 2)
    assert fast.hit_rate == pytest.approx(100 * 4 / 6)
    fast.clear_cache()
    assert (fast.hit_rate, fast.occupancy, fast.retraces) == (0.0, 0.0, 0)
    assert number(fast(2.0)) == 4.0
    assert fast.retraces == 1


def test_the_cache_forgets_what_was_not_used_for_longest() -> None:
    fast = fresh()
    fast.cache_size = 2
    for size in (1, 2, 1, 3):  # 2 is forgotten
        fast(np.ones(size))
    assert (fast.retraces, fast.occupancy) == (3, 100.0)
    fast(np.ones(1))
    assert fast.retraces == 3
    fast(np.ones(2))
    assert fast.retraces == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [("cache_size", 0), ("cache_size", 2.0), ("cache_size", True), ("check_mode", "both"), ("enabled", 1),
     ("check_tolerance", -1.0), ("check_tolerance", np.nan), ("check_tolerance", "small")],
)  # fmt: skip
def test_properties_are_checked(name: str, value: Any) -> None:
    fast = fresh()
    before = getattr(fast, name)
    with pytest.raises(ValueError, match=f"dlaccelerate: {name} must be .*; got"):
        setattr(fast, name, value)
    assert getattr(fast, name) == before


def test_disabled() -> None:
    fast = fresh(lambda x: dt.dlgradient(x**3, x))
    fast.enabled = False
    assert number(fast(dt.dlarray(2.0))) == 12.0
    assert (fast.retraces, fast.hit_rate) == (0, 0.0)


def test_check_mode() -> None:
    factor = iter([2.0, 2.0, 2.0, 2.5, 2.5])
    fast = fresh(lambda x: x * next(factor))
    fast.check_mode = "tolerance"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast(1.0)  # traced, and compared
        fast(2.0)
    with pytest.warns(RuntimeWarning, match=r"result of <lambda> differs from that of the function itself by 1\.5"):
        assert number(fast(3.0)) == 6.0
    fast.check_tolerance = 1.0
    fast(4.0)
    fast.check_mode = "none"
    assert number(fast(5.0)) == 10.0


def test_as_a_decorator() -> None:
    @dt.dlaccelerate
    def slope(x: Any) -> Any:
        """What it is."""
        return dt.dlgradient(x**3, x)

    @dt.dlaccelerate(cache_size=3)
    def other(x: Any) -> Any:
        return x + 1

    assert number(slope(dt.dlarray(2.0))) == 12.0
    assert number(slope(dt.dlarray(3.0))) == 27.0
    assert (slope.__name__, slope.__doc__, other.cache_size) == ("slope", "What it is.", 3)
    assert slope.hit_rate == 50.0
    assert "AcceleratedFunction slope" in repr(slope)
    with pytest.raises(TypeError, match=r"must be a function; a dlarray was given; write dlaccelerate\(fun\)"):
        dt.dlaccelerate(dt.dlarray(1.0))  # type: ignore[call-overload]


class Model:
    rate = 0.5

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.calls = 0

    @dt.dlaccelerate
    def forward(self, x: Any) -> Any:
        return x * self.scale * self.rate

    def plain(self, x: Any) -> Any:
        return self.helper(x) * self.rate

    def helper(self, x: Any) -> Any:
        return x * self.scale


def test_methods() -> None:
    two, three = Model(2.0), Model(3.0)
    for _ in range(2):
        assert number(two.forward(1.0)) == 1.0
        assert number(three.forward(1.0)) == 1.5
    two.scale = 4.0
    assert number(two.forward(1.0)) == 2.0
    assert number(three.forward(1.0)) == 1.5
    plain = dt.dlaccelerate(two.plain)
    assert [number(plain(1.0)), number(plain(2.0))] == [2.0, 4.0]
    two.scale = 6.0
    assert number(plain(1.0)) == 3.0
    two.rate = 1.0  # an attribute that hides that of the class
    assert number(plain(1.0)) == 6.0


def test_the_cache_is_shared_by_wrappers_and_dies_with_the_function() -> None:
    def f(x: Any) -> Any:
        return x * 3

    first, second = dt.dlaccelerate(f), dt.dlaccelerate(f)
    first(1.0)
    second(2.0)
    assert first.hit_rate == second.hit_rate == 50.0

    @functools.wraps(f)
    def g(x: Any) -> Any:
        return x * 4

    assert number(dt.dlaccelerate(g)(1.0)) == 4.0
    assert number(dt.dlaccelerate(functools.partial(f))(1.0)) == 3.0
    gone = weakref.ref(f)
    del f, g, first, second
    gc.collect()
    assert gone() is None


# ---- kinds of arguments ----------------------------------------------------------------------------------------


def test_values_are_operands() -> None:
    fast = fresh(valley_and_slopes)
    for x, y in zip(seeded(20), seeded(20, 1), strict=True):
        got = [number(leaf) for leaf in fast(dt.dlarray(x), dt.dlarray(y))]
        want = [number(leaf) for leaf in dt.dlfeval(valley_and_slopes, dt.dlarray(x), dt.dlarray(y))]
        assert got == pytest.approx(want, rel=1e-14, abs=1e-13)
    assert fast.retraces == 1


@pytest.mark.parametrize("first", range(9))
def test_kinds_are_kept_apart(first: int) -> None:
    """Whatever was traced first, each argument is treated as what it is."""
    fast = fresh(lambda x, a: (x * a, a * 2.0) if not isinstance(a, (list, tuple)) else (x * a[0], a[1] * 2.0))
    x32 = dt.dlarray(np.array([1.0, 2.0], F32))
    arguments: list[Any] = [0.5, dt.dlarray(0.5), F32(0.5), np.float64(0.5), np.full(2, 0.5), np.full(2, 0.5, F32),
                            [0.5, 0.5], (0.5, 0.5), dt.dlarray(0.5, dtype=F32)]  # fmt: skip
    dtypes = [F32, float, F32, F32, float, F32, F32, F32, F32]
    order = [first, *range(9), *range(9)]
    for k in order:
        out, _ = fast(x32, arguments[k])
        assert out.dtype == dtypes[k], k
        np.testing.assert_array_equal(dt.extractdata(out), [0.5, 1.0])
    assert fast.hit_rate > 50.0


def test_integers_flags_and_text_are_part_of_the_trace() -> None:
    fast = fresh(lambda x, n, mode="a": sum([x] * n) if mode == "a" else x * n / 2)
    for n in (2, 3, 2, True):
        assert number(fast(1.5, n)) == 1.5 * n
        assert number(fast(1.5, n, mode="b")) == 0.75 * n
        assert number(fast(mode="b", x=1.5, n=n)) == 0.75 * n
    assert fast.retraces == 9
    whole = fresh(lambda x: x if isinstance(x, int) else x * 10)
    assert [number(whole(2.0)), number(whole(2)), number(whole(3.0)), number(whole(True))] == [20, 2, 30, 1]


def test_other_arguments_follow_the_fast_path() -> None:
    fast = fresh(lambda x: x if x is None or isinstance(x, (dict, list)) else x * 2)
    assert number(fast(1.0)) == 2.0
    assert fast(None) is None
    assert number(fast({"a": 1.0})["a"]) == 1.0
    assert number(fast([3.0])[0]) == 3.0
    assert number(fast(2.0)) == 4.0
    with pytest.raises(TypeError):
        fast(1.0, 2.0)
    with pytest.raises(dt.DTypeError):
        fast("text" * 2)


def test_labels_are_kept_apart() -> None:
    fast = fresh(lambda x: dt.softmax(x))
    square = np.array([[1.0, 2.0], [3.0, 5.0]])
    arrays = [dt.dlarray(square), dt.dlarray(square, "CB"), dt.dlarray(square, "BC"), dt.dlarray(square, "SC")]
    for x in arrays * 2:
        got, want = fast(x), dt.softmax(x)
        assert got.dims == want.dims
        assert_same_bits(got, want)


def test_objects_among_arguments_are_watched() -> None:
    fast = fresh(lambda x, model, f: f(x) * model.scale)
    model = SimpleNamespace(scale=2.0)
    factor = {"it": 3.0}

    def times(x: Any) -> Any:
        return x * factor["it"]

    assert number(fast(1.0, model, times)) == 6.0
    assert number(fast(2.0, model, times)) == 12.0
    factor["it"] = 4.0
    assert number(fast(1.0, model, times)) == 8.0


# ---- decisions ------------------------------------------------------------------------------------------------


def test_decisions_are_traced_once_each_way() -> None:
    fast = fresh(lambda x: x * 2 if x > 1 else (-x if x < -1 else x / 2))
    for x in (3.0, 0.5, -4.0, 2.0, 0.1, -2.0):
        assert number(fast(x)) == (x * 2 if x > 1 else -x if x < -1 else x / 2)
    assert fast.retraces == 3
    assert fast.hit_rate == 50.0
    assert fast.occupancy == 2.0


def test_too_many_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualtape.accelerate.MOST_PATHS", 3)
    fast = fresh(lambda x: x * int(x))
    for x in (1.0, 2.0, 3.0):
        fast(x)
    with pytest.warns(RuntimeWarning, match=r"has taken more than 3 paths; .*numpy\.where"):
        fast(4.0)


def test_explain() -> None:
    def decide(x: Any) -> Any:
        return x * table["scale"] if x > 1 else -x

    table = {"scale": 2.0}
    fast = dt.dlaccelerate(decide)
    fast(2.0)
    fast(0.0)
    fast(np.array(3.0))
    table["scale"] = 3.0
    fast(np.array(3.0))
    line = f"{__file__}:{decide.__code__.co_firstlineno + 1}"
    text = fast.explain()
    assert text.splitlines()[0] == "decide: 4 calls, 0 answered from 2 traces, traced 4 times"
    assert "call 1: traced on the first call" in text
    assert f"call 2: traced along another path: a decision at {line} came out as 0" in text
    assert "call 3: traced for arguments of another kind" in text
    assert "call 4: traced anew: 'table' (a variable around decide)['scale'] has changed" in text
    assert f"decides at {line}, truth, seen: 1, 0" in text
    assert "relies on 'table'" in text


def test_the_log_stays_short() -> None:
    box = [0.0]
    fast = fresh(lambda x: x + box[0])
    for k in range(300):
        box[0] = float(k)
        assert number(fast(1.0)) == 1.0 + k
    assert len(fast.explain().splitlines()) < 250


# ---- where it is called from -------------------------------------------------------------------------------------


WEIGHTS = dt.dlarray([1.0, 2.0])


@dt.dlaccelerate
def cube(x: Any) -> Any:
    return x**3 if x > 0 else -x


@dt.dlaccelerate
def cube_slope(x: Any) -> Any:
    return dt.dlgradient(x**3, x)


def test_inside_derivatives() -> None:
    three = dt.dlarray(3.0)
    cube(1.0)
    assert number(dt.grad(cube)(three)) == 27.0
    assert number(dt.hessian(cube)(three)) == 18.0
    assert number(dt.jvp(cube, (-three,), (dt.dlarray(1.0),))[1]) == -1.0
    assert number(dt.dlfeval(lambda x: dt.dlgradient(cube(x) * 2, x), three)) == 54.0
    assert number(cube_slope(three)) == 27.0
    assert number(dt.dlfeval(lambda x: cube_slope(x) + x, three)) == 30.0


def test_inside_traces_and_loops() -> None:
    program = dt.trace(lambda x: cube(x) + cube_slope(x) + cube(2.0), 1.0)
    assert number(program(3.0)) == 27.0 + 27.0 + 8.0
    assert number(program(-1.0)) == 1.0 + 3.0 + 8.0
    twice = dt.dlaccelerate(lambda x: cube(cube(x)))
    assert number(twice(2.0)) == 512.0
    run = dt.loop(lambda x, rate: x - rate * cube_slope(x), 1.0, iterations=3, rate=0.1, contract=False)
    x = dt.dlarray(1.0)
    for _ in range(3):
        x = x - 0.1 * cube_slope(x)
    assert number(run.state) == pytest.approx(number(x), rel=1e-15)


@pytest.mark.parametrize("way", ["grad", "jvp", "trace"])
def test_what_is_captured_may_be_differentiated_or_traced(way: str) -> None:
    def outer(x: Any) -> Any:
        return dt.dlaccelerate(lambda y: y * x)(3.0)

    five = dt.dlarray(5.0)
    if way == "grad":
        assert number(dt.grad(outer)(five)) == 3.0
    elif way == "jvp":
        assert [number(v) for v in dt.jvp(outer, (five,), (dt.dlarray(2.0),))] == [15.0, 6.0]
    else:
        assert number(dt.trace(outer, 5.0)(7.0)) == 21.0


def test_exceptions() -> None:
    def fail(x: Any) -> Any:
        if x > 1:
            raise KeyError("large")
        return x * 2

    fast = dt.dlaccelerate(fail)
    for _ in range(2):
        with pytest.raises(KeyError):
            fast(2.0)
        assert number(fast(0.5)) == 1.0
    assert fast.retraces == 1
    with pytest.raises(dt.TraceError, match=f"frozen.*{__file__}"):
        dt.dlaccelerate(lambda x: float(x))(1.0)


def test_accelerated_functions_leave_no_memory_behind() -> None:
    def make() -> None:
        fast = dt.dlaccelerate(lambda x: (x * WEIGHTS).sum() if x[0] > 0 else x.sum())
        for k in (1.0, -1.0):
            fast(np.full(2, k))

    make()
    gc.collect()
    before = _core.memory()
    for _ in range(10):
        make()
    gc.collect()
    assert _core.memory() == before
