"""Assign each row to train, validation or test: by a draw or by a rule."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Split
from keras_tabular.core.errors import UserError
from keras_tabular.table.arrays import labels
from keras_tabular.table.groups import MAX_SHARE_REPEATED, equal_feature_rows
from keras_tabular.table.parquet import FILE_SUBSET, count_rows, read_parts

SUBSETS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
HALF = 2**32  # a hash has 64 bits: the high half decides the subset, the low half the fold


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


def unused_declarations(split: Split, schema: Schema) -> Iterator[str]:
    """Yield a message for each declaration of the schema that the split does not use."""
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
    for key, (rules, consequence) in declared.items():
        if getattr(schema, key) and split.by not in rules:
            yield (
                f"data/schema.yaml has {key}, and split.by: {split.by} does not use it: "
                f"{consequence}"
            )


def find_equal_rows(
    folder: Path, split: Split, schema: Schema
) -> tuple[np.ndarray | None, str | None]:
    """Find the rows that a random split keeps together, since their features are equal.

    Returns:
        The result of `equal_feature_rows`, None if each row is drawn by itself; and a message, None
        if there are no equal rows.
    """
    if split.by != "random" or split.equal_rows == "drawn":
        return None, None
    first = equal_feature_rows(folder, schema)
    if first is None:
        return None, None
    repeated = int((first != np.arange(len(first))).sum())
    message = f"{repeated:,} of {len(first):,} rows repeat the columns of another"
    if split.equal_rows == "auto" and repeated > MAX_SHARE_REPEATED * len(first):
        return None, f"warn: {message}: too many to be copies, so each is drawn by itself"
    return first, f"{message}: they stay with it, in one subset and one fold"


def assign_rows(
    folder: Path, split: Split, schema: Schema, first_equal: np.ndarray | None
) -> Assignment:
    """Assign the rows of a table to the subsets, each in an order that is drawn with the seed.

    Args:
        first_equal: For each row the first one that it stays with in a random split, (rows,); None
            if each row is drawn by itself.

    Raises:
        UserError: A subset gets no row, or a row has no time or subset.
    """
    if split.by == "random":
        order, counts = draw_rows(folder, split, schema)
        keys = first_equal
        if first_equal is not None:
            order, counts = keep_together(order, counts, first_equal)
    else:
        try:
            subset, keys = apply_rule(folder, split, schema)
        except ValueError as error:
            raise UserError(f"split.by in params.yaml: {split.by}: {error}") from None
        counts = np.bincount(subset, minlength=len(SUBSETS))
        rng = np.random.RandomState(split.seed)
        order = np.concatenate(
            [
                rng.permutation(np.flatnonzero(subset == number).astype(np.int32))
                for number in range(len(SUBSETS))
            ]
        )
    if not counts[TRAIN] or not counts[TEST]:
        raise UserError(
            f"split.by in params.yaml: {split.by}: {counts[TRAIN]} rows to train with and "
            f"{counts[TEST]} to test"
        )
    return Assignment(order, keys, counts)


def draw_rows(folder: Path, split: Split, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """Draw the rows of a table, and return their order and the number of rows of each subset."""
    classes = None
    if split.stratify:
        parts = list(read_parts(folder, [schema.target]))
        for part in parts:
            labels(part, schema)  # raises if a row has none
        classes = np.concatenate([part[0].to_numpy() for part in parts])
    subsets = random_split(sum(count_rows(folder)), split, classes)
    return np.concatenate(subsets), np.array([*map(len, subsets)])


def random_split(
    rows: int, split: Split, classes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the rows of train, validation and test as scikit-learn's `train_test_split` does.

    The test rows are drawn from the whole table and the validation rows from what is left, both
    with `split.seed` and, with `classes` of shape (rows,), with equal shares of each class.

    Returns:
        The rows of each subset in the order of the draw, int32.

    Raises:
        UserError: A subset gets no row, or a class is too rare to stratify.
    """

    def draw(rows: np.ndarray, size: float) -> list[np.ndarray]:
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
        train, test = draw(np.arange(rows, dtype=np.int32), split.test_size)
        validation = train[:0]
        if split.validation_size:
            train, validation = draw(train, split.validation_size)
    except ValueError as error:
        raise UserError(
            f"cannot split {rows} rows with test_size {split.test_size}, validation_size "
            f"{split.validation_size} and stratify {split.stratify} (split in params.yaml): {error}"
        ) from None
    return train, validation, test


