"""Train networks on the training rows, and save their weighted mean as one Keras model."""

import math
import sys
from argparse import ArgumentParser
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.files import atomic_write, write_json, write_points
from keras_tabular.table.parquet import write_part
from stages import inputs, run


def write_curves(folder: Path, histories: list[list[dict[str, float]]]) -> None:
    """Write a learning curve for each metric: its mean over the networks after each round.

    A file has the columns epoch, train and validation. Validation is empty if no rows are held out,
    and the file of a metric of another task has no rows.

    Args:
        histories: Logs of each round of each network.
    """
    rounds = [[logs for logs in round_logs if logs] for round_logs in zip_longest(*histories)]
    for name in ("loss", "accuracy", "mean_absolute_error"):
        points = [logs for logs in rounds if name in logs[0]]
        columns = {"epoch": [logs[0]["epoch"] for logs in points]}
        for column, key in {"train": name, "validation": f"val_{name}"}.items():
            values = [[log.get(key, math.nan) for log in logs] for logs in points]
            columns[column] = [np.mean(network_values) for network_values in values]
        write_points(folder / f"{name}.csv", columns)


def write_oof(folder: Path, oof: np.ndarray, folds: list[np.ndarray]) -> None:
    """Write the out-of-fold predictions `output_0`, ... and the `fold` of each row, part by part.

    Without folds, write one part without rows.

    Args:
        oof: Predictions, shape (rows, outputs).
        folds: Fold of each row of each part.
    """
    if not len(oof):
        folds = [np.empty(0, np.int32)]
    parts = np.split(oof, np.cumsum([len(fold) for fold in folds])[:-1])
    for number, (predictions, fold) in enumerate(zip(parts, folds, strict=True)):
        columns = {f"output_{i}": values for i, values in enumerate(predictions.T)}
        write_part(folder, number, pa.table(columns | {"fold": fold}))


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("split", type=Path, help="folder of the tables train and validation")
    parser.add_argument("model", type=Path, help="the .keras file to write")
    parser.add_argument("oof", type=Path, help="folder for the out-of-fold predictions")
    parser.add_argument("metrics", type=Path, help="folder for networks.json and curves")
    parser.add_argument("--state", type=Path, required=True, help="folder for checkpoints")
    args = parser.parse_args()
    schema = load_schema()
    train = load_params("train", schema=schema).train

    # TensorFlow starts after the parameters are checked.
    from keras_tabular.inspection.attribution import add_training_rows
    from keras_tabular.model_file.saved_model import save_model
    from keras_tabular.training.checkpoint import Checkpoints, identity
    from keras_tabular.training.ensemble import build_model, describe, weigh_snapshots
    from keras_tabular.training.fit import fit
    from keras_tabular.training.forward_chaining import predict_later_blocks
    from keras_tabular.training.setup import Setup
    from network import build

    tables = [args.split / name for name in ("train", "validation")]
    setup = Setup(tables, schema, train, build)
    checkpoints = Checkpoints(args.state, identity([schema, train], tables, build))
    print(f"Training networks on {setup.summary()}", file=sys.stderr)
    snapshots = list(fit(setup, checkpoints=checkpoints, show_progress=True))
    ensemble = weigh_snapshots(setup, snapshots)
    description = describe(setup, snapshots, ensemble)
    write_json(args.metrics / "networks.json", description)
    with atomic_write(args.metrics / "curves") as folder:
        same = [s for s in snapshots if s.architecture == description["curves"]]
        write_curves(folder, [s.history for s in same if s.name == same[-1].name])
    model = build_model(setup, snapshots, ensemble, args.model)
    with atomic_write(args.model) as file:
        save_model(add_training_rows(model, tables[0], schema), file)
    with atomic_write(args.oof) as folder:
        write_oof(folder, ensemble.oof, setup.folds)
        if train.forward_chaining:
            oof, folds = predict_later_blocks(tables[0], schema, train, build, folder)
            write_oof(folder / "forward_chaining", oof, folds)
    inputs.check()  # before the checkpoints are removed
    checkpoints.remove()
    print(f"Trained networks: {ensemble.summary()}")


if __name__ == "__main__":
    run(main)
