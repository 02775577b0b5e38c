# SPDX-License-Identifier: MIT
"""Loops that stay rolled: values and derivatives against the same loops in Python, in programs and in lanes."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numeric import check_derivatives, close

import dualtape as dt
from dualtape import _core
from dualtape import numpy as dnp

RATES = np.linspace(1.0, 3.0, 21)
W = np.random.default_rng(0).normal(size=(3, 3)) * 0.5
XS = np.random.default_rng(1).normal(size=(12, 3))


def number(x: Any) -> Any:
    return np.asarray(dt.extractdata(x))


# ---- the same loops, rolled and in Python ---------------------------------------------------------------------


def network(scan: Callable[..., Any]) -> Callable[..., Any]:
    """A small recurrent network: the sum of all outputs, and a bit of the last state."""

    def f(w: Any, h: Any, xs: Any) -> Any:
        def body(h: Any, x: Any) -> Any:
            h = dnp.tanh(w @ h + x)
            return h, (h * h).sum()

        h, ys = scan(body, h, xs)
        return ys.sum() + h[0]

    return f


def python_scan(f: Callable[..., Any], init: Any, xs: Any, reverse: bool = False) -> Any:
    carry, ys = init, []
    for k in reversed(range(len(xs))) if reverse else range(len(xs)):
        carry, y = f(carry, xs[k])
        ys.append(y)
    return carry, dnp.stack(ys[::-1] if reverse else ys)


def backwards(scan: Callable[..., Any]) -> Callable[..., Any]:
    return lambda f, init, xs: scan(f, init, xs, reverse=True)


def root_by_newton(a: Any) -> Any:
    return dt.while_loop(lambda x: abs(x * x - a) > 1e-9, lambda x: 0.5 * (x + a / x), 1.0)


def doublings(a: Any) -> Any:
    return dt.while_loop(lambda v: v < 100.0, lambda v: v * 2.0, a)


INPUTS = (dt.dlarray(W), dt.dlarray([0.1, -0.2, 0.3]), dt.dlarray(XS))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("argument", [0, 1, 2])
def test_a_scan_has_the_derivatives_of_the_loop_in_python(argument: int, reverse: bool) -> None:
    rolled, plain = (network(backwards(scan) if reverse else scan) for scan in (dt.scan, python_scan))
    close(rolled(*INPUTS), plain(*INPUTS), 1e-14)
    close(dt.grad(rolled, argument)(*INPUTS), dt.grad(plain, argument)(*INPUTS), 1e-13)
    close(dt.jacfwd(rolled, argument)(*INPUTS), dt.grad(plain, argument)(*INPUTS), 1e-13)


def test_second_derivatives_in_every_nesting() -> None:
    def of(scan: Callable[..., Any]) -> Callable[[Any], Any]:
        return lambda w: network(scan)(w, *INPUTS[1:])

    rolled, plain = of(dt.scan), of(python_scan)
    want = dt.hessian(plain)(INPUTS[0])
    close(dt.hessian(rolled)(INPUTS[0]), want, 1e-12)
    close(dt.jacfwd(dt.jacfwd(rolled))(INPUTS[0]), want, 1e-12)
    close(dt.jacrev(dt.jacrev(rolled))(INPUTS[0]), want, 1e-12)
    close(dt.jacrev(dt.jacfwd(rolled))(INPUTS[0]), want, 1e-12)
    close(dt.jacfwd(dt.jacrev(rolled))(INPUTS[0]), want, 1e-12)

    def mixed(scan: Callable[..., Any]) -> Callable[[Any], Any]:  # entries matter to the second derivative alone
        return lambda xs: (dt.grad(network(scan))(*INPUTS[:2], xs) ** 2).sum()

    close(dt.grad(mixed(dt.scan))(INPUTS[2]), dt.grad(mixed(python_scan))(INPUTS[2]), 1e-12)
    close(dt.jacfwd(mixed(dt.scan))(INPUTS[2]), dt.grad(mixed(python_scan))(INPUTS[2]), 1e-12)


def test_third_derivatives() -> None:
    def f(a: Any) -> Any:
        return dt.fori_loop(0, 10, lambda i, x: x * a, 1.0)

    third = dt.grad(dt.grad(dt.grad(f)))(2.0)
    close(third, 10 * 9 * 8 * 2.0**7, 1e-13)
    close(dt.jvp(dt.grad(dt.grad(f)), (2.0,), (1.0,))[1], third, 1e-13)


def test_a_while_loop_whose_count_depends_on_the_data() -> None:
    close(number(root_by_newton(9.0)), 3.0, 1e-9)
    close(dt.grad(root_by_newton)(9.0), 1 / 6, 1e-9)
    close(dt.grad(dt.grad(root_by_newton))(9.0), -(9**-1.5) / 4, 1e-7)
    for a, factor in ((3.0, 64.0), (60.0, 2.0), (100.0, 1.0)):  # the last one takes no step at all
        assert float(dt.grad(doublings)(a)) == factor
        assert float(dt.jvp(doublings, (a,), (1.0,))[1]) == factor
        assert float(doublings(a)) == a * factor


def test_every_derivative_by_differences() -> None:
    def f(a: Any, x0: Any) -> Any:
        return dt.while_loop(lambda s: s["x"] < 3.0, lambda s: {"x": s["x"] + dnp.sin(s["x"]) * a}, {"x": x0})["x"]

    check_derivatives(f, dt.dlarray(0.3), dt.dlarray(0.4))


# ---- what the body may be -------------------------------------------------------------------------------------


def test_values_from_outside_of_the_body_are_differentiated() -> None:
    def total(body: Callable[[Any, Any], Any]) -> float:
        return float(dt.grad(lambda a: dt.scan(lambda c, x: (body(c, a), None), 1.0, length=2)[0])(3.0))

    assert total(lambda c, a: c + a * a) == 12.0  # a * a belongs to no step
    assert total(lambda c, a: a) == 1.0
    assert total(lambda c, a: c + dt.grad(lambda z: z * z * a)(a)) == 24.0
    assert total(lambda c, a: c + dt.grad(lambda z: z * z * c)(a)) == 28.0
    assert total(lambda c, a: c + dt.jvp(lambda z: z * z * c * a, (a,), (1.0,))[1]) == 456.0
    assert total(lambda c, a: c * dt.stop_gradient(a) * a) == 9 * 6.0
    assert total(lambda c, a: c * dt.fori_loop(0, 2, lambda i, s: s * a, 1.0)) == 4 * 27.0
    assert float(dt.grad(lambda a: dt.scan(lambda c, x: (c, a * a), 0.0, length=3)[1].sum())(3.0)) == 18.0


def test_stop_gradient_in_a_body_stops_higher_derivatives_too() -> None:
    def f(a: Any) -> Any:
        return dt.fori_loop(0, 2, lambda i, x: x * dt.stop_gradient(x) * a, 1.0)

    def plain(a: Any) -> Any:
        x = 1.0 * a
        return x * dt.stop_gradient(x) * a

    assert float(dt.grad(f)(2.0)) == float(dt.grad(plain)(2.0))
    assert float(dt.grad(dt.grad(f))(2.0)) == float(dt.grad(dt.grad(plain))(2.0))


def test_loops_in_loops() -> None:
    def f(a: Any) -> Any:
        return dt.scan(lambda c, x: (c * dt.fori_loop(0, 3, lambda i, s: s * a, x), None), a, dt.dlarray([1.0, 2.0]))[0]

    close(f(2.0), 2 * 2.0**7, 1e-14)
    close(dt.grad(f)(2.0), 14 * 2.0**6, 1e-14)
    close(dt.grad(dt.grad(f))(2.0), 84 * 2.0**5, 1e-14)


def test_assignments_in_a_body() -> None:
    def f(a: Any) -> Any:
        def body(c: Any, x: Any) -> Any:
            v = dnp.zeros(3)
            v[0], v[1], v[2] = c, a, x
            return v.sum() * c, v

        c, ys = dt.scan(body, 1.0, dt.dlarray([1.0, 2.0]))
        return c + ys.sum()

    assert float(dt.grad(f)(3.0)) == 23.0
    assert float(dt.grad(dt.grad(f))(3.0)) == 4.0


def test_the_state_is_any_tree() -> None:
    out = dt.fori_loop(
        0,
        3,
        lambda i, s: {"n": s["n"] + 1, "v": s["v"] * 2.0, "big": s["v"] > 3.0, "pair": (s["pair"][1], s["pair"][0])},
        {
            "n": 0,
            "v": dt.dlarray([1.0, 2.0]),
            "big": np.array([False, False]),
            "pair": (1.0, np.float32(2.0) * 0 + 1.0),
        },
    )
    assert float(out["n"]) == 3.0
    np.testing.assert_array_equal(number(out["v"]), [8.0, 16.0])
    np.testing.assert_array_equal(number(out["big"]), [True, True])


def test_dtypes_and_labels_stay() -> None:
    x = dt.dlarray(np.ones((2, 3), np.float32), "CB")
    out = dt.fori_loop(0, 2, lambda i, s: s * 2.0, x)
    assert out.dtype == np.float32
    assert out.dims == "CB"
    slope = dt.grad(lambda a: dt.fori_loop(0, 2, lambda i, s: s * a, x).sum())(np.float32(3.0))
    assert slope.dtype == np.float32
    assert float(slope) == 36.0
    assert dt.fori_loop(0, 2, lambda i, s: s + x.sum(), 0.0).dtype == np.float32  # the number takes the dtype it meets


def test_no_step_at_all() -> None:
    carry, ys = dt.scan(lambda c, x: (c * x.sum(), x), 2.0, np.zeros((0, 3)))
    assert float(carry) == 2.0
    assert ys.shape == (0, 3)
    assert float(dt.grad(lambda a: dt.fori_loop(3, 3, lambda i, s: s * a, a))(2.0)) == 1.0


@pytest.mark.parametrize(
    ("body", "slope"),
    [
        (lambda i, s, v: s + v[int(i)] ** 2, [2.0, 4.0, 6.0]),
        (lambda i, s, v: s + v[0] if i % 2 == 0 else s * v[1], [2.0 + 1.0, 2.0 - 1.0, 0.0]),
        (lambda i, s, v: s + (v.sum() if i < 2 else v[3 - int(i)]), [2.0, 3.0, 2.0]),
        (lambda i, s, v: s + float(s > 100.0) + v[2], [0.0, 0.0, 3.0]),
    ],
)
def test_bodies_that_cannot_be_traced_run_step_by_step(body: Callable[..., Any], slope: list[float]) -> None:
    got = dt.grad(lambda v: dt.fori_loop(0, 3, lambda i, s: body(i, s, v), 0.0))(dt.dlarray([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(number(got), slope)


@pytest.fixture
def only_rolled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("the loop ran step by step")

    monkeypatch.setattr(dt.rolled, "_again", refuse)


@pytest.mark.usefixtures("only_rolled")
def test_an_index_may_be_computed() -> None:
    v, m = dt.dlarray([1.0, 2.0, 3.0]), dt.dlarray(np.arange(12.0).reshape(3, 4))

    def squares(v: Any) -> Any:
        return dt.fori_loop(0, 3, lambda i, s: s + v[i] ** 2, 0.0)

    def neighbours(v: Any) -> Any:
        return dt.fori_loop(0, 2, lambda i, s: s + v[i] * v[i + 1] * v[-1 - i], 0.0)

    def rows(m: Any) -> Any:
        return dt.fori_loop(0, 3, lambda i, s: s + m[i, 1:3].sum() * m[0, i], 0.0)

    def rows_in_python(m: Any) -> Any:
        return sum(m[i, 1:3].sum() * m[0, i] for i in range(3))

    np.testing.assert_array_equal(number(dt.grad(squares)(v)), [2.0, 4.0, 6.0])
    np.testing.assert_array_equal(number(dt.hessian(squares)(v)), 2.0 * np.eye(3))
    assert float(neighbours(v)) == 18.0
    np.testing.assert_array_equal(number(dt.grad(neighbours)(v)), [6.0, 15.0, 6.0])
    close(dt.grad(rows)(m), dt.grad(rows_in_python)(m), 1e-14)
    with pytest.raises(dt.ShapeError, match="out of bounds"):
        dt.fori_loop(0, 4, lambda i, s: s + v[i], 0.0)


def collatz(n: Any) -> Any:
    def body(s: Any) -> Any:
        if s[0] % 2 == 0:
            return s[0] / 2, s[1] + 1
        return 3 * s[0] + 1, s[1] + 1

    return dt.while_loop(lambda s: s[0] > 1 and s[1] < 1000, body, (n, 0))[1]


@pytest.mark.usefixtures("only_rolled")
def test_bodies_decide_in_each_step_and_lane() -> None:
    def alternating(a: Any) -> Any:
        return dt.fori_loop(0, 5, lambda i, s: s * a if i % 2 == 0 else s + a, 1.0)

    def in_python(a: Any) -> Any:
        s = 1.0
        for i in range(5):
            s = s * a if i % 2 == 0 else s + a
        return s

    for derivative in (lambda f: f, dt.grad, lambda f: dt.grad(dt.grad(f))):
        close(number(derivative(alternating)(2.0)), number(derivative(in_python)(2.0)), 1e-14)
    counts = {1.0: 0, 7.0: 16, 27.0: 111}
    for n, count in counts.items():
        assert float(collatz(n)) == count
    runs = dt.sweep(lambda x, n: (x, collatz(n)), 0.0, iterations=1, over=dt.grid(n=np.array(list(counts))))
    np.testing.assert_array_equal(number(runs.value), list(counts.values()))


@pytest.mark.usefixtures("only_rolled")
def test_a_way_that_is_not_taken_does_no_harm() -> None:
    v = dt.dlarray([1.0, 2.0, 3.0])

    def guarded(v: Any) -> Any:
        return dt.fori_loop(0, 5, lambda i, s: s + v[i] ** 2 if i < 3 else s, 0.0)

    def safe_log(a: Any) -> Any:
        return dt.fori_loop(0, 3, lambda i, s: s + dnp.log(s) if s > 0 else s, a)

    np.testing.assert_array_equal(number(dt.grad(guarded)(v)), [2.0, 4.0, 6.0])
    assert float(dt.grad(safe_log)(-1.0)) == 1.0
    _, flags = dt.scan(lambda c, x: (c, x > 1 if x > 0 else x < -1), 0.0, dt.dlarray([2.0, 0.5, -0.5, -2.0]))
    np.testing.assert_array_equal(number(flags), [True, False, False, True])


def test_errors_of_a_way_that_is_not_taken_are_none() -> None:
    def body(i: Any, s: Any) -> Any:
        if s > 10:
            raise OverflowError("too large")
        return s * 2

    assert float(dt.fori_loop(0, 3, body, 1.0)) == 8.0
    with pytest.raises(OverflowError, match="too large"):
        dt.fori_loop(0, 9, body, 1.0)


def test_rules_of_their_own_and_random_numbers_run_step_by_step() -> None:
    @dt.custom_vjp
    def clipped(x: Any) -> Any:
        return x

    clipped.defvjp(lambda x: (x, None), lambda _, ct: (dnp.clip(ct, -1.0, 1.0),))
    assert float(dt.grad(lambda a: dt.fori_loop(0, 2, lambda i, s: clipped(s * a), 1.0))(3.0)) == 4.0
    dt.random.seed(3)
    _, drawn = dt.scan(lambda c, x: (c, dt.random.uniform()), 0.0, length=4)
    assert len(set(number(drawn).tolist())) == 4


def test_side_effects_are_no_secret() -> None:
    seen: list[int] = []

    def body(c: Any, x: Any) -> Any:
        seen.append(1)
        return c, x

    with pytest.raises(dt.TraceError, match="side effect"):
        dt.scan(body, 0.0, XS)


# ---- programs and lanes ---------------------------------------------------------------------------------------


def test_programs_keep_loops_rolled() -> None:
    program = dt.trace(dt.value_and_grad(root_by_newton), 4.0)
    for a in (2.0, 9.0, 1e4):
        for got, want in zip(program(a), dt.value_and_grad(root_by_newton)(a), strict=True):
            close(got, want, 1e-12)
    assert len(str(program).splitlines()) < 20  # whatever the number of steps
    assert "rolled_pull" in str(program)
    assert "while, " in str(program)
    assert "12 steps, " in str(dt.trace(lambda x: dt.fori_loop(0, 12, lambda i, s: s * 2.0, x), 1.0))
    again = pickle.loads(pickle.dumps(program))
    assert float(again(5.0)[1]) == float(program(5.0)[1])
    second = dt.trace(dt.grad(dt.grad(root_by_newton)), 4.0)
    close(second(9.0), -(9**-1.5) / 4, 1e-7)


def test_the_bound_of_a_traced_loop_may_be_traced() -> None:
    program = dt.trace(lambda n, a: dt.grad(lambda a: dt.fori_loop(0, n, lambda i, s: s * a, 1.0))(a), 3.0, 2.0)
    assert float(program(5.0, 2.0)) == 5 * 2.0**4


def descent(x: Any, a: Any) -> Any:
    loss, slope = dt.value_and_grad(lambda x: (root_by_newton(x) - a) ** 2)(x)
    return x - 2.0 * slope, loss


def learning(w: Any, rate: Any) -> Any:
    loss, slope = dt.value_and_grad(lambda w: network(dt.scan)(w, *INPUTS[1:]))(w)
    return w - 0.01 * rate * slope, loss


@pytest.mark.parametrize(("step", "start", "name"), [(descent, 2.0, "a"), (learning, dt.dlarray(W), "rate")])
def test_lanes_have_the_bits_of_runs_alone(step: Callable[..., Any], start: Any, name: str) -> None:
    runs = dt.sweep(step, start, iterations=6, over=dt.grid(**{name: RATES}))
    for k in (0, 7, 20):
        alone = dt.loop(step, start, iterations=6, **{name: float(RATES[k])})
        np.testing.assert_array_equal(number(runs.state)[k], number(alone.state))
        np.testing.assert_array_equal(number(runs.value)[k], number(alone.value))
    eager = dt.loop(step, start, iterations=6, compiled=False, **{name: float(RATES[7])})
    np.testing.assert_allclose(number(runs.state)[7], number(eager.state), rtol=1e-12)


def test_each_lane_has_its_own_count() -> None:
    def step(x: Any, a: Any) -> Any:
        return x, (doublings(a), dt.grad(doublings)(a))

    starts = np.concatenate([np.geomspace(0.01, 99.0, 50), [100.0, 200.0]])
    values, slopes = dt.sweep(step, 0.0, iterations=1, over=dt.grid(a=starts)).value
    factors = 2.0 ** np.maximum(np.ceil(np.log2(100.0 / starts)), 0)
    np.testing.assert_array_equal(number(slopes), factors)
    np.testing.assert_array_equal(number(values), starts * factors)


def test_lanes_that_do_not_come_to_a_loop_do_not_run_it() -> None:
    def step(x: Any, a: Any) -> Any:
        if a > 0:  # doublings would never end on the others
            return doublings(a) + 0.0 * x, dt.grad(doublings)(a)
        return 3.0 * a + 0.0 * x, a

    def later(x: Any, a: Any) -> Any:
        x = x + a
        return (doublings(x), x) if x > 0 else (x, x)

    lanes = np.linspace(-3.0, 3.0, 41)
    runs = dt.sweep(step, 0.0, iterations=2, over=dt.grid(a=lanes))
    want = [float(doublings(a)) if a > 0 else 3 * a for a in lanes]
    np.testing.assert_allclose(number(runs.state), want)
    runs = dt.sweep(later, 0.0, iterations=1, over=dt.grid(a=lanes))
    np.testing.assert_allclose(number(runs.state), [float(doublings(a)) if a > 0 else a for a in lanes])


# ---- memory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 3, 17, 1000, 100_000])
def test_long_loops(steps: int) -> None:
    """Each way of keeping states: all of them, some of them, and those of a count that is not known."""
    rates = dt.dlarray(0.5 + 0.5 * np.cos(np.arange(steps)) ** 2)

    def scanned(x: Any) -> Any:
        return dt.scan(lambda x, r: (dnp.sin(x) * r + 1.0, None), x, rates)[0]

    def counted(x: Any) -> Any:
        return dt.while_loop(lambda s: s[0] < steps, lambda s: (s[0] + 1.0, dnp.sin(s[1]) + 1.0), (0.0, x))[1]

    for f in (scanned, counted):
        value, tangent = dt.jvp(f, (0.3,), (1.0,))
        got, slope = dt.value_and_grad(f)(0.3)
        assert float(got) == float(value)
        np.testing.assert_allclose(float(slope), float(tangent), rtol=1e-9)


def resident(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith(field)).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="a peak of memory can only be reset on Linux")
def test_a_gradient_keeps_a_logarithm_of_the_states() -> None:
    """A state of 64 KiB, and so many steps that all of them together would need 650 MB."""

    def f(x: Any) -> Any:
        return dt.fori_loop(0, 10_000, lambda i, x: x * 0.999 + 0.001, x).sum()

    x = dt.dlarray(np.ones(8192))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak so far is forgotten
    before = resident("VmRSS")
    slope = dt.grad(f)(x)
    assert resident("VmHWM") - before < 150e6
    np.testing.assert_allclose(number(slope), np.full(8192, 0.999**10_000), rtol=1e-9)


# ---- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: dt.scan(lambda c, x: c, 0.0, XS), TypeError, "must return"),
        (lambda: dt.scan(lambda c, x: (c, x), 0.0), dt.ShapeError, "length="),
        (lambda: dt.scan(lambda c, x: (c, x), 0.0, XS, length=3), dt.ShapeError, "12 entries"),
        (lambda: dt.scan(lambda c, x: (c, x), 0.0, 1.0), dt.ShapeError, "first axis"),
        (lambda: dt.scan(lambda c, x: (c, x), 0.0, length=-1), dt.ShapeError, "0 or more"),
        (lambda: dt.scan(lambda c, x: (x, None), 0.0, XS), dt.ShapeError, "keep its shape"),
        (lambda: dt.scan(lambda c, x: ((c, c), None), 0.0, XS), ValueError, "keep its structure"),
        (lambda: dt.fori_loop(0, 2, lambda i, s: s > 1.0, dt.dlarray(2.0)), dt.DTypeError, "keep its dtype"),
        (lambda: dt.fori_loop(0.5, 2, lambda i, s: s, 0.0), TypeError, "whole numbers"),
        (lambda: dt.while_loop(lambda s: s, lambda s: s, dt.dlarray([1.0, 2.0])), TypeError, "one truth value"),
        (lambda: dt.while_loop(lambda s: "yes", lambda s: s, 0.0), TypeError, "one truth value"),
    ],
)
def test_errors_say_what_to_do(call: Callable[[], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()
    assert not _core.is_rolling()
    assert not _core.is_tracing()


def test_an_error_in_the_body_leaves_nothing_open() -> None:
    def body(c: Any, x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        dt.grad(lambda a: dt.scan(body, a, XS)[0])(1.0)
    assert not _core.is_rolling()
    assert float(dt.grad(doublings)(3.0)) == 64.0
