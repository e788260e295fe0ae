"""A network fitted to the training rows, saved with its preparation as one Keras model."""

import csv
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import numpy as np

from stages.lib.params import Data, Train, load_params
from stages.lib.stage import run, whole
from stages.lib.table import feature_arrays, labels, read_parts


def sample_weights(y: np.ndarray, train: Train, data: Data) -> np.ndarray:
    """`train.class_weight` as a weight for each row: float32, shape (rows,).

    `balanced` is scikit-learn's: rows / (classes * rows of the class).
    """
    if train.class_weight is None:
        return np.ones(len(y), dtype=np.float32)
    places = y[:, 0].astype(np.int64)
    if train.class_weight == "balanced":
        rows = np.bincount(places, minlength=len(data.classes))
        weights = len(y) / (len(rows) * np.maximum(rows, 1))
    else:
        weights = np.array([train.class_weight.get(value, 1.0) for value in data.classes])
    return weights[places].astype(np.float32)


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """One row an epoch, numbers with 6 decimals."""
    with whole(path) as partial_path, partial_path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", *history[0]], lineterminator="\n")
        writer.writeheader()
        for number, logs in enumerate(history, start=1):
            writer.writerow({"epoch": number} | {key: f"{v:.6f}" for key, v in logs.items()})


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path, help="folder of Parquet parts to learn from")
    parser.add_argument("validation", type=Path, help="folder of Parquet parts to watch")
    parser.add_argument("model", type=Path, help="the .keras file to write")
    parser.add_argument("history", type=Path, help="CSV file for one row an epoch")
    args = parser.parse_args()
    params = load_params()
    data, train = params.data, params.train

    from stages.lib import loop, network, preparation
    from stages.lib.backend import keras
    from stages.lib.model_file import write_model

    keras.utils.set_random_seed(train.seed)
    statistics = preparation.learn(partial(read_parts, args.train), data, train)
    inputs, prepared = preparation.prepare(statistics, data, train)
    preparing = keras.Model(inputs, prepared)

    def prepared_rows(folder: Path) -> tuple[np.ndarray, np.ndarray]:
        parts = list(read_parts(folder))
        x = [np.asarray(preparing(feature_arrays(part, data))) for part in parts]
        y = np.concatenate([labels(part, data) for part in parts])
        if data.task == "regression":
            y = (y - statistics.target.shift) / statistics.target.scale
        return np.concatenate(x), y.astype(np.float32)

    x, y = prepared_rows(args.train)
    repeatable = network.layers(train, data, network.RepeatableDense)
    early_stopping = train.early_stopping
    history = loop.fit(
        network.compiled(repeatable, x.shape[1], train, data),
        loop.Rows(x, y, sample_weights(y, train, data)),
        prepared_rows(args.validation),
        batch_size=train.batch_size,
        epochs=train.epochs,
        seed=train.seed,
        callbacks=[keras.callbacks.EarlyStopping(**early_stopping.model_dump())]
        if early_stopping
        else [],
    )

    outputs = prepared
    for layer, source in zip(network.layers(train, data), repeatable, strict=True):
        outputs = layer(outputs)
        layer.set_weights(source.get_weights())
    if data.task == "regression":
        target = statistics.target
        outputs = keras.layers.Rescaling(target.scale, target.shift, name="output-value")(outputs)
    with whole(args.model) as model_file:
        write_model(keras.Model(inputs, outputs, name="model"), model_file)
    write_history(args.history, history)
    last = ", ".join(f"{name} {value:.4f}" for name, value in history[-1].items())
    print(f"Trained {len(history)} epochs: {last}")


if __name__ == "__main__":
    run(main)
