"""Outcomes of tables that are taken from `infer-schema` through all stages to the report."""

import json
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from keras_tabular.config.schema import load_schema
from keras_tabular.core.errors import UserError
from tests.commands import call_main
from tests.projects import (
    ONE_CYCLE,
    ONE_CYCLE_OF_BOTH,
    STAGE_COMMANDS,
    change_settings,
    create_files,
)


class Table(NamedTuple):
    """A CSV table with its target, and the true values of some columns.

    Attributes:
        values: Numbers or dates (UTC) by column name, shape (rows,); NaN or NaT if a cell is
            missing.
    """

    csv: str
    target: str
    values: dict[str, np.ndarray]

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, target: str) -> "Table":
        """Write a frame as CSV, with its numbers as the true values."""
        numbers = frame.select_dtypes("number").astype(float)
        values = {name: column.to_numpy() for name, column in numbers.items()}
        return cls(frame.to_csv(index=False), target, values)


SCORES, MESSAGE, FAULT = "scores", "message", "fault"


class Outcome(NamedTuple):
    """The outcome of a table.

    Attributes:
        kind: One of the constants above. It is `FAULT` if a column was misread, if there was a
            traceback, or if ingest or validate ended with a message that `infer-schema` has not
            announced.
        detail: The message, the traceback, or the columns that were misread.
    """

    kind: str
    detail: str


def misread_columns(folder: Path, table: Table) -> Iterator[str]:
    """Yield the columns of numbers and dates whose ingested values differ from the true ones.

    Columns are left out if a comment in the schema asks which of two formats is right.
    """
    schema = load_schema(folder / "data/schema.yaml")
    comments = YAML().load((folder / "data/schema.yaml").read_text())["columns"].ca.items
    ingested = pq.read_table(folder / "data/ingested")
    for name, expected in table.values.items():
        kinds = ("real", "integer") if expected.dtype == float else ("datetime",)
        column = schema.columns.get(name)
        is_asked = name in comments and "both fit" in comments[name][2].value
        if not column or column.kind not in kinds or is_asked:
            continue
        values = ingested[name].to_pandas()
        values = values.dt.tz_localize(None) if column.kind == "datetime" else values.astype(float)
        try:
            true_values = pd.Series(expected, name=name)
            pd.testing.assert_series_equal(values, true_values, rtol=1e-12, atol=0)
        except AssertionError as error:
            yield f"{name!r} ({column.kind}, {column.format}): {error}"


def run_commands(folder: Path, table: Table) -> Outcome:
    """Call the commands in a folder with the table, until one of them ends with an error."""
    first = ("keras_tabular.cli.infer_schema", ["data/raw/t.csv", f"--target={table.target}"])
    stages = [(script, arguments) for _, _, script, *arguments in STAGE_COMMANDS.values()]
    output, misread, is_announced = StringIO(), list[str](), False
    with redirect_stdout(output), redirect_stderr(output):
        for stage, arguments in [first, *stages, ("keras_tabular.cli.report", [])]:
            try:
                call_main(folder, stage, *arguments)
                for file in (folder / "metrics").glob("*.json"):
                    json.loads(file.read_text(), parse_constant=int)  # refuses NaN and Infinity
                if stage == "keras_tabular.cli.infer_schema":
                    is_announced = "will stop at validate" in output.getvalue()
                elif stage == "stages.ingest":
                    misread = [*misread_columns(folder, table)]
            except (Exception, SystemExit) as error:
                if isinstance(error.__context__, UserError):  # an OSError is not expected here
                    is_early = stage in ("stages.ingest", "stages.validate") and not is_announced
                    return Outcome(FAULT if is_early else MESSAGE, str(error))
                return Outcome(FAULT, traceback.format_exc())
    if is_announced:
        return Outcome(FAULT, "infer_schema announced a stop that did not come")
    return Outcome(FAULT if misread else SCORES, "\n".join(misread))


def run_table(table: Table, *, both: bool = False) -> Outcome:
    """Run all commands on a table, with one cycle of training, and return the outcome.

    Args:
        both: Whether to train both architectures instead of only the smaller one.
    """
    from keras_tabular.networks.backend import keras

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "project"
        create_files(folder, table.csv)
        change_settings(folder, train=ONE_CYCLE_OF_BOTH if both else ONE_CYCLE)
        outcome = run_commands(folder, table)
    keras.utils.clear_session()
    return outcome
