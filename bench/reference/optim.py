# SPDX-License-Identifier: MIT
"""The optimizers with PyTorch's definitions, for one parameter, in plain Python floats.

Start with `SGD`.  Each class holds the hyperparameters under PyTorch's default values; ``update(param, grad,
state)`` returns the new parameter and the new state, a plain tuple that `init` makes.  All of them treat
every scalar of a parameter alike and apart, which is why one scalar says it all (L-BFGS is the exception and
lives in `lbfgs`).  Definitions: the algorithm boxes of https://pytorch.org/docs/stable/optim.html; Lion,
which PyTorch lacks, is algorithm 2 of Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

State = tuple[Any, ...]


class Optimizer(Protocol):
    """What all of them look like."""

    def init(self, param: float) -> State: ...

    def update(self, param: float, grad: float, state: State) -> tuple[float, State]: ...


def _sign(x: float) -> float:
    return float((x > 0.0) - (x < 0.0))


@dataclass(frozen=True)
class SGD:
    """Descent with momentum; the learning rate is outside the velocity, unlike in `updates.sgdm`."""

    learn_rate: float = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def init(self, param: float) -> State:
        return (None,)

    def update(self, param: float, grad: float, state: State) -> tuple[float, State]:
        grad += self.weight_decay * param
        (velocity,) = state
        if self.momentum:
            # The first velocity is the whole gradient, not the dampened one.
            velocity = grad if velocity is None else self.momentum * velocity + (1.0 - self.dampening) * grad
            grad = grad + self.momentum * velocity if self.nesterov else velocity
        return param - self.learn_rate * grad, (velocity,)


@dataclass(frozen=True)
class Adam:
    """Kingma and Ba 2015, algorithm 1; `amsgrad` (Reddi et al. 2018) keeps the largest raw v."""

    learn_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False

    def init(self, param: float) -> State:
        return 0, 0.0, 0.0, 0.0

    def update(self, param: float, grad: float, state: State) -> tuple[float, State]:
        return self._step(param, grad + self.weight_decay * param, state)

    def _step(self, param: float, grad: float, state: State) -> tuple[float, State]:
        t, m, v, largest = state
        t += 1
        m = self.beta1 * m + (1.0 - self.beta1) * grad
        v = self.beta2 * v + (1.0 - self.beta2) * grad * grad
        largest = max(largest, v)
        root = math.sqrt((largest if self.amsgrad else v) / (1.0 - self.beta2**t)) + self.epsilon
        return param - self.learn_rate * m / (1.0 - self.beta1**t) / root, (t, m, v, largest)


@dataclass(frozen=True)
class AdamW(Adam):
    """Loshchilov and Hutter 2019: the decay shrinks the parameter and stays out of the averages."""

    weight_decay: float = 1e-2

    def update(self, param: float, grad: float, state: State) -> tuple[float, State]:
        return self._step(param * (1.0 - self.learn_rate * self.weight_decay), grad, state)


@dataclass(frozen=True)
class NAdam:
    """Dozat 2016, with the momentum's warm-up of the paper's section 3 (0.96**(t * momentum_decay))."""

    learn_rate: float = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    momentum_decay: float = 4e-3

    def init(self, param: float) -> State:
        return 0, 0.0, 0.0, 1.0

    def update(self, param: float, grad: float, state: State) -> tuple[float, State]:
        t, m, v, product = state
        t += 1
        grad += self.weight_decay * param
        mu = self._mu(t)
        mu_next = self._mu(t + 1)
        product *= mu
        m = self.beta1 * m + (1.0 - self.beta1) * grad
        v = self.beta2 * v + (1.0 - self.beta2) * grad * grad
        root = math.sqrt(v / (1.0 - self.beta2**t)) + self.epsilon
        step = (1.0 - mu) / (1.0 - product) * grad + mu_next / (1.0 - product * mu_next) * m
        return param - self.learn_rate * step / root, (t, m, v, product)

    def _mu(self, t: int) -> float:
        return self.beta1 * (1.0 - 0.5 * math.pow(0.96, t * self.momentum_decay))


@dataclass(frozen=True)
class RAdam:
    """Liu et al. 2020, algorithm 2; PyTorch adds epsilon to the root before the correction."""

    learn_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def init(self, param: float) -> State:
        return 0, 0.0, 0.0

    def update(self, param: float, grad: float, state: State) -> tuple[float, State]:
        t, m, v = state
        t += 1
        grad += self.weight_decay * param
        m = self.beta1 * m + (1.0 - self.beta1) * grad
        v = self.beta2 * v + (1.0 - self.beta2) * grad * grad
        correct = 1.0 - self.beta2**t
        limit = 2.0 / (1.0 - self.beta2) - 1.0
        length = limit - 2.0 * t * self.beta2**t / correct
        step = m / (1.0 - self.beta1**t)
        # The rectified step starts once the average over the past is long enough for its variance to exist.
        if length > 5.0:
            over, under = (length - 4.0) * (length - 2.0) * limit, (limit - 4.0) * (limit - 2.0) * length
            step *= math.sqrt(over / under) * math.sqrt(correct) / (math.sqrt(v) + self.epsilon)
        return param - self.learn_rate * step, (t, m, v)


@dataclass(frozen=True)
class Adamax:
    """Kingma and Ba 2015, algorithm 2: the infinity norm in place of the second moment."""

    learn_rate: float = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def init(self, param: float) -> State:
        return 0, 0.0, 0.0

    def update(self, param: float, grad: float, state: State) -> tuple[float, State]:
        t, m, u = state
        t += 1
        grad += self.weight_decay * param
        m = self.beta1 * m + (1.0 - self.beta1) * grad
        u = max(self.beta2 * u, abs(grad) + self.epsilon)
        return param - self.learn_rate / (1.0 - self.beta1**t) * m / u, (t, m, u)


@dataclass(frozen=True)
class RMSprop:
    """Tieleman and Hinton 2012; `centered` is Graves 2013, "Generating Sequences", equation 40."""

    learn_rate: float = 1e-2
    alpha: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def init(self, param: float) -> State:
        return 0.0, 0.0, 0.0

    def update(self, param: float, grad: float, state: State) -> tuple[float, State]:
        v, mean, velocity = state
        grad += self.weight_decay * param
        v = self.alpha * v + (1.0 - self.alpha) * grad * grad
        mean = self.alpha * mean + (1.0 - self.alpha) * grad
        root = math.sqrt(v - mean * mean if self.centered else v) + self.epsilon
        velocity = self.momentum * velocity + grad / root
        return param - self.learn_rate * velocity, (v, mean, velocity)


@dataclass(frozen=True)
class Adagrad:
    """Duchi, Hazan and Singer 2011, the diagonal form."""

    learn_rate: float = 1e-2
    learn_rate_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator: float = 0.0
    epsilon: float = 1e-10

    def init(self, param: float) -> State:
        return 0, self.initial_accumulator

    def update(self, param: float, grad: float, state: State) -> tuple[float, State]:
        t, total = state
        grad += self.weight_decay * param
        total += grad * grad
        rate = self.learn_rate / (1.0 + t * self.learn_rate_decay)
        return param - rate * grad / (math.sqrt(total) + self.epsilon), (t + 1, total)


@dataclass(frozen=True)
class Adadelta:
    """Zeiler 2012, algorithm 1."""

    learn_rate: float = 1.0
    rho: float = 0.9
    epsilon: float = 1e-6
    weight_decay: float = 0.0

    def init(self, param: float) -> State:
        return 0.0, 0.0

    def update(self, param: float, grad: float, state: State) -> tuple[float, State]:
        v, moved = state
        grad += self.weight_decay * param
        v = self.rho * v + (1.0 - self.rho) * grad * grad
        step = math.sqrt(moved + self.epsilon) / math.sqrt(v + self.epsilon) * grad
        moved = self.rho * moved + (1.0 - self.rho) * step * step
        return param - self.learn_rate * step, (v, moved)


@dataclass(frozen=True)
class Rprop:
    """Riedmiller and Braun 1993, the variant that skips the step after a change of sign."""

    learn_rate: float = 1e-2
    shrink: float = 0.5
    grow: float = 1.2
    smallest: float = 1e-6
    largest: float = 50.0

    def init(self, param: float) -> State:
        return 0.0, self.learn_rate

    def update(self, param: float, grad: float, state: State) -> tuple[float, State]:
        before, size = state
        agreement = grad * before
        factor = self.grow if agreement > 0.0 else self.shrink if agreement < 0.0 else 1.0
        size = min(max(size * factor, self.smallest), self.largest)
        if agreement < 0.0:
            grad = 0.0
        return param - _sign(grad) * size, (grad, size)


@dataclass(frozen=True)
class Lion:
    """Chen et al. 2023, algorithm 2: the sign of an interpolation, and a decay as in AdamW."""

    learn_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    def init(self, param: float) -> State:
        return (0.0,)

    def update(self, param: float, grad: float, state: State) -> tuple[float, State]:
        (m,) = state
        direction = _sign(self.beta1 * m + (1.0 - self.beta1) * grad)
        param = param * (1.0 - self.learn_rate * self.weight_decay) - self.learn_rate * direction
        return param, (self.beta2 * m + (1.0 - self.beta2) * grad,)
