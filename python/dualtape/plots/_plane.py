# SPDX-License-Identifier: MIT
"""The runs of a sweep as points in the plane: where they ended or started, coloured by what became of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dualtape.loops import _choose
from dualtape.loops._results import REASONS
from dualtape.loops._text import WORDS

from ._data import Floats
from ._field import _on_grid
from ._style import axes, label
from ._sweeps import KINDS, LOW_TO_HIGH, NOT_FINITE, best_of, color_bar, geometric, legend_above, shades, star

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dualtape.loops._results import Runs

_CONTOUR = "#B4BFC7"
_GRID = 161  # points per side for the contours


class _Side(NamedTuple):
    """What a direction of the plane shows: one number per run, flat."""

    label: str
    values: Floats
    swept: bool = False
    log: bool = False


def run_plane(
    runs: Runs,
    x: _choose.By = None,
    y: _choose.By = None,
    colour: _choose.By = None,
    *,
    loss: Callable[..., Any] | None = None,
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    log: bool | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw every run as a point in the plane of two numbers that it ended with or started from.

    A star marks the best run. Runs that did not stay finite are crosses; where they have no place (their state is not
    finite) or lie outside the limits, the legend counts them.

    Parameters
    ----------
    runs : Runs
        Of a sweep with any number of axes.
    x, y : str or callable, optional
        What places a run: a hyperparameter ("x1_0", "learn_rate"), a path in its final state or value
        ("state['x1']", "state.x1"), or a function of the runs. By default the two numbers of the state, if it
        has exactly two. Hyperparameters that are spaced geometrically get a logarithmic axis.
    colour : str or callable, optional
        A value, as `by` in ``runs.best`` (the default is the final value), or a hyperparameter; or "iterations"; or
        "stopped" for why each run ended.
    loss : callable, optional
        ``loss(x, y) -> number`` in plain arithmetic; its contours are drawn behind the points.
    xlim, ylim : (float, float), optional
        The part of the plane to draw. By default all points; if one in fifty of them would take most of the picture,
        these are left out.
    log : bool, optional
        Colours in the logarithm. By default, if no value is negative and they span decades.
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
        It is not clear what x, y or colour is, no run has a place, or limits are empty.

    Examples
    --------
    >>> over = dt.points(x1_0=..., x2_0=...)                                   # doctest: +SKIP
    >>> runs = dt.sweep(step, lambda x1_0, x2_0: (x1_0, x2_0), over=over)      # doctest: +SKIP
    >>> dt.plots.run_plane(runs, "x1_0", "x2_0", "iterations", loss=my_loss)   # doctest: +SKIP
    """
    if x is None and y is None:
        x, y = _two_of_state(runs)
    elif x is None or y is None:
        missing = "x" if x is None else "y"
        raise ValueError(
            f"run_plane({missing}=None): a point needs two numbers; got {'y' if x is None else 'x'} alone; "
            f"pass {missing} too, or neither for the two numbers of the state."
        )
    sides = [_side(runs, "x", x), _side(runs, "y", y)]
    placed = np.isfinite(sides[0].values) & np.isfinite(sides[1].values)
    for side in sides:
        placed &= (side.values > 0) | (not side.log)
    if not placed.any():
        raise ValueError(
            f"run_plane(x={x!r}, y={y!r}): no run has a place in this plane; got {runs.size} runs that are finite in "
            "neither; draw them over the hyperparameters that they started from."
        )
    kind = _Colours(runs, colour, log)
    good = placed & kind.good if np.any(placed & kind.good) else placed
    limits = [
        _limits(name, given, side, placed if side.swept else good)
        for name, given, side in zip(("xlim", "ylim"), (xlim, ylim), sides, strict=True)
    ]
    ax = axes(ax, (6.8, 5.4))
    from matplotlib.ticker import MaxNLocator

    (left, right), (bottom, top) = limits
    ax.set_xscale("log" if sides[0].log else "linear")
    ax.set_yscale("log" if sides[1].log else "linear")
    for side, axis in zip(sides, (ax.xaxis, ax.yaxis), strict=True):
        if not side.log:
            axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))  # numbers such as 1.00025 are long
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    if loss is not None:
        _draw_ground(ax, loss, sides, limits)
    inside = placed.copy()
    for side, (low, high) in zip(sides, limits, strict=True):
        inside &= (side.values >= low) & (side.values <= high)
    kind.draw(ax, sides[0].values, sides[1].values, inside)
    outside = int(np.count_nonzero(~inside))
    if outside:
        ax.plot([], [], ls="", label=f"not in the picture: {outside:,}")
    label(ax, sides[0].label, sides[1].label, None)
    legend_above(ax, [], title)
    return ax


def _two_of_state(runs: Runs) -> tuple[str, str]:
    found = [path for path in _choose.scalar_paths(runs) if path.startswith("state")]
    if len(found) != 2:
        raise ValueError(
            f"run_plane(runs): it is not clear which two numbers place a run; got a state with {len(found)}; pass x "
            f"and y, out of {', '.join((*runs.over.names, *_choose.scalar_paths(runs)))}."
        )
    return found[0], found[1]


def _swept(runs: Runs, name: Any) -> tuple[str, Floats] | None:
    """The values of a hyperparameter, one per run, if that is what the name is."""
    if name not in runs.over.names:
        return None
    values = runs.over.columns()[name]
    if values.ndim != 1:
        raise ValueError(
            f"run_plane({name!r}): a run is placed by single numbers; got a hyperparameter of shape "
            f"{values.shape[1:]} in each run; pass a function of the runs."
        )
    return name, values.astype(np.float64)


