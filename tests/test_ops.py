# SPDX-License-Identifier: MIT
"""Every elementwise op, in every mode, from the table itself.

An op gets its tests by being in `_core.op_table()`: samples come from the domains of its row. What is kept
here is what the table cannot know: reference values where NumPy has no such function, how close two
libraries come, and what the words of the kink column mean in numbers.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
from numeric import central_difference, value

import dualtape as dt
from dualtape import _core

TABLE = {row["name"]: row for row in _core.op_table()}
DIFFERENTIABLE = [name for name, row in TABLE.items() if any(row["differentiable"])]
SHAPES = {
    "0-d": [(), (), ()],
    "1-d": [(67,), (67,), (67,)],
    "empty": [(0, 3), (0, 3), (0, 3)],
    "broadcast": [(4, 1, 5), (3, 1), (5,)],
    "strided": [(9, 7), (9, 7), (9, 7)],
}


def fused(a: Any, b: Any, c: Any) -> Any:
    """a * b + c with one rounding (in the end; 64 bits of mantissa before it)."""
    wide = np.asarray(a, np.longdouble) * np.asarray(b, np.longdouble) + np.asarray(c, np.longdouble)
    return wide.astype(np.result_type(a, b, c))


REFERENCES: dict[str, Callable[..., Any]] = {
    "integer_power": np.power,
    "power_complement": lambda a, b: 1 - np.power(a, b),
    "strong_multiply": lambda a, b: np.where(np.isnan(a * b) & ((a == 0) | (b == 0)), 0, a * b),
    "multiply_add": lambda a, b, c: fused(a, b, c),
    "strong_multiply_add": lambda a, b, c: np.where(
        np.isnan(fused(a, b, c)) & ((a == 0) | (b == 0)), c, fused(a, b, c)
    ),
    "multiply_subtract": lambda a, b, c: fused(a, b, -c),
    "subtract_product": lambda a, b, c: fused(-a, b, c),
    "finite_watch": lambda a, b, c: a * 0 + (b * 0 + c),
    "xlogy": scipy.special.xlogy,
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "gammaln": scipy.special.gammaln,
    "digamma": scipy.special.digamma,
    "trigamma": lambda x: scipy.special.polygamma(1, x),
    "polygamma": scipy.special.polygamma,
    "logistic": scipy.special.expit,
    **{
        name: getattr(scipy.special, name)
        for name in (
            *("erfinv", "ndtr", "ndtri", "log_ndtr", "logit", "xlog1py", "entr", "rel_entr", "kl_div"),
            *("i0", "i1", "i0e", "i1e", "j0", "j1"),
        )
    },
    "softplus": lambda x: np.logaddexp(x, 0),
    "relu": lambda x: np.where(x <= 0, 0, x),
    "leakyrelu": lambda a, b: np.where(a > 0, a, a * b),
    "gelu": lambda x: x * scipy.special.ndtr(x),
}
# In units of the last place of max(|value|, floor): more than the 4 that two good libraries may differ by.
ULPS = {
    "ndtr": 16,
    "log_ndtr": 16,
    "rel_entr": 8,
    "i1": 16,
    "i1e": 16,
    "integer_power": 16,
    "polygamma": 64,
    "erfc": 8,
    "gelu": 16,
    "tan": 8,
    "digamma": 16,
}
FLOORS = {
    "kl_div": 1.0,
    "j0": 1.0,
    "j1": 1.0,
    "gammaln": 1.0,
    "digamma": 1.0,
    "sinc": 1.0,
    "logaddexp": 0.1,
    "logaddexp2": 0.1,
    "gelu": 0.1,
}


def reference(name: str) -> Callable[..., Any]:
    row = TABLE[name]
    if row["numpy_name"]:
        assert hasattr(np, row["numpy_name"]), f"{name}: numpy_name is {row['numpy_name']!r}, which NumPy does not have"
        return getattr(np, row["numpy_name"])
    assert name in REFERENCES, f"{name}: NumPy has no such function, so it needs a line in REFERENCES"
    return REFERENCES[name]


def apply(name: str, *operands: Any) -> Any:
    return getattr(_core.elementwise, name)(*operands)


def sample(name: str, shapes: list[tuple[int, ...]], dtype: Any = np.float64, seed: int = 0) -> list[Any]:
    """Operands from the domains of the op, away from their exceptions."""
    rng = np.random.default_rng([seed, *name.encode()])
    out = []
    for (lo, hi, but, integer), shape in zip(TABLE[name]["domains"], shapes, strict=False):
        x = rng.integers(int(lo), int(hi) + 1, shape).astype(dtype) if integer else rng.uniform(lo, hi, shape)
        if not np.isnan(but):
            gap = 0.05 * (hi - lo)
            x = np.where(np.abs(x - but) < gap, but + np.where(x < but, -gap, gap), x)
            x = np.where(x == 0, 1.0, x) if integer and but == 0 else x
        out.append(np.asarray(x, dtype=dtype))
    return out


def parts(name: str, operands: list[Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The op as a function of its differentiable operands, and these."""
    moving = [i for i, flag in enumerate(TABLE[name]["differentiable"]) if flag]

    def f(*xs: Any) -> Any:
        full = list(operands)
        for i, x in zip(moving, xs, strict=True):
            full[i] = x
        return apply(name, *full)

    return f, tuple(operands[i] for i in moving)


