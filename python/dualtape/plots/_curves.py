# SPDX-License-Identifier: MIT
"""Pictures over the iterations: the learnables, the loss, the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ._data import Curve, Floats, curves, path, path_list
from ._style import COLORS, INK, PALE, axes, label, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _over_iterations(ax: Axes, lines: Sequence[Curve], log: bool, style: Literal["-", "--"] = "-") -> None:
    """Draw curves over their iterations, with a quiet grid and no empty space left and right."""
    for number, line in enumerate(lines):
        color = COLORS[number % len(COLORS)]
        values = np.where(line.values > 0, line.values, np.nan) if log else line.values
        marker = "o" if line.values.size == 1 else None
        ax.plot(line.iterations, values, color=color, ls=style, lw=1.8, marker=marker, label=line.label or None)
    ends = [end for line in lines for end in (line.iterations[0], line.iterations[-1])]
    if min(ends) < max(ends):
        ax.set_xlim(min(ends), max(ends))
    ax.grid(True, color=PALE, lw=0.8)
    ax.set_axisbelow(True)


def training_path(
    x1: Any,
    x2: Any = None,
    *,
    iterations: Any = None,
    optimum: tuple[float, float] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw x1 and x2 over the iterations.

    Parameters
    ----------
    x1, x2 : sequence of float
        The values in each iteration. Or, as x1 alone, anything that :func:`gradient_field` takes as paths: a
        pair, an array of shape (n, 2), a run, or a dict of these (x1 solid, x2 dashed, a colour per label).
    iterations : sequence, optional
        The iteration of each value; by default 1, 2, ... Pass ``range(len(x1))`` if the first value is the
        starting point.
    optimum : (float, float), optional
        Drawn as two thin level lines.
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
        x1 and x2 differ in length, or a run recorded neither.
    """
    if x2 is None:
        routes = path_list("training_path", x1, iterations)
    else:
        routes = [path("training_path", (x1, x2), "", iterations)]
    if not routes:
        raise ValueError("training_path(None): there is nothing to draw; got no path; pass x1 and x2, or a run.")
    ax = axes(ax, (6.4, 4.0))
    if len(routes) == 1 and not routes[0].label:
        route = routes[0]
        lines = [Curve("$x_1$", route.iterations, route.x1), Curve("$x_2$", route.iterations, route.x2)]
        _over_iterations(ax, lines, log=False)
    else:
        first = [Curve(f"{route.label}, $x_1$", route.iterations, route.x1) for route in routes]
        second = [Curve(f"{route.label}, $x_2$", route.iterations, route.x2) for route in routes]
        _over_iterations(ax, first, log=False)
        _over_iterations(ax, second, log=False, style="--")
    for level in dict.fromkeys(optimum or ()):
        ax.axhline(level, color=INK, lw=0.8, ls=(0, (1, 2)), zorder=1)
    label(ax, "iteration", "learnables", title)
    legend(ax, ncols=2 if len(routes) > 1 else 1)
    return ax


def loss_curve(
    losses: Any, *, iterations: Any = None, log: bool = True, title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the loss over the iterations.

    Parameters
    ----------
    losses : sequence of float, run, or dict label -> either
        One loss per iteration.
    iterations : sequence, optional
        The iteration of each loss; by default 1, 2, ...
    log : bool
        A logarithmic axis, on which losses that are not positive are left out. It is given up if none is.
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
        There is no value, or a run recorded no loss.
    """
    lines = curves("loss_curve", losses, "loss", iterations)
    ax = axes(ax, (6.4, 4.0))
    log = log and any(bool(np.any(line.values > 0)) for line in lines)
    if log:
        ax.set_yscale("log")
    _over_iterations(ax, lines, log)
    label(ax, "iteration", "loss", title)
    legend(ax)
    return ax


def learn_rate_curve(rates: Any, *, iterations: Any = None, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the learning rate over the iterations.

    Parameters
    ----------
    rates : schedule, function of the iteration, sequence of float, run, or dict label -> any of these
        A schedule or function is evaluated at `iterations`.
    iterations : int or sequence, optional
        How many iterations to draw, or which. By default, 100 for a schedule and all for a sequence.
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
        There is no value, or a run recorded no learn_rate.
    """
    count = isinstance(iterations, (int, np.integer))
    numbers = np.arange(1, int(iterations) + 1) if count else iterations

    def sample(item: Any) -> tuple[Floats, Floats] | None:
        if not callable(item):
            return None
        at = np.arange(1, 101) if numbers is None else np.asarray(numbers)
        return at.astype(np.float64), np.array([float(item(k)) for k in at.tolist()])

    lines = curves("learn_rate_curve", rates, "learn_rate", None if count else numbers, sample)
    ax = axes(ax, (6.4, 4.0))
    _over_iterations(ax, lines, log=False)
    low, high = ax.get_ylim()
    if low > 0:
        ax.set_ylim(0, 1.03 * high)  # rates are read as ratios, which needs the zero
    label(ax, "iteration", "learning rate", title)
    legend(ax)
    return ax
