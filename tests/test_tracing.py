# SPDX-License-Identifier: MIT
"""Whatever works eagerly traces, and its program gives the same bits on inputs that it has not seen.

`check` traces a function on one set of arguments and compares the program with the function on others, byte by byte and
without contraction. The elementwise ops come from the table; what takes a traced value out of the trace is in
test_traced_exits.py, decisions are in test_programs.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from steps import assert_same_bits

import dualtape as dt
from dualtape import _core
from dualtape import numpy as dnp
from dualtape.scipy import special

TABLE = {row["name"]: row for row in _core.op_table()}
F32 = np.float32


def as_arrays(args: tuple[Any, ...]) -> list[Any]:
    """ndarrays as dlarrays, so that the eager call computes with our functions, not with NumPy's."""
    return [dt.dlarray(arg) if isinstance(arg, np.ndarray) else arg for arg in args]


def check(
    f: Callable[..., Any],
    draw: Callable[[Any], tuple[Any, ...]],
    times: int = 3,
    compare: Callable[[Any, Any], None] = assert_same_bits,
) -> dt.Program:
    """The program of f gives f's own bits; `draw` makes arguments from a generator."""
    rng = np.random.default_rng(zlib.crc32(f.__name__.encode()))
    program = dt.trace(f, *as_arrays(draw(rng)), contract=False)
    assert not _core.is_tracing()
    for _ in range(times):
        args = as_arrays(draw(rng))
        compare(program(*args), f(*args))
    return program


# ---- elementwise ops ------------------------------------------------------------------------------------------


def operands(name: str, shapes: list[tuple[int, ...]], dtype: Any, rng: Any) -> tuple[Any, ...]:
    out = []
    for (lo, hi, _, integer), shape in zip(TABLE[name]["domains"], shapes, strict=False):
        drawn = rng.integers(np.ceil(lo), np.floor(hi) + 1, shape) if integer else rng.uniform(lo, hi, shape)
        out.append(dt.dlarray(np.asarray(drawn, dtype)))
    return tuple(out)


@pytest.mark.parametrize("dtype", [np.float64, F32], ids=["f64", "f32"])
@pytest.mark.parametrize("name", TABLE)
def test_elementwise(name: str, dtype: Any) -> None:
    f = getattr(_core.elementwise, name)
    for shapes in ([(), (), ()], [(7,), (7,), (7,)], [(3, 1), (4,), (1, 4)]):
        check(f, lambda rng, s=shapes: operands(name, s, dtype, rng))


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if any(row["differentiable"])])
def test_gradients_of_elementwise(name: str) -> None:
    op, arity = getattr(_core.elementwise, name), TABLE[name]["arity"]
    by = tuple(i for i in range(arity) if TABLE[name]["differentiable"][i])

    def gradients(*x: Any) -> Any:
        return dt.grad(lambda *x: (op(*x) * np.arange(1.0, 6.0)).sum(), by)(*x)

    check(gradients, lambda rng: operands(name, [(5,), (5,), (5,)], float, rng))