def assert_close(name: str, got: Any, want: Any) -> None:
    """Equal within a few units in the last place, NaN, infinities and the signs of zeros to the letter."""
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if want.dtype == bool:
        np.testing.assert_array_equal(got, want)
        return
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    unit = np.spacing(np.maximum(np.abs(want[finite]), want.dtype.type(FLOORS.get(name, 0))))
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.abs(got[finite] - want[finite]) / unit
    assert np.all(distance <= ULPS.get(name, 4)), f"{name}: {distance.max()} units in the last place"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", TABLE)
def test_values_are_those_of_numpy(name: str, dtype: Any, shape: str) -> None:
    operands = sample(name, SHAPES[shape], dtype)
    if shape == "strided":
        operands = [np.asfortranarray(x)[::-2, 1:] for x in operands]
    # Single precision against the double result, rounded: NumPy's own float32 functions may be the worse
    # ones.
    want = np.asarray(reference(name)(*(x.astype(np.float64) for x in operands)))
    got = value(apply(name, *map(dt.dlarray, operands)))
    if want.dtype != bool:
        want = want.astype(dtype)
    assert_close(name, np.asarray(got), want)


@pytest.mark.parametrize("name", TABLE)
def test_python_numbers_keep_the_dtype(name: str) -> None:
    operands = sample(name, [(), (), (3,)] if name == "where" else [(3,), (), ()], np.float32)
    got = apply(name, *(dt.dlarray(x) if x.ndim else float(x) for x in operands))
    assert got.dtype == (bool if TABLE[name]["predicate"] else np.float32)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_complements_of_powers_are_those_of_powers(dtype: Any) -> None:
    """Also where the power is lost beside 1 and is not computed."""
    a = np.array([0.9, 0.999, 0.5, 0.0, -0.0, -0.5, 1.0, 1.5, np.nan, 1 - 2.0**-24], dtype)[:, None]
    b = np.concatenate([np.arange(0.0, 50.0), np.geomspace(50.0, 1e9, 300), [np.inf, np.nan]]).astype(dtype)
    want = dt.extractdata(1 - dt.dlarray(a) ** dt.dlarray(b))
    got = dt.extractdata(apply("power_complement", dt.dlarray(a), dt.dlarray(b)))
    np.testing.assert_array_equal(got, want, strict=True)
    for i, j in itertools.product(range(len(a)), range(0, len(b), 7)):
        one = apply("power_complement", dt.dlarray(a[i, 0]), dt.dlarray(b[j]))
        np.testing.assert_array_equal(dt.extractdata(one), want[i, j])


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324]
SPECIAL += [1.0, -1.0, 0.5, -2.0, 3.0, 710.0, -710.0, 1e160, 1e300, -1e300]
# Where the domain of an op is whole numbers, or there is a reason not to follow the reference.
SPECIAL_SKIP = {
    "integer_power": "takes whole numbers only",
    "polygamma": "takes whole orders only",
    "where": "the mask is 0 or 1",
    "kl_div": "SciPy's is infinite where the ratio is no normal number",
}
# Where SciPy is on its own: C says inf for the first, there is no limit at the second, and the others have
# values.
SCIPY_ALONE = {
    ("gammaln", -np.inf),
    ("trigamma", -np.inf),
    ("gammaln", 5e-324),
    ("gammaln", -5e-324),
    ("logistic", -710.0),
    *((name, x) for name in ("i0", "i1", "j0", "j1") for x in (np.inf, -np.inf)),
    *((name, x) for name in ("i0", "i1") for x in (710.0, -710.0)),  # (below the largest number)
    *((name, -0.0) for name in ("erfinv", "i1", "i1e")),
    *((name, x) for name in ("j0", "j1") for x in (1e160, 1e300, -1e300)),  # (sin and cos of the exact number)
}
# Which of two zeros is the larger one differs between NumPy's own loops.
EITHER_ZERO = {"maximum", "minimum", "fmax", "fmin", "clip"}


