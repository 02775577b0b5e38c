# SPDX-License-Identifier: MIT
"""Write tests/data/torch_functions.json: what PyTorch says of losses and layers, for tests/test_training_functions.py.

PyTorch is no requirement of dualtape. Run this where it is installed, after a change of the cases below:

    python tools/make_torch_functions.py

Each case has its inputs, the result, and the gradients of sum(result * weights) with respect to the inputs, where
weights[k] = cos(k). Everything is float64.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

TARGET = Path(__file__).parent.parent / "tests" / "data" / "torch_functions.json"


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).round(3)


X, T, ROW = numbers(5, 3), numbers(5, 3, seed=1), [0.5, -1.0, 2.0]
IMAGE = numbers(2, 3, 4, 2, seed=2)  # B, C, S, S
ONE_HOT = np.eye(3)[[0, 2, 1, 1, 0]]
CLASSES = torch.tensor([0, 2, 1, 1, 0])
WEIGHTS = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
SHIFT, SCALE = [0.1, -0.2, 0.3], [1.5, 0.5, -1.0]
STATISTICS = [0.2, -0.1, 0.4], [0.5, 1.5, 2.0]


def network(x: Any, w1: Any, b1: Any, shift: Any, scale: Any, kept: Any, w2: Any, b2: Any) -> torch.Tensor:
    """The layers of examples/digits_batchnorm.py in training, with a given dropout of a quarter, and their loss."""
    hidden = F.batch_norm(F.linear(x, w1, b1), None, None, scale, shift, training=True)
    scores = F.linear(F.relu(hidden) * kept / 0.75, w2, b2)
    return F.cross_entropy(scores, torch.tensor(ONE_HOT), reduction="sum") / len(x)


CASES: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "mse": (lambda y, t: F.mse_loss(y, t, reduction="sum") / (2 * len(y)), [X, T]),
    "l2loss": (lambda y, t: F.mse_loss(y, t, reduction="sum") / len(y), [X, T]),
    "l1loss": (lambda y, t: F.l1_loss(y, t, reduction="sum") / len(y), [X, T]),
    "huber": (lambda y, t: F.smooth_l1_loss(y, t, reduction="sum") / len(y), [X, T]),
    "huber 0.5": (lambda y, t: F.huber_loss(y, t, delta=0.5, reduction="sum") / len(y), [X, T]),
    "crossentropy": (lambda x: F.cross_entropy(x, torch.tensor(ONE_HOT), reduction="sum") / len(x), [X]),
    "indexcrossentropy": (lambda x: F.cross_entropy(x, CLASSES, weight=WEIGHTS, reduction="sum") / len(x), [X]),
    "multilabel": (
        lambda x: F.binary_cross_entropy_with_logits(x, torch.tensor(ONE_HOT), reduction="sum") / len(x),
        [X],
    ),
    "softmax": (lambda x: F.softmax(x, -1), [X]),
    "log_softmax": (lambda x: F.log_softmax(x, -1), [X]),
    "relu": (F.relu, [X]),
    "leakyrelu": (lambda x: F.leaky_relu(x, 0.1), [X]),
    "gelu": (F.gelu, [X]),
    "sigmoid": (torch.sigmoid, [X]),
    "swish": (F.silu, [X]),
    "fullyconnect": (lambda x, w, b: F.linear(x, w, b), [X, numbers(4, 3, seed=3), numbers(4, seed=4)]),
    "batchnorm": (lambda x, b, w: F.batch_norm(x, None, None, w, b, training=True), [X, SHIFT, SCALE]),
    "batchnorm of images": (lambda x, b, w: F.batch_norm(x, None, None, w, b, training=True), [IMAGE, SHIFT, SCALE]),
    "batchnorm for inference": (
        lambda x, b, w, m, v: F.batch_norm(x, m.detach(), v.detach(), w, b, training=False),
        [X, SHIFT, SCALE, *STATISTICS],
    ),
    "network": (
        network,
        [
            X,
            numbers(4, 3, seed=5),
            numbers(4, seed=6),
            [0.1, -0.2, 0.3, 0.4],
            [1.5, 0.5, -1.0, 2.0],
            numbers(5, 4, seed=9) > -0.7,
            numbers(3, 4, seed=7),
            numbers(3, seed=8),
        ],
    ),
    "layernorm": (lambda x, b, w: F.layer_norm(x, (3,), w, b), [X, SHIFT, SCALE]),
    "layernorm of images": (
        lambda x, b, w: F.layer_norm(x, (3, 4, 2)) * w[:, None, None] + b[:, None, None],
        [IMAGE, SHIFT, SCALE],
    ),
}


def main() -> None:
    """Write the file."""
    torch.set_default_dtype(torch.float64)
    cases = {}
    for name, (f, inputs) in CASES.items():
        tensors = [torch.tensor(np.asarray(x, dtype=float), requires_grad=True) for x in inputs]
        y = f(*tensors)
        (y.reshape(-1) * torch.cos(torch.arange(y.numel(), dtype=torch.float64))).sum().backward()
        cases[name] = {
            "inputs": [t.tolist() for t in tensors],
            "result": y.tolist(),
            "gradients": [t.grad.tolist() if t.grad is not None else None for t in tensors],
        }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    TARGET.write_text(f'{{"torch": {json.dumps(torch.__version__)}, "cases": {{\n{lines}\n}}}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
