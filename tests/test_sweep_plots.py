# SPDX-License-Identifier: MIT
"""Pictures of sweeps: fans of curves and runs in a plane, every kind of sweep, messages. Nothing is compared by pixels;
maps are in test_sweep_maps.py."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

import dualtape as dt
from dualtape import plots
from dualtape.loops._over import grid, points
from dualtape.loops._results import Run, Runs

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt
from matplotlib.colors import LogNorm, to_hex
from matplotlib.contour import ContourSet
from plotted import (
    RATES,
    RED,
    _settings_untouched,  # noqa: F401 - for every test here
    clouds_of,
    labels_of,
    lines_of,
    one_axis,
    recorded,
    runs_of,
    two_axes,
)

# ---- fans -------------------------------------------------------------------------------------------------


def bands_of(ax: Any) -> dict[str, Any]:
    """Label -> lower and upper border of the bands, over the records."""
    found = {}
    for band in ax.collections:
        vertices = band.get_paths()[0].vertices
        x = np.unique(vertices[:, 0])
        found[band.get_label()] = np.array([[f(vertices[vertices[:, 0] == at, 1]) for at in x] for f in (min, max)])
    return found


def test_a_fan_shows_quantiles() -> None:
    history = np.arange(1.0, 102.0)[:, None] / np.arange(1.0, 5.0)
    ax = plots.loss_fan(recorded(history), title="Fan")
    assert list(labels_of(ax)) == ["5 to 95 %", "25 to 75 %", "median", "best run"]
    lines = lines_of(ax)
    np.testing.assert_allclose(lines["median"].get_data(), [[2, 4, 6, 8], history[50]])
    np.testing.assert_allclose(lines["best run"].get_ydata(), history[0])
    np.testing.assert_allclose(bands_of(ax)["5 to 95 %"], history[[5, 95]])
    np.testing.assert_allclose(bands_of(ax)["25 to 75 %"], history[[25, 75]])
    assert ax.get_xlim() == (2, 8)
    assert ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")) == ("iteration", "value", "Fan")


def test_runs_that_stopped_go_on_with_their_final_value() -> None:
    history = [[4.0, 2.0, np.nan, np.nan], [5.0, 4.0, 3.0, 2.5], [6.0, 5.0, 4.0, 3.0]]
    runs = recorded(history, value=[1.5, 2.5, 3.0], iterations=[5, 8, 8], stopped=["until", "iterations", "iterations"])
    ax = plots.loss_fan(runs, quantiles=(0.0, 0.5, 1.0))
    np.testing.assert_array_equal(lines_of(ax)["best run"].get_ydata(), [4.0, 2.0, 1.5, 1.5])
    np.testing.assert_array_equal(lines_of(ax)["median"].get_ydata(), [5.0, 4.0, 3.0, 2.5])
    np.testing.assert_array_equal(bands_of(ax)["0 to 100 %"][0], [4.0, 2.0, 1.5, 1.5])
    by_function = plots.loss_fan(runs, lambda runs: runs.history + 1, quantiles=(0.0,))
    np.testing.assert_array_equal(lines_of(by_function)["0 %"].get_ydata(), [5.0, 3.0, 3.0, 3.0])


def test_quantiles_of_runs_that_diverge_leave_the_picture() -> None:
    history = [[4.0, 2.0, 1.0], [5.0, 4.0, 3.0], [6.0, 1e40, np.nan], [6.0, np.inf, np.nan]]
    stopped = ["iterations", "iterations", "nonfinite", "nonfinite"]
    runs = recorded(history, value=[1.0, 3.0, 1e60, np.inf], iterations=[6, 6, 5, 4], stopped=stopped)
    ax = plots.loss_fan(runs, quantiles=(0.25, 0.5, 0.75))
    upper = bands_of(ax)["25 to 75 %"][1]
    low, high = ax.get_ylim()
    assert 0.5 < low < 1.0
    assert 5.0 < high < 6.0
    assert upper[0] == 6.0
    assert np.all(upper[1:] > high)
    assert np.all(np.isfinite(upper))
    np.testing.assert_array_equal(lines_of(ax)["median"].get_ydata(), [5.0, 4.0, 3.0])


@pytest.mark.parametrize("log", [None, False, True])
def test_fans_of_special_values(log: bool | None) -> None:
    negative = plots.loss_fan(recorded(-np.ones((3, 4)) * [1, 10, 100, 1000]), log=log)
    assert negative.get_yscale() == "linear"
    zeros = plots.loss_fan(recorded([[1.0, 1e-4, 0.0]]), log=log)
    assert zeros.get_yscale() == ("linear" if log is False else "log")
    np.testing.assert_allclose(lines_of(zeros)["median"].get_ydata(), [1.0, 1e-4, 0.0 if log is False else 1e-5])
    single = plots.loss_fan(recorded([[3.0]]), log=log)
    assert lines_of(single)["median"].get_marker() == "o"


def test_all_runs_lost_in_the_end() -> None:
    history = [[3.0, 2.0, np.inf], [4.0, np.inf, np.nan]]
    runs = recorded(history, value=[np.inf, np.inf], iterations=[6, 4], stopped="nonfinite")
    ax = plots.loss_fan(runs)
    assert "best run" not in labels_of(ax)
    assert ax.get_ylim()[1] < 10


def test_fans_of_several_axes_and_of_entries() -> None:
    over = grid(a=[1.0, 2.0], b=[1.0, 2.0, 3.0])
    history = np.arange(1.0, 13.0).reshape(2, 3, 2)
    value = {"loss": history[..., -1], "norm": history[..., -1]}
    runs = runs_of(over, np.ones(6), value=value, history={"loss": history, "norm": 2 * history}, record_every=4)
    assert plots.loss_fan(runs).get_ylabel() == "loss"
    ax = plots.loss_fan(runs, "value['norm']", quantiles=[1.0])
    assert ax.get_ylabel() == "norm"
    np.testing.assert_array_equal(lines_of(ax)["100 %"].get_data(), [[4, 8], [22, 24]])


# ---- planes -----------------------------------------------------------------------------------------------


def spread(count: int = 40) -> Runs:
    """Runs from random starts; the last two not finite, the others stopped by until or not."""
    rng = np.random.default_rng(3)
    over = points(x1_0=rng.uniform(-2, 2, count), x2_0=rng.uniform(-1, 3, count))
    stopped = np.where(np.arange(count) % 2 == 0, "until", "iterations").astype("<U11")
    stopped[-2:] = "nonfinite"
    value = np.geomspace(1e-12, 1, count)
    value[-2:] = np.nan
    state = {"x1": 1 + value, "x2": 1 - value}
    return runs_of(over, value, stopped, state=state, iterations=np.arange(1, count + 1))


def test_a_plane_of_final_states() -> None:
    runs = spread()
    ax = plots.run_plane(runs, title="Ends")
    (cloud,) = clouds_of(ax)
    order = np.argsort(runs.value[:-2])[::-1]  # low ones on top
    np.testing.assert_array_equal(cloud.get_offsets(), np.transpose([1 + runs.value, 1 - runs.value])[order])
    np.testing.assert_array_equal(cloud.get_array(), runs.value[order])
    assert isinstance(cloud.norm, LogNorm)
    assert list(labels_of(ax)) == ["best: 1e-12", "not in the picture: 2"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")) == ("final x1", "final x2", "Ends")
    assert ax.figure.axes[1].get_ylabel() == "final value"


def test_a_plane_of_starting_points() -> None:
    runs = spread()
    ax = plots.run_plane(runs, "x1_0", "x2_0", "iterations")
    bad, good = clouds_of(ax)
    x, y = (runs.over.columns()[name] for name in runs.over.names)
    np.testing.assert_array_equal(bad.get_offsets(), np.transpose([x, y])[-2:])
    np.testing.assert_array_equal(good.get_array(), np.arange(38, 0, -1))
    assert list(labels_of(ax)) == ["not finite: 2", "best: 1e-12"]
    assert (ax.get_xlabel(), ax.figure.axes[1].get_ylabel()) == ("x1_0", "iterations")
    np.testing.assert_array_equal(lines_of(ax)["best: 1e-12"].get_data(), [[x[0]], [y[0]]])


def test_a_plane_of_reasons() -> None:
    ax = plots.run_plane(spread(), "x1_0", "x2_0", "stopped")
    labels = labels_of(ax)
    assert list(labels) == ["not finite: 2", "ran all iterations: 19", "stopped by until: 19", "best: 1e-12"]
    assert len(ax.figure.axes) == 1
    colors = {to_hex(cloud.get_facecolor()[0]).upper() for cloud in clouds_of(ax)}
    assert colors == {RED, "#0072B2", "#009E73"}


def test_planes_of_anything() -> None:
    runs = two_axes()
    ax = plots.run_plane(runs, "learn_rate", "momentum", "learn_rate")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert ax.figure.axes[1].get_ylabel() == "learn_rate"
    assert sum(len(cloud.get_offsets()) for cloud in clouds_of(ax)) == 12

    def ratio(runs: Runs) -> Any:
        return runs.state["x2"] / runs.state["x1"]

    ax = plots.run_plane(runs, "iterations", ratio, "state.x2")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("iterations", "final ratio")
    assert ax.figure.axes[1].get_ylabel() == "final state.x2"
    pair = runs_of(grid(a=RATES), np.ones(4), state=(np.arange(4.0), np.arange(4.0)), value=None)
    ax = plots.run_plane(pair, colour="stopped")  # no value, hence no star
    assert ax.get_xlabel() == "final state.0"
    assert list(labels_of(ax)) == ["ran all iterations: 4"]


def test_limits() -> None:
    runs = spread(200)
    runs.state["x1"][0] = 1e200  # one that all but diverged
    ax = plots.run_plane(runs)
    assert ax.get_xlim()[1] < 3
    assert "not in the picture: 3" in labels_of(ax)
    ax = plots.run_plane(runs, "x1_0", "x2_0", xlim=(0, 1), ylim=(-5, 5))
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 1), (-5, 5))
    x = runs.over.columns()["x1_0"]
    outside = np.count_nonzero((x < 0) | (x > 1))
    assert f"not in the picture: {outside}" in labels_of(ax)
    assert all(np.all((c.get_offsets()[:, 0] >= 0) & (c.get_offsets()[:, 0] <= 1)) for c in clouds_of(ax))


def test_contours() -> None:
    def loss(x1: Any, x2: Any) -> Any:
        return (x2 - x1**2) ** 2 + (1 - x1) ** 2

    def branching(x1: Any, x2: Any) -> Any:
        return x1 if x1 > 0 else -x1

    for function in (loss, branching, lambda x1, x2: loss(x1, x2) - 50):
        ax = plots.run_plane(spread(), "x1_0", "x2_0", loss=function)
        assert any(isinstance(artist, ContourSet) for artist in ax.collections)
    for function in (lambda x1, x2: 1.0, lambda x1, x2: np.full(np.shape(x1), np.nan)):
        ax = plots.run_plane(spread(), "x1_0", "x2_0", loss=function)
        assert not any(isinstance(artist, ContourSet) for artist in ax.collections)


# ---- all of them ------------------------------------------------------------------------------------------


def test_pictures_are_drawn_where_they_are_told() -> None:
    _, axes = plt.subplots(2, 2)
    assert plots.sweep_map(two_axes(), ax=axes[0, 0]) is axes[0, 0]
    assert plots.sweep_map(one_axis(), ax=axes[0, 1]) is axes[0, 1]
    assert plots.loss_fan(recorded(np.ones((2, 3))), ax=axes[1, 0]) is axes[1, 0]
    assert plots.run_plane(spread(), ax=axes[1, 1]) is axes[1, 1]
    assert len(plt.get_fignums()) == 1
    axes[0, 0].figure.canvas.draw()


def test_one_run_of_a_sweep_is_a_run_for_the_other_pictures() -> None:
    runs = recorded([[3.0, 2.0, np.nan], [3.0, 2.0, 1.0]], iterations=[5, 6])
    line = plots.loss_curve({"first": runs[0], "second": runs[1]}).lines[0]
    np.testing.assert_array_equal(line.get_data(), [[2, 4], [3.0, 2.0]])
    run = Run(state=1.0, history={"loss": np.ones(2)}, iterations=20, stopped="until", record_every=10)
    np.testing.assert_array_equal(plots.loss_curve(run).lines[0].get_xdata(), [10, 20])


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (
            lambda: plots.sweep_map(runs_of(grid(a=[1.0], b=[1.0], c=[1.0]), [1.0])),
            ValueError,
            r"sweep_map\(runs\): a map has one axis or two; got a sweep over a, b, c; take a part",
        ),
        (lambda: plots.sweep_map(one_axis(), "loss"), ValueError, r"got 'loss'; these runs have value, state\['x1'\]"),
        (
            lambda: plots.sweep_map(one_axis(), lambda runs: 1.0),
            dt.ShapeError,
            r"got shape \(\); the shape wanted is \(4,",
        ),
        (lambda: plots.loss_fan(one_axis()), ValueError, r"loss_fan: the runs have recorded nothing"),
        (lambda: plots.loss_fan(recorded([[1.0]]), quantiles=()), ValueError, "quantiles lie between 0 and 1"),
        (lambda: plots.loss_fan(recorded([[1.0]]), quantiles=(5, 95)), ValueError, r"got \(5, 95\); \(0\.25, 0\.5"),
        (lambda: plots.loss_fan(recorded([[1.0]]), quantiles=(0.5, np.nan)), ValueError, "between 0 and 1"),
        (
            lambda: plots.loss_fan(recorded([[np.nan], [np.inf]])),
            ValueError,
            r"nothing to draw; got 2 runs with 1 records, none of them finite",
        ),
        (lambda: plots.loss_fan(recorded(np.ones((2, 0)), value=[1.0, 2.0])), ValueError, "got 2 runs with 0 records"),
        (
            lambda: plots.loss_fan(recorded([[1.0]]), "state.x1"),
            ValueError,
            r"got 'state\.x1'; the history has history",
        ),
        (lambda: plots.run_plane(spread(), "x1_0"), ValueError, r"run_plane\(y=None\): a point needs two numbers"),
        (
            lambda: plots.run_plane(spread(), "a", "x2_0"),
            ValueError,
            r"run_plane\(x='a'\): .*got 'a'; these runs have val",
        ),
        (
            lambda: plots.run_plane(spread(), "x1_0", "x2_0", "reason"),
            ValueError,
            r"run_plane\(colour=\.\.\.\): .*'reason'",
        ),
        (
            lambda: plots.run_plane(spread(), xlim=(1, 1)),
            ValueError,
            r"run_plane\(xlim=\(1, 1\)\): limits must be finite",
        ),
        (
            lambda: plots.run_plane(two_axes(), "learn_rate", "momentum", xlim=(-1, 1)),
            ValueError,
            "finite and rising and positive, on a logarithmic axis",
        ),
        (
            lambda: plots.run_plane(runs_of(grid(a=RATES), np.ones(4), state=np.ones(4))),
            ValueError,
            r"which two numbers place a run; got a state with 1; pass x and y, out of a, value, state",
        ),
        (
            lambda: plots.run_plane(runs_of(grid(w=np.ones((4, 2))), np.ones(4)), "w", "value"),
            ValueError,
            r"run_plane\('w'\): a run is placed by single numbers; got a hyperparameter of shape \(2,\)",
        ),
        (
            lambda: plots.run_plane(runs_of(grid(a=RATES), np.full(4, np.nan), "nonfinite")),
            ValueError,
            "no run has a place in this plane; got 4 runs",
        ),
    ],
)
def test_misuse(draw, error, message) -> None:
    with pytest.raises(error, match=message):
        draw()
    assert not plt.get_fignums()


def test_matplotlib_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for draw in (
        lambda: plots.sweep_map(two_axes()),
        lambda: plots.loss_fan(recorded([[1.0]])),
        lambda: plots.run_plane(spread()),
    ):
        with pytest.raises(ImportError, match=r"pip install dualtape\[plots\]"):
            draw()
