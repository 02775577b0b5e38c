# SPDX-License-Identifier: MIT
"""The reference: automatic differentiation and the update rules in plain Python, for scalars.

It is what dualtape is measured against, and an oracle for its tests: no arrays, no C, nothing but
`math`, written to be read.  Where to start:

* `rules`: every function with its partials, once, written so that any number may pass through it;
* `dual`: forward mode, of any order;
* `tape`: reverse mode, and Hessians as forward over reverse;
* `updates`: sgdm, adam, rmsprop as MATLAB's custom training loops have them;
* `optim`: the optimizers with PyTorch's definitions; `lbfgs` is the one that needs more than one scalar.

The seed of the project, one descent on the Rosenbrock-like function of the blog post::

    from bench.reference import tape

    x1 = x2 = 2.0
    for _ in range(100):
        loss, (d1, d2) = tape.value_and_grad(lambda x1, x2: (x2 - x1**2) ** 2 + (1 - x1) ** 2)(x1, x2)
        x1, x2 = x1 - 0.1 * d1, x2 - 0.1 * d2
"""

from . import dual, lbfgs, optim, rules, special, tape, updates

__all__ = ["dual", "lbfgs", "optim", "rules", "special", "tape", "updates"]
