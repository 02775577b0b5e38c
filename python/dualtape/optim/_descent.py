# SPDX-License-Identifier: MIT
"""Optimizers without a scale for each parameter's gradient: SGD, Lion, Rprop."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from ._base import LearnRate, Optimizer


@dataclass(frozen=True, repr=False)
class SGD(Optimizer):
    r"""Gradient descent, with momentum and Nesterov's momentum.

    .. math:: v \leftarrow \mu v + (1-\tau) g, \qquad
              \theta \leftarrow \theta - \alpha v \quad\text{or, with Nesterov,}\quad
              \theta \leftarrow \theta - \alpha (g + \mu v)

    In iteration 1 :math:`v = g`, whatever :math:`\tau` is.

    Parameters
    ----------
    learn_rate : float or callable
        :math:`\alpha`, at least 0; or a schedule, a function of the iteration.
    momentum : float
        :math:`\mu`, in [0, 1). With 0 there is no velocity and no state.
    dampening : float
        :math:`\tau`; 0 for Nesterov's momentum.
    nesterov : bool
        Look ahead by one step of momentum.
    {shared}

    Notes ----- PyTorch's definition (``torch.optim.SGD``). MATLAB and Caffe have the learning rate inside the
    velocity: :func:`dualtape.sgdmupdate`; with a constant rate that is the same. Sutskever et al. 2013 and
    TensorFlow write Nesterov's momentum with the rate inside as well.
    """

    learn_rate: LearnRate = 0.01
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                f"SGD(nesterov): Nesterov's momentum needs momentum above 0 and dampening 0; got "
                f"momentum={self.momentum!r}, dampening={self.dampening!r}; set momentum=0.9, for instance."
            )
        super().__post_init__()

    def _choose_rule(self) -> str:
        return "sgd" if self.momentum == 0 else "sgd_momentum"


@dataclass(frozen=True, repr=False)
class Lion(Optimizer):
    r"""Lion: the sign of an average of gradients.

    .. math:: \theta \leftarrow (1 - \alpha \lambda) \theta
                                - \alpha \operatorname{sign}(\beta_1 m + (1-\beta_1) g), \qquad
              m \leftarrow \beta_2 m + (1-\beta_2) g

    Parameters
    ----------
    learn_rate : float or callable
        :math:`\alpha`, at least 0; or a schedule. 3 to 10 times smaller than for Adam.
    grad_decay : float
        :math:`\beta_1`, in [0, 1): weighs the average against the gradient in the step.
    average_decay : float
        :math:`\beta_2`, in [0, 1): of the average itself.
    {shared}

    Notes ----- Chen et al. 2023, algorithm 2; optax has the same. PyTorch has no Lion. Weight decay
    (:math:`\lambda`) is decoupled unless asked otherwise.
    """

    learn_rate: LearnRate = 1e-4
    grad_decay: float = 0.9
    average_decay: float = 0.99
    _: KW_ONLY
    decoupled_weight_decay: bool = True

    _rule = "lion"


@dataclass(frozen=True, repr=False)
class Rprop(Optimizer):
    r"""Rprop: a step size for each parameter that grows while the gradient keeps its sign.

    .. math:: \Delta \leftarrow \operatorname{clip}(\eta \Delta), \quad
              \eta = \begin{cases} \eta_+ & g g_{t-1} > 0 \\ \eta_- & g g_{t-1} < 0 \\ 1 & \text{else}
              \end{cases}, \qquad \theta \leftarrow \theta - \operatorname{sign}(g) \Delta

    After a change of sign (:math:`g g_{t-1} < 0`) the parameter rests in this iteration, and the step size in
    the next.

    Parameters
    ----------
    learn_rate : float or callable
        The first step size.
    shrink_factor, grow_factor : float
        :math:`\eta_-` in [0, 1) and :math:`\eta_+`, at least 1.
    min_step, max_step : float
        Bounds of the step sizes.
    {shared}

    Notes ----- PyTorch's definition (``torch.optim.Rprop``), which is the variant iRprop- of Igel and Huesken
    2000. Riedmiller and Braun 1993 take back the last step after a change of sign (Rprop+). For full batches
    only.
    """

    learn_rate: LearnRate = 0.01
    shrink_factor: float = 0.5
    grow_factor: float = 1.2
    min_step: float = 1e-6
    max_step: float = 50.0

    _rule = "rprop"
