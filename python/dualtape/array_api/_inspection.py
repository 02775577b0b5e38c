# SPDX-License-Identifier: MIT
"""What can be asked about the namespace: ``xp.__array_namespace_info__()``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._creation import check_device

#: Of the dtypes of the standard those that are there, beside bool.
DTYPES = ("int64", "float32", "float64")

_KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed integer": ("int64",),
    "unsigned integer": (),
    "integral": ("int64",),
    "real floating": ("float32", "float64"),
    "complex floating": (),
    "numeric": DTYPES,
}


class Info:
    """What `__array_namespace_info__` gives."""

    def capabilities(self) -> dict[str, Any]:
        """Whether boolean indices and shapes that depend on values are possible, and how many axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 16}

    def default_device(self) -> str:
        """The device."""
        return "cpu"

    def devices(self) -> list[str]:
        """All devices: one."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """The dtypes of results for which none is asked."""
        check_device(device)
        real, integer = np.dtype(np.float64), np.dtype(np.int64)
        # The standard asks for a complex one too; it is NumPy's, and no dlarray has it.
        return {
            "real floating": real,
            "complex floating": np.dtype(np.complex128),
            "integral": integer,
            "indexing": integer,
        }

    def dtypes(self, *, device: Any = None, kind: str | tuple[str, ...] | None = None) -> dict[str, Any]:
        """The dtypes that are there, all or of some kinds, by name."""
        check_device(device)
        kinds = ("bool", "numeric") if kind is None else (kind,) if isinstance(kind, str) else kind
        unknown = [k for k in kinds if k not in _KINDS]
        if unknown:
            raise ValueError(f"dtypes: kind {unknown[0]!r} is not there; use {', '.join(map(repr, _KINDS))}.")
        return {name: np.dtype(name) for k in kinds for name in _KINDS[k]}


def __array_namespace_info__() -> Info:
    """The object that answers questions about the namespace."""
    return Info()
