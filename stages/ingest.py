"""Convert the table to Parquet parts with the declared types, and describe every column."""

from argparse import ArgumentParser
from collections.abc import Iterator
from functools import partial
from itertools import repeat
from pathlib import Path

import pyarrow as pa

from keras_tabular.column_statistics.profile import describe_table
from keras_tabular.config.params import load_params
from keras_tabular.config.schema import Schema, load_schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write, write_json
from keras_tabular.core.parallel import ordered_map
from keras_tabular.table.csv import RawRows
from keras_tabular.table.parquet import FILE_SUBSET, hide_pandas, regroup_rows, write_parts
from keras_tabular.table.rows import parse_valid_rows
from keras_tabular.table.source import check_columns, read_rows, source_files
from stages import run


def read_files(files: list[Path], schema: Schema) -> Iterator[RawRows]:
    """Yield the declared columns of all files, in declared order, some rows at a time."""
    for file in files:
        check_columns(file, schema, schema.columns)
        yield from read_rows(file, schema, list(schema.columns))


def parse(raw: RawRows, schema: Schema) -> pa.Table:
    """Return the values of some rows, with the subset of their file if there are test files."""
    table = parse_valid_rows(raw, schema)
    if schema.test_files:
        subset = "test" if raw.file.name in schema.test_files else "train"
        table = table.append_column(FILE_SUBSET, pa.repeat(subset, len(table)))
    return table


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("ingested", type=Path, help="folder for the Parquet parts")
    parser.add_argument("profile", type=Path, help="JSON file for the profile")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("ingest", schema=schema)

    hide_pandas()
    files = source_files(schema.source, schema.test_files)
    with atomic_write(args.ingested) as folder:
        parsed = ordered_map(partial(parse, schema=schema), read_files(files, schema))
        parts = regroup_rows(parsed, repeat(params.ingest.rows_per_part))
        if not write_parts(folder, parts):
            raise UserError(f"{schema.source}: expected rows, got only a header")
        profile = describe_table(folder, schema)
    write_json(args.profile, profile)


if __name__ == "__main__":
    run(main)
