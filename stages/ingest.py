"""A table into Parquet parts with the declared types, and a profile of every column."""

from argparse import ArgumentParser
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa

from stages import run
from tabular.config.params import load_params
from tabular.config.schema import Schema, load_schema
from tabular.core.engine import ordered_map
from tabular.core.errors import UserError
from tabular.core.files import atomic_write, write_json
from tabular.table.parquet import FILE_SUBSET, arrow_schema, without_pandas, write_part
from tabular.table.profile import Profile
from tabular.table.rows import read_piece
from tabular.table.source import Piece, column_names, pieces, source_files


def parts_of(files: list[Path], schema: Schema, size: int) -> Iterator[list[Piece]]:
    """The rows of all files as parts of `size` rows, the last one shorter: pieces of files."""
    part: list[Piece] = []
    left = size
    for file in files:
        names = column_names(file, schema, schema.columns)
        for piece in pieces(file, schema, names, size, left):
            part.append(piece)
            left -= piece.rows
            if not left:
                yield part
                part, left = [], size
    if part:
        yield part


def ingest_part(numbered: tuple[int, list[Piece]], folder: Path, schema: Schema) -> Profile:
    """Read a part, write it as Parquet, and say what it holds."""
    number, part = numbered
    tables = []
    for piece in part:
        table = read_piece(piece, schema)
        if schema.test_files:
            share = "test" if piece.file.name in schema.test_files else "train"
            table = table.append_column(FILE_SUBSET, pa.repeat(share, len(table)))
        tables.append(table)
    table = pa.concat_tables(tables)
    write_part(folder, number, table)
    return Profile.of(table, schema)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("ingested", type=Path, help="folder for the Parquet parts")
    parser.add_argument("profile", type=Path, help="JSON file for the profile")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("ingest", schema=schema)

    without_pandas()
    files = source_files(schema.source, schema.test_files)
    with atomic_write(args.ingested) as folder:
        parts = parts_of(files, schema, params.ingest.rows_per_part)
        ingest = partial(ingest_part, folder=folder, schema=schema)
        profile = Profile.of(arrow_schema(schema).empty_table(), schema)
        for of_part in ordered_map(ingest, enumerate(parts)):
            profile = profile.merge(of_part)
        if not profile.rows:
            raise UserError(f"{schema.source}: found a header and no rows; expected some")
    write_json(args.profile, profile.described(schema))


if __name__ == "__main__":
    run(main)
