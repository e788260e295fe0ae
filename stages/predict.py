"""New rows through the trained model: for each the class and probabilities, or the value."""

import sys
from argparse import ArgumentParser
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.lib.new_rows import Failure, checked_rows, column_names, regular_file, row_places
from stages.lib.params import Data, load_params
from stages.lib.source import MISTAKES_SHOWN
from stages.lib.stage import UserError, run
from stages.lib.table import ARROW_TYPES, ahead, feature_arrays
from stages.lib.table_file import check_output, writing
from stages.lib.words import FINITE

REJECTED = ("rejected_line", "rejected_reason")


def answer_columns(outputs: np.ndarray, data: Data, threshold: float) -> dict[str, pa.Array]:
    """`predicted`, and `probability_` and its class for each output that is a probability.

    Args:
        outputs: the model's, float32, shape (rows, outputs).
        threshold: of a binary task; a probability from here on means the positive class.
    """
    if data.task == "regression":
        return {"predicted": pa.array(outputs[:, 0])}
    classes = pa.array(data.classes, ARROW_TYPES[data.columns[data.target].kind])
    words = classes.cast(pa.string()).to_pylist()[-outputs.shape[1] :]  # binary: the positive one
    places = outputs[:, 0] >= threshold if data.task == "binary" else outputs.argmax(axis=1)
    return {
        "predicted": classes.take(pa.array(places.astype(np.int64))),
        **{f"probability_{word}": pa.array(outputs[:, i]) for i, word in enumerate(words)},
    }


def output_schema(data: Data, identifiers: list[str], numbered: bool) -> pa.Schema:
    """The columns of the output: `row` where `numbered`, the identifiers, the answer.

    Raises:
        UserError: an identifier has the name of another column.
    """
    nothing = np.empty((0, len(data.classes) if data.task == "multiclass" else 1), np.float32)
    answer = {name: a.type for name, a in answer_columns(nothing, data, 0.5).items()}
    first = {"row": pa.int64()} if numbered else {}
    for name in identifiers:
        if name in first | answer:
            raise UserError(
                f"data.ignore: found {name!r}, which is the name of a column of the output too; "
                "rename it here and in the file, or leave it out of the file"
            )
    return pa.schema(first | dict.fromkeys(identifiers, pa.string()) | answer)


def without_number(outputs: np.ndarray, failures: list[Failure]) -> list[Failure]:
    """The rows for which the model gives no finite number and that have no other failure."""
    failed = {failure.row for failure in failures}
    rows = np.flatnonzero(~np.isfinite(outputs).all(axis=1)).tolist()
    return [Failure(r, "predicted", "finite", "no number", FINITE) for r in rows if r not in failed]


def set_aside(texts: pa.Table, failures: list[Failure], places: dict[int, str]) -> pa.Table:
    """The rows of `places`, with `rejected_line` and `rejected_reason`."""
    reasons: dict[int, list[str]] = {row: [] for row in places}
    for failure in failures:
        reasons[failure.row].append(
            f"{failure.column}: found {failure.found!r}; expected {failure.expected}"
        )
    added = [list(places.values()), ["; ".join(reason) for reason in reasons.values()]]
    columns = texts.take(pa.array(places)).columns
    return pa.table([*columns, *map(pa.array, added)], [*texts.column_names, *REJECTED])


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add(
        "rows",
        nargs="?",
        type=Path,
        default=Path("-"),
        help="a .csv, .csv.gz or .parquet; else stdin",
    )
    add("--model", type=Path, required=True, help="the .keras file")
    add("-o", "--output", type=Path, help="a .csv, .csv.gz or .parquet; else stdout")
    add("--rejects", type=Path, help="such a file for rows that fail; else they end the run")
    args = parser.parse_args()
    params = load_params()
    data = params.data
    used = [args.rows, args.model]
    for path in filter(None, [args.output, args.rejects]):
        check_output(path, used)
        used.append(path)

    total, rejected, warned = 0, 0, Counter[str]()
    with ExitStack() as stack:
        file = stack.enter_context(regular_file(args.rows))
        names = column_names(file, data)
        identifiers = [name for name in names if name in data.ignore]
        schema = output_schema(data, identifiers, numbered=args.rejects is not None)

        from stages.lib.model_file import check_model, predict, read_model

        model = read_model(args.model)
        check_model(model, args.model, data)
        write = stack.enter_context(writing(args.output, schema, data.delimiter))
        if args.rejects:
            texts = pa.schema([(name, pa.string()) for name in [*names, *REJECTED]])
            reject = stack.enter_context(writing(args.rejects, texts, data.delimiter))
        place = row_places(file, data)
        for batch in ahead(checked_rows(file, data, names, params.validate_)):
            outputs = predict(model, feature_arrays(batch.features, data))
            failures = [*batch.failures, *without_number(outputs, batch.failures)]
            warned.update(f"{f.column}: {f.check}" for f in failures if f.policy == "warn")
            failures = [failure for failure in failures if failure.policy != "warn"]
            places = {row: place(total + row) for row in sorted({f.row for f in failures})}
            if failures and not args.rejects:
                lines = [
                    f"{file}: {places[f.row]}, column {f.column}: found {f.found!r}; "
                    f"expected {f.expected}"
                    for f in failures[:MISTAKES_SHOWN]
                ]
                raise UserError("\n".join([*lines, "--rejects FILE sets such rows aside"]))
            numbers = pa.array(np.arange(total, total + len(outputs)))
            columns = {"row": numbers} | {name: batch.texts[name] for name in identifiers}
            columns |= answer_columns(outputs, data, params.evaluate.threshold)
            good = np.ones(len(outputs), bool)
            good[list(places)] = False
            write(pa.table(columns).select(schema.names).filter(pa.array(good)))
            if places:
                reject(set_aside(batch.texts, failures, places))
            total += len(outputs)
            rejected += len(places)
    for check, count in warned.items():
        print(f"warn: {check}: {count} of {total} rows fail", file=sys.stderr)
    if args.rejects:
        print(f"{rejected} of {total} rows set aside in {args.rejects}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
