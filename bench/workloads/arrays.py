# SPDX-License-Identifier: MIT
"""Elementwise functions on arrays from one element to 10^7: exp, log, sin, tanh, add, multiply.

Small arrays show the price of a call, large ones the speed of the loop and of the memory.  Start with
`Task`: the operation, its inputs, and how often it is applied in one run.  The data repeats a block of
1000 values, so that the right answer can come from Python's `math` at any size.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import Answer, Case, Competitor
from ..native import Array, doubles, function, int64, pointer

BLOCK = 1000

# The function on floats, and the interval of its arguments.
OPERATIONS: dict[str, tuple[Callable[..., float], float, float]] = {
    "exp": (math.exp, -5.0, 5.0),
    "log": (math.log, 0.01, 100.0),
    "sin": (math.sin, -10.0, 10.0),
    "tanh": (math.tanh, -3.0, 3.0),
    "add": (lambda a, b: a + b, -1.0, 1.0),
    "multiply": (lambda a, b: a * b, -1.0, 1.0),
}
FULL = {"1": 1, "10^2": 10**2, "10^4": 10**4, "10^6": 10**6, "10^7": 10**7}
QUICK = {"1": 1, "10^5": 10**5}


@dataclass(frozen=True)
class Task:
    """One operation on arrays of one size.

    A run applies it `calls` times, so that a run of a small array is not mostly the call of `run` itself.
    """

    operation: str
    size: int

    @property
    def calls(self) -> int:
        return max(1, 1000 // self.size) if self.size < 1000 else 1

    def inputs(self) -> tuple[Array, ...]:
        """Return one array or two, each a block repeated."""
        _, low, high = OPERATIONS[self.operation]
        rng = np.random.default_rng(7)
        count = 2 if self.operation in ("add", "multiply") else 1
        return tuple(np.resize(rng.uniform(low, high, BLOCK), self.size) for _ in range(count))

    def reference(self) -> Array:
        """Return the right answer, by Python's `math`."""
        f = OPERATIONS[self.operation][0]
        blocks = (a[:BLOCK].tolist() for a in self.inputs())
        return np.resize([f(*values) for values in zip(*blocks, strict=True)], self.size)

    def applied(self, f: Callable[..., Answer], *inputs: Any) -> Callable[[], Answer]:
        """Return the run: f on the inputs, `calls` times."""
        calls = self.calls

        def one(x: Any) -> Callable[[], Answer]:
            def run() -> Answer:
                for _ in itertools.repeat(None, calls):
                    y = f(x)
                return y

            return run

        def two(a: Any, b: Any) -> Callable[[], Answer]:
            def run() -> Answer:
                for _ in itertools.repeat(None, calls):
                    y = f(a, b)
                return y

            return run

        return one(*inputs) if len(inputs) == 1 else two(*inputs)


def dualtape(task: Task) -> Callable[[], Answer]:
    import dualtape as dt
    from dualtape import numpy as dnp

    return task.applied(getattr(dnp, task.operation), *(dt.dlarray(a) for a in task.inputs()))


def numpy(task: Task) -> Callable[[], Answer]:
    return task.applied(getattr(np, task.operation), *task.inputs())


def numpy_out(task: Task) -> Callable[[], Answer]:
    f = functools.partial(getattr(np, task.operation), out=np.empty(task.size))
    return task.applied(f, *task.inputs())


def torch(task: Task) -> Callable[[], Answer]:
    import torch

    torch.set_num_threads(1)
    return task.applied(getattr(torch, task.operation), *(torch.from_numpy(a) for a in task.inputs()))


def jax(task: Task) -> Callable[[], Answer]:
    import jax

    f = jax.jit(getattr(jax.numpy, task.operation))

    def blocked(*arrays: Any) -> Answer:
        return f(*arrays).block_until_ready()

    return task.applied(blocked, *(jax.numpy.asarray(a) for a in task.inputs()))


@functools.cache
def _numba_loop(operation: str) -> Callable[..., Any]:
    import numba

    f = getattr(np, operation)
    if operation in ("add", "multiply"):

        @numba.njit
        def loop(a, b):  # type: ignore[no-untyped-def]
            y = np.empty_like(a)
            for i in range(a.size):
                y[i] = f(a[i], b[i])
            return y

        return loop  # type: ignore[no-any-return]

    @numba.njit
    def loop1(a):  # type: ignore[no-untyped-def]
        y = np.empty_like(a)
        for i in range(a.size):
            y[i] = f(a[i])
        return y

    return loop1  # type: ignore[no-any-return]


def numba(task: Task) -> Callable[[], Answer]:
    return task.applied(_numba_loop(task.operation), *task.inputs())


def python(task: Task) -> Callable[[], Answer]:
    f = OPERATIONS[task.operation][0]
    return task.applied(lambda *lists: list(map(f, *lists)), *(a.tolist() for a in task.inputs()))


def native(task: Task) -> Callable[[], Answer]:
    inputs = task.inputs()
    y = np.empty(task.size)
    arguments = (task.calls, task.size, *map(pointer, inputs), pointer(y))
    call = function("arrays", f"{task.operation}_", int64, int64, *[doubles] * (len(inputs) + 1))

    def run(_: object = inputs) -> Answer:
        call(*arguments)
        return y

    return run


def cases(quick: bool) -> list[Case]:
    """A case for each operation and size."""
    sizes = QUICK if quick else FULL
    return [_case(operation, label, n) for operation in OPERATIONS for label, n in sizes.items()]


def _case(operation: str, label: str, size: int) -> Case:
    task = Task(operation, size)

    def competitor(
        name: str, build: Callable[[Task], Callable[[], Answer]], how: str = "eager", ours: bool = False
    ) -> Competitor:
        return Competitor(name, lambda: build(task), how, ours)

    competitors = [
        competitor("dualtape", dualtape, ours=True),
        competitor("NumPy", numpy),
        competitor("NumPy, out=", numpy_out),
        competitor("PyTorch", torch),
        competitor("JAX jit", jax, "compiled"),
        competitor("numba", numba, "compiled"),
        competitor("C++", native, "by hand"),
    ]
    if size <= 10**5:
        competitors.append(competitor("Python math", python, "pure Python"))
    return Case(
        f"{operation} of {label}",
        size * task.calls,
        "element",
        task.reference,
        competitors,
        rtol=2e-15,
        atol=1e-15,  # sin near its zeros
        featured=size == 10**6 and operation in ("exp", "sin", "tanh"),
    )
