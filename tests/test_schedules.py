# SPDX-License-Identifier: MIT
"""Learning-rate schedules: documented numbers, formulas, chains, bad input, and that they are values."""

import copy
import math
import pickle

import numpy as np
import pytest

from dualtape import schedules, tree
from dualtape.schedules import (
    PlateauState,
    Schedule,
    chain,
    constant,
    cosine,
    cyclical,
    exponential,
    one_cycle,
    per_epoch,
    piecewise,
    polynomial,
    reduce_on_plateau,
    time_based_decay,
    warm_up,
)

ALL = [
    constant(0.1),
    time_based_decay(0.2, 0.01),
    time_based_decay(0.2, 0.01, offset=1),
    piecewise(0.1, 0.5, 3),
    exponential(0.01, 0.1, 10),
    polynomial(0.1, 20, power=2.0, final_factor=0.1),
    cosine(0.1, 7, final_factor=0.01, period_growth=2),
    cosine(0.1, 7, period_growth=math.inf),
    cyclical(0.01, 5, 8, step_ratio=0.25),
    one_cycle(0.1, 30),
    one_cycle(0.1, 30, three_phase=True, anneal_strategy="linear"),
    warm_up(0.1, 5),
    chain(warm_up(0.1, 5), constant(0.1, num_steps=10), cosine(0.1, 30)),
    per_epoch(piecewise(0.1, 0.5, 2), 4),
]


# ---- documented numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "rate"),
    [
        (1, 0.19801980198019803),
        (2, 0.19607843137254902),
        (10, 0.18181818181818182),
        (50, 0.13333333333333333),
        (100, 0.1),
    ],
)
def test_time_based_decay_of_the_post(k, rate):
    assert time_based_decay(0.2, 0.01)(k) == rate


@pytest.mark.parametrize(
    ("k", "rate"),
    [
        (1, 0.2),
        (2, 0.19801980198019803),
        (10, 0.1834862385321101),
        (50, 0.13422818791946309),
        (100, 0.10050251256281408),
    ],
)
def test_time_based_decay_of_the_class(k, rate):
    assert time_based_decay(0.2, 0.01, offset=1)(k) == rate


def test_time_based_decay_passes_the_stability_limit_at_17():
    schedule, limit = time_based_decay(0.2, 0.01), 2 / 11.65685424949238
    assert schedule(16) > limit > schedule(17)


@pytest.mark.parametrize(("k", "rate"), [(1, 0.01), (2, 0.007943282347242816), (11, 0.001)])
def test_exponential(k, rate):
    assert exponential(0.01, 0.1, 10)(k) == pytest.approx(rate, rel=1e-15)


def test_chain_gives_each_schedule_its_own_count():
    class spy(Schedule):
        seen = None

        def rate_at(self, iteration):
            self.seen = iteration
            return 0.5

    last = spy()
    assert chain(warm_up(0.1), last)(15) == 0.5
    assert last.seen == 10
    decay = polynomial(0.1, 20)
    assert chain(warm_up(0.1), decay)(15) == decay(10)


def descend(schedule):
    x1 = x2 = 2.0
    for k in range(1, 101):
        rate = schedule(k)
        a, b = x2 - x1 * x1, 1 - x1
        x1, x2 = x1 - rate * (-(2 * a) * (2 * x1) - 2 * b), x2 - rate * (2 * a)
    return x1, x2


@pytest.mark.parametrize(
    ("schedule", "end"),
    [
        (constant(0.1), (1.0088382026363243, 1.0213919187601477)),
        (constant(0.2), (0.74077812798442277, 0.89232438153384408)),
        (time_based_decay(0.2, 0.01), (0.99768004293670065, 0.99440287792450088)),
        (time_based_decay(0.2, 0.01, offset=1), (0.99762603299268759, 0.99427266292145455)),
    ],
    ids=repr,
)
def test_the_runs_of_the_post(schedule, end):
    assert descend(schedule) == pytest.approx(end, abs=1e-12)


# ---- formulas ---------------------------------------------------------------------------------------------


def test_piecewise():
    rates = piecewise(0.1, 0.5, 3).curve(9)
    np.testing.assert_allclose(rates, np.repeat([0.1, 0.05, 0.025], 3), rtol=1e-15)


