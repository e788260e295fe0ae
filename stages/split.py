"""Rows into train, validation and test, as scikit-learn's `train_test_split` or by a rule."""

import math
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tabular.engine import ordered_map
from tabular.errors import UserError
from tabular.files import atomic_write
from tabular.params.loading import load_params
from tabular.params.split import Split, not_heeded
from tabular.process import run
from tabular.schema import Schema, load_schema
from tabular.table.arrays import labels
from tabular.table.parquet import (
    FILE_SHARE,
    count_rows,
    part_paths,
    read_parts,
    without_pandas,
    write_part,
)
from tabular.table.shares import FOLD_KEY, SHARES, TEST, TRAIN, by_column, by_hash, by_time, hashes
from tabular.table.shuffle import shuffle

HASHED = ("hash", "group")  # rules


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


class Rule(NamedTuple):
    """Rows by a rule that is no draw.

    `rows`: those of each share, int32, in an order drawn with the seed; `keys`: the fold key of
    every row, float64, (rows,); None where hashes make it, or a share says nothing of folds.
    """

    rows: dict[str, np.ndarray]
    keys: np.ndarray | None = None


def rule_columns(split: Split, schema: Schema) -> list[str]:
    """The columns that a rule reads."""
    if split.by == "file":
        return [FILE_SHARE]
    return [schema.roles[split.role]] if split.role else list(schema.columns)


def rule_rows(folder: Path, split: Split, schema: Schema) -> Rule:
    """The rows of each share by a rule.

    Raises:
        UserError: a share gets no row, or a row has no time or share.
    """
    sizes = split.test_size, split.validation_size
    keys: np.ndarray | None = None
    names = rule_columns(split, schema)
    try:
        if split.by in HASHED:
            share_of = partial(hashed_share, names=names, split=split)
            share = np.concatenate(list(ordered_map(share_of, part_paths(folder))))
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
    return Rule(rows, keys)


def hashed_share(path: Path, names: list[str], split: Split) -> np.ndarray:
    """The share of each row of a part by the hash of these columns, see `by_hash`."""
    columns = pq.read_table(path, columns=names).columns
    return by_hash(hashes(columns, split.seed), split.test_size, split.validation_size)[0]


def read_with_keys(
    number: int, paths: list[Path], keys: list[np.ndarray], hashed: list[str], split: Split
) -> pa.Table:
    """A part with its fold keys, if there are any, as a column."""
    part = pq.read_table(paths[number])
    if hashed:
        found = hashes(part.select(hashed).columns, split.seed)
        return part.append_column(FOLD_KEY, pa.array(by_hash(found, 0, 0)[1]))
    return part.append_column(FOLD_KEY, pa.array(keys[number])) if keys else part


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
    classes = None
    if params.split.stratify:
        targets = list(read_parts(args.validated, [schema.target]))
        for part in targets:
            labels(part, schema)  # raises where a row has none
        classes = np.concatenate([part[0].to_numpy() for part in targets])
    sizes = count_rows(args.validated)
    rule = (
        Rule(draw(sum(sizes), params.split, classes))
        if params.split.by == "random"
        else rule_rows(args.validated, params.split, schema)
    )

    size = params.ingest.rows_per_part
    files: list[tuple[str, int]] = []
    ends: list[int] = []
    for name, rows in rule.rows.items():
        first = ends[-1] if ends else 0
        lengths = range(size, len(rows) + size, size) if len(rows) else [0]
        ends += [first + min(length, len(rows)) for length in lengths]
        files += [(name, number) for number in range(len(lengths))]

    order = np.concatenate(list(rule.rows.values()))
    read = partial(
        read_with_keys,
        paths=part_paths(args.validated),
        keys=[] if rule.keys is None else np.split(rule.keys, np.cumsum(sizes)[:-1]),
        hashed=rule_columns(params.split, schema) if params.split.by in HASHED else [],
        split=params.split,
    )
    rule.rows.clear()  # 4 bytes a row
    with atomic_write(args.split) as folder:
        folder.mkdir()
        with TemporaryDirectory(dir=folder) as scratch:
            write = partial(write_share, files=files, folder=folder)
            shuffle(sizes, read, order, ends, Path(scratch), write)


if __name__ == "__main__":
    run(main)
