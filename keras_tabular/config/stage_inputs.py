"""What DVC will record of a stage that it runs, which has to be what the stage has read.

DVC saves parameters and hashes dependencies after the command has ended: what changes meanwhile
would stand in dvc.lock with outputs that were made without it.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from string import Template
from typing import Any

from keras_tabular.config.typed_yaml import read_yaml
from keras_tabular.core import process
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.core.nested import flatten

PARAMS = "params.yaml"


def stage_inputs(name: str) -> dict[str, Any]:
    """Return the parameters of a stage by their dotted keys, and the state of each dependency.

    A stage that dvc.yaml does not name has none, and missing files are left out.

    Args:
        name: The stage as DVC names it, with a path if it is in another folder than the project's.

    Raises:
        UserError: A YAML file cannot be read.
    """
    pipeline = read_yaml(Path("dvc.yaml"))
    stage = pipeline.get("stages", {}).get(name.rpartition(":")[2], {})
    inputs: dict[str, Any] = {}
    for entry in stage.get("params", []):
        for file, keys in ({PARAMS: [entry]} if isinstance(entry, str) else entry).items():
            for key, value in flatten(read_yaml(Path(file))):
                if not keys or any(f"{key}.".startswith(f"{section}.") for section in keys):
                    inputs[f"{key} in {file}"] = value
    variables: dict[str, Any] = {}
    for entry in pipeline.get("vars", []):  # values, a file of values, or FILE:KEY,KEY
        file, _, keys = entry.partition(":") if isinstance(entry, str) else ("", "", "")
        values = read_yaml(Path(file)) if file else entry
        variables |= {key: values.get(key) for key in keys.split(",")} if keys else values
    for dependency in stage.get("deps", []):
        root = Path(Template(dependency).safe_substitute(variables))
        for path in [root, *root.rglob("*")]:
            if "__pycache__" not in path.parts and path.is_file():
                state = path.stat()
                inputs[str(path)] = state.st_size, state.st_mtime_ns
    return inputs


def stage_runner(name: str | None) -> Callable[[Callable[[], None]], None]:
    """Return a function that runs the `main` of a stage, and fails if the stage's inputs change.

    Args:
        name: The stage that DVC runs; None outside of DVC, where nothing is recorded.
    """
    before: dict[str, Any] = {}
    with suppress(UserError, OSError):  # the stage itself reports these
        before = stage_inputs(name) if name else {}

    def checked(main: Callable[[], None]) -> None:
        main()
        after = stage_inputs(name) if name else {}
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        if keys:
            raise UserError(
                f"changed while stage {name} ran: {format_list(keys)}. dvc.lock would name what "
                "the stage has not read: run `dvc repro` again"
            )

    return lambda main: process.run(partial(checked, main))
