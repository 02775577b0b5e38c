# SPDX-License-Identifier: MIT
"""A thousand learning rates at once: where gradient descent converges, where it cycles, where it diverges.

The loss, the start and the update are those of key_terms.py. There a rate of 0.1 slides down to the optimum and 0.2
ends in a cycle; here the same step runs 5,000 times with each of 1,000 rates between 0.01 and 0.25, in one call of
dt.sweep. Near the optimum a step multiplies the distance to it by 1 - rate * (eigenvalue of the Hessian), so that
rates above 2 / (largest eigenvalue) overshoot more each time: that limit is computed, and then seen.

    python examples/rates.py [--out rates]

To understand it, start at step and main; the rest prints and draws.
"""

import argparse
from pathlib import Path

import numpy as np

import dualtape as dt

START = (2.0, 2.0)
ITERATIONS = 5000
RATES = np.linspace(0.01, 0.25, 1000)
COLORS = {"converges": "#0072B2", "cycles": "#009E73", "diverges": "#D55E00"}


def loss_function(x1, x2):
    """The loss: a curved valley along x2 = x1^2 whose lowest point, 0, is at (1, 1)."""
    return (x2 - x1**2) ** 2 + (1 - x1) ** 2


def my_loss(x1, x2):
    """The loss and its gradients."""
    y = loss_function(x1, x2)
    dydx1, dydx2 = dt.dlgradient(y, x1, x2)
    return y, dydx1, dydx2


def step(state, learn_rate):
    """One iteration; beside the new state, where it came from and how far it went."""
    x1, x2 = state
    loss, dydx1, dydx2 = dt.dlfeval(my_loss, x1, x2)
    new = x1 - learn_rate * dydx1, x2 - learn_rate * dydx2
    moved = np.sqrt((new[0] - x1) ** 2 + (new[1] - x2) ** 2)
    return new, {"loss": loss, "before": (x1, x2), "moved": moved}


def kinds_of(runs):
    """What each run does in the end: "converges", "cycles" or "diverges"."""
    moved = runs.history["moved"]  # a record every 1,000 iterations
    earlier, last = moved[:, -2], moved[:, -1]
    shrinking = (last < 1e-12) | (last < 0.5 * earlier)
    return np.where(runs.stopped == "nonfinite", "diverges", np.where(shrinking, "converges", "cycles"))


def stability_limit():
    """2 / (largest eigenvalue of the Hessian at the optimum)."""
    hessian = dt.hessian(lambda x: loss_function(x[0], x[1]))(np.array([1.0, 1.0]))
    return 2 / np.linalg.eigvalsh(np.asarray(hessian)).max()


# ---- printing ---------------------------------------------------------------------------------------------


def print_limits(kinds, limit):
    """Print where each kind begins and ends."""
    print(f"\nWhere {len(RATES):,} rates from {RATES[0]:g} to {RATES[-1]:g} lead from {START}\n")
    print("               runs   lowest rate   highest rate")
    for kind in COLORS:
        rates = RATES[kinds == kind]
        print(f"  {kind:10s} {len(rates):6d}   {rates.min():11.5f}   {rates.max():12.5f}")
    first = RATES[kinds == "diverges"].min()
    late = int((RATES[kinds == "cycles"] > first).sum())
    print(f"""
  At the optimum the largest eigenvalue of the Hessian is {2 / limit:.6f}, so that rates up to
  2 / {2 / limit:.6f} = {limit:.6f} converge to (1, 1). Above, a run ends in a cycle between two points, one on
  each side of the valley, and the cycle grows with the rate. From {first:.5f} on runs are thrown out of the
  valley by their first steps and diverge, but for {late} lucky ones.""")


def print_table(runs, kinds):
    """Print some runs: the last two states, or when it was over."""
    print("\n      rate   kind         last two states                                          loss before")
    for rate in (0.01, 0.1, 0.17, 0.172, 0.18, 0.2, 0.21, 0.22, 0.25):
        index = int(np.argmin(abs(RATES - rate)))
        run = runs[index]
        if kinds[index] == "diverges":
            print(f"  {RATES[index]:8.5f}   diverges     not finite in iteration {run.iterations}")
            continue
        (a1, a2), (b1, b2) = run.value["before"], run.state
        points = f"({float(a1):.9f}, {float(a2):.9f})  ({float(b1):.9f}, {float(b2):.9f})"
        print(f"  {RATES[index]:8.5f}   {kinds[index]:10s}   {points}   {float(run.value['loss']):.6e}")
    print(f"\n  Why the last one diverged: {runs.why(len(RATES) - 1)}")


