# SPDX-License-Identifier: MIT
"""NumPy's names and signatures for dlarrays: ``import dualtape.numpy as dnp``.

NumPy's own functions work on dlarrays too, and come here (`dualtape._protocols`); this namespace is for
making dlarrays and for those who like to see which library computes. Functions take dlarrays, arrays,
numbers and sequences, and return dlarrays.

Where to start: `_elementwise` (made from the table of ops), `_shaped` (reductions and rearrangements),
`_creation` (making and joining), `_indexed` (what is made of indexing), `_shuffling` (borders, blocks and turns),
`_sorting` (orders and places), `_statistics`, `_differences`, `_choosing`, `_products` and `_einsum`.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as _numpy

from dualtape._core import dlarray as _dlarray

from . import (
    _choosing,
    _creation,
    _differences,
    _einsum,
    _elementwise,
    _indexed,
    _products,
    _shaped,
    _shuffling,
    _sorting,
    _statistics,
    linalg,
)

if TYPE_CHECKING:  # the names are collected below

    def __getattr__(name: str) -> Any: ...


_names: dict[str, Any] = dict(_elementwise.TABLE)
for _module in (
    *(_elementwise, _shaped, _creation, _indexed, _products, _einsum),
    *(_shuffling, _sorting, _statistics, _differences, _choosing),
):
    _names |= {
        name: value
        for name, value in vars(_module).items()
        if isinstance(value, FunctionType) and value.__module__ == _module.__name__ and name[0] != "_"
    }
del _names["refuse_out"], _names["plain"]
# Second names that NumPy has.
_names |= {
    "around": _names["round"],
    "amax": _names["max"],
    "amin": _names["min"],
    "asanyarray": _names["asarray"],
    "concat": _names["concatenate"],
    "conj": _names["conjugate"],
    "permute_dims": _names["transpose"],
}
# What is no function.
_names |= {
    name: getattr(_numpy, name)
    for name in (
        *("e", "euler_gamma", "inf", "nan", "newaxis", "pi"),
        *("bool_", "finfo", "float32", "float64", "int64"),
    )
}
_names |= {"linalg": linalg, "ndarray": _dlarray}
globals().update(_names)

__all__ = sorted(_names)
