# SPDX-License-Identifier: MIT
"""Driving runs inside the core: slices of time, with what has to happen in Python between them.

The core runs for a tenth of a second without the interpreter lock, then hands back: signals are seen, progress is
shown, a checkpoint is written, a path that is missing is traced. Runs can be stopped and gone on with anywhere, and
their bits do not depend on where that was. Start reading at Job.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from dualtape import _core
from dualtape.loops._checkpoint import Checkpoint, fingerprint
from dualtape.loops._step import Step, Untraceable

SLICE = 0.1  # seconds
ALWAYS_THERE = 1 << 20  # bytes: asking the system takes longer than many a loop
STOPS = np.array(["interrupted", "iterations", "until", "nonfinite"])

Progress: TypeAlias = bool | Callable[[int, int], Any] | None


class Meter:
    """Shows progress: tqdm's bar for True, a callable (done, total) as it is, nothing for None or False."""

    def __init__(self, where: str, progress: Progress, total: int, unit: str) -> None:
        self.call: Callable[[int, int], Any] | None = progress if callable(progress) else None
        self.total, self.unit = total, unit
        self.bars: Any = None  # the module that makes bars,
        self.bar: Any = None  # and the one that stands from the first news to the last
        if progress is True:
            try:
                self.bars = importlib.import_module("tqdm")
            except ImportError:
                raise ImportError(
                    f"{where}: progress=True shows a bar of tqdm, which is missing; pip install dualtape[progress], or "
                    "pass a function of (done, total)."
                ) from None
        elif self.call is None and progress is not None and progress is not False:
            raise TypeError(
                f"{where}: progress must be True or a function of (done, total); got {progress!r:.60}; "
                "progress=True shows a bar."
            )

    def show(self, done: int) -> None:
        if self.bars is not None:
            if self.bar is None:
                self.bar = self.bars.tqdm(total=self.total, unit=self.unit, leave=False)
            self.bar.update(done - self.bar.n)
        if self.call is not None:
            self.call(done, self.total)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class Job:
    """The runs of a loop or sweep: a step as a program, and the core that repeats it.

    `starts` are the leaves of the state with an axis of runs. Where a function of the iteration turns out not to be
    traceable, it becomes a table and the job begins anew, so that all iterations are computed in one way.
    """

    def __init__(
        self, step: Step, starts: list[Any], count: int, every: int, contract: bool, lanes: int, keeper: Checkpoint
    ) -> None:
        self.step, self.starts, self.count, self.contract = step, starts, count, contract
        self.every, self.lanes, self.keeper = every, lanes, keeper
        keeper.prepare(step)
        self.begin()

    def begin(self) -> None:
        """Trace the first iteration and make the runs."""
        step = self.step
        self.program: Any = None
        while self.program is None:
            try:
                state = step.labelled(leaf[0] for leaf in self.starts)
                self.program, _ = step.trace(state, step.values(0, 1), self.contract)
            except Untraceable as error:
                step.tabulate(error)
        check_memory(step, self.count, self.every)
        self.settings = {
            "values": len(step.value_paths),
            "until": step.until is not None,
            "sources": step.sources(),
            "iterations": step.iterations,
            "record_every": self.every,
            "lanes": self.lanes,
            "batches": step.data.core,
        }
        self.core = _core.Sweep(
            program=self.program, count=self.count, state=self.starts, first_stream=0, **self.settings
        )
        mark = "" if self.keeper.path is None else fingerprint(self.program, step, self.settings, self.starts)
        self.keeper.attach(self.core, step, mark)

    def again(self, error: Untraceable) -> None:
        self.step.tabulate(error)
        self.begin()

    def grow(self, missing: tuple[int, int, list[int]], states: list[Any], first: int = 0) -> bool:
        """Trace the path that a run of some states has met; their run 0 is run `first` of all. False: it was known."""
        run, iteration, forced = missing
        state = self.step.labelled(leaf[run] for leaf in states)
        values = self.step.values(first + run, iteration)
        program, _ = self.step.trace(state, values, self.contract, self.program, forced)
        if program is None:
            return False
        self.program = program
        self.core.extend(program)
        return True

    def run(self, meter: Meter, threads: int) -> None:
        """Until every run has stopped, or Ctrl-C."""
        try:
            while self.slice(threads):
                counters = self.core.counters()
                meter.show(self.count - counters["running"] if self.count > 1 else counters["done"])
                self.keeper.maybe_write()
                if counters["running"] == 0:
                    break
        except KeyboardInterrupt:
            pass  # runs that had not stopped stay marked as such
        finally:
            meter.close()

    def slice(self, threads: int) -> bool:
        """Compute for a while, tracing what is missing."""
        while (missing := self.core.run(SLICE, threads)) is not None:
            try:
                if not self.grow(missing, self.core.state):
                    raise RuntimeError("loop: a path is missing that the trace says it has; please report this.")
            except Untraceable as error:
                self.again(error)
        return True


def check_memory(step: Step, runs: int, every: int) -> None:
    """Refuse what would not fit into memory, before anything is computed."""
    assert step.kinds is not None
    size = [dtype.itemsize * math.prod(shape) for dtype, shape in step.kinds]
    states = len(step.state)
    records = step.iterations // every if every else 0
    per_run = 2 * sum(size[:states]) + sum(size[states:]) * (1 + records)  # starts are kept, too
    refuse_beyond(step.where, runs * per_run, f"{runs:,} runs with {records:,} records each")


def refuse_beyond(where: str, needed: int, what: str) -> None:
    if needed < ALWAYS_THERE:
        return
    free = available_memory()
    if needed > free:
        raise MemoryError(
            f"{where}: {needed:,} bytes are needed for {what}, {free:,} are free; record less often "
            "(record_every=), return less from the step, or sweep in parts."
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