def keep_together(
    order: np.ndarray, counts: np.ndarray, first_equal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move each row of a draw to the subset of the first row that equals it.

    Args:
        order: The rows of one subset after the other, (rows,).
        counts: Number of rows of each subset.
        first_equal: Result of `equal_feature_rows`.

    Returns:
        The new order and counts; the rows that move come after those that stay.
    """
    subset = np.empty(len(order), np.int8)
    subset[order] = np.repeat(np.arange(len(counts)), counts)
    subset = subset[first_equal]
    order = order[np.argsort(subset[order], kind="stable")]
    return order, np.bincount(subset, minlength=len(counts))


def apply_rule(folder: Path, split: Split, schema: Schema) -> tuple[np.ndarray, np.ndarray | None]:
    """Find the subset of each row by a rule.

    Returns:
        Indices in `SUBSETS`, int8, (rows,); and the fold key of every row: float64 by time, int64
        by hash or by the declared group, None without.

    Raises:
        ValueError: A row has no time or subset.
    """
    names = rule_columns(split, schema)
    if split.by in ("hash", "group"):
        return by_hash(seeded_hashes(folder, names, split), split.test_size, split.validation_size)
    values = pa.chunked_array(
        [chunk for part in read_parts(folder, names) for chunk in part[0].chunks]
    )
    if values.null_count:
        raise ValueError(f"column {names[0]} is empty in {values.null_count} rows")
    if split.by == "time":
        return by_time(values.to_numpy(), split.test_size, split.validation_size)
    keys = None
    if schema.group is not None:
        keys = fold_keys(seeded_hashes(folder, [schema.group], split))
    return by_column(values.to_pylist()), keys


def rule_columns(split: Split, schema: Schema) -> list[str]:
    """Return the columns that a rule reads."""
    if split.by == "file":
        return [FILE_SUBSET]
    if split.role:
        return [schema.roles[split.role]]
    return [name for name in schema.columns if name not in schema.ignore]


def by_hash(
    hashes: np.ndarray, test_size: float, validation_size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the subset of each row by its hash, so that equal rows share it in any table.

    Args:
        hashes: Hash of each row, uint64, (rows,).

    Returns:
        Indices in `SUBSETS`, int8, and fold keys, int64; both of shape (rows,).
    """
    place = (hashes // HALF) / HALF
    subset = np.full(len(hashes), TRAIN, np.int8)
    subset[place < test_size + validation_size * (1 - test_size)] = VALIDATION
    subset[place < test_size] = TEST
    return subset, fold_keys(hashes)


def fold_keys(hashes: np.ndarray) -> np.ndarray:
    """Return the number of the group that stays in one fold by the hash of each row, int64."""
    return (hashes % HALF).astype(np.int64)


def seeded_hashes(folder: Path, names: list[str], split: Split) -> np.ndarray:
    """Hash some columns of each row of a table with `split.seed`: uint64, (rows,)."""
    parts = read_parts(folder, names)
    return np.concatenate([hash_values(part.columns, split.seed) for part in parts])


def hash_values(columns: list[pa.ChunkedArray], seed: int) -> np.ndarray:
    """Hash the values of each row: uint64, (rows,); a missing value is a value too.

    It is SipHash of the texts, which is the same in every table that holds the row.
    """
    texts = [pc.fill_null(column.cast(pa.large_string()), "\0") for column in columns]
    separator = pa.scalar("\x1f", pa.large_string())
    joined = pc.binary_join_element_wise(*texts, separator) if len(texts) > 1 else texts[0]
    import pandas as pd  # takes half a second

    values = joined.to_numpy(zero_copy_only=False)
    return pd.util.hash_array(values, hash_key=f"{seed:016d}"[-16:], categorize=True)


def by_time(
    times: np.ndarray, test_size: float, validation_size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the latest rows to test, and those before them to validate.

    Rows of one time are in one subset.

    Args:
        times: Time of each row, of any type that can be sorted, (rows,).

    Returns:
        Indices in `SUBSETS`, int8; and fold keys, the place of each time among those of the
        training rows, from 0 to 1.

    Raises:
        ValueError: A subset would be empty.
    """
    subset = np.full(len(times), TRAIN, np.int8)
    for number, size in ((TEST, test_size), (VALIDATION, validation_size)):
        earlier = np.flatnonzero(subset == TRAIN)
        if size and len(earlier):
            first_time = np.sort(times[earlier])[len(earlier) - math.ceil(size * len(earlier))]
            subset[earlier[times[earlier] >= first_time]] = number
    if (subset != TRAIN).all():
        raise ValueError("the rows have too few different times to part them")
    train_times = np.sort(times[subset == TRAIN])
    return subset, np.searchsorted(train_times, times) / len(train_times)


def by_column(names: Iterable[str | None]) -> np.ndarray:
    """Take the subset that each row names: an index in `SUBSETS`, int8.

    Raises:
        ValueError: A row names another one.
    """
    names = list(names)
    wrong = sorted({repr(name) for name in names} - {repr(name) for name in SUBSETS})
    if wrong:
        raise ValueError(f"found {', '.join(wrong[:5])}; expected {', '.join(SUBSETS)}")
    return np.array([SUBSETS.index(str(name)) for name in names], np.int8)
