# SPDX-License-Identifier: MIT
"""What an accelerated function takes from outside: every change is noticed, and equal values are no change."""

from __future__ import annotations

import functools
from collections import deque, namedtuple
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_accelerate import fresh, number

import dualtape as dt

Pair = namedtuple("Pair", ["first", "second"])

scale, vector, array = 2.0, dt.dlarray([1.0, 2.0]), np.ones(2)
sum_of = sum
settings = ModuleType("settings")
settings.__file__, settings.rate = __file__, 0.5  # type: ignore[attr-defined]


class Config:
    rate = 0.5

    @staticmethod
    def twice(x: Any) -> Any:
        return x * 2

    @property
    def slow(self) -> float:
        return self.rate / 2


class Slotted:
    __slots__ = ("rate",)

    def __init__(self) -> None:
        self.rate = 0.5


class Layer:
    def __init__(self) -> None:
        self.inner = SimpleNamespace(weights=[dt.dlarray([1.0, 2.0])])
        self.hidden = {"rate": 0.5}

    def __call__(self, x: Any) -> Any:
        return (self.inner.weights[0] * x).sum() * self.hidden["rate"]

    def __add__(self, other: Any) -> Any:
        return other + self.hidden["rate"]


layer, slotted, config, box = Layer(), Slotted(), Config(), [1.0, [2.0]]
queue, chosen, pair = deque([1.0]), {1}, Pair(1.0, [2.0])


def helper(x: Any) -> Any:
    return x * scale


def deeper(x: Any, by: Any = box) -> Any:
    return helper(x) * by[0]


def set_item(container: Any, key: Any, value: Any) -> None:
    container[key] = value


CHANGES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], None]]] = {
    "a global": (lambda x: x * scale, lambda m: m.setitem(globals(), "scale", 3.0)),
    "a sign of zero": (lambda x: np.copysign(x, scale * 0.0), lambda m: m.setitem(globals(), "scale", -2.0)),
    "another type": (
        lambda x: x * scale if isinstance(scale, float) else x,
        lambda m: m.setitem(globals(), "scale", 2),
    ),
    "a helper's global": (lambda x: deeper(x), lambda m: m.setitem(globals(), "scale", 3.0)),
    "a helper": (lambda x: helper(x), lambda m: m.setitem(globals(), "helper", lambda x: x * 7)),
    "a helper's code": (lambda x: helper(x), lambda m: m.setattr(helper, "__code__", (lambda x: x * 9).__code__)),
    "a helper's default": (lambda x: deeper(x), lambda m: m.setattr(deeper, "__defaults__", ([5.0],))),
    "what a default holds": (lambda x: deeper(x), lambda m: set_item(box, 0, 5.0)),
    "a list": (lambda x: x * box[0], lambda m: set_item(box, 0, 5.0)),
    "a list in a list": (lambda x: x * box[1][0], lambda m: set_item(box[1], 0, 5.0)),
    "a list in a named tuple": (lambda x: x * pair.second[0], lambda m: set_item(pair.second, 0, 5.0)),
    "a longer list": (lambda x: x * len(box), lambda m: m.setitem(globals(), "box", [*box, 1.0])),
    "a deque": (lambda x: x * queue[0], lambda m: set_item(queue, 0, 4.0)),
    "a set": (lambda x: x * len(chosen), lambda m: chosen.add(2)),
    "a dlarray": (lambda x: (vector * x).sum(), lambda m: set_item(vector, 0, 5.0)),
    "a dlarray that leaves as a number": (lambda x: x * float(vector.sum()), lambda m: set_item(vector, 0, 6.0)),
    "a dlarray through a view": (lambda x: (vector * x).sum(), lambda m: set_item(vector[:1], 0, 7.0)),
    "an attribute": (lambda x: x * config.rate, lambda m: m.setattr(config, "rate", 3.0, raising=False)),
    "an attribute of a class": (lambda x: x * Config.rate, lambda m: m.setattr(Config, "rate", 3.0)),
    "a static method": (lambda x: Config.twice(x), lambda m: m.setattr(Config, "twice", staticmethod(lambda x: x * 5))),
    "behind a property": (lambda x: x * config.slow, lambda m: m.setattr(Config, "rate", 3.0)),
    "a slot": (lambda x: x * slotted.rate, lambda m: m.setattr(slotted, "rate", 3.0)),
    "an attribute of a module": (lambda x: x * settings.rate, lambda m: m.setattr(settings, "rate", 3.0)),
    "behind __call__": (lambda x: layer(x), lambda m: m.setitem(layer.hidden, "rate", 3.0)),
    "behind __add__": (lambda x: layer + x, lambda m: m.setitem(layer.hidden, "rate", 3.0)),
    "deep inside": (lambda x: layer(x), lambda m: set_item(layer.inner.weights[0], 1, 9.0)),
    "a name like a builtin's": (lambda x: sum_of([x, x]), lambda m: m.setitem(globals(), "sum_of", max)),
}


