"""Predict new rows: the class and its probabilities, or the value, for each row."""

import sys
from argparse import ArgumentParser, Namespace
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from keras_tabular.model import files
from keras_tabular.model.predict import load_predictor, predict_file
from keras_tabular.runs.run import read_model
from keras_tabular.table.rows import rejected_schema
from keras_tabular.table.source import check_columns

ADVICE = "With --rejects FILE, such rows are set aside and the others are predicted."


def main(parser: ArgumentParser) -> None:
    args = parse_arguments(parser)
    content = read_model(args.model)
    schema, _ = files.read_schema(args.model, content)
    with files.open_rows(args.rows, schema) as file:
        names = check_columns(
            file,
            schema,
            schema.features,
            allow_others=args.ignore_extra,
        )
        predictor = load_predictor(args.model, content)
        output_schema = predictor.output_schema(
            names,
            args.explain,
            numbered=bool(args.rejects),
        )
        output = files.open_writer(args.output, output_schema, schema)
        rejects: AbstractContextManager[files.Write | None] = nullcontext()
        if args.rejects:
            rejects = files.open_writer(args.rejects, rejected_schema(names), schema)
        with output as write, rejects as reject:
            counts = predict_file(
                file,
                names,
                predictor,
                output_schema,
                write,
                display_name=str(files.display_path(args.rows)),
                n_reasons=args.explain,
                reject=reject,
                advice=ADVICE,
            )
    for message in counts.warnings():
        print(f"warn: {message}", file=sys.stderr)
    if args.rejects:
        print(
            f"{counts.rejected} of {counts.rows} rows were set aside in {args.rejects}",
            file=sys.stderr,
        )


def parse_arguments(parser: ArgumentParser) -> Namespace:
    """Parse the arguments of the command.

    Raises:
        UserError: An output has an unknown ending, or a file is named twice.
    """
    add = parser.add_argument
    add(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help="write to this .csv, .csv.gz or .parquet file; default: stdout, as CSV",
    )
    add(
        "--rejects",
        metavar="FILE",
        type=Path,
        help="write rows that fail a check to this .csv, .csv.gz or .parquet file, and"
        " predict the others; by default, such a row is an error",
    )
    add(
        "--ignore-extra",
        action="store_true",
        help="leave out columns that the model's schema does not declare; by default,"
        " they are an error",
    )
    add(
        "--explain",
        type=int,
        default=0,
        metavar="N",
        help="name the N columns that moved each prediction most; default: 0",
    )
    args = files.parse_model_and_rows(parser)
    named_paths = [args.rows, args.model]
    for path in (args.output, args.rejects):
        if path:
            files.check_output(path, named_paths)
            named_paths.append(path)
    return args