@pytest.mark.parametrize("name", [name for name in TABLE if name not in SPECIAL_SKIP])
def test_special_values_are_of_the_same_class_as_numpys(name: str) -> None:
    arity = TABLE[name]["arity"]
    operands = [g.ravel() for g in np.meshgrid(*[SPECIAL] * arity, indexing="ij")]
    with np.errstate(all="ignore"):
        want = np.asarray(reference(name)(*operands))
        got = np.asarray(value(apply(name, *map(dt.dlarray, operands))))
        assert got.dtype == want.dtype
        for i in range(want.size):
            at = ", ".join(str(x[i]) for x in operands)
            y, w = got[i], want[i]
            if (name, operands[0][i]) in SCIPY_ALONE:
                continue
            assert np.isnan(y) == np.isnan(w), f"{name}({at}) = {y}, wanted {w}"
            if want.dtype == bool or np.isnan(w):
                assert np.isnan(w) or y == w, f"{name}({at}) = {y}, wanted {w}"
                continue
            if w == 0 or np.isinf(w):
                assert y == w, f"{name}({at}) = {y}, wanted {w}"
                same_sign = np.signbit(y) == np.signbit(w)
                assert same_sign or (w == 0 and name in EITHER_ZERO), f"{name}({at}) = {y}, wanted {w}"
            else:
                assert np.isclose(y, w, rtol=1e-12, atol=5e-324), f"{name}({at}) = {y}, wanted {w}"