def test_polynomial_reaches_both_ends_exactly():
    for power in (0.5, 1.0, 3.0):
        schedule = polynomial(0.1, 11, power=power, initial_factor=2.0, final_factor=0.25)
        assert schedule(1) == 0.2
        assert schedule(6) == pytest.approx(0.1 * (0.25 + 1.75 * 0.5**power), rel=1e-15)
        assert schedule(11) == schedule(12) == schedule(1000) == 0.025
    assert polynomial(0.1, 1)(1) == 0.1


def test_cosine():
    np.testing.assert_allclose(
        cosine(0.2, 8, final_factor=0.1).curve(20),
        [0.2 * (0.1 + 0.45 * (1 + math.cos(math.pi * (i % 8) / 8))) for i in range(20)],
        rtol=1e-14,
    )


def test_cosine_restarts_grow():
    schedule = cosine(0.2, 3, period_growth=2)
    restarts = [k for k in range(1, 50) if schedule(k) == 0.2]
    assert restarts == [1, 4, 10, 22, 46]
    single = cosine(0.2, 3, period_growth=math.inf)
    np.testing.assert_allclose(single.curve(6), [0.2, 0.15, 0.05, 0, 0, 0], atol=1e-16)


def test_cyclical():
    schedule = cyclical(0.1, 5.0, 10, step_ratio=0.2)
    expected = [0.1, 0.3, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15]
    np.testing.assert_allclose(schedule.curve(20), expected * 2, rtol=1e-14)


# The phases of PyTorch's OneCycleLR for total_steps=10, written out by hand: step i ends a phase at
# pct_start * 10 - 1, at 2 * pct_start * 10 - 2 if there are three, and at 9.
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, lambda i: cos_way(0.004, 0.1, i / 2) if i <= 2 else cos_way(0.1, 4e-7, (i - 2) / 7)),
        (
            {"anneal_strategy": "linear", "pct_start": 0.5, "div_factor": 10.0, "final_div_factor": 100.0},
            lambda i: 0.01 + 0.09 * i / 4 if i <= 4 else 0.1 + (1e-4 - 0.1) * (i - 4) / 5,
        ),
        (
            {"three_phase": True, "pct_start": 0.4},
            lambda i: (
                cos_way(0.004, 0.1, i / 3)
                if i <= 3
                else cos_way(0.1, 0.004, (i - 3) / 3)
                if i <= 6
                else cos_way(0.004, 4e-7, (i - 6) / 3)
            ),
        ),
    ],
)
def test_one_cycle_is_pytorchs(arguments, expected):
    rates = one_cycle(0.1, 10, **arguments).curve(12)
    np.testing.assert_allclose(rates[:10], [expected(i) for i in range(10)], rtol=1e-12)
    assert rates[10] == rates[11] == rates[9]


def cos_way(a, b, share):
    return b + (a - b) / 2 * (1 + math.cos(math.pi * share))


def test_warm_up():
    np.testing.assert_allclose(warm_up(0.1, 4).curve(6), [0.01, 0.04, 0.07, 0.1, 0.1, 0.1], rtol=1e-14)
    assert warm_up(0.1).num_steps == 5
    assert warm_up(0.1, 1)(1) == pytest.approx(0.01)


def test_chain_of_chains_and_its_end():
    inner = chain(constant(1.0, num_steps=2), constant(2.0, num_steps=2))
    outer = chain(inner, polynomial(3.0, 2))
    assert inner.num_steps == 4
    assert outer.num_steps == 6
    assert outer.curve(8).tolist() == [1, 1, 2, 2, 3, 0, 0, 0]
    assert chain(constant(1.0)).num_steps == math.inf


def test_chain_ends_in_any_function():
    schedule = chain(constant(1.0, num_steps=2), lambda k: 10.0 * k)
    assert schedule.curve(4).tolist() == [1, 1, 10, 20]
    assert schedule.num_steps == math.inf


def test_per_epoch():
    schedule = per_epoch(warm_up(0.1, 3, initial_factor=0.0), 4)
    np.testing.assert_allclose(schedule.curve(14), [0.0] * 4 + [0.05] * 4 + [0.1] * 6, rtol=1e-15)
    assert schedule.num_steps == 12
    assert chain(schedule, constant(7.0))(13) == 7.0