NUMBERS: dict[str, Callable[..., Any]] = {
    "operators": lambda x, y: (x + y, x - y, x * y, x / (y + 3), -x, +x, abs(x), 2 - x, 2 / (x + 3), 1 + x * 3),
    "divmod": lambda x, y: (*divmod(x, y + 3), *divmod(2.0, y + 3), x // 0.7, x % 0.7, 3.0 % (y + 3)),
    "powers": lambda x, y: (x**2, x**3, x**-1, x**0, abs(x) ** 0.5, 2.0**x, abs(x) ** y, x**7, x**-2, pow(x, 2)),
    "comparisons": lambda x, y: (x < y, x <= y, x > y, x >= y, x == y, x != y, x < 1, 2 > x),  # noqa: SIM300
    "logic": lambda x, y: ((x > 0) & (y > 0), (x > 0) | (y > 0), (x > 0) ^ (y > 0), ~(x > 0), (x > 0) & np.True_),
    "builtins": lambda x, y: (sum([x, y, 1.0]), abs(x), dt.dlarray(x) * 2, x.copy() + y),
    "ints among results": lambda x, y: (x * 2, np.arange(3), np.float32(2.0)),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("shape", [(), (4,)], ids=["scalar", "array"])
def test_operators(name: str, shape: tuple[int, ...]) -> None:
    check(NUMBERS[name], lambda rng: (dt.dlarray(rng.normal(size=shape)), dt.dlarray(rng.normal(size=shape))))


# ---- shaped functions -----------------------------------------------------------------------------------------

REDUCTIONS = ["sum", "mean", "prod", "max", "min", "any", "all", "var", "std", "argmax", "argmin", "logsumexp"]
ROWS, PLACES, MASK = np.array([2, 0]), np.array([[0, 1], [3, 3]]), np.array([True, False, True])

SHAPED: dict[str, Callable[[Any], Any]] = {
    **{name: lambda x, n=name: [getattr(x, n)(a) for a in (None, 0, -1)] for name in REDUCTIONS},
    "keepdims": lambda x: [getattr(x, n)(axis=1, keepdims=True) for n in REDUCTIONS],
    "axes": lambda x: [getattr(x, n)(axis=(0, 1)) for n in REDUCTIONS if "arg" not in n],
    "ddof": lambda x: (x.var(ddof=1), x.std(axis=0, ddof=1)),
    "cumsum": lambda x: (x.cumsum(), x.cumsum(0), x.cumsum(1)),
    "reshape": lambda x: (x.reshape(4, 3), x.reshape((2, -1)), x.ravel(), x.T.reshape(12), x[:, ::2].reshape(6)),
    "transpose": lambda x: (x.T, x.transpose(1, 0), x.swapaxes(0, 1), x.reshape(3, 2, 2).moveaxis(0, -1)),
    "axes of one": lambda x: (x[None].squeeze(), x.expand_dims((0, 3)), x[:1].squeeze(0)),
    "broadcast_to": lambda x: (x[0].broadcast_to((2, 4)), x.sum().broadcast_to((3,)), x[:, :1].broadcast_to((3, 4))),
    "take": lambda x: (x.take(ROWS, 0), x.take(PLACES), x.take(PLACES, axis=1), x.take(3)),
    "astype": lambda x: (x.astype(F32), x.astype(F32).astype(float), (x > 0).astype(float), (x > 0).astype(F32) * x),
    "softmax": lambda x: (x.softmax(), x.softmax(0), x.log_softmax(), x.log_softmax(0), x.logsumexp((0, 1))),
    "concatenate": lambda x: (_core.concatenate([x, x * 2]), _core.concatenate([x, np.ones((3, 1))], 1)),
    "stack": lambda x: (_core.stack([x, -x]), _core.stack([x[0], x[1]], 1), dnp.array([x.sum(), 1.0, x[0, 0]])),
    "matmul": lambda x: (x @ x.T, x @ np.arange(4.0), np.ones(3) @ x, x[0] @ x[1], _core.matmul(x[None], x.T)),
    "integers": lambda x: (x[0], x[-1, 2], x[1][3], x[np.int64(2)]),
    "slices": lambda x: (x[1:], x[:, ::2], x[::-1], x[..., 1], x[None, 1:2], x[:0], x[5:]),
    "index arrays": lambda x: (x[ROWS], x[:, ROWS], x[[1, 1]], x[ROWS, [1, 3]], x[PLACES[0], 1:]),
    "masks": lambda x: (x[MASK], x[MASK, 1], x[:, np.arange(4) > 1], x[np.arange(12).reshape(3, 4) % 5 > 1]),
    "iteration": lambda x: [row * k for k, row in enumerate(x)],
    "unpacking": lambda x: (lambda a, b, c: a * b - c)(*x),
    "reversed": lambda x: [*reversed(x)],
    "inplace operators": lambda x: inplace(x),
    "labels": lambda x: labelled(x),
}


def inplace(x: Any) -> Any:
    y = x.copy()
    y += 1.0
    y *= x
    y -= y[0]
    y /= 2.0
    return y


def labelled(x: Any) -> Any:
    y = dt.dlarray(x, "CB")
    return dt.softmax(y * 2), y.sum(0), dt.stripdims(y).T, y + dt.dlarray(np.ones((2, 3, 4)), "SCB")


@pytest.mark.parametrize("dtype", [np.float64, F32], ids=["f64", "f32"])
@pytest.mark.parametrize("name", SHAPED)
def test_shaped(name: str, dtype: Any) -> None:
    check(SHAPED[name], lambda rng: (rng.normal(size=(3, 4)).astype(dtype),))


@pytest.mark.parametrize("name", ["sum", "prod", "max", "var", "std", "cumsum", "reshape", "transpose", "take",
                                  "softmax", "matmul", "slices", "index arrays", "masks", "concatenate", "stack",
                                  "logsumexp", "broadcast_to", "inplace operators"])  # fmt: skip
def test_gradients_of_shaped(name: str) -> None:
    def slope(x: Any) -> Any:
        return dt.grad(lambda x: sum((dnp.sin(y) * y.size).sum() for y in dt.tree.flatten(SHAPED[name](x))[0]))(x)

    check(slope, lambda rng: (rng.normal(size=(3, 4)),), times=2)


# ---- assignment -----------------------------------------------------------------------------------------------


def write(*keys: Any) -> Callable[[Any, Any], Any]:
    def written(x: Any, v: Any) -> Any:
        y = x.copy()
        for key in keys:
            y[key] = v
            y[key] = y[key] * 2.0
        return y, y.sum(0)

    return written


def through_views(x: Any, v: Any) -> Any:
    y = x * 1.0
    row, turned, flat = y[1], y.T, y.ravel()
    row[2] = v
    turned[0, 0] = -v
    flat[5:7] = v * v
    row += 1.0
    return y, row, turned, flat


def into_constants(x: Any, v: Any) -> Any:
    state = dt.dlarray(np.zeros((2, 4)))
    state[0] = x[1]
    state[1, 1:3] = v
    counts = dt.dlarray(np.zeros(3))
    counts[np.array([0, 2])] = v
    return state, counts


ASSIGNMENTS: dict[str, Callable[[Any, Any], Any]] = {
    "element": write((1, 2)),
    "row": write(0),
    "slice": write((slice(None), slice(1, None, 2))),
    "everything": write(...),
    "index array": write(ROWS),
    "pairs": write((ROWS, np.array([1, 3]))),
    "mask": write(MASK),
    "one after another": write(0, (1, 2), MASK),
    "views": through_views,
    "constants": into_constants,
}


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_assignment(name: str) -> None:
    def slope(x: Any, v: Any) -> Any:
        return dt.grad(lambda x, v: sum((y * y).sum() for y in dt.tree.flatten(ASSIGNMENTS[name](x, v))[0]), (0, 1))(
            x, v
        )

    for f in (ASSIGNMENTS[name], slope):
        check(f, lambda rng: (rng.normal(size=(3, 4)), dt.dlarray(rng.normal())))


def test_an_argument_that_is_assigned_to_is_a_copy() -> None:
    def f(x: Any) -> Any:
        x[0] = 5.0
        return x.sum()

    x = dt.dlarray(np.ones(3))
    program = dt.trace(f, x)
    assert float(program(x)) == 7.0
    np.testing.assert_array_equal(dt.extractdata(x), np.ones(3))


# ---- NumPy's functions ----------------------------------------------------------------------------------------

NUMPY: dict[str, Callable[[Any], Any]] = {
    "ufuncs": lambda x: (np.sin(x), np.exp(x), np.hypot(x, 2.0), np.maximum(x, 0), np.abs(x), np.add(1.0, x)),
    "special": lambda x: (special.erf(x), special.gammaln(abs(x) + 1), special.expit(x), special.xlogy(x * x, 2.0)),
    "where": lambda x: (np.where(x > 0, x, -x), np.where(x > 0, x, 0.0).sum(), np.clip(x, 0, 1), np.round(x, 1)),
    "reduce": lambda x: (np.add.reduce(x), np.multiply.reduce(x), np.add.accumulate(x), np.multiply.outer(x[0], x[0])),
    "sums": lambda x: (np.sum(x), np.mean(x, 0), np.prod(x), np.std(x), np.var(x, 1), np.ptp(x), np.average(x)),
    "joins": lambda x: (np.concatenate([x, x]), np.stack([x, x]), np.vstack([x, x]), np.hstack([x, x])),
    "cuts": lambda x: (np.split(x, 2, 1), np.array_split(x, 2), np.diff(x), np.flip(x), np.roll(x, 1), np.tile(x, 2)),
    "repeats": lambda x: (np.repeat(x, 2), np.repeat(x, [1, 2, 1], 0), np.tile(x, (2, 1))),
    "products": lambda x: (np.dot(x, x.T), np.einsum("ij,kj->ik", x, x), np.tensordot(x, x, 2), np.kron(x, x[0])),
    "matrices": lambda x: (np.diag(x[:, :3]), np.trace(x), np.tril(x), np.triu(x), np.diag(x[0]), np.linalg.norm(x)),
    "logic": lambda x: (np.isclose(x, 0.5), np.logical_and(x > 0, x < 1), np.isfinite(x), np.sign(x), np.isnan(x)),
    "made like": lambda x: (np.zeros_like(x) + x, np.ones_like(x) * x, np.full_like(x, 2.0) * x, np.full_like(x, x[0])),
    "shapes": lambda x: x * np.size(x) * np.ndim(x) * np.shape(x)[0] * len(x),
    "on ndarrays": lambda x: (np.ones((3, 4)) * x, np.arange(4.0) + x, np.eye(3) @ x, np.float64(2) * x),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMPY)
def test_numpy(name: str) -> None:
    check(NUMPY[name], lambda rng: (rng.normal(size=(3, 4)),), times=2)


# ---- numbers keep what they meet ------------------------------------------------------------------------------


def test_numbers_stay_weak() -> None:
    def f(x: Any, rate: Any) -> Any:
        halved = rate / 2 + 1
        return x * rate, x - halved * 0.5, rate * 3, dnp.exp(rate) * x, np.maximum(rate, x), abs(rate) ** 0.5 * x

    for dtype in (F32, np.float64):
        program = dt.trace(f, np.ones(3, dtype), 0.1, contract=False)
        for rate in (0.3, 7.7):
            x = dt.dlarray(np.linspace(1, 2, 3).astype(dtype))
            want = f(x, _core.weak_scalar(rate))
            assert_same_bits(program(x, rate), want)
            assert {leaf.dtype for i, leaf in enumerate(program(x, rate)) if i != 2} == {np.dtype(dtype)}


def test_a_float64_scalar_is_not_weak() -> None:
    program = dt.trace(lambda x, r: x * r, np.ones(3, F32), dt.dlarray(2.0))
    assert program(np.ones(3, F32), dt.dlarray(3.0)).dtype == np.float64
    assert dt.trace(lambda x, r: x * r, np.ones(3, F32), 2.0)(np.ones(3, F32), 3.0).dtype == np.float32
