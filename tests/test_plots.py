# SPDX-License-Identifier: MIT
"""Pictures: the data in the artists, every kind of input, messages. Nothing is compared by pixels."""

import builtins
import sys
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

from dualtape import plots, schedules
from dualtape.plots import _field

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402 - after the backend is chosen

X1, X2 = [2.0, 0.2, 0.5488], [2.0, 2.4, 1.928]
LOSSES = [5.0, 6.2096, 2.85]


def loss(x1, x2):
    return (x2 - x1**2) ** 2 + (1 - x1) ** 2


def gradient(x1, x2):
    return -4 * x1 * (x2 - x1**2) - 2 * (1 - x1), 2 * (x2 - x1**2)


@pytest.fixture(autouse=True)
def _settings_untouched():
    before = dict(matplotlib.rcParams)
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()  # what cannot be drawn fails here
    plt.close("all")
    assert dict(matplotlib.rcParams) == before


def lines_of(ax):
    """Label -> (x, y) of the lines in the legend."""
    handles, labels = ax.get_legend_handles_labels()
    return {label: handle.get_data() for handle, label in zip(handles, labels, strict=True)}


def arrows_of(ax):
    (quiver,) = (c for c in ax.collections if isinstance(c, matplotlib.quiver.Quiver))
    return quiver


def run_of(history, **more):
    return SimpleNamespace(history=history, state=None, **more)


# ---- the gradient field -----------------------------------------------------------------------------------


def test_arrows_point_down_the_gradient():
    quiver = arrows_of(plots.gradient_field(loss, (-2, 2), (-1, 3), gradient=gradient, arrows=9))
    g1, g2 = gradient(quiver.X, quiver.Y)
    np.testing.assert_allclose(quiver.U * g2 - quiver.V * g1, 0, atol=1e-12)
    assert np.all(quiver.U * -g1 + quiver.V * -g2 > 0)
    assert len(quiver.X) == 81


def test_arrow_lengths_are_the_fourth_root_of_the_gradient():
    quiver = arrows_of(plots.gradient_field(loss, (-2, 2), (-1, 3), gradient=gradient, arrows=8))
    length = np.hypot(quiver.U, quiver.V)
    size = np.hypot(*gradient(quiver.X, quiver.Y))
    np.testing.assert_allclose(length, 0.9 * 0.5 * (size / size.max()) ** 0.25, rtol=1e-12)


def test_arrows_of_stretched_axes_stay_in_their_cells():
    ax = plots.gradient_field(None, (0, 1), (0, 1000), gradient=lambda x, y: (x + 1, y + 1), arrows=10)
    quiver = arrows_of(ax)
    in_cells = np.hypot(quiver.U / 0.1, quiver.V / 100)
    assert in_cells.max() == pytest.approx(0.9)
    assert ax.get_aspect() == "auto"
    np.testing.assert_allclose(quiver.V / quiver.U, (quiver.Y + 1) / (quiver.X + 1))


def test_points_without_direction_get_no_arrow():
    def bowl(x1, x2):
        return np.where(x1 > 0.5, np.nan, 2 * x1), 2 * x2

    quiver = arrows_of(plots.gradient_field(None, (-1, 1), (-1, 1), gradient=bowl, arrows=5))
    assert len(quiver.X) == 25 - 5 - 1  # the column right of 0.5, and the middle
    flat = plots.gradient_field(lambda x1, x2: 3.0, (-1, 1), (-1, 1), gradient=lambda x1, x2: (0.0, 0.0))
    assert not flat.collections


def test_gradient_comes_from_dualtape_if_none_is_given(monkeypatch):
    asked = []

    def value_and_grad(function, argnums):
        def call(x1, x2):
            assert type(x1) is type(x2) is float
            asked.append((x1, x2))
            return function(x1, x2), gradient(x1, x2)

        assert argnums == (0, 1)
        return call

    monkeypatch.setattr(sys.modules["dualtape"], "value_and_grad", value_and_grad, raising=False)
    by_dualtape = arrows_of(plots.gradient_field(loss, (-2, 2), (-1, 3), arrows=6))
    by_hand = arrows_of(plots.gradient_field(loss, (-2, 2), (-1, 3), arrows=6, gradient=gradient))
    assert len(asked) == 36
    np.testing.assert_array_equal(by_dualtape.U, by_hand.U)
    np.testing.assert_array_equal(by_dualtape.V, by_hand.V)


def test_contours_are_even_in_the_logarithm():
    ax = plots.gradient_field(loss, (-2, 2), (-1, 3), gradient=gradient)
    levels = ax.collections[0].levels
    np.testing.assert_allclose(levels[1:] / levels[:-1], 10 ** (1 / 3))
    assert levels[-1] >= loss(-2.0, -1.0) > levels[-3]
    assert ax.figure.axes[1].get_ylabel() == "loss"


