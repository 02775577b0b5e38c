# SPDX-License-Identifier: MIT
"""The family of Adam: Adam, AdamW, AMSGrad, NAdam, RAdam, Adamax.

All keep :math:`m \\leftarrow \\beta_1 m + (1-\\beta_1) g` and, except Adamax,
:math:`v \\leftarrow \\beta_2 v + (1-\\beta_2) g^2`, and write :math:`\\hat m = m / (1-\\beta_1^t)` and
:math:`\\hat v = v / (1-\\beta_2^t)` for the averages with their bias corrected.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from ._base import LearnRate, Optimizer


@dataclass(frozen=True, repr=False)
class Adam(Optimizer):
    r"""Adam.

    .. math:: \theta \leftarrow \theta - \alpha \frac{\hat m}{\sqrt{\hat v} + \epsilon}

    with :math:`m \leftarrow \beta_1 m + (1-\beta_1) g`, :math:`v \leftarrow \beta_2 v + (1-\beta_2) g^2`,
    :math:`\hat m = m / (1-\beta_1^t)`, :math:`\hat v = v / (1-\beta_2^t)`.

    Parameters
    ----------
    learn_rate : float or callable
        :math:`\alpha`, at least 0; or a schedule, a function of the iteration.
    grad_decay, sq_grad_decay : float
        :math:`\beta_1` and :math:`\beta_2`, in [0, 1).
    epsilon : float
        :math:`\epsilon`, at least 0.
    epsilon_mode : {"standard", "hat"}
        "standard" is the formula above. "hat" adds epsilon to :math:`\sqrt v` before the correction of bias.
    {shared}

    Notes ----- Kingma and Ba 2015, algorithm 1; PyTorch (``torch.optim.Adam``) and optax have the same.
    TensorFlow has "hat". The same rule as a function: :func:`dualtape.adamupdate`.
    """

    learn_rate: LearnRate = 0.001
    grad_decay: float = 0.9
    sq_grad_decay: float = 0.999
    epsilon: float = 1e-8
    epsilon_mode: str = "standard"

    _rule = "adam"

    def __post_init__(self) -> None:
        if self.epsilon_mode not in ("standard", "hat"):
            raise ValueError(
                f"{type(self).__name__}(epsilon_mode): unknown mode; got {self.epsilon_mode!r}; use "
                "'standard' or 'hat'."
            )
        super().__post_init__()

    @property
    def epsilon_hat(self) -> float:
        """1.0 for epsilon_mode "hat": what the core calls it."""
        return float(self.epsilon_mode == "hat")


@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    r"""Adam with decoupled weight decay.

    .. math:: \theta \leftarrow (1 - \alpha \lambda) \theta - \alpha \frac{\hat m}{\sqrt{\hat v} + \epsilon}

    with the averages of :class:`Adam`.

    Parameters
    ----------
    learn_rate : float or callable
        :math:`\alpha`, at least 0; or a schedule, a function of the iteration.
    grad_decay, sq_grad_decay : float
        :math:`\beta_1` and :math:`\beta_2`, in [0, 1).
    epsilon : float
        :math:`\epsilon`, at least 0.
    epsilon_mode : {"standard", "hat"}
        As in :class:`Adam`.
    {shared}

    Notes ----- PyTorch's definition (``torch.optim.AdamW``, also its default 0.01). Loshchilov and Hutter
    2019 shrink by :math:`\eta_t \lambda` with a schedule multiplier :math:`\eta_t`, without the learning rate
    :math:`\alpha`.
    """

    _: KW_ONLY
    weight_decay: float = 0.01
    decoupled_weight_decay: bool = True


@dataclass(frozen=True, repr=False)
class AMSGrad(Optimizer):
    r"""Adam with the largest average of squares so far.

    .. math:: v_{max} \leftarrow \max(v_{max}, v), \qquad
              \theta \leftarrow \theta - \alpha \frac{\hat m}{\sqrt{v_{max} / (1-\beta_2^t)} + \epsilon}

    with the averages of :class:`Adam`.

    Parameters
    ----------
    learn_rate : float or callable
        :math:`\alpha`, at least 0; or a schedule, a function of the iteration.
    grad_decay, sq_grad_decay : float
        :math:`\beta_1` and :math:`\beta_2`, in [0, 1).
    epsilon : float
        :math:`\epsilon`, at least 0.
    {shared}

    Notes ----- PyTorch's definition (``torch.optim.Adam(amsgrad=True)``; with decoupled_weight_decay its
    AdamW): the largest of the uncorrected averages, corrected afterwards. Reddi et al. 2018 correct no bias
    at all; optax takes the largest of the corrected averages.
    """

    learn_rate: LearnRate = 0.001
    grad_decay: float = 0.9
    sq_grad_decay: float = 0.999
    epsilon: float = 1e-8

    _rule = "amsgrad"


@dataclass(frozen=True, repr=False)
class NAdam(Optimizer):
    r"""Adam with Nesterov's momentum, which warms up.

    .. math:: \mu_t = \beta_1 (1 - \tfrac12 0.96^{t \psi}), \qquad
              \theta \leftarrow \theta - \frac{\alpha}{\sqrt{\hat v} + \epsilon}
              \left( \frac{1-\mu_t}{1-\prod_{i \le t} \mu_i} g
                    + \frac{\mu_{t+1}}{1-\prod_{i \le t+1} \mu_i} m \right)

    with the averages of :class:`Adam`.

    Parameters
    ----------
    learn_rate : float or callable
        :math:`\alpha`, at least 0; or a schedule, a function of the iteration.
    grad_decay, sq_grad_decay : float
        :math:`\beta_1` and :math:`\beta_2`, in [0, 1).
    epsilon : float
        :math:`\epsilon`, at least 0.
    momentum_decay : float
        :math:`\psi`, at least 0.
    {shared}

    Notes ----- PyTorch's definition (``torch.optim.NAdam``), after Dozat 2016 with the warm-up of the
    momentum; Keras has :math:`\psi = 1`. optax's ``nadam`` has no warm-up: Adam with the look-ahead of
    Nesterov in :math:`\hat m`.
    """

    learn_rate: LearnRate = 0.002
    grad_decay: float = 0.9
    sq_grad_decay: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 0.004

    _rule = "nadam"


@dataclass(frozen=True, repr=False)
class RAdam(Optimizer):
    r"""Adam that is plain momentum until the variance of its averages is known.

    .. math:: \rho_\infty = \tfrac{2}{1-\beta_2} - 1, \quad
              \rho_t = \rho_\infty - \tfrac{2 t \beta_2^t}{1-\beta_2^t}, \quad
              r_t = \sqrt{\tfrac{(\rho_t-4)(\rho_t-2)\rho_\infty}{(\rho_\infty-4)(\rho_\infty-2)\rho_t}}

    .. math:: \theta \leftarrow \theta - \alpha \hat m \cdot
              \begin{cases} r_t \frac{\sqrt{1-\beta_2^t}}{\sqrt v + \epsilon} & \rho_t > 5 \\ 1 & \text{else}
              \end{cases}

    with the averages of :class:`Adam`.

    Parameters
    ----------
    learn_rate : float or callable
        :math:`\alpha`, at least 0; or a schedule, a function of the iteration.
    grad_decay, sq_grad_decay : float
        :math:`\beta_1` and :math:`\beta_2`, in [0, 1).
    epsilon : float
        :math:`\epsilon`, at least 0.
    {shared}

    Notes
    -----
    PyTorch's definition (``torch.optim.RAdam``): epsilon beside the uncorrected root. Liu et al. 2020 have
    :math:`\rho_t > 4` and no epsilon; optax has the threshold 5 and epsilon beside the corrected root.
    """

    learn_rate: LearnRate = 0.001
    grad_decay: float = 0.9
    sq_grad_decay: float = 0.999
    epsilon: float = 1e-8

    _rule = "radam"


@dataclass(frozen=True, repr=False)
class Adamax(Optimizer):
    r"""Adam with the largest recent magnitude in place of the average of squares.

    .. math:: u \leftarrow \max(\beta_2 u, |g| + \epsilon), \qquad
              \theta \leftarrow \theta - \alpha \frac{\hat m}{u}

    with the average :math:`m` of :class:`Adam`.

    Parameters
    ----------
    learn_rate : float or callable
        :math:`\alpha`, at least 0; or a schedule, a function of the iteration.
    grad_decay, max_decay : float
        :math:`\beta_1` and :math:`\beta_2`, in [0, 1).
    epsilon : float
        :math:`\epsilon`, at least 0.
    {shared}

    Notes ----- PyTorch's definition (``torch.optim.Adamax``). Kingma and Ba 2015, section 7.1, have no
    epsilon; Keras adds it to :math:`u` in the quotient only.
    """

    learn_rate: LearnRate = 0.002
    grad_decay: float = 0.9
    max_decay: float = 0.999
    epsilon: float = 1e-8

    _rule = "adamax"
