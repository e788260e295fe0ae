"""Compare new rows with the training rows: a verdict, a table and an HTML page.

The distance of a column is the share of its rows that would have to change for it to be
distributed as in training. The p-value is the probability that rows without drift
differ as much in any column. The share of attribution of a column says how much of the
effect of all columns on the predictions it has. The exit code is 1 if the verdict is
"fail" and drift.policy is "error".
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial, reduce
from pathlib import Path

import numpy as np

from keras_tabular.core.errors import UserError, align_columns, format_list
from keras_tabular.core.files import write_json, write_text
from keras_tabular.model import drift, files
from keras_tabular.model.metadata import training_rows
from keras_tabular.runs.run import read_model
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.groups import mean_group_size, number_groups
from keras_tabular.table.rows import map_checked_rows
from keras_tabular.table.source import check_columns, read_rows

MAX_COLUMNS_SHOWN = 20  # on the terminal; the page shows all columns
HEADER = ["column", "share of attribution", "distance", "p-value", "drift", "notes"]


def main(parser: ArgumentParser) -> None:
    args = parse_arguments(parser)
    schema, metadata = files.read_schema(args.model, read_model(args.model))
    trained_on = training_rows(args.model, metadata)
    with files.open_rows(args.rows, schema) as file:
        file_name = files.display_path(args.rows).name
        names = check_columns(file, schema, schema.features)
        checks = declared_checks(schema, metadata.validate_params)
        count = partial(
            drift.count_batch,
            trained_on=trained_on,
            categories=metadata.categories,
            schema=schema,
        )
        raw_rows = read_rows(file, schema, names)
        batches = list(map_checked_rows(count, raw_rows, schema.features, checks))
    if not any(counts.rows for counts in batches):
        raise UserError(f"{args.rows}: expected at least one row, got none")
    counts = reduce(drift.RowCounts.merge, batches)
    groups = number_groups(
        np.concatenate(counts.groups),
        declared=schema.group in names,
    )
    report = drift.find_drift(
        trained_on,
        counts,
        schema,
        metadata.drift_params,
        mean_group_size(groups),
    )
    print(
        f"{report.rows:,} rows of {file_name} compared with"
        f" {report.training_rows:,} training rows",
    )
    lines = [format_column(name, column) for name, column in report.columns.items()]
    print(align_columns([HEADER, *lines[:MAX_COLUMNS_SHOWN]]))
    if len(lines) > MAX_COLUMNS_SHOWN:
        hidden = len(lines) - MAX_COLUMNS_SHOWN
        print(f"{args.output} also shows {hidden:,} columns that matter less")
    print(f"Drift: {report.verdict}: {report.reason}")
    if args.json:
        write_json(args.json, report.model_dump(exclude_none=True))

    from keras_tabular.report.page import TEMPLATES  # the import takes a second

    page = TEMPLATES.get_template("drift.html").render(
        report=report,
        file_name=file_name,
        target=schema.target,
    )
    write_text(args.output, page)
    if report.verdict == "fail" and metadata.drift_params.policy == "error":
        sys.exit(1)


def parse_arguments(parser: ArgumentParser) -> Namespace:
    """Parse the arguments of the command."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        default="drift.html",
        help="the HTML page to write; default: %(default)s",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="also write the report to this JSON file",
    )
    args = files.parse_model_and_rows(parser)
    inputs = (args.rows.resolve(), args.model.resolve())
    for path in (args.output, args.json):
        if path and path.resolve() in inputs:
            parser.error(
                f"{path}: this file is an input. Name another file to write to.",
            )
    return args


def format_column(name: str, column: drift.ColumnDrift) -> list[str]:
    """Return the cells of a column's line in the table."""
    shares = {
        "missing": column.missing,
        "out of range": column.outside,
        "unknown category": column.unknown,
    }
    notes = [
        f"{label} {share}" for label, share in shares.items() if share and share.new
    ]
    if column.unknown_values:  # the last note is the share of unknown categories
        notes[-1] += f": {format_list(column.unknown_values)}"
    if column.failed_checks:
        notes.append(f"failed checks: {column.failed_checks:,}")
    return [
        name,
        f"{column.attribution:.1%}",
        f"{column.distance:.3f}",
        f"{column.p_value:.3f}",
        "yes" if column.moved else "no",
        ", ".join(notes),
    ]
