# SPDX-License-Identifier: MIT
"""L-BFGS in plain Python: the one rule that looks at all parameters together, on lists of floats.

Start with `direction`, the two-loop recursion of Nocedal 1980 (Nocedal and Wright 2006, algorithm 7.4), which
multiplies the gradient by an approximate inverse Hessian without storing a matrix.  `LBFGS` wraps it in steps
as `torch.optim.LBFGS` takes them without a line search, one step for each call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

Vector = list[float]


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the inner product."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def direction(grad: Vector, pairs: Sequence[tuple[Vector, Vector]], scale: float) -> Vector:
    """Return minus the approximate inverse Hessian times the gradient.

    Parameters
    ----------
    grad
        The gradient.
    pairs
        Steps and the changes of the gradient along them, oldest first.
    scale
        The initial inverse Hessian is this number times the identity; (s . y) / (y . y) of the newest pair is
        the usual choice (Nocedal and Wright, equation 7.20).
    """
    q = [-g for g in grad]
    alphas = []
    for step, change in reversed(pairs):
        alpha = dot(step, q) / dot(step, change)
        q = [a - alpha * b for a, b in zip(q, change, strict=True)]
        alphas.append(alpha)
    r = [scale * a for a in q]
    for (step, change), alpha in zip(pairs, reversed(alphas), strict=True):
        beta = dot(change, r) / dot(step, change)
        r = [a + (alpha - beta) * b for a, b in zip(r, step, strict=True)]
    return r


class LBFGS:
    """Steps of a fixed rate along `direction`; the first one is shortened to a gradient of 1-norm 1.

    Parameters
    ----------
    learn_rate
        Length of a step, as a factor of the direction.
    history_size
        How many pairs are remembered.
    """

    def __init__(self, learn_rate: float = 1.0, history_size: int = 100) -> None:
        self.learn_rate = learn_rate
        self._pairs: deque[tuple[Vector, Vector]] = deque(maxlen=history_size)
        self._scale = 1.0
        self._step: Vector | None = None
        self._grad: Vector = []

    def update(self, params: Vector, grad: Vector) -> Vector:
        """Return the parameters after one step, given the gradient at them."""
        if self._step is None:
            rate = min(1.0, 1.0 / sum(abs(g) for g in grad)) * self.learn_rate
        else:
            rate = self.learn_rate
            change = [a - b for a, b in zip(grad, self._grad, strict=True)]
            curvature = dot(self._step, change)
            # A pair without positive curvature would make the approximation indefinite: PyTorch's threshold.
            if curvature > 1e-10:
                self._pairs.append((self._step, change))
                self._scale = curvature / dot(change, change)
        self._step = [rate * d for d in direction(grad, self._pairs, self._scale)]
        self._grad = grad
        return [p + s for p, s in zip(params, self._step, strict=True)]
