# SPDX-License-Identifier: MIT
"""The ways out of a trace: each is part of the program, or is refused with the user's file and line.

A number that leaves unseen would be frozen into the program. The tables list what is refused, and what works because it
is computed, or decided on and checked again; everything else here is a way that once was, or easily could be, a leak.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
import operator
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
from steps import assert_same_bits

import dualtape as dt
from dualtape import _core
from dualtape import numpy as dnp

TEN = dt.dlarray(np.arange(10.0))
SCALARS = [dt.dlarray(x) for x in (2.5, 0.3, -1.7)]
VECTORS = [dt.dlarray(x) for x in ([1.0, 3.0, 2.0], [3.0, -1.0, 2.0], [0.0, 0.0, 5.0])]


@pytest.fixture(autouse=True)
def _clean_ending() -> Any:
    yield
    assert not _core.is_tracing()


def refuse(f: Callable[[Any], Any], x: Any, match: str = "trac|chang|kept") -> None:
    with pytest.raises(dt.TraceError, match=match) as caught:
        dt.trace(f, x)
    assert f"{__file__}:" in str(caught.value), caught.value


def agree(f: Callable[[Any], Any], inputs: list[Any]) -> dt.Program:
    """The program of f on the first input gives f's bits on all."""
    program = dt.trace(f, inputs[0], contract=False)
    for x in inputs * 2:
        assert_same_bits(program(x), f(x))
    return program


# ---- refused --------------------------------------------------------------------------------------------------

NUMBERS_OUT: dict[str, Callable[[Any], Any]] = {
    "float": lambda x: float(x),
    "complex": lambda x: complex(x),
    "item": lambda x: x.item(),
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "extractdata": lambda x: dt.extractdata(x),
    "asarray": lambda x: np.asarray(x),
    "array of dtype": lambda x: np.asarray(x, dtype=np.float32),
    "array of several": lambda x: np.array([x, x]),
    "list to dlarray": lambda x: dt.dlarray([x, x]),
    "list as operand": lambda x: [x, x] * TEN[:2],
    "list in an assignment": lambda x: operator.setitem(TEN.copy(), slice(0, 2), [x, x]),
    "dnp of a list": lambda x: dnp.sum([x, 1.0]),
    "math.sin": lambda x: math.sin(x),
    "math.floor": lambda x: math.floor(x),
    "math.isfinite": lambda x: math.isfinite(x),
    "math.isclose": lambda x: math.isclose(x, 2.5),
    "math.fsum": lambda x: math.fsum([x, x]),
    "format": lambda x: f"{x:.3f}",
    "percent": lambda x: "%f" % x,  # noqa: UP031
    "float64": lambda x: np.float64(x),
    "bool_": lambda x: np.bool_(x > 1),
    "pickle": lambda x: pickle.dumps(x),
    "dlpack": lambda x: np.from_dlpack(x),
    "buffer": lambda x: memoryview(x),
    "bytes": lambda x: bytes(x),
    "a ufunc without derivative": lambda x: np.spacing(x),
    "a function without derivative": lambda x: np.trim_zeros(x),
    "a special function": lambda x: scipy.special.jv(0, x),
    "the extent of a range": lambda x: dnp.arange(0, x),
    "vectorize": lambda x: np.vectorize(lambda v: v * 2)(x),
    "lbfgsupdate": lambda x: dt.lbfgsupdate(x, lambda v: (v * v, 2 * v), None),
    "in a gradient": lambda x: dt.grad(lambda v: v * float(v))(x),
    "in a gradient, cut": lambda x: dt.grad(lambda v: v * float(dt.stop_gradient(v)))(x),
    "in a jvp": lambda x: dt.jvp(lambda v: v * float(v), (x,), (x,)),
    "in a jvp, by numpy()": lambda x: dt.jvp(lambda v: v * v.numpy(), (x,), (x,)),
    "of a dual": lambda x: dt.jvp(lambda v: v * np.asarray(v), (x,), (x,)),
    "an integer's bits": lambda x: x.astype(int) & 1,
}
ARRAYS_OUT: dict[str, Callable[[Any], Any]] = {
    "a mask that is traced": lambda v: v[v > 1],
    "a mask of two axes": lambda v: np.outer(v, v)[np.outer(v, v) > 1],
    "assigning by a traced mask": lambda v: operator.setitem(v.copy(), v > 1, [0.0, 1.0]),
    "unique": lambda v: np.unique(v),
    "nonzero": lambda v: np.nonzero(v),
    "where alone": lambda v: np.where(v > 1),
    "flatnonzero": lambda v: np.flatnonzero(v > 1),
    "histogram": lambda v: np.histogram(v, 3),
    "bincount": lambda v: np.bincount(v.astype(int) + 1),
    "fft": lambda v: np.fft.fft(v),
    "eigvals": lambda v: np.linalg.eigvals(np.diag(v)),
    "polyfit": lambda v: np.polyfit([0, 1, 2], v, 1),
    "fromiter": lambda v: [float(e) for e in v],
    "array2string": lambda v: np.array2string(v),
    "masked array": lambda v: np.ma.array(v),
    "lexsort": lambda v: np.lexsort((v,)),
    "a repeated count": lambda v: np.repeat(TEN, v.argmax(keepdims=True)),
}


