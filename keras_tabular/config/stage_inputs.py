"""Check that the inputs of a stage do not change while it runs.

DVC records the parameters and the hashes of the dependencies after the command has
ended. If one of them changes in the meantime, dvc.lock would claim that the outputs
were made from the new content.
"""

import hashlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from keras_tabular.config.schema import SCHEMA
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.core.typed_yaml import flatten, read_yaml

IN_PARAMS = " in params.yaml"  # the end of a parameter's name in a message


class StageInputs:
    """The parameters and the files that a stage depends on, as they are at its start.

    Args:
        name: The stage that DVC runs, as the environment variable `DVC_STAGE` names it,
            such as `train` or `FOLDER/dvc.yaml:train`. It is read from the dvc.yaml of
            the current folder. None outside of DVC, where nothing is recorded.
    """

    def __init__(self, name: str | None) -> None:
        self.name = name
        self._stage: dict[str, Any] = {}
        self._inputs: dict[str, Any] = {}
        if not name:
            return
        with suppress(UserError, OSError):  # the stage itself reports them
            stages = read_yaml(Path("dvc.yaml")).get("stages") or {}
            self._stage = stages.get(name.rpartition(":")[2], {})
            self._inputs = read_inputs(self._stage)

    def check(self) -> None:
        """Compare the inputs with those at the start; a file counts by its content.

        Raises:
            UserError: An input has changed. The message names it.
        """
        before = self._inputs
        now = read_inputs(self._stage)
        changed = [name for name in before | now if before.get(name) != now.get(name)]
        if not changed:
            return
        message = (
            f"these inputs changed while stage {self.name} ran: {format_list(changed)}."
            " Its outputs do not match them: run `dvc repro` again."
        )
        old_values = [
            f"{name} was {before[name]}"
            for name in changed
            if name in before and name.endswith(IN_PARAMS)
        ]
        if old_values:
            message += (
                " `dvc exp run -S` edits params.yaml even if it is refused. To restore:"
                f" {format_list(old_values)}."
            )
        raise UserError(message)


def read_inputs(stage: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a stage, and the hashes of the files it depends on.

    Missing files and Python's bytecode are left out.
    """
    inputs: dict[str, Any] = {}
    if not stage:
        return inputs
    sections = tuple(f"{section}." for section in stage.get("params", []))
    for key, value in flatten(read_yaml(Path("params.yaml"))):
        if f"{key}.".startswith(sections):  # train has train.folds, not trainer.folds
            inputs[f"{key}{IN_PARAMS}"] = value
    source = str(read_yaml(SCHEMA).get("source"))
    for dependency in stage.get("deps", []):
        root = Path(dependency.replace("${source}", source))
        for path in [root, *root.rglob("*")]:
            if path.is_file() and "__pycache__" not in path.parts:
                status = path.stat()
                inputs[str(path)] = hash_file(path, status.st_size, status.st_mtime_ns)
    return inputs


@cache
def hash_file(path: Path, size: int, time: int) -> bytes:
    """Return the hash of a file.

    Args:
        path: The file.
        size, time: Its size, and the time of its last change in nanoseconds. If they
            have not changed, the file is not read again.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()
