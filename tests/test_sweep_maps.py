# SPDX-License-Identifier: MIT
"""Maps of sweeps over one and two axes: the data in the artists. Nothing is compared by pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dualtape import plots
from dualtape.loops._over import Over, grid, points
from dualtape.loops._results import Runs

pytest.importorskip("matplotlib")

from matplotlib.colors import LogNorm, Normalize, to_hex
from plotted import (
    RATES,
    RED,
    _settings_untouched,  # noqa: F401 - for every test here
    labels_of,
    lines_of,
    mesh_of,
    one_axis,
    runs_of,
    two_axes,
)

# ---- maps -------------------------------------------------------------------------------------------------


def test_a_map_has_a_cell_per_run() -> None:
    runs = two_axes()
    ax = plots.sweep_map(runs, title="Sweep")
    cells = mesh_of(ax).get_array()
    assert cells.shape == (3, 4)  # rows are y, the second axis
    np.testing.assert_array_equal(cells.filled(-1.0), np.where(np.isnan(runs.value), -1.0, runs.value).T)
    assert isinstance(mesh_of(ax).norm, LogNorm)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")) == ("learn_rate", "momentum", "Sweep")
    assert ax.figure.axes[1].get_ylabel() == "final value"


def test_cells_end_half_way_between_neighbours() -> None:
    corners = mesh_of(plots.sweep_map(two_axes())).get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], 10.0 ** np.array([-3.5, -2.5, -1.5, -0.5, 0.5]))
    np.testing.assert_allclose(corners[:, 0, 1], [-0.25, 0.25, 0.7, 1.1])


def test_a_map_marks_the_best_and_what_is_not_finite() -> None:
    ax = plots.sweep_map(two_axes())
    assert list(labels_of(ax)) == ["best: 1e-13", "not finite: 1"]
    (star,) = ax.lines
    np.testing.assert_allclose(star.get_data(), [[0.1], [0.5]])
    assert to_hex(mesh_of(ax).cmap.get_bad()).upper() == RED
    assert to_hex(labels_of(ax)["not finite: 1"].get_facecolor()).upper() == RED


def test_values_of_runs_that_are_not_finite_do_not_count() -> None:
    runs = two_axes()
    runs.value[3, 2] = 1e-300
    ax = plots.sweep_map(runs)
    assert mesh_of(ax).get_array().mask[2, 3]
    assert mesh_of(ax).norm.vmin == pytest.approx(1e-13)
    assert next(iter(labels_of(ax))) == "best: 1e-13"


def test_values_are_put_in_order_along_an_axis() -> None:
    runs = runs_of(grid(b=[3.0, 1.0, 2.0], a=[5.0, 4.0]), np.arange(6.0))
    ax = plots.sweep_map(runs)
    np.testing.assert_array_equal(mesh_of(ax).get_array(), [[3, 5, 1], [2, 4, 0]])
    assert [float(v[0]) for v in ax.lines[0].get_data()] == [3.0, 5.0]
    assert isinstance(mesh_of(ax).norm, Normalize)
    assert not isinstance(mesh_of(ax).norm, LogNorm)


@pytest.mark.parametrize(
    ("over", "labels"),
    [
        (points(a=[1.0, 2.0], b=[3.0, 4.0]) * grid(c=[1.0, 2.0]), ("number of point (a, b)", "c")),
        (points(a=[1.0, 2.0]) * grid(w=np.ones((2, 3))), ("a", "number of w")),
        (grid(seed=[7.0, 7.0], b=[1.0, 2.0]), ("number of seed", "b")),
    ],
)
def test_axes_without_a_number_are_counted(over: Over, labels: tuple[str, str]) -> None:
    ax = plots.sweep_map(runs_of(over, np.arange(4.0)))
    assert (ax.get_xlabel(), ax.get_ylabel()) == labels
    counted = labels[0].startswith("number")
    edges = mesh_of(ax).get_coordinates()[0, :, 0]
    np.testing.assert_array_equal(edges, [-0.5, 0.5, 1.5] if counted else [0.5, 1.5, 2.5])


def test_a_large_map_is_thinned_and_keeps_its_best() -> None:
    value = np.ones((3000, 2))
    value[1001, 1] = 0.5
    ax = plots.sweep_map(runs_of(grid(a=np.arange(3000.0), b=[0.0, 1.0]), value))
    assert mesh_of(ax).get_array().shape == (2, 800)
    assert [float(v[0]) for v in ax.lines[0].get_data()] == [1001.0, 1.0]


def test_a_few_high_values_do_not_take_all_colours() -> None:
    value = np.geomspace(1e-3, 1, 200)
    value[-2:] = 1e200
    norm = mesh_of(plots.sweep_map(runs_of(grid(a=np.arange(100.0), b=[0.0, 1.0]), value))).norm
    assert norm.vmin == pytest.approx(1e-3)
    assert norm.vmax < 1.0


@pytest.mark.parametrize(
    ("value", "log", "logarithmic", "lowest"),
    [
        ([1.0, 1e-3, 0.0, 1e-6], None, True, 1e-7),
        ([1.0, 1e-3, -1.0, 1e-6], None, False, -1.0),
        ([1.0, 2.0, 3.0, 4.0], None, False, 1.0),
        ([1.0, 2.0, 3.0, 4.0], True, True, 1.0),
        ([-1.0, -2.0, -3.0, 0.0], True, False, -3.0),
        ([1.0, 1e-3, 1e-6, 1e-9], False, False, 1e-9),
        ([5.0, 5.0, 5.0, 5.0], None, False, 4.5),
    ],
)
def test_the_logarithm(value: list[float], log: bool | None, logarithmic: bool, lowest: float) -> None:
    ax = plots.sweep_map(runs_of(grid(a=[1.0, 2.0], b=[1.0, 2.0]), value), log=log)
    norm = mesh_of(ax).norm
    assert isinstance(norm, LogNorm) == logarithmic
    assert norm.vmin == pytest.approx(lowest)
    assert not np.ma.getmaskarray(mesh_of(ax).get_array()).any()
    line = plots.sweep_map(runs_of(grid(a=RATES), value), log=log)
    assert (line.get_yscale() == "log") == logarithmic


def test_a_map_of_nothing_finite() -> None:
    ax = plots.sweep_map(runs_of(grid(a=[1.0, 2.0], b=[1.0]), [np.nan, np.inf], "nonfinite"))
    assert list(labels_of(ax)) == ["not finite: 2"]
    ax = plots.sweep_map(runs_of(grid(a=[1.0, 2.0]), [np.nan, np.inf], "nonfinite"))
    assert list(labels_of(ax)) == ["not finite: 2"]


def test_by() -> None:
    runs = two_axes()
    ax = plots.sweep_map(runs, "state['x2']")
    assert ax.figure.axes[1].get_ylabel() == "final state.x2"
    runs = runs_of(grid(a=RATES), np.ones(4), value={"loss": np.arange(4.0), "g": np.ones((4, 2))})
    assert plots.sweep_map(runs).get_ylabel() == "final loss"

    def norm(runs: Runs) -> Any:
        return np.abs(runs.value["g"]).max(axis=-1)

    assert plots.sweep_map(runs, norm).get_ylabel() == "final norm"
    assert plots.sweep_map(runs, lambda runs: runs.iterations).get_ylabel() == "final value"


# ---- one axis ---------------------------------------------------------------------------------------------


def test_a_line_says_why_each_run_stopped() -> None:
    ax = plots.sweep_map(one_axis(), title="Rates")
    assert list(labels_of(ax)) == [
        "ran all iterations: 1", "stopped by until: 1", "interrupted: 1", "not finite: 1", "best: 0.001",
    ]  # fmt: skip
    lines = lines_of(ax)
    np.testing.assert_allclose(lines["stopped by until: 1"].get_data(), [[0.01], [1e-3]])
    np.testing.assert_allclose(lines["not finite: 1"].get_xdata(), [1.0])
    assert lines["not finite: 1"].get_transform() == ax.get_xaxis_transform()
    np.testing.assert_allclose(lines["best: 0.001"].get_data(), [[0.01], [1e-3]])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1.0, 1e-3, 1e-2, np.nan])
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_title(loc="left")) == ("log", "log", "Rates")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("learn_rate", "final value")


@pytest.mark.parametrize(
    ("values", "scale"),
    [(np.geomspace(1, 1000, 30), "log"), (np.linspace(0.001, 1, 30), "linear"), (np.geomspace(1, 9, 30), "linear"),
     (np.linspace(0, 1, 30), "linear"), ([0.01, 1.0], "linear")],
)  # fmt: skip
def test_geometric_axes(values: Any, scale: str) -> None:
    assert plots.sweep_map(runs_of(grid(a=values), np.ones(len(values)))).get_xscale() == scale