@pytest.mark.parametrize("name", NUMBERS_OUT)
def test_numbers_that_would_be_frozen(name: str) -> None:
    refuse(NUMBERS_OUT[name], SCALARS[0])


@pytest.mark.parametrize("name", ARRAYS_OUT)
def test_arrays_that_would_be_frozen(name: str) -> None:
    refuse(ARRAYS_OUT[name], VECTORS[0])


def test_writing_into_an_ndarray_is_refused() -> None:
    def inplace(x: Any) -> Any:
        out = np.zeros(3)
        out += x
        return out

    for f in (inplace, lambda x: np.add(np.zeros(3), x, out=np.zeros(3))):
        with pytest.raises(TypeError, match="out="):
            dt.trace(f, VECTORS[0])
    for f in (lambda x: np.copyto(np.zeros(3), x), lambda x: np.add.at(np.zeros(3), 0, x[0])):
        with pytest.raises(TypeError, match="an ndarray cannot hold"):
            dt.trace(f, VECTORS[0])
    with pytest.raises(TypeError, match="boolean subtract"):  # (NumPy's own)
        dt.trace(lambda v: np.subtract(v > 1, v < 3), VECTORS[0])
    with pytest.raises((TypeError, ValueError)):
        dt.trace(lambda x: operator.setitem(np.zeros(3), 0, x), SCALARS[0])


def test_a_refusal_that_is_caught_is_still_one() -> None:
    """Whoever catches it computes something else than on numbers."""

    def careless(x: Any) -> Any:
        try:
            return x * float(x)
        except TypeError:
            return x * 2

    refuse(careless, SCALARS[0], "float")
    assert float(careless(SCALARS[0])) == 6.25


# ---- threads and values that outlive their trace ----------------------------------------------------------------


@pytest.mark.parametrize("way", [lambda x: x * 2, lambda x: float(x), lambda x: bool(x > 1), lambda x: TEN + x])
def test_a_traced_value_in_another_thread(way: Callable[[Any], Any]) -> None:
    found: list[Any] = []

    def elsewhere(x: Any) -> Any:
        def run() -> None:
            try:
                way(x)
            except dt.TraceError as error:
                found.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return x

    with pytest.raises(dt.TraceError):  # `found` has changed
        dt.trace(elsewhere, SCALARS[0])
    assert "in another thread" in found[0]
    assert f"{__file__}:" in found[0]


def test_a_value_that_outlives_its_trace() -> None:
    kept: list[Any] = []
    refuse(lambda x: (kept.append(x * 2), x)[1], SCALARS[0])
    for use in (lambda x: x + 1, float, lambda x: x if x > 1 else 0, lambda x: dt.trace(lambda y: y, x)):
        with pytest.raises(dt.TraceError, match="after the traced function has ended"):
            use(kept[0])
    assert "traced" in repr(kept[0])


