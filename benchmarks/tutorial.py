"""Train the network of the tutorial as its script does, in Keras 3.

The tutorial is "6 steps to create your first deep neural network using Keras and
Python". It trains one network on raw columns, and evaluates the test rows after every
epoch. `PARAMS` are the parameters with which this project does the same, if no value of
the schema means missing.
"""

from argparse import ArgumentParser
from pathlib import Path
from statistics import mean
from typing import Any

SEED = 9
PARAMS: dict[str, Any] = {
    "imputation": "none",
    "missing_indicators": False,
    "normalization": "none",
    "folds": 1,
    "members": "auto",
    "networks": {
        "plain": {
            "units": [8, 6],
            "activation": "relu",
            "kernel_initializer": "random_uniform",
            "optimizer": "adam",
            "learning_rate": 0.001,
            "learning_rate_schedule": "constant",
            "batch_size": 5,
            "epochs": 200,
        },
    },
}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="the CSV file of the diabetes table")
    parser.add_argument(
        "--splits",
        type=int,
        default=0,
        metavar="N",
        help="train on N other splits, those of `make repeat`, and print the mean",
    )
    args = parser.parse_args()
    if not args.splits:
        print(f"Accuracy: {train(args.table, SEED):.2%}")
        return
    accuracies = [train(args.table, SEED + number + 1) for number in range(args.splits)]
    print(f"Mean accuracy: {mean(accuracies):.2%}")


def train(file: Path, split_seed: int) -> float:
    """Train the tutorial's network on one split; return its test accuracy."""
    import keras
    import numpy
    from keras.layers import Dense
    from sklearn.model_selection import train_test_split

    keras.utils.set_random_seed(SEED)
    table = numpy.loadtxt(file, delimiter=",", skiprows=1)
    x, x_test, y, y_test = train_test_split(
        table[:, :8],
        table[:, 8],
        test_size=0.33,
        random_state=split_seed,
    )
    model = keras.Sequential(
        [
            keras.Input((8,)),
            Dense(8, activation="relu", kernel_initializer="random_uniform"),
            Dense(6, activation="relu", kernel_initializer="random_uniform"),
            Dense(1, activation="sigmoid", kernel_initializer="random_uniform"),
        ],
    )
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    model.fit(x, y, validation_data=(x_test, y_test), epochs=200, batch_size=5)
    _, accuracy = model.evaluate(x_test, y_test)
    return float(accuracy)


if __name__ == "__main__":
    main()