def test_contours_of_a_loss_far_from_zero():
    ax = plots.gradient_field(lambda x, y: loss(x, y) - 50, (-2, 2), (-1, 3), gradient=gradient)
    assert ax.figure.axes[1].get_ylabel() == "loss above -50"


def test_loss_that_takes_no_arrays_is_asked_point_by_point():
    def branching(x1, x2):
        return x1 * x1 if x1 > 0 else x2 * x2

    x1, x2 = np.meshgrid([-1.0, 1.0, 2.0], [3.0, 4.0])
    expected = [[9.0, 1.0, 4.0], [16.0, 1.0, 4.0]]
    np.testing.assert_array_equal(_field._on_grid(branching, x1, x2), expected)
    np.testing.assert_array_equal(_field._on_grid(lambda a, b: 1.0, x1, x2), np.ones((2, 3)))
    np.testing.assert_array_equal(_field._on_grid(loss, x1, x2), loss(x1, x2))


def test_paths_start_and_optimum():
    runs = {"slow": (X1, X2), "fast": np.transpose([X1, X2])}
    ax = plots.gradient_field(loss, (-2, 2.5), (-1, 3), gradient=gradient, paths=runs, optimum=(1, 1))
    lines = lines_of(ax)
    assert list(lines) == ["slow", "fast", "start", "optimum"]
    for label in runs:
        np.testing.assert_array_equal(lines[label], [X1, X2])
    np.testing.assert_array_equal(lines["start"], [[2.0], [2.0]])
    np.testing.assert_array_equal(lines["optimum"], [[1], [1]])
    assert ax.get_xlim() == (-2, 2.5)
    assert ax.get_ylim() == (-1, 3)
    assert ax.get_legend() is not None


def test_limits_follow_the_paths():
    ax = plots.gradient_field(None, gradient=gradient, paths=([0.0, 1.0, np.inf], [2.0, np.nan, 4.0]))
    assert ax.get_xlim() == pytest.approx((-0.1, 1.1))
    assert ax.get_ylim() == pytest.approx((1.8, 4.2))


