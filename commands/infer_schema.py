"""A first schema of a CSV table, written from a look at its rows."""

from argparse import ArgumentParser
from pathlib import Path

import yaml

from tabular.config.schema import SCHEMA, Schema
from tabular.config.typed_yaml import check
from tabular.core.errors import UserError, listed
from tabular.core.files import atomic_write
from tabular.core.process import run
from tabular.inference.schema import QUESTION, as_text, infer_schema


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("table", type=Path, help="a CSV with a header line, a .parquet file, or a folder of such")
    add("--target", required=True, help="the column to predict")
    add("--rows", type=int, default=200_000, help="how many rows to look at")
    add("-o", "--output", type=Path, default=SCHEMA, help="the file to write; - for stdout")
    args = parser.parse_args()
    if args.rows < 1:
        raise UserError(f"--rows: found {args.rows}; expected 1 at least")
    if not args.table.exists():
        raise UserError(f"{args.table}: no such file; expected a table, or a folder of such files")
    schema = infer_schema(args.table, args.target, args.rows)
    text = as_text(schema)
    check(yaml.safe_load(text), Schema, args.table)
    if str(args.output) == "-":
        print(text, end="")
        return
    kept = ""
    if args.output.is_file() and (before := args.output.read_bytes()) != text.encode():
        old = args.output.with_suffix(f".old{args.output.suffix}")
        with atomic_write(old) as partial:
            partial.write_bytes(before)
        kept = f"; the one before is in {old}"
    with atomic_write(args.output) as partial:
        partial.write_text(text, encoding="utf-8")
    asked = [str(n) for n, line in enumerate(text.splitlines(), start=1) if QUESTION.search(line)]
    of_which = f"; it asks something in line {listed(asked)}" if asked else ""
    print(f"{args.output}: describes {args.table} now; check its comments{of_which}{kept}")


if __name__ == "__main__":
    run(main)