def test_values_kept_in_attributes_and_defaults() -> None:
    class Model:
        pass

    model, default = Model(), {"x": 0.0}

    def on_an_object(x: Any) -> Any:
        model.last = x * 2  # type: ignore[attr-defined]
        return x

    def on_a_default(x: Any, memory: Any = default) -> Any:
        memory["y"] = x * 2
        return x

    refuse(on_an_object, SCALARS[0])
    refuse(lambda x: on_a_default(x), SCALARS[0])


def test_garbage_in_cycles_is_nobodys() -> None:
    def cyclic(x: Any) -> Any:
        ring: list[Any] = [x * 2]
        ring.append(ring)
        return x

    assert float(dt.trace(cyclic, 1.0)(3.0)) == 3.0


# ---- traced ---------------------------------------------------------------------------------------------------

WORKS: dict[str, Callable[[Any], Any]] = {
    "copies": lambda x: (copy.copy(x) * 2, copy.deepcopy([x])[0] * 2, x.copy() * 2, dt.dlarray(x) * 2),
    "another dtype": lambda x: (dt.dlarray(x, dtype=np.float32), np.add(x, 1.0, dtype=np.float32), x.astype(int)),
    "int": lambda x: x * int(x) + int(x * 2) * int(x > 1),
    "bool": lambda x: (x if x > 1 else -x) * bool(x) * (not x - 0.3),
    "and, or, not": lambda x: (x > 0 and 2 * x) + ((x > 1) * 1.0 or x) * (not x > 1),
    "chains": lambda x: x if 0 < x < 1 else -x,
    "min and max": lambda x: (min(x, 1.0), max(x, 1.0), max([x, 2 * x, -x]), min(0.0, x, key=lambda v: -v)),
    "sorted": lambda x: sorted([x, 1.0, 0.0, -x]),
    "any and all": lambda x: x if any([x > 1, x < 0]) and all([x < 9, x > -9]) else 2 * x,
    "in": lambda x: (x if x in [0.3, 5.0] else -x) + (1 if x not in (2.5,) else 2),
    "index and count": lambda x: x * [-1.7, 2.5, 0.3].index(x) + [2.5, 2.5].count(x),
    "equality": lambda x: x if x == 2.5 else (2 * x if x != 0.3 else -x),
    "equality of lists": lambda x: x if [x] == [2.5] else (-x if (x, 1) < (0.5, 1) else 3 * x),
    "equality with what is no number": lambda x: x if x is not None and x != "a" else -x,
    "filter": lambda x: sum(filter(lambda v: v > 0, [x, 1.0, -x])),
    "takewhile": lambda x: sum(itertools.takewhile(lambda v: v < x, [0.0, 1.0, 2.0])) + x,
    "reduce": lambda x: functools.reduce(operator.mul, [x, x, 2.0]),
    "isclose": lambda x: (x if dnp.allclose(x, 2.5) else -x, x if np.array_equal(x, TEN[3]) else 2 * x),
    "a range": lambda x: sum((x for _ in range(int(abs(x) * 2))), 0.0 * x),
    "an index": lambda x: TEN[int(x)] + TEN[int(x) - 1 :].sum() + [1.0, 2.0, 3.0, 4.0][int(abs(x))],
    "a slice": lambda x: TEN[: int(abs(x) + 1)].sum() * x,
    "an axis": lambda x: TEN.reshape(2, 5).sum(int(x > 1)).sum() * x,
    "a shape": lambda x: dnp.ones(int(x * x) + 1).sum() * x,
    "a generator": lambda x: sum(v * 2 for v in (x, 1.0)),
    "isfinite": lambda x: x if np.isfinite(x) and not np.isnan(x) else 0.0 * x,
    "a dual's value": lambda x: dt.jvp(lambda v: v * int(v) if v > 0 else -v, (x,), (x,)),
    "a gradient's decision": lambda x: dt.grad(lambda v: v * v if v > 1 else 3 * v)(x),
    "clipping": lambda x: dt.threshold_l2norm([x, 2 * x], 1.0),
    "a truth as an index": lambda x: [1.0, 2.0][(x > 1).astype(int)] * x,
    "an integer's arithmetic": lambda x: x.astype(int) + 1,
    "an integer's power": lambda x: x.astype(int) ** 2,
    "arithmetic of truths": lambda x: (x > 1) + (x < 3),
    "an unsigned negative": lambda x: -(x.astype(int)),
    "operators": lambda x: x * operator.truth(x - 2.5) + operator.index((x > 1).astype(int)),
}
WORKS_ON_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "argmax as an index": lambda v: (v[v.argmax()] * 2, TEN[np.argmin(v)], [1.0, 2.0, 3.0][v.argmax()] * v),
    "argmax as a number": lambda v: (v * v.argmax(), v.argmax(), v if v.argmax() == 1 else -v),
    "assigning at argmax": lambda v: (lambda w: (operator.setitem(w, w.argmax(), 0.0), w)[1])(v.copy()),
    "truths": lambda v: (v if (v > 0).all() else -v, v if np.any(v < 0) else 2 * v, v if 3.0 in v else -v),
    "python's own": lambda v: (max(v), min(v), sum(v), sorted(v), list(v), tuple(reversed(v))),
    "keys": lambda v: v * sorted([0, 1, 2], key=lambda i: v[i])[0] + max([0, 1, 2], key=lambda i: v[i]),
    "where instead of a mask": lambda v: (np.where(v > 1, v, 0.0).sum(), ((v > 1) * v).sum(), ~(v > 1)),
    "logic": lambda v: ((v > 1) ^ (v < 0), (v > 1) & (v < 3), (v > 2) | (v < 0)),
    "sums of truths": lambda v: ((v > 1).sum(), (v > 1).mean(), (v > 1) @ v, (v > 1).any() * v),
    "integers that are reduced": lambda v: (v.astype(int).sum(), v.astype(int).max(), v.astype(int) > 1),
    "a shift": lambda v: np.roll(TEN, int(v.argmax())),
    "a count": lambda v: np.tile(TEN, int(v.argmax()) * 0 + 2) * v.sum(),
    "an index array": lambda v: TEN[abs(v).astype(int)],
    "take": lambda v: np.take(TEN, v.argmax(keepdims=True)),
    "take, wrapped": lambda v: dnp.take(TEN, v.argmax(), mode="wrap"),
    "argmax plus one": lambda v: TEN[v.argmax() + 1],
    "accumulate": lambda v: np.maximum.accumulate(v),
    "reduceat": lambda v: np.add.reduceat(v, [0, 1]),
    "assigning a number by a mask": lambda v: (lambda w: (operator.setitem(w, w > 1, 0.0), w)[1])(v.copy()),
    "len": lambda v: v * len(v) * np.size(v),
}  # fmt: skip


@pytest.mark.parametrize("name", WORKS)
def test_numbers_that_are_traced(name: str) -> None:
    agree(WORKS[name], SCALARS)


@pytest.mark.parametrize("name", WORKS_ON_ARRAYS)
def test_arrays_that_are_traced(name: str) -> None:
    agree(WORKS_ON_ARRAYS[name], VECTORS)


def test_a_loop_that_ends_when_it_does() -> None:
    def halve(x: Any) -> Any:
        count = 0
        while x * x > 0.01:
            x = x / 2
            count += 1
        return x * count

    def matched(x: Any) -> Any:
        match x:
            case 2.5:
                return x * 2
            case 0.3:
                return x * 3
        return -x

    assert len(agree(halve, SCALARS).guards) > 5
    assert [guard.outcomes for guard in agree(matched, SCALARS).guards] == [(1, 0), (1, 0)]
