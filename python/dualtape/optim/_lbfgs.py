# SPDX-License-Identifier: MIT
"""PyTorch's L-BFGS: several quasi-Newton iterations in one step. The pieces are those of ../lbfgs.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._line_search import Point, strong_wolfe
from .._update import check_number
from ..lbfgs import Flat, Vector, direction, evaluate


@dataclass(frozen=True)
class LBFGS:
    r"""L-BFGS, PyTorch's way: each update makes up to `max_iterations` iterations.

    .. math:: \theta \leftarrow \theta - t H g

    with H the two-loop approximation of the inverse Hessian, begun with :math:`s^T y / y^T y` times the
    identity. The first iteration of all goes along the gradient with :math:`t = \alpha \min(1, 1 / \|g\|_1)`;
    later ones take :math:`t = \alpha`, or start the line search there.

    Parameters
    ----------
    learn_rate : float
        :math:`\alpha`, at least 0.
    max_iterations : int
        Iterations in one update.
    max_evaluations : int or None
        Evaluations of the loss in one update; None for 5/4 of `max_iterations`.
    gradient_tolerance : float
        Stop when no component of the gradient is larger.
    change_tolerance : float
        Stop when no component of a step, or the change of the loss, is larger.
    history_size : int
        How many steps are remembered.
    line_search_method : {None, "strong-wolfe"}
        None takes each step as it is.

    Notes ----- PyTorch's definition (``torch.optim.LBFGS``) with its defaults. MATLAB's, one iteration in
    each update and a line search by default: :func:`dualtape.lbfgsupdate`. A step is remembered where
    :math:`s^T y > 10^{-10}`.
    """

    learn_rate: float = 1.0
    max_iterations: int = 20
    max_evaluations: int | None = None
    gradient_tolerance: float = 1e-7
    change_tolerance: float = 1e-9
    history_size: int = 100
    line_search_method: str | None = None

    def __post_init__(self) -> None:
        for name, low in (
            ("learn_rate", 0.0),
            ("max_iterations", 1.0),
            ("gradient_tolerance", 0.0),
            ("change_tolerance", 0.0),
            ("history_size", 1.0),
        ):
            check_number("LBFGS", name, getattr(self, name), low, math.inf)
        if self.line_search_method not in (None, "strong-wolfe"):
            raise ValueError(
                f"LBFGS(line_search_method): unknown method; got {self.line_search_method!r}; use None "
                "or 'strong-wolfe'."
            )

    def init(self, params: Any) -> dict[str, Any]:
        """Make the state for the first update.

        Parameters
        ----------
        params : tree
            The parameters: dlarrays, ndarrays or floats.

        Returns
        -------
        dict
            `iteration` and `evaluations` (counts), `loss` (where the last update began), and the history.
        """
        Flat("LBFGS.init", params)
        return {"iteration": 0, "evaluations": 0, "loss": None, "history": None}

    def update(self, loss_fcn: Callable[[Any], Any], state: dict[str, Any], params: Any) -> tuple[Any, dict[str, Any]]:
        """Take one step: up to `max_iterations` iterations.

        Parameters
        ----------
        loss_fcn : callable
            ``loss_fcn(params) -> (loss, gradients)``, for instance from ``dt.value_and_grad``.
        state : dict
            From :meth:`init` or the previous update. It is left as it is.
        params : tree
            The parameters. They are left as they are.

        Returns
        -------
        params : tree
            New parameters, of the same kinds.
        state : dict
            The new state.

        Raises
        ------
        ValueError, TypeError
            Gradients that do not fit the parameters (the message names the path), or no pair of loss and
            gradients.
        """
        flat = Flat("LBFGS.update", params)
        x = flat.vector(params, "params")
        most = self.max_evaluations if self.max_evaluations is not None else self.max_iterations * 5 // 4

        def at(vector: Vector) -> tuple[float, Vector]:
            return evaluate("LBFGS.update", loss_fcn, flat, vector, 2)[:2]

        loss, gradient = at(x)
        first_loss, evaluations, iteration = loss, 1, state["iteration"]
        history = state["history"] or _History()
        if np.abs(gradient).max(initial=0.0) <= self.gradient_tolerance:
            return params, {**state, "evaluations": state["evaluations"] + 1, "loss": loss}
        for inner in range(1, self.max_iterations + 1):
            iteration += 1
            history = history.extended(gradient, self.history_size)
            d = direction(gradient, history.steps, history.changes, history.factor)
            t = self.learn_rate * (min(1.0, 1.0 / np.abs(gradient).sum()) if iteration == 1 else 1.0)
            slope = float(gradient.dot(d))
            history = history.after(gradient, t * d)
            if slope > -self.change_tolerance:
                break
            previous_loss, new_evaluations = loss, 0
            if self.line_search_method:
                x0 = x

                def along(t: float, x0: Vector = x0, d: Vector = d) -> Point:
                    value, there = at(x0 + t * d)
                    return Point(t, value, float(there.dot(d)), there)

                start = Point(0.0, loss, slope, gradient)
                size = float(np.abs(d).max())
                found, _, new_evaluations = strong_wolfe(
                    along, start, t, most - evaluations, size, self.change_tolerance
                )
                t, loss, gradient = found.t, found.value, found.gradient
                x = x0 + t * d
                history = history.after(history.gradient, t * d)
            else:
                x = x + t * d
                if inner != self.max_iterations:
                    loss, gradient = at(x)
                    new_evaluations = 1
            evaluations += new_evaluations
            if inner == self.max_iterations or evaluations >= most:
                break
            if np.abs(gradient).max() <= self.gradient_tolerance:
                break
            if np.abs(t * d).max() <= self.change_tolerance or abs(loss - previous_loss) < self.change_tolerance:
                break
        return flat.tree(x), {
            "iteration": iteration,
            "evaluations": state["evaluations"] + evaluations,
            "loss": first_loss,
            "history": history,
        }


@dataclass(frozen=True)
class _History:
    """The last steps and changes of gradient, and the iteration that will become the next pair."""

    steps: tuple[Vector, ...] = ()
    changes: tuple[Vector, ...] = ()
    factor: float = 1.0
    gradient: Vector | None = None  # where the last step began
    step: Vector | None = None

    def extended(self, gradient: Vector, size: int) -> _History:
        """With the pair that ends at a point with this gradient, if its curvature is positive."""
        if self.gradient is None or self.step is None:
            return self
        y, s = gradient - self.gradient, self.step
        curvature = float(y.dot(s))
        if not curvature > 1e-10:
            return self
        keep = size - 1
        return _History(
            (*self.steps[-keep:], s) if keep else (s,),
            (*self.changes[-keep:], y) if keep else (y,),
            curvature / float(y.dot(y)),
        )

    def after(self, gradient: Vector | None, step: Vector) -> _History:
        """With the step that begins at a point with this gradient."""
        return _History(self.steps, self.changes, self.factor, gradient, step)
