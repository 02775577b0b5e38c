# SPDX-License-Identifier: MIT
"""Operations of networks that normalise or thin out: `batchnorm`, `layernorm`, `dropout`. They keep labels."""

from __future__ import annotations

from typing import Any

from dualtape import _core
from dualtape._core import ShapeError, dlarray

__all__ = ["batchnorm", "dropout", "layernorm"]

_ops = _core.elementwise


def _stripped(x: Any) -> tuple[dlarray, str]:
    """An array without its labels, and these."""
    x = x if isinstance(x, dlarray) else dlarray(x)
    return (_core.with_labels(x, None), x.dims) if x.dims else (x, "")


def _along(name: str, what: str, x: dlarray, values: Any, axes: tuple[int, ...]) -> dlarray:
    """Values for the elements of some axes, in a shape that broadcasts with x."""
    v, _ = _stripped(values)
    shape = tuple(n if i in axes else 1 for i, n in enumerate(x.shape))
    size = 1
    for n in shape:
        size *= n
    if v.size not in (1, size):
        raise ShapeError(
            f"{name}({x.shape}): the {what} has the shape {v.shape}; there must be a number for each of {size} "
            "elements, or one for all."
        )
    return _core.reshape(v, shape if v.size == size else ())


def _normalized(x: dlarray, mean: dlarray, variance: dlarray, offset: dlarray, scale: dlarray, epsilon: Any) -> dlarray:
    return (x - mean) / _ops.sqrt(variance + epsilon) * scale + offset


def batchnorm(
    x: Any,
    offset: Any,
    scale_factor: Any,
    mean: Any = None,
    variance: Any = None,
    *,
    training: bool = False,
    epsilon: float = 1e-5,
    mean_decay: float = 0.1,
    variance_decay: float = 0.1,
    axis: int = -1,
) -> Any:
    """Normalise each channel over all observations: (x - mean) / sqrt(variance + epsilon) * scale + offset.

    Parameters
    ----------
    x : array
        The channels are the axis C of a labelled array, else `axis`.
    offset, scale_factor : array, a number for each channel
    mean, variance : array, optional
        Statistics of the channels. For inference x is normalised by them; in training they are what has been gathered
        so far.
    training : bool
        Whether to normalise by the statistics of `x` and to move the given ones towards them.
    epsilon : float
    mean_decay, variance_decay : float
        The weight of the new statistics.
    axis : int
        The channels of an array without labels.

    Returns
    -------
    y, mean, variance : dlarray
        Without statistics: the result and the mean and variance of each channel of x. In training: the result and the
        given statistics, moved. For inference: the result alone. Variances are divided by N (PyTorch normalises by
        these too, but gathers those divided by N - 1).

    Raises
    ------
    ShapeError
        A labelled array without channels, or parameters that do not fit the channels.
    """
    a, labels = _stripped(x)
    if labels and "C" not in labels:
        raise ShapeError(f"batchnorm({a.shape}): no axis of {labels!r} is C; label the channels.")
    channel = labels.index("C") if labels else axis % max(a.ndim, 1)
    others = tuple(i for i in range(a.ndim) if i != channel)
    shift = _along("batchnorm", "offset", a, offset, (channel,))
    scale = _along("batchnorm", "scale factor", a, scale_factor, (channel,))
    if (mean is None) != (variance is None):
        raise ShapeError(f"batchnorm({a.shape}): one of mean and variance is missing; give both or none.")
    if mean is not None and not training:
        m = _along("batchnorm", "mean", a, mean, (channel,))
        v = _along("batchnorm", "variance", a, variance, (channel,))
        return _labelled(_normalized(a, m, v, shift, scale, epsilon), labels)
    m, v = _core.mean(a, others, True), _core.var(a, others, 0, True)
    y = _labelled(_normalized(a, m, v, shift, scale, epsilon), labels)
    m, v = _core.reshape(m, (-1,)), _core.reshape(v, (-1,))
    if mean is None:
        return y, m, v
    old_m, old_v = _core.reshape(_stripped(mean)[0], (-1,)), _core.reshape(_stripped(variance)[0], (-1,))
    return y, old_m + mean_decay * (m - old_m), old_v + variance_decay * (v - old_v)


def layernorm(
    x: Any, offset: Any, scale_factor: Any, *, epsilon: float = 1e-5, axis: int | tuple[int, ...] = -1
) -> dlarray:
    """Normalise each observation over its features: (x - mean) / sqrt(variance + epsilon) * scale + offset.

    Parameters
    ----------
    x : array
        With labels: the features are the axes S and C, or C alone where there is a T. Without: `axis`.
    offset, scale_factor : array
        A number for each channel of a labelled array; for each element of `axis` without labels.
    epsilon : float
    axis : int or tuple of ints
        The features of an array without labels.

    Returns
    -------
    dlarray
        Of the shape of `x`.
    """
    a, labels = _stripped(x)
    if labels:
        axes = tuple(i for i, letter in enumerate(labels) if letter == "C" or (letter == "S" and "T" not in labels))
        given = tuple(i for i in axes if labels[i] == "C")
        if not given:
            raise ShapeError(f"layernorm({a.shape}): no axis of {labels!r} is C; label the channels.")
    else:
        axes = given = tuple(i % max(a.ndim, 1) for i in (axis if isinstance(axis, tuple) else (axis,)))
    shift = _along("layernorm", "offset", a, offset, given)
    scale = _along("layernorm", "scale factor", a, scale_factor, given)
    y = _normalized(a, _core.mean(a, axes, True), _core.var(a, axes, 0, True), shift, scale, epsilon)
    return _labelled(y, labels)


def dropout(x: Any, probability: float = 0.5, *, training: bool = True) -> dlarray:
    """Set elements to zero at random and scale the others up, so that sums stay what they are on average.

    Parameters
    ----------
    x : array
    probability : float
        That of an element to become 0; at least 0 and below 1.
    training : bool
        Whether anything happens at all.

    Returns
    -------
    dlarray
        The others are divided by 1 - probability. Which they are is a draw of `dualtape.random`: reproducible, and new
        in each iteration of `loop` and `sweep` and for each run.

    Raises
    ------
    ValueError
        For another probability.
    """
    a, labels = _stripped(x)
    if not isinstance(probability, dlarray) and not 0 <= probability < 1:
        raise ValueError(f"dropout({a.shape}): the probability must be from 0 to below 1; got {probability}.")
    if not training:
        return _labelled(a, labels)
    from dualtape import random

    dtype = a.dtype if a.dtype.kind == "f" else None
    kept = _ops.greater_equal(random.uniform(size=a.shape, dtype=dtype), probability)
    return _labelled(_ops.where(kept, a / (1.0 - probability), 0.0), labels)


def _labelled(y: dlarray, labels: str) -> dlarray:
    return _core.with_labels(y, labels) if labels else y