@pytest.mark.parametrize("shape", ["0-d", "1-d", "empty", "broadcast"])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_forwards_and_backwards(name: str, shape: str) -> None:
    operands = sample(name, SHAPES[shape])
    f, moving = parts(name, operands)
    rng = np.random.default_rng(1)
    tangents = tuple(rng.normal(size=x.shape) for x in moving)
    out, tangent = dt.jvp(f, moving, tangents)
    slope = value(tangent)
    np.testing.assert_array_equal(value(out), value(f(*moving)))
    np.testing.assert_allclose(slope, central_difference(f, moving, tangents), rtol=2e-7, atol=2e-8)
    weights = rng.normal(size=np.shape(slope))
    out, pull = dt.vjp(f, *moving)
    np.testing.assert_array_equal(value(out), value(f(*moving)))
    cotangents = [value(c) for c in pull(weights)]
    assert [np.shape(c) for c in cotangents] == [x.shape for x in moving]
    inner = sum(np.sum(c * t) for c, t in zip(cotangents, tangents, strict=True))
    np.testing.assert_allclose(inner, np.sum(weights * slope), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_single_precision_has_the_derivatives_of_double(name: str) -> None:
    operands = sample(name, SHAPES["1-d"], np.float32)
    f, moving = parts(name, operands)
    g, wide = parts(name, [x.astype(np.float64) for x in operands])
    ones = tuple(np.ones_like(x) for x in moving)
    tangent = value(dt.jvp(f, moving, ones)[1])
    want = value(dt.jvp(g, wide, tuple(np.ones_like(x) for x in wide))[1])
    assert tangent.dtype == np.float32
    np.testing.assert_allclose(tangent, want, rtol=2e-5, atol=2e-6)
    for c, w in zip(dt.vjp(f, *moving)[1](ones[0]), dt.vjp(g, *wide)[1](np.ones_like(wide[0])), strict=True):
        assert c.dtype == np.float32
        np.testing.assert_allclose(value(c), value(w), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("shape", ["0-d", "1-d", "broadcast"])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_second_order(name: str, shape: str) -> None:
    """A Hessian times a vector: forwards over backwards, backwards twice, and differences of the gradient."""
    operands = sample(name, SHAPES[shape], seed=2)
    f, moving = parts(name, operands)
    rng = np.random.default_rng(3)
    tangents = tuple(rng.normal(size=x.shape) for x in moving)
    weights = rng.normal(size=np.broadcast_shapes(*(x.shape for x in operands)))
    numbers = tuple(range(len(moving)))
    gradient = dt.grad(lambda *xs: (f(*xs) * weights).sum(), argnums=numbers)
    forwards_over_backwards = dt.jvp(gradient, moving, tangents)[1]

    def slope(*xs: Any) -> Any:
        return sum((g * t).sum() for g, t in zip(gradient(*xs), tangents, strict=True))

    twice_backwards = dt.grad(slope, argnums=numbers)(*moving)

    def forwards(*xs: Any) -> Any:
        return (dt.jvp(f, xs, tangents)[1] * weights).sum()

    backwards_over_forwards = dt.grad(forwards, argnums=numbers)(*moving)
    h = 1e-6
    ahead = gradient(*(x + h * t for x, t in zip(moving, tangents, strict=True)))
    behind = gradient(*(x - h * t for x, t in zip(moving, tangents, strict=True)))
    for i in numbers:
        product = value(forwards_over_backwards[i])
        np.testing.assert_allclose(product, (value(ahead[i]) - value(behind[i])) / (2 * h), rtol=2e-6, atol=2e-7)
        np.testing.assert_allclose(value(twice_backwards[i]), product, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(value(backwards_over_forwards[i]), product, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_a_zero_cotangent_contributes_zero_and_constants_get_none(name: str) -> None:
    operands = [np.asarray(x) for x in SPECIAL_ROWS.get(name, [np.array([np.inf, np.nan])] * TABLE[name]["arity"])]
    f, moving = parts(name, operands)
    for c in dt.vjp(f, *moving)[1](np.zeros(operands[0].shape)):
        np.testing.assert_array_equal(value(c), np.zeros_like(value(c)))


SPECIAL_ROWS = {"where": [np.array([0.0, 1.0])] + [np.array([np.inf, np.nan])] * 2}

ISAS = ["generic", "avx2", "avx512"]
ISAS = ISAS[: ISAS.index(_core.build_info()["isa_best"]) + 1]
BITS = """
import hashlib, sys
sys.path.insert(0, {tests!r})
import numpy as np
import dualtape as dt
from test_ops import SPECIAL, SPECIAL_SKIP, TABLE, apply, sample, value

def bits(x):
    x = np.array(x)
    if x.dtype != bool:
        x = x + x.dtype.type(0) * 0
        x[np.isnan(x)] = np.nan
    return x.tobytes()

assert dt._core.build_info()["isa_used"] == {isa!r}
digest = hashlib.sha256()
for name, row in TABLE.items():
    for dtype in (np.float64, np.float32):
        operands = sample(name, [(67,)] * 3, dtype)
        if name not in SPECIAL_SKIP:
            more = [g.ravel() for g in np.meshgrid(*[SPECIAL] * row["arity"], indexing="ij")]
            with np.errstate(over="ignore"):
                operands = [np.concatenate([x, m.astype(dtype)]) for x, m in zip(operands, more)]
        whole = value(apply(name, *map(dt.dlarray, operands)))
        wide = [np.repeat(x, 3).reshape(-1, 3)[:, 1] for x in operands]
        strided = value(apply(name, *wide))
        assert bits(strided) == bits(whole), (name, dtype, "strided")
        if dtype is np.float64:
            single = np.array([float(apply(name, *map(dt.dlarray, map(float, xs)))) for xs in zip(*operands)])
        else:
            single = np.array([value(apply(name, *(dt.dlarray(x) for x in xs))) for xs in zip(*operands)])
        assert bits(single.astype(whole.dtype)) == bits(whole), (name, dtype, "scalars")
        digest.update(bits(whole))
print(digest.hexdigest())
"""


def test_the_same_bits_for_scalars_arrays_and_instruction_sets() -> None:
    """One element alone, within a contiguous array and within a strided one; on every instruction set there
    is.
    """
    digests = {}
    for isa in ISAS:
        program = BITS.format(tests=os.path.dirname(__file__), isa=isa)
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"DUALTAPE_ISA": isa},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{isa}: {done.stderr}"
        digests[isa] = done.stdout.strip()
    # All of them use fused multiply-add where the machine has it, so all bits are equal.
    assert len(set(digests.values())) == 1, digests


INF, NAN = np.inf, np.nan
# For every op with something in the kink column: operands, and the partials there (None: not claimed).
KINKS: dict[str, list[tuple[tuple[float, ...], tuple[float | None, ...]]]] = {
    "absolute": [((0.0,), (0.0,)), ((-0.0,), (0.0,))],
    "sign": [((0.0,), (0.0,)), ((2.0,), (0.0,))],
    "floor_divide": [((7.0, 2.0), (0.0, 0.0)), ((6.0, 2.0), (0.0, 0.0))],
    "remainder": [((4.0, 2.0), (1.0, -2.0)), ((-4.0, 2.0), (1.0, 2.0))],
    "fmod": [((4.0, 2.0), (1.0, -2.0)), ((-4.0, 2.0), (1.0, 2.0))],
    "sqrt": [((0.0,), (INF,))],
    "cbrt": [((0.0,), (INF,))],
    "power": [((0.0, 0.0), (0.0, None)), ((0.0, 2.0), (0.0, 0.0)), ((2.0, 0.0), (0.0, np.log(2.0)))],
    "float_power": [((0.0, 0.0), (0.0, None)), ((0.0, 2.0), (0.0, 0.0)), ((2.0, 0.0), (0.0, np.log(2.0)))],
    "integer_power": [((0.0, 0.0), (0.0, None)), ((3.0, 0.0), (0.0, None)), ((0.0, 1.0), (1.0, None))],
    "power_complement": [((0.0, 0.0), (0.0, None)), ((0.0, 2.0), (0.0, 0.0)), ((2.0, 0.0), (0.0, -np.log(2.0)))],
    "strong_multiply": [((0.0, 5.0), (5.0, 0.0))],
    "strong_multiply_add": [((0.0, 5.0, 1.0), (5.0, 0.0, 1.0))],
    "logaddexp": [((INF, INF), (0.5, 0.5)), ((-INF, -INF), (0.5, 0.5)), ((1.0, 1.0), (0.5, 0.5))],
    "logaddexp2": [((INF, INF), (0.5, 0.5)), ((-INF, -INF), (0.5, 0.5)), ((1.0, 1.0), (0.5, 0.5))],
    "arcsin": [((1.0,), (INF,)), ((-1.0,), (INF,))],
    "arccos": [((1.0,), (-INF,)), ((-1.0,), (-INF,))],
    "arctan2": [((0.0, 0.0), (0.0, 0.0))],
    "hypot": [((0.0, 0.0), (0.0, 0.0))],
    "arccosh": [((1.0,), (INF,))],
    "maximum": [((1.0, 1.0), (0.5, 0.5)), ((INF, INF), (0.5, 0.5))],
    "minimum": [((1.0, 1.0), (0.5, 0.5)), ((0.0, -0.0), (0.5, 0.5))],
    "fmax": [((1.0, 1.0), (0.5, 0.5)), ((NAN, 1.0), (0.0, 1.0)), ((1.0, NAN), (1.0, 0.0))],
    "fmin": [((1.0, 1.0), (0.5, 0.5)), ((NAN, 1.0), (0.0, 1.0)), ((1.0, NAN), (1.0, 0.0))],
    "clip": [((-1.0, -1.0, 1.0), (0.5, 0.5, 0.0)), ((1.0, -1.0, 1.0), (0.5, 0.0, 0.5))],
    "copysign": [((0.0, 1.0), (0.0, 0.0)), ((0.0, -1.0), (0.0, 0.0))],
    "heaviside": [((0.0, 0.5), (0.0, 0.0)), ((1.0, 0.5), (0.0, 0.0))],
    "floor": [((1.0,), (0.0,))],
    "ceil": [((1.0,), (0.0,))],
    "trunc": [((0.0,), (0.0,))],
    "rint": [((0.5,), (0.0,))],
    "nan_to_num": [((NAN,), (0.0,)), ((INF,), (0.0,)), ((-INF,), (0.0,))],
    "polygamma": [((2.0, 1.5), (0.0, None))],
    "erfinv": [((1.0,), (INF,)), ((-1.0,), (INF,))],
    "ndtri": [((0.0,), (INF,)), ((1.0,), (INF,))],
    "logit": [((0.0,), (INF,)), ((1.0,), (INF,))],
    "entr": [((0.0,), (INF,))],
    "rel_entr": [((0.0, 1.0), (-INF, None))],
    "kl_div": [((0.0, 1.0), (-INF, None))],
    "i0e": [((0.0,), (0.0,))],
    "relu": [((0.0,), (0.0,))],
    "leakyrelu": [((0.0, 0.1), (0.1, 0.0))],
}


def test_every_kink_of_the_table_has_a_row_here() -> None:
    assert set(KINKS) == {name for name, row in TABLE.items() if row["kink"]}


@pytest.mark.parametrize("name", KINKS)
def test_kinks(name: str) -> None:
    """One row in every mode: forwards, backwards, as a scalar, in an array, on the tape of a nested
    derivative.
    """
    for operands, partials in KINKS[name]:
        for i, want in enumerate(partials):
            if want is None:
                continue

            def f(x: Any, i: int = i, operands: Any = operands) -> Any:
                return apply(name, *operands[:i], x, *operands[i + 1 :])

            at, array = operands[i], np.full(3, operands[i])
            assert float(dt.grad(f)(at)) == want, (operands, i)
            assert float(dt.jvp(f, (at,), (1.0,))[1]) == want, (operands, i)
            np.testing.assert_array_equal(value(dt.grad(lambda x, f=f: f(x).sum())(array)), np.full(3, want))
            np.testing.assert_array_equal(value(dt.jvp(f, (array,), (np.ones(3),))[1]), np.full(3, want))
            nested = dt.jvp(dt.grad(f), (at,), (1.0,))[0]
            assert float(nested) == want, (operands, i)
            single = np.float32(operands[i])
            if np.isfinite(want):
                assert float(dt.grad(f)(single)) == np.float32(want), (operands, i)
