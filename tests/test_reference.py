# SPDX-License-Identifier: MIT
"""The pure-Python reference is itself checked: known numbers, finite differences, and second opinions.

An oracle that nobody checks is a rumour.  Where to start: `UNARY`, the interior points at which every
function is differentiated three times over.
"""

from __future__ import annotations

import importlib.util
import math
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load() -> ModuleType:
    """Import bench.reference by its path: the bench is no part of the wheel."""
    folder = Path(__file__).resolve().parents[1] / "bench" / "reference"
    spec = importlib.util.spec_from_file_location(
        "bench_reference", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


reference = _load()
dual, lbfgs, optim = reference.dual, reference.lbfgs, reference.optim
rules, special, tape, updates = reference.rules, reference.special, reference.tape, reference.updates


def seed_loss(x1, x2):
    return (x2 - x1**2) ** 2 + (1 - x1) ** 2


def descend(iterations, rate):
    """The blog post's loop on the tape; `rate` is a function of the iteration."""
    x1 = x2 = 2.0
    slope = tape.value_and_grad(seed_loss)
    for k in range(1, iterations + 1):
        _, (d1, d2) = slope(x1, x2)
        x1, x2 = x1 - rate(k) * d1, x2 - rate(k) * d2
    return x1, x2, seed_loss(x1, x2)


@pytest.mark.parametrize(
    ("rate", "iterations", "x1", "x2", "loss"),
    [
        (lambda k: 0.1, 1, 0.19999999999999996, 2.4, 6.2096),
        (lambda k: 0.1, 100, 1.0088382026363243, 1.0213919187601477, 9.1344502139361692e-05),
        (lambda k: 0.2, 100, 0.74077812798442277, 0.89232438153384408, 0.18523779887377523),
        (
            lambda k: 0.2 / (1 + 0.01 * k),
            100,
            0.99768004293670065,
            0.99440287792450088,
            6.3087805718056583e-06,
        ),
        (
            lambda k: 0.2 / (1 + 0.01 * (k - 1)),
            100,
            0.99762603299268759,
            0.99427266292145455,
            6.6060207563587772e-06,
        ),
    ],
)
def test_the_three_runs_of_the_post(rate, iterations, x1, x2, loss):
    got = descend(iterations, rate)
    assert got[:2] == pytest.approx((x1, x2), abs=1e-12, rel=0)
    assert got[2] == pytest.approx(loss, rel=1e-9)


def test_field_and_second_derivatives_of_the_post():
    points = {
        (2.0, 2.0): (18.0, -4.0),
        (0.0, 0.0): (-2.0, 0.0),
        (-1.0, 2.0): (0.0, 2.0),
        (1.0, 1.0): (0.0, 0.0),
    }
    for point, expected in points.items():
        assert tape.grad(seed_loss)(*point) == expected
    assert tape.hessian(seed_loss)(2.0, 2.0) == [[42.0, -8.0], [-8.0, 2.0]]
    assert tape.hessian(seed_loss)(1.0, 1.0) == [[10.0, -4.0], [-4.0, 2.0]]


def test_documented_gradients():
    value, gradient = tape.value_and_grad(lambda a, b: 100 * (b - a**2) ** 2 + (1 - a) ** 2)(-1.0, 2.0)
    assert (value, gradient) == (104.0, (396.0, 200.0))
    assert [dual.derivative(lambda x: x**3, order)(5.0) for order in (0, 1, 2, 3, 4)] == [125, 75, 30, 6, 0]
    assert tape.grad(lambda x, y: x * x)(3.0, 4.0) == (6.0, 0.0)
    assert tape.value_and_grad(lambda x: 7.0)(3.0) == (7.0, (0.0,))


def at(points, names):
    return dict.fromkeys(names.split(), points)


# Interior points of every function: away from kinks, poles and the ends of the domain.
EVERYWHERE = (-1.7, -0.4, 0.3, 2.2)
POSITIVE = (0.2, 0.9, 3.5)
INSIDE = (-0.8, -0.1, 0.6)
UNARY = {
    **at(
        EVERYWHERE,
        "square exp exp2 expm1 sin cos tan arctan deg2rad rad2deg sinh cosh tanh arcsinh sinc erf erfc "
        "logistic softplus absolute sign floor ceil trunc rint relu leakyrelu gelu reciprocal cbrt",
    ),
    **at(POSITIVE, "sqrt log log2 log10 log1p gammaln digamma"),
    **at(INSIDE, "arcsin arccos arctanh"),
    **at((1.1, 2.0, 9.0), "arccosh"),
}
BINARY = {
    **at(
        ((0.7, 1.9), (-2.3, 0.8), (1.5, -0.4)),
        "arctan2 hypot logaddexp logaddexp2 heaviside copysign floor_divide remainder fmod maximum minimum",
    ),
    **at(((0.7, 1.9), (2.5, -3.0), (1.2, 0.4)), "power"),
    **at(((0.7, 1.9), (-2.3, 0.8)), "xlogy"),
}


def central(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


@pytest.mark.parametrize("name", UNARY)
def test_unary_rule_against_differences_in_every_mode(name):
    f = getattr(rules, name)
    for x in UNARY[name]:
        first = dual.derivative(f)(x)
        assert first == pytest.approx(central(f, x), rel=1e-7, abs=1e-8)
        assert tape.grad(f)(x)[0] == first
        second = dual.derivative(f, 2)(x)
        assert second == pytest.approx(central(dual.derivative(f), x), rel=1e-7, abs=1e-8)
        assert tape.hessian(f)(x)[0][0] == pytest.approx(second, rel=1e-13)
        reverse_inside = dual.derivative(lambda v, f=f: tape.grad(f)(v)[0])(x)
        reverse_outside = tape.grad(dual.derivative(f))(x)[0]
        assert (reverse_inside, reverse_outside) == pytest.approx((second, second), rel=1e-13)
        third = dual.derivative(f, 3)(x)
        assert third == pytest.approx(central(dual.derivative(f, 2), x), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", BINARY)
def test_binary_rule_against_differences_in_every_mode(name):
    f = getattr(rules, name)
    for a, b in BINARY[name]:
        along_a = central(lambda v, f=f, b=b: f(v, b), a)
        along_b = central(lambda v, f=f, a=a: f(a, v), b)
        assert tape.grad(f)(a, b) == pytest.approx((along_a, along_b), rel=1e-7, abs=1e-8)
        assert dual.jvp(f, (a, b), (0.3, -2.0))[1] == pytest.approx(0.3 * along_a - 2 * along_b, rel=1e-7, abs=1e-7)
        rows = tape.hessian(f)(a, b)
        for row, step in zip(rows, ((1.0, 0.0), (0.0, 1.0)), strict=True):
            moved = [tape.grad(f)(a + s * step[0], b + s * step[1]) for s in (1e-5, -1e-5)]
            expected = [(p - q) / 2e-5 for p, q in zip(*moved, strict=True)]
            assert row == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_operators_agree_between_modes():
    def f(x, y):
        return -(2.0 - x) / (3.0 * y - 1.0) + abs(x - y) * 2.0**x - x**y + (1.0 / y) ** 2 + (+x) % 0.75 - x**-2

    point = (1.3, 0.7)
    reverse = tape.grad(f)(*point)
    forward = tuple(dual.jvp(f, point, e)[1] for e in ((1.0, 0.0), (0.0, 1.0)))
    assert reverse == pytest.approx(forward, rel=1e-14)
    differences = central(lambda x: f(x, 0.7), 1.3), central(lambda y: f(1.3, y), 0.7)
    assert reverse == pytest.approx(differences, rel=1e-8)


def test_kinks_and_strong_zeros():
    assert dual.derivative(rules.absolute)(0.0) == tape.grad(abs)(0.0)[0] == 0.0
    assert dual.derivative(rules.relu)(0.0) == 0.0
    assert tape.grad(rules.maximum)(2.0, 2.0) == tape.grad(rules.minimum)(2.0, 2.0) == (0.5, 0.5)
    assert dual.derivative(lambda x: rules.power(x, 0.0))(0.0) == 0.0
    assert tape.grad(rules.hypot)(0.0, 0.0) == (0.0, 0.0)
    assert tape.grad(lambda x: rules.clip(x, 0.0, 1.0))(0.4) == (1.0,)
    assert tape.grad(lambda x: rules.clip(x, 0.0, 1.0))(1.4) == (0.0,)
    assert tape.grad(lambda x: rules.where(x > 1.0, x * math.inf, 3.0 * x))(0.5) == (3.0,)
    assert dual.derivative(rules.sinc, 2)(0.0) == pytest.approx(-(math.pi**2) / 3, rel=1e-15)


def test_nested_derivatives_are_not_confused():
    # d/dx [ x * d/dy (x + y) ] at x = 1 is 1; a tangent taken for another's gives 2.
    assert dual.derivative(lambda x: x * dual.derivative(lambda y: x + y)(1.0))(1.0) == 1.0
    assert tape.grad(lambda x: x * dual.derivative(lambda y: x * y * y)(3.0))(2.0) == (24.0,)
    assert dual.derivative(lambda x: x * tape.grad(lambda y: x * y * y)(3.0)[0])(2.0) == 24.0
    assert dual.derivative(lambda x: dual.derivative(lambda y: rules.sin(x * y))(x), 2)(0.5) == pytest.approx(
        central(lambda v: central(lambda x: x * math.cos(x * x), v, 1e-4), 0.5, 1e-4), rel=1e-5
    )


def test_tape_is_left_closed():
    with pytest.raises(RuntimeError, match="tapes do not nest"):
        tape.grad(lambda x: tape.grad(lambda y: x * y)(1.0)[0])(1.0)
    with pytest.raises(ZeroDivisionError):
        tape.grad(lambda x: x / 0.0)(1.0)
    assert tape.grad(lambda x: x * x)(3.0) == (6.0,)


def test_long_tape_needs_no_recursion():
    def recurrence(x):
        for _ in range(20_000):
            x = x * 0.5 + 1.0 / x
        return x

    assert tape.value_and_grad(recurrence)(2.0)[0] == pytest.approx(math.sqrt(2.0), rel=1e-15)


@pytest.mark.parametrize(
    ("x", "value", "slope"),
    # DLMF 5.4.12-5.4.17: digamma and trigamma at 1, 1/2 and by recurrence and reflection at -1/2.
    [
        (1.0, -0.57721566490153286, math.pi**2 / 6),
        (0.5, -0.57721566490153286 - 2 * math.log(2.0), math.pi**2 / 2),
        (-0.5, -0.57721566490153286 - 2 * math.log(2.0) + 2, math.pi**2 / 2 + 4),
    ],
)
def test_digamma_at_known_points(x, value, slope):
    assert special.digamma_value(x) == pytest.approx(value, rel=1e-14)
    assert special.polygamma_value(1, x) == pytest.approx(slope, rel=1e-14)


@pytest.mark.parametrize("x", [0.0, -1.0, -7.0])
def test_digamma_poles_raise(x):
    with pytest.raises(ValueError, match="domain"):
        special.digamma_value(x)
    with pytest.raises(ValueError, match="domain"):
        special.polygamma_value(1, x)


def optimize(update, iterations=100):
    """Run one rule on both coordinates of the post's problem; `update(param, grad, state, k)`."""
    point, states = [2.0, 2.0], [None, None]
    for k in range(1, iterations + 1):
        slope = tape.grad(seed_loss)(*point)
        for i in (0, 1):
            point[i], states[i] = update(point[i], slope[i], states[i], k)
    return *point, seed_loss(*point)


def adam_with(mode):
    def update(p, g, s, k):
        p, m, v = updates.adam(p, g, *(s or (None, None)), k, learn_rate=0.1, epsilon_mode=mode)
        return p, (m, v)

    return update


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        (
            lambda p, g, s, k: updates.sgdm(p, g, s, 0.01),
            (0.990249801890134, 0.982953662118219, 1.00631206318675e-4),
        ),
        (
            lambda p, g, s, k: updates.sgdm(p, g, s, 0.1),
            (1.02351415338759, 1.05866829611671, 6.75838617908514e-4),
        ),
        (
            lambda p, g, s, k: updates.sgdm(p, g, s, 0.1, 0.0),
            (1.0088382026363243, 1.0213919187601477, 9.13445021e-05),
        ),
        (
            lambda p, g, s, k: updates.rmsprop(p, g, s, 0.01),
            (1.39799998871564, 2.07519897026659, 0.172995423481777),
        ),
        (adam_with("standard"), (1.05770841842613, 1.1345282181228, 0.00357930529665039)),
        (adam_with("hat"), (1.05770842238015, 1.1345282299688, 0.00357930586289829)),
    ],
)
def test_updates_on_the_posts_problem(update, expected):
    assert optimize(update) == pytest.approx(expected, rel=1e-9)


def test_documented_single_updates():
    step, avg_g, avg_sqg = updates.adam(0.0, 1.0, None, None, 1, 0.05, 0.75, 0.95)
    assert (step, avg_g, avg_sqg) == pytest.approx((-0.05, 0.25, 0.05), rel=1e-7)
    assert updates.sgdm(0.0, 1.0, None, 0.05, 0.95) == (-0.05, -0.05)
    with pytest.raises(ValueError, match="counts from 1"):
        updates.adam(0.0, 1.0, None, None, 0)


TORCH_CASES = [
    ("SGD", {}, {}),
    ("SGD", {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
    ("SGD", *[{"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}] * 2),
    ("Adam", {"weight_decay": 0.1}, {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}, {"amsgrad": True}),
    ("AdamW", {}, {}),
    ("NAdam", {}, {}),
    ("RAdam", {"learn_rate": 0.01}, {"lr": 0.01}),
    ("Adamax", {}, {}),
    ("RMSprop", {}, {}),
    ("RMSprop", {"momentum": 0.5, "centered": True}, {"momentum": 0.5, "centered": True}),
    ("Adagrad", {"learn_rate_decay": 0.01}, {"lr_decay": 0.01}),
    ("Adadelta", {}, {}),
    ("Rprop", {}, {}),
]


@pytest.mark.parametrize(("name", "ours", "theirs"), TORCH_CASES)
def test_optimizer_against_torch(name, ours, theirs):
    torch = pytest.importorskip("torch")
    default = torch.get_default_dtype()
    # NAdam keeps its product of momenta in the default dtype, float32, unless told otherwise.
    torch.set_default_dtype(torch.float64)
    try:
        param = torch.tensor([2.0, 2.0], requires_grad=True)
        optimizer = getattr(torch.optim, name)([param], **theirs)
        rule = getattr(optim, name)(**ours)
        point = [2.0, 2.0]
        states = [rule.init(x) for x in point]
        for _ in range(200):
            optimizer.zero_grad()
            seed_loss(*param).backward()
            optimizer.step()
            slope = tape.grad(seed_loss)(*point)
            for i in (0, 1):
                point[i], states[i] = rule.update(point[i], slope[i], states[i])
        assert point == pytest.approx(param.tolist(), abs=1e-10)
    finally:
        torch.set_default_dtype(default)


def test_optimizers_by_their_first_steps():
    # With gradient 1 the first step of each is known in closed form (bias corrections cancel the averages).
    first = {
        "SGD": 1e-3,
        "Adam": 1e-3,
        "AdamW": 1e-3,
        "Adamax": 2e-3,
        "Adagrad": 1e-2,
        "Rprop": 1e-2,
        "Lion": 1e-4,
    }
    for name, step in first.items():
        rule = getattr(optim, name)()
        assert rule.update(0.0, 1.0, rule.init(0.0))[0] == pytest.approx(-step, rel=1e-6)
    assert optim.RMSprop().update(0.0, 1.0, (0.0, 0.0, 0.0))[0] == pytest.approx(-0.1, rel=1e-6)
    assert optim.RAdam().update(0.0, 1.0, (0, 0.0, 0.0))[0] == pytest.approx(-1e-3, rel=1e-12)
    assert optim.Adadelta().update(0.0, 1.0, (0.0, 0.0))[0] == pytest.approx(-math.sqrt(1e-6 / (0.1 + 1e-6)), rel=1e-12)


def test_lbfgs_finds_the_minimum_of_a_quadratic():
    rng = random.Random(0)
    scales = [10.0 ** rng.uniform(-1, 1) for _ in range(6)]
    point = [1.0] * 6
    rule = lbfgs.LBFGS(history_size=10)
    for _ in range(40):
        point = rule.update(point, [s * (x - 3.0) for s, x in zip(scales, point, strict=True)])
    assert point == pytest.approx([3.0] * 6, abs=1e-9)