def _side(runs: Runs, which: str, wanted: _choose.By) -> _Side:
    swept = None if callable(wanted) else _swept(runs, wanted)
    if swept is not None:
        return _Side(*swept, True, geometric(np.unique(swept[1])))
    if isinstance(wanted, str) and wanted == "iterations":
        return _Side("iterations", runs.iterations.reshape(-1).astype(np.float64))
    name, values = _choose.final(f"run_plane({which}={wanted!r})", runs, wanted)
    short = name.removeprefix("state.")
    return _Side(f"final {short if short.isidentifier() else name}", values.reshape(-1))


def _limits(name: str, given: tuple[float, float] | None, side: _Side, good: NDArray[np.bool_]) -> tuple[float, float]:
    """The limits given, or those of the points with a margin, without the one in fifty that would take most of it."""
    if given is not None:
        low, high = float(given[0]), float(given[1])
        if not (np.isfinite([low, high]).all() and low < high and (low > 0 or not side.log)):
            positive = " and positive, on a logarithmic axis" if side.log else ""
            raise ValueError(f"run_plane({name}={given}): limits must be finite and rising{positive}; try (1, 2).")
        return low, high
    values = np.log(side.values[good]) if side.log else side.values[good]
    low, high = float(values.min()), float(values.max())
    inner_low, inner_high = np.quantile(values, [0.01, 0.99], method="inverted_cdf").tolist()
    if high - low > 3 * (inner_high - inner_low) > 0:
        low, high = inner_low, inner_high
    margin = 0.06 * (high - low) or max(0.1 * abs(low), 1e-3)
    bounds = np.array([low - margin, high + margin])
    low, high = (np.exp(bounds) if side.log else bounds).tolist()
    return low, high


def _draw_ground(ax: Axes, loss: Callable[..., Any], sides: list[_Side], limits: list[tuple[float, float]]) -> None:
    """Contours of a loss, even in the logarithm of its height above the lowest point, over five decades."""
    lines = [
        (np.geomspace if side.log else np.linspace)(low, high, _GRID)
        for side, (low, high) in zip(sides, limits, strict=True)
    ]
    x, y = np.meshgrid(*lines)
    values = _on_grid(loss, x, y)
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.min() == finite.max():
        return  # a plain has no contours
    base = 0.0 if 0 <= finite.min() < 0.01 * finite.max() else float(finite.min())
    top = np.log10(finite.max() - base)
    levels = 10.0 ** np.linspace(top - 5, top, 16)[:-1]
    heights = np.ma.masked_invalid(values - base)
    if heights.min() < levels[-1]:
        ax.contour(x, y, heights, levels=levels[levels > heights.min()], colors=_CONTOUR, linewidths=0.8, zorder=0)


class _Colours:
    """What the colour of a run says: a kind of stop, or a number on a scale."""

    def __init__(self, runs: Runs, colour: _choose.By, log: bool | None) -> None:
        self.stopped = runs.stopped.reshape(-1)
        self.log = log
        self.label = ""
        self.values: Floats | None = None  # None for kinds of stops
        ranks: Floats | None = None
        swept = None if callable(colour) else _swept(runs, colour)
        if colour == "iterations":
            self.label, self.values = "iterations", runs.iterations.reshape(-1).astype(np.float64)
        elif swept is not None:
            self.label, self.values = swept
        elif colour != "stopped":
            name, values = _choose.final("run_plane(colour=...)", runs, colour)
            self.label, self.values = f"final {name}", values.reshape(-1)
            ranks = self.values
        if ranks is None:
            # several values, none of them called loss: there is no best run, but there is a picture
            with contextlib.suppress(ValueError):
                ranks = _choose.final("run_plane", runs)[1].reshape(-1)
        self.ranks = ranks  # what the star is given for
        self.good = np.asarray(self.stopped != "nonfinite")
        if ranks is not None:
            self.good &= np.isfinite(ranks)

    def draw(self, ax: Axes, x: Floats, y: Floats, inside: NDArray[np.bool_]) -> None:
        good, bad = inside & self.good, inside & ~self.good
        count = int(np.count_nonzero(inside))
        area = float(np.clip(600 / max(count, 1) ** 0.5, 4, 45))
        many = count > 5000  # as a bitmap inside a vector file, which would be slow otherwise
        style: dict[str, Any] = {"s": area, "linewidths": 0.3 if area > 12 else 0, "edgecolors": "white"}
        if bad.any():
            ax.scatter(
                x[bad], y[bad], s=0.7 * area, marker="x", linewidths=1.0, color=NOT_FINITE,
                label=f"{WORDS['nonfinite']}: {np.count_nonzero(bad):,}", zorder=2, rasterized=many,
            )  # fmt: skip
        if self.values is None:
            for kind in REASONS:
                chosen = good & (self.stopped == kind)
                if chosen.any():
                    text = f"{WORDS[kind]}: {np.count_nonzero(chosen):,}"
                    ax.scatter(
                        x[chosen], y[chosen], color=KINDS[kind], label=text, zorder=3, rasterized=many, **style
                    )  # fmt: skip
        elif good.any():
            order = np.flatnonzero(good)
            order = order[np.argsort(self.values[order], kind="stable")[::-1]]  # low ones last, on top
            color = shades(self.values, good, self.log, LOW_TO_HIGH[:4])
            drawn = ax.scatter(
                x[order], y[order], c=color.values[order], zorder=3, rasterized=many, **color.style, **style
            )  # fmt: skip
            color_bar(ax, drawn, self.label, color.extend)
        best = None if self.ranks is None else best_of(self.ranks, good)
        if best is not None and self.ranks is not None:
            star(ax, x[best], y[best], self.ranks[best])
