# SPDX-License-Identifier: MIT
"""The data of minibatches: which rows an iteration sees is the core's business (`_core.batch_rows`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import DTypeError, ShapeError, dlarray
from dualtape.tree import Structure, flatten, leaves_with_paths

DTYPES = (np.float32, np.float64, np.bool_, np.int64)


class Data:
    """The data of minibatches: a tree of arrays with a leading axis of observations, or nothing."""

    def __init__(self, where: str, data: Any = None, batch_size: Any = None, shuffle: Any = None) -> None:
        self.leaves: list[Any] = []
        self.structure: Structure | None = None
        self.rows, self.size = 0, 0
        self.shuffle: int | None = None
        if data is None:
            if batch_size is not None or shuffle is not None:
                raise TypeError(f"{where}: batch_size and shuffle are for data; none was given; pass data=(X, Y).")
            return
        self.structure = flatten(data)[1]
        self.leaves = [as_data(where, path, leaf) for path, leaf in leaves_with_paths(data, "data")]
        if not self.leaves or any(leaf.ndim == 0 for leaf in self.leaves):
            raise ShapeError(
                f"{where}: data must be arrays with a leading axis of observations; got {data!r:.60}; (X, Y) works."
            )
        rows = {leaf.shape[0] for leaf in self.leaves}
        if len(rows) > 1:
            raise ShapeError(
                f"{where}: the arrays of data must have as many observations each; got "
                f"{', '.join(str(leaf.shape) for leaf in self.leaves)}; the observations are the leading axis."
            )
        self.rows = rows.pop()
        if not self.rows:
            raise ShapeError(f"{where}: data must have at least one observation; got {self.leaves[0].shape}.")
        self.size = self.rows if batch_size is None else batch_size
        if (
            isinstance(self.size, bool)
            or not isinstance(self.size, (int, np.integer))
            or not 1 <= self.size <= self.rows
        ):
            raise ValueError(
                f"{where}: batch_size must be a whole number from 1 to {self.rows}, the number of observations; got "
                f"{batch_size!r}."
            )
        self.size = int(self.size)
        if shuffle is None or shuffle is False:
            return
        if not isinstance(shuffle, (int, np.integer)) or not 0 <= shuffle < 2**64:
            raise ValueError(
                f"{where}: shuffle must be the seed of the order, a whole number from 0; got {shuffle!r}; shuffle=0 "
                "works, and None keeps the order."
            )
        self.shuffle = int(shuffle)

    @property
    def core(self) -> Any:
        """What _core.Sweep takes."""
        return None if self.structure is None else (self.leaves, self.size, self.shuffle)

    def batch_leaves(self, iteration: int) -> list[dlarray]:
        """The minibatch of an iteration, leaf by leaf."""
        if self.structure is None:
            return []
        rows = _core.batch_rows(self.rows, self.size, self.shuffle, iteration)
        return [dlarray(leaf[rows]) for leaf in self.leaves]


def as_data(where: str, path: str, leaf: Any) -> Any:
    """A leaf of data as an ndarray of a dtype that the core has."""
    array = np.asarray(leaf)
    if array.dtype.kind not in "fiub":
        raise DTypeError(
            f"{where}: {path} must be numbers; got dtype {array.dtype}; number the classes, with numpy.unique(..., "
            "return_inverse=True) for example."
        )
    return np.asarray(array if array.dtype in DTYPES else array.astype(float), order="C")