@pytest.fixture
def _as_before() -> Any:
    """What monkeypatch does not undo."""
    yield
    box[:], pair.second[:], queue[0] = [1.0, [2.0]], [2.0], 1.0
    chosen.discard(2)
    vector[:] = layer.inner.weights[0][:] = np.array([1.0, 2.0])


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f, change = CHANGES[name]
    fast = dt.dlaccelerate(f)
    one = dt.dlarray(1.0)
    assert number(fast(one)) == number(fast(one)) == number(f(one))
    assert fast.retraces == 1
    before = number(f(one))
    change(monkeypatch)
    after = number(f(one))
    assert np.copysign(1.0, after) != np.copysign(1.0, before) or after != before or name == "another type"
    assert number(fast(one)) == number(fast(one)) == after
    assert np.copysign(1.0, number(fast(one))) == np.copysign(1.0, after)
    assert fast.retraces == 2
    assert "has changed" in fast.explain()


def test_a_global_that_hides_a_builtin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "abs", lambda x: x * 5)
    fast = fresh(lambda x: abs(x))
    assert number(fast(-1.0)) == -5.0
    monkeypatch.setitem(globals(), "abs", lambda x: x * 6)
    assert number(fast(-1.0)) == -6.0


def test_closures() -> None:
    rate, weights = 0.5, dt.dlarray([1.0, 2.0])

    def f(x: Any) -> Any:
        return (weights * x).sum() * rate

    fast = dt.dlaccelerate(f)
    assert number(fast(2.0)) == 3.0
    rate = 0.25
    assert number(fast(2.0)) == 1.5
    weights = dt.dlarray([3.0, 3.0])
    assert number(fast(2.0)) == 3.0
    assert fast.retraces == 3
    rate = float("nan")
    assert np.isnan(number(fast(2.0)))
    fast(2.0)
    assert fast.retraces == 4  # NaN is no change


def test_equal_values_are_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = fresh(lambda x: x * scale + vector.sum() + len(chosen))
    fast(1.0)
    monkeypatch.setitem(globals(), "scale", float("2.0"))
    vector.sum()
    fast(1.0)
    assert fast.retraces == 1


def test_ndarrays_are_frozen_and_may_be_thawed(monkeypatch: pytest.MonkeyPatch) -> None:
    base = np.arange(6.0)
    monkeypatch.setitem(globals(), "array", base[::2])
    fast = dt.dlaccelerate(lambda x: (array * x).sum())
    assert number(fast(1.0)) == 6.0
    for held in (array, base):
        with pytest.raises(ValueError, match="read-only"):
            held[0] = 9.0
    base.flags.writeable = True
    base[2] = 12.0
    assert number(fast(1.0)) == 16.0
    assert fast.retraces == 2
    with pytest.raises(ValueError, match="read-only"):
        base[0] = 1.0
    borrowed = np.frombuffer(bytearray(np.arange(3.0).tobytes()))
    monkeypatch.setitem(globals(), "array", borrowed)
    assert number(fast(1.0)) == 3.0
    borrowed[0] = 4.0  # memory that is not NumPy's cannot be frozen; it is compared
    assert number(fast(1.0)) == 7.0


def test_partials_and_transformations() -> None:
    factor = [2.0]

    def f(x: Any, y: Any) -> Any:
        return x * y * factor[0]

    partial, slope = dt.dlaccelerate(functools.partial(f, 3.0)), dt.dlaccelerate(dt.grad(f))
    assert number(partial(1.0)) == 6.0
    assert number(slope(dt.dlarray(1.0), 3.0)) == 6.0
    factor[0] = 5.0
    assert number(partial(1.0)) == 15.0
    assert number(slope(dt.dlarray(1.0), 3.0)) == 15.0
