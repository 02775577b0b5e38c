# SPDX-License-Identifier: MIT
"""The frameworks' ways through `rates`: PyTorch on a tensor of all rates, JAX with vmap over a compiled loop.

Start with `jax_steps`, the two steps of one run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..model import Answer
from .rates import BETA1, BETA2, EPSILON, START, Task, initial
from .seed import loss


def torch(task: Task) -> Callable[[], Answer]:
    import torch

    torch.set_num_threads(1)
    rate = torch.from_numpy(task.rates())

    def gradient(x1: Any, x2: Any) -> Any:
        x1.requires_grad_()
        x2.requires_grad_()
        # The runs are independent, so the gradient of the sum has each one's in its place.
        return torch.autograd.grad(loss(x1, x2).sum(), (x1, x2))

    def run() -> Answer:
        x = [torch.full_like(rate, START), torch.full_like(rate, START)]
        m, v = ([torch.zeros_like(rate), torch.zeros_like(rate)] for _ in range(2))
        for t in range(1, task.iterations + 1):
            grads = gradient(*x)
            with torch.no_grad():
                if task.method == "descent":
                    x = [p - rate * g for p, g in zip(x, grads, strict=True)]
                    continue
                root = (1.0 - BETA2**t) ** 0.5
                for i, g in enumerate(grads):
                    m[i].lerp_(g, 1.0 - BETA1)
                    v[i].mul_(BETA2).addcmul_(g, g, value=1.0 - BETA2)
                    change = m[i] / (v[i].sqrt() + EPSILON * root)
                    x[i] = x[i] - rate * change.mul_(root / (1.0 - BETA1**t))
        return [p.detach().numpy() for p in x]

    return run


def jax_steps() -> dict[str, Callable[[Any, Any, Any], Any]]:
    """Return functions (state, rate, iteration from 1) -> state by the names of the methods."""
    import jax

    gradient = jax.grad(loss, (0, 1))

    def descent(state: Any, rate: Any, _: Any) -> Any:
        x1, x2 = state
        d1, d2 = gradient(x1, x2)
        return x1 - rate * d1, x2 - rate * d2

    def adam(state: Any, rate: Any, t: Any) -> Any:
        point, m, v = state
        grads = gradient(*point)
        m = tuple(BETA1 * a + (1.0 - BETA1) * g for a, g in zip(m, grads, strict=True))
        v = tuple(BETA2 * a + (1.0 - BETA2) * g * g for a, g in zip(v, grads, strict=True))
        root = jax.numpy.sqrt(1.0 - BETA2**t)
        factor = rate * root / (1.0 - BETA1**t)
        moved = (p - factor * a / (jax.numpy.sqrt(b) + EPSILON * root) for p, a, b in zip(point, m, v, strict=True))
        return tuple(moved), m, v

    return {"descent": descent, "Adam": adam}


def jax(task: Task) -> Callable[[], Answer]:
    import jax

    step = jax_steps()[task.method]

    def alone(rate: Any) -> Any:
        def body(t: Any, state: Any) -> Any:
            return step(state, rate, t + 1.0)

        return jax.lax.fori_loop(0, task.iterations, body, initial(task.method))

    train = jax.jit(jax.vmap(alone))
    rates = jax.numpy.asarray(task.rates())

    def run() -> Answer:
        state = jax.block_until_ready(train(rates))
        return state if task.method == "descent" else state[0]

    return run
