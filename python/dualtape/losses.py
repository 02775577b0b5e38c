# SPDX-License-Identifier: MIT
"""Losses of custom training loops under MATLAB's names.

Each is a sum over everything, divided by the number of observations: the extent of the axis B of a labelled
array (1 without one), and of `batch_axis`, by default the first, of an array without labels. Note that `mse` is half of
what its name says, and that no loss is divided by the number of features.

All are composed of ops of the table, so they trace, run in lanes and have derivatives of every order.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray
from dualtape.labels import label

__all__ = ["crossentropy", "huber", "indexcrossentropy", "l1loss", "l2loss", "mse"]

Reduction = Literal["sum", "none"]
Factor = Literal["batch-size", "all-elements", "mask-included", "none"]

_ops = _core.elementwise


def _array(x: Any, data_format: str | None = None) -> dlarray:
    x = x if isinstance(x, dlarray) else dlarray(x)
    return label(x, data_format) if data_format and not x.dims else x


def _plain(x: dlarray) -> dlarray:
    return _core.with_labels(x, None) if x.dims else x


def _pair(name: str, y: Any, t: Any, data_format: str | None) -> tuple[dlarray, dlarray]:
    """Predictions and targets of one shape and with the same labels."""
    predictions, targets = _array(y, data_format), _array(t, data_format)
    if predictions.shape != targets.shape:
        raise ShapeError(
            f"{name}({predictions.shape}, {targets.shape}): predictions and targets differ in shape; they must be "
            "equal, because broadcasting would compare each prediction with every target."
        )
    return predictions, targets


def _observations(y: dlarray, batch_axis: int) -> int:
    if y.dims:
        return y.shape[y.dims.index("B")] if "B" in y.dims else 1
    return y.shape[batch_axis] if y.ndim else 1


def _reduced(
    name: str,
    losses: dlarray,
    observations: int,
    mask: Any,
    reduction: Reduction,
    normalization_factor: Factor,
) -> dlarray:
    """The masked sum of losses by the factor, or the losses themselves."""
    count: Any = {"batch-size": observations, "all-elements": losses.size, "none": 1}.get(normalization_factor)
    if mask is not None:
        losses = _ops.where(mask, losses, 0.0)
    if normalization_factor == "mask-included":
        count = losses.size if mask is None else _core.sum(_core.astype(_plain(_array(mask)), losses.dtype))
    if count is None or reduction not in ("sum", "none"):
        raise ValueError(
            f"{name}: reduction={reduction!r} or normalization_factor={normalization_factor!r} is not there; use "
            "'sum' or 'none', and 'batch-size', 'all-elements', 'mask-included' or 'none'."
        )
    if reduction == "none":
        return losses
    total = _core.sum(_plain(losses))
    return total if isinstance(count, int) and count == 1 else total / count


def mse(y: Any, t: Any, *, data_format: str | None = None, batch_axis: int = 0) -> dlarray:
    """Half of the mean over the observations of the sum of squared differences.

    Parameters
    ----------
    y, t : array
        Predictions and targets, of one shape.
    data_format : str, optional
        Labels for arrays that have none, such as "CB".
    batch_axis : int
        The axis of the observations where there are no labels.

    Returns
    -------
    dlarray
        A number without labels: sum((y - t)**2) / (2 N).

    Raises
    ------
    ShapeError
        The shapes differ.

    Examples
    --------
    >>> import dualtape as dt
    >>> float(dt.mse([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 2.0]]))
    1.0
    """
    predictions, targets = _pair("mse", y, t, data_format)
    squares = _ops.square(_ops.subtract(predictions, targets))
    return _core.sum(_plain(squares)) / (2 * _observations(predictions, batch_axis))


def l2loss(
    y: Any,
    t: Any,
    weights: Any = None,
    *,
    mask: Any = None,
    reduction: Reduction = "sum",
    normalization_factor: Factor = "batch-size",
    data_format: str | None = None,
    batch_axis: int = 0,
) -> dlarray:
    """Sum of squared differences, by default divided by the number of observations (and neither halved nor divided by
    the number of features).

    Parameters
    ----------
    y, t : array
        Predictions and targets, of one shape.
    weights : array, optional
        Factors of the elements' losses, which broadcast.
    mask : array of bool, optional
        False where an element does not count.
    reduction : {"sum", "none"}
        "none" returns the elements' losses.
    normalization_factor : {"batch-size", "all-elements", "mask-included", "none"}
        What the sum is divided by.
    data_format : str, optional
        Labels for arrays that have none.
    batch_axis : int
        The axis of the observations where there are no labels.

    Returns
    -------
    dlarray
    """
    predictions, targets = _pair("l2loss", y, t, data_format)
    losses = _ops.square(_ops.subtract(predictions, targets))
    return _weighted("l2loss", losses, predictions, weights, mask, reduction, normalization_factor, batch_axis)


def l1loss(
    y: Any,
    t: Any,
    weights: Any = None,
    *,
    mask: Any = None,
    reduction: Reduction = "sum",
    normalization_factor: Factor = "batch-size",
    data_format: str | None = None,
    batch_axis: int = 0,
) -> dlarray:
    """Sum of absolute differences, by default divided by the number of observations; parameters as in `l2loss`."""
    predictions, targets = _pair("l1loss", y, t, data_format)
    losses = _ops.absolute(_ops.subtract(predictions, targets))
    return _weighted("l1loss", losses, predictions, weights, mask, reduction, normalization_factor, batch_axis)


def huber(
    y: Any,
    t: Any,
    weights: Any = None,
    *,
    transition_point: Any = 1.0,
    mask: Any = None,
    reduction: Reduction = "sum",
    normalization_factor: Factor = "batch-size",
    data_format: str | None = None,
    batch_axis: int = 0,
) -> dlarray:
    """Huber's loss: half of the squared difference d up to the transition point p, and p (abs(d) - p / 2) beyond it.

    By default summed and divided by the number of observations; with the transition point 1 the elements' losses are
    those that PyTorch calls smooth L1. Other parameters as in `l2loss`.
    """
    predictions, targets = _pair("huber", y, t, data_format)
    distance = _ops.absolute(_ops.subtract(predictions, targets))
    # (Both pieces meet with one slope, so min and max have no kink here.)
    inside = _ops.minimum(distance, transition_point)
    losses = inside * (distance - 0.5 * inside)
    return _weighted("huber", losses, predictions, weights, mask, reduction, normalization_factor, batch_axis)


def _weighted(
    name: str,
    losses: dlarray,
    predictions: dlarray,
    weights: Any,
    mask: Any,
    reduction: Reduction,
    normalization_factor: Factor,
    batch_axis: int,
) -> dlarray:
    if weights is not None:
        losses = _ops.multiply(losses, weights)
    observations = _observations(predictions, batch_axis)
    return _reduced(name, losses, observations, mask, reduction, normalization_factor)


def _class_axis(y: dlarray) -> int:
    """The channels of a labelled array, else the last axis."""
    return y.dims.index("C") if "C" in y.dims else y.ndim - 1


def _logarithm(y: dlarray) -> dlarray:
    """log(y), with the smallest normal number for what is below it."""
    return _ops.log(_ops.maximum(y, float(np.finfo(y.dtype).tiny)))


def _for_classes(weights: Any, y: dlarray, axis: int) -> dlarray:
    """Weights of classes where the classes are; other weights as they are."""
    w = _array(weights)
    if w.ndim == 1 and y.dims:
        return _core.reshape(_plain(w), tuple(w.size if i == axis else 1 for i in range(y.ndim)))
    return w


def crossentropy(
    y: Any,
    t: Any,
    weights: Any = None,
    *,
    classification_mode: Literal["single-label", "multilabel"] = "single-label",
    mask: Any = None,
    reduction: Reduction = "sum",
    normalization_factor: Factor = "batch-size",
    data_format: str | None = None,
    batch_axis: int = 0,
) -> dlarray:
    """Cross entropy between probabilities and targets: -sum(t log(y)), by default divided by the observations.

    Parameters
    ----------
    y : array
        Probabilities: what `softmax` (single-label) or `sigmoid` (multilabel) returns. Those below the smallest normal
        number count as that number.
    t : array of the same shape
        Probabilities of the classes, such as `onehotencode` makes.
    weights : array, optional
        Of one axis: weights of the classes, which are the channels of a labelled array, else the last axis. Others
        broadcast.
    classification_mode : {"single-label", "multilabel"}
        "multilabel" adds the cross entropy of what is not the class: -sum((1 - t) log(1 - y)).
    mask, reduction, normalization_factor, data_format, batch_axis
        As in `l2loss`.

    Returns
    -------
    dlarray
    """
    predictions, targets = _pair("crossentropy", y, t, data_format)
    losses = -_ops.multiply(targets, _logarithm(predictions))
    if classification_mode == "multilabel":
        losses = losses - _ops.multiply(_ops.subtract(1.0, targets), _logarithm(_ops.subtract(1.0, predictions)))
    elif classification_mode != "single-label":
        raise ValueError(
            f"crossentropy: classification_mode={classification_mode!r} is not there; use 'single-label' or "
            "'multilabel'."
        )
    if weights is not None:
        weights = _for_classes(weights, predictions, _class_axis(predictions))
    return _weighted("crossentropy", losses, predictions, weights, mask, reduction, normalization_factor, batch_axis)


def indexcrossentropy(
    y: Any,
    t: Any,
    weights: Any = None,
    *,
    mask_index: int = -1,
    reduction: Reduction = "sum",
    normalization_factor: Factor = "batch-size",
    data_format: str | None = None,
    batch_axis: int = 0,
) -> dlarray:
    """Cross entropy between probabilities and numbers of classes.

    Parameters
    ----------
    y : array
        Probabilities; the classes are the channels of a labelled array, else the last axis.
    t : array of int
        Numbers of classes from 0 (MATLAB counts from 1), of the shape of `y` without the axis of the classes.
    weights : array of one axis, optional
        Weights of the classes.
    mask_index : int
        The number that stands for "does not count".
    reduction, normalization_factor, data_format, batch_axis
        As in `l2loss`; "mask-included" counts the targets that count.

    Returns
    -------
    dlarray
        With reduction "none" of the shape of `t`.

    Raises
    ------
    ShapeError
        Shapes do not fit, or a number is no class.
    """
    predictions = _array(y, data_format)
    axis = _class_axis(predictions)
    shape = tuple(n for i, n in enumerate(predictions.shape) if i != axis)
    targets = _plain(_array(t))
    if predictions.ndim and targets.shape == (*shape[:axis], 1, *shape[axis:]):
        targets = _core.squeeze(targets, axis)
    if not predictions.ndim or targets.shape != shape:
        raise ShapeError(
            f"indexcrossentropy({predictions.shape}, {targets.shape}): there must be a number for each observation, "
            f"that is, targets of shape {shape}."
        )
    count = predictions.shape[axis]
    if not isinstance(t, dlarray):
        numbers = np.asarray(t)
        if np.any(((numbers < 0) | (numbers >= count)) & (numbers != mask_index)):
            raise ShapeError(
                f"indexcrossentropy({predictions.shape}, {targets.shape}): the classes are 0 to {count - 1}; targets "
                f"from {numbers.min()} to {numbers.max()} were given; count from 0, and use {mask_index} for what does "
                "not count."
            )
    classes = np.arange(count).reshape(tuple(count if i == axis else 1 for i in range(predictions.ndim)))
    chosen = _core.astype(_ops.equal(_core.expand_dims(targets, axis), classes), predictions.dtype)
    if weights is not None:
        chosen = _ops.multiply(chosen, _core.reshape(_plain(_array(weights)), classes.shape))
    losses = -_core.sum(_ops.multiply(chosen, _logarithm(_plain(predictions))), axis)
    mask = _ops.not_equal(targets, mask_index)
    observations = _observations(predictions, batch_axis)
    return _reduced("indexcrossentropy", losses, observations, mask, reduction, normalization_factor)
