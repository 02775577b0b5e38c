# SPDX-License-Identifier: MIT
"""reduce_on_plateau: lower the rate when the loss has stopped falling.

The one rule that needs the loss, hence not a function of the iteration. It comes as a pure function from
state and loss to the next state (for compiled loops, and for anyone who wants to store and resume it), and as
a small tracker that holds the state for a hand-written loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from ._base import STATIC, Scalar, Schedule, check


class PlateauState(NamedTuple):
    """What reduce_on_plateau remembers from one loss to the next; a tree like any other.

    Attributes
    ----------
    learn_rate : float
        The rate to use now.
    best : float
        The lowest loss so far.
    bad_steps : int
        Losses since then that were not clearly lower.
    cooldown_left : int
        Losses still to be ignored after the last reduction.
    """

    learn_rate: Scalar
    best: Scalar
    bad_steps: Scalar
    cooldown_left: Scalar


@dataclass(frozen=True, repr=False)
class reduce_on_plateau:
    """Multiply the rate by a factor when the loss has not improved for a while.

    PyTorch's ReduceLROnPlateau in its mode "min", with its defaults: after more than `patience` losses in a
    row that do not improve on the best one, the rate is multiplied by `factor`. (For a score that should
    rise, pass its negative with ``threshold_mode="abs"``.) A NaN loss counts as no improvement.

    Parameters
    ----------
    initial : float
        The first rate.
    factor : float
        What the rate is multiplied by, between 0 and 1.
    patience : int
        How many losses without improvement are borne.
    threshold : float
        By how much a loss must be lower than the best to count.
    threshold_mode : {"rel", "abs"}
        Whether the threshold is a share of the best loss or an amount.
    cooldown : int
        Losses to ignore after a reduction.
    min_rate : float
        The rate never goes below it.
    eps : float
        A reduction smaller than this is not made.

    Raises
    ------
    ValueError
        An argument is out of range.

    Examples
    --------
    Pure, the state in your hands:

    >>> plateau = reduce_on_plateau(0.1, factor=0.5, patience=1)
    >>> state = plateau.start()
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     state = plateau.update(state, loss)
    >>> state.learn_rate
    0.05

    In a hand-written loop, the state in the tracker:

    >>> tracker = plateau.tracker()
    >>> [tracker(loss) for loss in (3.0, 2.0, 2.0, 2.0)]
    [0.1, 0.1, 0.1, 0.05]
    """

    example: ClassVar[str] = "reduce_on_plateau(0.1, factor=0.5, patience=10)"

    initial: Scalar
    factor: Scalar = field(default=0.1, kw_only=True)
    patience: int = field(default=10, kw_only=True, metadata=STATIC)
    threshold: Scalar = field(default=1e-4, kw_only=True)
    threshold_mode: str = field(default="rel", kw_only=True, metadata=STATIC)
    cooldown: int = field(default=0, kw_only=True, metadata=STATIC)
    min_rate: Scalar = field(default=0.0, kw_only=True)
    eps: Scalar = field(default=1e-8, kw_only=True)

    __repr__ = Schedule.__repr__

    def __post_init__(self) -> None:
        check(self, initial="rate", factor="fraction", patience="whole", threshold="rate", cooldown="whole")
        check(self, min_rate="rate", eps="rate")
        if self.threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"reduce_on_plateau(threshold_mode={self.threshold_mode!r}): there is no such mode; got "
                f'{self.threshold_mode!r}; "rel" and "abs" work.'
            )

    def start(self) -> PlateauState:
        """Return the state before the first loss."""
        return PlateauState(self.initial, math.inf, 0, 0)

    def update(self, state: PlateauState, loss: Scalar) -> PlateauState:
        """Return the state after one more loss.

        Parameters
        ----------
        state : PlateauState
            From :meth:`start` or from the last update.
        loss : float or scalar dlarray
            The loss of this iteration, or of this epoch.

        Returns
        -------
        PlateauState
            Its `learn_rate` is the one to use next.
        """
        rate, best, bad_steps, cooldown_left = state
        bar = best * (1 - self.threshold) if self.threshold_mode == "rel" else best - self.threshold
        if loss < bar:
            best, bad_steps = loss, 0
        else:
            bad_steps = bad_steps + 1
        if cooldown_left > 0:
            cooldown_left, bad_steps = cooldown_left - 1, 0
        if bad_steps > self.patience:
            lower = rate * self.factor
            lower = lower if lower > self.min_rate else self.min_rate
            rate = lower if rate - lower > self.eps else rate
            cooldown_left, bad_steps = self.cooldown, 0
        return PlateauState(rate, best, bad_steps, cooldown_left)

    def tracker(self) -> PlateauTracker:
        """Return an object that holds the state for a hand-written loop: ``rate = tracker(loss)``."""
        return PlateauTracker(self)


class PlateauTracker:
    """The state of one reduce_on_plateau, moved on by each call: ``rate = tracker(loss)``.

    Attributes
    ----------
    state : PlateauState
        May be stored and set, to resume.
    """

    def __init__(self, plateau: reduce_on_plateau) -> None:
        self.plateau = plateau
        self.state = plateau.start()

    @property
    def learn_rate(self) -> Scalar:
        """The rate to use now."""
        return self.state.learn_rate

    def __call__(self, loss: Scalar) -> Scalar:
        """Take one more loss (a number, or a dlarray with one element); return the rate to use next."""
        self.state = self.plateau.update(self.state, float(loss))
        return self.state.learn_rate

    def __repr__(self) -> str:
        return f"{self.plateau!r}.tracker()  # learn_rate={self.learn_rate!r}"
