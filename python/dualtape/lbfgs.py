# SPDX-License-Identifier: MIT
"""L-BFGS: a quasi-Newton method for smooth losses over full batches, as MATLAB's lbfgsupdate has it.

It remembers the last few steps s and changes of gradient y, makes of them a direction (:func:`direction`),
and looks along it for a point with less loss (:func:`search`). The vectors are flat float64 ndarrays;
:class:`Flat` turns trees into them and back. ``dualtape.optim.LBFGS`` (PyTorch's algorithm) stands on the
same pieces.

Start reading at :func:`lbfgsupdate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ._core import dlarray
from ._update import check_number, ready_leaf
from .tree import Structure, check_same, flatten, paths, unflatten

__all__ = ["LbfgsState", "lbfgsupdate"]

# Written out rather than NDArray, whose module takes longer to import than all of this.
Vector = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)  # it holds arrays, which are neither equal nor hashable as a whole
class LbfgsState:
    """What L-BFGS knows between updates: give the first two, the rest is filled in by :func:`lbfgsupdate`.

    Attributes
    ----------
    history_size : int
        How many steps are remembered; 3 to 20 suit most problems.
    initial_inverse_hessian_factor : float
        The inverse Hessian is taken for this number times the identity at first.
    loss : float or None
        At the parameters that the last update returned.
    gradients : tree or None
        There.
    gradients_norm, step_norm : float or None
        Euclidean norms of the gradients and of the last step.
    line_search_status : {"", "completed", "failed"}
        Whether the last search met its conditions. After a failed one the parameters are the best that it
        saw.
    line_search_iterations : int
        How often the last search evaluated the loss.
    additional_loss_function_outputs : tuple
        What `loss_fcn` returned beyond loss and gradients.
    iteration : int
        Updates done.
    """

    history_size: int = 10
    initial_inverse_hessian_factor: float = 1.0
    loss: float | None = None
    gradients: Any = None
    gradients_norm: float | None = None
    step_norm: float | None = None
    line_search_status: str = ""
    line_search_iterations: int = 0
    additional_loss_function_outputs: tuple[Any, ...] = ()
    iteration: int = 0
    _steps: tuple[Vector, ...] = ()
    _changes: tuple[Vector, ...] = ()
    _factor: float | None = None
    _at: tuple[Vector, Vector] | None = None  # where loss and gradients belong, and the gradients there

    def __post_init__(self) -> None:
        if not isinstance(self.history_size, int) or self.history_size < 1:
            raise ValueError(
                f"LbfgsState(history_size): history_size must be a whole number of at least 1; got "
                f"{self.history_size!r}; 3 to 20 suit most problems."
            )
        check_number(
            "LbfgsState",
            "initial_inverse_hessian_factor",
            self.initial_inverse_hessian_factor,
            5e-324,
            math.inf,
        )

    def __repr__(self) -> str:
        parts = [f"history_size={self.history_size}", f"iteration={self.iteration}", f"loss={self.loss}"]
        if self.iteration:
            parts += [f"gradients_norm={self.gradients_norm:.6g}", f"step_norm={self.step_norm:.6g}"]
            parts.append(f"line_search_status={self.line_search_status!r}")
        return f"LbfgsState({', '.join(parts)})"


class Flat:
    """Turns trees like `params` into flat vectors and back."""

    structure: Structure

    def __init__(self, function: str, params: Any) -> None:
        self._function = function
        leaves, self.structure = flatten(params)
        named = zip(paths(self.structure, "params"), leaves, strict=True)
        self._leaves = [ready_leaf(function, path, leaf) for path, leaf in named]
        self._shapes = [np.shape(leaf) for leaf in self._leaves]

    def vector(self, tree: Any, name: str) -> Vector:
        """The elements of a tree, one after the other."""
        leaves, structure = flatten(tree)
        if structure is not self.structure:
            check_same(self.structure, structure, "params", name)
        parts = [np.zeros(0)]
        for leaf, shape, path in zip(leaves, self._shapes, paths(structure, name), strict=True):
            array = np.asarray(leaf, dtype=np.float64)
            if array.shape != shape:
                raise ValueError(
                    f"{self._function}({path}): the shape must be that of the parameter; got "
                    f"{array.shape} for {shape}; "
                    "return gradients like the parameters."
                )
            parts.append(array.ravel())
        return np.concatenate(parts)

    def tree(self, vector: Vector) -> Any:
        """A tree with leaves of the kinds of the parameters."""
        leaves, start = [], 0
        for leaf, shape in zip(self._leaves, self._shapes, strict=True):
            size = math.prod(shape)
            leaves.append(_like(leaf, vector[start : start + size].reshape(shape)))
            start += size
        return unflatten(self.structure, leaves)


def _like(leaf: Any, array: Vector) -> Any:
    if isinstance(leaf, float):
        return float(array)
    typed = array.astype(leaf.dtype)
    return dlarray(typed, leaf.dims or None) if isinstance(leaf, dlarray) else typed


def direction(gradient: Vector, steps: Sequence[Vector], changes: Sequence[Vector], factor: float) -> Vector:
    """Minus the approximate inverse Hessian times the gradient: the two-loop recursion (Nocedal 1980)."""
    q = -gradient
    weights = []
    for s, y in zip(reversed(steps), reversed(changes), strict=True):
        rho = 1.0 / y.dot(s)
        weight = s.dot(q) * rho
        weights.append((weight, rho))
        q = q - weight * y
    d: Vector = q * factor
    for s, y, (weight, rho) in zip(steps, changes, reversed(weights), strict=True):
        d = d + s * (weight - y.dot(d) * rho)
    return d


def evaluate(
    function: str, loss_fcn: Callable[[Any], Any], flat: Flat, vector: Vector, outputs: int
) -> tuple[float, Vector, tuple[Any, ...]]:
    """Loss, gradients and what else `loss_fcn` returns, at a point."""
    result = loss_fcn(flat.tree(vector))
    if not isinstance(result, tuple | list) or len(result) < outputs:
        raise TypeError(
            f"{function}(loss_fcn): loss_fcn must return {outputs} values, the loss and the gradients "
            "first; got "
            f"{type(result).__name__}; return (loss, gradients), for instance from dt.value_and_grad."
        )
    loss = result[0]
    return float(loss), flat.vector(result[1], "gradients"), tuple(result[2:outputs])


def lbfgsupdate(
    params: Any,
    loss_fcn: Callable[[Any], Any],
    state: LbfgsState | None = None,
    *,
    line_search_method: str = "weak-wolfe",
    max_num_line_search_iterations: int = 20,
    initial_step_size: float | str | None = None,
    num_loss_function_outputs: int = 2,
) -> tuple[Any, LbfgsState]:
    r"""Update parameters by L-BFGS.

    One update: the direction :math:`d = -H g`, where H approximates the inverse Hessian by the last steps and
    changes of gradient, starting from :math:`\lambda I` with :math:`\lambda = s^T y / y^T y`; then a step
    along d that the line search accepts, trying the full step first.

    Parameters
    ----------
    params : tree
        The parameters: dlarrays, ndarrays or floats.
    loss_fcn : callable
        ``loss_fcn(params) -> (loss, gradients, ...)``, on all of the data: the same function in
        every update.
    state : LbfgsState or None
        From the previous update; None or ``LbfgsState(...)`` at first.
    line_search_method : {"weak-wolfe", "strong-wolfe", "backtracking"}
        Sufficient decrease (factor 1e-4) is asked for by all; a slope that has risen (factor 0.9) by
        "weak-wolfe"; a slope that has flattened in magnitude (factor 0.9) by "strong-wolfe".
    max_num_line_search_iterations : int
        How often a search may evaluate the loss.
    initial_step_size : float, "auto" or None
        The largest change of a parameter to expect of the first step; "auto" takes half the largest parameter
        plus 0.1. It replaces `initial_inverse_hessian_factor`. None for neither.
    num_loss_function_outputs : int
        How many values `loss_fcn` returns; those beyond two are kept in the state.

    Returns
    -------
    params : tree
        New parameters, like the given ones.
    state : LbfgsState
        Stop when `gradients_norm` or `step_norm` is small, or `line_search_status` is "failed".

    Raises
    ------
    ValueError, TypeError
        Bad options, or gradients that do not fit the parameters (the message names the path).

    Notes ----- MATLAB's ``lbfgsupdate``; the algorithm is that of Nocedal and Wright, Numerical Optimization,
    section 7.2. The weak Wolfe search is that of Lewis and Overton 2013. The gradients at the returned
    parameters are kept in the state, so an update costs one evaluation as a rule; if the parameters are
    changed in between they are computed anew.

    Examples
    --------
    >>> def loss_fcn(x):
    ...     return (x - 3.0) ** 2, 2.0 * (x - 3.0)
    >>> x, state = 0.0, None
    >>> for _ in range(3):
    ...     x, state = lbfgsupdate(x, loss_fcn, state)
    >>> x
    3.0
    """
    from ._line_search import METHODS, Point  # here, since importing dualtape should stay quick

    if state is None or (isinstance(state, list | tuple) and not state):
        state = LbfgsState()
    if line_search_method not in METHODS:
        raise ValueError(
            f"lbfgsupdate(line_search_method): unknown method; got {line_search_method!r}; use 'weak-wolfe', "
            "'strong-wolfe' or 'backtracking'."
        )
    check_number("lbfgsupdate", "max_num_line_search_iterations", max_num_line_search_iterations, 1, math.inf)
    check_number("lbfgsupdate", "num_loss_function_outputs", num_loss_function_outputs, 2, math.inf)
    flat = Flat("lbfgsupdate", params)
    x = flat.vector(params, "params")
    extra = state.additional_loss_function_outputs
    if state._at is not None and np.array_equal(state._at[0], x):
        loss, gradient = state.loss, state._at[1]
    else:
        loss, gradient, extra = evaluate("lbfgsupdate", loss_fcn, flat, x, num_loss_function_outputs)
    assert loss is not None
    factor = state._factor if state._factor is not None else _first_factor(state, x, gradient, initial_step_size)
    steps, changes = state._steps, state._changes
    d = direction(gradient, steps, changes, factor)
    if not gradient.dot(d) < 0.0:  # rounding has spoilt the history
        steps, changes, d = (), (), -gradient * factor

    extras: dict[float, tuple[Any, ...]] = {0.0: extra}

    def along(t: float) -> Point:
        value, slope_vector, extras[t] = evaluate("lbfgsupdate", loss_fcn, flat, x + t * d, num_loss_function_outputs)
        return Point(t, value, float(slope_vector.dot(d)), slope_vector)

    start = Point(0.0, loss, float(gradient.dot(d)), gradient)
    if start.slope == 0.0:  # a stationary point
        found, completed, evaluations = start, True, 0
    else:
        size = float(np.abs(d).max())
        found, completed, evaluations = METHODS[line_search_method](
            along, start, 1.0, max_num_line_search_iterations, size
        )
    s, y = found.t * d, found.gradient - gradient
    curvature = float(s.dot(y))
    if curvature > 1e-10 * float(y.dot(y)) and curvature > 0.0:
        keep = state.history_size - 1
        steps, changes = (*steps[-keep:], s) if keep else (s,), (*changes[-keep:], y) if keep else (y,)
        factor = curvature / float(y.dot(y))
    elif found.t and found.slope < start.slope:
        # The loss curves downwards, and backtracking never lengthens a step: start again, twice as far.
        factor = 2.0 * float(np.linalg.norm(s)) / float(np.linalg.norm(found.gradient))
        steps, changes = (), ()
    new = flat.tree(x + s) if found.t else params
    at = flat.vector(new, "params")  # what the leaves hold: float32 leaves are coarser than x + s
    gradients = flat.tree(found.gradient)
    return new, replace(
        state,
        loss=found.value,
        gradients=gradients,
        gradients_norm=float(np.linalg.norm(found.gradient)),
        step_norm=float(np.linalg.norm(s)),
        line_search_status="completed" if completed else "failed",
        line_search_iterations=evaluations,
        additional_loss_function_outputs=extras[found.t],
        iteration=state.iteration + 1,
        _steps=steps,
        _changes=changes,
        _factor=factor,
        _at=(at, found.gradient),
    )


def _first_factor(state: LbfgsState, x: Vector, gradient: Vector, initial_step_size: float | str | None) -> float:
    if initial_step_size is None:
        return state.initial_inverse_hessian_factor
    if initial_step_size == "auto":
        size = 0.5 * float(np.abs(x).max(initial=0.0)) + 0.1
    else:
        check_number("lbfgsupdate", "initial_step_size", initial_step_size, 5e-324, math.inf)
        size = float(initial_step_size)
    slope = float(np.abs(gradient).max(initial=0.0))
    return size / slope if slope > 0.0 else state.initial_inverse_hessian_factor
