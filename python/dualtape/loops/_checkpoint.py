# SPDX-License-Identifier: MIT
"""Checkpoints: where the runs of a loop or sweep are, in a file that is always whole.

A file is written beside the old one, brought to disk, and put in its place; killed at any moment, there is the old one
or the new one. It holds arrays only, and a fingerprint of the loop: the traced step, the start and the
hyperparameters. Another loop is refused; the same one with more iterations goes on.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 1


def fingerprint(program: Any, maker: Any, core: Any) -> str:
    """What must be equal for a run to go on."""
    digest = hashlib.sha256(program.save())
    for leaf in core.state:
        digest.update(np.ascontiguousarray(leaf).tobytes())
    for item in maker.inputs:
        digest.update(repr((item.name, item.source)).encode())
        if item.source == "fixed":
            digest.update(np.ascontiguousarray(np.asarray(item.value)).tobytes())
        elif item.source == "swept":
            digest.update(np.ascontiguousarray(maker.swept[item.name]).tobytes())
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
    """Writes where the runs are, now and then; does nothing without a path."""

    def __init__(self, where: str, path: Any, every: int, core: Any, mark: str) -> None:
        self.where, self.path, self.every, self.core, self.mark = where, path, every, core, mark
        self.written = int(core.iterations.sum())

    @classmethod
    def of(cls, where: str, path: Any, every: int, core: Any, program: Any, maker: Any) -> Checkpoint:
        """With the file at `path`, which is read if it is there."""
        if path is None:
            return cls(where, None, 0, core, "")
        if isinstance(every, bool) or not isinstance(every, (int, np.integer)) or every < 1:
            raise ValueError(f"{where}: checkpoint_every must be a whole number from 1; got {every!r}.")
        path = Path(path)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{where}: there is no directory {path.parent} for the checkpoint; make it first.")
        out = cls(where, path, int(every), core, fingerprint(program, maker, core))
        if path.exists():
            out.read()
        return out

    def read(self) -> None:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = dict(file)
            version, mark = int(arrays["version"]), str(arrays["fingerprint"])
        except Exception as error:
            raise ValueError(
                f"{self.where}: {self.path} is no checkpoint, or is damaged ({error}); delete it to start anew."
            ) from None
        if version != VERSION or mark != self.mark:
            raise ValueError(
                f"{self.where}: the checkpoint {self.path} belongs to another loop: its step, start or hyperparameters "
                "differ; delete it to start anew, or give another path."
            )
        history = [self.fitted(arrays[f"history{i}"], like) for i, like in enumerate(self.core.history)]
        self.core.resume(
            [arrays[f"state{i}"] for i in range(len(self.core.state))],
            [arrays[f"value{i}"] for i in range(len(self.core.value))],
            history,
            arrays["iterations"],
            arrays["stopped"],
        )
        self.written = int(self.core.iterations.sum())

    @staticmethod
    def fitted(history: Any, like: Any) -> Any:
        """The records so far, in room for as many as this loop makes."""
        out = like.copy()
        count = min(history.shape[1], like.shape[1])
        out[:, :count] = history[:, :count]
        return out

    def maybe_write(self) -> None:
        if self.path is not None and int(self.core.iterations.sum()) >= self.written + self.every:
            self.write()

    def write(self) -> None:
        if self.path is None:
            return
        core = self.core
        arrays = {"version": VERSION, "fingerprint": self.mark, "iterations": core.iterations, "stopped": core.stopped}
        for name, leaves in (("state", core.state), ("value", core.value), ("history", core.history)):
            arrays |= {f"{name}{i}": leaf for i, leaf in enumerate(leaves)}
        write_atomically(self.path, arrays)
        self.written = int(core.iterations.sum())
