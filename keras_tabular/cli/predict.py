"""Predict new rows: the class and the probabilities, or the value, of each one."""

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

from keras_tabular.config.schema import Schema
from keras_tabular.core.engine import ordered_map
from keras_tabular.prediction import inputs, outputs
from keras_tabular.prediction.drift import UnknownCategories, unknown_categories, unknown_lines
from keras_tabular.prediction.outputs import Predicted, Reasons, Write
from keras_tabular.runs.rerun import read_model
from keras_tabular.table.checks import Checks, declared_checks
from keras_tabular.table.csv import RawRows
from keras_tabular.table.rows import check_rows, refuse, rejected_rows, rejected_schema
from keras_tabular.table.source import read_rows, row_locator

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model.saved_model import SavedModel


class PredictedRows(NamedTuple):
    """Predictions for some rows of a file.

    Attributes:
        texts: The rows as they are in the file.
        answered: Whether each row gets an answer, bool, shape (rows,).
        unknown: Unknown categories in the rows that get an answer.
    """

    texts: pa.Table
    predicted: Predicted
    answered: np.ndarray
    unknown: UnknownCategories


def predict_rows(
    raw: RawRows, model: "SavedModel", schema: Schema, checks: Checks, reasons: Reasons | None
) -> PredictedRows:
    """Check and predict some rows of a file."""
    batch = check_rows(raw, schema.features, checks)
    predicted = outputs.predict_batch(batch, model, schema, reasons)
    answered = np.ones(len(batch.features), bool)
    answered[[failure.row for failure in predicted.errors]] = False
    features = batch.features.filter(pa.array(answered))
    unknown = unknown_categories(features, model.metadata.categories, schema)
    return PredictedRows(batch.texts, predicted, answered, unknown)


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("-o", "--output", type=Path, help="a .csv, .csv.gz or .parquet; else stdout")
    add("--rejects", type=Path, help="such a file for rows that fail; else they end the run")
    add("--ignore-extra", action="store_true", help="leave out columns that nothing declares")
    add("--explain", type=int, default=0, metavar="N", help="name N columns that moved each answer")
    add("--escape-formulas", action="store_true", help="for spreadsheets: a ' before =, +, - or @")
    args = inputs.parse_model_and_rows(parser, "*")
    if args.explain < 0:
        parser.error(f"--explain: found {args.explain}; expected 0 or more")
    named_paths = [args.rows, args.model]
    for path in filter(None, [args.output, args.rejects]):
        outputs.check_output(path, named_paths)
        named_paths.append(path)
    return args


@dataclass
class Output:
    """Writer of predictions, which also counts them.

    Attributes:
        columns: Columns of the output, see `output_schema`.
        identifiers: Names of the columns of the file that are among them.
        write: Writes rows with an answer.
        reject: Writes rows that fail a check; None if such a row ends the run.
        rows: Number of rows.
        rejected: Number of rows without an answer.
        warned, unknown: Failed checks and unknown categories of rows with an answer.
    """

    columns: pa.Schema
    identifiers: list[str]
    write: Write
    reject: Write | None
    rows: int = 0
    rejected: int = 0
    warned: Counter[str] = field(default_factory=Counter)
    unknown: UnknownCategories = field(default_factory=UnknownCategories)

    def add(self, batch: PredictedRows, line: Callable[[int], str]) -> None:
        """Write and count some rows, and set those aside that fail.

        Raises:
            UserError: A row fails, and there is no `reject`; `line` names it.
        """
        texts, (predictions, failures), answered, unknown = batch
        rejected = np.flatnonzero(~answered).tolist()
        if rejected:
            errors, lines = batch.predicted.errors, {n: line(self.rows + n) for n in rejected}
            if self.reject:
                self.reject(rejected_rows(texts, errors, lines))
            else:
                refuse(errors, 0, lines.__getitem__, "--rejects FILE sets such rows aside")
        columns = {"row": pa.array(self.rows + np.arange(len(answered)))}
        columns |= {name: texts[name] for name in self.identifiers} | predictions
        rows = pa.table(columns).select(self.columns.names)
        self.write(rows.filter(pa.array(answered)))
        self.rows += len(answered)
        self.rejected += len(rejected)
        self.warned.update(f"{f.column}: {f.check}" for f in failures if answered[f.row])
        self.unknown += unknown

    def warnings(self) -> list[str]:
        """Describe the failed checks and unknown categories of the rows that got an answer."""
        rows = self.rows - self.rejected
        checks = [f"{check}: {count} of {rows} rows fail" for check, count in self.warned.items()]
        return [*unknown_lines(self.unknown, rows), *checks]


@contextmanager
def open_output(
    args: Namespace, names: list[str], schema: Schema, model: "SavedModel", reasons: Reasons | None
) -> Iterator[Output]:
    """Open the files that the arguments name, or stdout.

    Args:
        names: Names of the columns that are read.

    Raises:
        UserError: A file cannot be written, or a column has the name of another one.
    """
    ignored = set(schema.ignore)
    identifiers = [name for name in names if name in ignored]
    columns = outputs.output_schema(
        schema,
        identifiers,
        numbered=args.rejects is not None,
        intervals=model.metadata.intervals is not None,
        reasons=reasons.columns if reasons else 0,
    )
    style = (schema.delimiter, args.escape_formulas)
    with ExitStack() as stack:
        write, reject = stack.enter_context(outputs.writing(args.output, columns, *style)), None
        if args.rejects:
            rejects = outputs.writing(args.rejects, rejected_schema(names), *style)
            reject = stack.enter_context(rejects)
        yield Output(columns, identifiers, write, reject)


def main() -> None:
    args = parse_arguments()
    content = read_model(args.model)
    schema, params = inputs.load_schema_and_params(args.model, content, "validate")
    with inputs.seekable_file(args.rows) as file:
        names = inputs.row_columns(file, schema, extra=args.ignore_extra)

        from keras_tabular.model.saved_model import load_model

        model = load_model(args.model, content, schema)
        reasons = Reasons.from_model(args.explain, model, schema) if args.explain else None
        with open_output(args, names, schema, model, reasons) as output:
            line = row_locator([file], schema, str(file) if file == args.rows else "stdin")
            checks = declared_checks(schema, params.validate)
            predict = partial(
                predict_rows, model=model, schema=schema, checks=checks, reasons=reasons
            )
            rows = read_rows(file, schema, names, allow_ragged=args.rejects is not None)
            for predicted in ordered_map(predict, rows):
                output.add(predicted, line)
    for message in output.warnings():
        print(f"warn: {message}", file=sys.stderr)
    if args.rejects:
        message = f"{output.rejected} of {output.rows} rows set aside in {args.rejects}"
        print(message, file=sys.stderr)
