"""Rows into train, validation and test, as scikit-learn's `train_test_split` or by a rule."""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from stages import run
from tabular.config.params import load_params
from tabular.config.schema import load_schema
from tabular.core.files import atomic_write
from tabular.split.placement import placement, shuffle
from tabular.split.rules import stays_with, unused_declarations
from tabular.table.parquet import without_pandas, write_part


def write_subset(number: int, part: pa.Table, files: list[tuple[str, int]], folder: Path) -> None:
    """Write an output part: of a subset, and with a number in it."""
    subset, number_in_subset = files[number]
    write_part(folder / subset, number_in_subset, part)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("validated", type=Path, help="folder of Parquet parts to split")
    parser.add_argument("split", type=Path, help="folder for the tables train, validation and test")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("ingest", "split", schema=schema)

    without_pandas()
    for line in unused_declarations(params.split, schema):
        print(f"warn: {line}")
    equal, told = stays_with(args.validated, params.split, schema)
    if told:
        print(told)
    size = params.ingest.rows_per_part
    found = placement(args.validated, params.split, schema, size, equal)
    with atomic_write(args.split) as folder:
        folder.mkdir()
        write = partial(write_subset, files=found.files, folder=folder)
        with TemporaryDirectory(dir=folder) as scratch:
            shuffle(found.parts, found.place, len(found.files), Path(scratch), write)


if __name__ == "__main__":
    run(main)
