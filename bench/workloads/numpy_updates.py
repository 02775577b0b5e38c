# SPDX-License-Identifier: MIT
"""The optimizers written by hand with NumPy, in place, with one scratch array and no other temporaries.

Start with `adam`.  Each function takes parameters, gradients and the rule with the hyperparameters
(`reference.optim`), makes its state, and returns the step, which changes the parameters where they are.
`STEPS` finds them by the names of `optimizers.SETUPS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..native import Array
from ..reference import optim as rules

Step = Callable[[], None]


def _average(average: Array, value: Array, decay: float, scratch: Array) -> None:
    """average <- decay * average + (1 - decay) * value"""
    average *= decay
    np.multiply(value, 1.0 - decay, out=scratch)
    average += scratch


def _average_square(average: Array, grads: Array, decay: float, scratch: Array) -> None:
    """average <- decay * average + (1 - decay) * grads**2"""
    average *= decay
    np.multiply(grads, grads, out=scratch)
    scratch *= 1.0 - decay
    average += scratch


def _move(params: Array, over: Array, rate: float, scratch: Array) -> None:
    """params <- params - rate * over / scratch"""
    np.divide(over, scratch, out=scratch)
    scratch *= rate
    params -= scratch


def sgd(params: Array, grads: Array, rule: rules.SGD) -> Step:
    scratch = np.empty_like(params)
    velocity = np.zeros_like(params)

    def plain() -> None:
        np.multiply(grads, rule.learn_rate, out=scratch)
        np.subtract(params, scratch, out=params)

    def with_momentum() -> None:
        np.multiply(velocity, rule.momentum, out=velocity)
        np.add(velocity, grads, out=velocity)
        np.multiply(velocity, rule.learn_rate, out=scratch)
        np.subtract(params, scratch, out=params)

    return with_momentum if rule.momentum else plain


def adam(params: Array, grads: Array, rule: rules.Adam) -> Step:
    m, v, largest, scratch = (np.zeros_like(params) for _ in range(4))
    t = 0

    def step() -> None:
        nonlocal t
        t += 1
        if isinstance(rule, rules.AdamW):
            np.multiply(params, 1.0 - rule.learn_rate * rule.weight_decay, out=params)
        _average(m, grads, rule.beta1, scratch)
        _average_square(v, grads, rule.beta2, scratch)
        second = np.maximum(largest, v, out=largest) if rule.amsgrad else v
        # The corrections are pulled out of the arrays: sqrt(v / c) + e = (sqrt(v) + e sqrt(c)) / sqrt(c).
        root = (1.0 - rule.beta2**t) ** 0.5
        np.sqrt(second, out=scratch)
        np.add(scratch, rule.epsilon * root, out=scratch)
        _move(params, m, rule.learn_rate * root / (1.0 - rule.beta1**t), scratch)

    return step


def nadam(params: Array, grads: Array, rule: rules.NAdam) -> Step:
    m, v, scratch, mixed = (np.zeros_like(params) for _ in range(4))
    t, product = 0, 1.0

    def mu(t: int) -> float:
        return float(rule.beta1 * (1.0 - 0.5 * 0.96 ** (t * rule.momentum_decay)))

    def step() -> None:
        nonlocal t, product
        t += 1
        product *= mu(t)
        _average(m, grads, rule.beta1, scratch)
        _average_square(v, grads, rule.beta2, scratch)
        np.multiply(m, mu(t + 1) / (1.0 - product * mu(t + 1)), out=mixed)
        np.multiply(grads, (1.0 - mu(t)) / (1.0 - product), out=scratch)
        np.add(mixed, scratch, out=mixed)
        root = (1.0 - rule.beta2**t) ** 0.5
        np.sqrt(v, out=scratch)
        np.add(scratch, rule.epsilon * root, out=scratch)
        _move(params, mixed, rule.learn_rate * root, scratch)

    return step


def radam(params: Array, grads: Array, rule: rules.RAdam) -> Step:
    m, v, scratch = (np.zeros_like(params) for _ in range(3))
    limit = 2.0 / (1.0 - rule.beta2) - 1.0
    t = 0

    def step() -> None:
        nonlocal t
        t += 1
        _average(m, grads, rule.beta1, scratch)
        _average_square(v, grads, rule.beta2, scratch)
        correct = 1.0 - rule.beta2**t
        length = limit - 2.0 * t * rule.beta2**t / correct
        rate = rule.learn_rate / (1.0 - rule.beta1**t)
        if length <= 5.0:
            np.multiply(m, rate, out=scratch)
            np.subtract(params, scratch, out=params)
            return
        over, under = (length - 4.0) * (length - 2.0) * limit, (limit - 4.0) * (limit - 2.0) * length
        np.sqrt(v, out=scratch)
        np.add(scratch, rule.epsilon, out=scratch)
        _move(params, m, rate * (over / under * correct) ** 0.5, scratch)

    return step


def adamax(params: Array, grads: Array, rule: rules.Adamax) -> Step:
    m, u, scratch = (np.zeros_like(params) for _ in range(3))
    t = 0

    def step() -> None:
        nonlocal t
        t += 1
        _average(m, grads, rule.beta1, scratch)
        np.multiply(u, rule.beta2, out=u)
        np.abs(grads, out=scratch)
        np.add(scratch, rule.epsilon, out=scratch)
        np.maximum(u, scratch, out=u)
        np.divide(m, u, out=scratch)
        np.multiply(scratch, rule.learn_rate / (1.0 - rule.beta1**t), out=scratch)
        np.subtract(params, scratch, out=params)

    return step


def rmsprop(params: Array, grads: Array, rule: rules.RMSprop) -> Step:
    v, scratch = np.zeros_like(params), np.empty_like(params)

    def step() -> None:
        _average_square(v, grads, rule.alpha, scratch)
        np.sqrt(v, out=scratch)
        np.add(scratch, rule.epsilon, out=scratch)
        _move(params, grads, rule.learn_rate, scratch)

    return step


def adagrad(params: Array, grads: Array, rule: rules.Adagrad) -> Step:
    total, scratch = np.zeros_like(params), np.empty_like(params)

    def step() -> None:
        np.multiply(grads, grads, out=scratch)
        np.add(total, scratch, out=total)
        np.sqrt(total, out=scratch)
        np.add(scratch, rule.epsilon, out=scratch)
        _move(params, grads, rule.learn_rate, scratch)

    return step


def adadelta(params: Array, grads: Array, rule: rules.Adadelta) -> Step:
    v, moved, scratch, step_ = (np.zeros_like(params) for _ in range(4))

    def step() -> None:
        _average_square(v, grads, rule.rho, scratch)
        np.add(moved, rule.epsilon, out=step_)
        np.add(v, rule.epsilon, out=scratch)
        np.divide(step_, scratch, out=step_)
        np.sqrt(step_, out=step_)
        np.multiply(step_, grads, out=step_)
        _average_square(moved, step_, rule.rho, scratch)
        np.multiply(step_, rule.learn_rate, out=step_)
        np.subtract(params, step_, out=params)

    return step


def rprop(params: Array, grads: Array, rule: rules.Rprop) -> Step:
    before, scratch = np.zeros_like(params), np.empty_like(params)
    size = np.full_like(params, rule.learn_rate)
    now = np.empty_like(params)

    def step() -> None:
        np.multiply(grads, before, out=scratch)
        np.copyto(now, grads)
        turned = scratch < 0.0
        now[turned] = 0.0
        np.multiply(size, rule.shrink, out=size, where=turned)
        np.multiply(size, rule.grow, out=size, where=scratch > 0.0)
        np.clip(size, rule.smallest, rule.largest, out=size)
        np.sign(now, out=scratch)
        np.multiply(scratch, size, out=scratch)
        np.subtract(params, scratch, out=params)
        np.copyto(before, now)

    return step


def lion(params: Array, grads: Array, rule: rules.Lion) -> Step:
    m, scratch, mixed = (np.zeros_like(params) for _ in range(3))

    def step() -> None:
        np.multiply(m, rule.beta1, out=mixed)
        np.multiply(grads, 1.0 - rule.beta1, out=scratch)
        np.add(mixed, scratch, out=mixed)
        np.sign(mixed, out=mixed)
        np.multiply(mixed, rule.learn_rate, out=mixed)
        np.subtract(params, mixed, out=params)
        _average(m, grads, rule.beta2, scratch)

    return step


STEPS: dict[str, Callable[[Array, Array, Any], Step]] = {
    "SGD": sgd,
    "SGD with momentum": sgd,
    "Adam": adam,
    "AdamW": adam,
    "AMSGrad": adam,
    "NAdam": nadam,
    "RAdam": radam,
    "Adamax": adamax,
    "RMSprop": rmsprop,
    "Adagrad": adagrad,
    "Adadelta": adadelta,
    "Rprop": rprop,
    "Lion": lion,
}
