"""Every row checked against the declared columns; the table goes on when no check says error."""

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.params import Column, Data, load_params
from stages.lib.stage import UserError, run, whole, write_json
from stages.lib.table import is_missing, read_parts, write_part

PANDAS_TYPES = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
EXAMPLES = 3


@dataclass
class Check:
    """One check of one column, or of the table, and what failed it so far."""

    expected: str
    policy: str
    failed_rows: int = 0
    examples: list[Any] = field(default_factory=list)

    def fail(self, rows: int, found: Iterable[Any] = ()) -> None:
        """Add `rows` that failed, and keep a few of the values found."""
        self.failed_rows += rows
        self.examples = [*self.examples, *found][:EXAMPLES] if rows else self.examples

    @property
    def verdict(self) -> str:
        return self.policy if self.failed_rows else "pass"


Checks = dict[tuple[str, str], Check]


def checks_of(data: Data, policies: dict[str, str]) -> Checks:
    """All checks that the declared columns ask for, by column (or "table") and name."""
    checks = {
        ("table", "rows"): Check("at least one row", "error"),
        ("table", "duplicate_rows"): Check("no two equal rows", policies["duplicate_rows"]),
        (data.target, "classes"): Check(f"two classes, one of them {data.positive!r}", "error"),
    }
    for name, column in data.columns.items():
        if not column.nullable:
            checks[name, "missing"] = Check("a value in every row", policies["missing"])
        if column.min is not None or column.max is not None:
            bounds = f"{column.min} to {column.max}".replace("None", "any")
            checks[name, "range"] = Check(bounds, policies["range"])
        if column.values is not None:
            checks[name, "values"] = Check(f"one of {list(column.values)}", policies["values"])
        if name != data.target:
            checks[name, "constant_column"] = Check(
                "more than one value", policies["constant_column"]
            )
    return checks


def pandera_schema(data: Data) -> pandera.DataFrameSchema:
    """The declared columns for pandera; the `error` of a pandera check is the name of ours."""

    def checks(column: Column) -> list[pandera.Check]:
        return [
            *([pandera.Check.ge(column.min, error="range")] if column.min is not None else []),
            *([pandera.Check.le(column.max, error="range")] if column.max is not None else []),
            *([pandera.Check.isin(column.values, error="values")] if column.values else []),
        ]

    return pandera.DataFrameSchema(
        {
            name: pandera.Column(checks=checks(column), nullable=column.nullable)
            for name, column in data.columns.items()
        }
    )


def as_frame(part: pa.Table, columns: dict[str, Column]) -> pd.DataFrame:
    """The part for pandas, with an empty cell for each value that means missing."""
    present = {
        name: pc.if_else(is_missing(part[name], column), None, part[name])
        for name, column in columns.items()
    }
    return pa.table(present).to_pandas(types_mapper=PANDAS_TYPES.get)


def failed_cells(frame: pd.DataFrame, schema: pandera.DataFrameSchema) -> pd.DataFrame:
    """The cells that fail a check: `column`, `check` and what was found (`failure_case`)."""
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases[["column", "check", "failure_case"]]
        return cases.replace({"check": {"not_nullable": "missing"}})
    return pd.DataFrame(columns=["column", "check", "failure_case"])


def check_parts(parts: Iterable[pa.Table], data: Data, checks: Checks) -> Iterator[pa.Table]:
    """Pass each part on once its rows are checked; finish the table's checks after the last one."""
    schema = pandera_schema(data)
    hashes = [np.empty(0, np.uint64)]
    extremes: dict[str, set[Any]] = {name: set() for name in data.columns}
    for part in parts:
        frame = as_frame(part, data.columns)
        for key, cases in failed_cells(frame, schema).groupby(["column", "check"]):
            checks[key].fail(len(cases), cases["failure_case"])
        hashes.append(pd.util.hash_pandas_object(frame, index=False).to_numpy())
        for name, values in frame.items():
            present = values.dropna()
            if len(present):
                found = present.unique() if name == data.target else (present.min(), present.max())
                extremes[name].update(found)
        yield part

    every_hash = np.concatenate(hashes)
    rows = len(every_hash)
    checks["table", "rows"].fail(int(rows == 0))
    checks["table", "duplicate_rows"].fail(rows - len(np.unique(every_hash)))
    for name, values in extremes.items():
        if name == data.target:
            binary = len(values) == 2 and data.positive in values
            checks[name, "classes"].fail(0 if binary else rows, values)
        else:
            checks[name, "constant_column"].fail(0 if len(values) > 1 else rows, values)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("ingested", type=Path, help="folder of Parquet parts to check")
    parser.add_argument("validated", type=Path, help="folder for the checked parts")
    parser.add_argument("report", type=Path, help="JSON file for the verdict of every check")
    args = parser.parse_args()
    params = load_params()

    rows = 0
    checks = checks_of(params.data, params.validate_.model_dump())
    with whole(args.validated) as folder:
        parts = check_parts(read_parts(args.ingested), params.data, checks)
        for number, part in enumerate(parts):
            write_part(folder, number, part)
            rows += len(part)
        failed = {key: check for key, check in checks.items() if check.failed_rows}
        write_json(
            args.report,
            {
                "rows": rows,
                "failed_checks": len(failed),
                "checks": {
                    f"{column}.{name}": {"verdict": check.verdict, "failed_rows": check.failed_rows}
                    for (column, name), check in checks.items()
                },
            },
        )
        said = {
            f"{column}: {check.failed_rows} of {rows} rows fail {name!r}: found "
            f"{', '.join(map(str, check.examples)) or 'none'}; expected {check.expected}": check
            for (column, name), check in failed.items()
        }
        for message, check in said.items():
            if check.policy == "warn":
                print(f"warning: {message}")
        errors = [message for message, check in said.items() if check.policy == "error"]
        if errors:
            raise UserError("\n".join([f"{args.ingested} does not pass its checks", *errors]))


if __name__ == "__main__":
    run(main)
