# SPDX-License-Identifier: MIT
"""The memory of one run, measured in a process of its own: growth of the peak, and what is kept afterwards.

Start with `growth`, which starts a child (this module as a program) for one competitor of one case; the child
builds the competitor, notes its resident size, runs, and reads the peak.  Linux only: elsewhere a peak cannot
be reset, so there is no number rather than a wrong one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    from bench.environment import use_one_thread

    use_one_thread()


def growth(workload: str, case: str, competitor: str, quick: bool) -> tuple[int, int] | None:
    """Return by how many bytes one run raised the peak, and how many it kept; None if unknown."""
    if sys.platform != "linux":
        return None
    command = [sys.executable, "-m", "bench.memory", workload, case, competitor, str(int(quick))]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    if done.returncode:
        return None
    peak, kept = json.loads(done.stdout.splitlines()[-1])
    return peak, kept


def _resident(field: str) -> int:
    """Return VmRSS or VmHWM of this process, bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def _main(workload: str, case_name: str, competitor_name: str, quick: str) -> None:
    import gc

    from bench.workloads import load

    case = next(c for c in load(workload).cases(bool(int(quick))) if c.name == case_name)
    competitor = next(c for c in case.competitors if c.name == competitor_name)
    run = competitor.prepare().run
    gc.collect()
    gc.disable()  # as when the time is taken
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak so far is forgotten
    before = _resident("VmRSS")
    run()
    peak = _resident("VmHWM")
    gc.enable()
    gc.collect()
    print(json.dumps([max(0, peak - before), max(0, _resident("VmRSS") - before)]))


if __name__ == "__main__":
    _main(*sys.argv[1:])