# ---- calling ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_curve_is_the_call(schedule):
    curve = schedule.curve(40)
    assert curve.dtype == np.float64
    assert curve.tolist() == [schedule(k) for k in range(1, 41)]
    assert np.all(np.isfinite(curve))
    assert np.all(curve >= 0)
    np.testing.assert_array_equal(schedule.curve([[1, 5], [40, 2]]), curve[[[0, 4], [39, 1]]])
    np.testing.assert_array_equal(schedule.curve(range(3, 6)), curve[2:5])
    assert schedule.curve(0).shape == (0,)


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_numbers_of_any_kind_are_iterations(schedule):
    for k in (1, 3, 12):
        for kind in (float, np.int64, np.float64, np.int32):
            assert float(schedule(kind(k))) == pytest.approx(schedule(k), rel=1e-14)


@pytest.mark.parametrize("schedule", ALL, ids=repr)
@pytest.mark.parametrize("bad", [0, -1, 0.5, math.nan, None, "1"])
def test_bad_iterations(schedule, bad):
    with pytest.raises(ValueError, match=r"the iteration must be one number from 1; got .*schedule\(1\)"):
        schedule(bad)


def test_several_iterations_want_curve():
    with pytest.raises(ValueError, match=r"got ndarray of several; use \.curve"):
        constant(0.1)(np.arange(1, 5))
    with pytest.raises(ValueError, match="must be one number from 1"):
        constant(0.1).curve([1, 0])


def test_a_schedule_of_ones_own():
    class halving(Schedule):
        def rate_at(self, iteration):
            return 0.1 * 0.5 ** (iteration - 1)

    assert halving().curve(3).tolist() == [0.1, 0.05, 0.025]
    assert repr(halving()) == "halving()"
    assert chain(warm_up(0.1), halving())(7) == 0.05


# ---- schedules are values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [*ALL, reduce_on_plateau(0.1, patience=3)], ids=repr)
def test_values(schedule):
    names = {name: getattr(schedules, name) for name in schedules.__all__}
    assert eval(repr(schedule), {"inf": math.inf, **names}) == schedule
    for twin in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule)):
        assert twin == schedule
        assert hash(twin) == hash(schedule)
        assert repr(twin) == repr(schedule)
    assert schedule != constant(0.123)
    with pytest.raises(AttributeError):
        schedule.num_steps = 3


def test_repr_is_the_shortest_call():
    assert repr(time_based_decay(0.2, 0.01)) == "time_based_decay(0.2, 0.01)"
    assert repr(time_based_decay(0.2, 0.01, offset=1)) == "time_based_decay(0.2, 0.01, offset=1)"
    assert repr(piecewise(0.1, period=3)) == "piecewise(0.1, period=3)"
    assert repr(chain(warm_up(0.1), constant(0.1))) == "chain(warm_up(0.1), constant(0.1))"


def test_schedules_are_trees_of_their_rates():
    schedule = chain(warm_up(0.1, 3), time_based_decay(0.2, 0.01))
    leaves, structure = tree.flatten(schedule)
    assert leaves == [0.1, 0.1, 1.0, 0.2, 0.01]
    assert tree.unflatten(structure, leaves) == schedule
    doubled = tree.unflatten(structure, [0.2, 0.1, 1.0, 0.4, 0.01])
    assert doubled.curve(9).tolist() == (2 * schedule.curve(9)).tolist()


