# SPDX-License-Identifier: MIT
"""dualtape: write the training loop in Python, watch it step by step, at the speed of a C++ core.

Three vocabularies over one core:

* MATLAB's verbs of custom training loops: `dlarray`, `dlfeval`, `dlgradient`, `extractdata`, `adamupdate`, ...
* functional transformations: `grad`, `value_and_grad`, `jvp`, `vjp`, `jacfwd`, `jacrev`, `hessian`, ...
* NumPy's names in `dualtape.numpy`, and NumPy's own functions on dlarrays.

``dualtape.optim``, ``dualtape.schedules`` and ``dualtape.plots`` hold optimizers, learning rates and pictures. They are
imported when first used, so that importing the package stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
    stop_gradient,
)
from dualtape.forward import jacfwd, jvp, linearize
from dualtape.hessians import hessian, hvp
from dualtape.reverse import grad, jacrev, value_and_grad, vjp

if TYPE_CHECKING:
    from dualtape import numpy, optim, plots, schedules, scipy, tree
    from dualtape.checking import check_grads
    from dualtape.custom import checkpoint, custom_jvp, custom_vjp
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
    )
    from dualtape.labels import dims, finddim, isdlarray, stripdims
    from dualtape.lbfgs import LbfgsState, lbfgsupdate
    from dualtape.operators import dldivergence, dljacobian, dllaplacian
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

# Where each name that is imported on first use comes from; the same names as above.
_LAZY = {
    **dict.fromkeys(("numpy", "optim", "plots", "schedules", "scipy", "tree"), None),
    **dict.fromkeys(("check_grads",), "checking"),
    **dict.fromkeys(("checkpoint", "custom_jvp", "custom_vjp"), "custom"),
    **dict.fromkeys(
        (
            "fullyconnect",
            "gelu",
            "leakyrelu",
            "log_softmax",
            "logsumexp",
            "relu",
            "sigmoid",
            "softmax",
            "softplus",
        ),
        "functions",
    ),
    **dict.fromkeys(("dims", "finddim", "isdlarray", "stripdims"), "labels"),
    **dict.fromkeys(("LbfgsState", "lbfgsupdate"), "lbfgs"),
    **dict.fromkeys(("dldivergence", "dljacobian", "dllaplacian"), "operators"),
    **dict.fromkeys(
        (
            "adamupdate",
            "dlupdate",
            "l1_regularize",
            "l2_regularize",
            "rmspropupdate",
            "sgdmupdate",
            "threshold_absolute_value",
            "threshold_global_l2norm",
            "threshold_l2norm",
        ),
        "updates",
    ),
}

__all__ = [  # noqa: RUF022 - in the order of the documentation
    # MATLAB's verbs
    "dlarray",
    "extractdata",
    "dlfeval",
    "dlgradient",
    "dljacobian",
    "dldivergence",
    "dllaplacian",
    "dims",
    "stripdims",
    "finddim",
    "isdlarray",
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
    "Dual",
    # functions
    "fullyconnect",
    "gelu",
    "leakyrelu",
    "log_softmax",
    "logsumexp",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    # modules
    "numpy",
    "optim",
    "plots",
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


def __getattr__(name: str) -> Any:
    try:
        module = _LAZY[name]
    except KeyError:
        raise AttributeError(f"module 'dualtape' has no attribute {name!r}") from None
    if module is None:
        return importlib.import_module(f"dualtape.{name}")
    value = getattr(importlib.import_module(f"dualtape.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))
