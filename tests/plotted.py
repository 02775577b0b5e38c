# SPDX-License-Identifier: MIT
"""Runs to draw, and what to look for in a figure: what tests of pictures of sweeps share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dualtape.loops._over import Over, grid
from dualtape.loops._results import Runs

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402 - after the backend is chosen
from matplotlib.collections import PathCollection, QuadMesh  # noqa: E402

RATES = np.geomspace(0.001, 1.0, 4)
RED = "#D55E00"


@pytest.fixture(autouse=True)
def _settings_untouched():
    before = dict(matplotlib.rcParams)
    yield
    for number in plt.get_fignums():
        figure = plt.figure(number)
        figure.set_layout_engine("none")  # layout and ticks take most of the time: one test below draws them
        for ax in figure.axes:
            ax.xaxis.set_visible(False)
            ax.yaxis.set_visible(False)
        figure.canvas.draw()  # what cannot be drawn fails here
    plt.close("all")
    assert dict(matplotlib.rcParams) == before


def runs_of(over: Over, final: Any, stopped: Any = "iterations", **more: Any) -> Runs:
    """Runs with given final values; the state is x1 = value, x2 = 2 * value."""
    value = np.asarray(final, dtype=np.float64).reshape(over.shape)
    parts: dict[str, Any] = {
        "over": over,
        "state": {"x1": value, "x2": 2 * value},
        "value": value,
        "iterations": np.full(over.shape, 8),
        "stopped": np.broadcast_to(np.asarray(stopped), over.shape),
    }
    return Runs(**(parts | more))


def two_axes() -> Runs:
    """4 rates x 3 momenta, values over decades, one run not finite, the best at (2, 1)."""
    value = 10.0 ** -np.arange(12.0).reshape(4, 3)
    value[2, 1], value[3, 2] = 1e-13, np.nan
    stopped = np.full((4, 3), "until", dtype="<U11")
    stopped[3, 2] = "nonfinite"
    return runs_of(grid(learn_rate=RATES, momentum=[0.0, 0.5, 0.9]), value, stopped)


def one_axis() -> Runs:
    stopped = ["iterations", "until", "interrupted", "nonfinite"]
    return runs_of(grid(learn_rate=RATES), [1.0, 1e-3, 1e-2, 1e-9], stopped)


def recorded(history: Any, value: Any = None, iterations: Any = None, stopped: Any = "iterations") -> Runs:
    """One axis of runs with a record every 2 iterations."""
    history = np.asarray(history, dtype=np.float64)
    count, records = history.shape
    done = np.full(count, 2 * records) if iterations is None else np.asarray(iterations)
    return runs_of(
        grid(learn_rate=np.linspace(0.1, 1, count)),
        history[:, -1] if value is None else value,
        stopped,
        history=history,
        iterations=done,
        record_every=2,
    )


def labels_of(ax: Any) -> dict[str, Any]:
    """Label -> artist, of the legend as it is drawn."""
    box = ax.get_legend()
    return {} if box is None else dict(zip([t.get_text() for t in box.get_texts()], box.legend_handles, strict=True))


def lines_of(ax: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in ax.lines}


def mesh_of(ax: Any) -> Any:
    (mesh,) = (artist for artist in ax.collections if isinstance(artist, QuadMesh))
    return mesh


def clouds_of(ax: Any) -> list[Any]:
    return [artist for artist in ax.collections if isinstance(artist, PathCollection)]
