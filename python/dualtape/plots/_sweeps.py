# SPDX-License-Identifier: MIT
"""The map of a sweep: the final value of every run over the hyperparameters.

What one run is worth is decided by dualtape.loops._choose, so `by` means the same here as in ``runs.best``. The first
helpers say how values become colours and how hyperparameters become an axis; _fan.py and
_plane.py use them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dualtape.loops import _choose
from dualtape.loops._results import REASONS
from dualtape.loops._text import WORDS

from ._data import Floats
from ._style import COLORS, INK, PALE, YELLOW, axes, label, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dualtape.loops._over import Over
    from dualtape.loops._results import Runs

# Dark is good, and there is no hue of the markers in it. Points on white leave out the palest.
LOW_TO_HIGH = ("#08263F", "#0B4F86", "#3C8CC4", "#9CC6E3", "#EEF4F8")
NOT_FINITE = COLORS[1]
KINDS = {"until": COLORS[2], "iterations": COLORS[0], "interrupted": COLORS[3], "nonfinite": NOT_FINITE}
_MOST_CELLS = 800  # along an axis of a map: no screen shows more
_DECADES = 1.5  # values that span more than these are shown in their logarithm


class Shades(NamedTuple):
    """How values become colours: values ready for the norm, and what matplotlib is given."""

    values: Floats
    style: dict[str, Any]
    extend: str


def spans_decades(values: Floats) -> bool:
    """Whether finite values are fit for a logarithm: none negative, and the positive ones far apart."""
    positive = values[values > 0]
    return bool(np.all(values >= 0)) and positive.size > 1 and positive.max() > 10**_DECADES * positive.min()


def _raise_zeros(values: Floats) -> Floats:
    """Zeros moved a decade below the smallest positive value, so that a logarithm shows them as lowest."""
    positive = values[np.isfinite(values) & (values > 0)]
    return np.where(values == 0, positive.min() / 10, values) if positive.size else values


def shades(values: Floats, good: NDArray[np.bool_], log: bool | None, colors: Sequence[str] = LOW_TO_HIGH) -> Shades:
    """The colours of values of which those that are `good` decide the range.

    The highest 2 % are cut off if they would take more than a third of the range: a few runs that all but diverged
    must not leave a single colour for the rest.
    """
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize

    colormap = LinearSegmentedColormap.from_list("dualtape", colors).with_extremes(bad=NOT_FINITE)
    finite = values[good]
    if finite.size == 0:
        return Shades(np.ma.masked_invalid(values), {"cmap": colormap, "norm": Normalize(0, 1)}, "neither")
    if log is None:
        log = spans_decades(finite)
    log = log and bool(np.any(finite > 0))
    if log:
        values = _raise_zeros(np.where(good, np.maximum(values, 0), np.nan))
        finite = values[good]
    low, high = float(finite.min()), float(finite.max())
    edge, extend = float(np.quantile(finite, 0.98, method="inverted_cdf")), "neither"
    spans = [np.log(np.array([high, edge]) / low) if log else np.array([high, edge]) - low][0]
    if spans[0] > 1.5 * spans[1] > 0:
        high, extend = edge, "max"
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    norm = LogNorm(low, high) if log else Normalize(low, high)
    return Shades(np.ma.masked_where(~good, values), {"cmap": colormap, "norm": norm}, extend)


def color_bar(ax: Axes, drawn: Any, text: str, extend: str = "neither") -> None:
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.85, aspect=28, pad=0.02, extend=extend)
    bar.minorticks_off()
    bar.ax.tick_params(colors=INK, labelsize=9, length=0)
    bar.outline.set_visible(False)
    bar.set_label(text, fontsize=11, color=INK)


class _Position(NamedTuple):
    """One axis of the sweep as an axis of a picture."""

    label: str
    values: Floats  # where its runs are, ascending
    order: NDArray[np.int64]  # which index of the sweep each of them has
    log: bool


def geometric(values: Floats) -> bool:
    """Whether ascending values belong on a logarithmic axis: a decade apart, and more even in the logarithm."""
    if values.size < 3 or values[0] <= 0 or values[-1] < 10 * values[0]:
        return False
    steps, ratios = np.diff(values), np.diff(np.log(values))
    return bool(ratios.std() / ratios.mean() < steps.std() / steps.mean())


def _position(over: Over, number: int) -> _Position:
    """Where the runs along an axis are: at the values of its hyperparameter if it has a single one, else counted."""
    dim, extent = over.dims[number], over.shape[number]
    columns = {name: values for name, (dims, values) in over.coordinates().items() if dims[0] == dim}
    if len(columns) == 1:
        ((name, values),) = columns.items()
        if values.ndim == 1 and np.unique(values).size == extent:
            order = np.argsort(values)
            ascending = values[order].astype(np.float64)
            return _Position(name, ascending, order, geometric(ascending))
    name = dim if dim in columns else f"{dim} ({', '.join(columns)})"
    return _Position(f"number of {name}", np.arange(extent, dtype=np.float64), np.arange(extent), False)


def _edges(place: _Position) -> Floats:
    """The borders of cells around the values: half way between neighbours."""
    values = np.log(place.values) if place.log else place.values
    if values.size == 1:
        edges = values + np.array([-0.5, 0.5])
    else:
        middle = (values[1:] + values[:-1]) / 2
        edges = np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])
    return np.exp(edges) if place.log else edges


def _thin(place: _Position) -> _Position:
    count = place.values.size
    if count <= _MOST_CELLS:
        return place
    kept = np.linspace(0, count - 1, _MOST_CELLS).round().astype(np.int64)
    return place._replace(values=place.values[kept], order=place.order[kept])


def is_good(runs: Runs, values: Floats) -> NDArray[np.bool_]:
    """Which runs have a value that counts."""
    return np.isfinite(values) & (runs.stopped != "nonfinite")


def best_of(values: Floats, good: NDArray[np.bool_]) -> tuple[int, ...] | None:
    if not good.any():
        return None
    place = np.unravel_index(int(np.argmin(np.where(good, values, np.inf))), values.shape)
    return tuple(int(i) for i in place)


def legend_above(ax: Axes, more: Sequence[Any], title: str | None) -> None:
    """A legend over a picture that has no empty corner, and the title over the legend."""
    handles = [*ax.get_legend_handles_labels()[0], *more]
    rows = (len(handles) + 2) // 3
    if handles:
        box = ax.legend(
            handles=handles, fontsize=10, labelcolor=INK, frameon=False, loc="lower left", bbox_to_anchor=(0, 1),
            ncols=3, borderaxespad=0.2, borderpad=0.2, handletextpad=0.4, columnspacing=1.4,
        )  # fmt: skip
        box.set_zorder(10)
    if title:
        ax.set_title(title, fontsize=12, color=INK, loc="left", pad=6 + 16 * rows)


def star(ax: Axes, x: float, y: float, value: float) -> None:
    ax.plot([x], [y], "*", ms=15, mfc=YELLOW, mec="black", mew=1.0, ls="", label=f"best: {value:.3g}", zorder=6)


def sweep_map(
    runs: Runs, by: _choose.By = None, *, log: bool | None = None, title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the final value of every run over what was swept.

    Over two axes, a heat map: dark is low. Runs that did not stay finite have a colour of their own, and a star marks
    the best run. Of more than 800 values along an axis, 800 evenly spaced ones are drawn; the star is the best of all.
    Over one axis, a point per run, coloured by why it stopped; runs that did not stay finite are marked at the top.

    A hyperparameter whose values are spaced geometrically gets a logarithmic axis. Points, arrays, and values that come
    twice are numbered from 0.

    Parameters
    ----------
    runs : Runs
        Of a sweep with one axis or two.
    by : str or callable, optional
        Which value, as in ``runs.best``: a path such as "value['loss']", or a function of the runs.
    log : bool, optional
        Show values in their logarithm. By default, if none is negative and they span decades. Zeros are drawn a decade
        below the smallest positive value.
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
        The sweep has more than two axes, or it is not clear which value is meant.

    Examples
    --------
    >>> runs = dt.sweep(step, over=dt.grid(learn_rate=..., momentum=...))      # doctest: +SKIP
    >>> dt.plots.sweep_map(runs, "value['loss']")                              # doctest: +SKIP
    """
    name, values = _choose.final("sweep_map", runs, by)
    if len(runs.shape) > 2:
        raise ValueError(
            f"sweep_map(runs): a map has one axis or two; got a sweep over {', '.join(runs.over.dims)}; "
            "take a part of runs.to_xarray(), or draw run_plane(runs, x=..., y=...)."
        )
    ax = axes(ax, (6.8, 5.0) if len(runs.shape) == 2 else (6.4, 4.0))
    draw = _draw_map if len(runs.shape) == 2 else _draw_line
    draw(ax, runs, name, values, log, title)
    return ax


