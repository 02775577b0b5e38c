# SPDX-License-Identifier: MIT
"""The namespace of the array-API standard (version 2024.12), which ``x.__array_namespace__()`` gives.

It is `dualtape.numpy`, whose names NumPy 2 has made those of the standard, with what the standard spells otherwise put
over it: making arrays (`_creation`), options of single functions (`_functions`), and what can be asked (`_inspection`).
dtypes are bool, int64, float32 and float64; complex numbers and the extension fft are left out. docs/numpy.md says
which part of the public test suite passes.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as _numpy

import dualtape.numpy as _dnp

from . import _creation, _functions, _inspection, linalg

__array_api_version__ = "2024.12"

_names: dict[str, Any] = {name: getattr(_dnp, name) for name in _dnp.__all__}
for _module in (_creation, _functions, _inspection):
    _names |= {
        name: value
        for name, value in vars(_module).items()
        if isinstance(value, FunctionType)
        and value.__module__ == _module.__name__
        and (name[0] != "_" or name.endswith("__"))
    }
_names |= {name: getattr(_numpy, name) for name in _inspection.DTYPES}
_names |= {"bool": _numpy.bool_, "linalg": linalg}
globals().update(_names)

__all__ = sorted(_names)


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"module 'dualtape.array_api' has no attribute {name!r}; complex numbers and fft are left out."
    )
