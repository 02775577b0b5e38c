# SPDX-License-Identifier: MIT
"""The fan of a sweep: quantiles of the loss curves of all its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dualtape.loops import _choose

from ._data import Floats
from ._style import COLORS, PALE, axes, label, legend
from ._sweeps import best_of, spans_decades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dualtape.loops._results import Runs


def loss_fan(
    runs: Runs,
    by: _choose.By = None,
    quantiles: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
    *,
    log: bool | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the loss curves of all runs as a fan: bands between quantiles, the median, and the best run.

    Quantiles are over the runs, record by record, without interpolation. A run that has stopped counts on with its
    final value, and one that did not stay finite counts as worse than all others from there on: so every quantile is
    one of all runs, not of those that are left, and a band leaves the picture where too many runs have diverged.

    Parameters
    ----------
    runs : Runs
        Of a sweep that recorded a history (``record_every=...``).
    by : str or callable, optional
        Which value, as in ``runs.best``. A function of the runs returns an array of shape ``(*runs.shape, records)``.
    quantiles : sequence of float
        Between 0 and 1. They are paired from the outside in; one in the middle is a line.
    log : bool, optional
        A logarithmic axis; by default if no value is negative and they span decades. Zeros are drawn a decade below the
        smallest positive value.
    title : str, optional
        Above the picture.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        Nothing was recorded, no run was ever finite, it is not clear which value is meant, or a quantile is none.
    """
    levels = sorted({float(q) for q in quantiles})
    if not levels or not (levels[0] >= 0 and levels[-1] <= 1):
        raise ValueError(
            f"loss_fan(quantiles={tuple(quantiles)}): quantiles lie between 0 and 1; got {tuple(quantiles)}; "
            "(0.25, 0.5, 0.75) works."
        )
    name, curves = _continued(runs, by)
    finite = curves[np.isfinite(curves)]
    if finite.size == 0:
        raise ValueError(
            f"loss_fan(runs): there is nothing to draw; got {runs.size} runs with {runs.recorded.size} records, none "
            "of them finite; record more often, or ask runs.why(0)."
        )
    ax = axes(ax, (6.4, 4.2))
    if log is None:
        log = spans_decades(finite)
    lines = np.quantile(curves, levels, axis=0, method="inverted_cdf")
    winner = best_of(curves[:, -1], np.isfinite(curves[:, -1]))
    best = curves[winner] if winner else np.full(curves.shape[1], np.nan)
    log = log and bool(np.any(finite > 0))
    if log:
        ax.set_yscale("log")
        floor = float(finite[finite > 0].min()) / 10
        lines, best = np.maximum(lines, floor), np.maximum(best, floor)
    low, high = _fan_limits(lines, best)
    # Quantiles at infinity: far enough above the picture to leave it, near enough to be drawn.
    lines = np.where(np.isfinite(lines), lines, high * 1e3 if log else high + 10 * (high - low + 1))
    x = runs.recorded
    _draw_bands(ax, x, lines, levels)
    if winner:
        ax.plot(x, np.where(np.isfinite(best), best, np.nan), color=COLORS[1], lw=1.6, label="best run", zorder=4)
    margin = (high / low) ** 0.05 if log else 0.05 * (high - low)
    if high > low:
        ax.set_ylim(*((low / margin, high * margin) if log else (low - margin, high + margin)))
    if x[0] < x[-1]:
        ax.set_xlim(x[0], x[-1])
    ax.grid(True, color=PALE, lw=0.8)
    ax.set_axisbelow(True)
    label(ax, "iteration", name, title)
    legend(ax, frameon=True, framealpha=0.9, edgecolor="none")
    return ax


def _fan_limits(lines: Floats, best: Floats) -> tuple[float, float]:
    """What is to be seen: the best run, and those quantiles that stay finite, if there are any."""
    stays = np.isfinite(lines).all(axis=1)
    for shown in (np.concatenate([lines[stays].ravel(), best]), lines.ravel(), np.ones(1)):
        shown = shown[np.isfinite(shown)]
        if shown.size:
            break
    return float(shown.min()), float(shown.max())


def _continued(runs: Runs, by: _choose.By) -> tuple[str, Floats]:
    """One curve per run, (size, records): stopped runs go on with their final value, diverged ones at infinity."""
    name, curves = _choose.recorded("loss_fan", runs, by)
    curves = np.array(curves.reshape(runs.size, -1))
    if callable(by):  # its final values are not known, but the last that were recorded are
        last = np.maximum.accumulate(np.where(np.isfinite(curves), np.arange(curves.shape[1]), 0), axis=1)
        final = np.take_along_axis(curves, last, axis=1)
    else:
        final = _choose.final("loss_fan", runs, by)[1].reshape(-1, 1)
    ended = runs.recorded > runs.iterations.reshape(-1, 1)
    curves = np.where(ended, final, curves)
    lost = ended & (runs.stopped.reshape(-1, 1) == "nonfinite")
    return name, np.where(np.isfinite(curves) & ~lost, curves, np.inf)


def _draw_bands(ax: Axes, x: NDArray[Any], lines: Floats, levels: Sequence[float]) -> None:
    pairs = len(levels) // 2
    marker = "o" if x.size == 1 else None
    for pair in range(pairs):
        alpha = 0.16 + 0.22 * pair / max(pairs - 1, 1) if pairs > 1 else 0.28
        text = f"{100 * levels[pair]:g} to {100 * levels[-1 - pair]:g} %"
        ax.fill_between(x, lines[pair], lines[-1 - pair], color=COLORS[0], alpha=alpha, lw=0, label=text, zorder=2)
    if len(levels) % 2:
        text = "median" if levels[pairs] == 0.5 else f"{100 * levels[pairs]:g} %"
        ax.plot(x, lines[pairs], color=COLORS[0], lw=1.8, marker=marker, label=text, zorder=3)
