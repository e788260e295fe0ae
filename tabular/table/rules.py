"""Which share each row is in, by a draw or by the rule of the split, and where it goes."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tabular.errors import UserError
from tabular.params.split import Split
from tabular.schema import Schema
from tabular.table.arrays import labels
from tabular.table.parquet import FILE_SHARE, count_rows, read_parts
from tabular.table.shares import FOLD_KEY, SHARES, TEST, TRAIN, by_column, by_hash, by_time, hashes
from tabular.table.shuffle import Placed

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


def rule_columns(split: Split, schema: Schema) -> list[str]:
    """The columns that a rule reads."""
    if split.by == "file":
        return [FILE_SHARE]
    return [schema.roles[split.role]] if split.role else list(schema.columns)


def rule_shares(folder: Path, split: Split, schema: Schema) -> tuple[np.ndarray, np.ndarray | None]:
    """The share of each row by time, column or file, an index in `SHARES`.

    Returns:
        Int8, (rows,), and the fold key of every row, float64, None where a share says nothing of
        folds.

    Raises:
        ValueError: a row has no time or share.
    """
    (name,) = rule_columns(split, schema)
    values = pa.chunked_array(
        [chunk for part in read_parts(folder, [name]) for chunk in part[0].chunks]
    )
    if values.null_count:
        raise ValueError(f"column {name} is empty in {values.null_count} rows")
    if split.by == "time":
        return by_time(values.to_numpy(), split.test_size, split.validation_size)
    return by_column(values.to_pylist()), None


def hashed_shares(part: pa.Table, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """The share and the fold key of each row by the hash of these columns, see `by_hash`."""
    hashed = hashes(part.columns, split.seed)
    return by_hash(hashed, split.test_size, split.validation_size)


def count_shares(path: Path, names: list[str], split: Split) -> np.ndarray:
    """How many rows of a part are in each share by hash."""
    share, _ = hashed_shares(pq.read_table(path, columns=names), split)
    return np.bincount(share, minlength=len(SHARES))


def check_shares(counts: np.ndarray, split: Split) -> None:
    """Raises `UserError` where there is no row to train with, or none to test."""
    if not counts[TRAIN] or not counts[TEST]:
        raise UserError(
            f"split.by in params.yaml: {split.by}: {counts[TRAIN]} rows to train with and "
            f"{counts[TEST]} to test"
        )


def draw_rows(
    folder: Path, split: Split, schema: Schema
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The rows of all shares, in an order drawn with the seed, which takes 8 bytes a row.

    Returns:
        The rows of one share after the other, int32, (rows,); the fold key of every row, float64,
        None where there are none; and how many rows each share has.

    Raises:
        UserError: a share gets no row, or a row has no time or share.
    """
    if split.by == "random":
        classes = None
        if split.stratify:
            targets = list(read_parts(folder, [schema.target]))
            for part in targets:
                labels(part, schema)  # raises where a row has none
            classes = np.concatenate([part[0].to_numpy() for part in targets])
        rows = draw(sum(count_rows(folder)), split, classes)
        return np.concatenate(list(rows.values())), None, np.array([*map(len, rows.values())])
    try:
        share, keys = rule_shares(folder, split, schema)
    except ValueError as error:
        raise UserError(f"split.by in params.yaml: {split.by}: {error}") from None
    counts = np.bincount(share, minlength=len(SHARES))
    check_shares(counts, split)
    rng = np.random.RandomState(split.seed)
    of_shares = [
        rng.permutation(np.flatnonzero(share == number).astype(np.int32))
        for number in range(len(SHARES))
    ]
    return np.concatenate(of_shares), keys, counts


class Part(NamedTuple):
    """A part to place: where its rows go, int32, and their fold keys, None without folds."""

    path: Path
    positions: np.ndarray
    keys: np.ndarray | None


def place(part: Part, ends: list[int]) -> Placed:
    """The rows of a part with their fold keys, by the output parts that end at `ends`."""
    rows = pq.read_table(part.path)
    if part.keys is not None:
        rows = rows.append_column(FOLD_KEY, pa.array(part.keys))
    outputs = np.searchsorted(ends, part.positions, side="right").astype(np.uint32)
    return Placed(rows, outputs, part.positions)


class HashedPart(NamedTuple):
    """A part to place by hash: its number, its first row, and how many rows each share has before.

    `before` is int64, shape (shares,).
    """

    number: int
    path: Path
    first: int
    before: np.ndarray


def place_by_hash(part: HashedPart, names: list[str], files: list[int], split: Split) -> Placed:
    """The rows of a part with their fold keys, dealt to the files of their share.

    In an order drawn with the seed, so that the files of a share differ by one row at most.

    Args:
        files: how many files each share has.
    """
    rows = pq.read_table(part.path)
    share, keys = hashed_shares(rows.select(names), split)
    rng = np.random.default_rng([split.seed, part.number])
    order, outputs = rng.permutation(len(rows)), np.empty(len(rows), np.uint32)
    for number, of_share in enumerate(files):
        dealt = order[share[order] == number]
        turn = (part.before[number] + np.arange(len(dealt))) % of_share
        outputs[dealt] = sum(files[:number]) + turn
    drawn = rng.integers(0, 2**32, len(rows), np.uint64) << np.uint64(32)
    row = np.arange(part.first, part.first + len(rows), dtype=np.uint64)
    rows = rows.append_column(FOLD_KEY, pa.array(keys))
    return Placed(rows, outputs, drawn | row % np.uint64(2**32))
