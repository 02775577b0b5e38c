# SPDX-License-Identifier: MIT
"""Optimizers that scale by squares of gradients, without a correction of bias: RMSprop, Adagrad, Adadelta."""

from __future__ import annotations

from dataclasses import dataclass

from ._base import LearnRate, Optimizer


@dataclass(frozen=True, repr=False)
class RMSprop(Optimizer):
    r"""RMSprop, with momentum and centered.

    .. math:: v \leftarrow \beta v + (1-\beta) g^2, \qquad
              b \leftarrow \mu b + \frac{g}{\sqrt{v} + \epsilon}, \qquad \theta \leftarrow \theta - \alpha b

    Centered, :math:`\sqrt v` becomes :math:`\sqrt{v - a^2}` with :math:`a \leftarrow \beta a + (1-\beta) g`.

    Parameters
    ----------
    learn_rate : float or callable
        :math:`\alpha`, at least 0; or a schedule, a function of the iteration.
    sq_grad_decay : float
        :math:`\beta`, in [0, 1).
    epsilon : float
        :math:`\epsilon`, at least 0.
    momentum : float
        :math:`\mu`, in [0, 1).
    centered : bool
        Scale by the estimated variance.
    {shared}

    Notes ----- PyTorch's definition (``torch.optim.RMSprop``); without momentum also MATLAB's, as a function
    :func:`dualtape.rmspropupdate` with other defaults. Epsilon is outside the root; TensorFlow and optax have
    it inside. TensorFlow's momentum has the learning rate inside. Where rounding makes :math:`v - a^2`
    negative PyTorch gives NaN, and this takes 0.
    """

    learn_rate: LearnRate = 0.01
    sq_grad_decay: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    def _choose_rule(self) -> str:
        return "rmsprop" + "_centered" * bool(self.centered) + "_momentum" * (self.momentum != 0)


@dataclass(frozen=True, repr=False)
class Adagrad(Optimizer):
    r"""Adagrad: divide by the root of the sum of all squared gradients.

    .. math:: s \leftarrow s + g^2, \qquad
              \theta \leftarrow \theta - \frac{\alpha}{1 + (t-1) \eta} \frac{g}{\sqrt s + \epsilon}

    Parameters
    ----------
    learn_rate : float or callable
        :math:`\alpha`, at least 0; or a schedule, a function of the iteration.
    epsilon : float
        :math:`\epsilon`, at least 0.
    learn_rate_decay : float
        :math:`\eta`, at least 0.
    initial_sum : float
        What :math:`s` is before the first iteration.
    {shared}

    Notes ----- PyTorch's definition (``torch.optim.Adagrad``), after Duchi et al. 2011. TensorFlow and optax
    start with a sum of 0.1 and have epsilon inside the root.
    """

    learn_rate: LearnRate = 0.01
    epsilon: float = 1e-10
    learn_rate_decay: float = 0.0
    initial_sum: float = 0.0

    _rule = "adagrad"


@dataclass(frozen=True, repr=False)
class Adadelta(Optimizer):
    r"""Adadelta: steps in the units of the parameters.

    .. math:: v \leftarrow \rho v + (1-\rho) g^2, \quad
              \Delta = \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}} g, \quad
              u \leftarrow \rho u + (1-\rho) \Delta^2, \qquad \theta \leftarrow \theta - \alpha \Delta

    Parameters
    ----------
    learn_rate : float or callable
        :math:`\alpha`, at least 0; or a schedule, a function of the iteration.
    sq_grad_decay : float
        :math:`\rho`, in [0, 1).
    epsilon : float
        :math:`\epsilon`, at least 0; it also sets the size of the first steps.
    {shared}

    Notes ----- PyTorch's definition (``torch.optim.Adadelta``). In Zeiler 2012 the learning rate is 1; Keras
    has 0.001, a decay of 0.95 and epsilon 1e-7.
    """

    learn_rate: LearnRate = 1.0
    sq_grad_decay: float = 0.9
    epsilon: float = 1e-6

    _rule = "adadelta"
