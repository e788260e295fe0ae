"""The state of a training after an epoch, in one file, so that a killed one can continue."""

import hashlib
import json
import time
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tabular.files import atomic_write
from tabular.model.backend import keras

SECONDS = 1.0  # between two writes; a training that is shorter writes once, at its end
# What decides what a training gives.
TRAINING_CODE = (
    *("schema.py", "params/train.py", "model/*.py"),
    *("table/arrays.py", "table/cells.py", "table/parquet.py", "table/summary.py"),
)
PLAIN = (bool, int, float, str, type(None))


def code_files(*patterns: str) -> list[Path]:
    """The files of the library that match the patterns, such as `TRAINING_CODE`, sorted."""
    folder = Path(__file__).parents[1]
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def identity(params: str, files: Iterable[Path]) -> str:
    """A hash of all that decides a training: parameters, files, packages.

    Args:
        params: the parameters as text.
        files: the table to learn from, and the code, see `code_files`.
    """
    packages = [f"{name} {version(name)}" for name in ("keras", "numpy", "tensorflow")]
    digest = hashlib.sha256("\n".join([params, *packages]).encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


class Checkpoint:
    """One training's state in a file: variables, Keras callbacks, logs of the epochs.

    Args:
        path: the `.npz` file, written whole or not at all; it holds arrays and JSON, no pickle.
        identity: a file that was written under another one is not read.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.identity = identity
        self._written = time.monotonic()

    def save(
        self,
        model: keras.Model,
        variables: Sequence[keras.Variable],
        callbacks: Sequence[keras.callbacks.Callback],
        history: list[dict[str, float]],
        *,
        ended: bool = False,
    ) -> None:
        """Write the state after an epoch, at most once in `SECONDS`, or of the `ended` training."""
        if not ended and time.monotonic() - self._written < SECONDS:
            return
        arrays = {f"variable_{i}": np.asarray(v) for i, v in enumerate(variables)}
        attributes: list[dict[str, Any]] = []
        for number, callback in enumerate(callbacks):
            public = {k: v for k, v in vars(callback).items() if not k.startswith("_")}
            attributes.append({k: v for k, v in public.items() if isinstance(v, PLAIN)})
            for i, weight in enumerate(public.get("best_weights") or []):
                arrays[f"best_{number}_{i}"] = weight
        state = {
            "identity": self.identity,
            "history": history,
            "stop_training": ended or model.stop_training,
            "callbacks": attributes,
        }
        with atomic_write(self.path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, state=np.array(json.dumps(state)), **arrays)
        self._written = time.monotonic()

    def restore(
        self,
        model: keras.Model,
        variables: Sequence[keras.Variable],
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> list[dict[str, float]]:
        """Set the saved state; the logs of the epochs that it holds, none where nothing fits."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = dict(file)
            state = json.loads(str(arrays["state"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return []
        if state["identity"] != self.identity:
            return []
        for number, variable in enumerate(variables):
            variable.assign(arrays[f"variable_{number}"])
        for number, callback in enumerate(callbacks):
            vars(callback).update(state["callbacks"][number])
            if f"best_{number}_0" in arrays:
                count = len(model.get_weights())
                callback.best_weights = [arrays[f"best_{number}_{i}"] for i in range(count)]
        model.stop_training = state["stop_training"]
        return state["history"]


def remove_checkpoints(folder: Path) -> None:
    """Remove what `Checkpoint` wrote to a folder, and the folder when nothing else is in it."""
    for path in folder.glob("*.npz"):
        path.unlink()
    with suppress(OSError):
        folder.rmdir()
