"""Predict new rows: the class and the probabilities, or the value, of each one."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from keras_tabular.config.schema import Schema
from keras_tabular.experiments.rerun import read_model
from keras_tabular.prediction import inputs, outputs
from keras_tabular.prediction.outputs import Reasons
from keras_tabular.prediction.predict import Output, output_columns, predict_file
from keras_tabular.table.rows import rejected_schema

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model_file.saved_model import SavedModel


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


@contextmanager
def open_output(
    args: Namespace, names: list[str], schema: Schema, model: "SavedModel", reasons: Reasons | None
) -> Iterator[Output]:
    """Open the files that the arguments name, or stdout.

    Args:
        names: Columns that are read.

    Raises:
        UserError: A file cannot be written, or two columns have the same name.
    """
    numbered = args.rejects is not None
    identifiers, columns = output_columns(names, schema, model, reasons, numbered=numbered)
    style = (schema.delimiter, args.escape_formulas)
    with ExitStack() as stack:
        write, reject = stack.enter_context(outputs.writing(args.output, columns, *style)), None
        if args.rejects:
            rejects = outputs.writing(args.rejects, rejected_schema(names), *style)
            reject = stack.enter_context(rejects)
        advice = "--rejects FILE sets such rows aside"
        yield Output(columns, identifiers, write, reject, advice)


def main() -> None:
    args = parse_arguments()
    content = read_model(args.model)
    schema, params = inputs.load_schema_and_params(args.model, content, "validate")
    with inputs.seekable_file(args.rows) as file:
        names = inputs.row_columns(file, schema, extra=args.ignore_extra)

        from keras_tabular.model_file.saved_model import load_model

        model = load_model(args.model, content, schema)
        reasons = Reasons.from_model(args.explain, model, schema) if args.explain else None
        with open_output(args, names, schema, model, reasons) as output:
            name = str(file) if file == args.rows else "stdin"
            predict_file(
                *(file, names, model, schema, params.validate, output), name=name, reasons=reasons
            )
    for message in output.warnings():
        print(f"warn: {message}", file=sys.stderr)
    if args.rejects:
        message = f"{output.rejected} of {output.rows} rows set aside in {args.rejects}"
        print(message, file=sys.stderr)
