# SPDX-License-Identifier: MIT
"""Operations of networks under MATLAB's names. They keep labels, and take arrays with and without them.

Elementwise ones are entries of the table of ops, `softmax` and its relatives are shaped ops of the core;
`fullyconnect` is made of matmul and rearrangement.
"""

from __future__ import annotations

from typing import Any

from dualtape import _core
from dualtape._core import ShapeError, dlarray

__all__ = [
    "fullyconnect",
    "gelu",
    "leakyrelu",
    "log_softmax",
    "logsumexp",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    "swish",
]

_ops = _core.elementwise


def softmax(x: Any, axis: int | None = None) -> dlarray:
    """exp(x) / sum(exp(x)) along an axis, computed without overflow.

    Parameters
    ----------
    x : array
    axis : int, optional
        By default the channels (C) of a labelled array, else the last axis.

    Returns
    -------
    dlarray
        Of the shape of `x`; positive, with sum 1 along the axis.
    """
    return _core.softmax(x, axis)


def log_softmax(x: Any, axis: int | None = None) -> dlarray:
    """log(softmax(x)), computed without underflow; the axis as in `softmax`."""
    return _core.log_softmax(x, axis)


def logsumexp(x: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> dlarray:
    """log(sum(exp(x))) over axes, by default all, computed without overflow."""
    return _core.logsumexp(x, axis, keepdims)


def relu(x: Any) -> dlarray:
    """The larger of x and 0; its derivative at 0 is 0."""
    return _ops.relu(x)


def leakyrelu(x: Any, scale: Any = 0.01) -> dlarray:
    """x where it is positive, scale * x elsewhere; the derivative at 0 is the scale.

    Parameters
    ----------
    x : array
    scale : number or array
        The slope for negative x.

    Returns
    -------
    dlarray
    """
    return _ops.leakyrelu(x, scale)


def gelu(x: Any) -> dlarray:
    """x times the standard normal distribution function at x (the exact form, with erf)."""
    return _ops.gelu(x)


def sigmoid(x: Any) -> dlarray:
    """The logistic function 1 / (1 + exp(-x)), without overflow."""
    return _ops.logistic(x)


def softplus(x: Any) -> dlarray:
    """log(1 + exp(x)), without overflow; its derivative is the sigmoid."""
    return _ops.softplus(x)


def swish(x: Any) -> dlarray:
    """x times the sigmoid of x."""
    return _ops.multiply(x, _ops.logistic(x))


def fullyconnect(x: Any, weights: Any, bias: Any = None) -> dlarray:
    """Weighted sums of the features of each observation, plus a bias: a fully connected layer.

    Parameters
    ----------
    x : array
        With labels: the axes S and C together are the features, in the order of the axes (the last runs
        fastest); the others, such as B and T, hold observations. Without labels: the last axis holds the
        features.
    weights : array, shape (outputs, features)
    bias : array of `outputs` elements, optional

    Returns
    -------
    dlarray
        With labels: C with the outputs, then the axes of observations. Without: the last axis holds the
        outputs.

    Raises
    ------
    ShapeError
        The number of features is not that of the weights, or of the outputs that of the bias.
    """
    x = x if isinstance(x, dlarray) else dlarray(x)
    w = _unlabelled(weights)
    labels = x.dims
    count = sum(letter in "SC" for letter in labels)
    shape = x.shape
    # The features of a labelled array come first, because S and C do.
    features = 1 if x.ndim == 0 else shape[-1]
    if labels:
        features = 1
        for extent in shape[:count]:
            features *= extent
    if w.ndim != 2 or w.shape[1] != features:
        raise ShapeError(
            f"fullyconnect({shape}, {w.shape}): each observation has {features} features; weights of shape "
            f"{w.shape} were given; they must have the shape (outputs, {features})."
        )
    outputs = w.shape[0]
    b = None if bias is None else _unlabelled(bias)
    if b is not None and b.size != outputs:
        raise ShapeError(
            f"fullyconnect({shape}, {w.shape}): there are {outputs} outputs; a bias of shape {b.shape} was "
            "given; it needs an element for each output."
        )
    if not labels:
        y = _core.matmul(x, _core.transpose(w))
        return y if b is None else y + _core.reshape(b, (outputs,))
    y = _core.matmul(w, _core.reshape(_unlabelled(x), (features, x.size // features if features else 0)))
    if b is not None:
        y = y + _core.reshape(b, (outputs, 1))
    return _core.with_labels(_core.reshape(y, (outputs, *shape[count:])), "C" + labels[count:])


def _unlabelled(x: Any) -> dlarray:
    x = x if isinstance(x, dlarray) else dlarray(x)
    return _core.with_labels(x, None) if x.dims else x
