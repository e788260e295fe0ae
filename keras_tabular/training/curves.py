"""The learning curves of networks: their metrics after each round."""

import math
from itertools import zip_longest
from pathlib import Path

import numpy as np

from keras_tabular.core.files import atomic_write, write_points
from keras_tabular.training.checkpoint import Logs, Snapshot


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
