"""What DVC will record of a stage that it runs, which has to be what the stage has read.

DVC saves parameters and hashes dependencies after the command has ended: what changes meanwhile
would stand in dvc.lock beside outputs that were made without it.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from tabular.config.typed_yaml import read_yaml
from tabular.core import process
from tabular.core.errors import MAX_LISTED, UserError, truncate
from tabular.core.nested import flatten

PARAMS = "params.yaml"


class FileState(NamedTuple):
    """By what a change of a file is seen."""

    size: int
    modified: int  # nanoseconds
    inode: int

    def __str__(self) -> str:
        return f"{self.size:,} bytes of {datetime.fromtimestamp(self.modified / 1e9):%H:%M:%S}"


def stage_inputs(name: str) -> dict[str, Any]:
    """The parameters of a stage by their dotted keys, and the state of each file it depends on.

    Nothing of a stage that dvc.yaml has not, and of files that are missing.

    Args:
        name: as DVC gives it; of another folder than the project's it begins with a path.

    Raises:
        UserError: a YAML file cannot be read.
    """
    pipeline = read_yaml(Path("dvc.yaml"))
    stage = pipeline.get("stages", {}).get(name.rpartition(":")[2], {})
    found: dict[str, Any] = {}
    values_of = cache(lambda file: dict(flatten(read_yaml(Path(file)))))
    for entry in stage.get("params", []):
        for file, keys in ({PARAMS: [entry]} if isinstance(entry, str) else entry).items():
            for key, value in values_of(file).items():
                if not keys or any(f"{key}.".startswith(f"{of}.") for of in keys):
                    found[f"{key} in {file}"] = value
    variables = _variables(pipeline.get("vars", []))
    for dependency in stage.get("deps", []):
        root = Path(Template(dependency).safe_substitute(variables))
        for file in [root, *root.rglob("*")]:
            if "__pycache__" not in file.parts and file.is_file():
                state = file.stat()
                found[str(file)] = FileState(state.st_size, state.st_mtime_ns, state.st_ino)
    return found


def _variables(entries: list[Any]) -> dict[str, Any]:
    """The values of `vars` in dvc.yaml: written there, or `FILE:KEY,KEY`."""
    found: dict[str, Any] = {}
    for entry in entries:
        if isinstance(entry, str):
            file, _, keys = entry.partition(":")
            values = read_yaml(Path(file))
            entry = {key: values.get(key) for key in keys.split(",")} if keys else values
        found |= entry
    return found


def stage_runner(name: str | None) -> Callable[[Callable[[], None]], None]:
    """What runs the `main` of a stage, and fails where its inputs change from now on until its end.

    Args:
        name: of the stage that DVC runs; None outside of DVC, where nothing is recorded.
    """
    before: dict[str, Any] = {}
    with suppress(UserError, OSError):  # of which the stage itself tells
        before = stage_inputs(name) if name else {}

    def checked(main: Callable[[], None]) -> None:
        main()
        after = stage_inputs(name) if name else {}
        changed = [
            f"{key} from {truncate(str(before.get(key)))} to {truncate(str(after.get(key)))}"
            for key in {**before, **after}
            if before.get(key) != after.get(key)
        ]
        if changed:
            found = "; ".join(changed[:MAX_LISTED])
            raise UserError(
                f"changed while stage {name} ran: {found}. dvc.lock would name what the stage has "
                "not read: run `dvc repro` again"
            )

    return lambda main: process.run(partial(checked, main))