# ---- bad arguments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: constant(-0.1),
            r"constant\(rate=-0.1\): rate must be finite and not negative; got -0.1; for",
        ),
        (lambda: constant(math.nan), r"got nan; for example, constant\(0.1\) works"),
        (lambda: constant(math.inf), "got inf"),
        (lambda: constant(0.1, num_steps=0), r"num_steps must be a whole number from 1, or math.inf; got 0"),
        (lambda: constant(0.1, num_steps=2.5), r"got 2.5"),
        (lambda: time_based_decay(0.2, -0.01), r"time_based_decay\(decay=-0.01\)"),
        (lambda: time_based_decay(0.2, math.nan), r"time_based_decay\(decay=nan\)"),
        (lambda: time_based_decay(-0.2, 0.01), r"time_based_decay\(initial=-0.2\)"),
        (lambda: time_based_decay(0.2, 0.01, offset=2), r"offset must be 0 .* or 1 .*; got 2"),
        (lambda: piecewise(0.1, 1.5), r"drop_factor must be greater than 0 and at most 1; got 1.5"),
        (lambda: piecewise(0.1, 0.0), r"got 0.0"),
        (lambda: piecewise(0.1, 0.5, 0), r"period must be a whole number from 1; got 0"),
        (lambda: exponential(0.1, -0.5), r"exponential\(drop_factor=-0.5\)"),
        (lambda: polynomial(0.1, math.inf), r"num_steps must be a whole number from 1; got inf"),
        (lambda: polynomial(0.1, 10, power=0), r"power must be finite and greater than 0"),
        (lambda: cosine(0.1, 0), r"cosine\(period=0\)"),
        (lambda: cosine(0.1, 10, period_growth=0.5), r"period_growth must be at least 1"),
        (lambda: cyclical(0.1, 2, 10, step_ratio=1.0), r"between 0 and 1, both excluded; got 1.0"),
        (lambda: one_cycle(0.1, 100, pct_start=0.0), r"pct_start"),
        (lambda: one_cycle(0.1, 2), r"each phase must end after the one before; got ends at steps -0.4, 1"),
        (lambda: one_cycle(0.1, 100, three_phase=True, pct_start=0.6), "each phase must end after"),
        (lambda: one_cycle(0.1, 100, anneal_strategy="sine"), r'"cos" and "linear" work'),
        (lambda: warm_up(0.1, initial_factor=-1), r"warm_up\(initial_factor=-1\)"),
        (chain, r"chain\(\): there is no schedule"),
        (
            lambda: chain(warm_up(0.1), constant(0.1), cosine(0.1, 10)),
            r"all but the last must end; got schedule 2 of 3, constant\(0.1\), which is endless; give it",
        ),
        (lambda: per_epoch(constant(0.1), 0), r"iterations_per_epoch must be a whole number from 1"),
        (lambda: reduce_on_plateau(0.1, factor=1.0), r"reduce_on_plateau\(factor=1.0\)"),
        (lambda: reduce_on_plateau(0.1, patience=-1), r"patience must be a whole number from 0"),
        (lambda: reduce_on_plateau(0.1, threshold_mode="absolute"), r'"rel" and "abs" work'),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constant(np.array([0.1, 0.2])), "must be finite and not negative"),
        (lambda: constant("fast"), r"constant\(rate='fast'\)"),
        (lambda: chain(0.1, constant(0.1)), r"each must be a schedule .*; got schedule 1 of 2, 0.1;"),
        (lambda: chain(warm_up(0.1), reduce_on_plateau(0.1)), r"got schedule 2 of 2, reduce_on_plateau"),
        (lambda: per_epoch(0.1, 10), r"must be a function of the epoch; got 0.1"),
    ],
)
def test_arguments_of_the_wrong_type(make, message):
    with pytest.raises(TypeError, match=message):
        make()


# ---- reduce_on_plateau ------------------------------------------------------------------------------------


def test_plateau_lowers_after_more_than_patience_bad_losses():
    tracker = reduce_on_plateau(1.0, factor=0.5, patience=2).tracker()
    losses = [5.0, 4.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0]
    assert [tracker(loss) for loss in losses] == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]
    assert tracker.learn_rate == 0.25
    assert "learn_rate=0.25" in repr(tracker)


def test_plateau_threshold_modes():
    losses = [1.0, 0.95, 0.95]
    relative = reduce_on_plateau(1.0, factor=0.5, patience=0, threshold=0.1)
    absolute = reduce_on_plateau(1.0, factor=0.5, patience=0, threshold=0.01, threshold_mode="abs")
    assert [relative.tracker()(1.0)] == [1.0]
    assert run(relative, losses).learn_rate == 0.25
    assert run(absolute, losses).learn_rate == 0.5


def run(plateau, losses):
    state = plateau.start()
    for loss in losses:
        state = plateau.update(state, loss)
    return state


def test_plateau_cooldown_min_rate_and_eps():
    assert run(reduce_on_plateau(1.0, factor=0.5, patience=0, cooldown=2), [1.0] * 5).learn_rate == 0.25
    assert run(reduce_on_plateau(1.0, factor=0.5, patience=0, min_rate=0.3), [1.0] * 9).learn_rate == 0.3
    assert run(reduce_on_plateau(1e-8, factor=0.5, patience=0), [1.0] * 9).learn_rate == 1e-8


def test_plateau_counts_nan_as_bad_and_is_pure():
    plateau = reduce_on_plateau(1.0, factor=0.5, patience=1)
    state = plateau.update(plateau.start(), 1.0)
    assert plateau.update(state, math.nan) == plateau.update(state, math.nan) == PlateauState(1.0, 1.0, 1, 0)
    assert state == PlateauState(1.0, 1.0, 0, 0)
    assert tree.flatten(state)[0] == [1.0, 1.0, 0, 0]
