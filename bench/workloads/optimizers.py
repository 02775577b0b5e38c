# SPDX-License-Identifier: MIT
"""One step of every optimizer on 10^6 parameters: ours in place and functional, PyTorch, optax, NumPy, C++.

A step is a dozen flops on a handful of arrays, so memory decides: who makes temporaries loses.  Start with
`SETUPS`, the one table that says what each optimizer is called where.  The gradients stay the same from step
to step; what is checked is the parameters after three steps, against the plain-Python rules of
`reference.optim`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..model import Answer, Case, Competitor, Prepared, Unavailable
from ..native import Array, doubles, function, int64, pointer
from ..reference import optim as rules
from . import numpy_updates

STEPS = 3
BLOCK = 1000


@dataclass(frozen=True)
class Setup:
    """One optimizer: the rule that defines it, and its name and settings elsewhere (empty: not there)."""

    rule: rules.Optimizer
    ours: str
    ours_settings: dict[str, Any] = field(default_factory=dict)
    torch: str = ""
    torch_settings: dict[str, Any] = field(default_factory=dict)
    optax: str = ""
    optax_settings: dict[str, Any] = field(default_factory=dict)
    fused: bool = False  # whether PyTorch has one kernel for it on a CPU


_MOMENTUM = {"momentum": 0.9}
SETUPS = {
    "SGD": Setup(rules.SGD(1e-2), "SGD", {}, "SGD", {"lr": 1e-2}, fused=True),
    "SGD with momentum": Setup(
        rules.SGD(1e-2, 0.9), "SGD", _MOMENTUM, "SGD", {"lr": 1e-2, **_MOMENTUM}, "sgd", _MOMENTUM, True
    ),
    "Adam": Setup(rules.Adam(1e-2), "Adam", {}, "Adam", {"lr": 1e-2}, "adam", {}, True),
    "AdamW": Setup(rules.AdamW(1e-2), "AdamW", {}, "AdamW", {"lr": 1e-2}, "adamw", {"weight_decay": 0.01}, True),
    "AMSGrad": Setup(rules.Adam(1e-2, amsgrad=True), "AMSGrad", {}, "Adam", {"lr": 1e-2, "amsgrad": True}, fused=True),
    "NAdam": Setup(rules.NAdam(1e-2), "NAdam", {}, "NAdam", {"lr": 1e-2}),
    "RAdam": Setup(rules.RAdam(1e-2), "RAdam", {}, "RAdam", {"lr": 1e-2}),
    "Adamax": Setup(rules.Adamax(1e-2), "Adamax", {}, "Adamax", {"lr": 1e-2}),
    "RMSprop": Setup(rules.RMSprop(1e-2), "RMSprop", {}, "RMSprop", {"lr": 1e-2}),
    "Adagrad": Setup(rules.Adagrad(1e-2), "Adagrad", {}, "Adagrad", {"lr": 1e-2}, fused=True),
    "Adadelta": Setup(rules.Adadelta(1e-2), "Adadelta", {}, "Adadelta", {"lr": 1e-2}),
    "Rprop": Setup(rules.Rprop(1e-2), "Rprop", {}, "Rprop", {"lr": 1e-2}),
    "Lion": Setup(rules.Lion(1e-2), "Lion", {}, optax="lion", optax_settings={"weight_decay": 0.0}),
}


def inputs(size: int) -> tuple[Array, Array]:
    """Return parameters and gradients: a block of random numbers, repeated."""
    rng = np.random.default_rng(11)
    return np.resize(rng.standard_normal(BLOCK), size), np.resize(rng.standard_normal(BLOCK), size)


def reference(setup: Setup, size: int) -> Array:
    """Return the parameters after the steps, number by number in plain Python."""
    result = []
    for param, grad in zip(*(a[:BLOCK].tolist() for a in inputs(size)), strict=True):
        state = setup.rule.init(param)
        for _ in range(STEPS):
            param, state = setup.rule.update(param, grad, state)
        result.append(param)
    return np.resize(result, size)


def _moving(start: Callable[[], tuple[Callable[[], Any], Callable[[], Answer]]]) -> Prepared:
    """Prepare one whose steps change its state: `start` gives a step and a look at the parameters."""
    step, _ = start()

    def answer() -> Answer:
        fresh, look = start()
        for _ in range(STEPS):
            fresh()
        return look()

    return Prepared(step, answer)


def dualtape_in_place(setup: Setup, size: int) -> Prepared:
    import dualtape as dt

    def start() -> tuple[Callable[[], Any], Callable[[], Answer]]:
        params, grads = (dt.dlarray(a) for a in inputs(size))
        optimizer = getattr(dt.optim, setup.ours)(learn_rate=1e-2, **setup.ours_settings)
        state = optimizer.init(params)
        return lambda: optimizer.apply_(params, grads, state), lambda: dt.extractdata(params)

    return _moving(start)


def dualtape_functional(setup: Setup, size: int) -> Prepared:
    import dualtape as dt

    def start() -> tuple[Callable[[], Any], Callable[[], Answer]]:
        params, grads = (dt.dlarray(a) for a in inputs(size))
        optimizer = getattr(dt.optim, setup.ours)(learn_rate=1e-2, **setup.ours_settings)
        state = optimizer.init(params)

        def step() -> None:
            nonlocal params, state
            params, state = optimizer.update(grads, state, params)

        return step, lambda: dt.extractdata(params)

    return _moving(start)


def torch(setup: Setup, size: int, fused: bool) -> Prepared:
    import torch

    if not setup.torch:
        raise Unavailable("PyTorch has no Lion")
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # else NAdam keeps the product of its momenta in float32
    settings = {**setup.torch_settings, "fused": True} if fused else setup.torch_settings

    def start() -> tuple[Callable[[], Any], Callable[[], Answer]]:
        values, grads = inputs(size)
        params = torch.from_numpy(values).requires_grad_()
        params.grad = torch.from_numpy(grads)
        optimizer = getattr(torch.optim, setup.torch)([params], **settings)
        return optimizer.step, lambda: params.detach().numpy()

    return _moving(start)


def optax(setup: Setup, size: int) -> Prepared:
    import jax
    import optax

    def start() -> tuple[Callable[[], Any], Callable[[], Answer]]:
        params, grads = (jax.numpy.asarray(a) for a in inputs(size))
        optimizer = getattr(optax, setup.optax)(1e-2, **setup.optax_settings)
        state = optimizer.init(params)

        def update(params: Any, state: Any) -> Any:
            updates, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        compiled = jax.jit(update, donate_argnums=(0, 1))  # the old arrays are written over

        def step() -> None:
            nonlocal params, state
            params, state = jax.block_until_ready(compiled(params, state))

        return step, lambda: params

    return _moving(start)


def numpy(setup: Setup, name: str, size: int) -> Prepared:
    def start() -> tuple[Callable[[], Any], Callable[[], Answer]]:
        params, grads = inputs(size)
        step = numpy_updates.STEPS[name](params, grads, setup.rule)
        return step, lambda: params

    return _moving(start)


def native(name: str, size: int) -> Prepared:
    call = function("optimizers", name.lower().replace(" ", "_"), int64, int64, *[doubles] * 5)

    def start() -> tuple[Callable[[], Any], Callable[[], Answer]]:
        arrays = (*inputs(size), np.zeros(size), np.zeros(size), np.zeros(size))
        addresses = [pointer(a) for a in arrays]
        iteration = 0

        def step() -> None:
            nonlocal iteration
            iteration += 1
            call(size, iteration, *addresses)

        return step, lambda: arrays[0]

    return _moving(start)


def cases(quick: bool) -> list[Case]:
    """A case for each optimizer; a quick run takes 10^5 parameters."""
    size = 10**5 if quick else 10**6
    return [_case(name, setup, size) for name, setup in SETUPS.items()]


def _case(name: str, setup: Setup, size: int) -> Case:
    competitors = [
        Competitor("dualtape, in place", lambda: dualtape_in_place(setup, size), ours=True),
        Competitor("dualtape, functional", lambda: dualtape_functional(setup, size), ours=True),
        Competitor("NumPy, in place", lambda: numpy(setup, name, size), "by hand"),
        Competitor("C++", lambda: native(name, size), "by hand"),
    ]
    if setup.torch:
        competitors.insert(2, Competitor("PyTorch", lambda: torch(setup, size, False)))
    if setup.fused:
        competitors.insert(3, Competitor("PyTorch fused", lambda: torch(setup, size, True)))
    if setup.optax:
        competitors.insert(-2, Competitor("optax", lambda: optax(setup, size), "compiled"))
    return Case(
        f"{name} update",
        size,
        "parameter",
        lambda: reference(setup, size),
        competitors,
        rtol=1e-11,
        atol=1e-11,
        featured=name in ("SGD with momentum", "Adam", "RMSprop"),
    )
