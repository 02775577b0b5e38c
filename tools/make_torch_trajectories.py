# SPDX-License-Identifier: MIT
# ruff: noqa: C408
"""Write tests/data/torch_trajectories.json: paths of PyTorch's optimizers, for tests/test_optim.py.

Needs ``torch`` (made with 2.13.0, CPU, float64). Run from the root of the repository::

    python tools/make_torch_trajectories.py

Each case names the optimizer and options of dualtape that must give the same path, the call of PyTorch that
gave it, and holds the parameters after some of 200 steps. Gradients are the formulas of PROBLEMS, evaluated
in the same order on both sides, so that only the optimizers are compared.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

STEPS = (1, 2, 3, 4, 6, 8, 12, 20, 40, 80, 120, 160, 200)  # whose results are kept
TARGET = Path(__file__).parent.parent / "tests" / "data" / "torch_trajectories.json"


def rosenbrock(x):
    """100 (x2 - x1^2)^2 + (1 - x1)^2."""
    a, b = x[1] - x[0] * x[0], 1.0 - x[0]
    return 100.0 * a * a + b * b, [-400.0 * a * x[0] - 2.0 * b, 200.0 * a]


def quadratic(x):
    """The sum of c_i x_i^2 / 2 with c from 0.01 to 100."""
    curvatures = [10.0 ** (4.0 * i / 9.0 - 2.0) for i in range(10)]
    pairs = list(zip(curvatures, x, strict=True))
    return sum(0.5 * c * v * v for c, v in pairs), [c * v for c, v in pairs]


PROBLEMS = {"rosenbrock": (rosenbrock, [-1.2, 1.0]), "quadratic": (quadratic, [1.0] * 10)}

# dualtape's optimizer and options; PyTorch's optimizer and options. Rates suit both problems.
CASES = [
    ("SGD", dict(learn_rate=1e-3), "SGD", dict(lr=1e-3)),
    ("SGD", dict(learn_rate=1e-3, momentum=0.9), "SGD", dict(lr=1e-3, momentum=0.9)),
    (
        "SGD",
        dict(learn_rate=1e-3, momentum=0.9, dampening=0.1),
        "SGD",
        dict(lr=1e-3, momentum=0.9, dampening=0.1),
    ),
    (
        "SGD",
        dict(learn_rate=5e-4, momentum=0.9, nesterov=True),
        "SGD",
        dict(lr=5e-4, momentum=0.9, nesterov=True),
    ),
    (
        "SGD",
        dict(learn_rate=1e-3, momentum=0.5, weight_decay=0.1),
        "SGD",
        dict(lr=1e-3, momentum=0.5, weight_decay=0.1),
    ),
    ("Adam", dict(learn_rate=0.02), "Adam", dict(lr=0.02)),
    (
        "Adam",
        dict(learn_rate=0.02, grad_decay=0.8, sq_grad_decay=0.99, epsilon=1e-6, weight_decay=0.1),
        "Adam",
        dict(lr=0.02, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1),
    ),
    ("Adam", dict(learn_rate=0.02, maximize=True), "Adam", dict(lr=0.02, maximize=True)),
    ("AdamW", dict(learn_rate=0.02), "AdamW", dict(lr=0.02)),
    ("AdamW", dict(learn_rate=0.02, weight_decay=0.5), "AdamW", dict(lr=0.02, weight_decay=0.5)),
    ("AMSGrad", dict(learn_rate=0.02), "Adam", dict(lr=0.02, amsgrad=True)),
    (
        "AMSGrad",
        dict(learn_rate=0.05, weight_decay=0.1, decoupled_weight_decay=True),
        "AdamW",
        dict(lr=0.05, weight_decay=0.1, amsgrad=True),
    ),
    ("NAdam", dict(learn_rate=0.02), "NAdam", dict(lr=0.02)),
    (
        "NAdam",
        dict(learn_rate=0.05, momentum_decay=0.01, weight_decay=0.1),
        "NAdam",
        dict(lr=0.05, momentum_decay=0.01, weight_decay=0.1),
    ),
    (
        "NAdam",
        dict(learn_rate=0.02, weight_decay=0.1, decoupled_weight_decay=True),
        "NAdam",
        dict(lr=0.02, weight_decay=0.1, decoupled_weight_decay=True),
    ),
    ("RAdam", dict(learn_rate=5e-4), "RAdam", dict(lr=5e-4)),
    (
        "RAdam",
        dict(learn_rate=5e-4, sq_grad_decay=0.9, weight_decay=0.1),
        "RAdam",
        dict(lr=5e-4, betas=(0.9, 0.9), weight_decay=0.1),
    ),
    (
        "RAdam",
        dict(learn_rate=5e-4, weight_decay=0.1, decoupled_weight_decay=True),
        "RAdam",
        dict(lr=5e-4, weight_decay=0.1, decoupled_weight_decay=True),
    ),
    ("Adamax", dict(learn_rate=0.02), "Adamax", dict(lr=0.02)),
    ("Adamax", dict(learn_rate=0.02, weight_decay=0.1), "Adamax", dict(lr=0.02, weight_decay=0.1)),
    ("RMSprop", dict(learn_rate=2e-3), "RMSprop", dict(lr=2e-3)),
    (
        "RMSprop",
        dict(learn_rate=5e-4, sq_grad_decay=0.95, momentum=0.5),
        "RMSprop",
        dict(lr=5e-4, alpha=0.95, momentum=0.5),
    ),
    ("RMSprop", dict(learn_rate=2e-3, centered=True), "RMSprop", dict(lr=2e-3, centered=True)),
    (
        "RMSprop",
        dict(learn_rate=1e-3, centered=True, momentum=0.5, weight_decay=0.1),
        "RMSprop",
        dict(lr=1e-3, centered=True, momentum=0.5, weight_decay=0.1),
    ),
    ("Adagrad", dict(learn_rate=0.1), "Adagrad", dict(lr=0.1)),
    (
        "Adagrad",
        dict(learn_rate=0.2, learn_rate_decay=0.01, initial_sum=0.1, weight_decay=0.1),
        "Adagrad",
        dict(lr=0.2, lr_decay=0.01, initial_accumulator_value=0.1, weight_decay=0.1),
    ),
    ("Adadelta", dict(learn_rate=1.0), "Adadelta", dict(lr=1.0)),
    (
        "Adadelta",
        dict(learn_rate=2.0, sq_grad_decay=0.8, weight_decay=0.1),
        "Adadelta",
        dict(lr=2.0, rho=0.8, weight_decay=0.1),
    ),
    ("Rprop", dict(learn_rate=0.01), "Rprop", dict(lr=0.01)),
    (
        "Rprop",
        dict(learn_rate=0.05, shrink_factor=0.3, grow_factor=1.1, min_step=1e-4, max_step=0.1),
        "Rprop",
        dict(lr=0.05, etas=(0.3, 1.1), step_sizes=(1e-4, 0.1)),
    ),
    (
        "LBFGS",
        dict(max_iterations=1, max_evaluations=25, line_search_method="strong-wolfe"),
        "LBFGS",
        dict(max_iter=1, max_eval=25, line_search_fn="strong_wolfe"),
    ),
    (
        "LBFGS",
        dict(learn_rate=0.5, max_iterations=4),
        "LBFGS",
        dict(lr=0.5, max_iter=4),
    ),
    ("LBFGS", dict(line_search_method="strong-wolfe"), "LBFGS", dict(line_search_fn="strong_wolfe")),
]


def trajectory(torch_name, options, problem):
    function, start = PROBLEMS[problem]
    x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, torch_name)([x], **options)

    def closure():
        loss, grads = function(x.detach().tolist())
        x.grad = torch.tensor(grads, dtype=torch.float64)
        return torch.tensor(loss, dtype=torch.float64)

    points = []
    for step in range(1, STEPS[-1] + 1):
        optimizer.step(closure)
        if step in STEPS:
            points.append(x.detach().tolist())
    return points


def main():
    torch.set_default_dtype(torch.float64)  # NAdam keeps its product of momenta in the default dtype
    cases = []
    for name, options, torch_name, torch_options in CASES:
        call = f"torch.optim.{torch_name}({', '.join(f'{k}={v!r}' for k, v in torch_options.items())})"
        for problem in PROBLEMS:
            points = trajectory(torch_name, torch_options, problem)
            cases.append({"optimizer": name, "options": options, "torch": call, "problem": problem, "points": points})
    rows = ",\n".join(json.dumps(case) for case in cases)
    head = json.dumps({"torch": torch.__version__.split("+")[0], "steps": STEPS})
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(f'{head[:-1]}, "cases": [\n{rows}\n]}}\n')
    print(f"{len(cases)} cases, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
