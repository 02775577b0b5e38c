# SPDX-License-Identifier: MIT
"""Programs in files: what `Program.save` writes and `Program.load` checks and reads.

A file begins with MAGIC. Behind it: CRC-32 (4 bytes) of the rest; the length of the head (8); the head, JSON with the
layout of arguments and results; and the core's file (cpp/dualtape/program/file.cpp). Numbers are little-endian.
Nothing in a file is ever run.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from typing import Any

from dualtape import _core
from dualtape._traced_call import Call
from dualtape.tree import Structure, flatten, unflatten

MAGIC = b"dualtape Program file 1\n"
LEAF = object()


def save(core: Any, call: Call, path: str | os.PathLike[str]) -> None:
    """Write a program, whole or not at all."""
    for _, value in call.static:
        if type(value) not in (int, bool, str):
            raise ValueError(
                f"Program.save: a file holds whole numbers, flags and text among the arguments; one is a "
                f"{type(value).__name__}; pickle the program instead, or let the function get it from outside."
            )
    head = json.dumps(
        {
            "arguments": outline(call.structure),
            "names": call.names,
            "static": call.static,
            "results": outline(call.out),
            "labels": call.labels,
            "dims": call.dims,
        }
    ).encode()
    rest = len(head).to_bytes(8, "little") + head + core.save()
    beside = f"{os.fspath(path)}.{os.getpid()}.tmp"
    try:
        with open(beside, "wb") as file:
            file.write(MAGIC + zlib.crc32(rest).to_bytes(4, "little") + rest)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)


def load(path: str | os.PathLike[str]) -> tuple[Any, Call]:
    """Read what `save` has written: the core's program, and how it is called."""
    what = f"Program.load({os.fspath(path)!r})"
    with open(path, "rb") as stream:
        data = stream.read()
    if not data.startswith(MAGIC):
        if data.startswith(MAGIC[:-2]) and data[len(MAGIC) - 1 : len(MAGIC)] == b"\n":
            version = data[len(MAGIC) - 2 : len(MAGIC) - 1].decode(errors="replace")
            raise ValueError(f"{what}: the file has the format {version}, this version of dualtape reads 1; update it.")
        raise ValueError(f"{what}: this is no file of a program.")
    rest = data[len(MAGIC) + 4 :]
    if zlib.crc32(rest).to_bytes(4, "little") != data[len(MAGIC) : len(MAGIC) + 4]:
        raise ValueError(f"{what}: the file is cut off or has been altered; save the program again.")
    size = int.from_bytes(rest[:8], "little")
    core = _core.load_program(rest[8 + size :])
    try:
        head = json.loads(rest[8 : 8 + size])
        call = Call(
            structure_of(head["arguments"]),
            [str(name) for name in head["names"]],
            [(int(place), value) for place, value in head["static"]],
            structure_of(head["results"]),
            [None if label is None else str(label) for label in head["labels"]],
            [str(label) for label in head["dims"]],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{what}: the head of the file has been altered.") from None
    places = {place for place, _ in call.static}
    if (
        len(call.labels) != len(core.results())
        or len(call.labels) != call.out.num_leaves
        or not len(call.names) == len(call.dims) == len(core.inputs())
        or len(places) != len(call.static)
        or not places <= set(range(call.structure.num_leaves))
        or len(call.names) + len(places) != call.structure.num_leaves
        or len(call.structure.children) != 2
    ):
        raise ValueError(f"{what}: the head of the file does not fit the program.")
    return core, call


def outline(structure: Structure) -> Any:
    """A structure of plain containers for JSON."""
    example = unflatten(structure, [LEAF] * structure.num_leaves)

    def walk(item: Any) -> Any:
        if item is LEAF:
            return 0
        if item is None:
            return None
        if type(item) is dict and all(isinstance(key, str) for key in item):
            return {"dict": [[key, walk(value)] for key, value in item.items()]}
        if type(item) in (list, tuple):
            return {type(item).__name__: [walk(value) for value in item]}
        raise ValueError(
            f"Program.save: a file holds dicts with text as keys, lists, tuples and None; the program uses "
            f"{type(item).__name__}; pickle it instead, or rearrange the arguments."
        )

    return walk(example)


def structure_of(sketch: Any) -> Structure:
    def build(item: Any) -> Any:
        if item == 0 or item is None:
            return 0.0 if item == 0 else None
        ((kind, inside),) = item.items()
        if kind == "dict":
            return {key: build(value) for key, value in inside}
        return {"list": list, "tuple": tuple}[kind](build(value) for value in inside)

    return flatten(build(sketch))[1]
