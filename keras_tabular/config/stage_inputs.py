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
from keras_tabular.config.typed_yaml import flatten, read_yaml
from keras_tabular.core.errors import UserError, format_list


class StageInputs:
    """The parameters of a stage, and the files that it depends on, as they are when it starts.

    Args:
        name: The stage that DVC runs, as the environment variable `DVC_STAGE` names it,
            such as `train` or `FOLDER/dvc.yaml:train`. It is read from the dvc.yaml of
            the current folder. None outside of DVC, where nothing is recorded.
    """

    def __init__(self, name: str | None) -> None:
        self.name = name
        self._stage: dict[str, Any] = {}
        self._before: dict[str, Any] = {}
        with suppress(UserError, OSError):  # the stage itself reports them
            if name:
                stages = read_yaml(Path("dvc.yaml")).get("stages") or {}
                self._stage = stages.get(name.rpartition(":")[2], {})
            self._before = read_inputs(self._stage)

    def check(self) -> None:
        """Compare the inputs with those at the start; a file counts by its content.

        Raises:
            UserError: An input has changed. The message names it.
        """
        before = self._before
        now = read_inputs(self._stage)
        if changed := [
            name for name in before | now if before.get(name) != now.get(name)
        ]:
            problem = (
                f"these inputs changed while stage {self.name} ran:"
                f" {format_list(changed)}"
            )
            advice = "Its outputs do not match them: run `dvc repro` again"
            values = [
                f"{n} was {before[n]}"
                for n in changed
                if " in params" in n and n in before
            ]
            hint = (
                ". `dvc exp run -S` edits params.yaml even if it is refused. To"
                " restore: "
            )
            raise UserError(
                f"{problem}. {advice}{hint + format_list(values) if values else ''}.",
            )


def read_inputs(stage: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a stage by dotted key, and the hash of each file it depends on.

    Missing files and Python's bytecode are left out.
    """
    sections = tuple(f"{section}." for section in stage.get("params", []))
    values = flatten(read_yaml(Path("params.yaml"))) if sections else ()
    inputs = {
        f"{k} in params.yaml": v for k, v in values if f"{k}.".startswith(sections)
    }
    source = str(read_yaml(SCHEMA).get("source")) if "deps" in stage else ""
    for dependency in stage.get("deps", []):
        root = Path(dependency.replace("${source}", source))
        for path in [root, *root.rglob("*")]:
            if "__pycache__" not in path.parts and path.is_file():
                status = path.stat()
                inputs[str(path)] = hash_file(path, status.st_size, status.st_mtime_ns)
    return inputs


@cache
def hash_file(path: Path, size: int, time: int) -> bytes:
    """Hash a file; again only if its size or the time of its last change, in ns, is another."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()
