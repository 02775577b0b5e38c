# SPDX-License-Identifier: MIT
"""The gradient field: arrows of steepest descent over the contours of a loss, with training paths on it.

gradient_field says what is drawn and in which order; the helpers below it draw one layer each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._data import Floats, Path, path_list
from ._style import COLORS, INK, YELLOW, axes, label, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SURFACE = ("#FFFFFF", "#E3EBF0", "#BCCCD6", "#8AA3B3")  # low loss to high: pale, so that paths stand out
_ARROWS = "#4A5A66"
_GRID = 161  # points per side for the contours


def gradient_field(
    loss: Callable[..., Any] | None,
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    *,
    gradient: Callable[..., Any] | None = None,
    paths: Any = None,
    optimum: tuple[float, float] | None = None,
    arrows: int = 21,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw where gradient descent would go from every point, over the contours of the loss.

    The arrows are the negative gradient. They point exactly along it, but their length is the fourth root of
    its size, relative to the largest one in view (and at most 0.9 of the grid's spacing): drawn true to size,
    the arrows of the steep walls would leave those in the valley invisible. The contours are spaced evenly in
    the logarithm of the loss, for the same reason.

    Parameters
    ----------
    loss : callable or None
        ``loss(x1, x2) -> number``, in plain arithmetic. It is called with arrays if it takes them, and
        otherwise point by point. None: arrows only; then `gradient` is needed.
    xlim, ylim : (float, float), optional
        The part of the plane to draw. By default, the part that the paths and the optimum need.
    gradient : callable, optional
        ``gradient(x1, x2) -> (g1, g2)`` on arrays. By default dualtape differentiates the loss,
        point by point.
    paths : path or dict, optional
        Training paths to draw: a pair ``(x1, x2)``, an array of shape (n, 2), a run that recorded "x1" and
        "x2", or a dict label -> any of these.
    optimum : (float, float), optional
        Where to put the star.
    arrows : int
        Arrows along the longer side.
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
        Neither loss nor gradient is given, the limits are empty, or a path is none.

    Examples
    --------
    >>> import dualtape as dt                                                  # doctest: +SKIP
    >>> loss = lambda x1, x2: (x2 - x1**2) ** 2 + (1 - x1) ** 2                # doctest: +SKIP
    >>> dt.plots.gradient_field(loss, (-2, 2), (-1, 3), optimum=(1, 1))        # doctest: +SKIP
    """
    if loss is None and gradient is None:
        raise ValueError(
            "gradient_field(None): there is nothing to draw; got neither loss nor gradient; "
            "pass loss=..., or gradient=... for arrows alone."
        )
    if not arrows >= 2:
        raise ValueError(f"gradient_field(arrows={arrows}): there must be arrows; got {arrows}; 2 or more work.")
    routes = path_list("gradient_field(paths)", paths)
    xlim = _limits("xlim", xlim, [route.x1 for route in routes], None if optimum is None else optimum[0])
    ylim = _limits("ylim", ylim, [route.x2 for route in routes], None if optimum is None else optimum[1])
    ax = axes(ax, (6.8, 5.4))
    width, height = xlim[1] - xlim[0], ylim[1] - ylim[0]
    if 1 / 3 <= width / height <= 3:
        ax.set_aspect("equal")  # so that arrows stand at right angles on the contours
    if loss is not None:
        _draw_surface(ax, loss, xlim, ylim)
    _draw_arrows(ax, gradient or _differentiated(loss), xlim, ylim, arrows)
    _draw_routes(ax, routes, optimum)
    ax.set_xlim(xlim)
    ax.set_ylim(ylim)
    label(ax, "$x_1$", "$x_2$", title)
    legend(ax, frameon=True, framealpha=0.9, edgecolor="none", loc="best")
    return ax


def _limits(
    name: str, given: tuple[float, float] | None, values: list[Floats], extra: float | None
) -> tuple[float, float]:
    """The limits given, or those that the values need and a margin of a tenth."""
    if given is not None:
        low, high = float(given[0]), float(given[1])
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"gradient_field({name}={given}): limits must be finite and rising; try (-2, 2).")
        return low, high
    every = np.concatenate([*values, [] if extra is None else [extra]])
    every = every[np.isfinite(every)]
    if every.size == 0:
        raise ValueError(f"gradient_field({name}=None): no path to take limits from; give {name}=(low, high).")
    low, high = float(every.min()), float(every.max())
    margin = 0.1 * (high - low) or 1.0
    return low - margin, high + margin


def _on_grid(loss: Callable[..., Any], x1: Floats, x2: Floats) -> Floats:
    """The loss at every point of a grid: in one call if it takes arrays, otherwise point by point."""
    try:
        values = np.asarray(loss(x1, x2), dtype=np.float64)
        if values.shape == x1.shape:
            return values
    except Exception:  # whatever a loss written for scalars does with arrays; point by point it may speak up
        pass
    return np.array([float(loss(a, b)) for a, b in zip(x1.flat, x2.flat, strict=True)]).reshape(x1.shape)


