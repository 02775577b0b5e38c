# SPDX-License-Identifier: MIT
"""The command ``python -m bench``: run the workloads, print the table, write JSON and a figure.

The exit status is 1 if an answer of dualtape's was wrong or failed or if it is not installed, and 0
otherwise, whatever the times and whatever became of the others.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from .environment import machine, use_one_thread

use_one_thread()  # before NumPy comes in with its threads

from . import memory, promises, report, workloads  # noqa: E402
from .measure import Effort, measure  # noqa: E402
from .model import Case, Row  # noqa: E402


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="dualtape against everyone else")
    parser.add_argument("--only", metavar="NAMES", help=f"comma-separated, of: {', '.join(workloads.NAMES)}")
    parser.add_argument("--repeat", type=int, help="rounds (default 15, quick 2)")
    parser.add_argument("--quick", action="store_true", help="small sizes, a smoke test of half a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers, with the machine's")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the ratios (needs matplotlib)")
    parser.add_argument(
        "--peers-only",
        action="store_true",
        help="leave dualtape out: how fast are the others on this machine?",
    )
    options = parser.parse_args()
    options.names = options.only.split(",") if options.only else list(workloads.NAMES)
    for name in options.names:
        if name not in workloads.NAMES:
            parser.error(f"--only: no workload {name!r}; there are {', '.join(workloads.NAMES)}")
    return options


def _measure_memory(rows: list[Row], units: int, quick: bool) -> None:
    for row in rows:
        if row.status == "ok":
            if quick and not row.ours:
                continue  # each takes a process with its imports
            bytes_ = memory.growth(row.workload, row.case, row.competitor, quick)
            if bytes_ is not None:
                row.bytes_per_unit, row.bytes_kept = bytes_[0] / units, bytes_[1] / units


def main() -> int:
    """Run the command and return its exit status."""
    options = _arguments()
    effort = Effort(options.repeat or 2, 0.002, 0.3) if options.quick else Effort(options.repeat or 15)
    about = machine()
    print(f"{about['cpu']}, one thread, {about['python']}; best and median of up to {effort.repeat} rounds")
    rows: list[Row] = []
    for name in options.names:
        for case in workloads.load(name).cases(options.quick):
            if options.peers_only:
                case = _without_ours(case)
            measured = measure(name, case, effort)
            if case.memory:
                _measure_memory(measured, case.units, options.quick)
            print(report.table(measured), flush=True)
            rows += measured
    print(report.missing(rows))
    print(promises.table(rows))
    if options.json:
        report.write_json(options.json, about, rows)
    if options.figure:
        from .figure import draw

        draw(rows, about, options.figure)
    failed = [row for row in rows if row.ours and row.status != "ok"]
    for row in failed:
        print(f"FAILED: {row.case}: {row.competitor}: {row.status}: {row.reason}")
    return 1 if failed else 0


def _without_ours(case: Case) -> Case:
    return replace(case, competitors=[c for c in case.competitors if not c.ours])


if __name__ == "__main__":
    raise SystemExit(main())
