# SPDX-License-Identifier: MIT
"""Forward mode, reverse mode and the Hessian of Rosenbrock's function in 50 dimensions.

    f(x) = sum over i of 100 (x[i+1] - x[i]**2)**2 + (1 - x[i])**2      (Rosenbrock 1960, the chained form)

written with slices, so that an array library needs a dozen operations and a scalar one six hundred.  Start
with `loss`; `derivatives_by_hand` has the formulas that the answers are checked against.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..model import Answer, Case, Competitor
from ..native import Array, doubles, function, int64, pointer
from ..reference import dual, tape

N = 50


def loss(x: Any) -> Any:
    """Return the function for any array type."""
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def scalar_loss(*x: Any) -> Any:
    """Return the function for any scalar type."""
    total = 0.0
    for a, b in itertools.pairwise(x):
        total = total + 100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2
    return total


def inputs(n: int) -> tuple[Array, Array]:
    """Return a point and a direction."""
    rng = np.random.default_rng(1960)
    return rng.uniform(-1.5, 1.5, n), rng.standard_normal(n)


def derivatives_by_hand(n: int) -> tuple[float, Array, Array]:
    """Return value, gradient and Hessian by plain loops over the textbook's formulas."""
    x = inputs(n)[0]
    value, gradient, hessian = 0.0, np.zeros(n), np.zeros((n, n))
    for i in range(n - 1):
        a, b = float(x[i]), float(x[i + 1])
        value += 100.0 * (b - a * a) ** 2 + (1.0 - a) ** 2
        gradient[i] += -400.0 * a * (b - a * a) - 2.0 * (1.0 - a)
        gradient[i + 1] += 200.0 * (b - a * a)
        hessian[i, i] += 1200.0 * a * a - 400.0 * b + 2.0
        hessian[i + 1, i + 1] += 200.0
        hessian[i, i + 1] = hessian[i + 1, i] = -400.0 * a
    return value, gradient, hessian


# Each of the following takes the mode and the dimensions and returns what to run: "forward" gives (f, f' v),
# "reverse" (f, gradient), "hessian" the matrix.
Builder = Callable[[str, int], Callable[[], Answer]]


def dualtape(mode: str, n: int) -> Callable[[], Answer]:
    import dualtape as dt

    x, v = (dt.dlarray(a) for a in inputs(n))
    forward: Callable[[], Answer] = lambda: dt.jvp(loss, (x,), (v,))  # noqa: E731
    reverse = dt.value_and_grad(loss)
    hessian = dt.hessian(loss)
    return {"forward": forward, "reverse": lambda: reverse(x), "hessian": lambda: hessian(x)}[mode]


def dualtape_program(mode: str, n: int) -> Callable[[], Answer]:
    import dualtape as dt

    x, v = inputs(n)
    derivative: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
        "forward": (lambda x, v: dt.jvp(loss, (x,), (v,)), (x, v)),
        "reverse": (dt.value_and_grad(loss), (x,)),
        "hessian": (dt.hessian(loss), (x,)),
    }
    function, arguments = derivative[mode]
    program = dt.trace(function, *arguments)
    for _ in range(2):  # in its second call it becomes machine code
        program(*arguments)
    return lambda: program(*arguments)


def pure_python(mode: str, n: int) -> Callable[[], Answer]:
    x, v = (a.tolist() for a in inputs(n))
    reverse = tape.value_and_grad(scalar_loss)
    hessian = tape.hessian(scalar_loss)
    return {
        "forward": lambda: dual.jvp(scalar_loss, x, v),
        "reverse": lambda: reverse(*x),
        "hessian": lambda: hessian(*x),
    }[mode]


def numpy_by_hand(mode: str, n: int) -> Callable[[], Answer]:
    x, v = inputs(n)

    def reverse() -> Answer:
        a = x[:-1]
        off = x[1:] - a * a
        rest = 1.0 - a
        gradient = np.zeros(n)
        gradient[1:] = 200.0 * off
        gradient[:-1] -= 400.0 * a * off + 2.0 * rest
        return 100.0 * (off @ off) + rest @ rest, gradient

    def forward() -> Answer:
        a, da = x[:-1], v[:-1]
        off = x[1:] - a * a
        rest = 1.0 - a
        slope = 200.0 * (off @ (v[1:] - 2.0 * a * da)) - 2.0 * (rest @ da)
        return 100.0 * (off @ off) + rest @ rest, slope

    def hessian() -> Answer:
        a = x[:-1]
        matrix = np.zeros((n, n))
        diagonal = np.zeros(n)
        diagonal[:-1] = 1200.0 * a * a - 400.0 * x[1:] + 2.0
        diagonal[1:] += 200.0
        flat = matrix.ravel()
        flat[:: n + 1] = diagonal
        flat[1 :: n + 1] = flat[n :: n + 1] = -400.0 * a
        return matrix

    return {"forward": forward, "reverse": reverse, "hessian": hessian}[mode]


def torch(mode: str, n: int) -> Callable[[], Answer]:
    import torch

    torch.set_num_threads(1)
    x, v = (torch.tensor(a) for a in inputs(n))

    def reverse() -> Answer:
        point = x.detach().requires_grad_()
        y = loss(point)
        return y.item(), torch.autograd.grad(y, point)[0].numpy()

    def forward() -> Answer:
        y, dy = torch.func.jvp(loss, (x,), (v,))
        return y.item(), dy.item()

    hessian = torch.func.hessian(loss)
    return {"forward": forward, "reverse": reverse, "hessian": lambda: hessian(x).numpy()}[mode]