def _draw_map(ax: Axes, runs: Runs, name: str, values: Floats, log: bool | None, title: str | None) -> None:
    from matplotlib.patches import Patch

    places = [_position(runs.over, 0), _position(runs.over, 1)]
    good = is_good(runs, values)
    color = shades(values, good, log)
    thin = [_thin(place) for place in places]
    cells = color.values[np.ix_(thin[0].order, thin[1].order)]
    drawn = ax.pcolormesh(*map(_edges, thin), cells.T, rasterized=True, zorder=0, **color.style)
    ax.set_xscale("log" if places[0].log else "linear")
    ax.set_yscale("log" if places[1].log else "linear")
    label(ax, places[0].label, places[1].label, None)
    color_bar(ax, drawn, f"final {name}", color.extend)
    best = best_of(values, good)
    if best is not None:
        x, y = (place.values[np.flatnonzero(place.order == i)[0]] for place, i in zip(places, best, strict=True))
        star(ax, x, y, values[best])
    bad = int(np.count_nonzero(~good))
    patch = Patch(facecolor=NOT_FINITE, label=f"{WORDS['nonfinite']}: {bad:,}")
    legend_above(ax, [patch] if bad else [], title)


def _draw_line(ax: Axes, runs: Runs, name: str, values: Floats, log: bool | None, title: str | None) -> None:
    place = _position(runs.over, 0)
    good, values, stopped = is_good(runs, values)[place.order], values[place.order], runs.stopped[place.order]
    if log is None:
        log = spans_decades(values[good])
    shown = np.where(good, values, np.nan)
    if log and np.any(shown > 0):
        shown = _raise_zeros(np.where(shown >= 0, shown, np.nan))
        ax.set_yscale("log")
    if place.log:
        ax.set_xscale("log")
    size = float(np.clip(60 / np.sqrt(values.size), 2.0, 5.5))
    ax.plot(place.values, shown, color="#B8C4CC", lw=1.0, zorder=1, rasterized=values.size > 5000)
    for kind in REASONS:
        chosen = good & (stopped == kind)
        if chosen.any():
            ax.plot(
                place.values[chosen], shown[chosen], "o", ms=size, color=KINDS[kind], mew=0, ls="",
                label=f"{WORDS[kind]}: {np.count_nonzero(chosen):,}", zorder=3, rasterized=values.size > 5000,
            )  # fmt: skip
    if not good.all():
        ax.plot(
            place.values[~good], np.full(np.count_nonzero(~good), 0.985), "x", ms=max(size, 4.0), mew=1.2,
            color=NOT_FINITE, ls="", transform=ax.get_xaxis_transform(),
            label=f"{WORDS['nonfinite']}: {np.count_nonzero(~good):,}", zorder=3,
        )  # fmt: skip
        ax.margins(y=0.1)
    best = best_of(values, good)
    if best is not None:
        star(ax, place.values[best], shown[best], values[best])
    ax.grid(True, color=PALE, lw=0.8)
    ax.set_axisbelow(True)
    label(ax, place.label, f"final {name}", title)
    legend(ax, frameon=True, framealpha=0.9, edgecolor="none")
    for handle in getattr(ax.get_legend(), "legend_handles", ()):  # points of a large sweep are too small for a legend
        handle.set_markersize(max(handle.get_markersize(), 4.5))
