# SPDX-License-Identifier: MIT
"""The frameworks' ways through `digits`: PyTorch eager, JAX step by step.

Start with `torch`: what its tutorials would write, with the data in place beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..model import Answer, Prepared
from .digits import BATCH, RATE, Params, Step, batches_as, initial, one_hot, stepping


def torch(fused: bool) -> Prepared:
    import torch

    torch.set_num_threads(1)
    batches = batches_as(lambda x, labels: (torch.from_numpy(x), torch.from_numpy(labels)))

    def start() -> tuple[Step, Callable[[], Answer]]:
        params = {name: torch.from_numpy(value).requires_grad_() for name, value in initial().items()}
        optimizer = torch.optim.Adam(params.values(), lr=RATE, fused=fused)
        w1, b1, w2, b2 = params.values()

        def step(k: int) -> None:
            x, labels = batches[k % len(batches)]
            optimizer.zero_grad()
            scores = torch.tanh(x @ w1 + b1) @ w2 + b2
            loss = torch.nn.functional.cross_entropy(scores, labels)
            loss.backward()
            optimizer.step()

        return step, lambda: {name: value.detach().numpy() for name, value in params.items()}

    return stepping(start)


def jax_update() -> tuple[Any, Callable[..., Any]]:
    """Return optax's Adam and a function (params, state, x, targets) -> (params, state)."""
    import jax
    import optax

    def loss(params: Params, x: Any, targets: Any) -> Any:
        scores = jax.numpy.tanh(x @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]
        return -(jax.nn.log_softmax(scores) * targets).sum() / BATCH

    optimizer = optax.adam(RATE)

    def update(params: Any, state: Any, x: Any, targets: Any) -> Any:
        grads = jax.grad(loss)(params, x, targets)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return optimizer, update


def _to_jax(x: Any, labels: Any) -> tuple[Any, Any]:
    import jax

    return jax.numpy.asarray(x), jax.numpy.asarray(one_hot(labels))


def jax_each() -> Prepared:
    import jax

    batches = batches_as(_to_jax)
    optimizer, update = jax_update()
    compiled = jax.jit(update, donate_argnums=(0, 1))

    def start() -> tuple[Step, Callable[[], Answer]]:
        params = {name: jax.numpy.asarray(value) for name, value in initial().items()}
        state = optimizer.init(params)

        def step(k: int) -> None:
            nonlocal params, state
            params, state = jax.block_until_ready(compiled(params, state, *batches[k % len(batches)]))

        return step, lambda: params

    return stepping(start)
