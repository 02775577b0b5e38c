# SPDX-License-Identifier: MIT
"""The runs of the post "Advanced Deep Learning: Key Terms", and MATLAB's updates on their loss, in loops and a sweep.

Numbers were computed in float64 by hand; 1e-12 is beyond what the order of operations or a fused multiply-add changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from steps import (
    START,
    assert_same_bits,
    assert_same_run,
    by_hand,
    descent,
    leaves,
    valley,
    valley_and_slopes,
)

import dualtape as dt

# name -> (learning rate, iteration -> (loss before, x1, x2, loss after))
KEY_TERMS: dict[str, tuple[Any, dict[int, tuple[float, float, float, float]]]] = {
    "rate 0.1": (
        0.1,
        {
            1: (5, 0.19999999999999996, 2.4, 6.2096),
            2: (6.2096, 0.54879999999999995, 1.928, 2.8501200671604741),
            10: (0.0325145890957299, 1.1649898865343433, 1.4166358606526188, 0.030754113524818587),
            50: (0.0028543384903639115, 1.0480130989059362, 1.117544277502613, 0.002674390196684388),
            100: (9.7863024903159214e-05, 1.0088382026363243, 1.0213919187601477, 9.1344502139361692e-05),
        },
    ),
    "rate 0.2": (
        0.2,
        {
            1: (5, -1.6000000000000001, 2.7999999999999998, 6.8176000000000005),
            2: (6.8176000000000005, -0.86719999999999919, 2.7040000000000002, 7.2965999219245079),
            10: (0.040168824961335017, 0.82474240741726401, 0.62941966375470859, 0.033293870226555188),
            50: (0.12052881799260262, 0.73918047881584936, 0.88532037154783327, 0.18290212406616899),
            100: (0.12034984420976809, 0.74077812798442277, 0.89232438153384408, 0.18523779887377523),
        },
    ),
    "decay": (
        dt.schedules.time_based_decay(0.2, 0.01),
        {
            1: (5, -1.5643564356435644, 2.7920792079207919, 6.6948579700360753),
            2: (6.6948579700360753, -0.98186113553604348, 2.6568367960849666, 6.7932963319331554),
            10: (0.061718141744522344, 0.8200340367894543, 0.54261217593906641, 0.049247120205089048),
            50: (0.00040351159548515891, 0.98234696413548461, 0.95759776904243332, 0.00036650501167668164),
            100: (6.766721210579963e-06, 0.99768004293670065, 0.99440287792450088, 6.3087805718056583e-06),
        },
    ),
    "decay from k - 1": (
        lambda iteration: 0.2 / (1 + 0.01 * (iteration - 1)),
        {
            1: (5, -1.6000000000000001, 2.7999999999999998, 6.8176000000000005),
            2: (6.8176000000000005, -0.87445544554455368, 2.7049504950495051, 7.2782625896806028),
            10: (0.0692573303830567590, 0.80200623573294672, 0.51322271232388716, 0.056099266120471898),
            50: (0.00043378423781941021, 0.98170497479951779, 0.95606381271407692, 0.0003937033244202298),
            100: (7.0881175043577121e-06, 0.99762603299268759, 0.99427266292145455, 6.6060207563587772e-06),
        },
    ),
}


@pytest.mark.parametrize("contract", [True, False])
@pytest.mark.parametrize("name", KEY_TERMS)
def test_key_terms(name: str, contract: bool) -> None:
    learn_rate, table = KEY_TERMS[name]

    def step(state: Any, learn_rate: Any) -> Any:
        new, loss = descent(state, learn_rate)
        return new, {"before": loss, "x1": new[0], "x2": new[1], "after": valley(*new)}

    run = dt.loop(step, (2.0, 2.0), iterations=100, learn_rate=learn_rate, contract=contract)
    assert (run.iterations, run.stopped) == (100, "iterations")
    for k, (before, x1, x2, after) in table.items():
        record = {name: column[k - 1] for name, column in run.history.items()}
        assert record["x1"] == pytest.approx(x1, abs=1e-12, rel=0)
        assert record["x2"] == pytest.approx(x2, abs=1e-12, rel=0)
        assert record["before"] == pytest.approx(before, rel=1e-9, abs=0)
        assert record["after"] == pytest.approx(after, rel=1e-9, abs=0)
    assert_same_bits(run.state, (dt.dlarray(run.history["x1"][-1]), dt.dlarray(run.history["x2"][-1])))


def test_rate_0_2_is_best_after_23_steps_and_ends_in_a_cycle() -> None:
    run = dt.loop(descent, (2.0, 2.0), iterations=100, learn_rate=0.2)
    assert int(np.argmin(run.history)) == 23  # the value of iteration 24 is the loss after step 23
    assert run.history[23] == pytest.approx(0.0060942703, rel=1e-8)
    far = dt.loop(descent, (2.0, 2.0), iterations=10_000, learn_rate=0.2, record_every=1).history
    np.testing.assert_allclose(sorted(far[-2:]), [0.120344927966, 0.185227881034], rtol=1e-10)
    np.testing.assert_array_equal(far[-2:], far[-4:-2])


def sgdm(state: Any, learn_rate: Any, momentum: Any = 0.9) -> Any:
    x, velocity = state
    _, *slopes = dt.dlfeval(valley_and_slopes, *x)
    x, velocity = dt.sgdmupdate(x, tuple(slopes), velocity, learn_rate, momentum)
    return (x, velocity), valley(*x)


def rmsprop(state: Any, learn_rate: Any) -> Any:
    x, average = state
    _, *slopes = dt.dlfeval(valley_and_slopes, *x)
    x, average = dt.rmspropupdate(x, tuple(slopes), average, learn_rate, 0.9)
    return (x, average), valley(*x)


def adam(epsilon_mode: str) -> Callable[..., Any]:
    def step(state: Any, learn_rate: Any, iteration: Any) -> Any:
        x, g, g2 = state
        _, *slopes = dt.dlfeval(valley_and_slopes, *x)
        x, g, g2 = dt.adamupdate(x, tuple(slopes), g, g2, iteration, learn_rate, epsilon_mode=epsilon_mode)
        return (x, g, g2), valley(*x)

    return step


ZERO = (0.0, 0.0)
OPTIMIZERS = {
    "sgdm": (
        sgdm,
        (START, ZERO),
        0.01,
        (1.82, 2.04, 2.29140176),
        (0.990249801890134, 0.982953662118219, 1.00631206318675e-4),
    ),
    "sgdm 0.1": (
        sgdm,
        (START, ZERO),
        0.1,
        (0.2, 2.4, 6.2096),
        (1.02351415338759, 1.05866829611671, 6.75838617908514e-4),
    ),
    "rmsprop": (
        rmsprop, (START, ZERO), 0.01, (1.96837722345387, 2.03162277635168, None),
        (1.39799998871564, 2.07519897026659, 0.172995423481777),
    ),
    "adam": (
        adam("standard"), (START, ZERO, ZERO), 0.1, (1.90000000005556, 2.09999999975, None),
        (1.05770841842613, 1.1345282181228, 0.00357930529665039),
    ),
    "adam of MATLAB": (
        adam("hat"), (START, ZERO, ZERO), 0.1, (1.90000000175682, 2.09999999209431, None),
        (1.05770842238015, 1.1345282299688, 0.00357930586289829),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    step, start, learn_rate, first, last = OPTIMIZERS[name]
    tolerance = 1e-7 if name == "sgdm 0.1" else 1e-9  # that one overshoots far, and roundings grow with it
    for iterations, wanted in ((1, first), (100, last)):
        run = dt.loop(step, start, iterations=iterations, learn_rate=learn_rate)
        for got, want in zip((*leaves(run.state[0]), leaves(run.value)[0]), wanted, strict=True):
            assert want is None or got == pytest.approx(want, rel=tolerance)
    assert_same_run(*by_hand(step, start, iterations=30, learn_rate=learn_rate))


def test_sgdm_without_momentum_is_gradient_descent() -> None:
    run = dt.loop(sgdm, (START, ZERO), iterations=100, learn_rate=0.1, momentum=0.0)
    assert_same_bits(run.state[0], dt.loop(descent, START, iterations=100, learn_rate=0.1).state)


def test_bifurcations_of_the_key_terms() -> None:
    """Where rates converge, cycle and diverge."""
    rates = np.array([0.01, 0.1, 0.17, 0.1715, 0.172, 0.18, 0.2, 0.21, 0.22, 0.25, 0.30])
    runs = dt.sweep(descent, START, iterations=5000, over=dt.grid(learn_rate=rates), record_every=1)
    assert runs.stopped.tolist() == ["iterations"] * 8 + ["nonfinite"] * 3
    assert runs.iterations.tolist() == [5000] * 8 + [10, 8, 7]
    x1, x2 = runs.state
    np.testing.assert_allclose(x1[:3], 1, atol=1e-7)
    np.testing.assert_allclose(x2[:3], 1, atol=1e-7)
    assert abs(x1[3] - 1) < 0.01  # slow, so near to the limit
    # Beyond 2 / 11.656854 there are two points, visited in turn.
    losses = runs.history[:, -4:]
    np.testing.assert_allclose(losses[4:8, 2:], losses[4:8, :2], rtol=1e-5)
    assert (np.abs(losses[4:8, 3] - losses[4:8, 2]) > 1e-6).all()
    more = dt.sweep(descent, START, iterations=4999, over=dt.grid(learn_rate=rates[4:8]))
    cycles = np.sort(np.stack([more.state[0], x1[4:8]]), axis=0).T
    np.testing.assert_allclose(cycles[0], [0.9792, 1.0173], atol=5e-5)
    np.testing.assert_allclose(cycles[2], [0.740782152844, 1.048072229156], atol=1e-11)
    np.testing.assert_allclose(cycles[3], [0.6841, 1.0398], atol=5e-5)
