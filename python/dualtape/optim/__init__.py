# SPDX-License-Identifier: MIT
"""Optimizers: immutable sets of hyperparameters with three verbs.

Functional, as in optax::

    optimizer = dt.optim.Adam(learn_rate=0.01)
    state = optimizer.init(params)
    for batch in data:
        loss, grads = dt.value_and_grad(model_loss)(params, batch)
        params, state = optimizer.update(grads, state, params)

In place, for large parameters (the same numbers, bit for bit)::

    optimizer.apply_(params, grads, state)

``learn_rate`` is a number or a schedule: a function of the iteration (:mod:`dualtape.schedules`). All take
weight decay (coupled or decoupled), an L1 term, gradient clipping, and ``maximize``; the order is: check,
clip, turn around for ``maximize``, add L1 and L2 terms, shrink by decoupled decay, then the rule. Definitions
are PyTorch's where PyTorch has the optimizer; each docstring says so, and how other libraries differ.

:class:`LBFGS` needs the loss function rather than gradients; see there.

The rules are written once, in cpp/dualtape/optim/rules.hpp; start reading here at ``_base.py``.
"""

from ._adam import Adam, Adamax, AdamW, AMSGrad, NAdam, RAdam
from ._adaptive import Adadelta, Adagrad, RMSprop
from ._base import Optimizer
from ._descent import SGD, Lion, Rprop
from ._lbfgs import LBFGS

__all__ = [
    "LBFGS",
    "SGD",
    "AMSGrad",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
]
