# SPDX-License-Identifier: MIT
"""NumPy's names and signatures for dlarrays: ``import dualtape.numpy as dnp``.

NumPy's own functions work on dlarrays too, and come here (`dualtape._protocols`); this namespace is for
making dlarrays and for those who like to see which library computes. Functions take dlarrays, arrays,
numbers and sequences, and return dlarrays.

Where to start: `_elementwise` (made from the table of ops), `_reductions`, `_shaped` (rearrangements),
`_creation` (making and joining), `_indexed` (what is made of indexing), `_places` (indices), `_shuffling` (borders,
blocks and turns), `_sorting` (orders and places), `_constants` (integers and truths), `_statistics`, `_nan`,
`_differences`, `_choosing`, `_products` and `_einsum`.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as _numpy

from dualtape._core import dlarray as _dlarray

from . import (
    _choosing,
    _constants,
    _creation,
    _differences,
    _einsum,
    _elementwise,
    _indexed,
    _nan,
    _places,
    _products,
    _reductions,
    _shaped,
    _shuffling,
    _sorting,
    _statistics,
    linalg,
)

#: What NumPy 2.0 has not yet.
_LATER = {"cumulative_prod", "cumulative_sum", "matvec", "unstack", "vecmat"}

_names: dict[str, Any] = _elementwise.TABLE | _constants.BY_NUMPY
for _module in (
    *(_elementwise, _reductions, _shaped, _creation, _indexed, _products, _einsum, _places),
    *(_shuffling, _sorting, _statistics, _nan, _differences, _choosing, _constants),
):
    _names |= {
        name: value
        for name, value in vars(_module).items()
        if isinstance(value, FunctionType)
        and value.__module__ == _module.__name__
        and (hasattr(_numpy, name) or name in _LATER)
    }
# Second names that NumPy has.
_names |= {
    "around": _names["round"],
    "amax": _names["max"],
    "bitwise_invert": _names["invert"],
    "bitwise_left_shift": _names["left_shift"],
    "bitwise_not": _names["invert"],
    "bitwise_right_shift": _names["right_shift"],
    "amin": _names["min"],
    "asanyarray": _names["asarray"],
    "concat": _names["concatenate"],
    "conj": _names["conjugate"],
    "fix": _names["trunc"],
    "i0": _elementwise.i0,
    "permute_dims": _names["transpose"],
}
if hasattr(_numpy, "row_stack"):  # (which NumPy means to give up)
    _names["row_stack"] = _names["vstack"]
# What is no function of arrays.
_names |= {
    name: getattr(_numpy, name)
    for name in (
        *("e", "euler_gamma", "inf", "nan", "newaxis", "pi"),
        *("bool_", "broadcast_shapes", "dtype", "finfo", "float32", "float64", "iinfo", "int64", "issubdtype"),
    )
}
_names |= {"linalg": linalg, "ndarray": _dlarray, "r_": _places.r_, "c_": _places.c_}
globals().update(_names)

__all__ = sorted(_names)


def __getattr__(name: str) -> Any:  # the names collected above are there; this says why others are not
    if not hasattr(_numpy, name):
        raise AttributeError(f"module 'dualtape.numpy' has no attribute {name!r}, and neither has numpy.")
    if name == "fft" or name in ("csingle", "cdouble", "clongdouble", "complexfloating") or name.startswith("complex"):
        why = "dlarrays hold real numbers, and its results are complex"
    elif name in ("float16", "longdouble", "half"):
        why = "dlarrays hold float64 and float32"
    else:
        why = "it has no derivative here; NumPy's own takes dlarrays that are not being differentiated"
    raise AttributeError(f"module 'dualtape.numpy' has no attribute {name!r}: {why}.")
