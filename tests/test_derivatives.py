# SPDX-License-Identifier: MIT
"""The functional transformations, alone and nested in each other, against closed forms and differences.

Where to start: TRANSFORMATIONS, and `test_nested`, which runs all pairs and triples of them. Random programs in all
modes are in test_random_programs.py, dual numbers and differential operators in test_operators.py.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from numeric import check_derivatives, close, value

import dualtape as dt
from dualtape import Dual, _core
from dualtape import numpy as dnp

Pair = namedtuple("Pair", ["first", "second"])


@dataclasses.dataclass
class Layer:
    weights: Any
    bias: Any


# ---- each transformation alone ----------------------------------------------------------------------------

PARAMS = {"w": np.array([[1.0, 2.0, -1.0], [0.5, -0.3, 2.0]]), "b": (np.array([0.1, -0.2]), 0.7)}
X = np.array([0.3, -1.2, 0.8])


def network(params: Any, x: Any) -> Any:
    return dnp.tanh(params["w"] @ x + params["b"][0]) * params["b"][1]


def loss(params: Any, x: Any) -> Any:
    return (network(params, x) ** 2).sum()


def gradient_by_hand(params: Any, x: Any) -> tuple[Any, Any]:
    (w, (b, c)) = params["w"], params["b"]
    t = np.tanh(w @ x + b)
    d = 2 * c * c * t * (1 - t * t)
    return {"w": np.outer(d, x), "b": (d, float(2 * c * (t * t).sum()))}, w.T @ d


def test_grad_of_trees() -> None:
    by_params, by_x = gradient_by_hand(PARAMS, X)
    close(dt.grad(loss)(PARAMS, X), by_params)
    close(dt.grad(loss, argnums=1)(PARAMS, X), by_x)
    close(dt.grad(loss, argnums=-1)(PARAMS, X), by_x)
    close(dt.grad(loss, argnums=(0,))(PARAMS, X), (by_params,))
    close(dt.grad(loss, argnums=[1, 0])(PARAMS, X), (by_x, by_params))
    close(dt.grad(loss, argnums=np.int64(1))(PARAMS, X), by_x)


def test_value_and_grad() -> None:
    by_params, by_x = gradient_by_hand(PARAMS, X)
    y, gradient = dt.value_and_grad(loss, argnums=(0, 1))(PARAMS, X)
    close(y, value(loss(PARAMS, X)))
    close(gradient, (by_params, by_x))


def test_has_aux() -> None:
    def with_aux(params: Any, x: Any) -> Any:
        out = network(params, x)
        return (out**2).sum(), {"out": out, "note": "text"}

    (y, aux), gradient = dt.value_and_grad(with_aux, has_aux=True)(PARAMS, X)
    close(gradient, gradient_by_hand(PARAMS, X)[0])
    close(y, value(loss(PARAMS, X)))
    close(aux["out"], value(network(PARAMS, X)))
    assert aux["note"] == "text"
    assert not _core.is_tracked(aux["out"])
    gradient, aux = dt.grad(with_aux, argnums=1, has_aux=True)(PARAMS, X)
    close(gradient, gradient_by_hand(PARAMS, X)[1])
    assert aux["note"] == "text"


def test_keyword_arguments_pass_through() -> None:
    def f(x: Any, *, power: int, scale: Any = 1.0) -> Any:
        return (scale * x**power).sum()

    x = np.array([1.0, 2.0])
    close(dt.grad(f)(x, power=3, scale=2.0), 6 * x**2)
    close(dt.jacfwd(f)(x, power=3), 3 * x**2)
    close(dt.jacrev(f)(x, power=3), 3 * x**2)
    close(dt.hessian(f)(x, power=3), np.diag(6 * x))


@pytest.mark.parametrize("kind", [float, int, np.float64, np.array, dt.dlarray])
def test_inputs_of_every_kind(kind: Any) -> None:
    x = kind(3)
    if kind is np.array:
        x = x.astype(float)
    assert float(dt.grad(lambda x: x**3)(x)) == 27
    assert float(dt.jvp(lambda x: x**3, (x,), (kind(1),))[1]) == 27
    assert float(dt.vjp(lambda x: x**3, x)[1](1)[0]) == 27
    for transform in (dt.jacfwd, dt.jacrev):
        assert float(transform(lambda x: x**3)(x)) == 27
    assert float(dt.hessian(lambda x: x**3)(x)) == 18
    assert float(dt.hvp(lambda x: x**3)(x, 2.0)) == 36
    assert float(dt.linearize(lambda x: x**3, x)[1](2.0)) == 54


def test_gradients_have_the_structure_of_their_argument() -> None:
    tree = {"pair": Pair(1.0, [2.0, np.array([3.0])]), "layer": Layer(np.ones((2, 1)), 4.0), "none": None}

    def f(t: Any) -> Any:
        layer = t["layer"]
        return t["pair"].first * t["pair"].second[0] * (t["pair"].second[1] * layer.weights).sum() * layer.bias

    gradient = dt.grad(f)(tree)
    assert isinstance(gradient["pair"], Pair)
    assert isinstance(gradient["layer"], Layer)
    assert gradient["none"] is None
    close(gradient["pair"], Pair(48.0, [24.0, np.array([16.0])]))
    close(gradient["layer"].weights, np.full((2, 1), 24.0))
    close(gradient["layer"].bias, 12.0)


def test_jvp_and_vjp_of_trees() -> None:
    rng = np.random.default_rng(1)
    tangents = dt.tree.tree_map(lambda x: rng.normal(size=np.shape(x)), PARAMS)
    v = rng.normal(size=3)
    h = 1e-6

    def moved(sign: float) -> Any:
        params = dt.tree.tree_map(lambda p, t: p + sign * h * t, PARAMS, tangents)
        return value(network(params, X + sign * h * v))

    out, tangent = dt.jvp(network, (PARAMS, X), (tangents, v))
    close(out, value(network(PARAMS, X)))
    close(tangent, (moved(1) - moved(-1)) / (2 * h), rtol=1e-8)
    out, pull = dt.vjp(network, PARAMS, X)
    ct = rng.normal(size=2)
    pulled = [value(c) for c in dt.tree.flatten(pull(ct))[0]]
    inner = sum(float((c * t).sum()) for c, t in zip(pulled, dt.tree.flatten((tangents, v))[0], strict=True))
    assert inner == pytest.approx(float((value(tangent) * ct).sum()), rel=1e-12)
    close(dt.linearize(network, PARAMS, X)[1](tangents, v), value(tangent))


def test_outputs_may_be_trees() -> None:
    def f(x: Any) -> Any:
        return {"square": x * x, "rest": [x.sum(), 3.0]}

    x = np.array([1.0, 2.0])
    out, tangent = dt.jvp(f, (x,), (np.array([1.0, 0.5]),))
    close(out, {"square": x * x, "rest": [3.0, 3.0]})
    close(tangent, {"square": np.array([2.0, 2.0]), "rest": [1.5, 0.0]})
    _, pull = dt.vjp(f, x)
    close(pull({"square": np.ones(2), "rest": [2.0, 7.0]}), (2 * x + 2,))
    _, push = dt.linearize(f, x)
    close(push(np.array([1.0, 0.5])), value(tangent))
    for transform in (dt.jacfwd, dt.jacrev):
        close(transform(f)(x), {"square": np.diag(2 * x), "rest": [np.ones(2), np.zeros(2)]})


def test_jacobians_and_hessians_of_trees() -> None:
    p = {"a": np.array([1.0, 2.0]), "b": 3.0}

    def f(p: Any) -> Any:
        return p["a"] ** 2 * p["b"]

    for transform in (dt.jacfwd, dt.jacrev):
        close(transform(f)(p), {"a": np.diag(2 * p["a"] * p["b"]), "b": p["a"] ** 2})
    close(
        dt.hessian(lambda p: f(p).sum())(p),
        {"a": {"a": 6 * np.eye(2), "b": 2 * p["a"]}, "b": {"a": 2 * p["a"], "b": 0.0}},
    )
    v = {"a": np.array([1.0, 0.0]), "b": 1.0}
    close(dt.hvp(lambda p: f(p).sum())(p, v), {"a": np.array([8.0, 4.0]), "b": 2.0})


@pytest.mark.parametrize("in_shape", [(), (3,), (2, 2), (0,), (1, 0)])
@pytest.mark.parametrize("out_shape", [(), (2,), (2, 3), (0,)])
def test_shapes_of_jacobians(in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(0).normal(size=out_shape)

    def f(x: Any) -> Any:
        return dnp.sin(x).sum() * weights

    x = np.random.default_rng(1).normal(size=in_shape)
    want = np.multiply.outer(weights, np.cos(x))
    for transform in (dt.jacfwd, dt.jacrev):
        close(transform(f)(x), want)
    close(dt.hessian(lambda x: dnp.sin(x).sum())(x), (np.diag(-np.sin(x).ravel())).reshape(in_shape + in_shape))


@pytest.mark.parametrize("f", [lambda x: np.ones(2), lambda x: dt.stop_gradient(x), lambda x: dnp.floor(x)])
def test_constant_functions_have_zero_derivatives(f: Any) -> None:
    x = np.array([1.5, 2.5])
    for transform in (dt.jacfwd, dt.jacrev):
        close(transform(f)(x), np.zeros((2, 2)))
    close(dt.grad(lambda x: dnp.sum(f(x)))(x), np.zeros(2))
    close(dt.hessian(lambda x: dnp.sum(f(x)))(x), np.zeros((2, 2)))
    close(dt.linearize(f, x)[1](np.ones(2)), np.zeros(2))


def test_float32_in_every_mode() -> None:
    x, v = np.array([0.5, 1.5], np.float32), np.ones(2)

    def f(x: Any) -> Any:
        return (dnp.exp(x) * 2).sum()

    results = [
        dt.grad(f)(x),
        *dt.jvp(f, (x,), (v,)),
        dt.vjp(f, x)[1](1.0)[0],
        dt.linearize(f, x)[1](v),
        dt.jacfwd(dnp.exp)(x),
        dt.jacrev(dnp.exp)(x),
        dt.hessian(f)(x),
        dt.hvp(f)(x, v),
        dt.jvp(dt.grad(f), (x,), (v,))[1],
        dt.grad(lambda x: dt.grad(f)(x).sum())(x),
    ]
    assert {result.dtype for result in results} == {np.dtype(np.float32)}


# ---- nested in each other ---------------------------------------------------------------------------------


def _custom_jvp(f: Any) -> Any:
    g = dt.custom_jvp(f)
    g.defjvp(lambda primals, tangents: dt.jvp(f, primals, tangents))
    return g


def _custom_vjp(f: Any) -> Any:
    g = dt.custom_vjp(f)
    g.defvjp(lambda x: (f(x), x), lambda x, ct: (dt.grad(f)(x) * ct,))
    return g


def _dlfeval(f: Any) -> Any:
    def gradient(x: Any) -> Any:
        return dt.dlgradient(f(x), x, enable_higher_derivatives=True)

    return lambda x: dt.dlfeval(gradient, x if isinstance(x, dt.dlarray) else dt.dlarray(x))


# From a function of one number to one of its derivatives, and which one that is.
TRANSFORMATIONS: dict[str, tuple[Any, int]] = {
    "grad": (dt.grad, 1),
    "jvp": (lambda f: lambda x: dt.jvp(f, (x,), (1.0,))[1], 1),
    "vjp": (lambda f: lambda x: dt.vjp(f, x)[1](1.0)[0], 1),
    "jacfwd": (dt.jacfwd, 1),
    "jacrev": (dt.jacrev, 1),
    "linearize": (lambda f: lambda x: dt.linearize(f, x)[1](1.0), 1),
    "dlfeval": (_dlfeval, 1),
    "hessian": (dt.hessian, 2),
    "hvp": (lambda f: lambda x: dt.hvp(f)(x, 1.0), 2),
    "checkpoint": (dt.checkpoint, 0),
    "custom_jvp": (_custom_jvp, 0),
    "custom_vjp": (_custom_vjp, 0),
}
FORWARD = {"jvp", "jacfwd", "linearize"}


def refused(names: tuple[str, ...]) -> bool:
    """A custom_vjp has no forward rule, so forward mode around it is refused. The custom_jvp of this file is forward
    mode as soon as it is differentiated."""
    if "custom_vjp" not in names:
        return False
    around = names[names.index("custom_vjp") + 1 :]
    by_rule = "custom_jvp" in around and any(TRANSFORMATIONS[name][1] for name in around[around.index("custom_jvp") :])
    return by_rule or not FORWARD.isdisjoint(around)


@pytest.mark.parametrize(
    "names", [n for k in (1, 2, 3) for n in itertools.product(TRANSFORMATIONS, repeat=k)], ids="-".join
)
def test_nested(names: tuple[str, ...]) -> None:
    """The first name is innermost; sin(2 x) is differentiated at 0.3."""
    x, order = 0.3, 0

    def f(x: Any) -> Any:
        return dnp.sin(2 * x)

    for name in names:
        f, order = TRANSFORMATIONS[name][0](f), order + TRANSFORMATIONS[name][1]
    want = 2.0**order * np.sin(2 * x + order * np.pi / 2)
    if refused(names):
        with pytest.raises(dt.GradientError, match="custom_jvp"):
            f(x)
    else:
        assert float(f(x)) == pytest.approx(want, rel=1e-9, abs=1e-9)


ARRAY_TRANSFORMATIONS: dict[str, Any] = {
    "grad": lambda f: lambda x: dt.grad(lambda x: f(x).sum())(x),
    "jvp": lambda f: lambda x: dt.jvp(f, (x,), (np.ones(3),))[1],
    "vjp": lambda f: lambda x: dt.vjp(f, x)[1](np.ones(3))[0],
    "jacfwd": lambda f: lambda x: dt.jacfwd(f)(x).sum(0),
    "jacrev": lambda f: lambda x: dt.jacrev(f)(x).sum(0),
    "linearize": lambda f: lambda x: dt.linearize(f, x)[1](np.ones(3)),
    "dlfeval": lambda f: _dlfeval(lambda x: f(x).sum()),
    "checkpoint": dt.checkpoint,
    "custom_jvp": _custom_jvp,
}
ARRAY_ORDERS = {"checkpoint": 0, "custom_jvp": 0}


@pytest.mark.parametrize("names", list(itertools.product(ARRAY_TRANSFORMATIONS, repeat=2)), ids="-".join)
def test_nested_over_arrays(names: tuple[str, ...]) -> None:
    """For an elementwise function each of these gives f' in every element."""
    x, order = np.array([0.3, -0.7, 1.1]), 0

    def f(x: Any) -> Any:
        return dnp.sin(2 * x)

    for name in names:
        f, order = ARRAY_TRANSFORMATIONS[name](f), order + ARRAY_ORDERS.get(name, 1)
    close(f(x), 2.0**order * np.sin(2 * x + order * np.pi / 2))