# ---- drawing ----------------------------------------------------------------------------------------------


def draw(runs, kinds, limit, folder):
    """Put one figure into a folder: the last two states over the rate, and what the loss was there."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError("pictures need matplotlib; pip install dualtape[plots]") from None

    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(9, 7.5), sharex=True, layout="constrained", height_ratios=(1.5, 1)
    )
    first = RATES[kinds == "diverges"].min()
    for kind in ("converges", "cycles"):
        chosen = kinds == kind
        for number, name in enumerate(("x1", "x2")):
            for leaf in (runs.value["before"][number], runs.state[number]):
                shade = {"color": COLORS[kind], "alpha": 1.0 if name == "x1" else 0.4}
                top.plot(RATES[chosen], leaf[chosen], ".", markersize=3.5, markeredgewidth=0, **shade)
        bottom.plot(
            RATES[chosen], np.maximum(runs.value["loss"][chosen], 1e-33), ".", markersize=2.5, color=COLORS[kind]
        )
    bottom.set_yscale("log")
    bottom.set_ylim(1e-34, 1e2)
    for ax in (top, bottom):
        ax.axvspan(first, RATES[-1], color=COLORS["diverges"], alpha=0.12, linewidth=0)
        for place in (limit, first):
            ax.axvline(place, color="#333333", linewidth=0.8, linestyle="--")
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlim(RATES[0], RATES[-1])
    top.set_ylim(0.5, 1.15)
    high = {"fontsize": 11, "ha": "center", "va": "bottom"}
    top.text(0.09, 1.01, "converges to (1, 1)", color=COLORS["converges"], **high)
    top.text((limit + first) / 2, 1.1, "cycles", color=COLORS["cycles"], **high)
    top.text((first + RATES[-1]) / 2, 1.1, "diverges", color=COLORS["diverges"], **high)
    at = int(np.argmin(abs(RATES - 0.203)))
    for number, name, offset in ((0, "x1", (0, -14)), (1, "x2", (0, 6))):
        highest = max(runs.value["before"][number][at], runs.state[number][at])
        top.annotate(
            name, (RATES[at], highest), xytext=offset, textcoords="offset points", color=COLORS["cycles"], ha="center"
        )
    text = {"textcoords": "offset points", "color": "#333333"}
    top.annotate(f"2 / {2 / limit:.4f} = {limit:.4f}", (limit, 0.55), xytext=(-7, 0), ha="right", **text)
    top.annotate(f"{first:.4f}", (first, 0.55), xytext=(7, 0), **text)
    top.set_ylabel("x1 and x2 of the last two states", fontsize=11)
    bottom.set_ylabel("loss in the last iteration", fontsize=11)
    bottom.set_xlabel("learning rate", fontsize=11)
    top.set_title(f"{len(RATES):,} learning rates, {ITERATIONS:,} iterations each", fontsize=12, loc="left")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "rates.png"
    figure.savefig(file, dpi=150)
    plt.close(figure)
    print(f"  {file}")


def main():
    parser = argparse.ArgumentParser(description="Where gradient descent converges, cycles and diverges.")
    parser.add_argument("--out", type=Path, default=Path("rates"), help="folder for the figure")
    arguments = parser.parse_args()

    runs = dt.sweep(step, START, iterations=ITERATIONS, over=dt.grid(learn_rate=RATES), record_every=1000)
    print(runs.summary(by="value.loss"))
    kinds, limit = kinds_of(runs), stability_limit()
    print_limits(kinds, limit)
    print_table(runs, kinds)
    print("\nFigure\n")
    try:
        draw(runs, kinds, limit, arguments.out)
    except ImportError as error:
        print(f"  none drawn: {error}")


if __name__ == "__main__":
    main()
