# SPDX-License-Identifier: MIT
"""The figure: how many times as long as dualtape everyone takes, a panel for each featured case.

Start with `draw`.  The axis is logarithmic and 1 is dualtape: bars to the right are slower, bars to the left
are faster, and the colour says how the competitor gets its derivative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import report
from .model import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, which stays distinct for colour-blind readers and in print.
_COLORS = {"eager": "#D55E00", "compiled": "#0072B2", "by hand": "#009E73", "pure Python": "#E69F00"}
_OURS, _INK, _PALE = "#111111", "#333333", "#E4E4E4"
_COLUMNS = 3


def draw(rows: Sequence[Row], machine: dict[str, object], path: Path) -> None:
    """Draw the featured cases of a run and save the figure; the ending of the path decides the format.

    Without dualtape in the rows (``--peers-only``) the bars are times instead of ratios.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    panels: dict[str, list[Row]] = {}
    for row in rows:
        if row.featured and row.per_unit is not None:
            panels.setdefault(row.case, []).append(row)
    if not panels:
        return
    relative = all(row.ratio is not None for part in panels.values() for row in part)
    lines = math.ceil(len(panels) / _COLUMNS)
    heights = [
        max(len(part) for part in list(panels.values())[i * _COLUMNS : (i + 1) * _COLUMNS]) + 2.2 for i in range(lines)
    ]
    columns = min(_COLUMNS, len(panels))
    figure, grid = plt.subplots(
        lines,
        columns,
        figsize=(5.2 * columns, 0.25 * sum(heights) + 1.2),
        gridspec_kw={"height_ratios": heights},
        squeeze=False,
        layout="constrained",
    )
    for i, (case, part) in enumerate(panels.items()):
        ax = grid.flat[i]
        _panel(ax, case, part, relative)
        # The panels of one line have bars of one thickness, whoever has the most of them.
        ax.set_ylim(heights[i // _COLUMNS] - 2.2 - 0.4, -0.6)
    for ax in list(grid.flat)[len(panels) :]:
        ax.axis("off")
    kinds = {"dualtape": _OURS, **_COLORS} if relative else _COLORS
    keys = [Patch(color=color, label=name) for name, color in kinds.items()]
    title = "Time relative to dualtape" if relative else "Time"
    figure.legend(handles=keys, loc="outside upper right", ncols=len(keys), frameon=False, fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", fontsize=15, fontweight="bold", color=_INK)
    figure.supxlabel(f"{machine['cpu']}, one thread, {machine['python']}", x=0.01, ha="left", fontsize=9, color=_INK)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(ax: Axes, case: str, rows: list[Row], relative: bool) -> None:
    """Draw one case, fastest on top, each bar with its time."""
    from matplotlib.ticker import LogLocator, NullFormatter

    rows = sorted(rows, key=lambda row: row.per_unit or 0.0)
    values = [(row.ratio if relative else row.per_unit) or 0.0 for row in rows]
    # Bars begin at dualtape's 1; where there is no dualtape, a little before the fastest.
    origin = 1.0 if relative else min(values) / 2
    low, high = min(*values, origin), max(*values, origin)
    span = math.log10(high / low) or 1.0
    ax.set_xscale("log")
    if relative:
        # Whole decades, and 2 and 5 between them where there is room.
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if span < 1.5 else (1.0,)))
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(low / 10 ** (0.06 * span + 0.05), high * 10 ** (0.42 * span + 0.15))
    for y, (row, value) in enumerate(zip(rows, values, strict=True)):
        color = _OURS if row.ours else _COLORS[row.how]
        ax.barh(y, value - origin, left=origin, height=0.72, color=color)
        if relative and value == 1.0:
            ax.plot(1.0, y, "D", color=_OURS, markersize=5)
        note = report.seconds(row.per_unit).strip()
        if relative and row.ratio != 1.0:
            note = f"{report.ratio(row.ratio)[:-2]}\N{MULTIPLICATION SIGN}   {note}"
        ax.annotate(
            note,
            (max(value, origin), y),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=_INK,
        )
    ax.set_yticks(range(len(rows)), [row.competitor for row in rows], fontsize=9)
    for tick, row in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if row.ours else "normal")
    ax.axvline(origin, color=_INK, linewidth=0.8)
    ax.set_title(f"{case}  (per {rows[0].unit})", loc="left", fontsize=11, color=_INK)
    ax.grid(axis="x", color=_PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(_PALE)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", which="both", colors=_INK, labelsize=8, length=0)
