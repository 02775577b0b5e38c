# SPDX-License-Identifier: MIT
"""The table on the terminal and the JSON file.

Start with `table`, which lays out the rows of one case; `write_json` stores all rows with the machine they
were measured on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .model import Row

_UNITS = ((1.0, "s "), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def seconds(value: float | None) -> str:
    """Return a time in the unit that suits it, three digits."""
    if value is None:
        return ""
    scale, unit = next(((s, u) for s, u in _UNITS if value >= s), _UNITS[-1])
    return f"{_digits(value / scale)} {unit}"


def ratio(value: float | None) -> str:
    """Return a ratio, three digits."""
    return "" if value is None else f"{_digits(value)} x"


def _digits(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.1g}"


def table(rows: Sequence[Row]) -> str:
    """Return the lines of one case: who was right and how fast, then who was not and why."""
    unit = rows[0].unit
    with_memory = any(row.bytes_per_unit is not None for row in rows)
    head = ["", "", "best", "median", f"per {unit}", "to dualtape"]
    if with_memory:
        head += [f"bytes per {unit}", "kept"]
    lines = [head]
    for row in rows:
        if row.status == "ok":
            line = [row.competitor, row.how, seconds(row.best), seconds(row.median), seconds(row.per_unit)]
            line.append(ratio(row.ratio))
            if with_memory:
                line += ["" if b is None else _digits(b) for b in (row.bytes_per_unit, row.bytes_kept)]
            lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [f"\n{rows[0].case}"]
    for line in lines:
        left = (cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True))
        right = (cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True))
        text.append("  " + "  ".join((*left, *right)).rstrip())
    text += [f"  {r.competitor}: {name}: {value:.4g}" for r in rows for name, value in r.extra.items()]
    text += [f"  {r.competitor}: {r.status.upper()}: {r.reason}" for r in rows if r.status in ("wrong", "failed")]
    return "\n".join(text)


def missing(rows: Sequence[Row]) -> str:
    """Return one line that names who could not take part, and why."""
    reasons = sorted({row.reason for row in rows if row.status == "missing"})
    return "\nNot taking part: " + "; ".join(reasons) + "." if reasons else ""


def write_json(path: Path, machine: dict[str, object], rows: Sequence[Row]) -> None:
    """Write machine and rows; times are in seconds."""
    content = {"machine": machine, "rows": [vars(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
