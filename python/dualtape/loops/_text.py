# SPDX-License-Identifier: MIT
"""How results read: the repr of a Run and of Runs, and the summary of a sweep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dualtape import tree

from . import _choose
from ._results import REASONS

if TYPE_CHECKING:
    from ._results import Run, Runs

_QUANTILES = ((0.0, "least"), (0.05, "5 %"), (0.5, "median"), (0.95, "95 %"), (1.0, "most"))
_SENTENCES = {  # for one run
    "iterations": "ran all of its {n} iteration{s}",
    "until": "stopped by until after {n} iteration{s}",
    "nonfinite": "stopped: not finite in iteration {n}",
    "interrupted": "interrupted after {n} iteration{s}",
}
WORDS = {  # for many
    "iterations": "ran all iterations",
    "until": "stopped by until",
    "nonfinite": "not finite",
    "interrupted": "interrupted",
}
_WIDTH = 100  # of a line of state in a repr


class _Word(str):
    """Text without quotes inside the repr of a container."""

    __slots__ = ()
    __repr__ = str.__str__


def duration(seconds: float) -> str:
    """Three digits and a fitting unit: 1.23 ms."""
    if seconds >= 120:
        return f"{seconds / 60:.1f} min"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _number(value: Any) -> str:
    return f"{float(value):.6g}"


def _short(data: Any) -> str:
    """A tree on one line: numbers as numbers, arrays as their shapes."""

    def word(leaf: Any) -> _Word:
        shape = np.shape(leaf)
        return _Word(_number(leaf) if shape == () else f"<{' x '.join(map(str, shape))}>")

    text = repr(tree.tree_map(word, data))
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 4]} ..."


def run_text(run: Run) -> str:
    """Three lines: why it stopped, what came out, what was recorded."""
    sentence = _SENTENCES[run.stopped].format(n=f"{run.iterations:,}", s="" if run.iterations == 1 else "s")
    if math.isfinite(run.seconds):
        sentence += f", in {duration(run.seconds)}"
    lines = [f"Run: {sentence}", f"  state {_short(run.state)}"]
    records = run.recorded.size
    history = "nothing" if run.history is None else f"{records:,} record{'' if records == 1 else 's'}"
    if run.record_every:
        history += f", every {run.record_every:,} iterations" if run.record_every > 1 else ", every iteration"
    lines.append(f"  value {_short(run.value)}; history: {history}")
    return "\n".join(lines)


def _counts(runs: Runs) -> dict[str, int]:
    counts = {reason: int(np.count_nonzero(runs.stopped == reason)) for reason in REASONS}
    return {reason: count for reason, count in counts.items() if count}


def _head(runs: Runs) -> str:
    axes = " x ".join(f"{dim} ({extent:,})" for dim, extent in zip(runs.over.dims, runs.shape, strict=True))
    text = f"{runs.size:,} run{'' if runs.size == 1 else 's'} over {axes}"
    return f"{text} in {duration(runs.seconds)}" if math.isfinite(runs.seconds) else text


def _best(runs: Runs, by: _choose.By) -> str:
    """One line on the best run, or on why there is none."""
    try:
        index = runs.best(by)
    except ValueError:
        if by is not None:
            raise
        text = "none: no run is finite"
        try:
            _choose.default_path("summary", runs)
        except ValueError:
            text = 'say by what: runs.best(by="...")'
        return text
    name, values = _choose.final("summary", runs, by)
    where = ", ".join(
        f"{name} = {_number(value) if np.ndim(value) == 0 else value}" for name, value in runs.over.at(index).items()
    )
    return f"{name} {_number(values[index])} at {where}: runs[{', '.join(map(str, np.atleast_1d(index)))}]"


def runs_text(runs: Runs) -> str:
    """Three lines: how many over what, how they stopped, which is best."""
    counts = ", ".join(f"{count:,} {WORDS[reason]}" for reason, count in _counts(runs).items())
    return f"Runs: {_head(runs)}\n  {counts}\n  best: {_best(runs, None)}"


def summary_text(runs: Runs, by: _choose.By) -> str:
    """What Runs.summary returns."""
    lines = [_head(runs)]
    for reason, count in _counts(runs).items():
        lines.append(f"  {WORDS[reason]:<20}{count:>12,}  {100 * count / runs.size:5.1f} %")
    levels = np.quantile(runs.iterations, [q for q, _ in _QUANTILES], method="inverted_cdf")
    parts = [f"{word} {int(level):,}" for (_, word), level in zip(_QUANTILES, levels, strict=True)]
    lines.append(f"  iterations: {', '.join(parts)}")
    total = int(runs.iterations.sum())
    if total and math.isfinite(runs.seconds) and runs.seconds > 0:
        lines.append(
            f"  work: {total:,} iterations, {duration(runs.seconds / total)} each; "
            f"{100 * runs.useful:.1f} % of what the lanes did was useful"
        )
    lines.append(f"  best: {_best(runs, by)}")
    return "\n".join(lines)
