"""The sections of `params.yaml` that a script asks for, after the whole file was checked."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tabular.errors import UserError
from tabular.schema import Schema, load_schema
from tabular.typed_yaml import Section, read_yaml

if TYPE_CHECKING:
    from tabular.params.drift import Drift
    from tabular.params.evaluate import Evaluate
    from tabular.params.gate import Gate
    from tabular.params.ingest import Ingest
    from tabular.params.search import Search
    from tabular.params.split import Split
    from tabular.params.train import Train
    from tabular.params.validate import Validate

PARAMS = Path("params.yaml")


class Params:
    """The sections that were asked for, by name; any other name is an `AttributeError`."""

    if TYPE_CHECKING:
        ingest: Ingest
        validate: Validate
        split: Split
        train: Train
        evaluate: Evaluate
        gate: Gate
        drift: Drift
        search: Search

    def __init__(self, sections: Mapping[str, Section]) -> None:
        vars(self).update(sections)


def load_params(*names: str, schema: Schema | None = None, path: Path = PARAMS) -> Params:
    """Check the whole file, also against the table, and give the sections of these `names`.

    Args:
        schema: of the table; read from its own file where it is not given.

    Raises:
        UserError: the file is missing, is not YAML, or a key or value is wrong. One line for each
            mistake: the key, the value found, what is allowed and the nearest right name.
    """
    # By name, so that it is no dependency of a stage: it decides whether a stage runs, and not
    # what the stage writes.
    all_sections = import_module("tabular.params.sections")
    try:
        sections = all_sections.check_params(read_yaml(path), schema or load_schema(), path)
    except UserError as error:
        if "DVC_EXP_BASELINE_REV" in os.environ:  # which `dvc exp run` sets
            raise UserError(
                f"{error}\nThe values of -S stay in {path}; `git restore {path}` takes them back"
            ) from None
        raise
    return Params({name: sections[name] for name in names})
