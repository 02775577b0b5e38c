# SPDX-License-Identifier: MIT
"""A call of a function of NumPy's, and the ways in which it is tried: its value, forward and reverse derivatives,
second order, in a traced program, in lanes of a sweep. The calls themselves are in numpy_cases.py.

Where to start: `Case`, then `WAYS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
from numeric import check_forward, check_reverse, check_second_order, value

import dualtape as dt
import dualtape.numpy as dnp


@dataclass(frozen=True)
class A:
    """An array to be drawn: of normal numbers, or as `kind` says, which may be an interval."""

    shape: tuple[int, ...]
    kind: str | tuple[float, float] = "normal"

    def draw(self, rng: Any) -> Any:
        x = rng.normal(size=self.shape)
        if isinstance(self.kind, tuple):
            return rng.uniform(*self.kind, size=self.shape)
        if self.kind == "positive":
            return np.abs(x) + 0.2
        if self.kind == "ascending":
            return np.cumsum(np.abs(x) + 0.1) - 1.0
        if self.kind == "share":
            return 0.1 + 0.8 * rng.uniform(size=self.shape)
        if self.kind == "holes":
            x.flat[:: max(2, x.size // 4)] = np.nan
        return x


@dataclass(frozen=True)
class Case:
    """A call of a function; arrays to be drawn may stand anywhere in its arguments."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    #: For what is no single call: a function of the namespace and the arguments.
    made: Callable[..., Any] | None = None
    #: The ways in which it is refused.
    refused: tuple[str, ...] = ()

    def __str__(self) -> str:
        def told(x: Any) -> str:
            if isinstance(x, A):
                return str(x.shape)
            if isinstance(x, (list, tuple)):
                return "[" + ",".join(map(told, x)) + "]"
            return f"array{x.shape}" if isinstance(x, np.ndarray) else "f" if callable(x) else str(x)

        given = [told(x) for x in self.args] + [f"{key}={told(x)}" for key, x in self.kwargs.items()]
        return f"{self.name}({','.join(given)})".replace(" ", "")

    def drawn(self) -> list[A]:
        """The arrays, in order."""
        return list(_leaves((self.args, tuple(self.kwargs.values()))))

    def draw(self, seed: int = 0, dtype: Any = np.float64) -> list[Any]:
        """Numbers for them."""
        rng = np.random.default_rng(seed)
        return [np.asarray(a.draw(rng), dtype) for a in self.drawn()]

    def call(self, function: Callable[..., Any], arrays: Any) -> Any:
        """The function's result for these arrays."""
        rest = iter(arrays)
        args = tuple(_filled(x, rest) for x in self.args)
        return function(*args, **{key: _filled(x, rest) for key, x in self.kwargs.items()})

    def of(self, namespace: Any) -> Callable[..., Any]:
        """What is called in a namespace."""
        return partial(self.made, namespace) if self.made else attrgetter(self.name)(namespace)

    def numbers(self, *arrays: Any) -> Any:
        """All the numbers of dualtape's result in one vector."""
        parts = results_of(self.call(self.of(dnp), arrays))
        return dnp.concatenate([dnp.astype(dnp.ravel(part), np.result_type(part.dtype, float)) for part in parts])

    def constant(self) -> bool:
        """Whether the results are places, truths or counts."""
        arrays = [dt.dlarray(x) for x in self.draw()]
        return not any(np.dtype(y.dtype).kind == "f" for y in results_of(self.call(self.of(dnp), arrays)))


def _leaves(tree: Any) -> Iterator[A]:
    if isinstance(tree, A):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for x in tree:
            yield from _leaves(x)


def _filled(tree: Any, rest: Iterator[Any]) -> Any:
    if isinstance(tree, A):
        return next(rest)
    return type(tree)(_filled(x, rest) for x in tree) if isinstance(tree, (list, tuple)) else tree


def results_of(result: Any) -> list[Any]:
    """The arrays of a result, which may be several."""
    if isinstance(result, (list, tuple)):
        return [y for part in result for y in results_of(part)]
    return [result if hasattr(result, "dtype") else dt.dlarray(result)]


# ---- the ways ---------------------------------------------------------------------------------------------------


