"""The state of a training after an epoch, in one file, so that a killed one can continue."""

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tabular.config.typed_yaml import Section
from tabular.core.files import atomic_write
from tabular.model.backend import keras
from tabular.table.parquet import part_paths

SECONDS = 1.0  # between two writes; a training that is shorter writes once, at its end
CODE = ("config", "model", "table")  # packages that decide what a training gives


def identity(
    sections: Iterable[Section], tables: Iterable[Path], code: Iterable[str] = CODE
) -> str:
    """Hash all that decides a training: parameters, tables, code, installed packages.

    Args:
        sections: the schema and the parameters.
        tables: the folders of the rows to learn from.
        code: the packages of `tabular` that take part.
    """
    packages = [f"{name} {version(name)}" for name in ("keras", "numpy", "optuna", "tensorflow")]
    params = [section.model_dump_json() for section in sections]
    digest = hashlib.sha256("\n".join([*params, *packages]).encode())
    parts = [path for table in tables for path in part_paths(table)]
    tabular = Path(__file__).parents[2]
    modules = sorted(path for package in code for path in (tabular / package).rglob("*.py"))
    for path in [*parts, *modules]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


class Checkpoint:
    """One training's state in a file: variables, best weights, logs of the epochs.

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
        variables: Sequence[keras.Variable],
        history: list[dict[str, float]],
        callbacks: Sequence[keras.callbacks.Callback] = (),
        *,
        ended: bool = False,
    ) -> None:
        """Write the state after an epoch, at most once in `SECONDS`, or of the `ended` training."""
        if not ended and time.monotonic() - self._written < SECONDS:
            return
        arrays = {f"variable_{i}": np.asarray(variable) for i, variable in enumerate(variables)}
        for callback in callbacks:
            best_weights = getattr(callback, "best_weights", None) or []
            arrays |= {f"best_{i}": weight for i, weight in enumerate(best_weights)}
        state = json.dumps({"identity": self.identity, "history": history})
        with atomic_write(self.path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, state=np.array(state), **arrays)
        self._written = time.monotonic()

    def restore(
        self,
        variables: Sequence[keras.Variable],
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> list[dict[str, float]]:
        """Set the saved variables, and let the callbacks see the epochs until then.

        Returns:
            The logs of these epochs; none if the file is missing, broken or of another training.
        """
        try:
            with np.load(self.path, allow_pickle=False) as file:
                state, arrays = json.loads(str(file["state"])), dict(file)
        except Exception:  # a file can be wrong in any way
            return []
        if state["identity"] != self.identity:
            return []
        history: list[dict[str, float]] = state["history"]
        for i, variable in enumerate(variables):
            variable.assign(arrays[f"variable_{i}"])
        best_weights = [array for name, array in arrays.items() if name.startswith("best_")]
        for callback in callbacks:
            for number, logs in enumerate(history):
                callback.on_epoch_end(number, logs)
            if getattr(callback, "best_weights", None):  # early stopping took those of now
                callback.best_weights = best_weights
        return history


def remove_checkpoints(folder: Path) -> None:
    """Remove what `Checkpoint` wrote to a folder, and the folder when nothing else is in it."""
    for path in folder.glob("*.npz"):
        path.unlink()
    with suppress(OSError):
        folder.rmdir()
