# SPDX-License-Identifier: MIT
"""Every code block of README.md and docs/ runs, and prints what the page says it prints.

The ``python`` blocks of a page run in order in one namespace, in a temporary directory, so a page reads like
a session: later blocks use what earlier ones made. A ``text`` block that directly follows a ``python`` block
is its expected output, compared as doctest does (``...`` stands for anything, runs of blanks are equal). A
block that shows an error catches it, as a person would.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMPARE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SOURCE = re.compile(r"`((?:cpp|python|bench|tests|tools|docs|examples)/[\w./]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@dataclass
class Block:
    """A piece of Python on a page."""

    line: int  # of its first line of code
    code: str
    output: str | None


def blocks(page: Path) -> list[Block]:
    """The Python blocks of a page, each with the output the page shows for it."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    end_of_code = -1
    for match in FENCE.finditer(text):
        language, body = match.groups()
        if language == "python":
            found.append(Block(text.count("\n", 0, match.start(2)) + 1, body, None))
            end_of_code = match.end()
        elif language == "text" and end_of_code >= 0 and not text[end_of_code : match.start()].strip():
            found[-1].output = body
    return found


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        # Empty lines in front make the line numbers of a traceback those of the page.
        code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        if block.output is not None and not doctest.OutputChecker().check_output(
            block.output, printed.getvalue(), COMPARE
        ):
            where = f"{page.name}:{block.line}"
            pytest.fail(f"{where} prints\n{printed.getvalue()}\nbut the page shows\n{block.output}")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
    for path in SOURCE.findall(text):
        assert (ROOT / path).exists(), f"{page.name} names {path}, which is not there"


def test_a_page_that_shows_wrong_output_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n", encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match=r"page\.md:2 prints\n2\n"):
        test_blocks_run(page, tmp_path, monkeypatch)
