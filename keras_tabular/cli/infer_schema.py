"""Describe a table in data/schema.yaml, after a look at its rows."""

from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.config.params import PARAMS
from keras_tabular.config.schema import SCHEMA
from keras_tabular.config.sections import Validate
from keras_tabular.config.typed_yaml import parse_section, read_yaml
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.core.files import atomic_write
from keras_tabular.schema_inference.schema import QUESTION, infer_schema


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
    policies = None
    if PARAMS.is_file() and (section := read_yaml(PARAMS).get("validate")):
        policies = parse_section(section, Validate, PARAMS)
    schema = infer_schema(args.table, args.target, args.rows, policies)
    if str(args.output) == "-":
        print(schema.text, end="")
    else:
        write_schema(schema.text, args.output, args.table)
    if schema.failed_checks:
        print("`dvc repro` will stop at validate. Decide:", *schema.failed_checks, sep="\n  ")


def write_schema(text: str, output: Path, table: Path) -> None:
    """Write the schema, keep the one before, and say which lines ask something."""
    old_schema = ""
    if output.is_file() and output.read_bytes() != text.encode():
        old = output.with_suffix(f".old{output.suffix}")
        output.replace(old)
        old_schema = f"; the one before is in {old}"
    with atomic_write(output) as partial:
        partial.write_text(text, encoding="utf-8")
    asking = [str(n) for n, line in enumerate(text.splitlines(), start=1) if QUESTION.search(line)]
    questions = f"; it asks something in line {format_list(asking)}" if asking else ""
    print(f"{output}: describes {table} now; check its comments{questions}{old_schema}")
