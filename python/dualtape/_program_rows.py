# SPDX-License-Identifier: MIT
"""What a program shows of itself, row by row: see `Program.instructions`, `constants` and `guards`."""

from __future__ import annotations

from typing import NamedTuple

from dualtape._core import dlarray


class Instruction(NamedTuple):
    """One step of a program."""

    number: int
    op: str  # of the table of ops, a shaped op, "input" or "constant"
    operands: tuple[int, ...]
    dtype: str
    shape: tuple[int, ...]
    line: tuple[str, int, str] | None  # file, line and function of the user's code


class Constant(NamedTuple):
    """A value from outside that became part of a program."""

    value: dlarray
    line: tuple[str, int, str] | None


class Guard(NamedTuple):
    """A decision on a value, with the outcomes that have been seen."""

    number: int  # of the instruction whose value decides
    kind: str  # "truth" or "integer"
    outcomes: tuple[int, ...]
    line: tuple[str, int, str] | None
