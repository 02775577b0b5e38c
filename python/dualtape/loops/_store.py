# SPDX-License-Identifier: MIT
"""Results in one file: NumPy's .npz with a header in JSON, no pickles.

The header (member "header", a JSON text) has the format's version, the numbers, what the sweep went over, and the
structure of each tree; the arrays are members "over.0", "state.0", "history.0", ..., counted in the order of the
tree's leaves. So keys of dicts may be anything that JSON can say, and nothing in a file is ever executed.

A structure is "*" for a leaf, null for None, and [kind, children] with kind "list", "tuple" or "dict"; children of a
dict are [key, structure] pairs. What is no plain container is written as the dict of its fields.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dualtape import tree
from dualtape._core import __version__
from dualtape._structure import DATACLASS, DEFAULT_DICT, LEAF, LIST, NAMEDTUPLE, NONE, TUPLE
from dualtape.tree import Structure

from ._over import Over, _Axis

if TYPE_CHECKING:
    from ._results import Runs

_FORMAT, _VERSION = "dualtape.runs", 1
_TREES = ("state", "value", "history")
_NUMBERS = ("record_every", "seconds", "useful")


def _encode(structure: Structure) -> Any:
    """A structure as JSON; see the head of this file."""
    kind = structure.kind
    if kind == LEAF:
        return "*"
    if kind == NONE:
        return None
    children = [_encode(child) for child in structure.children]
    if kind in (LIST, TUPLE):
        return ["list" if kind == LIST else "tuple", children]
    if kind == NAMEDTUPLE:
        keys = structure.cls._fields
    elif kind in (DATACLASS, DEFAULT_DICT):
        keys = structure.aux[0]
    else:
        keys = structure.aux
    for key in keys:
        if type(key) not in (str, int, float, bool, type(None)):
            raise TypeError(
                f"save({tree.paths(structure)[0]}): keys of a saved tree are strings, numbers, bools or None; got "
                f"{key!r} of type {type(key).__name__}; rename it, or save extractdata of the leaves yourself."
            )
    return ["dict", [list(pair) for pair in zip(keys, children, strict=True)]]


def _decode(code: Any, leaves: Iterator[NDArray[Any]]) -> Any:
    """A tree from its structure as JSON and its leaves in order."""
    if code is None:
        return None
    if code == "*":
        return next(leaves)
    kind, children = code
    if kind == "dict":
        return {key: _decode(child, leaves) for key, child in children}
    if kind not in ("list", "tuple"):
        raise ValueError(f"unknown container {kind!r}")
    items = [_decode(child, leaves) for child in children]
    return items if kind == "list" else tuple(items)


def save(runs: Runs, path: str | os.PathLike[str]) -> None:
    """See Runs.save."""
    header: dict[str, Any] = {"format": _FORMAT, "version": _VERSION, "dualtape": __version__}
    header |= {name: getattr(runs, name) for name in _NUMBERS}
    header["over"] = [[axis.dim, [name for name, _ in axis.columns]] for axis in runs.over._axes]
    arrays: dict[str, NDArray[Any]] = {"iterations": runs.iterations, "stopped": runs.stopped}
    columns = [values for axis in runs.over._axes for _, values in axis.columns]
    arrays |= {f"over.{i}": values for i, values in enumerate(columns)}
    for name in _TREES:
        leaves, structure = tree.flatten(getattr(runs, name))
        header[name] = _encode(structure)
        arrays |= {f"{name}.{i}": leaf for i, leaf in enumerate(leaves)}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"save({name}): arrays of objects cannot be saved; got dtype {array.dtype}; numbers work.")
    _write(path, {"header": np.array(json.dumps(header))} | arrays)


def _write(path: str | os.PathLike[str], arrays: dict[str, NDArray[Any]]) -> None:
    """Write an .npz that appears under its name when it is complete, and on the disk."""
    target = os.path.realpath(path)  # a link stays a link
    folder, name = os.path.split(target)
    # Not tempfile: its files are private, and results should have the permissions of any new file.
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]  # NumPy's stub takes allow_pickle for one of them
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):  # so that the new name survives a power cut too
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def load(path: str | os.PathLike[str]) -> Runs:
    """See Runs.load."""
    where = f"load({os.fspath(path)!r})"
    hint = "Runs.load reads what runs.save wrote."
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        with open(path, "rb") as stream:
            zipped = stream.read(2) == b"PK"
        found = "a file that ends too early, as when a copy breaks off" if zipped else "something else"
        raise ValueError(f"{where}: this is no file of runs; got {found}; {hint}") from None
    with archive:
        if "header.npy" not in archive.namelist():
            raise ValueError(f"{where}: this is no file of runs; got another kind of .npz or .zip; {hint}")
        try:
            header = json.loads(str(_member(archive, "header")))
            foreign = not isinstance(header, dict) or header.get("format") != _FORMAT
            newer = not foreign and header["version"] > _VERSION
            runs = None if foreign or newer else _read(archive, header)
        except (ValueError, KeyError, TypeError, IndexError, EOFError, RecursionError, NotImplementedError,
                StopIteration, zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
            raise ValueError(
                f"{where}: the file is damaged; got {type(error).__name__}: {error}; "
                "copy it again, or repeat the sweep."
            ) from error
    if foreign:
        raise ValueError(f"{where}: this is no file of runs; got an .npz of another program; {hint}")
    if runs is None:
        raise ValueError(
            f"{where}: the file is newer than this dualtape; got format {header['version']}, written by dualtape "
            f"{header.get('dualtape')}; dualtape {__version__} reads up to {_VERSION}: pip install --upgrade dualtape."
        )
    return runs


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):  # reading to the end also checks the sum
            raise ValueError(f"{name} goes on after its end")
    return array


def _read(archive: zipfile.ZipFile, header: dict[str, Any]) -> Runs:
    from ._results import Runs

    axes, number = [], 0
    for dim, names in header["over"]:
        columns = []
        for name in names:
            columns.append((str(name), _member(archive, f"over.{number}")))
            number += 1
        axes.append(_Axis(dim, tuple(columns)))
    trees = {}
    for name in _TREES:
        count = sum(member.startswith(f"{name}.") for member in archive.namelist())
        trees[name] = _decode(header[name], iter([_member(archive, f"{name}.{i}") for i in range(count)]))
    return Runs(
        over=Over(tuple(axes)),
        iterations=_member(archive, "iterations"),
        stopped=_member(archive, "stopped"),
        **trees,
        **{name: header[name] for name in _NUMBERS},
    )
