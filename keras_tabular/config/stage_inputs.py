"""Check that the inputs of a stage do not change while it runs.

DVC records the parameters and the hashes of the dependencies after the command has ended. If one of
them changes in the meantime, dvc.lock would claim that the outputs were made from the new content.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from keras_tabular.config.schema import SCHEMA
from keras_tabular.config.typed_yaml import read_yaml
from keras_tabular.core import process
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.core.nested import flatten


def stage_runner(name: str | None) -> Callable[[Callable[[], None]], None]:
    """Return a function that runs the `main` of a stage, and fails if the stage's inputs change.

    Args:
        name: The stage that DVC runs; None outside of DVC, where nothing is recorded.
    """
    before: dict[str, Any] = {}
    with suppress(UserError, OSError):  # the stage itself reports them
        before = stage_inputs(name) if name else {}

    def run(main: Callable[[], None]) -> None:
        main()
        after = stage_inputs(name) if name else {}
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        if keys:
            problem = f"these inputs changed while stage {name} ran: {format_list(keys)}"
            raise UserError(f"{problem}. Its outputs do not match them: run `dvc repro` again.")

    return lambda main: process.run(partial(run, main))


def stage_inputs(name: str) -> dict[str, Any]:
    """Return the parameters of a stage by dotted key, and size and time of each file it depends on.

    The result is empty for a stage that dvc.yaml does not have. Missing files are left out.

    Args:
        name: The name of the stage in DVC, which begins with a path in a subfolder.

    Raises:
        UserError: A YAML file cannot be read.
    """
    pipeline = read_yaml(Path("dvc.yaml"))
    stage = pipeline.get("stages", {}).get(name.rpartition(":")[2], {})
    sections = tuple(f"{section}." for section in stage.get("params", []))
    inputs = {
        f"{key} in params.yaml": value
        for key, value in flatten(read_yaml(Path("params.yaml")))
        if f"{key}.".startswith(sections)
    }
    source = str(read_yaml(SCHEMA).get("source"))
    for dependency in stage.get("deps", []):
        root = Path(dependency.replace("${source}", source))
        for path in [root, *root.rglob("*")]:
            if "__pycache__" not in path.parts and path.is_file():
                state = path.stat()
                inputs[str(path)] = state.st_size, state.st_mtime_ns
    return inputs
