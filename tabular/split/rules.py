"""Which subset each row is in: by a draw that keeps equal rows together, or by a rule."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.config.schema import Schema
from tabular.config.sections import Split
from tabular.core.errors import UserError
from tabular.table.arrays import labels
from tabular.table.groups import MOST_REPEATED, equal_feature_rows
from tabular.table.parquet import FILE_SUBSET, count_rows, read_parts


def stays_with(folder: Path, split: Split, schema: Schema) -> tuple[np.ndarray | None, str | None]:
    """Return what `equal_feature_rows` finds if a random split uses it, and a message about it."""
    if split.by != "random" or split.equal_rows == "drawn":
        return None, None
    first = equal_feature_rows(folder, schema)
    if first is None:
        return None, None
    repeated = int((first != np.arange(len(first))).sum())
    message = f"{repeated:,} of {len(first):,} rows repeat the columns of another"
    if split.equal_rows == "auto" and repeated > MOST_REPEATED * len(first):
        return None, f"warn: {message}: too many to be copies, so each is drawn by itself"
    return first, f"{message}: they stay with it, in one subset and one fold"


def kept_together(
    order: np.ndarray, counts: np.ndarray, first: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move each row of a draw to the subset of the first row that equals it.

    Args:
        order: the rows of one subset after the other, (rows,).
        counts: how many rows each subset has.
        first: see `equal_feature_rows`.

    Returns:
        The same order and counts, with the rows that move behind those that stay.
    """
    subset = np.empty(len(order), np.int8)
    subset[order] = np.repeat(np.arange(len(counts)), counts)
    subset = subset[first]
    order = order[np.argsort(subset[order], kind="stable")]
    return order, np.bincount(subset, minlength=len(counts))


TRAIN, VALIDATION, TEST = range(3)
SUBSETS = ("train", "validation", "test")
HALF = 2**32
HASHED = ("hash", "group")  # rules


def unused_declarations(split: Split, schema: Schema) -> Iterator[str]:
    """What the schema says of the rows and the rule of the split leaves aside."""
    declared = {
        "group": (
            ("group", "column", "file"),
            "rows of one group may be in training and test rows",
        ),
        "time": (
            ("time", "column", "file"),
            "later rows may train a model that is tested on earlier ones",
        ),
        "split": (("column",), "its train, validation and test rows are mixed"),
        "test_files": (("file",), "their rows may be training rows too"),
    }
    for key, (rules, then) in declared.items():
        if getattr(schema, key) and split.by not in rules:
            yield f"data/schema.yaml has {key}, and split.by: {split.by} does not use it: {then}"