def jax(mode: str, n: int) -> Callable[[], Answer]:
    import jax

    x, v = (jax.numpy.asarray(a) for a in inputs(n))
    compiled = jax.jit(
        {
            "forward": lambda x, v: jax.jvp(loss, (x,), (v,)),
            "reverse": lambda x, v: jax.value_and_grad(loss)(x),
            "hessian": lambda x, v: jax.hessian(loss)(x),
        }[mode]
    )
    return lambda: jax.block_until_ready(compiled(x, v))


def autograd(mode: str, n: int) -> Callable[[], Answer]:
    import autograd
    from autograd.numpy import sum as total

    def loss_(x: Any) -> Any:
        return total(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    x, v = inputs(n)
    reverse = autograd.value_and_grad(loss_)
    hessian = autograd.hessian(loss_)

    def forward() -> Answer:
        y, slope = autograd.make_jvp(loss_)(x)(v)
        return y, slope

    return {"forward": forward, "reverse": lambda: reverse(x), "hessian": lambda: hessian(x)}[mode]


def _casadi(mode: str, n: int) -> Any:
    import casadi

    point, direction = casadi.SX.sym("x", n), casadi.SX.sym("v", n)
    y = casadi.sum1(100.0 * (point[1:] - point[:-1] ** 2) ** 2 + (1.0 - point[:-1]) ** 2)
    outputs = {
        "forward": [y, casadi.jtimes(y, point, direction)],
        "reverse": [y, casadi.gradient(y, point)],
        "hessian": [casadi.densify(casadi.hessian(y, point)[0])],
    }[mode]
    return casadi.Function("derivative", [point, direction], outputs)


def casadi(mode: str, n: int) -> Callable[[], Answer]:
    x, v = inputs(n)
    call = _casadi(mode, n)
    if mode == "hessian":
        return lambda: call(x, v).full()
    return lambda: [part.full() for part in call(x, v)]


def casadi_bound(mode: str, n: int) -> Callable[[], Answer]:
    derivative = _casadi(mode, n)
    buffer, call = derivative.buffer()
    arguments = inputs(n)
    results = [np.zeros(1), np.zeros(1 if mode == "forward" else n)] if mode != "hessian" else [np.zeros((n, n))]
    for i, argument in enumerate(arguments):
        buffer.set_arg(i, memoryview(argument))
    for i, result in enumerate(results):
        buffer.set_res(i, memoryview(result))

    def run(_: object = (derivative, buffer, arguments)) -> Answer:
        call()
        return results[0] if mode == "hessian" else (results[0][0], results[1])

    return run


def xad(mode: str, n: int) -> Callable[[], Answer]:
    import xad.adj_1st as adjoint
    import xad.fwd_1st as tangent

    x, v = (a.tolist() for a in inputs(n))

    def forward() -> Answer:
        point = [tangent.Real(a) for a in x]
        for a, da in zip(point, v, strict=True):
            a.derivative = da
        y = scalar_loss(*point)
        return y.value, y.derivative

    def reverse() -> Answer:
        with adjoint.Tape() as active:
            point = [adjoint.Real(a) for a in x]
            active.registerInputs(point)
            active.newRecording()
            y = scalar_loss(*point)
            active.registerOutput(y)
            y.derivative = 1.0
            active.computeAdjoints()
            return y.value, [a.derivative for a in point]

    return {"forward": forward, "reverse": reverse}[mode]


def native(mode: str, n: int) -> Callable[[], Answer]:
    x, v = inputs(n)
    result = np.zeros({"forward": 2, "reverse": n + 1, "hessian": n * n}[mode])
    call = function("rosenbrock", mode, int64, doubles, doubles, doubles)
    arguments = n, pointer(x), pointer(v), pointer(result)

    def run(_: object = (x, v)) -> Answer:
        call(*arguments)
        return result

    return run


def cases(quick: bool) -> list[Case]:
    """All modes in 50 dimensions, and the gradient in 1,000."""
    return [_case(mode, N) for mode in ("forward", "reverse", "hessian")] + [_case("reverse", 1000)]


def _case(mode: str, n: int) -> Case:
    def competitor(name: str, build: Builder, how: str = "eager", ours: bool = False) -> Competitor:
        return Competitor(name, lambda: build(mode, n), how, ours)

    value, gradient, hessian = derivatives_by_hand(n)
    right = {
        "forward": (value, float(gradient @ inputs(n)[1])),
        "reverse": (value, gradient),
        "hessian": hessian,
    }[mode]
    everyone = [
        competitor("dualtape", dualtape, ours=True),
        competitor("dualtape, program", dualtape_program, "compiled", ours=True),
        competitor("NumPy", numpy_by_hand, "by hand"),
        competitor("PyTorch", torch),
        competitor("JAX jit", jax, "compiled"),
        competitor("CasADi", casadi, "compiled"),
        competitor("CasADi, bound buffers", casadi_bound, "compiled"),
        competitor("C++", native, "by hand"),
    ]
    if n == N:
        everyone[3:3] = [
            competitor("Python reference", pure_python, "pure Python"),
            competitor("autograd", autograd),
        ]
        if mode != "hessian":  # XAD's binding is of first order
            everyone.insert(6, competitor("XAD", xad))
    name = f"Rosenbrock {mode}" + (f" in {n:,} dimensions" if n != N else "")
    return Case(name, 1, "call", lambda: right, everyone, rtol=1e-11, atol=1e-10, featured=n == N)
