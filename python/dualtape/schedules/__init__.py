# SPDX-License-Identifier: MIT
"""Learning-rate schedules: the learning rate as a function of the iteration.

A schedule is an immutable value that one calls: ``rate = schedule(iteration)``, iterations counted from 1.
It has no state, so it works in a hand-written loop, inside a compiled step and in a plot alike::

    schedule = dt.schedules.time_based_decay(0.2, 0.01)
    for iteration in range(1, 101):
        learn_rate = schedule(iteration)
        ...
    rates = schedule.curve(100)                 # the rates of iterations 1 to 100, for a plot

Schedules print as the call that makes them, compare by value, hash and pickle. Every schedule has
``num_steps``, infinite unless it is given; after its last step a schedule keeps its last rate, and
:func:`chain` goes on to the next schedule.

For readers who come from MATLAB (R2024b), where the schedules are objects used through trainingOptions:

======================  =================================================================
MATLAB                  here
======================  =================================================================
InitialLearnRate        the first argument of each schedule
FrequencyUnit "epoch"   ``per_epoch(schedule, iterations_per_epoch)``
piecewiseLearnRate      ``piecewise``
exponentialLearnRate    ``exponential``
polynomialLearnRate     ``polynomial``
cosineLearnRate         ``cosine``
cyclicalLearnRate       ``cyclical``
warmupLearnRate         ``warm_up``
{schedule1, schedule2}  ``chain(schedule1, schedule2)``
a custom class          a subclass of ``Schedule``, or any function of the iteration
======================  =================================================================

Start reading at ``_base.py``; then ``_decay.py`` (falling rates), ``_cycles.py`` (rates that come back),
``_compose.py`` (schedules made of schedules) and ``_plateau.py`` (the one that looks at the loss).
"""

from ._base import Schedule
from ._compose import chain, per_epoch, warm_up
from ._cycles import cosine, cyclical, one_cycle
from ._decay import constant, exponential, piecewise, polynomial, time_based_decay
from ._plateau import PlateauState, PlateauTracker, reduce_on_plateau

__all__ = [
    "PlateauState",
    "PlateauTracker",
    "Schedule",
    "chain",
    "constant",
    "cosine",
    "cyclical",
    "exponential",
    "one_cycle",
    "per_epoch",
    "piecewise",
    "polynomial",
    "reduce_on_plateau",
    "time_based_decay",
    "warm_up",
]
