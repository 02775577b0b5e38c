# SPDX-License-Identifier: MIT
"""dlfeval, dlgradient, extractdata and stop_gradient: MATLAB's documented cases, containers, clean endings.

The three runs of the "Key Terms" post stand first; after them what goes in and comes out of dlfeval, what
dlgradient gives for every kind of input, and what is left behind when a function fails or lets traced values
escape.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dualtape as dt
from dualtape import _core

Pair = namedtuple("Pair", ["first", "second"])


@dataclasses.dataclass
class Layer:
    weights: Any
    name: str = "fc"


def number(x: Any) -> float:
    return float(dt.extractdata(x))


def no_tape_is_open() -> bool:
    scope = _core.Scope()
    try:
        return not scope.nested and scope.nodes == 0
    finally:
        scope.close()


@pytest.fixture(autouse=True)
def _clean_ending() -> Any:
    yield
    assert no_tape_is_open()


# ---- the documented runs ----------------------------------------------------------------------------------


def my_loss(x1: Any, x2: Any) -> Any:
    y = (x2 - x1**2) ** 2 + (1 - x1) ** 2
    dydx1, dydx2 = dt.dlgradient(y, x1, x2)
    return y, dydx1, dydx2


# iteration: loss before the update, x1, x2 and loss after it
RUNS = {
    "rate 0.1": {
        1: (5, 0.19999999999999996, 2.4, 6.2096),
        2: (6.2096, 0.54879999999999995, 1.928, 2.8501200671604741),
        10: (0.0325145890957299, 1.1649898865343433, 1.4166358606526188, 0.030754113524818587),
        50: (0.0028543384903639115, 1.0480130989059362, 1.117544277502613, 0.002674390196684388),
        100: (9.7863024903159214e-05, 1.0088382026363243, 1.0213919187601477, 9.1344502139361692e-05),
    },
    "rate 0.2": {
        1: (5, -1.6000000000000001, 2.7999999999999998, 6.8176000000000005),
        2: (6.8176000000000005, -0.86719999999999919, 2.7040000000000002, 7.2965999219245079),
        10: (0.040168824961335017, 0.82474240741726401, 0.62941966375470859, 0.033293870226555188),
        50: (0.12052881799260262, 0.73918047881584936, 0.88532037154783327, 0.18290212406616899),
        100: (0.12034984420976809, 0.74077812798442277, 0.89232438153384408, 0.18523779887377523),
    },
    "decay": {
        1: (5, -1.5643564356435644, 2.7920792079207919, 6.6948579700360753),
        2: (6.6948579700360753, -0.98186113553604348, 2.6568367960849666, 6.7932963319331554),
        10: (0.061718141744522344, 0.8200340367894543, 0.54261217593906641, 0.049247120205089048),
        50: (0.00040351159548515891, 0.98234696413548461, 0.95759776904243332, 0.00036650501167668164),
        100: (6.766721210579963e-06, 0.99768004293670065, 0.99440287792450088, 6.3087805718056583e-06),
    },
}
RATES = {
    "rate 0.1": dt.schedules.constant(0.1),
    "rate 0.2": dt.schedules.constant(0.2),
    "decay": dt.schedules.time_based_decay(0.2, 0.01),
}


def by_hand(params: Any, grads: Any, state: Any, rate: float) -> tuple[Any, Any]:
    return tuple(x - rate * g for x, g in zip(params, grads, strict=True)), None


def by_sgdmupdate(params: Any, grads: Any, state: Any, rate: float) -> tuple[Any, Any]:
    return dt.sgdmupdate(params, grads, state, rate, momentum=0)


def by_dlupdate(params: Any, grads: Any, state: Any, rate: float) -> tuple[Any, Any]:
    return dt.dlupdate(lambda x, g: x - rate * g, params, grads), None


@pytest.mark.parametrize("update", [by_hand, by_sgdmupdate, by_dlupdate])
@pytest.mark.parametrize("run", RUNS)
def test_the_posts_three_runs(run: str, update: Any) -> None:
    params, state = (dt.dlarray(2.0), dt.dlarray(2.0)), None
    for iteration in range(1, 101):
        loss, *grads = dt.dlfeval(my_loss, *params)
        params, state = update(params, tuple(grads), state, RATES[run](iteration))
        if iteration in RUNS[run]:
            before, x1, x2, after = RUNS[run][iteration]
            assert number(loss) == pytest.approx(before, rel=1e-9, abs=0)
            assert [number(x) for x in params] == pytest.approx([x1, x2], rel=0, abs=1e-12)
            assert number(dt.dlfeval(my_loss, *params)[0]) == pytest.approx(after, rel=1e-9, abs=0)


@pytest.mark.parametrize(("rate", "last"), [(0.22, 9), (0.25, 7), (0.3, 7)])
def test_a_rate_that_is_too_high_ends_in_nan_without_an_error(rate: float, last: int) -> None:
    params = (dt.dlarray(2.0), dt.dlarray(2.0))
    losses = []
    for _ in range(12):
        loss, *grads = dt.dlfeval(my_loss, *params)
        params, _ = by_hand(params, grads, None, rate)
        losses.append(number(loss))
    known = np.flatnonzero(~np.isnan(losses)).tolist()
    assert known == list(range(last + 1))  # the loss after step `last` is the last that is a number


@pytest.mark.parametrize(("x1", "x2", "expected"), [(2, 2, (18, -4)), (0, 0, (-2, 0)), (-1, 2, (0, 2)), (1, 1, (0, 0))])
def test_the_field_of_gradients(x1: float, x2: float, expected: tuple[float, float]) -> None:
    _, *gradient = dt.dlfeval(my_loss, dt.dlarray(x1), dt.dlarray(x2))
    assert [number(g) for g in gradient] == list(expected)


def test_rosenbrock_of_one_array_and_of_two_scalars() -> None:
    def one(x: Any) -> Any:
        y = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
        return y, dt.dlgradient(y, x)

    def two(x1: Any, x2: Any) -> Any:
        y = 100 * (x2 - x1**2) ** 2 + (1 - x1) ** 2
        return y, *dt.dlgradient(y, x1, x2)

    y, gradient = dt.dlfeval(one, dt.dlarray([-1, 2]))
    assert number(y) == 104
    assert dt.extractdata(gradient).tolist() == [396, 200]
    assert [number(x) for x in dt.dlfeval(two, dt.dlarray(-1), dt.dlarray(2))] == [104, 396, 200]


def test_leakyrelu_keeps_labels() -> None:
    x = dt.dlarray(np.array([[-1.0, 2.0], [3.0, -4.0]]), "CB")
    y, gradient = dt.dlfeval(lambda x: ((y := dt.leakyrelu(x)), dt.dlgradient(dt.stripdims(y).sum(), x)), x)
    np.testing.assert_array_equal(dt.extractdata(y), [[-0.01, 2], [3, -0.04]])
    np.testing.assert_array_equal(dt.extractdata(gradient), [[0.01, 1], [1, 0.01]])
    assert y.dims == gradient.dims == "CB"


def test_the_first_adam_and_sgdm_steps_of_the_documentation() -> None:
    ones, zeros = dt.dlarray(np.ones((3, 3, 4))), dt.dlarray(np.zeros((3, 3, 4)))
    step, avg_g, avg_sqg = dt.adamupdate(zeros, ones, None, None, 1, 0.05, 0.75, 0.95)
    for x, expected in ((step, -0.05), (avg_g, 0.25), (avg_sqg, 0.05)):
        np.testing.assert_allclose(dt.extractdata(x), np.full((3, 3, 4), expected), rtol=1e-7)
    step, velocity = dt.sgdmupdate(zeros, ones, [], 0.05, 0.95)
    for x in (step, velocity):
        np.testing.assert_array_equal(dt.extractdata(x), np.full((3, 3, 4), -0.05))


# ---- higher derivatives -----------------------------------------------------------------------------------


def cube(x: Any, **options: Any) -> Any:
    y = x**3
    dydx = dt.dlgradient(y, x, enable_higher_derivatives=True)
    return y, dydx, dt.dlgradient(dydx, x, **options)


def test_second_derivative_of_a_cube() -> None:
    assert [number(x) for x in dt.dlfeval(cube, dt.dlarray(5.0))] == [125, 75, 30]


def test_third_derivative() -> None:
    def third(x: Any) -> Any:
        d2 = cube(x, enable_higher_derivatives=True)[2]
        return dt.dlgradient(d2, x)

    assert number(dt.dlfeval(third, dt.dlarray(5.0))) == 6


@pytest.mark.parametrize("point", [5.0, [5.0], [[1.0, 2.0], [3.0, 4.0]]])
def test_a_derivative_is_opaque_unless_asked_for(point: Any) -> None:
    def twice(x: Any) -> Any:
        dydx = dt.dlgradient((x**3).sum(), x)
        return dt.dlgradient((dydx * x).sum(), x)

    with pytest.raises(dt.GradientError, match="enable_higher_derivatives=True"):
        dt.dlfeval(twice, dt.dlarray(point))


def test_an_opaque_derivative_beside_the_path_does_no_harm() -> None:
    def beside(x: Any) -> Any:
        dydx = dt.dlgradient(x**3, x)
        return dydx, dt.dlgradient(x**2, x)

    assert [number(x) for x in dt.dlfeval(beside, dt.dlarray(5.0))] == [75, 10]


def test_a_cut_derivative_may_be_used() -> None:
    def cut(x: Any) -> Any:
        return dt.dlgradient(x * dt.stop_gradient(dt.dlgradient(x**3, x)), x)

    assert number(dt.dlfeval(cut, dt.dlarray(5.0))) == 75


def test_gradient_penalty() -> None:
    def penalised(w: Any, x: Any) -> Any:
        y = dt.numpy.tanh(w * x).sum()
        dydx = dt.dlgradient(y, x, enable_higher_derivatives=True)
        loss = y + (dydx**2).sum()
        return loss, dt.dlgradient(loss, w)

    w, x = np.array([0.3, -1.2, 0.7]), np.array([1.0, 0.5, -0.8])

    def value(w: np.ndarray) -> float:
        return float(np.tanh(w * x).sum() + ((w / np.cosh(w * x) ** 2) ** 2).sum())

    loss, gradient = dt.dlfeval(penalised, dt.dlarray(w), dt.dlarray(x))
    assert number(loss) == pytest.approx(value(w), rel=1e-12)
    numeric = [(value(w + h) - value(w - h)) / 2e-6 for h in 1e-6 * np.eye(3)]
    np.testing.assert_allclose(dt.extractdata(gradient), numeric, rtol=1e-7)


@pytest.mark.parametrize("retain_data", [False, True])
def test_several_gradients_of_one_trace_whatever_retain_data_says(retain_data: bool) -> None:
    def thrice(x: Any, z: Any) -> Any:
        y = (x * z).sum()
        first = dt.dlgradient(y, x, retain_data=retain_data)
        return first, dt.dlgradient(y, x), dt.dlgradient(y * y, z)

    x, z = dt.dlarray([1.0, 2.0]), dt.dlarray([3.0, 4.0])
    first, again, other = (dt.extractdata(g).tolist() for g in dt.dlfeval(thrice, x, z))
    assert first == again == [3, 4]
    assert other == [22, 44]


# ---- what dlgradient accepts and gives --------------------------------------------------------------------


def test_gradients_mirror_the_containers_of_the_inputs() -> None:
    params = {
        "b": [dt.dlarray(1.0), dt.dlarray([2.0, 3.0])],
        "a": Pair(dt.dlarray([[4.0]]), (dt.dlarray(5.0),)),
    }

    def loss(params: Any) -> Any:
        leaves = (*params["b"], params["a"].first, *params["a"].second)
        return dt.dlgradient(sum((leaf**2).sum() for leaf in leaves), params)

    gradients = dt.dlfeval(loss, params)
    assert sorted(gradients) == ["a", "b"]
    assert isinstance(gradients["b"], list)
    assert isinstance(gradients["a"], Pair)
    assert isinstance(gradients["a"].second, tuple)
    expected = dt.tree.tree_map(lambda x: 2 * dt.extractdata(x), params)
    for got, want in zip(dt.tree.flatten(gradients)[0], dt.tree.flatten(expected)[0], strict=True):
        np.testing.assert_array_equal(dt.extractdata(got), want)


def test_trees_and_arrays_side_by_side() -> None:
    def loss(x: Any, params: Any) -> Any:
        return dt.dlgradient((x * params["w"]).sum() + params["b"], x, params, params["w"])

    x, params = dt.dlarray([1.0, 2.0]), {"w": dt.dlarray([3.0, 4.0]), "b": dt.dlarray(5.0)}
    by_x, by_params, by_w = dt.dlfeval(loss, x, params)
    assert dt.extractdata(by_x).tolist() == [3, 4]
    assert dt.extractdata(by_params["w"]).tolist() == dt.extractdata(by_w).tolist() == [1, 2]
    assert number(by_params["b"]) == 1


def test_dataclasses_keep_their_other_fields() -> None:
    def loss(layer: Layer) -> Any:
        assert layer.name == "last"
        return dt.dlgradient((layer.weights**2).sum(), layer.weights), layer

    gradient, layer = dt.dlfeval(loss, Layer(dt.dlarray([1.0, 2.0]), "last"))
    assert dt.extractdata(gradient).tolist() == [2, 4]
    assert layer.name == "last"


def test_keyword_arguments_are_traced_too() -> None:
    def loss(x: Any, *, scale: Any, power: int = 2, params: Any = None) -> Any:
        y = (scale * x**power).sum() + params["b"]
        return dt.dlgradient(y, x, scale, params["b"])

    by_x, by_scale, by_b = dt.dlfeval(
        loss, dt.dlarray([1.0, 2.0]), power=3, scale=dt.dlarray(2.0), params={"b": dt.dlarray(0.0)}
    )
    assert dt.extractdata(by_x).tolist() == [6, 24]
    assert number(by_scale) == 9
    assert number(by_b) == 1


def test_more_arguments_than_the_fast_path_takes() -> None:
    def loss(*xs: Any, last: Any) -> Any:
        y = sum((k + 1) * x for k, x in enumerate(xs)) + last * 20
        return dt.dlgradient(y, *xs, last)

    gradients = dt.dlfeval(loss, *(dt.dlarray(1.0) for _ in range(12)), last=dt.dlarray(1.0))
    assert [number(g) for g in gradients] == [*range(1, 13), 20]


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (0,), (2, 0, 3)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradients_have_shape_dtype_and_labels_of_the_inputs(shape: tuple[int, ...], dtype: Any) -> None:
    x = dt.dlarray(np.full(shape, 3, dtype))
    gradient = dt.dlfeval(lambda x: dt.dlgradient((x * x).sum(), x), x)
    assert gradient.shape == shape
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(dt.extractdata(gradient), np.full(shape, 6, dtype))


@pytest.mark.parametrize("labels", ["SSCB", "SCBT", "CBTU"])
def test_gradients_keep_labels(labels: str) -> None:
    x = dt.dlarray(np.ones((2, 3, 4, 5)), labels)
    by_x, by_tree = dt.dlfeval(lambda x: (dt.dlgradient((x * x).sum(), x), dt.dlgradient((x * x).sum(), {"x": x})), x)
    assert by_x.dims == by_tree["x"].dims == labels


def test_float32_stays_float32_all_the_way() -> None:
    def loss(w: Any, x: Any) -> Any:
        y = (dt.numpy.tanh(x @ w) * 0.5 + 1).mean()
        return y, dt.dlgradient(y, w)

    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(4, 3)), rng.normal(size=(5, 4))
    y32, g32 = dt.dlfeval(loss, dt.dlarray(w.astype(np.float32)), dt.dlarray(x.astype(np.float32)))
    y64, g64 = dt.dlfeval(loss, dt.dlarray(w), dt.dlarray(x))
    assert y32.dtype == g32.dtype == np.float32
    assert y64.dtype == g64.dtype == np.float64
    np.testing.assert_allclose(dt.extractdata(y32), dt.extractdata(y64), rtol=1e-6)
    np.testing.assert_allclose(dt.extractdata(g32), dt.extractdata(g64), rtol=1e-5)


@pytest.mark.parametrize("higher", [False, True])
@pytest.mark.parametrize("point", [2.0, [1.0, 2.0], [[1.0, 2.0], [3.0, 4.0]]])
def test_with_respect_to_intermediate_values(point: Any, higher: bool) -> None:
    """Of arrays and scalars, alone and together with what they come from."""

    def loss(x: Any) -> Any:
        z = 3 * x
        y = (z * z).sum()
        alone = dt.dlgradient(y, z, enable_higher_derivatives=higher)
        both = dt.dlgradient(y, x, z, enable_higher_derivatives=higher)
        return alone, *both, dt.dlgradient(z.sum(), z)

    x = np.asarray(point)
    for got, want in zip(dt.dlfeval(loss, dt.dlarray(point)), (6 * x, 18 * x, 6 * x, np.ones_like(x)), strict=True):
        np.testing.assert_array_equal(dt.extractdata(got), want)


def test_with_respect_to_the_value_itself() -> None:
    assert number(dt.dlfeval(lambda x: dt.dlgradient(x, x), dt.dlarray(3.0))) == 1


def test_a_scalar_may_have_axes() -> None:
    gradient = dt.dlfeval(lambda x: dt.dlgradient((x * x).sum(keepdims=True), x), dt.dlarray([[1.0, 2.0]]))
    assert dt.extractdata(gradient).tolist() == [[2, 4]]


# ---- inputs that the value does not depend on -------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (3,), (10, 10)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_unconnected_inputs_get_zeros(shape: tuple[int, ...], dtype: Any) -> None:
    z = dt.dlarray(np.ones(shape, dtype))
    by_x, by_z = dt.dlfeval(lambda x, z: dt.dlgradient(x * x, x, z), dt.dlarray(3.0), z)
    assert number(by_x) == 6
    assert by_z.shape == shape
    assert by_z.dtype == dtype
    assert not dt.extractdata(by_z).any()


def test_unconnected_error() -> None:
    def loss(x: Any, z: Any) -> Any:
        return dt.dlgradient((x * x).sum(), x, z, unconnected="error")

    with pytest.raises(dt.GradientError, match=r'does not depend.*unconnected="error"'):
        dt.dlfeval(loss, dt.dlarray([3.0]), dt.dlarray([1.0]))


def test_a_zero_derivative_is_not_unconnected() -> None:
    def loss(x: Any) -> Any:
        return dt.dlgradient((0.0 * x).sum(), x, unconnected="error")

    assert not dt.extractdata(dt.dlfeval(loss, dt.dlarray([3.0, 4.0]))).any()
    assert number(dt.dlfeval(loss, dt.dlarray(3.0))) == 0


# ---- outputs ----------------------------------------------------------------------------------------------


def test_outputs_are_detached_in_every_container() -> None:
    marker = object()

    def everything(x: Any) -> Any:
        y = x * 2
        return {
            "array": y,
            "list": [y, x],
            "tuple": (y, (x, None)),
            "named": Pair(y, "text"),
            "dataclass": Layer(y),
            "rest": [1, 2.5, "text", None, marker, np.ones(2)],
        }

    out = dt.dlfeval(everything, dt.dlarray([1.0, 2.0]))
    arrays = [
        out["array"],
        *out["list"],
        out["tuple"][0],
        out["tuple"][1][0],
        out["named"].first,
        out["dataclass"].weights,
    ]
    for array in arrays:
        assert not _core.is_tracked(array)
        assert np.asarray(array).tolist() in ([1, 2], [2, 4])  # np.asarray refuses what is tracked
        with pytest.raises(dt.GradientError, match="not traced"):
            dt.dlfeval(lambda z, a=array: dt.dlgradient(a.sum(), z), dt.dlarray(1.0))
    assert isinstance(out["named"], Pair)
    assert out["named"].second == "text"
    assert out["dataclass"].name == "fc"
    assert out["rest"][4] is marker


@pytest.mark.parametrize("result", [None, 3, 2.5, "text", (), [], {}, (1, "a")])
def test_other_results_pass_through(result: Any) -> None:
    assert dt.dlfeval(lambda x: result, dt.dlarray(1.0)) == result


def test_arguments_are_not_changed() -> None:
    params = {"w": dt.dlarray([1.0, 2.0])}
    w = params["w"]
    dt.dlfeval(lambda p: dt.dlgradient((p["w"] ** 2).sum(), p), params)
    assert params["w"] is w
    assert not _core.is_tracked(w)


def test_plain_numbers_and_arrays_pass_through_untraced() -> None:
    def look(x: Any, k: Any, a: Any) -> Any:
        assert isinstance(k, int)
        assert isinstance(a, np.ndarray)
        return dt.dlgradient((k * x * a).sum(), x)

    assert number(dt.dlfeval(look, dt.dlarray(1.0), 2, np.array([1.0, 2.0]))) == 6


def test_integers_and_bools_are_constants() -> None:
    def loss(x: Any, k: Any, keep: Any) -> Any:
        return dt.dlgradient((x * k * keep).sum(), x)

    k, keep = dt.dlarray(np.array([1, 2, 3])), dt.dlarray(np.array([True, False, True]))
    assert dt.extractdata(dt.dlfeval(loss, dt.dlarray([1.0, 1.0, 1.0]), k, keep)).tolist() == [1, 0, 3]


# ---- nesting ----------------------------------------------------------------------------------------------


def test_nested_evaluations_are_independent() -> None:
    def inner(z: Any) -> Any:
        return dt.dlgradient(z**2, z)

    def outer(x: Any) -> Any:
        return dt.dlgradient(x**3, x), dt.dlfeval(inner, dt.dlarray(4.0)), dt.dlgradient(x**2, x)

    assert [number(x) for x in dt.dlfeval(outer, dt.dlarray(5.0))] == [75, 8, 10]


def test_an_inner_gradient_of_an_outer_value_stays_connected() -> None:
    def inner(z: Any, x: Any) -> Any:
        return dt.dlgradient(x * z**2, z)  # 2 x z

    def outer(x: Any) -> Any:
        y = dt.dlfeval(inner, x, x)
        return y, dt.dlgradient(y, x)  # the derivative of 2 x^2

    assert [number(x) for x in dt.dlfeval(outer, dt.dlarray(3.0))] == [18, 12]


def test_an_inner_value_that_does_not_depend_on_the_outer_is_a_constant() -> None:
    def outer(x: Any) -> Any:
        c = dt.dlfeval(lambda z: z**2, dt.dlarray(3.0))
        assert not _core.is_tracked(c)
        return dt.dlgradient(c * x, x)

    assert number(dt.dlfeval(outer, dt.dlarray(5.0))) == 9


def test_ten_levels() -> None:
    def level(x: Any, depth: int) -> Any:
        return dt.dlgradient(x**2, x) if depth == 0 else dt.dlfeval(level, x, depth - 1)

    assert number(dt.dlfeval(level, dt.dlarray(3.0), 10)) == 6


# ---- exceptions -------------------------------------------------------------------------------------------


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, Stop, MemoryError])
@pytest.mark.parametrize("nested", [False, True])
def test_an_exception_leaves_no_tape_open(error: type[BaseException], nested: bool) -> None:
    def fails(x: Any) -> Any:
        y = dt.numpy.exp(x * 2)
        if nested:
            return dt.dlfeval(lambda z: fails_inside(z), y)
        raise error

    def fails_inside(z: Any) -> Any:
        dt.grad(lambda a: (a * z).sum())(z)
        raise error

    with pytest.raises(error):
        dt.dlfeval(fails, dt.dlarray([1.0, 2.0]))
    assert no_tape_is_open()
    assert number(dt.dlfeval(lambda x: dt.dlgradient(x * x, x), dt.dlarray(3.0))) == 6


def test_ctrl_c_in_a_loop() -> None:
    def endless(x: Any) -> Any:
        for k in range(10_000_000):
            x = x * 1.0000001
            if k == 1000:
                signal.raise_signal(signal.SIGINT)
        return x

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            dt.dlfeval(endless, dt.dlarray(1.0))
    finally:
        signal.signal(signal.SIGINT, before)
    assert no_tape_is_open()


def test_an_outer_evaluation_survives_the_failure_of_an_inner_one() -> None:
    def outer(x: Any) -> Any:
        y = x**2
        with pytest.raises(ZeroDivisionError):
            dt.dlfeval(lambda z: z * (1 // 0), x)
        with pytest.raises(ZeroDivisionError):
            dt.grad(lambda z: z * (1 // 0))(x)
        with pytest.raises(ZeroDivisionError):
            dt.jvp(lambda z: z * (1 // 0), (x,), (1.0,))
        return dt.dlgradient(y * x, x)

    assert number(dt.dlfeval(outer, dt.dlarray(2.0))) == 12


def test_an_error_in_dlgradient_can_be_caught_and_the_trace_goes_on() -> None:
    def loss(x: Any) -> Any:
        with pytest.raises(dt.GradientError):
            dt.dlgradient(x * 2, x)
        return dt.dlgradient((x * 2).sum(), x)

    assert dt.extractdata(dt.dlfeval(loss, dt.dlarray([1.0, 2.0]))).tolist() == [2, 2]


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("fails", [False, True])
def test_memory_returns(fails: bool) -> None:
    """Each evaluation records 16 MB; forty of them, failed or not, leave nothing behind."""

    def loss(x: Any) -> Any:
        y = dt.numpy.exp(x * 2)
        if fails:
            raise ValueError
        return dt.dlgradient(y.sum(), x).sum()

    x = dt.dlarray(np.zeros(1_000_000))

    def run() -> None:
        if fails:
            with pytest.raises(ValueError):  # noqa: PT011 - the one above
                dt.dlfeval(loss, x)
        else:
            dt.dlfeval(loss, x)

    for _ in range(3):
        run()
    before = resident_megabytes()
    for _ in range(40):
        run()
    assert resident_megabytes() - before < 60


# ---- traced values that escape ----------------------------------------------------------------------------


@pytest.mark.parametrize("point", [3.0, [3.0]])
def test_what_escapes_by_a_closure_becomes_a_constant(point: Any) -> None:
    escaped: list[Any] = []

    def leak(x: Any) -> Any:
        escaped.append(x * x)
        return x

    dt.dlfeval(leak, dt.dlarray(point))
    (y,) = escaped
    assert float(y.sum()) == 9
    assert float((y + 1).sum()) == 10
    assert number(dt.grad(lambda x: (x * y).sum())(2.0)) == 9
    assert np.asarray(y).sum() == 9
    with pytest.raises(dt.GradientError, match="not traced"):
        dt.dlfeval(lambda x: dt.dlgradient(y.sum(), x), dt.dlarray(1.0))
    with pytest.raises(dt.GradientError, match="not traced"):
        dt.dlfeval(lambda x: dt.dlgradient((x * y).sum(), y), dt.dlarray(1.0))


def test_a_generator_that_is_used_up_later_sees_constants() -> None:
    def steps(x: Any) -> Any:
        for k in range(3):
            yield x * k

    later = dt.dlfeval(steps, dt.dlarray(2.0))
    assert [number(y) for y in later] == [0, 2, 4]
    with pytest.raises(dt.TapeError, match="inside a function that is passed to dlfeval"):
        next(dt.dlfeval(lambda x: (dt.dlgradient(x, x) for _ in range(1)), dt.dlarray(1.0)))


def test_a_closure_that_is_called_later_sees_constants() -> None:
    double = dt.dlfeval(lambda x: lambda: x * 2, dt.dlarray(2.0))
    assert number(double()) == 4
    assert not _core.is_tracked(double())


# ---- extractdata and stop_gradient ------------------------------------------------------------------------


def test_extractdata_gives_fresh_numbers() -> None:
    x = dt.dlarray(np.arange(6.0).reshape(2, 3))
    data = dt.extractdata(x)
    assert type(data) is np.ndarray
    data[:] = 0
    assert number(x.sum()) == 15
    assert isinstance(dt.extractdata(dt.dlarray(2.0)), np.float64)
    assert isinstance(dt.extractdata(dt.dlarray(np.float32(2))), np.float32)


def test_extractdata_of_trees_and_of_what_is_no_dlarray() -> None:
    tree = {"a": (dt.dlarray(1.0), [dt.dlarray([2.0])]), "b": "text"}
    data = dt.extractdata(tree)
    assert data["a"][0] == 1.0
    assert data["a"][1][0].tolist() == [2.0]
    assert data["b"] == "text"
    for other in (1.5, "text", None):
        assert dt.extractdata(other) is other
    array = np.ones(2)
    assert dt.extractdata(array) is array


def test_extractdata_keeps_the_order_of_labels() -> None:
    x = dt.dlarray(np.zeros((5, 4, 3, 2)), "TSSU")
    assert x.dims == "SSTU"
    assert dt.extractdata(x).shape == (4, 3, 5, 2)


@pytest.mark.parametrize("point", [3.0, [3.0, 4.0]])
@pytest.mark.parametrize("cut", [dt.extractdata, dt.stop_gradient])
def test_both_cut_the_trace(cut: Any, point: Any) -> None:
    def loss(x: Any) -> Any:
        return dt.dlgradient((cut(x) * x).sum(), x)

    np.testing.assert_array_equal(dt.extractdata(dt.dlfeval(loss, dt.dlarray(point))), point)


def test_stop_gradient_stops_every_mode_and_keeps_labels() -> None:
    def f(x: Any) -> Any:
        return dt.stop_gradient({"x": (x * x,)})["x"][0] * x

    assert number(dt.grad(f)(3.0)) == 9
    assert number(dt.jvp(f, (3.0,), (1.0,))[1]) == 9
    assert number(dt.hessian(f)(3.0)) == 0
    assert dt.stop_gradient(dt.dlarray(np.ones((2, 3)), "CB")).dims == "CB"
    assert dt.stop_gradient("text") == "text"


# ---- threads ----------------------------------------------------------------------------------------------


def test_each_thread_has_a_tape_of_its_own() -> None:
    barrier = threading.Barrier(4)

    def work(k: int) -> list[float]:
        def loss(x: Any) -> Any:
            barrier.wait()  # all four evaluations are open at once
            y = x
            for _ in range(200):
                y = y * 1.001 + k
            return dt.dlgradient(y, x)

        return [number(dt.dlfeval(loss, dt.dlarray(float(k)))) for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(work, range(4)):
            assert result == pytest.approx([1.001**200] * 5)
