"""New rows through the trained model: for each the class and probabilities, or the value."""

import sys
from argparse import ArgumentParser
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.lib.answers import (
    REJECTED,
    answer_columns,
    output_schema,
    set_aside,
    without_number,
)
from stages.lib.new_rows import checked_rows, column_names, regular_file, row_places
from stages.lib.params import load_params
from stages.lib.source import MISTAKES_SHOWN
from stages.lib.stage import UserError, run
from stages.lib.table import ahead, feature_arrays
from stages.lib.table_file import check_output, writing


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