def test_sixth_derivative() -> None:
    f: Any = dnp.exp
    for name in ("grad", "jvp", "vjp", "jacfwd", "linearize", "grad"):
        f = TRANSFORMATIONS[name][0](f)
    assert float(f(0.5)) == pytest.approx(np.exp(0.5), rel=1e-13)


# ---- perturbation confusion -------------------------------------------------------------------------------

DERIVATIVES = {
    name: TRANSFORMATIONS[name][0] for name in ("grad", "jvp", "vjp", "jacfwd", "jacrev", "linearize", "dlfeval")
}


@pytest.mark.parametrize("outer", DERIVATIVES)
@pytest.mark.parametrize("inner", DERIVATIVES)
def test_perturbations_are_not_confused(outer: str, inner: str) -> None:
    d_outer, d_inner = DERIVATIVES[outer], DERIVATIVES[inner]
    # Siskind and Pearlmutter's: d/dx (x d/dy (x + y)) = 1, not 2.
    assert float(d_outer(lambda x: x * d_inner(lambda y: x + y)(1.0))(1.0)) == 1
    # d/dx (x d/dy (x y)) = 2 x
    assert float(d_outer(lambda x: x * d_inner(lambda y: x * y)(2.0))(3.0)) == 6
    # d/dx (d/dy (x^2 y^3) at y = x) = 3 * 4 x^3
    assert float(d_outer(lambda x: d_inner(lambda y: x**2 * y**3)(x))(2.0)) == 96
    # The inner function does not use its argument at all.
    assert float(d_outer(lambda x: x**2 + d_inner(lambda y: x**5 + 0.0 * y)(1.0))(3.0)) == 6


