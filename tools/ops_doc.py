# SPDX-License-Identifier: MIT
"""Write the list of kinks in docs/numbers.md from the table of ops, or check that it is up to date.

    python tools/ops_doc.py             # writes
    python tools/ops_doc.py --check     # exit 1 if the page differs from the table

The table is `dualtape._core.op_table()`, which is cpp/dualtape/ops/ops.def; nothing about an op is kept here.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dualtape import _core

PAGE = Path(__file__).resolve().parent.parent / "docs" / "numbers.md"
BEGIN, END = "<!-- ops: made by tools/ops_doc.py -->\n", "<!-- end -->\n"


def table() -> str:
    """Kinks in the order of the table, ops with the same kink in one row."""
    rows: dict[str, list[str]] = {}
    for row in _core.op_table():
        if row["kink"]:
            rows.setdefault(row["kink"], []).append(f"`{row['name']}`")
    # two stars would make bold what stands between them
    lines = [f"| {', '.join(ops)} | {kink.replace('*', chr(92) + '*')} |\n" for kink, ops in rows.items()]
    return "".join(["| op | derivative |\n", "| --- | --- |\n", *lines])


def page() -> str:
    """The page with the list as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


def main() -> int:
    """Write or check."""
    wanted = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != PAGE.read_text(encoding="utf-8"):
        print(f"{PAGE.name} differs from the table of ops; run: python tools/ops_doc.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
