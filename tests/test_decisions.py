# SPDX-License-Identifier: MIT
"""Decisions on values: each way they come out is a path of the program, traced once, and right from then on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from steps import assert_same_bits, seeded

import dualtape as dt
from dualtape import _core


@pytest.fixture(autouse=True)
def _clean_ending() -> Any:
    yield
    assert not _core.is_tracing()


def zigzag(x: Any) -> Any:
    if x > 1:
        x = x / 2
    elif x < -1 and x > -2:
        x = -x
    while abs(x) > 0.5:
        x = x * 0.7 - 0.1
    for k in range(int(x * 10)):
        x = x + k * 0.01
    return x


def descent(x: Any, y: Any) -> Any:
    value, (dx, dy) = dt.value_and_grad(lambda x, y: x * x + 3 * y * y, (0, 1))(x, y)
    rate = 1.0
    while (x - rate * dx) ** 2 + 3 * (y - rate * dy) ** 2 > value - 0.1 * rate * (dx * dx + dy * dy):
        rate = rate / 2
    return x - rate * dx, y - rate * dy


def table(v: Any) -> Any:
    places = {0: v * 2, 1: -v, 2: v[::-1]}
    return places[int(v.argmax())] + v[v.argmin()]


@pytest.mark.parametrize("contract", [False, True])
def test_the_tree_grows_and_every_path_stays_right(contract: bool) -> None:
    program = dt.trace(zigzag, 0.3, contract=contract)
    numbers, paths = seeded(150), [program.memory["paths"]]
    found = []
    for x in numbers:
        found.append(float(program(x)))
        paths.append(program.memory["paths"])
    assert paths == sorted(paths)
    assert paths[0] == 1
    assert paths[-1] > 10
    for x, first in zip(numbers, found, strict=True):
        assert float(program(x)) == first
        want = float(zigzag(dt.dlarray(x)))
        assert first == want if not contract else first == pytest.approx(want, rel=1e-12)
    assert program.memory["paths"] == paths[-1]


@pytest.mark.parametrize("contract", [False, True])
def test_a_line_search(contract: bool) -> None:
    program = dt.trace(descent, 1.0, 1.0, contract=contract)
    for x, y in zip(seeded(50), seeded(50, 1), strict=True):
        got = tuple(map(float, program(x, y)))
        want = tuple(map(float, descent(dt.dlarray(x), dt.dlarray(y))))
        assert got == want if not contract else got == pytest.approx(want, rel=1e-9, abs=1e-12)


def test_indices_decide() -> None:
    program = dt.trace(table, np.array([1.0, 2.0, 0.0]), contract=False)
    rng = np.random.default_rng(0)
    for _ in range(40):
        v = dt.dlarray(rng.normal(size=3))
        assert_same_bits(program(v), table(v))
    assert program.memory["paths"] == 6
    assert {guard.kind for guard in program.guards} == {"integer"}


def test_a_path_does_not_depend_on_when_it_was_recorded() -> None:
    """The same bits whichever path came first, with contraction too."""
    numbers = seeded(40)
    one, other = dt.trace(zigzag, numbers[0]), dt.trace(zigzag, numbers[-1])
    first = [float(one(x)) for x in numbers]
    second = [float(other(x)) for x in reversed(numbers)][::-1]
    assert first == second


def test_forced_decisions() -> None:
    """A replay whose sums are contracted may decide otherwise than plain arithmetic: its path is the one recorded."""

    def knife(a: Any, b: Any, c: Any) -> Any:
        return a * b * 2 if a * b - c > 0 else a * b * 3

    program = dt.trace(knife, 1.0, 1.0, 2.0)
    plain = [float(knife(dt.dlarray(a), dt.dlarray(b), dt.dlarray(a * b))) for a, b in zip(A, B, strict=True)]
    fused = [float(program(a, b, a * b)) for a, b in zip(A, B, strict=True)]
    assert program.memory["paths"] == 2
    assert plain == [a * b * 3 for a, b in zip(A, B, strict=True)]  # the rounded difference is 0
    assert any(x == a * b * 2 for x, a, b in zip(fused, A, B, strict=True))  # the exact one may be above
    assert fused == [float(program(a, b, a * b)) for a, b in zip(A, B, strict=True)]


A, B = [abs(x) for x in seeded(30)], [abs(x) for x in seeded(30, 1)]


def test_guards_name_their_lines() -> None:
    program = dt.trace(zigzag, 1.5)
    (first, *rest) = program.guards
    assert first.kind == "truth"
    assert first.outcomes == (1,)
    assert first.line is not None
    assert first.line[0] == __file__
    assert first.line[2] == "zigzag"
    assert program.instructions[first.number].number == first.number
    program(0.2)
    assert program.guards[0].outcomes == (1, 0)
    assert any(guard.kind == "integer" for guard in rest)


def test_a_function_that_changes_its_mind() -> None:
    """The same decisions, another computation: a global that the program cannot see."""
    modes = iter(["multiply", "add", "add", "add"])

    def fickle(x: Any) -> Any:
        x = x * 2 if next(modes) == "multiply" else x + 2
        return x if x > 0 else -x

    program = dt.trace(fickle, 1.0)
    with pytest.raises(dt.TraceError, match=rf"did something else.*although every decision.*{__file__}"):
        program(-5.0)
    assert float(program(2.0)) == 4.0


scale = 2.0


def scaled(x: Any) -> Any:
    return x if x > 0 else x * scale


def test_a_capture_that_changed_before_a_path_was_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    program = dt.trace(scaled, 1.0)
    monkeypatch.setitem(globals(), "scale", 3.0)
    assert float(program(2.0)) == 2.0
    with pytest.raises(dt.TraceError, match="global 'scale' has changed since the program was made"):
        program(-2.0)


RESULTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "another structure": (lambda x: x if x > 0 else (x, x), "one structure on every path"),
    "another shape": (lambda x: x if x > 0 else x * np.ones(2), r"result must have one dtype and shape on every path"),
    "another dtype": (lambda x: [x] if x > 0 else [x > -9], r"result\[0\] must have one dtype and shape on every path"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_paths_return_alike(name: str) -> None:
    f, words = RESULTS[name]
    for call in (dt.trace(f, 1.0), dt.dlaccelerate(f)):
        call(1.0)
        with pytest.raises(dt.TraceError, match=words):
            call(-1.0)
        call(2.0)
