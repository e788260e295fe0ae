"""What becomes of a table on its way from `infer_schema` through all stages to the report."""

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
    """A CSV table, the column to predict, and what the texts of some of its columns stand for.

    Attributes:
        values: By column name, numbers or dates in UTC of shape (rows,); NaN or NaT where the cell
            is missing.
    """

    csv: str
    target: str
    values: dict[str, np.ndarray]

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, target: str) -> "Table":
        """Write a frame as CSV; what its numbers are is known."""
        numbers = frame.select_dtypes("number").astype(float)
        values = {name: column.to_numpy() for name, column in numbers.items()}
        return cls(frame.to_csv(index=False), target, values)


SCORES, MESSAGE, NO_RUN = "scores", "message", "the first schema does not run"
MISREAD, TRACEBACK = "misread", "traceback"


class Outcome(NamedTuple):
    """How the way of a table ended.

    Attributes:
        kind: One of the constants above. The first schema does not run where ingest or validate
            end with a message that `infer_schema` has not announced.
        detail: The message, the traceback, or the columns that were misread.
    """

    kind: str
    detail: str

    @property
    def failed(self) -> bool:
        """Whether this is a fault whatever the table is."""
        return self.kind not in (SCORES, MESSAGE)


def misread_columns(folder: Path, table: Table) -> Iterator[str]:
    """Find the columns of numbers and dates whose ingested values are not those of the table.

    A column whose comment in the schema asks which of two formats is right may have the wrong one.
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
        values = values.mask(values.isin(column.sentinels))
        if expected.dtype == float:
            right = np.isclose(values.astype(float), expected, rtol=1e-12, atol=0, equal_nan=True)
        else:
            values = values.dt.tz_localize(None)
            right = (values == expected) | (values.isna() & np.isnat(expected))
        if not right.all():
            row = int(np.flatnonzero(~right)[0])
            difference = f"row {row} is {values[row]}, not {expected[row]}"
            yield f"{name!r} ({column.kind}, {column.format}): {difference}"


def refuse_constant(text: str) -> None:
    """Refuse NaN and Infinity, which JSON does not have."""
    raise ValueError(f"a score is {text}")


def run_commands(folder: Path, table: Table) -> Outcome:
    """Call each command in a folder that has the table, until one of them ends with an error."""
    first = ("keras_tabular.cli.infer_schema", ["data/raw/t.csv", f"--target={table.target}"])
    stages = [(script, arguments) for _, _, script, *arguments in STAGE_COMMANDS.values()]
    output, misread, announced = StringIO(), list[str](), False
    with redirect_stdout(output), redirect_stderr(output):
        for stage, arguments in [first, *stages, ("keras_tabular.cli.report", [])]:
            try:
                call_main(folder, stage, *arguments)
                for file in (folder / "metrics").glob("*.json"):
                    json.loads(file.read_text(), parse_constant=refuse_constant)
                if stage == "keras_tabular.cli.infer_schema":
                    announced = "will stop at validate" in output.getvalue()
                elif stage == "stages.ingest":
                    misread = [*misread_columns(folder, table)]
            except (Exception, SystemExit) as error:
                if isinstance(error.__context__, UserError):  # an OSError is not expected here
                    early = stage in ("stages.ingest", "stages.validate") and not announced
                    return Outcome(NO_RUN if early else MESSAGE, str(error))
                return Outcome(TRACEBACK, traceback.format_exc())
    if announced:
        return Outcome(NO_RUN, "infer_schema announced a stop that did not come")
    return Outcome(MISREAD if misread else SCORES, "\n".join(misread))


def run_table(table: Table, *, both: bool = False) -> Outcome:
    """Take a table through all commands, trained for one cycle, and classify how that ends.

    Args:
        table: The table.
        both: Whether to train both architectures, instead of the smaller one.
    """
    from keras_tabular.networks.backend import keras

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "project"
        create_files(folder, table.csv)
        change_settings(folder, train=ONE_CYCLE_OF_BOTH if both else ONE_CYCLE)
        outcome = run_commands(folder, table)
    keras.utils.clear_session()
    return outcome
