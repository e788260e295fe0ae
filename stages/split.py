"""Rows into train, validation and test, as scikit-learn's `train_test_split` or by a rule."""

import math
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from tabular.errors import UserError
from tabular.files import atomic_write
from tabular.params.loading import load_params
from tabular.params.split import Split, not_heeded
from tabular.process import run
from tabular.schema import Schema, load_schema
from tabular.table.arrays import labels
from tabular.table.parquet import FILE_SHARE, count_rows, read_parts, write_part
from tabular.table.shares import FOLD_KEY, SHARES, TEST, TRAIN, by_column, by_hash, by_time, hashes
from tabular.table.shuffle import shuffle


def draw(rows: int, split: Split, classes: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The rows of each share, in the order in which `train_test_split` gives them; int32.

    The test rows are drawn from the whole table, the validation rows from what is left, both with
    `split.seed` and, where `classes` of shape (rows,) are given, with equal shares of each class.

    Raises:
        UserError: a share gets no row, or a class is too rare to stratify.
    """

    def cut(rows: np.ndarray, size: float) -> list[np.ndarray]:
        if classes is not None:
            from sklearn.model_selection import train_test_split

            stratify = classes[rows]
            return train_test_split(
                rows, test_size=size, random_state=split.seed, stratify=stratify
            )
        # What train_test_split does; its import takes longer than to split a million rows.
        drawn = np.random.RandomState(split.seed).permutation(rows)
        tests = math.ceil(size * len(rows))
        if tests >= len(rows):
            raise ValueError("no row would be left to train with")
        return [drawn[tests:], drawn[:tests]]

    try:
        train, test = cut(np.arange(rows, dtype=np.int32), split.test_size)
        validation = train[:0]
        if split.validation_size:
            train, validation = cut(train, split.validation_size)
    except ValueError as error:
        raise UserError(
            f"cannot split {rows} rows with test_size {split.test_size}, validation_size "
            f"{split.validation_size} and stratify {split.stratify} (split in params.yaml): {error}"
        ) from None
    return {"train": train, "validation": validation, "test": test}


def part_rows(
    folder: Path, split: Split, schema: Schema
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """The rows of each share by a rule that is no draw, each share in an order drawn with the seed.

    Returns:
        The rows, int32, and the fold key of every row, None where a share says nothing of folds.

    Raises:
        UserError: a share gets no row, or a row has no time or share.
    """
    sizes = split.test_size, split.validation_size
    keys: np.ndarray | None = None
    names = [schema.roles[split.role]] if split.role else list(schema.columns)
    if split.by == "file":
        names = [FILE_SHARE]
    try:
        if split.by in ("hash", "group"):
            parts = (part.columns for part in read_parts(folder, names))
            hashed = np.concatenate([hashes(columns, split.seed) for columns in parts])
            share, keys = by_hash(hashed, *sizes)
        else:
            values = pa.chunked_array(
                [chunk for part in read_parts(folder, names) for chunk in part[0].chunks]
            )
            if values.null_count:
                raise ValueError(f"column {names[0]} is empty in {values.null_count} rows")
            if split.by == "time":
                share, keys = by_time(values.to_numpy(), *sizes)
            else:
                share = by_column(values.to_pylist())
        counts = np.bincount(share, minlength=len(SHARES))
        if not counts[TRAIN] or not counts[TEST]:
            raise ValueError(f"{counts[TRAIN]} rows to train with and {counts[TEST]} to test")
    except ValueError as error:
        raise UserError(f"split.by in params.yaml: {split.by}: {error}") from None
    rng = np.random.RandomState(split.seed)
    rows = {
        name: rng.permutation(np.flatnonzero(share == number)).astype(np.int32)
        for number, name in enumerate(SHARES)
    }
    return rows, keys


def with_keys(parts: Iterable[pa.Table], keys: np.ndarray | None) -> Iterator[pa.Table]:
    """The parts with their fold keys, if there are any, as a column."""
    first = 0
    for part in parts:
        if keys is not None:
            part = part.append_column(FOLD_KEY, pa.array(keys[first : first + len(part)]))
        first += len(part)
        yield part


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("validated", type=Path, help="folder of Parquet parts to split")
    parser.add_argument("split", type=Path, help="folder for the tables train, validation and test")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("ingest", "split", schema=schema)

    for line in not_heeded(params.split, schema):
        print(f"warn: {line}")
    classes, keys = None, None
    if params.split.stratify:
        targets = list(read_parts(args.validated, [schema.target]))
        for part in targets:
            labels(part, schema)  # raises where a row has none
        classes = np.concatenate([part[0].to_numpy() for part in targets])
    if params.split.by == "random":
        shares = draw(sum(count_rows(args.validated)), params.split, classes)
    else:
        shares, keys = part_rows(args.validated, params.split, schema)

    size = params.ingest.rows_per_part
    files: list[tuple[str, int]] = []
    ends: list[int] = []
    for name, rows in shares.items():
        first = ends[-1] if ends else 0
        lengths = range(size, len(rows) + size, size) if len(rows) else [0]
        ends += [first + min(length, len(rows)) for length in lengths]
        files += [(name, number) for number in range(len(lengths))]

    order = np.concatenate(list(shares.values()))
    with atomic_write(args.split) as folder:
        folder.mkdir()
        with TemporaryDirectory(dir=folder) as scratch:
            keyed = with_keys(read_parts(args.validated), keys)

            def write(number: int, part: pa.Table) -> None:
                share, number_in_share = files[number]
                write_part(folder / share, number_in_share, part)

            shuffle(keyed, order, ends, Path(scratch), write)


if __name__ == "__main__":
    run(main)
