# SPDX-License-Identifier: MIT
"""SciPy's names for dlarrays. SciPy itself is not needed."""

from . import special

__all__ = ["special"]
