"""Networks fitted to the training rows, saved with their preprocessing as one Keras model."""

import math
import platform
import sys
import time
from argparse import ArgumentParser
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tabular.engine import say
from tabular.files import atomic_write, write_json, write_points
from tabular.params.loading import load_params
from tabular.process import run
from tabular.progress import Bar
from tabular.schema import load_schema
from tabular.table.parquet import part_paths, write_part

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from tabular.model.checkpoint import Checkpoint
    from tabular.model.ensemble import Job

SHOWN = ("x86_64", "AMD64")  # on which any CPU was shown to give the same bytes
SECONDS = 0.2  # between two words about a member


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


def mean_history(histories: list[list[dict[str, float]]]) -> list[dict[str, float]]:
    """The logs of each epoch, averaged over the networks that trained in it."""
    return [
        {name: float(np.mean([logs[name] for logs in epoch if logs])) for name in histories[0][0]}
        for epoch in zip_longest(*histories)
    ]


def write_oof(folder: Path, oof: np.ndarray, folds: list[np.ndarray]) -> None:
    """A part for each of the table: out-of-fold predictions `output_0`, ... and the row's `fold`.

    Without folds one part of no rows.
    """
    if not len(oof):
        folds = [np.empty(0, np.int32)]
    outputs = np.split(oof, np.cumsum([len(fold) for fold in folds])[:-1])
    for number, (of_part, fold) in enumerate(zip(outputs, folds, strict=True)):
        columns = {f"output_{i}": values for i, values in enumerate(of_part.T)}
        write_part(folder, number, pa.table(columns | {"fold": fold}))


def progress(job: "Job", counts: dict[str, int], epochs: dict[str, int]) -> list[Any]:
    """What says how many epochs of a member have ended, now and then, and how its losses are."""
    from tabular.model.backend import keras

    name, done, said = f"{job.kind} {job.number + 1} of {counts[job.kind]}", 0, time.monotonic()

    def epoch_end(epoch: int, logs: dict[str, float]) -> None:
        nonlocal done, said
        if time.monotonic() - said > SECONDS:
            losses = ", ".join(f"{k} {value:.4f}" for k, value in logs.items() if "loss" in k)
            of_all = f"epoch {epoch + 1} of {epochs[job.kind]}"
            say(epoch + 1 - done, f"{name}, {of_all}, {losses}")
            done, said = epoch + 1, time.monotonic()

    def train_end(_: dict[str, float]) -> None:
        say(epochs[job.kind] - done, f"{name} ended")

    return [keras.callbacks.LambdaCallback(on_epoch_end=epoch_end, on_train_end=train_end)]


def checkpoint_of(job: "Job", state: Path, key: str) -> "Checkpoint":
    """The state of a member that was killed."""
    from tabular.model.checkpoint import Checkpoint

    return Checkpoint(state / f"{job.kind}-{job.number}.npz", key)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--train", type=Path, required=True, help="folder of Parquet parts to learn from")
    add("--validation", type=Path, required=True, help="folder of the validation rows")
    add("--model", type=Path, required=True, help="the .keras file to write")
    add("--oof", type=Path, required=True, help="folder for the out-of-fold predictions")
    add("--networks", type=Path, required=True, help="JSON file for what each network came to")
    add("--curves", type=Path, required=True, help="folder for the learning curves")
    add("--state", type=Path, required=True, help="folder of a killed training's state")
    args = parser.parse_args()
    schema = load_schema()
    train = load_params("train", schema=schema).train

    from tabular.model import ensemble, preprocessing
    from tabular.model.checkpoint import TRAINING_CODE, code_files, identity, remove_checkpoints
    from tabular.model.saved_model import model_metadata, write_model

    setup = ensemble.set_up(args.train, schema, train)
    key = identity(
        schema.model_dump_json() + train.model_dump_json(),
        [*part_paths(args.train), *part_paths(args.validation), *code_files(*TRAINING_CODE)],
    )
    networks = setup.train.networks
    counts = {m.network: m.count * setup.train.folds for m in setup.train.members}
    planned = [f"{n} of {k}, {networks[k].epochs} epochs" for k, n in counts.items()]
    print(f"Training networks on {len(setup.y)} rows: {'; '.join(planned)}", file=sys.stderr)
    bar = Bar(sum(networks[name].epochs * count for name, count in counts.items()))
    epochs = {name: network.epochs for name, network in networks.items()}
    members = list(
        ensemble.fit(
            setup,
            args.validation,
            callbacks=partial(progress, counts=counts, epochs=epochs),
            checkpoint=partial(checkpoint_of, state=args.state, key=key),
            report=bar.advance,
        )
    )
    bar.close()
    blend = ensemble.blend(setup, members)

    with atomic_write(args.oof) as folder:
        write_oof(folder, blend.oof, setup.folds())
    heaviest = max(blend.weights, key=lambda name: blend.weights[name])
    with atomic_write(args.curves) as folder:
        write_curves(folder, mean_history([m.history for m in members if m.kind == heaviest]))
    kinds = {
        name: {
            "weight": weight,
            "members": counts[name],
            "loss": blend.losses.get(name),
            "params": networks[name].model_dump(),
        }
        | ensemble.of_members(setup, members, name)
        for name, weight in blend.weights.items()
    }
    columns = preprocessing.treatment(setup.statistics, schema, setup.train)
    found = {"folds": setup.train.folds, "networks": kinds, "columns": columns, "curves": heaviest}
    write_json(args.networks, found)
    with atomic_write(args.model) as model_file:
        write_model(
            ensemble.weighted(setup, members, blend.weights),
            model_file,
            model_metadata(schema)
            | {
                "repeats": "any_cpu" if train.exact and platform.machine() in SHOWN else "same_cpu",
                **(ensemble.of_folds(setup, members, blend) if setup.train.folds > 1 else {}),
                "categories": setup.statistics.categories,
            },
        )
    remove_checkpoints(args.state)
    said = [
        f"{counts[name]} of {name}, weight {weight:.2f}"
        + (f", cross-validated loss {blend.losses[name]:.4g}" if blend.losses else "")
        for name, weight in blend.weights.items()
    ]
    print(f"Trained networks: {'; '.join(said)}")
    for warning in ensemble.warnings(setup, members, blend):
        print(f"warn: {warning}")


if __name__ == "__main__":
    run(main)