@pytest.mark.parametrize("names", list(itertools.product(["grad", "jvp", "jacfwd", "dlfeval"], repeat=3)), ids="-".join)
def test_three_levels_that_see_each_other(names: tuple[str, ...]) -> None:
    a, b, c = (DERIVATIVES[name] for name in names)

    def f(x: Any) -> Any:
        return x * b(lambda y: x * y * c(lambda z: x**2 * y**2 * z**2 + x * y)(y))(x)

    # c: 2 x^2 y^3; times x y: 2 x^3 y^4; b at y = x: 8 x^6; times x: 8 x^7; a: 56 x^6
    assert float(a(f)(1.1)) == pytest.approx(56 * 1.1**6, rel=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_random_closures_over_outer_variables(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=3)
    outer, inner = (DERIVATIVES[name] for name in rng.choice(list(DERIVATIVES), 2))

    def f(x: Any) -> Any:
        return dnp.sin(x) * inner(lambda y: dnp.exp(a * x * y) + b * x * y**2)(c * x)

    def plain(x: float) -> float:
        y = c * x
        return float(np.sin(x) * (a * x * np.exp(a * x * y) + 2 * b * x * y))

    x, h = float(rng.normal()), 1e-6
    assert float(f(x)) == pytest.approx(plain(x), rel=1e-10)
    assert float(outer(f)(x)) == pytest.approx((plain(x + h) - plain(x - h)) / (2 * h), rel=1e-6, abs=1e-7)


# ---- pulls and pushes that are called late ----------------------------------------------------------------


def test_pull_late_and_often() -> None:
    x = np.array([1.0, 2.0])
    _, pull = dt.vjp(lambda x: dnp.sin(x) * x, x)
    slope = np.sin(x) + x * np.cos(x)
    for ct in (np.ones(2), np.array([2.0, 0.0]), np.zeros(2)):
        close(pull(ct), (slope * ct,))
    # inside other derivatives, by its cotangent
    close(dt.grad(lambda ct: (pull(ct)[0] ** 2).sum())(np.ones(2)), 2 * slope**2)
    close(dt.jvp(lambda ct: pull(ct)[0], (np.ones(2),), (np.array([1.0, 0.0]),))[1], slope * [1, 0])
    close(dt.jacfwd(lambda ct: pull(ct)[0])(np.ones(2)), np.diag(slope))
    close(dt.jacrev(lambda ct: pull(ct)[0])(np.ones(2)), np.diag(slope))
    # while another recording is open
    close(dt.dlfeval(lambda z: dt.dlgradient((z * pull(np.ones(2))[0]).sum(), z), dt.dlarray([1.0, 1.0])), slope)


def test_a_pull_made_inside_a_derivative_stays_connected_to_it() -> None:
    kept = []

    def f(x: Any) -> Any:
        _, pull = dt.vjp(lambda y: y * y * x, x)
        kept.append(pull)
        return pull(1.0)[0]  # 2 x^2

    assert float(dt.grad(f)(3.0)) == 12
    with pytest.raises(dt.TapeError, match="the recording has ended"):
        kept[0](1.0)


def test_push_late_and_often() -> None:
    x = np.array([1.0, 2.0])
    _, push = dt.linearize(dnp.sin, x)
    close(push(np.ones(2)), np.cos(x))
    close(push(np.zeros(2)), np.zeros(2))
    close(dt.grad(lambda v: (push(v) ** 2).sum())(np.ones(2)), 2 * np.cos(x) ** 2)
    close(dt.jvp(push, (np.ones(2),), (np.array([1.0, 0.0]),))[1], np.cos(x) * [1, 0])


def test_linearize_runs_the_function_once() -> None:
    calls = []
    _, push = dt.linearize(lambda x: (calls.append(1), x**2)[1], 3.0)
    assert [float(push(v)) for v in (1.0, 2.0, 10.0)] == [6, 12, 60]
    assert len(calls) == 1


# ---- zeros, infinities and branches -----------------------------------------------------------------------

UNTAKEN = {
    "log": (lambda x: dnp.where(x > 0, dnp.log(x), 0.0), [0.0, -1.0, 2.0], [0, 0, 0.5], [0, 0, -0.25]),
    "sqrt": (lambda x: dnp.where(x > 0, dnp.sqrt(x), 0.0), [0.0, -1.0, 4.0], [0, 0, 0.25], [0, 0, -1 / 32]),
    "divide": (lambda x: dnp.where(x == 0, 1.0, dnp.sin(x) / x), [0.0, np.pi], [0, -1 / np.pi], [0, 2 / np.pi**2]),
    "exp": (lambda x: dnp.where(x < 100, x, dnp.exp(x)), [1.0, 1.0], [1, 1], [0, 0]),
    "power": (lambda x: dnp.where(x > 0, x**-1.5, x), [0.0, 1.0], [1, -1.5], [0, 3.75]),
}


@pytest.mark.parametrize("name", UNTAKEN)
def test_the_branch_that_is_not_taken_never_poisons_a_derivative(name: str) -> None:
    f, points, first, second = UNTAKEN[name]
    with np.errstate(all="ignore"):
        for x, d1, d2 in zip(points, first, second, strict=True):
            for transform in DERIVATIVES.values():
                assert float(transform(f)(x)) == pytest.approx(d1), "of a scalar"
            for one, other in itertools.product(("grad", "jvp", "jacfwd", "dlfeval"), repeat=2):
                assert float(DERIVATIVES[other](DERIVATIVES[one](f))(x)) == pytest.approx(d2), (one, other)
            assert float(dt.hessian(f)(x)) == pytest.approx(d2)
        x = np.array(points)
        close(dt.grad(lambda x: f(x).sum())(x), np.array(first, float))
        close(dt.jvp(f, (x,), (np.ones_like(x),))[1], np.array(first, float))
        close(dt.jacfwd(f)(x), np.diag(np.array(first, float)))
        close(dt.jacrev(f)(x), np.diag(np.array(first, float)))
        close(dt.hessian(lambda x: f(x).sum())(x), np.diag(np.array(second, float)))
        close(dt.hvp(lambda x: f(x).sum())(x, np.ones_like(x)), np.array(second, float))


@pytest.mark.parametrize("f", [dnp.sqrt, dnp.log, dnp.reciprocal, dnp.cbrt])
def test_zero_cotangents_and_tangents_give_zero_beside_infinity(f: Any) -> None:
    with np.errstate(all="ignore"):
        for x in (0.0, np.zeros(2)):
            zero = np.zeros(np.shape(x))
            close(dt.vjp(f, x)[1](zero), (zero,))
            close(dt.jvp(f, (x,), (zero,))[1], zero)
            close(dt.linearize(f, x)[1](zero), zero)


def test_branches_and_loops_of_python() -> None:
    def f(x: Any) -> Any:
        y = x
        while y < 100:
            y = y * 3 if y > 5 else y * y + 1
        return y if x > 0 else -y

    def plain(x: float) -> float:
        return float(f(x))

    for x in (0.5, 1.5, -2.5, 7.0):
        want = (plain(x + 1e-6) - plain(x - 1e-6)) / 2e-6
        for transform in DERIVATIVES.values():
            assert float(transform(f)(x)) == pytest.approx(want, rel=1e-6)


# ---- arrays: broadcasting, views, assignment --------------------------------------------------------------

RNG = np.random.default_rng(7)
ARRAY_CASES: dict[str, Any] = {
    "broadcast rows": (lambda a, b: a * b + dnp.sin(b), (2, 3), (3,)),
    "broadcast columns": (lambda a, b: a / (2 + b * b), (2, 3), (2, 1)),
    "broadcast a scalar": (lambda a, b: dnp.exp(a) * b, (2, 3), ()),
    "broadcast both": (lambda a, b: a * b * b, (4, 1), (1, 3)),
    "broadcast new axes": (lambda a, b: a * dnp.tanh(b), (2, 1, 3), (4, 3)),
    "a slice": (lambda a: a[1:, ::-2] ** 2, (3, 4)),
    "a row twice": (lambda a: a[0] * a[0] * a[1], (2, 3)),
    "overlapping slices": (lambda a: a[1:] * a[:-1], (5,)),
    "an index array": (lambda a: a[np.array([0, 2, 2, 0])] ** 3, (3, 2)),
    "a mask": (lambda a: a[np.array([True, False, True])] ** 2, (3, 2)),
    "an ellipsis": (lambda a: a[..., None, 1] * a[..., 0, None], (2, 3)),
    "a transpose": (lambda a: a.T * a, (3, 3)),
    "a view of a view": (lambda a: (a.T[1:].reshape(-1)[::2]) ** 2, (3, 4)),
    "matmul": (lambda a, b: dnp.tanh(a @ b), (2, 3), (3, 4)),
    "matmul of stacks": (lambda a, b: a @ b, (2, 2, 3), (3, 2)),
    "reductions": (lambda a: a.sum(0) * a.mean(1).sum() + a.max() * a.prod(0), (2, 3)),
    "logsumexp": (lambda a: dt.logsumexp(a, axis=1) * a[:, 0], (2, 3)),
    "concatenate": (lambda a, b: dnp.concatenate([a, b * b, a * 2]) ** 2, (2,), (3,)),
    "stack": (lambda a, b: dnp.stack([a, b, a * b], axis=1) ** 2, (2,), (2,)),
    "cumsum": (lambda a: dnp.cumsum(a * a, axis=0), (3, 2)),
}


@pytest.mark.parametrize("name", ARRAY_CASES)
def test_array_functions_in_every_mode(name: str) -> None:
    f, *shapes = ARRAY_CASES[name]
    check_derivatives(f, *(RNG.normal(size=shape) for shape in shapes), rtol=1e-5, atol=1e-6)


def assign_elements(x: Any) -> Any:
    b = dnp.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            b[i, j] = x[i] * x[j] if i >= j else dnp.sin(b[j, i]) if i > 0 else 2.0
    return b @ x


def assign_slices(x: Any) -> Any:
    b = dnp.zeros((4, 3))
    b[0] = x
    b[1:3] = x * x
    b[:, 1] = b[:, 0] * 2
    c = b * b  # before b changes again
    b[2, ::2] = 7.0
    b[3] += b[0] * b[1]
    return (b * c).sum(0)


def assign_in_a_recurrence(x: Any) -> Any:
    y = dnp.zeros(6)
    y[0], y[1] = x[0], x[1]
    for k in range(2, 6):
        y[k] = dnp.sin(y[k - 1]) * x[2] + y[k - 2]
    return y


def assign_by_index_arrays(x: Any) -> Any:
    y = x * x
    y[np.array([2, 0])] = x[:2] * 3
    y[np.array([True, False, False])] *= 2
    return y * x


def assign_to_the_argument(x: Any) -> Any:
    y = x * 1
    y[0] = y[1] * y[2]
    y[1] = y[0] * y[0]
    return y


@pytest.mark.parametrize(
    "f", [assign_elements, assign_slices, assign_in_a_recurrence, assign_by_index_arrays, assign_to_the_argument]
)
def test_assignment(f: Any) -> None:
    check_derivatives(f, np.array([0.7, -1.3, 0.4]), rtol=1e-5, atol=1e-6)


def test_assignment_leaves_the_input_alone() -> None:
    x = dt.dlarray([1.0, 2.0])

    def f(x: Any) -> Any:
        y = x[:] * 1.0
        y[0] = 5.0
        return (y * x).sum()

    close(dt.grad(f)(x), np.array([5.0, 4.0]))
    close(x, np.array([1.0, 2.0]))


# ---- custom rules and checkpoints -------------------------------------------------------------------------


def test_custom_rules_are_used() -> None:
    calls = []

    @dt.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return x * y

    f.defvjp(lambda x, y: (x * y, (x, y)), lambda saved, ct: (calls.append("vjp"), (100 * ct * saved[1], None))[1])
    close(dt.grad(f, argnums=(0, 1))(2.0, 3.0), (300.0, 0.0))
    assert calls == ["vjp"]

    @dt.custom_jvp
    def g(p: Any) -> Any:
        return {"y": p["a"] * p["b"]}

    g.defjvp(lambda primals, t: (g(*primals), {"y": 100 * t[0]["a"] * primals[0]["b"]}))
    p = {"a": np.array([1.0, 2.0]), "b": dt.dlarray([3.0, 4.0])}
    p = dt.tree.tree_map(dt.dlarray, p)
    close(dt.grad(lambda p: g(p)["y"].sum())(p), {"a": np.array([300.0, 400.0]), "b": np.zeros(2)})
    close(dt.jvp(g, (p,), (p,))[1], {"y": np.array([300.0, 800.0])})
    close(dt.jacfwd(g)(p)["y"]["a"], np.diag([300.0, 400.0]))


def test_second_derivatives_of_a_custom_vjp() -> None:
    f = _custom_vjp(lambda x: dnp.sin(x))
    x = np.array(0.3)
    close(dt.grad(dt.grad(f))(x), -np.sin(x))
    close(dt.hessian(f)(x), -np.sin(x))
    close(dt.hvp(f)(x, 2.0), -2 * np.sin(x))


def test_a_checkpoint_sees_what_the_function_closes_over() -> None:
    def f(x: Any, w: Any) -> Any:
        block = dt.checkpoint(lambda h: dnp.tanh(w @ h))
        for _ in range(4):
            x = block(x)
        return (x * x).sum()

    def plain(x: Any, w: Any) -> Any:
        for _ in range(4):
            x = dnp.tanh(w @ x)
        return (x * x).sum()

    x, w = np.array([0.3, -0.5]), np.array([[0.8, -0.4], [0.3, 0.9]])
    close(dt.grad(f, argnums=(0, 1))(x, w), value(dt.grad(plain, argnums=(0, 1))(x, w)))
    close(dt.hessian(f, argnums=1)(x, w), value(dt.hessian(plain, argnums=1)(x, w)))
    check_derivatives(f, x, w)


def test_a_checkpoint_keeps_nothing() -> None:
    def block(x: Any) -> Any:
        for _ in range(100):
            x = dnp.sin(x) + x * 0.01
        return x

    def nodes(f: Any) -> int:
        scope = _core.Scope()
        try:
            f(scope.leaf(1.0))
            return scope.nodes
        finally:
            scope.close()

    assert nodes(dt.checkpoint(block)) < 5 < 300 < nodes(block)


# ---- check_grads ------------------------------------------------------------------------------------------


def wrong_vjp(x: Any) -> Any:
    f = dt.custom_vjp(lambda x: x**2)
    f.defvjp(lambda x: (x**2, x), lambda x, ct: (2.01 * x * ct,))
    return f(x)


def wrong_jvp(x: Any) -> Any:
    f = dt.custom_jvp(lambda x: x**2)
    f.defjvp(lambda p, t: (p[0] ** 2, -2 * p[0] * t[0]))
    return f(x)


def wrong_second_order(x: Any) -> Any:
    f = dt.custom_jvp(lambda x: x**3)
    f.defjvp(lambda p, t: (p[0] ** 3, 3 * dt.stop_gradient(p[0]) ** 2 * t[0]))
    return f(x)


def test_check_grads_passes_what_is_right() -> None:
    dt.check_grads(lambda p, x: network(p, x), (PARAMS, X), order=3)
    dt.check_grads(lambda x: {"a": x, "b": x.sum() ** 2}, (X,), order=2)


@pytest.mark.parametrize("point", [1.3, [1.3, -0.4]])
def test_check_grads_catches_wrong_rules(point: Any) -> None:
    x = np.array(point)
    with pytest.raises(dt.GradientError, match="reverse-mode derivative of order 1"):
        dt.check_grads(wrong_vjp, (x,), modes="rev")
    with pytest.raises(dt.GradientError, match="forward-mode derivative of order 1 of out"):
        dt.check_grads(wrong_jvp, (x,))
    with pytest.raises(dt.GradientError, match="reverse-mode derivative of order 1"):
        dt.check_grads(wrong_jvp, (x,), modes=["rev"])
    dt.check_grads(wrong_second_order, (x,))
    with pytest.raises(dt.GradientError, match="order 2"):
        dt.check_grads(wrong_second_order, (x,), order=2)


def test_check_grads_names_the_output() -> None:
    with pytest.raises(dt.GradientError, match=r"out\['bad'\]"):
        dt.check_grads(lambda x: {"good": x, "bad": wrong_jvp(x)}, (1.0,))


# ---- deep graphs ------------------------------------------------------------------------------------------

DEPTH = 200_000


def recurrence(x: Any) -> Any:
    """About x0 + c t in the end, in DEPTH nodes."""
    y = x
    for _ in range(DEPTH // 2):
        y = y * 0.99999 + x
    return y


RATIO = 0.99999
SLOPE = RATIO ** (DEPTH // 2) + (1 - RATIO ** (DEPTH // 2)) / (1 - RATIO)


@pytest.mark.parametrize("name", [*DERIVATIVES, "checkpoint", "custom_jvp", "Dual"])
def test_deep_scalar_graphs(name: str) -> None:
    if name == "Dual":
        slope = recurrence(Dual(1.0, 1.0)).tangent
    elif name in DERIVATIVES:
        slope = DERIVATIVES[name](recurrence)(1.0)
    else:
        slope = dt.grad(TRANSFORMATIONS[name][0](recurrence))(1.0)
    assert float(slope) == pytest.approx(SLOPE, rel=1e-9)


@pytest.mark.parametrize(
    "second",
    [
        dt.hessian,
        lambda f: lambda x: dt.hvp(f)(x, 1.0),
        lambda f: dt.grad(dt.grad(f)),
        lambda f: dt.jacfwd(dt.grad(f)),
        lambda f: dt.grad(lambda x: dt.jvp(f, (x,), (1.0,))[1]),
        lambda f: _dlfeval(_dlfeval(f)),
    ],
    ids=["hessian", "hvp", "grad-grad", "jacfwd-grad", "grad-jvp", "dlfeval"],
)
def test_deep_second_derivatives(second: Any) -> None:
    assert float(second(lambda x: recurrence(x) * x)(1.0)) == pytest.approx(2 * SLOPE, rel=1e-9)


def test_deep_array_graphs() -> None:
    close(dt.grad(lambda x: recurrence(x).sum())(np.ones(2)), np.full(2, SLOPE), rtol=1e-9)
