# SPDX-License-Identifier: MIT
"""`minibatchqueue`: data in small groups for loops that are written by hand. (In `loop` and `sweep`, the argument
``data=`` does this inside the core.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray
from dualtape.labels import label

__all__ = ["minibatchqueue"]


class minibatchqueue:
    """Groups of observations out of arrays, one group after the other.

    Parameters
    ----------
    *arrays : array
        Data and targets, say: as many observations each. Whatever NumPy understands.
    mini_batch_size : int
    partial_mini_batch : {"return", "discard"}
        What becomes of the last group where it is smaller.
    mini_batch_fcn : callable, optional
        Gets the arrays of a group and returns what shall become of them, an array or a tuple.
    mini_batch_format : str or sequence of str, optional
        Labels of what comes out, such as ("CB", "CB"); "" for none.
    output_cast : dtype, optional
        By default dtypes stay. (MATLAB's is single.)
    obs_axis : int
        The axis of the observations.
    seed : int
        What the orders of `shuffle` are a function of.

    Examples
    --------
    >>> import numpy as np
    >>> import dualtape as dt
    >>> queue = dt.minibatchqueue(np.arange(5.0), mini_batch_size=2)
    >>> [x.tolist() for x in queue]
    [[0.0, 1.0], [2.0, 3.0], [4.0]]
    """

    def __init__(
        self,
        *arrays: Any,
        mini_batch_size: int = 128,
        partial_mini_batch: Literal["return", "discard"] = "return",
        mini_batch_fcn: Callable[..., Any] | None = None,
        mini_batch_format: Any = None,
        output_cast: Any = None,
        obs_axis: int = 0,
        seed: int = 0,
    ) -> None:
        self._arrays = [_core.extractdata(x) if isinstance(x, dlarray) else np.asarray(x) for x in arrays]
        counts = {x.shape[obs_axis] if x.ndim else 0 for x in self._arrays}
        if len(counts) != 1:
            raise ShapeError(
                f"minibatchqueue({', '.join(str(x.shape) for x in self._arrays)}): there must be at least one array, "
                f"and as many observations along axis {obs_axis} in each."
            )
        if mini_batch_size < 1 or partial_mini_batch not in ("return", "discard"):
            raise ValueError(
                f"minibatchqueue: mini_batch_size={mini_batch_size!r} must be 1 or more, and "
                f"partial_mini_batch={partial_mini_batch!r} 'return' or 'discard'."
            )
        (self.num_observations,) = counts
        self.mini_batch_size, self.partial_mini_batch = mini_batch_size, partial_mini_batch
        self._fcn, self._format, self._cast, self._axis = mini_batch_fcn, mini_batch_format, output_cast, obs_axis
        self._seed, self._epoch = seed, 0
        self._order: Any = None
        self._place = 0

    def __len__(self) -> int:
        """Groups in an epoch."""
        whole, rest = divmod(self.num_observations, self.mini_batch_size)
        return whole + (rest > 0 and self.partial_mini_batch == "return")

    def hasdata(self) -> bool:
        """Whether there is another group."""
        return self._place < len(self)

    def reset(self) -> None:
        """Go back to the first group; the order stays."""
        self._place = 0

    def shuffle(self) -> None:
        """Put the observations into a new order and go back to the first group."""
        self._order = _core.random_permutation(self.num_observations, self._seed, self._epoch)
        self._epoch += 1
        self._place = 0

    def next(self) -> Any:
        """The next group: a dlarray, or a tuple of them where there are several arrays.

        Raises
        ------
        StopIteration
            There is none; ask `hasdata` before.
        """
        if not self.hasdata():
            raise StopIteration("minibatchqueue: there is no further group; call reset() or shuffle().")
        start = self._place * self.mini_batch_size
        self._place += 1
        chosen: Any = slice(start, start + self.mini_batch_size)
        if self._order is not None:
            chosen = self._order[chosen]
        parts = [x[(slice(None),) * (self._axis % x.ndim) + (chosen,)] for x in self._arrays]
        made = parts if self._fcn is None else self._fcn(*parts)
        several = list(made) if isinstance(made, (tuple, list)) else [made]
        formats = (
            [self._format or ""] * len(several)
            if self._format is None or isinstance(self._format, str)
            else (list(self._format))
        )
        out = []
        for x, fmt in zip(several, formats, strict=True):
            y = x if isinstance(x, dlarray) else dlarray(x)
            if self._cast is not None and y.dtype.kind == "f":
                y = _core.astype(y, self._cast)
            out.append(label(y, fmt) if fmt else y)
        return out[0] if len(out) == 1 else tuple(out)

    def __iter__(self) -> Iterator[Any]:
        """All groups from the first on."""
        self.reset()
        while self.hasdata():
            yield self.next()
