# SPDX-License-Identifier: MIT
"""Pictures of training loops: the gradient field, the training path, the loss, the learning rate; maps of sweeps.

matplotlib is an optional extra (``pip install dualtape[plots]``) and is imported when a picture is drawn.
Every function takes plain data or a run, draws into `ax` or into a new figure, returns the Axes, and leaves
matplotlib's global settings alone. Lines keep their colour from picture to picture: their order decides, over
a palette that colour-blind readers can tell apart (Okabe and Ito, 2008).

Start reading at ``_curves.py`` (three pictures over the iterations), then ``_field.py`` (the plane of two
learnables). What ``dt.sweep`` returns is drawn by ``_sweeps.py`` (all runs over what was swept), ``_fan.py``
(their loss curves) and ``_plane.py`` (runs as points). ``_data.py`` reads what the functions are given,
``_style.py`` is how everything looks.
"""

from ._curves import learn_rate_curve, loss_curve, training_path
from ._fan import loss_fan
from ._field import gradient_field
from ._plane import run_plane
from ._sweeps import sweep_map

__all__ = [
    "gradient_field",
    "learn_rate_curve",
    "loss_curve",
    "loss_fan",
    "run_plane",
    "sweep_map",
    "training_path",
]