@pytest.mark.parametrize(
    "path",
    [
        (X1, X2),
        [np.array(X1), tuple(X2)],
        np.transpose([X1, X2]),
        {"x1": X1, "x2": X2},
        run_of({"loss": LOSSES, "x1": X1, "x2": np.array(X2)}),
        run_of(namedtuple("History", "x1 x2")(X1, X2)),
    ],
    ids=type,
)
def test_every_kind_of_path(path):
    ax = plots.gradient_field(None, gradient=gradient, paths=path)
    np.testing.assert_array_equal(ax.lines[0].get_data(), [X1, X2])
    ax = plots.training_path(path)
    assert [line.get_ydata().tolist() for line in ax.lines] == [X1, X2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": None}, r"gradient_field\(None\): there is nothing to draw"),
        ({"xlim": (1, 1)}, r"gradient_field\(xlim=\(1, 1\)\): limits must be finite and rising"),
        ({"ylim": (0, np.inf)}, r"gradient_field\(ylim=\(0, inf\)\)"),
        ({"xlim": None}, r"xlim=None\): no path to take limits from; give xlim"),
        ({"arrows": 1}, "2 or more work"),
        ({"paths": [1.0, 2.0, 3.0]}, r"a path is a pair \(x1, x2\).*got \[1.0, 2.0, 3.0\]"),
        (
            {"paths": {"a": np.ones((2, 3))}},
            r"gradient_field\(paths\)\['a'\].*got an array of shape \(2, 3\)",
        ),
        ({"paths": ([1.0], [1.0, 2.0])}, "got 1 values of x1 and 2 of x2"),
        ({"paths": run_of([1.0])}, r"the run has recorded no 'x1'; .*let the step return a dict"),
    ],
)
def test_bad_fields(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.gradient_field(**{"loss": loss, "xlim": (-1, 1), "ylim": (-1, 1), **arguments})
    assert not plt.get_fignums()


# ---- over the iterations ----------------------------------------------------------------------------------


def test_training_path():
    ax = plots.training_path(X1, X2, iterations=range(3), optimum=(1, 1))
    lines = lines_of(ax)
    np.testing.assert_array_equal(lines["$x_1$"], [[0, 1, 2], X1])
    np.testing.assert_array_equal(lines["$x_2$"], [[0, 1, 2], X2])
    assert ax.get_xlim() == (0, 2)
    assert len(ax.lines) == 3  # the optimum (1, 1) is one level line
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("iteration", "learnables")


def test_training_paths_share_a_colour_per_run():
    ax = plots.training_path({"a": (X1, X2), "b": (X2, X1)})
    by_label = {line.get_label(): line for line in ax.lines}
    assert list(by_label) == ["a, $x_1$", "b, $x_1$", "a, $x_2$", "b, $x_2$"]
    assert by_label["a, $x_1$"].get_color() == by_label["a, $x_2$"].get_color()
    assert by_label["a, $x_1$"].get_color() != by_label["b, $x_1$"].get_color()
    assert [line.get_linestyle() for line in ax.lines] == ["-", "-", "--", "--"]


class Scalar:
    """Like a scalar dlarray: a number on demand."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return self.value


@pytest.mark.parametrize(
    "losses",
    [
        LOSSES,
        tuple(LOSSES),
        np.array(LOSSES),
        [Scalar(v) for v in LOSSES],
        run_of(LOSSES),
        run_of({"loss": LOSSES}),
    ],
    ids=lambda losses: type(losses).__name__,
)
def test_loss_curve(losses):
    ax = plots.loss_curve(losses)
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_data(), [[1, 2, 3], LOSSES])
    assert ax.get_yscale() == "log"
    assert ax.get_legend() is None
    assert ax.get_xlim() == (1, 3)


def test_several_losses_get_a_legend_and_keep_their_order():
    ax = plots.loss_curve({"rate 0.1": LOSSES, "rate 0.2": run_of(LOSSES, record_every=10)}, title="Loss")
    lines = lines_of(ax)
    assert list(lines) == ["rate 0.1", "rate 0.2"]
    np.testing.assert_array_equal(lines["rate 0.2"][0], [10, 20, 30])
    assert ax.get_xlim() == (1, 30)
    assert ax.get_title(loc="left") == "Loss"


def test_losses_without_logarithm():
    ax = plots.loss_curve([1.0, 0.0, np.nan, 0.01])
    assert np.isnan(ax.lines[0].get_ydata()).tolist() == [False, True, True, False]
    assert plots.loss_curve([-1.0, -2.0]).get_yscale() == "linear"
    assert plots.loss_curve(LOSSES, log=False).get_yscale() == "linear"


def test_draws_where_it_is_told():
    _, ax = plt.subplots()
    assert plots.loss_curve([3.0], iterations=[7], ax=ax) is ax
    assert len(plt.get_fignums()) == 1
    assert ax.lines[0].get_marker() == "o"  # a line of one point would be invisible


def test_learn_rate_curve():
    decay = schedules.time_based_decay(0.2, 0.01)
    rates = {
        "decay": decay,
        "function": lambda k: 0.1,
        "list": [0.3, 0.2],
        "run": run_of({"learn_rate": [0.1]}),
    }
    lines = lines_of(plots.learn_rate_curve(rates, iterations=50))
    np.testing.assert_array_equal(lines["decay"], [np.arange(1, 51), decay.curve(50)])
    np.testing.assert_array_equal(lines["function"][1], np.full(50, 0.1))
    np.testing.assert_array_equal(lines["list"], [[1, 2], [0.3, 0.2]])
    np.testing.assert_array_equal(lines["run"], [[1], [0.1]])
    assert len(plots.learn_rate_curve(decay).lines[0].get_xdata()) == 100
    ax = plots.learn_rate_curve(decay, iterations=[10, 20])
    np.testing.assert_array_equal(ax.lines[0].get_data(), [[10, 20], decay.curve([10, 20])])
    assert ax.get_ylim()[0] == 0


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: plots.loss_curve([]), ValueError, r"got shape \(0,\)"),
        (lambda: plots.loss_curve({}), ValueError, "got an empty dict"),
        (
            lambda: plots.loss_curve(np.ones((2, 2))),
            ValueError,
            r"got shape \(2, 2\); pass several lines as a dict",
        ),
        (
            lambda: plots.loss_curve({"a": ["x"]}),
            ValueError,
            r"loss_curve\['a'\]: the values must be numbers",
        ),
        (lambda: plots.loss_curve([None]), TypeError, "the values must be numbers"),
        (lambda: plots.loss_curve(LOSSES, iterations=[1]), ValueError, "got 3 values and 1 iterations"),
        (
            lambda: plots.loss_curve(run_of((LOSSES, X1))),
            ValueError,
            "recorded no 'loss'; got a history of type tuple",
        ),
        (lambda: plots.learn_rate_curve(run_of(LOSSES)), ValueError, "recorded no 'learn_rate'"),
        (lambda: plots.training_path(None), ValueError, "there is nothing to draw"),
        (lambda: plots.training_path(X1, X2[:2]), ValueError, "got 3 values of x1 and 2 of x2"),
    ],
)
def test_bad_curves(draw, error, message):
    with pytest.raises(error, match=message):
        draw()
    assert not plt.get_fignums()


def test_matplotlib_missing(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install dualtape\[plots\]"):
        plots.loss_curve(LOSSES)
