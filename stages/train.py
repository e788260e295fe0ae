"""Networks fitted to the training rows, saved with their preprocessing as one Keras model."""

import math
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from stages import run
from tabular.config.params import load_params
from tabular.config.schema import load_schema
from tabular.core.files import atomic_write, write_json, write_points
from tabular.table.parquet import write_part

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from tabular.model.training.selection import Blend, Member
    from tabular.model.training.setup import Setup


def write_curves(folder: Path, history: list[dict[str, float]]) -> None:
    """Write a file for each quantity, with a row for each epoch: epoch, train and validation.

    Validation is empty without validation rows; a quantity of another task has no row.
    """
    for name in ("loss", "accuracy", "mean_absolute_error"):
        epochs = [logs for logs in history if name in logs]
        columns = {
            "epoch": [logs.get("epoch", number) for number, logs in enumerate(epochs, start=1)],
            "train": [logs[name] for logs in epochs],
            "validation": [logs.get(f"val_{name}", math.nan) for logs in epochs],
        }
        write_points(folder / f"{name}.csv", columns)


def write_oof(folder: Path, oof: np.ndarray, folds: list[np.ndarray]) -> None:
    """Write the out-of-fold predictions `output_0`, ... and the `fold` of each row, in parts.

    Without folds there is one part, without rows.
    """
    if not len(oof):
        folds = [np.empty(0, np.int32)]
    parts = np.split(oof, np.cumsum([len(fold) for fold in folds])[:-1])
    for number, (outputs, fold) in enumerate(zip(parts, folds, strict=True)):
        columns = {f"output_{i}": values for i, values in enumerate(outputs.T)}
        write_part(folder, number, pa.table(columns | {"fold": fold}))


def write_networks(file: Path, setup: "Setup", members: list["Member"], blend: "Blend") -> None:
    """Save the weighted networks as one model, with a summary of the training rows."""
    from tabular.model.attribution import describe_training_rows
    from tabular.model.saved_model import SavedModel, load_model, write_model
    from tabular.model.training.assembly import assemble, metadata

    network = assemble(setup, members, blend.weights)
    model = SavedModel(file, network, metadata(setup, members, blend), b"")
    trained_on = describe_training_rows(model, setup.folder, setup.schema)
    write_model(network, file, model.metadata.model_copy(update={"trained_on": trained_on}))
    load_model(Path("the model that was trained"), file.read_bytes())  # what follows can load it


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("split", type=Path, help="folder of the tables train and validation")
    parser.add_argument("model", type=Path, help="the .keras file to write")
    parser.add_argument("oof", type=Path, help="folder for the out-of-fold predictions")
    parser.add_argument("metrics", type=Path, help="folder for networks.json and curves")
    parser.add_argument("--state", type=Path, required=True, help="folder of a killed training")
    args = parser.parse_args()
    schema = load_schema()
    train = load_params("train", schema=schema).train

    from tabular.model.training.checkpoint import Checkpoints, identity
    from tabular.model.training.fit import fit
    from tabular.model.training.forward_chaining import forward_chained
    from tabular.model.training.selection import blended, describe, mean_history
    from tabular.model.training.setup import set_up

    tables = [args.split / name for name in ("train", "validation")]
    setup = set_up(tables[0], schema, train)
    checkpoints = Checkpoints(args.state, identity([schema, train], tables))
    counts = [f"{m.count * setup.train.folds} of {m.network}" for m in setup.train.members]
    print(f"Training networks on {len(setup.y)} rows: {', '.join(counts)}", file=sys.stderr)
    members = list(fit(setup, tables[1], checkpoints=checkpoints, show_progress=True))
    blend = blended(setup, members)
    described = describe(setup, members, blend)

    of_curves = [member for member in members if member.architecture == described["curves"]]
    with atomic_write(args.metrics / "curves") as folder:
        write_curves(folder, mean_history(of_curves))
    write_json(args.metrics / "networks.json", described)
    with atomic_write(args.model) as file:
        write_networks(file, setup, members, blend)
    with atomic_write(args.oof) as folder:
        write_oof(folder, blend.oof, setup.folds)
        if train.forward_chaining:
            later = forward_chained(tables[0], schema, train, folder)
            write_oof(folder / "forward_chaining", *later)
    checkpoints.remove()
    print(f"Trained networks: {blend.summary(members)}")


if __name__ == "__main__":
    run(main)