def _differentiated(loss: Any) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
    """The gradient of a loss by dualtape, as a function on arrays."""
    import dualtape as dt  # here, since dualtape imports this module

    value_and_grad: Callable[..., Any] = dt.value_and_grad(loss, argnums=(0, 1))

    def gradient(x1: Floats, x2: Floats) -> tuple[Floats, Floats]:
        pairs = [value_and_grad(float(a), float(b))[1] for a, b in zip(x1.flat, x2.flat, strict=True)]
        g1, g2 = np.array([[float(g1), float(g2)] for g1, g2 in pairs]).T
        return g1.reshape(x1.shape), g2.reshape(x1.shape)

    return gradient


def _draw_surface(ax: Axes, loss: Callable[..., Any], xlim: tuple[float, float], ylim: tuple[float, float]) -> None:
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    x1, x2 = np.meshgrid(np.linspace(*xlim, _GRID), np.linspace(*ylim, _GRID))
    values = _on_grid(loss, x1, x2)
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.min() == finite.max():
        return  # no finite value, or a plain: no contours to draw
    low, high = float(finite.min()), float(finite.max())
    # A loss that comes near 0 is shown as it is; any other as its height above the lowest point in view.
    base = 0.0 if 0 <= low < 0.01 * high else low
    heights = np.ma.masked_invalid(values - base)
    top = math.ceil(3 * math.log10(high - base))
    bottom = max(math.floor(3 * math.log10(max(np.percentile(finite - base, 1), 1e-300))), top - 15)
    levels = 10.0 ** (np.arange(bottom, top + 1) / 3)  # three levels per decade
    colormap = LinearSegmentedColormap.from_list("dualtape", _SURFACE)
    filled = ax.contourf(
        x1,
        x2,
        np.ma.maximum(heights, levels[0] * 1e-3),
        levels=levels,
        cmap=colormap,
        norm=LogNorm(levels[0], levels[-1]),
        extend="min",
        zorder=0,
    )
    decades = [level for power, level in zip(range(bottom, top + 1), levels, strict=True) if power % 3 == 0]
    bar = ax.figure.colorbar(filled, ax=ax, ticks=decades or None, shrink=0.85, aspect=28, pad=0.02)
    bar.minorticks_off()
    bar.ax.set_yticks(decades, [f"{level:g}" for level in decades])
    bar.ax.tick_params(colors=INK, labelsize=9, length=0)
    bar.outline.set_visible(False)
    bar.set_label("loss" if base == 0 else f"loss above {base:.3g}", fontsize=11, color=INK)


def _draw_arrows(
    ax: Axes, gradient: Callable[..., Any], xlim: tuple[float, float], ylim: tuple[float, float], arrows: int
) -> None:
    width, height = xlim[1] - xlim[0], ylim[1] - ylim[0]
    cell = max(width, height) / arrows
    if not 1 / 3 <= width / height <= 3:
        columns = rows = arrows  # the axes are stretched, and so is the grid
    else:
        columns, rows = (max(2, round(side / cell)) for side in (width, height))
    # Arrows sit in the middle of equal cells, so that none sticks out of the picture.
    x1, x2 = np.meshgrid(
        xlim[0] + width * (np.arange(columns) + 0.5) / columns,
        ylim[0] + height * (np.arange(rows) + 0.5) / rows,
    )
    g1, g2 = (np.broadcast_to(np.asarray(g, dtype=np.float64), x1.shape) for g in gradient(x1, x2))
    size = np.hypot(g1, g2)
    shown = np.isfinite(size) & (size > 0)
    if not shown.any():
        return
    length = 0.9 * (size[shown] / size[shown].max()) ** 0.25
    # Measured in cells: dividing by it leaves the direction in the plane as it is and makes all arrows equal.
    in_cells = np.hypot(g1[shown] * columns / width, g2[shown] * rows / height)
    ax.quiver(
        x1[shown],
        x2[shown],
        -g1[shown] / in_cells * length,
        -g2[shown] / in_cells * length,
        angles="xy",
        scale_units="xy",
        scale=1,
        pivot="mid",
        units="width",
        width=0.0022,
        headwidth=4.5,
        headlength=5,
        headaxislength=4.5,
        minlength=0.5,
        color="#4A5A66",
        zorder=1,
    )


def _draw_routes(ax: Axes, routes: Sequence[Path], optimum: tuple[float, float] | None) -> None:
    from matplotlib.patheffects import Normal, Stroke

    halo = [Stroke(linewidth=2.8, foreground="white"), Normal()]
    for number, route in enumerate(routes):
        color = COLORS[number % len(COLORS)]
        ax.plot(route.x1, route.x2, color=color, lw=1.3, path_effects=halo, zorder=3 + 0.01 * number)
        ax.plot(
            route.x1,
            route.x2,
            color=color,
            lw=1.3,
            marker="o",
            ms=3,
            mew=0,
            label=route.label or None,
            zorder=4 + 0.01 * number,
        )
    starts = list(dict.fromkeys((route.x1[0], route.x2[0]) for route in routes))
    if starts:
        ax.plot(
            *np.transpose(starts),
            "o",
            ms=8,
            mfc="white",
            mec="black",
            mew=1.5,
            ls="",
            label="start",
            zorder=6,
        )
    if optimum is not None:
        ax.plot(*optimum, "*", ms=14, mfc=YELLOW, mec="black", mew=1.0, ls="", label="optimum", zorder=5)
