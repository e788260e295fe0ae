"""New rows through the trained model: for each the class and probabilities, or the value."""

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from tabular.config.schema import Schema
from tabular.core.engine import ordered_map
from tabular.core.process import run
from tabular.prediction.drift import UnknownCategories, unknown_categories, unknown_lines
from tabular.prediction.inputs import (
    load_schema_and_params,
    parse_model_and_rows,
    row_columns,
    seekable_file,
)
from tabular.prediction.outputs import (
    Predicted,
    Reasons,
    Style,
    Write,
    check_output,
    output_schema,
    predict_batch,
    writing,
)
from tabular.runs.rerun import last_output
from tabular.table.checks import Checks, declared_checks
from tabular.table.csv import RawRows
from tabular.table.rows import check_rows, refuse, rejected_rows, rejected_schema
from tabular.table.source import read_rows, row_locator

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from tabular.model.saved_model import SavedModel


class PredictedRows(NamedTuple):
    """Predictions for some rows of a file."""

    texts: pa.Table
    predicted: Predicted
    rejected: list[int]  # the numbers of rows that get no answer, ascending
    unknown: UnknownCategories  # of the others


def predict_rows(
    raw: RawRows,
    model: "SavedModel",
    schema: Schema,
    checks: Checks,
    categories: dict[str, list[str]],
    reasons: Reasons | None = None,
) -> PredictedRows:
    """Check and predict some rows of a file."""
    batch = check_rows(raw, schema.features, checks)
    predicted = predict_batch(batch, model, schema, reasons)
    rejected = sorted({failure.row for failure in predicted.failures if failure.policy != "warn"})
    answered = pa.array(~np.isin(np.arange(len(batch.features)), rejected))
    unknown = unknown_categories(batch.features.filter(answered), categories, schema)
    return PredictedRows(batch.texts, predicted, rejected, unknown)


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("-o", "--output", type=Path, help="a .csv, .csv.gz or .parquet; else stdout")
    add("--rejects", type=Path, help="such a file for rows that fail; else they end the run")
    add("--ignore-extra", action="store_true", help="leave out columns that nothing declares")
    add("--explain", type=int, default=0, metavar="N", help="name N columns that moved each answer")
    add("--escape-formulas", action="store_true", help="for spreadsheets: a ' before =, +, - or @")
    args = parse_model_and_rows(parser, "*")
    if args.explain < 0:
        parser.error(f"--explain: found {args.explain}; expected 0 or more")
    named_paths = [args.rows, args.model]
    for path in filter(None, [args.output, args.rejects]):
        check_output(path, named_paths)
        named_paths.append(path)
    return args


@dataclass
class Output:
    """Where predictions go, piece by piece, and what is counted of them."""

    columns: pa.Schema  # see `output_schema`
    identifiers: list[str]  # the columns of the file that are among them
    write: Write
    reject: Write | None  # takes rows that fail a check; else such a row ends the run
    rows: int = 0
    rejected: int = 0
    warned: Counter[str] = field(default_factory=Counter)  # rows with an answer
    unknown: UnknownCategories = field(default_factory=UnknownCategories)

    def add(self, batch: PredictedRows, line: Callable[[int], str]) -> None:
        """Write and count some rows, and set those aside that fail.

        Raises:
            UserError: A row fails, and there is no `reject`; `line` names it.
        """
        failures, failed = batch.predicted.failures, set(batch.rejected)
        lines = {row: line(self.rows + row) for row in batch.rejected}
        predicted = batch.predicted.columns
        numbers = np.arange(len(predicted["predicted"]))
        columns = {"row": pa.array(self.rows + numbers)}
        columns |= {name: batch.texts[name] for name in self.identifiers} | predicted
        rows = pa.table(columns).select(self.columns.names)
        if failed:
            wrong = [failure for failure in failures if failure.policy != "warn"]
            if self.reject:
                self.reject(rejected_rows(batch.texts, wrong, lines))
            else:
                refuse(wrong, 0, lines.__getitem__, "--rejects FILE sets such rows aside")
            rows = rows.filter(pa.array(~np.isin(numbers, batch.rejected)))
        self.write(rows)
        self.rows += len(numbers)
        self.rejected += len(failed)
        self.warned.update(f"{f.column}: {f.check}" for f in failures if f.row not in failed)
        self.unknown += batch.unknown

    def warnings(self) -> list[str]:
        """What is said of the rows that got an answer."""
        rows = self.rows - self.rejected
        checks = [f"{check}: {count} of {rows} rows fail" for check, count in self.warned.items()]
        return [*unknown_lines(self.unknown, rows), *checks]


@contextmanager
def open_output(
    args: Namespace, names: list[str], schema: Schema, model: "SavedModel", reasons: Reasons | None
) -> Iterator[Output]:
    """The files that the arguments name, or stdout.

    Args:
        names: of the columns that are read.

    Raises:
        UserError: one cannot be written, or a column has the name of another one.
    """
    ignored = set(schema.ignore)
    identifiers = [name for name in names if name in ignored]
    columns = output_schema(
        *(schema, identifiers),
        numbered=args.rejects is not None,
        intervals=model.metadata.intervals is not None,
        reasons=reasons.columns if reasons else 0,
    )
    style = Style(schema.delimiter, args.escape_formulas)
    with ExitStack() as stack:
        write, reject = stack.enter_context(writing(args.output, columns, style)), None
        if args.rejects:
            reject = stack.enter_context(writing(args.rejects, rejected_schema(names), style))
        yield Output(columns, identifiers, write, reject)


def main() -> None:
    args = parse_arguments()
    content = last_output(args.model)
    schema, params = load_schema_and_params(args.model, content, "validate")
    with seekable_file(args.rows) as file:
        names = row_columns(file, schema, extra=args.ignore_extra)

        from tabular.model.saved_model import load_model

        model = load_model(args.model, content, schema)
        reasons = Reasons.from_model(args.explain, model, schema) if args.explain else None
        with open_output(args, names, schema, model, reasons) as output:
            line = row_locator([file], schema, str(file) if file == args.rows else "stdin")
            predict = partial(
                predict_rows,
                model=model,
                schema=schema,
                checks=declared_checks(schema, params.validate),
                categories=model.metadata.categories,
                reasons=reasons,
            )
            rows = read_rows(file, schema, names, allow_ragged=args.rejects is not None)
            for predicted in ordered_map(predict, rows):
                output.add(predicted, line)
    for message in output.warnings():
        print(f"warn: {message}", file=sys.stderr)
    if args.rejects:
        message = f"{output.rejected} of {output.rows} rows set aside in {args.rejects}"
        print(message, file=sys.stderr)


if __name__ == "__main__":
    run(main)
