"""Snapshots of the networks in training, and their files, from which a killed training continues.

A checkpoint is the file of one snapshot. Its name says the architecture, the number of
the network and the number of rounds that it had trained for before. It contains the
`identity` of the training, a hash of the parameters, the tables, the code and the
versions of packages; a file with another identity is not read. The version of Python,
the CPU and environment variables are not part of the identity.
"""

import hashlib
import inspect
import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_tabular.config.typed_yaml import Section
from keras_tabular.core.files import atomic_write
from keras_tabular.network.backend import tf
from keras_tabular.table.parquet import part_paths
from keras_tabular.training.architecture import Build

Logs = dict[str, float]
# Packages of this library, and installed packages, whose code decides the snapshots.
# TensorFlow's version comes from its module, since its package may be tensorflow-cpu.
CODE = ("config", "core", "network", "table", "training")
PACKAGES = ("keras", "numpy", "pyarrow", "scikit-learn", "scipy", "tzdata")


@dataclass(frozen=True)
class Snapshot:
    """A network after some rounds of training, with its predictions for its held-out fold.

    Attributes:
        architecture: Key of the architecture in `train.networks`.
        fold: The fold that the network does not learn from; 0 without folds.
        number: Number of the network among those of its architecture, which decides its
            seed.
        weights: Weights as `get_weights` returns them; empty before the first round.
        history: Logs of each round.
        rows: Numbers of the held-out rows among the training rows, int32, shape (n,);
            empty without folds.
        outputs: Outputs of the network for these rows, float32, shape (n, outputs).
        steps: Number of training steps, if it trains in cycles; else 0.
        epochs: Number of epochs after which the network had these weights.
        state: `get_state` after the last round, from which the training continues.
    """

    architecture: str
    fold: int
    number: int
    weights: list[np.ndarray] = field(default_factory=list)
    history: list[Logs] = field(default_factory=list)
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    outputs: np.ndarray = field(default_factory=lambda: np.empty((0, 1), np.float32))
    steps: int = 0
    epochs: float = 0
    state: list[np.ndarray] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Architecture and number of steps; the same for all networks and folds."""
        return f"{self.architecture}-{self.steps}" if self.steps else self.architecture


class Checkpoints(NamedTuple):
    """The files of the snapshots of a training.

    Attributes:
        folder: Folder of an `.npz` file for each snapshot, with arrays and JSON,
            without pickles.
        key: The `identity` of the training.
    """

    folder: Path
    key: str

    def save(self, name: str, snapshot: Snapshot) -> None:
        """Write a snapshot to a file, whole or not at all."""
        arrays: list[np.ndarray] = []

        def append_array(array: np.ndarray) -> dict[str, str]:
            arrays.append(array)
            return {
                "array": f"arr_{len(arrays) - 1}",
            }  # its name in the file by `savez`

        content = json.dumps({"key": self.key, **vars(snapshot)}, default=append_array)
        with (
            atomic_write(self.folder / f"{name}.npz") as partial,
            partial.open("wb") as file,
        ):
            np.savez(file, *arrays, allow_pickle=False, json=np.array(content))

    def load(self, name: str) -> Snapshot | None:
        """Read a snapshot; None if the file is missing, damaged or from another training."""
        try:
            with np.load(self.folder / f"{name}.npz", allow_pickle=False) as file:
                content = json.loads(
                    str(file["json"]),
                    object_hook=lambda value: (
                        file[value["array"]] if "array" in value else value
                    ),
                )
        except Exception:  # a damaged file can fail in any way
            return None
        return Snapshot(**content) if content.pop("key") == self.key else None

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def identity(sections: Iterable[Section], tables: Iterable[Path], build: Build) -> str:
    """Hash what decides a training: parameters, tables, code and versions of packages.

    Args:
        sections: The schema and the parameters.
        tables: Folders of the tables that the training reads.
        build: Builds the layers of a network. The file that defines it is hashed, and
            all modules of the project that are imported.
    """
    packages = [
        *(f"{name} {version(name)}" for name in PACKAGES),
        f"tensorflow {tf.__version__}",
    ]
    params = [section.model_dump_json() for section in sections]
    digest = hashlib.sha256("\n".join([*params, *packages]).encode())
    parts = [path for table in tables for path in part_paths(table)]
    library = Path(__file__).parents[1]
    modules = sorted(
        path for package in CODE for path in (library / package).rglob("*.py")
    )
    for path in [
        *parts,
        *modules,
        Path(inspect.getfile(build)),
        *project_modules(library),
    ]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def project_modules(library: Path) -> list[Path]:
    """Return the files of the imported modules in the current folder, without installed ones.

    Args:
        library: Folder of this library, whose modules are left out.
    """
    names = [getattr(module, "__file__", None) for module in [*sys.modules.values()]]
    files = {Path(name).absolute() for name in names if name}
    outside = (library, *map(Path, (sys.prefix, sys.base_prefix)))
    return sorted(
        file
        for file in files
        if file.is_relative_to(Path.cwd())
        and file.is_file()
        and "site-packages" not in file.parts
        and not any(map(file.is_relative_to, outside))
    )
