"""Networks fitted to the training rows, saved with their preprocessing as one Keras model."""

import math
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pyarrow as pa

from tabular.files import atomic_write, write_points
from tabular.params.loading import load_params
from tabular.process import run
from tabular.schema import load_schema
from tabular.table.parquet import part_paths, write_part


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


def oof_table(oof: np.ndarray, fold: np.ndarray) -> pa.Table:
    """Out-of-fold predictions `output_0`, ... and the `fold` of each row."""
    return pa.table({f"output_{i}": values for i, values in enumerate(oof.T)} | {"fold": fold})


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--train", type=Path, required=True, help="folder of Parquet parts to learn from")
    add("--validation", type=Path, required=True, help="folder of the validation rows")
    add("--model", type=Path, required=True, help="the .keras file to write")
    add("--oof", type=Path, required=True, help="folder for the out-of-fold predictions")
    add("--curves", type=Path, required=True, help="folder for the learning curves")
    add("--state", type=Path, required=True, help="folder of a killed training's state")
    args = parser.parse_args()
    schema = load_schema()
    train = load_params("train", schema=schema).train

    from tabular.model import ensemble, network
    from tabular.model.backend import keras
    from tabular.model.checkpoint import (
        TRAINING_CODE,
        Checkpoint,
        code_files,
        identity,
        remove_checkpoints,
    )
    from tabular.model.progress import Progress
    from tabular.model.saved_model import model_metadata, write_model

    setup = ensemble.set_up(args.train, schema, train)
    key = identity(
        schema.model_dump_json() + train.model_dump_json(),
        [*part_paths(args.train), *part_paths(args.validation), *code_files(*TRAINING_CODE)],
    )
    members = list(
        ensemble.fit(
            setup.untrained,
            setup.dataset,
            setup.other_dataset(args.validation, schema),
            train,
            callbacks=[Progress(train.epochs, train.ensemble)],
            checkpoint=lambda number: Checkpoint(args.state / f"{number}.npz", key),
        )
    )

    output = ensemble.average(setup.preprocessed, lambda: network.layers(train, schema), members)
    if schema.task == "regression":
        scale, shift = setup.target.scale, setup.target.shift
        output = keras.layers.Rescaling(scale, shift, name="output-value")(output)
    with atomic_write(args.oof) as folder:
        for number, (oof, fold) in enumerate(ensemble.out_of_fold(members, setup.dataset.sizes)):
            write_part(folder, number, oof_table(setup.in_units(oof), fold))
    history = ensemble.mean_history(members)
    with atomic_write(args.curves) as folder:
        write_curves(folder, history)
    repeats = "any_cpu" if setup.any_cpu else "same_cpu"
    with atomic_write(args.model) as model_file:
        model = keras.Model(setup.inputs, output, name="model")
        write_model(model, model_file, model_metadata(schema) | {"repeats": repeats})
    remove_checkpoints(args.state)
    last = ", ".join(f"{name} {value:.4f}" for name, value in history[-1].items())
    print(f"Trained {len(history)} epochs: {last}")


if __name__ == "__main__":
    run(main)
