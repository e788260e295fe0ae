"""New rows through the trained model: for each the class and probabilities, or the value."""

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from tabular.config.schema import Schema
from tabular.core.engine import ordered_map
from tabular.core.errors import UserError
from tabular.core.process import run
from tabular.model.metadata import known_categories
from tabular.prediction.answers import Predicted, Reasons, predict_batch
from tabular.prediction.drift import Unknown, unknown_categories, unknown_lines
from tabular.prediction.inputs import (
    add_model_and_rows,
    expected_rows,
    model_and_rows,
    regular_file,
    row_columns,
)
from tabular.prediction.outputs import Style, check_output, output_schema, writing
from tabular.runs.dvc import last_output
from tabular.table.checks import Checks, declared_checks
from tabular.table.rows import check_piece, mistakes, rejected_rows, rejected_schema
from tabular.table.source import ROWS, Piece, pieces, row_name, texts

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from tabular.model.saved_model import SavedModel


class Answer(NamedTuple):
    """What there is to write of some rows, and their unknown categories."""

    texts: pa.Table
    predicted: Predicted
    unknown: Unknown


def predict_piece(
    piece: Piece,
    model: "SavedModel",
    schema: Schema,
    names: list[str],
    identifiers: list[str],
    checks: Checks,
    categories: dict[str, list[str]],
    reasons: Reasons | None = None,
) -> Answer:
    """Read, check and predict some rows of a file."""
    batch = check_piece(piece, schema, names, checks, identifiers)
    predicted = predict_batch(batch, model, schema, reasons)
    if predicted.failures and batch.texts.column_names != names:  # no number, of cells that passed
        batch = batch._replace(texts=pa.concat_tables(texts(piece, schema, names)))
    unknown = unknown_categories(batch.features, categories, schema)
    return Answer(batch.texts, predicted, unknown)


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add_model_and_rows(parser, "*")
    add("-o", "--output", type=Path, help="a .csv, .csv.gz or .parquet; else stdout")
    add("--rejects", type=Path, help="such a file for rows that fail; else they end the run")
    add("--ignore-extra", action="store_true", help="leave out columns that nothing declares")
    add("--explain", type=int, default=0, metavar="N", help="name N columns that moved each answer")
    add("--escape-formulas", action="store_true", help="for spreadsheets: a ' before =, +, - or @")
    args = parser.parse_args()
    if args.explain < 0:
        parser.error(f"--explain: found {args.explain}; expected 0 or more")
    args.model, args.rows = model_and_rows(parser, args.files, args.model)
    used = [args.rows, args.model]
    for path in filter(None, [args.output, args.rejects]):
        check_output(path, used)
        used.append(path)
    return args


def main() -> None:
    args = parse_arguments()
    content = last_output(args.model)
    schema, params = expected_rows(args.model, content, "validate")

    total, rejected = 0, 0
    warned, unknown = Counter[str](), Unknown()
    with ExitStack() as stack:
        file = stack.enter_context(regular_file(args.rows))
        names = row_columns(file, schema, extra=args.ignore_extra)
        ignored = set(schema.ignore)
        identifiers = [name for name in names if name in ignored]

        from tabular.model import saved_model

        model = saved_model.read_model(args.model, content)
        saved_model.check_model(model, schema)
        numbered = args.rejects is not None
        reasons = Reasons.of(args.explain, model, schema) if args.explain else None
        columns = output_schema(
            *(schema, identifiers),
            numbered=numbered,
            intervals=model.intervals is not None,
            reasons=reasons.columns if reasons else 0,
        )
        style = Style(schema.delimiter, args.escape_formulas)
        write = stack.enter_context(writing(args.output, columns, style))
        if args.rejects:
            reject = stack.enter_context(writing(args.rejects, rejected_schema(names), style))
        line = row_name([file], schema, str(file) if file == args.rows else "stdin")
        predict = partial(
            predict_piece,
            model=model,
            schema=schema,
            names=names,
            identifiers=identifiers,
            checks=declared_checks(schema, params.validate),
            categories=known_categories(args.model, model.metadata, schema),
            reasons=reasons,
        )
        for answer in ordered_map(predict, pieces(file, schema, names, ROWS)):
            unknown += answer.unknown
            predicted = answer.predicted
            warned.update(
                f"{f.column}: {f.check}" for f in predicted.failures if f.policy == "warn"
            )
            failures = [failure for failure in predicted.failures if failure.policy != "warn"]
            lines = {row: line(total + row) for row in sorted({f.row for f in failures})}
            if failures and not args.rejects:
                named = mistakes(failures, 0, lines.__getitem__)
                raise UserError("\n".join([*named, "--rejects FILE sets such rows aside"]))
            count = len(predicted.columns["predicted"])
            written = {"row": pa.array(np.arange(total, total + count))}
            written |= {name: answer.texts[name] for name in identifiers} | predicted.columns
            rows = pa.table(written).select(columns.names)
            if lines:
                good = np.ones(count, bool)
                good[list(lines)] = False
                rows = rows.filter(pa.array(good))
                reject(rejected_rows(answer.texts, failures, lines))
            write(rows)
            total += count
            rejected += len(lines)
    for said in unknown_lines(unknown, total):
        print(f"warn: {said}", file=sys.stderr)
    for check, count in warned.items():
        print(f"warn: {check}: {count} of {total} rows fail", file=sys.stderr)
    if args.rejects:
        print(f"{rejected} of {total} rows set aside in {args.rejects}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
