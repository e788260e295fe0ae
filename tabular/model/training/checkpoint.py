"""The state of a training after an epoch, in one file, so that a killed one can continue."""

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tabular.config.typed_yaml import Section
from tabular.core.files import atomic_write
from tabular.model.backend import keras
from tabular.table.parquet import part_paths

SECONDS = 1.0  # between two writes; a training that is shorter writes once, at its end
CODE = ("config", "model", "table")  # packages that decide what a training gives
PLAIN = (bool, int, float, str, type(None))


def identity(
    sections: Iterable[Section], tables: Iterable[Path], code: Iterable[str] = CODE
) -> str:
    """A hash of all that decides a training: parameters, tables, code, installed packages.

    Args:
        sections: the schema and the parameters.
        tables: the folders of the rows to learn from.
        code: the packages of `tabular` that take part.
    """
    packages = [f"{name} {version(name)}" for name in ("keras", "numpy", "optuna", "tensorflow")]
    params = [section.model_dump_json() for section in sections]
    digest = hashlib.sha256("\n".join([*params, *packages]).encode())
    parts = [path for table in tables for path in part_paths(table)]
    for path in [*parts, *code_files(code)]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def code_files(packages: Iterable[str]) -> list[Path]:
    """The modules of packages of `tabular`, sorted."""
    folder = Path(__file__).parents[2]
    return sorted(path for package in packages for path in (folder / package).rglob("*.py"))


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
                state = json.loads(str(file["state"]))
                if state["identity"] != self.identity:
                    return []
                arrays = dict(file)
            values = [_as(v, arrays[f"variable_{i}"]) for i, v in enumerate(variables)]
            attributes = [dict(state["callbacks"][number]) for number in range(len(callbacks))]
            best = [
                [_as(v, arrays[f"best_{number}_{i}"]) for i, v in enumerate(model.weights)]
                if f"best_{number}_0" in arrays
                else None
                for number in range(len(callbacks))
            ]
            history = [{str(k): float(v) for k, v in logs.items()} for logs in state["history"]]
            stop_training = bool(state["stop_training"])
        except Exception:  # a file can be wrong in any way; the training starts afresh
            return []
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        for callback, public, weights in zip(callbacks, attributes, best, strict=True):
            vars(callback).update(public)
            if weights:
                callback.best_weights = weights
        model.stop_training = stop_training
        return history


def _as(variable: keras.Variable, value: np.ndarray) -> np.ndarray:
    """`value` for a variable; raises `ValueError` where it is not of its shape and type."""
    if (value.shape, value.dtype) != (tuple(variable.shape), np.asarray(variable).dtype):
        raise ValueError(f"{value.shape} {value.dtype} for {variable.path}")
    return value


def remove_checkpoints(folder: Path) -> None:
    """Remove what `Checkpoint` wrote to a folder, and the folder when nothing else is in it."""
    for path in folder.glob("*.npz"):
        path.unlink()
    with suppress(OSError):
        folder.rmdir()
