# SPDX-License-Identifier: MIT
"""How all pictures look: palette, axes, labels, legend. The only place that imports pyplot, and late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, without its yellow: that is too pale for a line.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, PALE, YELLOW = "#333333", "#E4E4E4", "#F0E442"


def pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "dualtape.plots: pictures need matplotlib, which is not installed; pip install dualtape[plots]"
        ) from error
    return plt


def axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    plt = pyplot()
    if ax is None:
        _, ax = plt.subplots(figsize=size, layout="constrained")
    assert ax is not None
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(INK)
    ax.tick_params(colors=INK, labelsize=10)
    return ax


def label(ax: Axes, x: str, y: str, title: str | None) -> None:
    ax.set_xlabel(x, fontsize=11, color=INK)
    ax.set_ylabel(y, fontsize=11, color=INK)
    if title:
        ax.set_title(title, fontsize=12, color=INK, loc="left")


def legend(ax: Axes, **where: Any) -> None:
    handles, _ = ax.get_legend_handles_labels()
    if handles:
        box = ax.legend(fontsize=10, labelcolor=INK, **{"frameon": False, **where})
        box.set_zorder(10)
