# SPDX-License-Identifier: MIT
"""A small network learns to read handwritten digits, in a training loop that is written by hand.

The digits are scikit-learn's bundled set: 1797 pictures of 8 x 8 pixels, of which every fifth is kept for the
test. The network has 64 inputs, 32 hidden units (tanh) and 10 outputs, one for each digit (softmax). Each
iteration draws a minibatch, evaluates the loss and its gradients with dlfeval and dlgradient, and updates the
parameters with Adam, at a learning rate that warms up and then falls along half a cosine.

    python examples/digits.py [--epochs 40] [--out digits]

To understand it, start at model_loss and train; the rest loads, prints and draws.
"""

import argparse
from pathlib import Path

import numpy as np

import dualtape as dt

BATCH_SIZE = 64
LEARN_RATE = 0.01


def load_digits():
    """Pixels in [0, 1] and the digits they show: for training, and for the test."""
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise SystemExit("This example needs scikit-learn for its data: pip install scikit-learn") from None
    pixels, digits = load(return_X_y=True)
    pixels = pixels / 16
    test = np.arange(len(digits)) % 5 == 0
    return (pixels[~test], digits[~test]), (pixels[test], digits[test])


def initial_parameters(rng):
    """Glorot's weights and zero biases: a dict, but any nest of dicts, lists and tuples would do."""

    def weights(inputs, outputs):
        limit = np.sqrt(6 / (inputs + outputs))
        return dt.dlarray(rng.uniform(-limit, limit, (inputs, outputs)))

    return {
        "hidden": {"weights": weights(64, 32), "bias": dt.dlarray(np.zeros(32))},
        "output": {"weights": weights(32, 10), "bias": dt.dlarray(np.zeros(10))},
    }


def model(params, pixels):
    """The network: for each picture, ten scores of which the highest names the digit."""
    hidden = dt.numpy.tanh(pixels @ params["hidden"]["weights"] + params["hidden"]["bias"])
    return hidden @ params["output"]["weights"] + params["output"]["bias"]


def model_loss(params, pixels, targets):
    """The cross-entropy of a batch, and its gradients in the structure of the parameters."""
    loss = -(targets * dt.log_softmax(model(params, pixels), axis=1)).sum(axis=1).mean()
    return loss, dt.dlgradient(loss, params)


def predict(params, pixels):
    """The digit that each picture is taken for."""
    return np.argmax(dt.extractdata(model(params, pixels)), axis=1)


def train(params, pixels, digits, epochs, rng):
    """Run the loop; return the trained parameters, the losses and the learning rates."""
    targets = np.eye(10)[digits]  # one-hot: row k has its 1 in the column of its digit
    per_epoch = -(-len(digits) // BATCH_SIZE)
    schedule = dt.schedules.chain(
        dt.schedules.warm_up(LEARN_RATE, num_steps=per_epoch),
        dt.schedules.cosine(LEARN_RATE, period=per_epoch * max(epochs - 1, 1)),
    )
    avg_g = avg_sqg = None
    losses, rates, iteration = [], [], 0
    for _ in progress(range(epochs), losses):
        order = rng.permutation(len(digits))
        for start in range(0, len(order), BATCH_SIZE):
            batch, iteration = order[start : start + BATCH_SIZE], iteration + 1
            learn_rate = schedule(iteration)
            loss, grads = dt.dlfeval(model_loss, params, pixels[batch], targets[batch])
            params, avg_g, avg_sqg = dt.adamupdate(params, grads, avg_g, avg_sqg, iteration, learn_rate)
            losses.append(float(loss))
            rates.append(learn_rate)
    return params, losses, rates


def progress(epochs, losses):
    """Go through the epochs and show how far we are: with tqdm where it is installed, else line by line."""
    try:
        from tqdm import tqdm
    except ImportError:
        for epoch in epochs:
            yield epoch
            print(f"  epoch {epoch + 1:3d} of {len(epochs)}: loss {losses[-1]:.4f}")
        return
    bar = tqdm(epochs, desc="Training", unit="epoch")
    for epoch in bar:
        yield epoch
        bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)


def draw(losses, rates, pixels, digits, predicted, folder):
    """Two figures: loss and learning rate; test digits with what they were taken for, the errors first."""
    import matplotlib.pyplot as plt

    training, (above, below) = plt.subplots(2, 1, sharex=True, height_ratios=(2, 1), layout="constrained")
    means = [np.mean(losses[max(k - 19, 0) : k + 1]) for k in range(len(losses))]
    dt.plots.loss_curve({"minibatch": losses, "mean of 20": means}, ax=above, title="Loss").set_xlabel("")
    dt.plots.learn_rate_curve(rates, ax=below, title="Learning rate")

    predictions, axes = plt.subplots(3, 8, figsize=(8, 4), layout="constrained")
    right = predicted == digits
    for ax, k in zip(axes.flat, np.argsort(right, kind="stable"), strict=False):
        ax.imshow(pixels[k].reshape(8, 8), cmap="gray_r")
        ax.set_axis_off()
        ax.set_title(predicted[k] if right[k] else f"{predicted[k]}, is {digits[k]}", color="k" if right[k] else "C3")
    predictions.suptitle(f"{right.sum()} of {len(digits)} test digits are read right")

    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in {"training": training, "predictions": predictions}.items():
        figure.savefig(folder / f"{name}.png", dpi=150)
        print(f"Figure: {folder / name}.png")


def main():
    parser = argparse.ArgumentParser(description="A small network learns to read handwritten digits.")
    parser.add_argument("--epochs", type=int, default=40, help="how often to go through the training digits")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and of the order of the digits")
    parser.add_argument("--out", type=Path, default=Path("digits"), help="folder for the figures")
    arguments = parser.parse_args()

    rng = np.random.default_rng(arguments.seed)
    params, (training, test) = initial_parameters(rng), load_digits()
    print(f"{len(training[1])} digits for training, {len(test[1])} for the test")
    print(f"Accuracy before: {np.mean(predict(params, test[0]) == test[1]):.2%}")
    params, losses, rates = train(params, *training, arguments.epochs, rng)
    print(f"Loss: {losses[0]:.4f} at first, {np.mean(losses[-20:]):.4f} at last, after {len(losses)} iterations")
    print(f"Accuracy in training: {np.mean(predict(params, training[0]) == training[1]):.2%}")
    print(f"Accuracy in the test: {np.mean(predict(params, test[0]) == test[1]):.2%}")
    try:
        draw(losses, rates, *test, predict(params, test[0]), arguments.out)
    except ImportError as error:
        print(f"No figures: {error}")


if __name__ == "__main__":
    main()
