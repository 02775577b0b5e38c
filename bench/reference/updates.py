# SPDX-License-Identifier: MIT
"""The update rules of MATLAB's custom training loops, for one parameter, in plain Python floats.

Start with `sgdm`.  Each takes a parameter, its gradient and the state, and returns the new ones; the state is
None before the first call.  The argument order is MATLAB's, the keywords are the package's.  Note where these
differ from PyTorch's definitions in `optim`: the learning rate is *inside* the velocity of `sgdm`, so that a
schedule leaves old steps at their old rate, and `rmsprop` knows neither momentum nor centring.
"""

from __future__ import annotations

import math


def sgdm(
    param: float, grad: float, vel: float | None = None, learn_rate: float = 0.01, momentum: float = 0.9
) -> tuple[float, float]:
    """Stochastic gradient descent with momentum (Polyak 1964; Murphy 2012, "Machine Learning", section 8.3).

    vel <- momentum * vel - learn_rate * grad;  param <- param + vel
    """
    vel = momentum * (vel or 0.0) - learn_rate * grad
    return param + vel, vel


def rmsprop(
    param: float,
    grad: float,
    avg_sqg: float | None = None,
    learn_rate: float = 0.001,
    sq_grad_decay: float = 0.9,
    epsilon: float = 1e-8,
) -> tuple[float, float]:
    """Root mean square propagation (Tieleman and Hinton 2012, lecture 6.5), epsilon outside the root.

    v <- decay * v + (1 - decay) * grad**2;  param <- param - learn_rate * grad / (sqrt(v) + epsilon)
    """
    avg_sqg = sq_grad_decay * (avg_sqg or 0.0) + (1.0 - sq_grad_decay) * grad * grad
    return param - learn_rate * grad / (math.sqrt(avg_sqg) + epsilon), avg_sqg


def adam(
    param: float,
    grad: float,
    avg_g: float | None,
    avg_sqg: float | None,
    iteration: int,
    learn_rate: float = 0.001,
    grad_decay: float = 0.9,
    sq_grad_decay: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_mode: str = "standard",
) -> tuple[float, float, float]:
    """Adaptive moment estimation (Kingma and Ba 2015, algorithm 1); the iteration counts from 1.

    m <- b1 * m + (1 - b1) * grad;  v <- b2 * v + (1 - b2) * grad**2
    standard:  param <- param - rate * (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + epsilon)
    hat:       param <- param - rate * sqrt(1 - b2**t) / (1 - b1**t) * m / (sqrt(v) + epsilon)

    The second form is the one at the end of the paper's section 2; the averages returned are not corrected.
    """
    if iteration < 1:
        raise ValueError(f"adam: the iteration counts from 1; got {iteration}")
    avg_g = grad_decay * (avg_g or 0.0) + (1.0 - grad_decay) * grad
    avg_sqg = sq_grad_decay * (avg_sqg or 0.0) + (1.0 - sq_grad_decay) * grad * grad
    correct_g = 1.0 - grad_decay**iteration
    correct_sqg = 1.0 - sq_grad_decay**iteration
    if epsilon_mode == "hat":
        step = math.sqrt(correct_sqg) / correct_g * avg_g / (math.sqrt(avg_sqg) + epsilon)
    else:
        step = (avg_g / correct_g) / (math.sqrt(avg_sqg / correct_sqg) + epsilon)
    return param - learn_rate * step, avg_g, avg_sqg
