"""A network after some rounds of its training, and its file, for a training that was killed."""

import hashlib
import inspect
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_tabular.config.typed_yaml import Section
from keras_tabular.core.files import atomic_write
from keras_tabular.networks.network import Build
from keras_tabular.table.parquet import part_paths

Logs = dict[str, float]
# The packages that decide the result of a training.
CODE = ("config", "core", "model_file", "networks", "preprocessing", "table", "training")
PACKAGES = ("keras", "numpy", "optuna", "pyarrow", "scipy", "tensorflow")


@dataclass(frozen=True)
class Snapshot:
    """A network after some rounds of training, and its predictions for the rows of its own fold.

    Attributes:
        architecture: Name of the network in `train.networks`.
        fold: The fold that it does not learn from.
        number: Its number among the networks of its architecture, which decides its seed.
        weights: Its weights as `get_weights` returns them; none before the first snapshot.
        history: Logs of its rounds.
        rows: Numbers of its fold's rows over all parts, (n,), int32; none without folds.
        oof: Its predictions for these rows, which it has not seen: (n, outputs), float32.
        steps: Number of steps after which it is a snapshot; 0 if it trains in epochs.
        epochs: Number of epochs in which it has learnt its weights.
        state: The `trainer.variables` after the last round, to continue from.
    """

    architecture: str
    fold: int
    number: int
    weights: list[np.ndarray] = field(default_factory=list)
    history: list[Logs] = field(default_factory=list)
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    oof: np.ndarray = field(default_factory=lambda: np.empty((0, 1), np.float32))
    steps: int = 0
    epochs: float = 0
    state: list[np.ndarray] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the snapshot, the same in every fold: architecture and number of steps."""
        return f"{self.architecture}-{self.steps}" if self.steps else self.architecture


class Checkpoints(NamedTuple):
    """The files of the networks of one training, each after some of its rounds.

    Attributes:
        folder: Holds an `.npz` file for each of them, with arrays and JSON, no pickle.
        key: The `identity` of the training; a file that was written under another one is not read.
    """

    folder: Path
    key: str

    def save(self, name: str, member: Snapshot) -> None:
        """Write a network to a file, whole or not at all."""
        arrays: list[np.ndarray] = []

        def name_array(array: np.ndarray) -> dict[str, str]:
            arrays.append(array)
            return {"array": f"arr_{len(arrays) - 1}"}  # as `savez` names it

        content = json.dumps({"key": self.key, **vars(member)}, default=name_array)
        with atomic_write(self.folder / f"{name}.npz") as partial, partial.open("wb") as file:
            np.savez(file, *arrays, allow_pickle=False, json=np.array(content))

    def load(self, name: str) -> Snapshot | None:
        """Read a network; None if the file is missing, broken or of another training."""
        try:
            with np.load(self.folder / f"{name}.npz", allow_pickle=False) as file:
                content = json.loads(
                    str(file["json"]),
                    object_hook=lambda value: file[value["array"]] if "array" in value else value,
                )
        except Exception:  # a file can be wrong in any way
            return None
        return Snapshot(**content) if content.pop("key") == self.key else None

    def remove(self) -> None:
        """Remove all files, and the folder when nothing else is in it."""
        for path in self.folder.glob("*.npz"):
            path.unlink()
        with suppress(OSError):
            self.folder.rmdir()


def identity(
    sections: Iterable[Section], tables: Iterable[Path], build: Build, code: Iterable[str] = CODE
) -> str:
    """Hash all that decides a training: parameters, tables, code, installed packages.

    Args:
        sections: The schema and the parameters.
        tables: Folders of the rows to learn from.
        build: Builds the layers of a network. The file of this function is hashed.
        code: The packages of the library that take part.
    """
    packages = [f"{name} {version(name)}" for name in PACKAGES]
    params = [section.model_dump_json() for section in sections]
    digest = hashlib.sha256("\n".join([*params, *packages]).encode())
    parts = [path for table in tables for path in part_paths(table)]
    library = Path(__file__).parents[1]
    modules = sorted(path for package in code for path in (library / package).rglob("*.py"))
    for path in [*parts, *modules, Path(inspect.getfile(build))]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
