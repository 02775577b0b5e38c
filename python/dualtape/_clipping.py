# SPDX-License-Identifier: MIT
"""Gradient clipping and regularisation: functions from gradients to gradients, tree by tree.

The optimizers of :mod:`dualtape.optim` do the same inside the core, in the same pass as the update.
Start reading at :func:`threshold_l2norm`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ._core import optim_norm
from ._update import check_number, map_leaves
from .tree import check_same, flatten, paths, unflatten


def _like(result: Any, leaf: Any) -> Any:
    """NumPy's functions turn floats and 0-d arrays into NumPy scalars; back to what the leaf was."""
    if isinstance(leaf, float | int):
        return float(result)
    return np.asarray(result, leaf.dtype) if isinstance(leaf, np.ndarray) else result


def _norm(leaf: Any) -> Any:
    norm = optim_norm(leaf)
    if norm is not NotImplemented:
        return norm
    return (leaf * leaf).sum() ** 0.5  # tracked, or an array of an unusual kind


def _check_threshold(function: str, threshold: float) -> None:
    if not threshold >= 0:
        raise ValueError(
            f"{function}(threshold): threshold must be a number of at least 0, or infinity; got "
            f"{threshold!r}; use "
            "math.inf for no clipping."
        )


def threshold_l2norm(grads: Any, threshold: float) -> Any:
    r"""Scale each gradient whose norm is above the threshold down to it.

    Parameters
    ----------
    grads : tree
        The gradients; each array is treated on its own.
    threshold : float
        The largest Euclidean norm left unchanged; may be infinity.

    Returns
    -------
    tree
        :math:`g \min(1, t / \|g\|_2)` for each leaf.

    Notes ----- MATLAB's default method, "l2norm". PyTorch's ``clip_grad_norm_`` is
    :func:`threshold_global_l2norm`, but divides by the norm + 1e-6.

    Examples
    --------
    >>> threshold_l2norm({"a": 3.0, "b": 0.5}, 1.0)
    {'a': 1.0, 'b': 0.5}
    """
    _check_threshold("threshold_l2norm", threshold)
    leaves, structure = flatten(grads)
    norms = [_norm(leaf) for leaf in leaves]
    return unflatten(
        structure,
        [g * (threshold / norm) if norm > threshold else g for g, norm in zip(leaves, norms, strict=True)],
    )


def threshold_global_l2norm(grads: Any, threshold: float) -> Any:
    r"""Scale all gradients by one factor where their common norm is above the threshold.

    Parameters
    ----------
    grads : tree
        The gradients; the norm is that of all elements of all arrays together.
    threshold : float
        The largest Euclidean norm left unchanged; may be infinity.

    Returns
    -------
    tree
        :math:`g \min(1, t / \|(g_1, \dots, g_n)\|_2)`: the direction stays.

    Notes
    -----
    MATLAB's method "global-l2norm"; PyTorch's ``clip_grad_norm_`` up to its 1e-6 beside the norm.

    Examples
    --------
    >>> threshold_global_l2norm({"a": 3.0, "b": 4.0}, 2.5)
    {'a': 1.5, 'b': 2.0}
    """
    _check_threshold("threshold_global_l2norm", threshold)
    leaves, structure = flatten(grads)
    norms = [_norm(leaf) for leaf in leaves]
    if all(type(norm) is float for norm in norms):
        norm = _norm(np.sort(np.array(norms)))  # sorted, as in the core
    else:
        norm = sum(norm * norm for norm in norms) ** 0.5
    if not norm > threshold:
        return unflatten(structure, leaves)
    return unflatten(structure, [g * (threshold / norm) for g in leaves])


def threshold_absolute_value(grads: Any, threshold: float) -> Any:
    """Bring every element of the gradients into [-threshold, threshold].

    Parameters
    ----------
    grads : tree
        The gradients.
    threshold : float
        The largest magnitude left unchanged; may be infinity.

    Returns
    -------
    tree
        Like `grads`. NaN stays NaN.

    Notes
    -----
    MATLAB's method "absolute-value", PyTorch's ``clip_grad_value_``.

    Examples
    --------
    >>> threshold_absolute_value([3.0, -0.5], 1.0)
    [1.0, -0.5]
    """
    _check_threshold("threshold_absolute_value", threshold)
    leaves, structure = flatten(grads)
    return unflatten(structure, [_like(np.clip(g, -threshold, threshold), g) for g in leaves])


def _regularize(
    function: str,
    term: Callable[[Any], Any],
    grads: Any,
    params: Any,
    factor: float,
    where: Callable[[str], bool] | None,
) -> Any:
    check_number(function, "factor", factor, 0.0, math.inf)
    leaves, structure = flatten(params)
    grad_leaves, other = flatten(grads)
    if other is not structure:
        check_same(structure, other, "params", "grads")
    chosen = [where is None or where(path) for path in paths(structure, "params")]
    return map_leaves(
        lambda g, p, choose: _like(g + factor * term(p), g) if choose else g,
        structure,
        grad_leaves,
        leaves,
        chosen,
    )


def l2_regularize(grads: Any, params: Any, factor: float, where: Callable[[str], bool] | None = None) -> Any:
    r"""Add the gradient of an L2 term, :math:`g + \lambda \theta`.

    Parameters
    ----------
    grads, params : tree
        The gradients and the parameters, of the same structure.
    factor : float
        :math:`\lambda`, at least 0.
    where : callable, optional
        Gets the path of a parameter, such as ``"params['fc1']['W']"``, and says whether the term applies to
        it.

    Returns
    -------
    tree
        Like `grads`.

    Notes ----- The term is :math:`\tfrac{\lambda}{2} \|\theta\|_2^2`: MATLAB's L2Regularization, PyTorch's
    ``weight_decay``.

    Examples
    --------
    >>> l2_regularize({"W": 1.0, "b": 1.0}, {"W": 2.0, "b": 2.0}, 0.5, where=lambda path: "W" in path)
    {'W': 2.0, 'b': 1.0}
    """
    return _regularize("l2_regularize", lambda p: p, grads, params, factor, where)


def l1_regularize(grads: Any, params: Any, factor: float, where: Callable[[str], bool] | None = None) -> Any:
    r"""Add the gradient of an L1 term, :math:`g + \lambda \operatorname{sign}(\theta)`.

    Parameters
    ----------
    grads, params : tree
        The gradients and the parameters, of the same structure.
    factor : float
        :math:`\lambda`, at least 0.
    where : callable, optional
        Gets the path of a parameter and says whether the term applies to it.

    Returns
    -------
    tree
        Like `grads`. The sign of 0 is 0.

    Examples
    --------
    >>> l1_regularize([1.0, 1.0], [-3.0, 0.0], 0.25)
    [0.75, 1.0]
    """
    return _regularize("l1_regularize", np.sign, grads, params, factor, where)
