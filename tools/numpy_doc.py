# SPDX-License-Identifier: MIT
"""Write the tables of docs/numpy.md, or check that they are up to date: which function of NumPy works in which way.

    python tools/numpy_doc.py             # writes
    python tools/numpy_doc.py --check     # exit 1 if the page differs

Every call of tests/numpy_cases.py is made in every way of tests/numpy_ways.py, and the page says what came of it. The
tests run the same calls in the same ways, so the page cannot say more than holds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from numpy_cases import CASES, ELSEWHERE, FOREIGN, names  # noqa: E402
from numpy_ways import WAYS, Case  # noqa: E402

import dualtape as dt  # noqa: E402
import dualtape.numpy as dnp  # noqa: E402

PAGE = ROOT / "docs" / "numpy.md"
BEGIN, END = "<!-- {}: made by tools/numpy_doc.py -->\n", "<!-- end -->\n"
DERIVATIVES = ("forward", "reverse", "second order")

#: What an error says, in a few words.
WORDS = {
    "has no derivative": "no derivative",
    "results are complex": "complex results",
    "is being traced": "needs the numbers",
    "being differentiated": "no derivative",
}


def outcome(case: Case, way: str) -> str:
    """What comes of a call, tried in a way."""
    if way in DERIVATIVES and way not in case.refused and case.constant():
        return "constant"
    try:
        WAYS[way](case)
    except dt.TraceError as error:
        said = next((words for text, words in WORDS.items() if text in str(error)), str(error))
        return f"`TraceError`: {said}"
    return "yes"


def rows(cases: list[Case]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names of functions and what comes of their calls; a function is as good as the worst of its calls."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for case in cases:
        found.setdefault(case.name, []).append(tuple(outcome(case, way) for way in WAYS))
    for name, outcomes in sorted(found.items()):
        yield name, tuple(_worst(column) for column in zip(*outcomes, strict=True))


def _worst(column: tuple[str, ...]) -> str:
    errors = [text for text in column if text.startswith("`")]
    return errors[0] if errors else "yes" if "yes" in column else "constant"


def table(cases: list[Case]) -> str:
    """Functions with the same outcomes in one row."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    others = names()
    for name, outcomes in rows(cases):
        aliases = "".join(f" (`{alias}`)" for alias in others.get(name, []))
        grouped.setdefault(outcomes, []).append(f"`{name}`{aliases}")
    head = "| function | " + " | ".join(WAYS) + " |\n| --- |" + " --- |" * len(WAYS) + "\n"
    order = sorted(grouped.items(), key=lambda item: sum(text != "yes" for text in item[0]))
    return head + "".join(f"| {', '.join(found)} | {' | '.join(outcomes)} |\n" for outcomes, found in order)


def sections() -> dict[str, str]:
    """What stands between the marks of the page."""
    theirs = set(map(id, FOREIGN))
    ours = [case for case in CASES if id(case) not in theirs]
    elsewhere = ", ".join(f"`{name}`" for name in sorted(ELSEWHERE) if hasattr(dnp, name))
    return {
        "functions": table(ours),
        "elsewhere": elsewhere + "\n",
        "foreign": table(list(FOREIGN)),
    }


def page() -> str:
    """The page as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    for name, made in sections().items():
        begin = BEGIN.format(name)
        head, rest = text.split(begin)
        tail = rest.split(END, 1)[1]
        text = f"{head}{begin}\n{made}\n{END}{tail}"
    return text


def main() -> int:
    """Write or check."""
    wanted = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != PAGE.read_text(encoding="utf-8"):
        print(f"{PAGE.name} differs from what the calls of tests/numpy_cases.py give; run: python tools/numpy_doc.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
