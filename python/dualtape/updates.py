# SPDX-License-Identifier: MIT
"""MATLAB's update functions: params, gradients and state in; params and state out.

============================  ==================================================================
`sgdmupdate`                  stochastic gradient descent with momentum
`rmspropupdate`               RMSprop
`adamupdate`                  Adam
`lbfgsupdate`                 L-BFGS with a line search (lbfgs.py)
`dlupdate`                    any function, parameter by parameter: the rule written by hand
`threshold_l2norm` ...        gradient clipping (_clipping.py)
`l2_regularize` ...           terms added to gradients (_clipping.py)
============================  ==================================================================

All of them are purely functional: nothing is changed in place, and results are of the kind of the parameters
(dlarray, ndarray or float). Parameters are trees (see tree.py). A state starts as ``None`` (``[]`` and ``()``
do as well) and goes from call to call. Inside a derivative the updates are differentiated like everything
else.

The optimizers of :mod:`dualtape.optim` stand on the same rules and have more options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._clipping import (
    l1_regularize,
    l2_regularize,
    threshold_absolute_value,
    threshold_global_l2norm,
    threshold_l2norm,
)
from ._core import optim_update
from ._update import CHECK_FINITE, RULES, carefully
from .tree import check_same, flatten, unflatten

__all__ = [
    "adamupdate",
    "dlupdate",
    "l1_regularize",
    "l2_regularize",
    "rmspropupdate",
    "sgdmupdate",
    "threshold_absolute_value",
    "threshold_global_l2norm",
    "threshold_l2norm",
]

_SGDM, _RMSPROP, _ADAM = RULES["sgdm"], RULES["rmsprop"], RULES["adam"]
_SGDM_NUMBER, _RMSPROP_NUMBER, _ADAM_NUMBER = _SGDM.number, _RMSPROP.number, _ADAM.number


def sgdmupdate(
    params: Any,
    grads: Any,
    vel: Any = None,
    learn_rate: float = 0.01,
    momentum: float = 0.9,
    *,
    check_finite: bool = False,
) -> tuple[Any, Any]:
    r"""Update parameters by stochastic gradient descent with momentum.

    .. math:: v \leftarrow \mu v - \alpha g, \qquad \theta \leftarrow \theta + v

    Parameters
    ----------
    params, grads : tree
        The parameters and their gradients, of the same structure and shapes.
    vel : tree or None
        The velocity that the previous call returned; None at first.
    learn_rate : float
        :math:`\alpha`, at least 0.
    momentum : float
        :math:`\mu`, in [0, 1). With 0 this is plain gradient descent.
    check_finite : bool
        Raise NumericError if a gradient holds NaN or infinity.

    Returns
    -------
    params, vel : tree
        New trees like `params`.

    Raises
    ------
    ValueError
        A hyperparameter is out of range; trees of different structure (the message names the path).
    ShapeError, DTypeError, NumericError
        A leaf does not fit, is no floating-point array, or is not finite.

    Notes ----- MATLAB's definition (``sgdmupdate``, solver "sgdm"; also Caffe's and classic momentum's): the
    learning rate is inside the velocity, so that under a schedule old steps keep their old rate. PyTorch, and
    :class:`dualtape.optim.SGD`, have it outside: :math:`v \leftarrow \mu v + g,\ \theta \leftarrow \theta -
    \alpha v`. With a constant rate the parameters are the same.

    Examples
    --------
    >>> sgdmupdate(1.0, 4.0, learn_rate=0.05, momentum=0.95)
    (0.8, -0.2)
    """
    result = optim_update(
        _SGDM_NUMBER,
        params,
        grads,
        (vel,),
        1,
        (learn_rate, momentum),
        None,
        CHECK_FINITE if check_finite else 0,
    )
    if result is NotImplemented:
        flags = CHECK_FINITE if check_finite else 0
        result = carefully("sgdmupdate", _SGDM, params, grads, (vel,), 1, (learn_rate, momentum), None, flags)
    return result


def rmspropupdate(
    params: Any,
    grads: Any,
    avg_sqg: Any = None,
    learn_rate: float = 0.001,
    sq_grad_decay: float = 0.9,
    epsilon: float = 1e-8,
    *,
    check_finite: bool = False,
) -> tuple[Any, Any]:
    r"""Update parameters by RMSprop.

    .. math:: v \leftarrow \beta v + (1-\beta) g^2, \qquad
              \theta \leftarrow \theta - \alpha \frac{g}{\sqrt v + \epsilon}

    Parameters
    ----------
    params, grads : tree
        The parameters and their gradients, of the same structure and shapes.
    avg_sqg : tree or None
        The average of squared gradients that the previous call returned; None at first.
    learn_rate : float
        :math:`\alpha`, at least 0.
    sq_grad_decay : float
        :math:`\beta`, in [0, 1).
    epsilon : float
        :math:`\epsilon`, at least 0.
    check_finite : bool
        Raise NumericError if a gradient holds NaN or infinity.

    Returns
    -------
    params, avg_sqg : tree
        New trees like `params`.

    Raises
    ------
    ValueError, ShapeError, DTypeError, NumericError
        As :func:`sgdmupdate`.

    Notes ----- MATLAB's definition, which is PyTorch's with other defaults (there 0.01 and 0.99): epsilon is
    outside the root, and there is no correction of bias. TensorFlow and optax have epsilon inside the root.
    Variants with momentum or centered: :class:`dualtape.optim.RMSprop`.
    """
    hyper = (learn_rate, sq_grad_decay, epsilon)
    flags = CHECK_FINITE if check_finite else 0
    result = optim_update(_RMSPROP_NUMBER, params, grads, (avg_sqg,), 1, hyper, None, flags)
    if result is NotImplemented:
        result = carefully("rmspropupdate", _RMSPROP, params, grads, (avg_sqg,), 1, hyper, None, flags)
    return result


def adamupdate(
    params: Any,
    grads: Any,
    avg_g: Any,
    avg_sqg: Any,
    iteration: int,
    learn_rate: float = 0.001,
    grad_decay: float = 0.9,
    sq_grad_decay: float = 0.999,
    epsilon: float = 1e-8,
    *,
    epsilon_mode: str = "standard",
    check_finite: bool = False,
) -> tuple[Any, Any, Any]:
    r"""Update parameters by Adam.

    .. math::
        m \leftarrow \beta_1 m + (1-\beta_1) g, \qquad v \leftarrow \beta_2 v + (1-\beta_2) g^2, \qquad
        \theta \leftarrow \theta - \alpha \frac{m / (1-\beta_1^t)}{\sqrt{v / (1-\beta_2^t)} + \epsilon}

    Parameters
    ----------
    params, grads : tree
        The parameters and their gradients, of the same structure and shapes.
    avg_g, avg_sqg : tree or None
        The averages :math:`m` and :math:`v` that the previous call returned, without correction of bias; None
        at first.
    iteration : int
        :math:`t`: 1 for the first update, and 1 more for each update.
    learn_rate : float
        :math:`\alpha`, at least 0.
    grad_decay, sq_grad_decay : float
        :math:`\beta_1` and :math:`\beta_2`, in [0, 1).
    epsilon : float
        :math:`\epsilon`, at least 0.
    epsilon_mode : {"standard", "hat"}
        Where epsilon goes. "standard" is the formula above: Kingma and Ba 2015, algorithm 1; PyTorch. "hat"
        adds it to the root before the correction of bias,
        :math:`\alpha \frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t} \frac{m}{\sqrt v + \epsilon}`: the end of the
        paper's section 2; TensorFlow.
    check_finite : bool
        Raise NumericError if a gradient holds NaN or infinity.

    Returns
    -------
    params, avg_g, avg_sqg : tree
        New trees like `params`.

    Raises
    ------
    ValueError, ShapeError, DTypeError, NumericError
        As :func:`sgdmupdate`; also for an iteration below 1.

    Examples
    --------
    >>> params, avg_g, avg_sqg = adamupdate(1.0, 2.0, None, None, 1, learn_rate=0.1)
    >>> round(params, 8)
    0.9
    """
    hat = 0.0 if epsilon_mode == "standard" else _hat(epsilon_mode)
    hyper = (learn_rate, grad_decay, sq_grad_decay, epsilon, hat)
    flags = CHECK_FINITE if check_finite else 0
    result = optim_update(_ADAM_NUMBER, params, grads, (avg_g, avg_sqg), iteration, hyper, None, flags)
    if result is NotImplemented:
        result = carefully("adamupdate", _ADAM, params, grads, (avg_g, avg_sqg), iteration, hyper, None, flags)
    return result


def _hat(epsilon_mode: str) -> float:
    if epsilon_mode != "hat":
        raise ValueError(f"adamupdate(epsilon_mode): unknown mode; got {epsilon_mode!r}; use 'standard' or 'hat'.")
    return 1.0


def dlupdate(fun: Callable[..., Any], params: Any, *trees: Any) -> Any:
    """Apply a function parameter by parameter.

    Parameters
    ----------
    fun : callable
        Gets one leaf of `params` and one of each further tree; returns the new leaf, or a tuple of new
        leaves.
    params, *trees : tree
        All of the same structure.

    Returns
    -------
    tree or tuple of trees
        One tree like `params`; where `fun` returns tuples, one tree for each of their items.

    Raises
    ------
    ValueError
        The trees differ in structure (the message names the path), or `fun` returns tuples of different
        lengths.

    Examples
    --------
    >>> dlupdate(lambda p, g: p - 0.1 * g, {"w": 1.0}, {"w": 5.0})
    {'w': 0.5}
    """
    leaves, structure = flatten(params)
    columns = [leaves]
    for number, tree in enumerate(trees, start=1):
        other_leaves, other = flatten(tree)
        if other is not structure:
            check_same(structure, other, "params", "grads" if len(trees) == 1 else f"tree {number}")
        columns.append(other_leaves)
    results = [fun(*args) for args in zip(*columns, strict=True)]
    if not results or not any(type(result) is tuple for result in results):
        return unflatten(structure, results)
    lengths = {len(result) if type(result) is tuple else None for result in results}
    if len(lengths) != 1:
        raise ValueError(
            "dlupdate(fun): fun must return as many values for each parameter; got "
            f"{sorted(map(str, lengths))}; "
            "return a tuple of one length, or one value, everywhere."
        )
    return tuple(unflatten(structure, list(column)) for column in zip(*results, strict=True))
