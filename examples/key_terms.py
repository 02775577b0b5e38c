# SPDX-License-Identifier: MIT
"""The key terms of training, as a program one can read: loss, learnables, gradients, update, learning rate.

It follows the post "Advanced Deep Learning: Key Terms" (MathWorks blog, 6 March 2020): a loss of two
learnables, x1 and x2, is brought down by gradient descent in a loop that is written by hand. First one update
step, explained; then 100 iterations with two constant learning rates and with one that decays; then the
numbers in tables and four figures.

    python examples/key_terms.py [--out key_terms]

To understand it, start at my_loss and train; the rest prints and draws.
"""

import argparse
from pathlib import Path

import dualtape as dt

START = (2.0, 2.0)
OPTIMUM = (1.0, 1.0)
ITERATIONS = 100

SCHEDULES = {
    "rate 0.1": dt.schedules.constant(0.1),
    "rate 0.2": dt.schedules.constant(0.2),
    "0.2 with decay": dt.schedules.time_based_decay(0.2, 0.01),  # 0.2 / (1 + 0.01 iteration)
}


def loss_function(x1, x2):
    """The loss: a curved valley along x2 = x1^2 whose lowest point, 0, is at (1, 1)."""
    return (x2 - x1**2) ** 2 + (1 - x1) ** 2


def my_loss(x1, x2):
    """The loss and its gradients; dlfeval calls it, since dlgradient needs traced arguments."""
    y = loss_function(x1, x2)
    dydx1, dydx2 = dt.dlgradient(y, x1, x2)
    return y, dydx1, dydx2


def update_model(x1, x2, dydx1, dydx2, learn_rate):
    """Gradient descent: a step against the gradient, as long as the learning rate says."""
    x1 = x1 - learn_rate * dydx1
    x2 = x2 - learn_rate * dydx2
    return x1, x2


def number(x):
    """What a dlarray holds, as a Python float."""
    return float(dt.extractdata(x))


def train(schedule):
    """Run the loop; return the path (the starting point first), the losses along it, and the rates."""
    x1, x2 = dt.dlarray(START[0]), dt.dlarray(START[1])
    record = {"x1": [START[0]], "x2": [START[1]], "loss": [], "learn_rate": []}
    for iteration in range(1, ITERATIONS + 1):
        loss, dydx1, dydx2 = dt.dlfeval(my_loss, x1, x2)
        learn_rate = schedule(iteration)
        x1, x2 = update_model(x1, x2, dydx1, dydx2, learn_rate)

        record["loss"].append(number(loss))
        record["learn_rate"].append(learn_rate)
        record["x1"].append(number(x1))
        record["x2"].append(number(x2))
    record["loss"].append(number(loss_function(x1, x2)))  # where the last step has led
    return record


# ---- printing ---------------------------------------------------------------------------------------------


def explain_one_step():
    """Print one update step with every number in it."""
    x1, x2 = dt.dlarray(START[0]), dt.dlarray(START[1])
    loss, dydx1, dydx2 = dt.dlfeval(my_loss, x1, x2)
    new_x1, new_x2 = update_model(x1, x2, dydx1, dydx2, 0.1)
    new_loss = number(loss_function(new_x1, new_x2))
    x1, x2, y, g1, g2 = map(number, (x1, x2, loss, dydx1, dydx2))
    print(f"""One update step

  Learnables       the numbers to be trained          x1 = {x1:g}, x2 = {x2:g}
  Loss             how far from right they are        y = (x2 - x1^2)^2 + (1 - x1)^2 = {y:g}
  Model gradients  how y changes with each of them    dy/dx1 = {g1:g}, dy/dx2 = {g2:g}
                   (automatic differentiation: dlfeval traces my_loss, dlgradient goes back along the trace)
  Learning rate    how long a step to take            0.1
  Update           a step against the gradient        x1 = {x1:g} - 0.1 * ({g1:g}) = {number(new_x1):g}
                                                      x2 = {x2:g} - 0.1 * ({g2:g}) = {number(new_x2):g}

  The loss is now {new_loss:g}: more than before, since the gradient is steep here and the step too long.
  A training loop repeats the step, and soon the loss falls.""")


def print_run(name, run):
    """Print some iterations of a run: the loss the iteration starts from, the step, the loss it ends with."""
    print(f"\n{name}: {ITERATIONS} iterations from {START}\n")
    print("  iteration   learning rate   loss before           x1           x2    loss after")
    for k in (1, 2, 3, 5, 10, 20, 50, 99, 100):
        print(
            f"  {k:9d}   {run['learn_rate'][k - 1]:13.6f}   {run['loss'][k - 1]:11.4e}"
            f"   {run['x1'][k]:10.6f}   {run['x2'][k]:10.6f}   {run['loss'][k]:11.4e}"
        )


def print_summary(runs):
    """Print the runs side by side, with all digits of where they end and the lowest loss each has seen."""
    print(f"\nAfter {ITERATIONS} iterations (the optimum is at {OPTIMUM}, with loss 0)\n")
    print("  run                             x1                   x2            loss     lowest loss   after")
    for name, run in runs.items():
        lowest = min(run["loss"])
        print(
            f"  {name:14s}  {run['x1'][-1]:19.16f}  {run['x2'][-1]:19.16f}   {run['loss'][-1]:13.7e}"
            f"   {lowest:13.7e}   {run['loss'].index(lowest):5d}"
        )
    print("""
  With rate 0.1 the run slides slowly down the valley. With 0.2 it comes close and then moves away again:
  near the optimum, rates above 2 / 11.66 = 0.1716 overshoot (11.66 is the largest eigenvalue of the Hessian
  there), and the run ends in a cycle between two points. With decay, long steps come first and short ones
  later: the rate falls below 0.1716 in iteration 17, and the run ends with the lowest loss.""")


# ---- drawing ----------------------------------------------------------------------------------------------


def draw(runs, folder):
    """Put the four figures into a folder."""
    losses = {name: run["loss"] for name, run in runs.items()}
    rates = {name: run["learn_rate"] for name, run in runs.items()}
    axes = {
        "gradient_field": dt.plots.gradient_field(
            loss_function, (-2.0, 2.4), (-0.4, 3.2), paths=runs, optimum=OPTIMUM, title="Gradient field"
        ),
        "training_path": dt.plots.training_path(
            runs, iterations=range(ITERATIONS + 1), optimum=OPTIMUM, title="Path of the training"
        ),
        "loss": dt.plots.loss_curve(losses, iterations=range(ITERATIONS + 1), title="Loss"),
        "learning_rate": dt.plots.learn_rate_curve(rates, title="Learning rate"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, ax in axes.items():
        file = folder / f"{name}.png"
        ax.figure.savefig(file, dpi=150)
        print(f"  {file}")


def main():
    parser = argparse.ArgumentParser(description="Key terms of training, explained by training.")
    parser.add_argument("--out", type=Path, default=Path("key_terms"), help="folder for the figures")
    arguments = parser.parse_args()

    explain_one_step()
    runs = {name: train(schedule) for name, schedule in SCHEDULES.items()}
    for name, run in runs.items():
        print_run(name, run)
    print_summary(runs)
    print("\nFigures\n")
    try:
        draw(runs, arguments.out)
    except ImportError as error:
        print(f"  none drawn: {error}")


if __name__ == "__main__":
    main()
