# SPDX-License-Identifier: MIT
"""Sweeps on other processes and machines: parts of the runs go out through an Executor and come back in order.

A part is bytes (the traced program) and arrays (where its runs are); the worker needs dualtape and nothing of the
user's. A worker cannot trace: it sends its runs back with the decision that has no path, the path is traced here, and
the part goes out again with what it has already done. A worker that dies takes nothing along but time: its part is
still here.
"""

from __future__ import annotations

import warnings
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, wait
from typing import Any

import numpy as np

from dualtape import _core
from dualtape.loops._drive import Meter, drive, grow
from dualtape.loops._step import Step

SLICE = 5.0  # seconds that a worker computes before it reports


def run_part(program: bytes, part: dict[str, Any], seconds: float) -> dict[str, Any]:
    """In a worker: go on with some runs for a while."""
    core = _core.Sweep(program=_core.Program.load(program), **part["settings"])
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
    return [(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]


class Parts:
    """The parts of a sweep, and where the results go."""

    def __init__(self, core: Any, settings: dict[str, Any], count: int, parts: int) -> None:
        self.core, self.settings = core, settings
        self.ranges = slices(count, parts)
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

    def take(self, number: int, result: dict[str, Any]) -> bool:
        """Keep what came back; whether the part is done."""
        a, b = self.ranges[number]
        for name in ("state", "value", "history"):
            for leaf, new in zip(self.now[name], result[name], strict=True):
                leaf[a:b] = new
        self.now["iterations"][a:b] = result["iterations"]
        self.now["stopped"][a:b] = result["stopped"]
        self.done += result["done"]
        self.computed += result["computed"]
        return not (result["stopped"] == 0).any()

    def into_core(self) -> None:
        now = self.now
        self.core.resume(now["state"], now["value"], now["history"], now["iterations"], now["stopped"])
        self.core.count(self.done, self.computed)

    @property
    def finished(self) -> int:
        return int((self.now["stopped"] != 0).sum())


def run_parts(
    step: Step,
    core: Any,
    program: Any,
    settings: dict[str, Any],
    values_of: Any,
    contract: bool,
    executor: Executor,
    meter: Meter,
    keeper: Any,
) -> tuple[Any, bool]:
    """Run all runs of a core through an executor: (the program with all its paths, whether it was interrupted)."""
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"sweep: executor must be a concurrent.futures.Executor; a {type(executor).__name__} was given; "
            "ProcessPoolExecutor() or dask's client.get_executor() work."
        )
    workers = getattr(executor, "_max_workers", None) or 8
    parts = Parts(core, settings, core.iterations.size, 4 * workers)
    waiting = {number for number in range(len(parts.ranges))}
    running: dict[Any, int] = {}
    try:
        while waiting or running:
            for number in sorted(waiting):
                running[executor.submit(run_part, program.save(), parts.outgoing(number), SLICE)] = number
            waiting.clear()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number = running.pop(future)
                result = future.result()
                if result["missing"] is not None:
                    program = learn(step, core, program, parts, number, result, values_of, contract)
                if not parts.take(number, result):
                    waiting.add(number)
            meter.show(parts.finished)
            parts.into_core()
            keeper.maybe_write()
    except (BrokenExecutor, CancelledError) as error:
        # What has come back is kept, the rest is computed here.
        text = f"sweep: the executor broke ({error or type(error).__name__}); the remaining runs go on in this process."
        warnings.warn(text, RuntimeWarning, stacklevel=4)
        parts.into_core()
        return drive(step, core, program, values_of, contract, 1, meter, keeper.maybe_write)
    except KeyboardInterrupt:
        for future in running:
            future.cancel()
        parts.into_core()
        return program, True
    finally:
        meter.close()
    return program, False


def learn(step: Step, core: Any, program: Any, parts: Parts, number: int, result: Any, values_of: Any, contract: bool) -> Any:
    """Trace the path that a worker has missed. Another part may have brought it already."""
    run, iteration, forced = result["missing"]
    first = parts.ranges[number][0]

    more = grow(step, result["state"], program, (run, iteration, forced), lambda r, k: values_of(first + r, k), contract)
    if more is None:
        return program
    core.extend(more)
    return more
