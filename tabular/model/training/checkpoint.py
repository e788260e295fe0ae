"""The finished rounds of a training, so that it can continue when it was killed."""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tabular.config.typed_yaml import Section
from tabular.core.files import atomic_write
from tabular.model.training.selection import Member
from tabular.table.parquet import part_paths

CODE = ("config", "core", "model", "table")  # packages that decide what a training gives
PACKAGES = ("keras", "numpy", "optuna", "pyarrow", "scipy", "tensorflow")


def identity(
    sections: Iterable[Section], tables: Iterable[Path], code: Iterable[str] = CODE
) -> str:
    """Hash all that decides a training: parameters, tables, code, installed packages.

    Args:
        sections: The schema and the parameters.
        tables: Folders of the rows to learn from.
        code: The packages of `tabular` that take part.
    """
    packages = [f"{name} {version(name)}" for name in PACKAGES]
    params = [section.model_dump_json() for section in sections]
    digest = hashlib.sha256("\n".join([*params, *packages]).encode())
    parts = [path for table in tables for path in part_paths(table)]
    tabular = Path(__file__).parents[2]
    modules = sorted(path for package in code for path in (tabular / package).rglob("*.py"))
    for path in [*parts, *modules]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


class Checkpoints(NamedTuple):
    """The files of the networks of one training, each after some of its rounds.

    Attributes:
        folder: Holds an `.npz` file for each of them, with arrays and JSON, no pickle.
        key: The `identity` of the training; a file that was written under another one is not read.
    """

    folder: Path
    key: str

    def save(self, name: str, member: Member) -> None:
        """Write a network to a file, whole or not at all."""
        arrays: list[np.ndarray] = []

        def name_array(array: np.ndarray) -> dict[str, str]:
            arrays.append(array)
            return {"array": f"arr_{len(arrays) - 1}"}  # as `savez` names it

        content = json.dumps({"key": self.key, **vars(member)}, default=name_array)
        with atomic_write(self.folder / f"{name}.npz") as partial, partial.open("wb") as file:
            np.savez(file, *arrays, allow_pickle=False, json=np.array(content))

    def load(self, name: str) -> Member | None:
        """Read a network; None if the file is missing, broken or of another training."""
        try:
            with np.load(self.folder / f"{name}.npz", allow_pickle=False) as file:
                content = json.loads(
                    str(file["json"]),
                    object_hook=lambda value: file[value["array"]] if "array" in value else value,
                )
        except Exception:  # a file can be wrong in any way
            return None
        return Member(**content) if content.pop("key") == self.key else None

    def remove(self) -> None:
        """Remove all files, and the folder when nothing else is in it."""
        for path in self.folder.glob("*.npz"):
            path.unlink()
        with suppress(OSError):
            self.folder.rmdir()
