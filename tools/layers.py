# SPDX-License-Identifier: MIT
"""Check that each floor stands on lower floors only, and report how large the floors are.

    python tools/layers.py          # violations as file:line, then lines per folder; exit 1 on a violation

Rules
-----
* A C++ file includes headers of its own floor or of a lower one (`RANK`). Floors of equal rank are blind to
  each other. Includes name the path from `cpp/`, so that this script (and a reader) can see the floor.
* Only `cpp/bindings` knows Python: no other file includes Python.h, pybind11 or NumPy's C API.
* Python modules of the package import each other without cycles at import time.
* No file is longer than 800 lines; from 400 on there is a warning.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

RANK = {
    floor: rank
    for rank, floors in enumerate(
        (
            ("base",),
            ("num",),
            ("ops",),
            ("dual", "array", "optim", "machine"),
            ("tape",),
            ("exec",),
            ("program",),
            ("loop",),
            ("bindings",),
            ("tests",),
        )
    )
    for floor in floors
}
INCLUDE = re.compile(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
PYTHON_HEADER = re.compile(r"Python\.h|structmember\.h|pybind11/|numpy/")
WARN_LINES, MAX_LINES = 400, 800
SIZED = {"cpp": ("hpp", "cpp", "def"), "python": ("py", "pyi"), "tests": ("py",), "bench": ("py", "cpp"),
         "examples": ("py",), "tools": ("py",)}  # fmt: skip


def floor_of(path: str) -> str:
    """The floor of a path from cpp/: dualtape/tape/tape.hpp is tape, bindings/module.cpp is bindings."""
    parts = path.split("/")
    return parts[1] if parts[0] == "dualtape" and len(parts) > 2 else parts[0]


def includes(file: Path) -> Iterator[tuple[int, str, bool]]:
    """Line number, header and whether it is quoted, for each include of a file."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if match := INCLUDE.match(line):
            yield number, match[1] or match[2], match[1] is not None


def check_cpp(root: Path) -> Iterator[str]:
    """Violations of the C++ floors under root/cpp."""
    cpp = root / "cpp"
    for file in sorted([*cpp.rglob("*.hpp"), *cpp.rglob("*.cpp"), *cpp.rglob("*.def")]):
        path = file.relative_to(cpp).as_posix()
        floor = floor_of(path)
        if floor not in RANK:
            yield f"{file.relative_to(root)}:1: {floor} is no floor; the floors are {', '.join(RANK)}"
            continue
        for number, header, quoted in includes(file):
            where = f"{file.relative_to(root)}:{number}"
            if PYTHON_HEADER.match(header):
                if floor != "bindings":
                    yield f"{where}: {floor} includes {header}; only bindings may know Python"
                continue
            if not quoted:
                continue
            if not (cpp / header).is_file():
                yield f"{where}: {header} is not there; write the path from cpp/ (dualtape/base/error.hpp)"
                continue
            other = floor_of(header)
            if other != floor and RANK.get(other, len(RANK)) >= RANK[floor]:
                relation = "its sibling" if RANK.get(other) == RANK[floor] else "the higher floor"
                yield f"{where}: {floor} includes {header} of {relation} {other}"


def imports_at_import_time(tree: ast.Module) -> Iterator[ast.stmt]:
    """Import statements that run when the module is imported: not in functions, not under TYPE_CHECKING."""
    queue: list[ast.stmt] = list(tree.body)
    while queue:
        node = queue.pop(0)
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                queue += node.body
            queue += node.orelse
        elif isinstance(node, ast.Try):
            queue += [*node.body, *node.orelse, *node.finalbody]
            for handler in node.handlers:
                queue += handler.body
        elif isinstance(node, ast.With | ast.ClassDef):
            queue += node.body


def module_graph(package: Path) -> tuple[dict[str, Path], dict[str, dict[str, int]]]:
    """The modules of the package: the file of each, and the modules that it imports with the line."""
    files: dict[str, Path] = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    graph: dict[str, dict[str, int]] = {}
    for module, file in files.items():
        edges = graph.setdefault(module, {})
        home = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
        for node in imports_at_import_time(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                base = home[: len(home) - node.level + 1] if node.level else []
                stem = ".".join([*base, *(node.module.split(".") if node.module else [])])
                # `from . import tree` imports the module tree; `from .tree import flatten` imports tree;
                # the extension module imports nothing of the package
                below = [f"{stem}.{alias.name}" for alias in node.names if alias.name != "_core"]
                names = [name if name in files else stem for name in below]
            for name in names:
                if name in files and name != module:
                    edges.setdefault(name, node.lineno)
    return files, graph


def check_python(root: Path) -> Iterator[str]:
    """One violation per import cycle: the import that closes it."""
    files, graph = module_graph(root / "python" / "dualtape")
    done: set[str] = set()
    for start in graph:
        stack: list[tuple[str, Iterator[str]]] = [(start, iter(graph[start]))]
        path = [start]
        while stack:
            module, targets = stack[-1]
            for target in targets:
                if target in path:
                    cycle = [*path[path.index(target) :], target]
                    file = files[module].relative_to(root)
                    yield f"{file}:{graph[module][target]}: import cycle {' -> '.join(cycle)}"
                elif target not in done:
                    stack.append((target, iter(graph[target])))
                    path.append(target)
                    break
            else:
                stack.pop()
                done.add(path.pop())


def sizes(root: Path) -> tuple[dict[str, tuple[int, int]], list[tuple[int, str]]]:
    """Files and lines of each folder, and the files longer than WARN_LINES, longest first."""
    folders: dict[str, tuple[int, int]] = {}
    long: list[tuple[int, str]] = []
    for top, endings in SIZED.items():
        for file in sorted((root / top).rglob("*")):
            if file.suffix[1:] not in endings or "__pycache__" in file.parts:
                continue
            lines = len(file.read_text(encoding="utf-8").splitlines())
            folder = file.parent.relative_to(root).as_posix()
            count, total = folders.get(folder, (0, 0))
            folders[folder] = (count + 1, total + lines)
            if lines > WARN_LINES:
                long.append((lines, file.relative_to(root).as_posix()))
    return folders, sorted(long, reverse=True)


def main() -> int:
    """Print violations and the size report; 1 where something is wrong."""
    problems = [*check_cpp(ROOT), *check_python(ROOT)]
    folders, long = sizes(ROOT)
    print(f"{'folder':<32}{'files':>6}{'lines':>8}")
    for folder, (count, lines) in folders.items():
        print(f"{folder:<32}{count:>6}{lines:>8}")
    print(f"{'total':<32}{sum(c for c, _ in folders.values()):>6}{sum(n for _, n in folders.values()):>8}")
    for lines, name in long:
        if lines > MAX_LINES:
            problems.append(f"{name}:{MAX_LINES}: {lines} lines; split the file (at most {MAX_LINES})")
        else:
            print(f"warning: {name} has {lines} lines; {WARN_LINES} is where a file starts to do two things")
    for problem in problems:
        print(problem)
    print(f"layers: {len(problems)} problems" if problems else "layers: ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
