"""Snapshots of networks, and their files, from which a killed training continues.

A checkpoint is the file of one snapshot. Its name says the architecture, the number of
the network and the number of rounds that it had trained for before. It contains the
`identity` of the training, a hash of the parameters, the tables, the code and the
versions of packages; a file with another identity is not read. The version of Python,
the CPU and environment variables are not part of the identity.
"""

import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.core.files import atomic_write
from keras_tabular.core.typed_yaml import Section
from keras_tabular.network.backend import tf
from keras_tabular.table.parquet import part_paths
from keras_tabular.training.architecture import Build

Logs = dict[str, float]
# Packages of this library whose code decides the snapshots.
CODE = ("config", "core", "network", "table", "training")
# Installed packages that decide them. TensorFlow's version comes from its module, since
# its package may be tensorflow-cpu.
PACKAGES = ("keras", "numpy", "pyarrow", "scikit-learn", "scipy", "tzdata")


class Snapshot(NamedTuple):
    """A network after some rounds of training, with predictions for its held-out fold.

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
        ended: Why the training ended with this snapshot; empty if it went on.
    """

    architecture: str
    fold: int
    number: int
    weights: Sequence[np.ndarray] = ()
    history: Sequence[Logs] = ()
    rows: np.ndarray = np.empty(0, np.int32)
    outputs: np.ndarray = np.empty((0, 1), np.float32)
    steps: int = 0
    epochs: float = 0
    state: Sequence[np.ndarray] = ()
    ended: str = ""

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
            name = f"arr_{len(arrays)}"  # which `savez` gives it
            arrays.append(array)
            return {"array": name}

        content = snapshot._asdict() | {"key": self.key}
        text = json.dumps(content, default=append_array)
        with (
            atomic_write(self.folder / f"{name}.npz") as partial,
            partial.open("wb") as file,
        ):
            np.savez(file, *arrays, json=np.array(text))

    def load(self, name: str) -> Snapshot | None:
        """Read a snapshot; None if its file is missing, damaged or has another key."""
        try:
            with np.load(self.folder / f"{name}.npz") as file:

                def replace_array(value: dict[str, Any]) -> Any:
                    return file[value["array"]] if "array" in value else value

                content = json.loads(str(file["json"]), object_hook=replace_array)
        except Exception:  # a damaged file can fail in any way
            return None
        if content.pop("key") != self.key:
            return None
        return Snapshot(**content)


def identity(
    sections: Iterable[Section],
    tables: Iterable[Path],
    build: Build,
) -> str:
    """Hash what decides a training: parameters, tables, code and package versions.

    Args:
        sections: The schema and the parameters.
        tables: Folders of the tables that the training reads.
        build: Builds the layers of a network. The file that defines it is hashed, and
            all modules of the project that are imported.
    """
    lines = [section.model_dump_json() for section in sections]
    lines += [f"{name} {version(name)}" for name in PACKAGES]
    lines.append(f"tensorflow {tf.__version__}")
    digest = hashlib.sha256("\n".join(lines).encode())
    library = Path(__file__).parents[1]
    files = [Path(inspect.getfile(build)), *project_modules(library)]
    for package in CODE:
        files += sorted((library / package).rglob("*.py"))
    for table in tables:
        files += part_paths(table)
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def project_modules(library: Path) -> list[Path]:
    """Return the files of the imported modules in the current folder, in their order.

    Args:
        library: Folder of this library, whose modules are left out.
    """
    files = set()
    for module in list(sys.modules.values()):
        # Some modules have no file.
        file = Path(getattr(module, "__file__", None) or "").absolute()
        is_installed = "site-packages" in file.parts or file.is_relative_to(sys.prefix)
        if is_installed or file.is_relative_to(library):
            continue
        if file.is_file() and file.is_relative_to(Path.cwd()):
            files.add(file)
    return sorted(files)