def _same(case: Case, arrays: list[Any], plain: list[Any], rtol: float) -> None:
    want = results_of(case.call(case.of(np), plain))
    for namespace in (dnp, np):
        got = results_of(case.call(case.of(namespace), arrays))
        assert len(got) == len(want)
        for ours, theirs in zip(got, want, strict=True):
            assert ours.shape == theirs.shape
            # (The table of ops keeps float32 where NumPy's float_power goes over to float64.)
            assert np.dtype(ours.dtype) == theirs.dtype or case.name == "float_power"
            np.testing.assert_allclose(value(ours), value(theirs), rtol=rtol, atol=rtol)


def has_values(case: Case) -> None:
    """NumPy's values and dtypes, for float64, float32 and views that run backwards."""
    with np.errstate(all="ignore"):
        for dtype, rtol in ((np.float64, 1e-11), (np.float32, 1e-4)):
            plain = case.draw(dtype=dtype)
            _same(case, [dt.dlarray(x) for x in plain], plain, rtol)
        backwards = tuple(slice(None, None, -1) for _ in range(4))
        plain = case.draw()
        _same(case, [dt.dlarray(np.flip(x))[backwards[: x.ndim]] for x in plain], plain, 1e-11)


def _filled_holes(x: Any) -> Any:
    """Different numbers in place of NaN, which has no differences."""
    return np.where(np.isnan(x), 0.37 * np.arange(x.size).reshape(x.shape) - 0.5, x)


def has_tangents(case: Case) -> None:
    """Forward derivatives are differences."""
    check_forward(case.numbers, *map(_filled_holes, case.draw(3)))


def has_gradients(case: Case) -> None:
    """Reverse derivatives are forward ones."""
    check_reverse(case.numbers, *map(_filled_holes, case.draw(3)))


def has_second_order(case: Case) -> None:
    """Hessian products are differences of gradients, by both orders of passes."""
    check_second_order(case.numbers, *map(_filled_holes, case.draw(3)))


def _loss(case: Case, xs: Any) -> Any:
    y = case.numbers(*xs)
    return (y * np.cos(np.arange(y.size))).sum() + sum((x * 0.5).sum() for x in xs)


def traces(case: Case) -> None:
    """The program traced on some numbers gives the value and the gradients for others."""

    def f(*xs: Any) -> Any:
        return dt.value_and_grad(lambda *ys: _loss(case, ys), tuple(range(len(xs))))(*xs)

    program = dt.trace(f, *map(dt.dlarray, case.draw(1)), contract=False)
    for seed in (1, 2):
        arrays = [dt.dlarray(x) for x in case.draw(seed)]
        got, want = dt.tree.flatten(program(*arrays))[0], dt.tree.flatten(f(*arrays))[0]
        for ours, theirs in zip(got, want, strict=True):
            np.testing.assert_allclose(value(ours), value(theirs), rtol=1e-12, atol=1e-13)


def runs_in_lanes(case: Case) -> None:
    """A sweep whose step takes the function's gradient gives what its runs give one by one in Python."""

    def step(state: Any, scale: Any) -> Any:
        def loss(*xs: Any) -> Any:
            y = _loss(case, [x * scale for x in xs])
            return y, *(dt.dlgradient(y, *xs) if len(xs) > 1 else (dt.dlgradient(y, *xs),))

        y, *slopes = dt.dlfeval(loss, *state)
        return tuple(x - 0.01 * slope for x, slope in zip(state, slopes, strict=True)), y

    over = dt.grid(scale=np.array([0.9, 1.0, 1.05]))
    start = tuple(map(_filled_holes, case.draw(4)))
    ours = dt.sweep(step, start, iterations=2, over=over, contract=False)
    theirs = dt.sweep(step, start, iterations=2, over=over, compiled=False)
    for a, b in zip(ours.state, theirs.state, strict=True):
        np.testing.assert_allclose(value(a), value(b), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(value(ours.value), value(theirs.value), rtol=1e-10, atol=1e-12)


#: The ways, in the order of the columns of the page.
WAYS: dict[str, Callable[[Case], None]] = {
    "value": has_values,
    "forward": has_tangents,
    "reverse": has_gradients,
    "second order": has_second_order,
    "traced": traces,
    "in lanes": runs_in_lanes,
}
