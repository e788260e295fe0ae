"""What `metrics/networks.json` and `metrics/curves` say about a training."""

import math
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from keras_tabular.core.files import atomic_write, write_json, write_points
from keras_tabular.core.numbers import round_for_comparison
from keras_tabular.preprocessing.statistics import describe_steps
from keras_tabular.training.architecture import Architecture
from keras_tabular.training.checkpoint import Logs, Snapshot
from keras_tabular.training.ensemble import WeightedEnsemble
from keras_tabular.training.fit import group_by
from keras_tabular.training.setup import Setup


def write_description(
    folder: Path, setup: Setup, snapshots: list[Snapshot], ensemble: WeightedEnsemble
) -> None:
    """Write `networks.json` and `curves` to a folder.

    Args:
        folder: The folder metrics.
        snapshots: All snapshots of the training.
    """
    description = describe(setup, snapshots, ensemble)
    write_json(folder / "networks.json", description)
    write_curves(folder / "curves", snapshots, description["curves"])


def describe(setup: Setup, snapshots: list[Snapshot], ensemble: WeightedEnsemble) -> dict[str, Any]:
    """Return the content of `metrics/networks.json`."""
    networks = {
        name: describe_architecture(setup.architectures[name], same, ensemble)
        for name, same in group_by(snapshots, "architecture").items()
    }
    columns = describe_steps(setup.preprocessor.statistics, setup.schema, setup.train)
    curves = max(networks, key=lambda name: networks[name]["weight"])
    return {"folds": setup.train.folds, "networks": networks, "columns": columns, "curves": curves}


def describe_architecture(
    architecture: Architecture, snapshots: list[Snapshot], ensemble: WeightedEnsemble
) -> dict[str, Any]:
    """Describe the parameters of an architecture, and the loss and the weight of its snapshots."""
    named = group_by(snapshots, "name")
    weights = {name: ensemble.weights.get(name, 0.0) for name in named}
    rounded = {name: round_for_comparison(ensemble.losses.get(name, 0)) for name in named}
    best = min(named, key=lambda name: (rounded[name], -weights[name]))
    content: dict[str, Any] = {
        "weight": sum(weights.values()),
        "members": sum(len(same) for name, same in named.items() if weights[name]),
        "loss": ensemble.losses.get(best),
        "stacked": architecture.is_stackable,
        "params": architecture.params.model_dump(),
        "epochs": [snapshot.epochs for snapshot in named[best]],
    }
    if architecture.max_cycles:
        content["cycles"] = [
            {"steps": same[0].steps, "loss": ensemble.losses.get(name), "weight": weights[name]}
            for name, same in named.items()
        ]
    return content


def write_curves(folder: Path, snapshots: list[Snapshot], architecture: str) -> None:
    """Write a learning curve for each metric: its mean over the networks after each round.

    A file has the columns epoch, train and validation. Validation is empty if no rows are held out,
    and the file of a metric of another task has no rows.

    Args:
        snapshots: All snapshots of the training.
        architecture: The architecture whose longest trainings are shown.
    """
    same = [snapshot for snapshot in snapshots if snapshot.architecture == architecture]
    histories = [snapshot.history for snapshot in same if snapshot.name == same[-1].name]
    rounds = [[logs for logs in round_logs if logs] for round_logs in zip_longest(*histories)]
    with atomic_write(folder) as partial:
        for name in ("loss", "accuracy", "mean_absolute_error"):
            points = [logs for logs in rounds if name in logs[0]]
            columns = {
                "epoch": [logs[0]["epoch"] for logs in points],
                "train": [mean(logs, name) for logs in points],
                "validation": [mean(logs, f"val_{name}") for logs in points],
            }
            write_points(partial / f"{name}.csv", columns)


def mean(logs: list[Logs], key: str) -> float:
    """Return the mean of a metric over some networks, NaN if they do not have it."""
    return float(np.mean([log.get(key, math.nan) for log in logs]))
