"""Rows into train, validation and test, as scikit-learn's `train_test_split` or by a rule."""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from tabular.engine import ordered_map
from tabular.files import atomic_write
from tabular.params.loading import load_params
from tabular.params.split import not_heeded
from tabular.process import run
from tabular.schema import load_schema
from tabular.table.parquet import count_rows, part_paths, without_pandas, write_part
from tabular.table.rules import (
    HASHED,
    HashedPart,
    Part,
    check_shares,
    count_shares,
    draw_rows,
    place,
    place_by_hash,
    rule_columns,
)
from tabular.table.shares import SHARES
from tabular.table.shuffle import positions, shuffle


def write_share(number: int, part: pa.Table, files: list[tuple[str, int]], folder: Path) -> None:
    """Write an output part: of a share, and with a number in it."""
    share, number_in_share = files[number]
    write_part(folder / share, number_in_share, part)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("validated", type=Path, help="folder of Parquet parts to split")
    parser.add_argument("split", type=Path, help="folder for the tables train, validation and test")
    args = parser.parse_args()
    without_pandas()
    schema = load_schema()
    params = load_params("ingest", "split", schema=schema)

    for line in not_heeded(params.split, schema):
        print(f"warn: {line}")
    split, size = params.split, params.ingest.rows_per_part
    paths, sizes = part_paths(args.validated), count_rows(args.validated)
    starts = np.cumsum([0, *sizes])
    if split.by in HASHED:
        names = rule_columns(split, schema)
        count = partial(count_shares, names=names, split=split)
        of_parts = np.array(list(ordered_map(count, paths)))
        counts = of_parts.sum(axis=0)
        check_shares(counts, split)
    else:
        order, keys, counts = draw_rows(args.validated, split, schema)
    files = [max(-(-rows // size), 1) for rows in counts.tolist()]
    names_of_files = [
        (name, number)
        for name, of_share in zip(SHARES, files, strict=True)
        for number in range(of_share)
    ]
    with atomic_write(args.split) as folder:
        folder.mkdir()
        write = partial(write_share, files=names_of_files, folder=folder)
        with TemporaryDirectory(dir=folder) as scratch:
            to = (sum(files), Path(scratch), write)
            if split.by in HASHED:
                hashed = partial(place_by_hash, names=names, files=files, split=split)
                before = np.cumsum(of_parts, axis=0) - of_parts
                hashed_parts = (
                    HashedPart(number, path, int(first), of_part)
                    for number, (path, first, of_part) in enumerate(
                        zip(paths, starts[:-1], before, strict=True)
                    )
                )
                shuffle(hashed_parts, hashed, *to)
            else:
                ends = [
                    int(first + min(number * size, rows))
                    for first, rows, of_share in zip(
                        np.cumsum([0, *counts[:-1]]), counts, files, strict=True
                    )
                    for number in range(1, of_share + 1)
                ]
                where = positions(order)
                del order
                parts = (
                    Part(path, where[a:b], None if keys is None else keys[a:b])
                    for path, a, b in zip(paths, starts[:-1], starts[1:], strict=True)
                )
                shuffle(parts, partial(place, ends=ends), *to)


if __name__ == "__main__":
    run(main)
