# SPDX-License-Identifier: MIT
"""How cost grows: with the size of a program, from 10 to 10^6 instructions, and with lanes, from 1 to 10^6.

The program is value and gradient of the recurrence of `recurrence`, about twelve instructions a step: tracing it,
making machine code of it, and calling it into bound buffers. The lanes are those of `rates`, each number of them for as
many iterations as make equal work. A line that stays level is what one hopes for. Start with `traced`. (C++ is called
through ctypes, which takes it a microsecond.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..model import Answer, Case, Competitor, Prepared
from ..native import double, doubles, function, int64, pointer
from . import rates
from .recurrence import A, B, X, forward_by_hand, recurrence

STEPS = {"10": 1, "10^2": 8, "10^3": 83, "10^4": 833, "10^5": 8333, "10^6": 83_333}
LANES = {"1": 1, "10": 10, "10^2": 100, "10^3": 10**3, "10^4": 10**4, "10^5": 10**5, "10^6": 10**6}
WORK = 10**7  # lanes times iterations, though at least so many iterations:
FEWEST = 10
PAYS = 300  # calls, until a program of any size is machine code


def _slope(steps: int) -> Callable[..., Any]:
    import dualtape as dt

    return dt.value_and_grad(recurrence(steps), (0, 1, 2))


def _flat(answer: Any) -> Answer:
    y, slopes = answer
    return [float(number) for number in (y, *slopes)]


def traced(steps: int) -> Prepared:
    import dualtape as dt

    def run() -> Any:
        return dt.trace(_slope(steps), X, A, B)

    return Prepared(run, lambda: _flat(run()(X, A, B)))


def compiled(steps: int) -> Prepared:
    import dualtape as dt

    def run() -> Any:
        program = dt.trace(_slope(steps), X, A, B)
        assert program.execution.instructions > 0
        return program

    return Prepared(run, lambda: _flat(run()(X, A, B)))


def called(steps: int) -> Prepared:
    import dualtape as dt

    results = [np.empty(()) for _ in range(4)]
    inputs = tuple(np.array(number) for number in (X, A, B))
    call = dt.trace(_slope(steps), X, A, B).bind(inputs, (results[0], tuple(results[1:])))
    for _ in range(PAYS):
        call()
    return Prepared(call, lambda: (call(), list(results))[1])


def _casadi(steps: int) -> Any:
    import casadi

    x = casadi.SX.sym("x", 3)
    y = recurrence(steps)(x[0], x[1], x[2])
    return casadi.Function("slope", [x], [y, casadi.gradient(y, x)])


def traced_casadi(steps: int) -> Prepared:
    import casadi  # noqa: F401

    return Prepared(
        lambda: _casadi(steps),
        lambda: [float(number) for part in _casadi(steps)([X, A, B]) for number in part.full().ravel()],
    )


def called_casadi(steps: int) -> Prepared:
    slope = _casadi(steps)
    buffer, call = slope.buffer()
    point, value, gradient = np.array([X, A, B]), np.empty(1), np.empty(3)
    buffer.set_arg(0, point.data)
    buffer.set_res(0, value.data)
    buffer.set_res(1, gradient.data)
    keep = slope, buffer, point  # the bare call does not keep alive what it works on
    return Prepared(call, lambda _=keep: (call(), [*value, *gradient])[1])  # type: ignore[misc]


def traced_jax(steps: int) -> Prepared:
    import jax

    def run() -> Any:
        return jax.jit(jax.value_and_grad(recurrence(steps), (0, 1, 2))).lower(X, A, B).compile()

    return Prepared(run, lambda: _flat(run()(X, A, B)))


def called_native(steps: int) -> Callable[[], Answer]:
    call = function("recurrence", "by_hand", int64, double, double, double, doubles)
    result = np.empty(4)
    address = pointer(result)

    def run() -> Answer:
        call(steps, X, A, B, address)
        return result

    return run


def _size(name: str, steps: int, competitors: list[Competitor]) -> Case:
    reference = functools.partial(forward_by_hand, steps)
    return Case(name, 12 * steps, "instruction", reference, competitors, rtol=1e-9, atol=1e-12)


def _tracing(label: str, steps: int, quick: bool) -> Case:
    competitors = [
        Competitor("dualtape trace", functools.partial(traced, steps), "compiled", ours=True),
        Competitor("and machine code", functools.partial(compiled, steps), "compiled", ours=True),
        Competitor("CasADi", functools.partial(traced_casadi, steps), "compiled"),
    ]
    if steps < (5 if quick else 50):  # ten times as many take it a minute
        competitors.append(Competitor("JAX lower and compile", functools.partial(traced_jax, steps), "compiled"))
    return _size(f"growth: tracing {label} instructions", steps, competitors)


def _calling(label: str, steps: int) -> Case:
    competitors = [
        Competitor("dualtape, bound buffers", functools.partial(called, steps), "compiled", ours=True),
        Competitor("CasADi, bound buffers", functools.partial(called_casadi, steps), "compiled"),
        Competitor("C++", functools.partial(called_native, steps), "by hand"),
    ]
    return _size(f"growth: calling {label} instructions", steps, competitors)


def _lanes(label: str, count: int, work: int) -> Case:
    task = rates.Task("descent", count, max(FEWEST, work // count))

    def jax() -> Callable[[], Answer]:
        from .rates_frameworks import jax

        return jax(task)

    competitors = [
        Competitor("dualtape sweep", functools.partial(rates.dualtape, task), "compiled", ours=True),
        Competitor("JAX vmap(fori_loop)", jax, "compiled"),
        Competitor("C++ vectors", functools.partial(rates.native, task), "by hand"),
    ]
    return Case(
        f"growth: {label} lanes",
        count * task.iterations,
        "iteration",
        functools.partial(rates.reference, task),
        competitors,
        rtol=1e-8,
        atol=1e-10,
    )


def cases(quick: bool) -> list[Case]:
    """A case of tracing and one of calling for each size, and one for each number of lanes."""
    found = []
    for label, steps in STEPS.items():
        if not quick or steps < 100:
            found += [_tracing(label, steps, quick), _calling(label, steps)]
    return found + [
        _lanes(label, n, WORK // 100 if quick else WORK) for label, n in LANES.items() if n in (1, 100) or not quick
    ]
