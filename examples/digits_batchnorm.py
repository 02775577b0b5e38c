# SPDX-License-Identifier: MIT
"""The digits again, with batch normalization, dropout and a cosine schedule, and with the whole loop inside the core.

The pictures are those of digits.py. The network has 64 inputs, a layer of 128 hidden units (normalized over the batch,
relu, a quarter of them dropped), and 10 outputs, whose softmax is compared with the targets by crossentropy. `dt.loop`
runs the step; the statistics that batch normalization gathers for later are part of the state.

    python examples/digits_batchnorm.py [--epochs 60] [--seed 0]

To understand it, start at step and model_loss.
"""

import argparse

import numpy as np
from digits import load_digits

import dualtape as dt

BATCH_SIZE, HIDDEN, DROPPED = 64, 128, 0.25
LEARN_RATE = 0.01


def initial_state(seed):
    """Parameters, the statistics of the hidden units, and Adam's two averages of gradients."""
    dt.random.seed(seed)
    params = {
        "hidden": dt.initializers.he((HIDDEN, 64)),
        "offset": dt.dlarray(np.zeros(HIDDEN)),
        "scale": dt.dlarray(np.ones(HIDDEN)),
        "output": dt.initializers.glorot((10, HIDDEN)),
        "bias": dt.dlarray(np.zeros(10)),
    }
    statistics = np.zeros(HIDDEN), np.ones(HIDDEN)
    zeros = {name: 0.0 * value for name, value in params.items()}
    return params, statistics, zeros, zeros


def model(params, statistics, pixels, training):
    """Probabilities of the ten digits, and the statistics, moved towards those of this batch in training."""
    x = dt.fullyconnect(pixels, params["hidden"])
    if training:
        x, *statistics = dt.batchnorm(x, params["offset"], params["scale"], *statistics, training=True)
    else:
        x = dt.batchnorm(x, params["offset"], params["scale"], *statistics)
    x = dt.dropout(dt.relu(x), DROPPED, training=training)
    return dt.softmax(dt.fullyconnect(x, params["output"], params["bias"]), axis=1), tuple(statistics)


def model_loss(params, statistics, pixels, targets):
    probabilities, statistics = model(params, statistics, pixels, training=True)
    loss = dt.crossentropy(probabilities, targets)
    return loss, statistics, dt.dlgradient(loss, params)


def step(state, batch, learn_rate, iteration):
    """One iteration: loss and gradients of a minibatch, Adam, and the statistics gathered."""
    params, statistics, avg_g, avg_sqg = state
    loss, statistics, grads = dt.dlfeval(model_loss, params, statistics, *batch)
    params, avg_g, avg_sqg = dt.adamupdate(params, grads, avg_g, avg_sqg, iteration, learn_rate)
    return (params, statistics, avg_g, avg_sqg), loss


def accuracy(state, pixels, digits):
    """The share of pictures that are read right, with the statistics of training and nothing dropped."""
    params, statistics, *_ = state
    probabilities, _ = model(params, statistics, pixels, training=False)
    return np.mean(np.argmax(dt.extractdata(probabilities), axis=1) == digits)


def train(epochs=60, seed=0):
    """The trained state with its run, and the accuracy on pictures that it has not seen."""
    (pixels, digits), test = load_digits()
    targets = dt.onehotencode(digits)
    iterations = epochs * (len(digits) // BATCH_SIZE)
    run = dt.loop(
        step,
        initial_state(seed),
        iterations=iterations,
        learn_rate=dt.schedules.cosine(LEARN_RATE, period=iterations),
        data=(pixels, targets),
        batch_size=BATCH_SIZE,
        shuffle=seed,
        seed=seed,
        record_every=iterations // epochs,
    )
    return run, accuracy(run.state, *test)


def main():
    parser = argparse.ArgumentParser(description="The digits with batch normalization, dropout and a cosine schedule.")
    parser.add_argument("--epochs", type=int, default=60, help="how often to go through the training digits")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights, the order, and what is dropped")
    arguments = parser.parse_args()
    run, reached = train(arguments.epochs, arguments.seed)
    print(f"{run.iterations} iterations in {run.seconds:.2f} s, {1e6 * run.seconds / run.iterations:.0f} us each")
    print(f"Loss: {run.history[0]:.4f} after one epoch, {run.history[-1]:.4f} at last")
    print(f"Accuracy in the test: {reached:.2%}")


if __name__ == "__main__":
    main()
