"""Check that the inputs of a stage do not change while it runs.

DVC records the parameters and the hashes of the dependencies after the command has ended. If one of
them changes in the meantime, dvc.lock would claim that the outputs were made from the new content.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from keras_tabular.config.schema import SCHEMA
from keras_tabular.config.typed_yaml import read_yaml
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.core.nested import flatten


class FileState(NamedTuple):
    """Size, time of the last change in nanoseconds, and hash of a file."""

    size: int
    time: int
    digest: bytes


class StageInputs:
    """The parameters of a stage, and the files that it depends on, as they are when it starts.

    Args:
        name: The stage that DVC runs, as the environment variable `DVC_STAGE` names it; None
            outside of DVC, where nothing is recorded.
    """

    def __init__(self, name: str | None) -> None:
        self.name = name
        self._stage: dict[str, Any] = {}
        self._params: dict[str, Any] = {}
        self._files: dict[str, FileState] = {}
        with suppress(UserError, OSError):  # the stage itself reports them
            self._stage = find_stage(name) if name else {}
            self._params, self._files = self._read_params(), self._read_files()

    def check(self) -> None:
        """Compare the inputs with those at the start.

        Only files whose size or time has changed are read, and a file with the same content as
        before is the same input.

        Raises:
            UserError: An input has changed. The message names it.
        """
        inputs_before, inputs = self._params | self._files, self._read_params() | self._read_files()
        names = {**inputs_before, **inputs}
        if changed := [name for name in names if inputs_before.get(name) != inputs.get(name)]:
            problem = f"these inputs changed while stage {self.name} ran: {format_list(changed)}"
            raise UserError(f"{problem}. Its outputs do not match them: run `dvc repro` again.")

    def _read_params(self) -> dict[str, Any]:
        """Return the parameters of the stage by dotted key."""
        sections = tuple(f"{section}." for section in self._stage.get("params", []))
        values = flatten(read_yaml(Path("params.yaml"))) if sections else ()
        return {f"{k} in params.yaml": v for k, v in values if f"{k}.".startswith(sections)}

    def _read_files(self) -> dict[str, FileState]:
        """Return the state of each file that the stage depends on. Missing files are left out."""
        states = {}
        for path in dependencies(self._stage):
            status, before = path.stat(), self._files.get(str(path))
            if before and before[:2] == (status.st_size, status.st_mtime_ns):
                states[str(path)] = before
                continue
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "blake2b").digest()
            state = FileState(status.st_size, status.st_mtime_ns, digest)
            states[str(path)] = before if before and before.digest == digest else state
        return states


def find_stage(name: str) -> dict[str, Any]:
    """Return the entry of a stage in the dvc.yaml that runs it in the current folder.

    That is the dvc.yaml of this folder, or one of another folder whose stage has this one as its
    `wdir`. The entry is empty if there is none.

    Args:
        name: `STAGE`, or `PATH/dvc.yaml:STAGE` with a path from the folder in which DVC started.

    Raises:
        UserError: A dvc.yaml cannot be read.
    """
    folder, (path, _, stage_name) = Path.cwd(), name.rpartition(":")
    root = Path(os.environ.get("DVC_ROOT", folder)).resolve()
    above = [each for each in folder.parents if each.is_relative_to(root)]
    for file in (*(each / "dvc.yaml" for each in (folder, *above)), root / path, folder / path):
        if file.is_file():
            stage: dict[str, Any] = read_yaml(file).get("stages", {}).get(stage_name, {})
            if stage and (file.parent / stage.get("wdir", ".")).resolve() == folder.resolve():
                return stage
    return {}


def dependencies(stage: dict[str, Any]) -> Iterator[Path]:
    """Yield each file that a stage depends on, except for Python's bytecode."""
    source = str(read_yaml(SCHEMA).get("source")) if "deps" in stage else ""
    for dependency in stage.get("deps", []):
        root = Path(dependency.replace("${source}", source))
        for path in [root, *root.rglob("*")]:
            if "__pycache__" not in path.parts and path.is_file():
                yield path
