# SPDX-License-Identifier: MIT
"""Sweeps on other processes and machines: parts of the runs go out through an Executor and come back in order.

A part is bytes (the traced program) and arrays (where its runs are); the worker needs dualtape and nothing of the
user's. A worker cannot trace: it sends its runs back with the decision that has no path, the path is traced here, and
the part goes out again with what it has already done. A worker that dies takes nothing along but time: its part is
still here.
"""

from __future__ import annotations

import itertools
import warnings
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from typing import Any

import numpy as np

from dualtape import _core
from dualtape.loops._drive import Job, Meter
from dualtape.loops._step import Untraceable

SLICE = 5.0  # seconds that a worker computes before it reports


class Broken(Exception):
    """The executor does not compute."""


def run_part(program: bytes, part: dict[str, Any], seconds: float) -> dict[str, Any]:
    """In a worker: go on with some runs for a while."""
    core = _core.Sweep(program=_core.load_program(program), **part["settings"])
    core.resume(part["state"], part["value"], part["history"], part["iterations"], part["stopped"])
    missing = core.run(seconds, part["threads"])
    counters = core.counters()
    return {
        "state": core.state,
        "value": core.value,
        "history": core.history,
        "iterations": core.iterations,
        "stopped": core.stopped,
        "missing": missing,
        "done": counters["done"],
        "computed": counters["computed"],
    }


def slices(count: int, parts: int) -> list[tuple[int, int]]:
    """The runs in parts of nearly equal size."""
    edges = np.linspace(0, count, min(parts, count) + 1).astype(int)
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges)]


class Parts:
    """The parts of a sweep, and where the results go."""

    def __init__(self, job: Job, parts: int) -> None:
        core = job.core
        self.core, self.settings = core, job.settings
        self.ranges = slices(job.count, parts)
        self.now = {
            "state": core.state,
            "value": core.value,
            "history": core.history,
            "iterations": core.iterations.copy(),
            "stopped": core.stopped.copy(),
        }
        self.done = self.computed = 0

    def outgoing(self, number: int) -> dict[str, Any]:
        """A part as it is now."""
        a, b = self.ranges[number]
        settings = dict(self.settings, count=b - a, first_stream=a)
        settings["sources"] = [
            (kind, value[a:b] if kind == "swept" else value, leaf) for kind, value, leaf in settings["sources"]
        ]
        out: dict[str, Any] = {name: [leaf[a:b] for leaf in self.now[name]] for name in ("state", "value", "history")}
        settings["state"] = out["state"]
        return out | {
            "settings": settings,
            "iterations": self.now["iterations"][a:b],
            "stopped": self.now["stopped"][a:b],
            "threads": 1,
        }

    def unfinished(self, number: int) -> bool:
        a, b = self.ranges[number]
        return bool((self.now["stopped"][a:b] == 0).any())

    def take(self, number: int, result: dict[str, Any]) -> None:
        """Keep what came back."""
        a, b = self.ranges[number]
        for name in ("state", "value", "history"):
            for leaf, new in zip(self.now[name], result[name], strict=True):
                leaf[a:b] = new
        self.now["iterations"][a:b] = result["iterations"]
        self.now["stopped"][a:b] = result["stopped"]
        self.done += result["done"]
        self.computed += result["computed"]

    def into_core(self) -> None:
        now = self.now
        self.core.resume(now["state"], now["value"], now["history"], now["iterations"], now["stopped"])
        self.core.count(self.done, self.computed)

    @property
    def finished(self) -> int:
        return int((self.now["stopped"] != 0).sum())


def check_executor(executor: Any) -> None:
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"sweep: executor must be a concurrent.futures.Executor; a {type(executor).__name__} was given; "
            "ProcessPoolExecutor() or dask's client.get_executor() work."
        )


def run_parts(job: Job, executor: Any, meter: Meter, threads: int) -> None:
    """Run all runs of a job through an executor, until every run has stopped, or Ctrl-C."""
    try:
        while True:
            try:
                return send_parts(job, executor, meter)
            except Untraceable as error:
                job.again(error)
    except Broken as broken:
        # What has come back is kept, the rest is computed here. An error that is no fault of the executor comes again.
        cause = broken.__cause__
        text = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        warnings.warn(
            f"sweep: the executor broke ({text}); the remaining runs go on in this process.",
            RuntimeWarning,
            stacklevel=3,
        )
        job.run(meter, threads)
    except KeyboardInterrupt:
        pass  # runs that had not stopped stay marked as such
    finally:
        meter.close()


def send_parts(job: Job, executor: Any, meter: Meter) -> None:
    workers = getattr(executor, "_max_workers", None) or 8
    parts = Parts(job, 4 * workers)
    waiting = {number for number in range(len(parts.ranges)) if parts.unfinished(number)}
    running: dict[Any, int] = {}
    try:
        while waiting or running:
            try:
                for number in sorted(waiting):
                    running[executor.submit(run_part, job.program.save(), parts.outgoing(number), SLICE)] = number
                waiting.clear()
                done = wait(running, return_when=FIRST_COMPLETED).done
            except Exception as error:
                raise Broken from error
            for future in done:
                number = running.pop(future)
                try:
                    result = future.result()
                except (Exception, CancelledError) as error:  # whatever executors raise where a worker is gone
                    raise Broken from error
                if result["missing"] is not None:
                    # Another part may have brought the path already.
                    job.grow(result["missing"], result["state"], parts.ranges[number][0])
                parts.take(number, result)
                if parts.unfinished(number):
                    waiting.add(number)
            meter.show(parts.finished)
            parts.into_core()
            job.keeper.maybe_write()
    finally:
        for future in running:
            future.cancel()
        parts.into_core()
