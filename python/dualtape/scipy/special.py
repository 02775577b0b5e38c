# SPDX-License-Identifier: MIT
"""`dualtape.scipy.special`: SciPy's names for the special functions of the table of ops.

SciPy's own ufuncs work on dlarrays too, and come here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import dlarray

__all__ = [
    "betaln",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfinv",
    "expit",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "j0",
    "j1",
    "kl_div",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "rel_entr",
    "softmax",
    "softplus",
    "xlog1py",
    "xlogy",
]

Axis = int | tuple[int, ...] | None

_ops = _core.elementwise

erf, erfc, erfinv = _ops.erf, _ops.erfc, _ops.erfinv
ndtr, ndtri, log_ndtr = _ops.ndtr, _ops.ndtri, _ops.log_ndtr
gammaln = _ops.gammaln
digamma = psi = _ops.digamma
expit, logit = _ops.logistic, _ops.logit
softplus = _ops.softplus
xlogy, xlog1py = _ops.xlogy, _ops.xlog1py
entr, rel_entr, kl_div = _ops.entr, _ops.rel_entr, _ops.kl_div
i0, i1, i0e, i1e, j0, j1 = _ops.i0, _ops.i1, _ops.i0e, _ops.i1e, _ops.j0, _ops.j1


def betaln(a: Any, b: Any) -> dlarray:
    """The logarithm of the absolute value of the beta function, as scipy.special.betaln."""
    return _ops.gammaln(a) + _ops.gammaln(b) - _ops.gammaln(_ops.add(a, b))


def log_expit(x: Any) -> dlarray:
    """The logarithm of the logistic function, as scipy.special.log_expit."""
    return -softplus(_ops.negative(x))


def polygamma(n: Any, x: Any) -> dlarray:
    """The n-th derivative of digamma, as scipy.special.polygamma.

    Parameters
    ----------
    n : int or array of ints
        The order, 0 to 20. It has no derivative. In an array all orders must be 1 or more.
    x : array
        For orders above 1 only positive values; others give NaN.

    Returns
    -------
    dlarray
    """
    if isinstance(n, (int, np.integer)):
        if n == 0:
            return digamma(x)
        if n == 1:
            return _ops.trigamma(x)
    return _ops.polygamma(n, x)


def logsumexp(a: Any, axis: Axis = None, b: Any = None, keepdims: bool = False) -> dlarray:
    """log(sum(b * exp(a))) over axes, by default all, as scipy.special.logsumexp.

    Parameters
    ----------
    a : array
    axis : int or tuple of ints, optional
    b : array, optional
        Factors of the exponentials.
    keepdims : bool
        Whether axes stay, with extent 1.

    Returns
    -------
    dlarray
        NaN where the sum is negative.
    """
    if b is None:
        return _core.logsumexp(a, axis, keepdims)
    # Whatever is taken out of the exponential comes back in front of it, so it may be a constant.
    top = _core.stop_gradient(_core.max(a, axis, True))
    top = _ops.where(_ops.isfinite(top), top, 0.0)
    total = _core.sum(b * _ops.exp(_ops.subtract(a, top)), axis, keepdims)
    return _ops.log(total) + _core.reshape(top, total.shape)


def softmax(x: Any, axis: Axis = None) -> dlarray:
    """exp(x) / sum(exp(x)) over axes, by default all, as scipy.special.softmax."""
    return _core.softmax(x, axis) if isinstance(axis, int) else _ops.exp(log_softmax(x, axis))


def log_softmax(x: Any, axis: Axis = None) -> dlarray:
    """log(softmax(x)) over axes, by default all, as scipy.special.log_softmax."""
    if isinstance(axis, int):
        return _core.log_softmax(x, axis)
    return _ops.subtract(x, _core.logsumexp(x, axis, True))
