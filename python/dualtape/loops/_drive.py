# SPDX-License-Identifier: MIT
"""Driving runs inside the core: slices of time, with what has to happen in Python between them.

The core runs for a tenth of a second without the interpreter lock, then hands back: signals are seen, progress is
shown, a checkpoint is written, a path that is missing is traced. Runs can be stopped and gone on with anywhere, and
their bits do not depend on where that was.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from dualtape import _core
from dualtape.loops._step import Step

SLICE = 0.1  # seconds
STOPS = np.array(["interrupted", "iterations", "until", "nonfinite"])

Progress = bool | Callable[[int, int], Any] | None


class Meter:
    """Shows progress: tqdm's bar for True, a callable (done, total) as it is, nothing for None or False."""

    def __init__(self, progress: Progress, total: int, unit: str) -> None:
        self.call: Callable[[int, int], Any] | None = progress if callable(progress) else None
        self.total, self.bar = total, None
        if progress is True:
            try:
                from tqdm import tqdm
            except ImportError:
                raise ImportError(
                    "progress=True shows a bar of tqdm, which is missing; pip install dualtape[progress], or pass a "
                    "function of (done, total)."
                ) from None
            self.bar = tqdm(total=total, unit=unit, leave=False)

    def show(self, done: int) -> None:
        if self.bar is not None:
            self.bar.update(done - self.bar.n)
        if self.call is not None:
            self.call(done, self.total)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def drive(
    step: Step,
    sweep: Any,
    program: Any,
    values_of: Callable[[int, int], list[Any]],
    contract: bool,
    threads: int,
    meter: Meter,
    after: Callable[[], Any] | None = None,
) -> tuple[Any, bool]:
    """Run until every run has stopped, or Ctrl-C: (the program with all its paths, whether it was interrupted).

    `values_of(run, iteration)` are the step's inputs there, for tracing a path that is missing; `after` is called
    after each slice.
    """
    by_runs = sweep.iterations.size > 1
    try:
        while True:
            missing = sweep.run(SLICE, threads)
            if missing is not None:
                more = grow(step, sweep.state, program, missing, values_of, contract)
                if more is None:
                    raise RuntimeError("loop: a path is missing that the trace says it has; please report this.")
                sweep.extend(more)
                program = more
                continue
            counters = sweep.counters()
            meter.show(sweep.iterations.size - counters["running"] if by_runs else counters["done"])
            if after is not None:
                after()
            if counters["running"] == 0:
                return program, False
    except KeyboardInterrupt:
        return program, True
    finally:
        meter.close()


def grow(step: Step, states: list[Any], program: Any, missing: Any, values_of: Any, contract: bool) -> Any:
    """The program with the path that a run has met; None where it has that by now."""
    run, iteration, forced = missing
    state = [_core.dlarray(leaf[run]) for leaf in states]
    return step.trace(state, values_of(run, iteration), contract, program, forced)[0]


def check_memory(where: str, runs: int, records: int, state: list[Any], kinds: list[Any]) -> None:
    """Refuse what would not fit into memory, before anything is computed."""
    values = sum(dtype.itemsize * int(np.prod(shape)) for dtype, shape in kinds)
    per_run = sum(leaf.nbytes for leaf in state) + values * (1 + records)
    needed, free = runs * per_run, available_memory()
    if needed > free:
        raise MemoryError(
            f"{where}: {needed:,} bytes are needed for {runs:,} runs with {records:,} records each, "
            f"{free:,} are free; record less often (record_every=), return less from the step, or sweep in parts."
        )


def available_memory() -> int:
    """Bytes of memory that can be had without swapping, or a very large number where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return int(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return 1 << 62
