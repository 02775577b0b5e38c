# SPDX-License-Identifier: MIT
"""The words of the bench: a workload has cases, a case has competitors, each competitor gives an answer.

Start with `Case`.  A workload module defines ``cases(quick)``; everything else (checking, timing, the table,
the figure) works on what it returns.  `deviation` decides whether an answer is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

USEFUL = "useful share of the iterations of lanes"  # a further number of a sweep

# Numbers, arrays, and tuples, lists or dicts of them.
Answer = Any


class Unavailable(Exception):
    """A competitor cannot take part here (no compiler, no such feature); the message says why."""


@dataclass(frozen=True)
class Prepared:
    """A competitor that is ready to run.

    Attributes
    ----------
    run
        Does the case's whole work once; this is what is timed.
    answer
        Returns what is compared with the reference.  Without it the result of `run` is; a competitor that
        moves its state along from run to run needs it, and starts from fresh state there.
    extra
        Returns further numbers about the runs so far, by name, such as a share of useful work. The table prints
        them, and a promise may be about them.
    """

    run: Callable[[], Answer]
    answer: Callable[[], Answer] | None = None
    extra: Callable[[], dict[str, float]] | None = None

    def result(self) -> Answer:
        """Return the answer that is checked."""
        return (self.answer or self.run)()


@dataclass(frozen=True)
class Competitor:
    """Somebody who does the work.

    Attributes
    ----------
    name
        As it stands in the table.
    build
        Imports what it needs and returns the prepared work, or just the function to run.  An ImportError
        means "not installed" and is no failure.
    how
        "eager" (an operation at a time, differentiated), "compiled" (traced or compiled beforehand),
        "by hand" (someone wrote the derivative), "pure Python" (the reference of this folder).
    ours
        Whether it is dualtape: the ratios are relative to the first of these, and its failure fails the
        bench.
    reference
        Its own right answer, where it does other work than the rest of the case: what a branch costs is
        measured against a step without one.
    """

    name: str
    build: Callable[[], Prepared | Callable[[], Answer]]
    how: str = "eager"
    ours: bool = False
    reference: Callable[[], Answer] | None = None

    def prepare(self) -> Prepared:
        """Build it."""
        built = self.build()
        return built if isinstance(built, Prepared) else Prepared(built)


@dataclass(frozen=True)
class Case:
    """One piece of work that all competitors do.

    Attributes
    ----------
    name
        Unique over all workloads.
    units, unit
        How many units of what one run consists of ("iteration", "node", "element").
    reference
        Returns the right answer, computed by other means than the competitors'.
    competitors
        Who takes part, in the order of the table.
    rtol, atol
        An answer a is right if |a - r| <= atol + rtol * |r| for each of its numbers.
    memory
        Measure the memory of one run in a process of its own.
    featured
        Show it in the figure.
    """

    name: str
    units: int
    unit: str
    reference: Callable[[], Answer]
    competitors: Sequence[Competitor]
    rtol: float = 1e-12
    atol: float = 1e-12
    memory: bool = False
    featured: bool = False


@dataclass
class Row:
    """What is known about one competitor of one case after the run; a line of the table."""

    workload: str
    case: str
    competitor: str
    how: str
    ours: bool
    unit: str
    featured: bool
    status: str = "ok"  # ok | missing | wrong | failed
    reason: str = ""
    error: float | None = None  # largest deviation from the reference, in units of the tolerance
    warm_up: float = 0.0  # seconds that the checked answer took, compilation included
    best: float | None = None  # seconds per run
    median: float | None = None
    per_unit: float | None = None  # seconds
    ratio: float | None = None  # per unit, relative to dualtape
    bytes_per_unit: float | None = None
    bytes_kept: float | None = None  # still held after the run, per unit
    extra: dict[str, float] = field(default_factory=dict)  # further numbers, by name
    times: list[float] = field(default_factory=list)


def flatten(answer: Answer) -> NDArray[np.float64]:
    """Return all numbers of an answer in one vector, dicts in the order of their keys."""
    if isinstance(answer, dict):
        answer = [answer[key] for key in sorted(answer)]
    if isinstance(answer, (tuple, list)):
        return np.concatenate([flatten(part) for part in answer]) if answer else np.empty(0)
    return np.asarray(answer, dtype=np.float64).ravel()


def deviation(case: Case, answer: Answer, reference: Answer) -> float:
    """Return the largest deviation in units of the tolerance; infinite for NaN and wrong sizes."""
    got, right = flatten(answer), flatten(reference)
    if got.shape != right.shape:
        return float("inf")
    allowed = case.atol + case.rtol * np.abs(right)
    # The same infinity on both sides is agreement; their difference would be NaN.
    with np.errstate(invalid="ignore"):
        off = np.where(got == right, 0.0, np.abs(got - right) / allowed)
    worst = float(np.max(off, initial=0.0))
    return worst if worst == worst else float("inf")
