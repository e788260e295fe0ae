"""The tutorial's run: its one script in Keras 3, and the same job as parameters of this project.

The tutorial is "6 steps to create your first deep neural network using Keras and Python": raw
columns, one network, the test rows as validation rows in every epoch.
"""

import sys
from typing import Any

SEED = 9
PARAMS: dict[str, Any] = {
    "imputation": "none",
    "missing_indicators": False,
    "normalization": "none",
    "folds": 1,
    "members": "auto",
    "networks": {
        "plain": {  # the name of which the section `search` of params.yaml speaks
            "units": [8, 6],
            "activation": "relu",
            "kernel_initializer": "random_uniform",
            "optimizer": "adam",
            "learning_rate": 0.001,
            "learning_rate_schedule": "constant",
            "batch_size": 5,
            "epochs": 200,
        }
    },
}


def main() -> None:
    import keras
    import numpy
    from keras.layers import Dense
    from sklearn.model_selection import train_test_split

    keras.utils.set_random_seed(SEED)
    table = numpy.loadtxt(sys.argv[1], delimiter=",", skiprows=1)
    x, x_test, y, y_test = train_test_split(
        table[:, :8], table[:, 8], test_size=0.33, random_state=SEED
    )
    model = keras.Sequential(
        [
            keras.Input((8,)),
            Dense(8, activation="relu", kernel_initializer="random_uniform"),
            Dense(6, activation="relu", kernel_initializer="random_uniform"),
            Dense(1, activation="sigmoid", kernel_initializer="random_uniform"),
        ]
    )
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    model.fit(x, y, validation_data=(x_test, y_test), epochs=200, batch_size=5)
    _, accuracy = model.evaluate(x_test, y_test)
    print(f"Accuracy: {accuracy:.2%}")


if __name__ == "__main__":
    main()
