# SPDX-License-Identifier: MIT
"""The optimizers: PyTorch's trajectories, functional against in place, options that all share, and bad input."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dualtape as dt
from dualtape import optim

TRAJECTORIES = json.loads((Path(__file__).parent / "data" / "torch_trajectories.json").read_text(encoding="utf-8"))


def rosenbrock(x: list[float]) -> tuple[float, list[float]]:
    a, b = x[1] - x[0] * x[0], 1.0 - x[0]
    return 100.0 * a * a + b * b, [-400.0 * a * x[0] - 2.0 * b, 200.0 * a]


def quadratic(x: list[float]) -> tuple[float, list[float]]:
    pairs = [(10.0 ** (4.0 * i / 9.0 - 2.0), v) for i, v in enumerate(x)]
    return sum(0.5 * c * v * v for c, v in pairs), [c * v for c, v in pairs]


PROBLEMS = {"rosenbrock": (rosenbrock, [-1.2, 1.0]), "quadratic": (quadratic, [1.0] * 10)}

# One of each kind of rule.
OPTIMIZERS = [
    optim.SGD(),
    optim.SGD(momentum=0.9, dampening=0.2),
    optim.SGD(momentum=0.9, nesterov=True),
    optim.Adam(),
    optim.Adam(epsilon_mode="hat"),
    optim.AdamW(),
    optim.AMSGrad(),
    optim.NAdam(),
    optim.RAdam(),
    optim.Adamax(),
    optim.RMSprop(),
    optim.RMSprop(momentum=0.9),
    optim.RMSprop(centered=True),
    optim.RMSprop(momentum=0.9, centered=True),
    optim.Adagrad(),
    optim.Adagrad(initial_sum=0.1, learn_rate_decay=0.1),
    optim.Adadelta(),
    optim.Rprop(),
    optim.Lion(),
]


def numpy_leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in dt.tree.flatten(tree)[0]]


def same_bits(a: Any, b: Any) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(numpy_leaves(a), numpy_leaves(b), strict=True))


@pytest.mark.parametrize("case", TRAJECTORIES["cases"], ids=lambda case: f"{case['torch']}-{case['problem']}")
def test_paths_are_those_of_pytorch(case: dict[str, Any]) -> None:
    function, x = PROBLEMS[case["problem"]]
    optimizer = getattr(optim, case["optimizer"])(**case["options"])
    state = optimizer.init(x)
    points = []
    for step in range(1, TRAJECTORIES["steps"][-1] + 1):
        if isinstance(optimizer, optim.LBFGS):
            x, state = optimizer.update(function, state, x)
        else:
            x, state = optimizer.update(function(x)[1], state, x)
        if step in TRAJECTORIES["steps"]:
            points.append(x)
    np.testing.assert_allclose(points, case["points"], rtol=1e-10, atol=1e-10)


def test_every_optimizer_of_pytorch_is_among_the_references() -> None:
    named = {case["optimizer"] for case in TRAJECTORIES["cases"]}
    assert named == set(optim.__all__) - {"Optimizer", "Lion"}


def test_lion_by_hand() -> None:
    optimizer = optim.Lion(learn_rate=0.1, weight_decay=0.5)
    state = optimizer.init(np.array([1.0, -2.0]))
    params, state = optimizer.update(np.array([3.0, -1.0]), state, np.array([1.0, -2.0]))
    assert params == pytest.approx([0.95 - 0.1, -1.9 + 0.1])
    assert state["avg_g"] == pytest.approx([0.03, -0.01])
    params, state = optimizer.update(np.array([-0.2, 0.05]), state, params)
    assert params == pytest.approx([0.95 * 0.85 - 0.1 * np.sign(0.9 * 0.03 - 0.02), 0.95 * -1.8 + 0.1 * np.sign(0.004)])


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("kind", ["ndarray", "dlarray", "float32"])
def test_in_place_has_the_bits_of_functional(optimizer: optim.Optimizer, kind: str) -> None:
    rng = np.random.default_rng(0)
    make = {
        "ndarray": np.copy,
        "dlarray": dt.dlarray,
        "float32": lambda x: x.astype(np.float32),
    }[kind]
    start = {"w": rng.normal(size=(5, 7)), "b": [rng.normal(size=3), np.array(0.5)]}
    optimizer = dataclasses.replace(
        optimizer, weight_decay=0.01, l1=0.001, gradient_threshold=2.0, learn_rate=lambda t: 0.1 / t
    )
    functional = dt.tree.tree_map(make, start)
    in_place = dt.tree.tree_map(make, start)
    places = [id(leaf) for leaf in dt.tree.flatten(in_place)[0]]
    state, state_ = optimizer.init(functional), optimizer.init(in_place)
    for _ in range(4):
        grads = dt.tree.tree_map(lambda x: make(rng.normal(size=x.shape)), start)
        functional, state = optimizer.update(grads, state, functional)
        assert optimizer.apply_(in_place, grads, state_) is None
        assert same_bits(functional, in_place)
    assert [id(leaf) for leaf in dt.tree.flatten(in_place)[0]] == places
    assert same_bits(state, state_)
    assert state["iteration"] == state_["iteration"] == 4


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_float32_follows_float64(optimizer: optim.Optimizer) -> None:
    rng = np.random.default_rng(1)
    double = rng.normal(size=50)
    single = double.astype(np.float32)
    state, state32 = optimizer.init(double), optimizer.init(single)
    for _ in range(10):
        grads = rng.normal(size=50)
        double, state = optimizer.update(grads, state, double)
        single, state32 = optimizer.update(grads.astype(np.float32), state32, single)
        assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_optimizers_go_downhill(optimizer: optim.Optimizer) -> None:
    optimizer = dataclasses.replace(optimizer, learn_rate=min(0.05, 20 * optimizer.learn_rate))
    x = {"a": dt.dlarray([2.0, -1.0]), "b": 1.0}
    state = optimizer.init(x)

    def loss(x: Any) -> Any:
        return (x["a"] ** 2).sum() + x["b"] ** 2

    first = float(loss(x))
    for _ in range(100):
        x, state = optimizer.update(dt.grad(loss)(x), state, x)
    assert float(loss(x)) < 0.9999 * first
    assert isinstance(x["b"], float)


def test_updates_through_an_optimizer_are_differentiated() -> None:
    def final(rate: Any) -> Any:
        optimizer = optim.NAdam(learn_rate=rate, gradient_threshold=0.5, weight_decay=0.1, decoupled_weight_decay=True)
        x = np.array([1.0, -0.5])
        state = optimizer.init(x)
        for _ in range(3):
            x, state = optimizer.update(x**3, state, x)
        return x.sum()

    e = 1e-6
    slope = (final(0.1 + e) - final(0.1 - e)) / (2 * e)
    assert float(dt.grad(final)(0.1)) == pytest.approx(slope, rel=1e-7)


# Options that all share -----------------------------------------------------------------------------------------


def step(optimizer: optim.Optimizer, params: Any, grads: Any) -> Any:
    return optimizer.update(grads, optimizer.init(params), params)[0]


def test_clipping_is_that_of_the_helpers() -> None:
    params = {"a": np.zeros(2), "b": np.zeros(3)}
    grads = {"a": np.array([3.0, -4.0]), "b": np.array([0.1, 0.2, -12.0])}
    for method, helper in [
        ("l2norm", dt.threshold_l2norm),
        ("global-l2norm", dt.threshold_global_l2norm),
        ("absolute-value", dt.threshold_absolute_value),
    ]:
        optimizer = optim.SGD(1.0, gradient_threshold=2.0, gradient_threshold_method=method)
        expected = dt.tree.tree_map(lambda g: -g, helper(grads, 2.0))
        assert same_bits(step(optimizer, params, grads), expected)


def test_decay_and_l1() -> None:
    params, grads = np.array([2.0, -4.0]), np.array([1.0, 1.0])
    assert step(optim.SGD(0.1, weight_decay=0.5), params, grads) == pytest.approx([1.8, -3.9])
    decoupled = optim.SGD(0.1, weight_decay=0.5, decoupled_weight_decay=True)
    assert step(decoupled, params, grads) == pytest.approx([1.9 - 0.1, -3.8 - 0.1])
    assert step(optim.SGD(0.1, l1=0.5), params, grads) == pytest.approx([1.85, -4.05])
    assert step(optim.SGD(0.1, maximize=True), params, grads) == pytest.approx([2.1, -3.9])


def test_a_schedule_sees_the_iteration_from_1() -> None:
    seen = []

    def schedule(iteration: int) -> float:
        seen.append(iteration)
        return 0.1

    optimizer = optim.SGD(learn_rate=schedule)
    x, state = 1.0, optimizer.init(1.0)
    for _ in range(3):
        x, state = optimizer.update(1.0, state, x)
    assert seen == [1, 2, 3]
    assert x == pytest.approx(0.7)
    decayed = optim.SGD(learn_rate=dt.schedules.time_based_decay(0.2, 0.01))
    assert step(decayed, 0.0, 1.0) == -dt.schedules.time_based_decay(0.2, 0.01)(1)


def test_optimizers_are_values() -> None:
    optimizer = optim.AdamW(learn_rate=0.01, gradient_threshold=1.0)
    assert repr(optimizer) == "AdamW(gradient_threshold=1.0, learn_rate=0.01)"
    assert optimizer == optim.AdamW(learn_rate=0.01, gradient_threshold=1.0) != optim.AdamW()
    assert hash(optimizer) == hash(pickle.loads(pickle.dumps(optimizer)))
    copy = pickle.loads(pickle.dumps(optimizer))
    assert step(copy, 1.0, 1.0) == step(optimizer, 1.0, 1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        optimizer.learn_rate = 0.1  # type: ignore[misc]
    state = optimizer.init({"w": np.ones(2)})
    assert same_bits(pickle.loads(pickle.dumps(state)), state)


def test_every_docstring_says_whose_definition_it_is() -> None:
    for name in set(optim.__all__) - {"Optimizer"}:
        doc = getattr(optim, name).__doc__
        assert "PyTorch" in doc, name
        assert "{shared}" not in doc
        assert ".. math::" in doc


# In place -------------------------------------------------------------------------------------------------------


def test_in_place_writes_where_views_look() -> None:
    whole = np.ones(6)
    params = {"w": whole[:4].reshape(2, 2), "b": whole[4:]}
    optimizer = optim.SGD(0.5)
    optimizer.apply_(params, {"w": np.ones((2, 2)), "b": np.ones(2)}, optimizer.init(params))
    assert np.array_equal(whole, np.full(6, 0.5))

    base = dt.dlarray(np.ones((2, 3)))
    row = base[0]
    optimizer.apply_([row], [np.ones(3)], optimizer.init([row]))
    assert np.array_equal(base.numpy(), [[0.5] * 3, [1.0] * 3])


def test_in_place_leaves_values_that_share_memory_alone() -> None:
    params = dt.dlarray(np.ones(3))
    other = dt.dlarray(params)
    optimizer = optim.SGD(0.5)
    optimizer.apply_(params, np.ones(3), optimizer.init(params))
    assert np.array_equal(params.numpy(), np.full(3, 0.5))
    assert np.array_equal(other.numpy(), np.ones(3))


def test_what_cannot_be_changed_in_place() -> None:
    optimizer = optim.Adam()
    frozen = np.ones(2)
    frozen.flags.writeable = False
    for leaf, message in [
        (1.0, "a number cannot be changed in place"),
        (frozen, "the array is read-only"),
        (np.ones((2, 2))[:, 0], "must be a C-contiguous ndarray"),
    ]:
        state = optimizer.init({"w": leaf})
        kept = pickle.dumps(state)
        with pytest.raises(ValueError, match=rf"Adam.apply_\(params\['w'\]\): .*{message}"):
            optimizer.apply_({"w": leaf}, {"w": np.ones(np.shape(leaf))}, state)
        assert pickle.dumps(state) == kept

    def tracked(x: Any) -> Any:
        optim.SGD().apply_([x], [np.ones(2)], optim.SGD().init([np.ones(2)]))

    with pytest.raises(ValueError, match="a derivative goes through cannot be changed in place"):
        dt.dlfeval(tracked, dt.dlarray(np.ones(2)))


# Bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [type(o) for o in OPTIMIZERS], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_bad_learning_rates(optimizer: Any, bad: float) -> None:
    with pytest.raises(ValueError, match=r"\(learn_rate\): learn_rate must be a finite number of at least 0"):
        optimizer(learn_rate=bad)
    scheduled = optimizer(learn_rate=lambda iteration: bad)
    with pytest.raises(ValueError, match=r"\.update\(learn_rate\)"):
        scheduled.update(1.0, scheduled.init(1.0), 1.0)


def test_bad_options() -> None:
    for make, message in [
        (lambda: optim.Adam(grad_decay=1.0), "grad_decay must be a number from 0 up to"),
        (lambda: optim.Adam(sq_grad_decay=math.nan), "sq_grad_decay must be"),
        (lambda: optim.AdamW(weight_decay=-1.0), "weight_decay must be"),
        (lambda: optim.Adam(gradient_threshold=0.0), "gradient_threshold must be above 0"),
        (lambda: optim.Adam(gradient_threshold_method="max"), "use 'l2norm', 'global-l2norm' or 'absolute-value'"),
        (lambda: optim.SGD(nesterov=True), "momentum above 0 and dampening 0"),
        (lambda: optim.SGD(momentum=1.0), "momentum must be"),
        (lambda: optim.Rprop(grow_factor=0.9), "grow_factor must be a finite number of at least 1"),
        (lambda: optim.Adam(epsilon_mode="both"), "use 'standard' or 'hat'"),
        (lambda: optim.LBFGS(line_search_method="armijo"), "use None or 'strong-wolfe'"),
        (lambda: optim.LBFGS(history_size=0), "history_size must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()


def test_states_and_trees_that_do_not_match() -> None:
    optimizer = optim.Adam()
    params = {"w": np.ones(2)}
    with pytest.raises(ValueError, match=r"Adam.update\(state\): the state must be a dict with .*'avg_g', 'avg_sqg'"):
        optimizer.update(params, optim.SGD().init(params), params)
    with pytest.raises(ValueError, match=r"start with Adam\(...\).init\(params\)"):
        optimizer.update(params, None, params)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="grads is a list of 1 child, but params is a dict of 1 child"):
        optimizer.update([np.ones(2)], optimizer.init(params), params)
    with pytest.raises(dt.ShapeError, match=r"grads\['w'\] \(3,\)"):
        optimizer.update({"w": np.ones(3)}, optimizer.init(params), params)
    with pytest.raises(TypeError, match=r"Adam.init\(params\['w'\]\)"):
        optimizer.init({"w": "text"})


@pytest.mark.parametrize("verb", ["update", "apply_"])
def test_nan_gradients_change_nothing_under_check_finite(verb: str) -> None:
    optimizer = optim.Adam(check_finite=True)
    params = {"a": np.ones(2), "b": np.ones(2)}
    state = optimizer.init(params)
    kept = pickle.dumps((params, state))
    grads = {"a": np.ones(2), "b": np.array([math.nan, 1.0])}
    with pytest.raises(dt.NumericError, match=rf"Adam.{verb}\(grads\['b'\]\)"):
        optimizer.update(grads, state, params) if verb == "update" else optimizer.apply_(params, grads, state)
    assert pickle.dumps((params, state)) == kept
