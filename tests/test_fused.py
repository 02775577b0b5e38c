# SPDX-License-Identifier: MIT
"""Programs that are called again: from the second call on, stretches of them are machine code, with the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from test_random_programs import EXAMPLES, programs

import dualtape as dt
from dualtape import _core
from dualtape.tree import flatten

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -1e-310, 1e308, 1.0, -1.0])
needs_machine_code = pytest.mark.skipif(
    _core.build_info()["isa_used"] == "generic", reason="there is no machine code for this machine"
)


def bits(tree: Any) -> list[bytes]:
    """The bytes of all leaves; one NaN is as good as another."""
    return [np.where(np.isnan(a), np.nan, a).tobytes() for a in map(np.asarray, flatten(tree)[0])]


def kernels(program: dt.Program) -> int:
    return len(program.execution.machine_code)


def check(function: Callable[..., Any], *points: tuple[Any, ...], monkeypatch: Any) -> dt.Program:
    """Compare calls of a program with the interpreter; points after the first have its shapes."""
    monkeypatch.setenv("DUALTAPE_EXECUTOR", "interpreter")
    plain = dt.trace(function, *points[0])
    want = [[bits(plain(*point)) for point in points] for _ in range(2)]
    assert kernels(plain) == 0
    monkeypatch.setenv("DUALTAPE_EXECUTOR", "machine")
    program = dt.trace(function, *points[0])
    for _ in range(3):
        for point, right in zip(points, want[0], strict=True):
            assert bits(program(*point)) == right
    assert want[0] == want[1]
    return program


def special(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Numbers, with special ones among them."""
    rng = np.random.default_rng(seed)
    out = rng.standard_normal(shape)
    return np.asarray(np.where(rng.random(shape) < 0.3, rng.choice(SPECIAL, shape), out))


def loss(x1: Any, x2: Any) -> Any:
    return (x2 - x1**2) ** 2 + (1 - x1) ** 2


def valley(x: Any) -> Any:
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def wells(x: Any) -> Any:
    """Elementwise, a loop over vectors where x is long."""
    y = x * x - 1.0
    return y * y * 0.25 + np.abs(x) * np.sqrt(np.abs(y)), np.maximum(x, y) / (1.0 + y * y)


def moves(x: Any) -> Any:
    y = np.concatenate([x[::-1] * 2.0, x[1:3]])
    z = np.reshape(y[:-2], (2, -1)).T
    return np.copysign(z, -z[::-1]), y[np.array([0, 0, 2])] - 1.0, x


@needs_machine_code
def test_scalars(monkeypatch: Any) -> None:
    points = [tuple(map(float, pair)) for pair in special((60, 2), 1)]
    assert kernels(check(dt.value_and_grad(loss, (0, 1)), *points, monkeypatch=monkeypatch)) == 1
    assert kernels(check(dt.hessian(lambda p: loss(*p)), *[(p,) for p in points], monkeypatch=monkeypatch)) == 1


@needs_machine_code
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [2, 3, 16, 17, 50, 131, 1000, 5000])
@pytest.mark.parametrize("name", ["grad", "hessian", "wells", "moves", "both"])
def test_arrays(name: str, n: int, dtype: Any, monkeypatch: Any) -> None:
    if name == "hessian" and n > 200:
        pytest.skip("a dense matrix of this size is not for tests")
    if name == "moves":
        n += 4 + n % 2
    function = {"grad": dt.grad(valley), "hessian": dt.hessian(valley), "wells": wells, "moves": moves,
                "both": dt.value_and_grad(valley)}[name]  # fmt: skip
    with np.errstate(all="ignore"):
        points = [(dt.dlarray(special((n,), seed).astype(dtype)),) for seed in range(6)]
        program = check(function, *points, monkeypatch=monkeypatch)
    assert kernels(program) >= 1 or (name == "moves" and n > 40)


@needs_machine_code
def test_zeros_keep_their_signs(monkeypatch: Any) -> None:
    """What is left out because it is multiplied by zero must not change the sign of a zero."""

    def f(x: Any, zeros: Any) -> Any:
        mask = np.array([0.0, -0.0, 1.0, 0.0])
        return mask * x, (mask * x) + zeros, zeros - mask * x, -(mask * x) * 2.0, mask * x + mask * x

    points = [(special((4,), seed), np.copysign(0.0, special((4,), seed + 100))) for seed in range(30)]
    with np.errstate(all="ignore"):
        check(f, *points, monkeypatch=monkeypatch)
        check(dt.jacfwd(lambda x: f(x, np.zeros(4))), *[(x,) for x, _ in points], monkeypatch=monkeypatch)
        check(dt.jacrev(lambda x: f(x, np.zeros(4))[1]), *[(x,) for x, _ in points], monkeypatch=monkeypatch)


@needs_machine_code
@given(programs())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_programs(example: tuple[Callable[..., Any], list[np.ndarray]]) -> None:
    program, inputs = example
    rng = np.random.default_rng(5)
    points = [tuple(inputs)]
    for _ in range(3):
        points.append(tuple(np.where(rng.random(x.shape) < 0.2, rng.choice(SPECIAL, x.shape), x) for x in inputs))

    def scalar(*x: Any) -> Any:
        return program(*x).sum()

    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        for function in (program, dt.value_and_grad(scalar), dt.hessian(scalar)):
            try:
                dt.trace(function, *points[0])
            except dt.TraceError:  # it takes a number out
                continue
            check(function, *points, monkeypatch=patch)


@needs_machine_code
def test_buffers(monkeypatch: Any) -> None:
    x, y = np.linspace(-1.0, 1.0, 50), np.empty((50, 50))
    program = dt.trace(dt.hessian(valley), x)
    call = program.bind(x, y)
    for shift in range(4):
        x += shift
        call()
        assert y.tobytes() == np.asarray(program(x.copy())).tobytes()
    assert kernels(program) == 1


def test_results_are_no_views_of_the_workspace() -> None:
    program = dt.trace(lambda x: (x * 2.0 - 1.0, x), np.ones(40))
    kept = [program(np.full(40, float(k))) for k in range(4)]
    for k, (y, x) in enumerate(kept):
        assert np.array_equal(np.asarray(y), np.full(40, 2.0 * k - 1.0))
        assert np.array_equal(np.asarray(x), np.full(40, float(k)))


def test_thousands_of_programs_leave_nothing_behind() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    def some(count: int) -> None:
        for k in range(count):
            program = dt.trace(lambda x, k=k: (x * k - 1.0) ** 2, 1.0)
            program(2.0)
            program(3.0)

    some(300)
    before = resident()
    some(1500)
    assert resident() - before < 500  # pages
