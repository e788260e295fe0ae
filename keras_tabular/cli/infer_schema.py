"""Infer the schema of a table from its rows, and write data/schema.yaml."""

from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.config.params import PARAMS
from keras_tabular.config.schema import SCHEMA
from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.core.files import write_text
from keras_tabular.core.typed_yaml import parse_section, read_yaml
from keras_tabular.schema_inference.schema import propose_schema


def main(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "table",
        type=Path,
        help="a CSV, Excel, JSON Lines or Parquet file, or a folder of them",
    )
    add("--target", required=True, help="the column to predict")
    add(
        "--rows",
        type=int,
        default=200_000,
        help="the number of rows to read",
    )
    add(
        "-o",
        "--output",
        type=Path,
        default=SCHEMA,
        help="the file to write; - for stdout",
    )
    args = parser.parse_args()
    if not args.table.exists():
        raise UserError(f"{args.table}: no such file or folder.")
    params = read_yaml(PARAMS) if PARAMS.is_file() else {}
    section = params.get("validate") or {}
    policies = parse_section(section, Validate, f"{PARAMS}: validate")
    proposal = propose_schema(args.table, args.target, args.rows, policies)
    if str(args.output) == "-":
        print(proposal.text, end="")
    else:
        if args.output.is_file() and args.output.read_bytes() != proposal.text.encode():
            old_schema = args.output.with_suffix(f".old{args.output.suffix}")
            args.output.replace(old_schema)
            print(f"{old_schema} is the earlier schema.")
        write_text(args.output, proposal.text)
        print(f"{args.output} describes {args.table}. Check its comments.")
        if proposal.question_lines:
            print(
                "There are questions in these lines:"
                f" {format_list(map(str, proposal.question_lines))}.",
            )
        print(f"split.by: I would choose {proposal.split}.")
    if proposal.failures:
        print(
            "`make repro` will stop. Decide:",
            *proposal.failures,
            sep="\n  ",
        )
