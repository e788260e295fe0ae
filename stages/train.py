"""A network fitted to the training rows, saved with its preparation as one Keras model."""

import math
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.lib.params import Data, Train, load_params
from stages.lib.stage import run, whole, write_json, write_points
from stages.lib.table import part_paths, read_parts, write_part


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


def write_curves(folder: Path, history: list[dict[str, float]]) -> None:
    """For each quantity a file of one row an epoch: epoch, train, validation (empty if none).

    A quantity that is not of the task has no row.
    """
    for name in ("loss", "accuracy", "mean_absolute_error"):
        epochs = [logs for logs in history if name in logs]
        columns = {
            "epoch": range(1, len(epochs) + 1),
            "train": [logs[name] for logs in epochs],
            "validation": [logs.get(f"val_{name}", math.nan) for logs in epochs],
        }
        write_points(folder / f"{name}.csv", columns)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path, help="folder of Parquet parts to learn from")
    parser.add_argument("validation", type=Path, help="folder of Parquet parts to watch")
    parser.add_argument("model", type=Path, help="the .keras file to write")
    parser.add_argument("curves", type=Path, help="folder for the learning curves")
    parser.add_argument("held_out", type=Path, help="folder for what folds' members did not learn")
    parser.add_argument("facts", type=Path, help="JSON file on how the training repeats")
    parser.add_argument("state", type=Path, help="folder from which a killed training goes on")
    args = parser.parse_args()
    params = load_params()
    data, train = params.data, params.train

    from stages.lib import ensemble, loop, network, preparation
    from stages.lib.backend import keras
    from stages.lib.blocks import TableBlocks, all_labels
    from stages.lib.checkpoint import Checkpoint, identity, remove_checkpoints
    from stages.lib.model_file import write_model

    statistics = preparation.learn(partial(read_parts, args.train), data, train)
    inputs, prepared = preparation.prepare(statistics, data, train)
    preparing = keras.Model(inputs, prepared)
    target = statistics.target
    weights = sample_weights(all_labels(args.train, data), train, data)
    rows = TableBlocks(args.train, data, preparing, target, weights)
    validation = TableBlocks(args.validation, data, preparing, target)
    width = prepared.shape[-1]
    outputs = len(data.classes) if data.task == "multiclass" else 1
    small = loop.small_steps(train.batch_size, (width, *train.units, outputs))

    def untrained(number: int) -> keras.Model:
        member = train.model_copy(update={"seed": train.seed + number})
        keras.utils.set_random_seed(member.seed)
        dense = network.RepeatableDense if small else keras.layers.Dense
        return network.compiled(network.layers(member, data, dense), width, member, data)

    key = identity(
        data.model_dump_json() + train.model_dump_json(),
        [*part_paths(args.train), *part_paths(args.validation)],
        Path(__file__).parent,
    )
    members, held_out = ensemble.fit(
        *(untrained, rows, validation, train),
        xla=small,
        checkpoint=lambda number: Checkpoint(args.state / f"{number}.npz", key),
    )

    output = ensemble.averaged(prepared, lambda: network.layers(train, data), members)
    if data.task == "regression":
        output = keras.layers.Rescaling(target.scale, target.shift, name="output-value")(output)
    with whole(args.held_out) as folder:
        for number, block in enumerate(held_out or [np.empty((0, outputs))]):
            values = block * target.scale + target.shift
            write_part(folder, number, pa.table({f"output_{i}": v for i, v in enumerate(values.T)}))
    write_json(args.facts, {"repeats": "any_cpu" if small else "same_cpu"})
    history = ensemble.mean_history(members)
    with whole(args.curves) as folder:
        write_curves(folder, history)
    with whole(args.model) as model_file:
        write_model(keras.Model(inputs, output, name="model"), model_file)
    remove_checkpoints(args.state)
    last = ", ".join(f"{name} {value:.4f}" for name, value in history[-1].items())
    print(f"Trained {len(history)} epochs: {last}")


if __name__ == "__main__":
    run(main)
