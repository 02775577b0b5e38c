# SPDX-License-Identifier: MIT
"""Checkpoints: where the runs of a loop or sweep are, in a file that is always whole.

A file is written beside the old one, brought to disk, and put in its place; killed at any moment, there is the old one
or the new one. It holds arrays only, and a fingerprint of the loop: the traced step, the start, the hyperparameters
and the data. Another loop is refused; the same one with more iterations goes on.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from dualtape import _core
from dualtape.loops._step import Step, Untraceable

if TYPE_CHECKING:
    from pathlib import Path

# json, zipfile, pathlib and hashlib are imported where a checkpoint is asked for: they take longer than all of this
# package, and importing it should stay quick.

VERSION = 1


def add(digest: Any, *arrays: Any) -> None:
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())


def fingerprint(program: Any, step: Step, settings: dict[str, Any], starts: list[Any]) -> str:
    """What must be equal for a run to go on."""
    import hashlib

    digest = hashlib.sha256(_core.without_lines(program))
    digest.update(repr([settings[name] for name in ("values", "until", "record_every")]).encode())
    add(digest, *starts, *step.data.leaves)
    digest.update(repr((step.data.size, step.data.shuffle)).encode())
    for item in step.inputs:
        digest.update(repr((item.name, item.source, item.weak)).encode())
        if item.source in ("fixed", "swept"):  # tables grow with the number of iterations: see `Checkpoint.arrays`
            add(digest, item.value)
    return digest.hexdigest()


def write_atomically(path: Path, arrays: dict[str, Any]) -> None:
    """An .npz that appears at `path` whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


class Checkpoint:
    """The file of a loop; without a path there is none."""

    def __init__(self, where: str, path: Any, every: Any) -> None:
        if isinstance(every, bool) or not isinstance(every, (int, np.integer)) or every < 1:
            raise ValueError(f"{where}: checkpoint_every must be a whole number from 1; got {every!r}; 1000 works.")
        self.where, self.every, self.written = where, int(every), 0
        self.path: Path | None = None
        self.stored: dict[str, Any] | None = None
        if path is None:
            return
        from pathlib import Path

        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"{where}: there is no directory {self.path.parent} for the checkpoint; make it first."
            )
        if self.path.exists():
            self.stored = self.read(self.path)

    def read(self, path: Path) -> dict[str, Any]:
        import json
        import zipfile
        import zlib

        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = dict(file)
            version = int(arrays["version"])
            arrays["tabulated"] = json.loads(str(arrays["tabulated"]))
        except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, NotImplementedError,
                zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
            raise ValueError(
                f"{self.where}: {path} is no checkpoint, or is damaged ({type(error).__name__}: {error}); "
                "delete it to start anew."
            ) from None
        if version != VERSION:
            raise ValueError(
                f"{self.where}: the checkpoint {path} has format {version}, this dualtape reads {VERSION}; "
                "delete it to start anew."
            )
        return arrays

    def prepare(self, step: Step) -> None:
        """Make the functions tables that were tables when the file was written."""
        names = [] if self.stored is None else self.stored["tabulated"]
        if names and set(names) <= set(step.functions):
            step.tabulate(Untraceable([name for name in names if name not in step.tables]))

    def attach(self, core: Any, step: Step, mark: str) -> None:
        """Put the runs where the file says they were; from now on, `write` keeps where they are."""
        self.core, self.step, self.mark = core, step, mark
        if self.stored is not None:
            self.resume(self.stored)
            self.stored = None
        self.written = int(core.iterations.sum())

    def resume(self, stored: dict[str, Any]) -> None:
        core, most = self.core, int(stored["iterations"].max(initial=0))
        if most > self.step.iterations:
            raise ValueError(
                f"{self.where}: the checkpoint {self.path} has done {most:,} iterations already; got "
                f"iterations={self.step.iterations}; ask for at least as many, or delete it to start anew."
            )
        if str(stored["fingerprint"]) != self.mark or str(stored["tables"]) != self.table_mark(most):
            raise ValueError(
                f"{self.where}: the checkpoint {self.path} belongs to another loop: its step, start, hyperparameters, "
                "data or record_every differ; delete it to start anew, or give another path."
            )
        core.resume(
            [stored[f"state{i}"] for i in range(len(core.state))],
            [stored[f"value{i}"] for i in range(len(core.value))],
            [fitted(stored[f"history{i}"], like) for i, like in enumerate(core.history)],
            stored["iterations"],
            stored["stopped"],
        )

    def table_mark(self, iterations: int) -> str:
        """A fingerprint of the tables up to an iteration."""
        import hashlib

        digest = hashlib.sha256()
        for table in self.step.tables.values():
            add(digest, *(column[:iterations] for column in table.columns))
        return digest.hexdigest()

    def maybe_write(self) -> None:
        if self.path is not None and int(self.core.iterations.sum()) >= self.written + self.every:
            self.write()

    def write(self) -> None:
        if self.path is None:
            return
        import json

        core, iterations = self.core, self.core.iterations
        arrays = {
            "version": VERSION,
            "fingerprint": self.mark,
            "tabulated": json.dumps(list(self.step.tables)),
            "tables": self.table_mark(int(iterations.max(initial=0))),
            "iterations": iterations,
            "stopped": core.stopped,
        }
        for name, leaves in (("state", core.state), ("value", core.value), ("history", core.history)):
            arrays |= {f"{name}{i}": leaf for i, leaf in enumerate(leaves)}
        write_atomically(self.path, arrays)
        self.written = int(iterations.sum())


def fitted(history: Any, like: Any) -> Any:
    """The records so far, in room for as many as this loop makes."""
    out = like.copy()
    count = min(history.shape[1], like.shape[1])
    out[:, :count] = history[:, :count]
    return out