def by_hash(
    hashed: np.ndarray, test_size: float, validation_size: float
) -> tuple[np.ndarray, np.ndarray]:
    """The subset of each row by the high half of its hash, and its fold key by the low half.

    So the rows of one hash share both, in whatever table they are.

    Returns:
        Indices in `SUBSETS`, int8, and fold keys, int64; shape (rows,).
    """
    place = (hashed // HALF) / HALF
    subset = np.full(len(hashed), TRAIN, np.int8)
    subset[place < test_size + validation_size * (1 - test_size)] = VALIDATION
    subset[place < test_size] = TEST
    return subset, fold_keys(hashed)


def fold_keys(hashed: np.ndarray) -> np.ndarray:
    """Return the number of the group that stays in one fold by the hash of each row, int64."""
    return (hashed % HALF).astype(np.int64)


def by_time(
    times: np.ndarray, test_size: float, validation_size: float
) -> tuple[np.ndarray, np.ndarray]:
    """The latest rows test, those before them validate; rows of one time are never parted.

    Args:
        times: of the rows, what can be sorted, shape (rows,).

    Returns:
        Indices in `SUBSETS`, int8, and fold keys, the place of each time among the training rows.

    Raises:
        ValueError: a subset would be empty.
    """
    subset = np.full(len(times), TRAIN, np.int8)
    for kind, size in ((TEST, test_size), (VALIDATION, validation_size)):
        left = np.flatnonzero(subset == TRAIN)
        if size and len(left):
            ordered = np.sort(times[left])
            first = ordered[len(left) - math.ceil(size * len(left))]
            subset[left[times[left] >= first]] = kind
    if (subset != TRAIN).all():
        raise ValueError("the rows have too few different times to part them")
    ordered = np.sort(times[subset == TRAIN])
    return subset, np.searchsorted(ordered, times) / len(ordered)


def by_column(names: Iterable[str | None]) -> np.ndarray:
    """The subset that each row names, an index in `SUBSETS`, int8.

    Raises:
        ValueError: a row names another one.
    """
    names = list(names)
    wrong = sorted({repr(name) for name in names} - {repr(name) for name in SUBSETS})
    if wrong:
        raise ValueError(f"found {', '.join(wrong[:5])}; expected {', '.join(SUBSETS)}")
    return np.array([SUBSETS.index(str(name)) for name in names], np.int8)


def random_split(
    rows: int, split: Split, classes: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The rows of each subset, in the order in which `train_test_split` gives them; int32.

    The test rows are drawn from the whole table, the validation rows from what is left, both with
    `split.seed` and, where `classes` of shape (rows,) are given, with equal shares of each class.

    Raises:
        UserError: a subset gets no row, or a class is too rare to stratify.
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
        return [FILE_SUBSET]
    if split.role:
        return [schema.roles[split.role]]
    return [name for name in schema.columns if name not in schema.ignore]


def rule_subsets(
    folder: Path, split: Split, schema: Schema
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the subset of each row by a rule, an index in `SUBSETS`.

    Returns:
        Int8, (rows,), and the fold key of every row: float64 by time, int64 by hash or by the
        declared group; None without.

    Raises:
        ValueError: A row has no time or subset.
    """
    names = rule_columns(split, schema)
    if split.by in HASHED:
        return by_hash(hash_parts(folder, names, split), split.test_size, split.validation_size)
    values = pa.chunked_array(
        [chunk for part in read_parts(folder, names) for chunk in part[0].chunks]
    )
    if values.null_count:
        raise ValueError(f"column {names[0]} is empty in {values.null_count} rows")
    if split.by == "time":
        return by_time(values.to_numpy(), split.test_size, split.validation_size)
    subset, keys = by_column(values.to_pylist()), None
    if schema.group is not None:
        keys = fold_keys(hash_parts(folder, [schema.group], split))
    return subset, keys


def hash_parts(folder: Path, names: list[str], split: Split) -> np.ndarray:
    """Return a hash of some columns of each row of a table, uint64, (rows,)."""
    parts = read_parts(folder, names)
    return np.concatenate([hashes(part.columns, split.seed) for part in parts])


def hashes(columns: list[pa.ChunkedArray], seed: int) -> np.ndarray:
    """A hash of the values of each row, uint64, shape (rows,); a missing value is a value too.

    SipHash of the texts, so that it is the same in every table that holds the row.
    """
    texts = [pc.fill_null(column.cast(pa.large_string()), "\0") for column in columns]
    separator = pa.scalar("\x1f", pa.large_string())
    joined = pc.binary_join_element_wise(*texts, separator) if len(texts) > 1 else texts[0]
    import pandas as pd  # takes half a second

    values = joined.to_numpy(zero_copy_only=False)
    return pd.util.hash_array(values, hash_key=f"{seed:016d}"[-16:], categorize=True)


def check_subsets(counts: np.ndarray, split: Split) -> None:
    """Raises `UserError` where there is no row to train with, or none to test."""
    if not counts[TRAIN] or not counts[TEST]:
        raise UserError(
            f"split.by in params.yaml: {split.by}: {counts[TRAIN]} rows to train with and "
            f"{counts[TEST]} to test"
        )


class Assignment(NamedTuple):
    """The subset of each row, and its place in it.

    Attributes:
        order: The rows of one subset after the other, int32, (rows,).
        fold_keys: Key of every row, see `FOLD_KEY`; None without.
        counts: Number of rows of each subset.
    """

    order: np.ndarray
    fold_keys: np.ndarray | None
    counts: np.ndarray


def ordered_rows(
    folder: Path, split: Split, schema: Schema, equal: np.ndarray | None
) -> Assignment:
    """The rows of all subsets, in an order drawn with the seed, which takes 8 bytes a row.

    Args:
        equal: for each row the first one that it stays with in a random split; None where each goes
            by itself.

    Raises:
        UserError: a subset gets no row, or a row has no time or subset.
    """
    if split.by == "random":
        classes = None
        if split.stratify:
            targets = list(read_parts(folder, [schema.target]))
            for part in targets:
                labels(part, schema)  # raises where a row has none
            classes = np.concatenate([part[0].to_numpy() for part in targets])
        rows = random_split(sum(count_rows(folder)), split, classes)
        order, counts = np.concatenate(list(rows.values())), np.array([*map(len, rows.values())])
        if equal is None:
            return Assignment(order, None, counts)
        order, counts = kept_together(order, counts, equal)
        check_subsets(counts, split)
        return Assignment(order, equal, counts)
    try:
        subset, keys = rule_subsets(folder, split, schema)
    except ValueError as error:
        raise UserError(f"split.by in params.yaml: {split.by}: {error}") from None
    counts = np.bincount(subset, minlength=len(SUBSETS))
    check_subsets(counts, split)
    rng = np.random.RandomState(split.seed)
    of_subsets = [
        rng.permutation(np.flatnonzero(subset == number).astype(np.int32))
        for number in range(len(SUBSETS))
    ]
    return Assignment(np.concatenate(of_subsets), keys, counts)
