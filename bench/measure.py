# SPDX-License-Identifier: MIT
"""Check and time the competitors of one case, all of them in one interleaved run.

Start with `measure`.  First every competitor is built and its answer is compared with the reference; only who
is right is timed.  Then come rounds in which everyone runs once, starting with another one each time, so that
a slow spell of the machine hits all alike.  A run shorter than `min_time` is repeated until it is long enough
for the clock.  The garbage collector is off while the clock runs, as in `timeit`.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from .model import Answer, Case, Competitor, Prepared, Row, Unavailable, deviation


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes
    ----------
    repeat
        Rounds; everyone gets at least one.
    min_time
        Shortest timed stretch, seconds; short enough that on a busy machine some go by undisturbed.
    budget
        Who has run for so many seconds in a case sits out its further rounds.
    """

    repeat: int = 15
    min_time: float = 0.004
    budget: float = 15.0


def measure(workload: str, case: Case, effort: Effort) -> list[Row]:
    """Return a row for each competitor of the case, in the case's order."""
    reference = case.reference()
    rows: list[Row] = []
    fit: list[tuple[Row, Prepared]] = []
    for competitor in case.competitors:
        row = Row(workload, case.name, competitor.name, competitor.how, competitor.ours, case.unit, case.featured)
        rows.append(row)
        prepared = _admit(case, competitor, reference, row)
        if prepared is not None:
            fit.append((row, prepared))
    _run_rounds([(row, prepared.run) for row, prepared in fit], effort)
    baseline = None
    for row in rows:
        if row.times:
            row.best, row.median = min(row.times), statistics.median(row.times)
            row.per_unit = row.best / case.units
            if row.ours and baseline is None:
                baseline = row.per_unit
    for row, prepared in fit:
        row.extra = prepared.extra() if prepared.extra else {}
    for row in rows:
        if row.per_unit is not None and baseline is not None:
            row.ratio = row.per_unit / baseline
    return rows


def _admit(case: Case, competitor: Competitor, reference: Answer, row: Row) -> Prepared | None:
    """Build a competitor and check its answer; None, with the reason in the row, if it may not be timed."""
    try:
        prepared = competitor.prepare()
        start = time.perf_counter()
        answer = prepared.result()
        row.warm_up = time.perf_counter() - start
        row.error = deviation(case, answer, competitor.reference() if competitor.reference else reference)
    except (ImportError, Unavailable) as reason:
        row.status, row.reason = "missing", _describe(reason)
        return None
    except Exception as reason:  # a competitor may fail in any way; the row says how
        row.status, row.reason = "failed", _describe(reason)
        return None
    if row.error > 1.0:
        row.status = "wrong"
        row.reason = f"{row.error:.3g} times the tolerance (rtol {case.rtol:g}, atol {case.atol:g})"
        return None
    return prepared


def _describe(reason: Exception) -> str:
    if isinstance(reason, ModuleNotFoundError):
        return f"{reason.name} is not installed"
    text = str(reason).strip().partition("\n")[0]
    return text if isinstance(reason, Unavailable) else f"{type(reason).__name__}: {text}"[:160]


def _run_rounds(fit: list[tuple[Row, Callable[[], Answer]]], effort: Effort) -> None:
    # Who took long for the answer alone is warm, and needs no repetitions.
    numbers = [1 if row.warm_up > 20 * effort.min_time else _calibrate(run, effort.min_time) for row, run in fit]
    spent = [row.warm_up if number == 1 else 0.0 for (row, _), number in zip(fit, numbers, strict=True)]
    # What is alive now stays; without this every collection would walk all imported libraries.
    gc.collect()
    gc.freeze()
    enabled = gc.isenabled()
    try:
        for round_ in range(effort.repeat):
            for i in range(len(fit)):
                k = (i + round_) % len(fit)
                row, run = fit[k]
                if row.times and spent[k] > effort.budget:
                    continue
                gc.collect()
                gc.disable()
                seconds = _stretch(run, numbers[k])
                gc.enable()
                spent[k] += seconds
                row.times.append(seconds / numbers[k])
    finally:
        (gc.enable if enabled else gc.disable)()
        gc.unfreeze()


def _stretch(run: Callable[[], Answer], number: int) -> float:
    start = time.perf_counter()
    for _ in itertools.repeat(None, number):
        run()
    return time.perf_counter() - start


def _calibrate(run: Callable[[], Answer], min_time: float) -> int:
    """Return how many runs make one timed stretch; the trials also warm everything up."""
    number = 1
    while (seconds := _stretch(run, number)) < min_time:
        # Aim at the goal, but at most tenfold: the first runs may be slow ones.
        number = max(number + 1, min(number * 10, int(number * 1.2 * min_time / max(seconds, 1e-9))))
    return number
