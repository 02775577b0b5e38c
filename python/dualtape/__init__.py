# SPDX-License-Identifier: MIT
"""dualtape: write the training loop in Python, watch it step by step, at the speed of a C++ core.

Three vocabularies over one core:

* MATLAB's verbs of custom training loops: `dlarray`, `dlfeval`, `dlgradient`, `extractdata`, `adamupdate`, ...
* functional transformations: `grad`, `value_and_grad`, `jvp`, `vjp`, `jacfwd`, `jacrev`, `hessian`, ...
* NumPy's names in `dualtape.numpy`, and NumPy's own functions on dlarrays.

``dualtape.optim``, ``dualtape.schedules`` and ``dualtape.plots`` hold optimizers, learning rates and pictures. Their
code runs when they are first used, so that importing the package stays quick.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from dualtape import tree
from dualtape._core import (
    DTypeError,
    Dual,
    Error,
    GradientError,
    NumericError,
    ShapeError,
    TapeError,
    TraceError,
    __version__,
    dlarray,
    dlfeval,
    dlgradient,
    extractdata,
    from_dlpack,
    stop_gradient,
)
from dualtape._execution import Execution
from dualtape.accelerate import AcceleratedFunction, dlaccelerate
from dualtape.checking import check_grads
from dualtape.classes import onehotdecode, onehotencode
from dualtape.custom import checkpoint, custom_jvp, custom_vjp
from dualtape.forward import jacfwd, jvp, linearize
from dualtape.functions import (
    fullyconnect,
    gelu,
    leakyrelu,
    log_softmax,
    logsumexp,
    relu,
    sigmoid,
    softmax,
    softplus,
    swish,
)
from dualtape.hessians import hessian, hvp
from dualtape.implicit import fixed_point, root
from dualtape.labels import dims, finddim, isdlarray, stripdims
from dualtape.lbfgs import LbfgsState, lbfgsupdate
from dualtape.loops import Over, Run, Runs, grid, loop, points, sweep
from dualtape.losses import crossentropy, huber, indexcrossentropy, l1loss, l2loss, mse
from dualtape.minibatches import minibatchqueue
from dualtape.normalization import batchnorm, dropout, layernorm
from dualtape.operators import dldivergence, dljacobian, dllaplacian
from dualtape.program import Program, trace
from dualtape.reverse import grad, jacrev, value_and_grad, vjp
from dualtape.rolled import fori_loop, scan, while_loop
from dualtape.updates import (
    adamupdate,
    dlupdate,
    l1_regularize,
    l2_regularize,
    rmspropupdate,
    sgdmupdate,
    threshold_absolute_value,
    threshold_global_l2norm,
    threshold_l2norm,
)

if TYPE_CHECKING:
    from dualtape import initializers, numpy, optim, plots, random, schedules, scipy
else:

    def _later(name: str) -> ModuleType:
        """A module of the package whose code runs when it is first used, so that importing dualtape stays quick.

        Names are not looked up by a module-level ``__getattr__``, because the interpreter cannot cache attributes of
        a module that has one, and ``dt.dlfeval`` stands in the innermost loops.
        """
        spec = importlib.util.find_spec(f"dualtape.{name}")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    initializers, numpy, optim, plots, random, schedules, scipy = map(
        _later, ("initializers", "numpy", "optim", "plots", "random", "schedules", "scipy")
    )

__all__ = [  # noqa: RUF022 - in the order of the documentation
    # MATLAB's verbs
    "dlarray",
    "extractdata",
    "from_dlpack",
    "dlfeval",
    "dlgradient",
    "dljacobian",
    "dldivergence",
    "dllaplacian",
    "dims",
    "stripdims",
    "finddim",
    "isdlarray",
    # programs and loops
    "dlaccelerate",
    "AcceleratedFunction",
    "trace",
    "Program",
    "loop",
    "sweep",
    "grid",
    "points",
    "Over",
    "Run",
    "Runs",
    "Execution",
    # updates
    "dlupdate",
    "sgdmupdate",
    "adamupdate",
    "rmspropupdate",
    "lbfgsupdate",
    "LbfgsState",
    "threshold_l2norm",
    "threshold_global_l2norm",
    "threshold_absolute_value",
    "l1_regularize",
    "l2_regularize",
    # transformations
    "grad",
    "value_and_grad",
    "jvp",
    "vjp",
    "jacfwd",
    "jacrev",
    "hessian",
    "hvp",
    "linearize",
    "stop_gradient",
    "custom_jvp",
    "custom_vjp",
    "checkpoint",
    "check_grads",
    "root",
    "fixed_point",
    "Dual",
    # loops that stay rolled
    "scan",
    "fori_loop",
    "while_loop",
    # functions
    "mse",
    "l1loss",
    "l2loss",
    "huber",
    "crossentropy",
    "indexcrossentropy",
    "batchnorm",
    "layernorm",
    "dropout",
    "onehotencode",
    "onehotdecode",
    "minibatchqueue",
    "fullyconnect",
    "gelu",
    "leakyrelu",
    "log_softmax",
    "logsumexp",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    "swish",
    # modules
    "initializers",
    "numpy",
    "optim",
    "plots",
    "random",
    "schedules",
    "scipy",
    "tree",
    # errors
    "Error",
    "ShapeError",
    "DTypeError",
    "TraceError",
    "TapeError",
    "GradientError",
    "NumericError",
    "__version__",
]
