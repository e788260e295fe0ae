"""A network fitted to the training rows, saved with its preparation as one Keras model."""

import math
from argparse import ArgumentParser
from pathlib import Path

import pyarrow as pa

from stages.lib.params import load_params
from stages.lib.stage import run, whole, write_json, write_points
from stages.lib.table import part_paths, write_part


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

    from stages.lib import ensemble, network, training
    from stages.lib.backend import keras
    from stages.lib.checkpoint import Checkpoint, identity, remove_checkpoints
    from stages.lib.model_file import write_model
    from stages.lib.progress import Progress

    ready = training.ready(args.train, data, train)
    key = identity(
        data.model_dump_json() + train.model_dump_json(),
        [*part_paths(args.train), *part_paths(args.validation)],
        Path(__file__).parent,
    )
    members = list(
        ensemble.fit(
            *(ready.untrained, ready.rows, ready.table(args.validation, data), train),
            callbacks=[Progress(train.epochs, train.ensemble)],
            checkpoint=lambda number: Checkpoint(args.state / f"{number}.npz", key),
        )
    )

    output = ensemble.averaged(ready.prepared, lambda: network.layers(train, data), members)
    if data.task == "regression":
        scale, shift = ready.target.scale, ready.target.shift
        output = keras.layers.Rescaling(scale, shift, name="output-value")(output)
    with whole(args.held_out) as folder:
        for number, block in enumerate(ensemble.held_out(members, ready.rows.sizes)):
            values = ready.in_units(block)
            write_part(folder, number, pa.table({f"output_{i}": v for i, v in enumerate(values.T)}))
    write_json(args.facts, {"repeats": "any_cpu" if ready.any_cpu else "same_cpu"})
    history = ensemble.mean_history(members)
    with whole(args.curves) as folder:
        write_curves(folder, history)
    with whole(args.model) as model_file:
        write_model(keras.Model(ready.inputs, output, name="model"), model_file, data)
    remove_checkpoints(args.state)
    last = ", ".join(f"{name} {value:.4f}" for name, value in history[-1].items())
    print(f"Trained {len(history)} epochs: {last}")


if __name__ == "__main__":
    run(main)
