# SPDX-License-Identifier: MIT
"""The frameworks' ways through `training`: JAX with all steps in a scan, PyTorch eager.

JAX picks the minibatches inside the scan; the data are in place beforehand. Start with `jax`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..model import Answer
from .digits import BATCH, RATE, Params, initial
from .training import narrow, observations, rates


def jax_train(steps: int) -> Callable[[Params, Any], Any]:
    """Return a function (params, rate) -> params after so many steps."""
    import jax

    images, targets = (jax.numpy.asarray(a).reshape(-1, BATCH, a.shape[1]) for a in observations())

    def loss(params: Params, x: Any, y: Any) -> Any:
        scores = jax.numpy.tanh(x @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]
        return -(jax.nn.log_softmax(scores) * y).sum() / BATCH

    def train(params: Params, rate: Any) -> Any:
        def step(state: Any, k: Any) -> Any:
            params, m, v = state
            grads = jax.grad(loss)(params, images[k % len(images)], targets[k % len(images)])
            m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
            v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
            root = jax.numpy.sqrt(1.0 - 0.999 ** (k + 1.0))
            factor = rate * root / (1.0 - 0.9 ** (k + 1.0))
            params = jax.tree.map(lambda p, a, b: p - factor * a / (jax.numpy.sqrt(b) + 1e-8 * root), params, m, v)
            return (params, m, v), None

        zeros = jax.tree.map(jax.numpy.zeros_like, params)
        return jax.lax.scan(step, (params, zeros, zeros), jax.numpy.arange(steps))[0][0]

    return train


def jax(steps: int) -> Callable[[], Answer]:
    import jax

    train = jax.jit(jax_train(steps))
    params = {name: jax.numpy.asarray(value) for name, value in initial().items()}
    return lambda: jax.block_until_ready(train(params, RATE))


def jax_many(networks: int, steps: int) -> Callable[[], Answer]:
    import jax

    train = jax.jit(jax.vmap(jax_train(steps), (None, 0)))
    params = {name: jax.numpy.asarray(value) for name, value in narrow().items()}
    rate = jax.numpy.asarray(rates(networks))
    return lambda: jax.block_until_ready(train(params, rate))


def torch(steps: int) -> Callable[[], Answer]:
    import torch

    torch.set_num_threads(1)
    images, targets = (torch.from_numpy(a).split(BATCH) for a in observations())
    labels = [y.argmax(dim=1) for y in targets]

    def run() -> Answer:
        params = [torch.from_numpy(value.copy()).requires_grad_() for value in initial().values()]
        optimizer = torch.optim.Adam(params, lr=RATE)
        w1, b1, w2, b2 = params
        for k in range(steps):
            optimizer.zero_grad()
            scores = torch.tanh(images[k % len(images)] @ w1 + b1) @ w2 + b2
            torch.nn.functional.cross_entropy(scores, labels[k % len(images)]).backward()
            optimizer.step()
        return {name: p.detach().numpy() for name, p in zip(initial(), params, strict=True)}

    return run


def torch_many(networks: int, steps: int) -> Callable[[], Answer]:
    import torch

    torch.set_num_threads(1)
    images, targets = (torch.from_numpy(a).split(BATCH) for a in observations())
    rate = torch.from_numpy(rates(networks))[:, None, None]

    def run() -> Answer:
        # Rows for the biases, so that everything has the network, a row and a column.
        leaves = [torch.atleast_2d(torch.from_numpy(value)).expand(networks, -1, -1) for value in narrow().values()]
        params = [leaf.clone().requires_grad_() for leaf in leaves]
        m, v = ([torch.zeros_like(p) for p in params] for _ in range(2))
        for k in range(steps):
            w1, b1, w2, b2 = params
            scores = torch.tanh(images[k % len(images)] @ w1 + b1) @ w2 + b2
            chosen = torch.log_softmax(scores, dim=2) * targets[k % len(images)]
            grads = torch.autograd.grad(-chosen.sum() / BATCH, params)
            root = (1.0 - 0.999 ** (k + 1)) ** 0.5
            with torch.no_grad():
                for p, g, a, b in zip(params, grads, m, v, strict=True):
                    a.lerp_(g, 0.1)
                    b.mul_(0.999).addcmul_(g, g, value=0.001)
                    p -= rate * (root / (1.0 - 0.9 ** (k + 1))) * a / (b.sqrt() + 1e-8 * root)
        return {name: p.detach().numpy() for name, p in zip(initial(), params, strict=True)}

    return run
