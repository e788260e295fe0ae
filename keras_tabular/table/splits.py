"""The split of a table: the subset of each row, and the files of each subset."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import KEYS_OF_RULES, Split
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.core.parallel import ordered_map
from keras_tabular.table import parquet
from keras_tabular.table.arrays import labels
from keras_tabular.table.groups import (
    MAX_SHARE_REPEATED,
    equal_feature_rows,
    stable_row_hashes,
)

SUBSETS = ("train", "validation", "test")
TRAIN = 0
VALIDATION = 1
TEST = 2
# A hash has 64 bits: the high half decides the subset, the low half is the fold key.
HALF = 2**32
# Rows that a worker takes in one pass over the table, if parts are smaller.
MAX_TAKEN_ROWS = 1_000_000


class Assignment(NamedTuple):
    """The rows of each subset, and what keeps rows together in a fold.

    Attributes:
        rows: Row numbers of train, validation and test, each int32 in the order to
            write them.
        fold_keys: Fold key of every row of the table, see `FOLD_KEY`, shape (rows,);
            None if training deals the rows one by one.
    """

    rows: list[np.ndarray]
    fold_keys: np.ndarray | None


def unused_declarations(split: Split, schema: Schema) -> Iterator[str]:
    """Yield a message for each declaration that the split does not use."""
    consequences = {
        "group": "a group may have both training and test rows",
        "time": "later rows may train a model for earlier test rows",
        "column": "the subsets that it names are mixed",
        "file": "rows of these files may become training rows",
    }
    # The owner who names all test rows knows about groups and times.
    knows_others = split.by in ("column", "file")
    for rule, consequence in consequences.items():
        key = KEYS_OF_RULES[rule]
        is_used = split.by == rule or (knows_others and rule in ("group", "time"))
        if getattr(schema, key) and not is_used:
            yield (
                f"data/schema.yaml declares {key}, but split.by: {split.by} does not"
                f" use it: {consequence}."
            )


def find_duplicates(
    folder: Path,
    split: Split,
    schema: Schema,
) -> tuple[np.ndarray | None, str]:
    """Find the rows with equal features, which a random split keeps together.

    Returns:
        The first equal row of each row, see `equal_feature_rows`, or None if rows are
        drawn one by one; and a message about equal rows, empty if there are none.
    """
    if split.by != "random" or split.duplicates == "drawn":
        return None, ""
    first_equal = equal_feature_rows(folder, schema)
    if first_equal is None:
        return None, ""
    n_rows = len(first_equal)
    repeated = np.count_nonzero(first_equal != np.arange(n_rows))
    message = f"{repeated:,} of {n_rows:,} rows repeat the features of an earlier row."
    if split.duplicates == "auto" and repeated > MAX_SHARE_REPEATED * n_rows:
        return None, (
            f"warn: {message} These are too many to be copies: each is drawn by itself."
        )
    return first_equal, f"{message} They join its subset and its fold."


def assign_rows(
    folder: Path,
    split: Split,
    schema: Schema,
    first_equal: np.ndarray | None,
) -> Assignment:
    """Assign the rows of a table to the subsets, in an order drawn with the seed.

    Args:
        folder: Folder of the Parquet parts of the table.
        first_equal: For each row the first row with equal features, shape (rows,); None
            if a random split draws each row by itself.

    Raises:
        UserError: Train or test gets no row, or a row has no time or subset.
    """
    if split.by == "random":
        classes = None
        if split.stratify:
            target = pa.concat_tables(parquet.read_parts(folder, [schema.target]))
            labels(target, schema)  # raises if a row has no class
            classes = target[0].to_numpy()
        rows = random_split(sum(parquet.count_rows(folder)), split, classes)
        fold_keys = first_equal
        if first_equal is not None:
            rows = join_equal_rows(rows, first_equal)
    else:
        subset, fold_keys = apply_rule(folder, split, schema)
        rng = np.random.RandomState(split.seed)
        rows = [
            rng.permutation(np.flatnonzero(subset == number).astype(np.int32))
            for number in range(len(SUBSETS))
        ]
    if not len(rows[TRAIN]) or not len(rows[TEST]):
        raise UserError(
            f"split.by: {split.by} gives {len(rows[TRAIN])} training rows and"
            f" {len(rows[TEST])} test rows. Expected at least one row in both.",
        )
    return Assignment(rows, fold_keys)


def random_split(
    n_rows: int,
    split: Split,
    classes: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Draw the rows of the subsets as scikit-learn's `train_test_split` does.

    The test rows are drawn from the whole table and the validation rows from the
    remaining rows, both with `split.seed`.

    Args:
        n_rows: Number of rows.
        classes: Class of each row, shape (rows,), for a stratified draw.

    Returns:
        The rows of each subset in the order of the draw, int32.

    Raises:
        UserError: A class is too rare to stratify.
    """

    def draw(rows: np.ndarray, size: float) -> list[np.ndarray]:
        """Draw a share of some rows: return the other rows, then the drawn ones."""
        if classes is not None:
            from sklearn.model_selection import train_test_split

            return train_test_split(
                rows,
                test_size=size,
                random_state=split.seed,
                stratify=classes[rows],
            )
        # This is what train_test_split does. To import it would take longer than to
        # split a million rows.
        shuffled = np.random.RandomState(split.seed).permutation(rows)
        n_drawn = math.ceil(size * len(rows))
        return [shuffled[n_drawn:], shuffled[:n_drawn]]

    try:
        rows = np.arange(n_rows, dtype=np.int32)
        train, test = draw(rows, split.test_size)
        validation = train[:0]
        if split.validation_size:
            train, validation = draw(train, split.validation_size)
    except ValueError as error:
        raise UserError(
            f"split in params.yaml does not fit {n_rows} rows: {error}",
        ) from None
    return [train, validation, test]


def join_equal_rows(
    rows: list[np.ndarray],
    first_equal: np.ndarray,
) -> list[np.ndarray]:
    """Move each row to the subset of the first row with equal features.

    Args:
        rows: Row numbers of each subset, in the order of the draw.
        first_equal: For each row the first row with equal features, shape (rows,).

    Examples:
        >>> rows = [np.array([3, 0]), np.array([1, 2])]
        >>> join_equal_rows(rows, first_equal=np.array([0, 1, 0, 1]))
        [array([0, 2]), array([3, 1])]
    """
    subset = np.empty(len(first_equal), np.int8)
    for number, subset_rows in enumerate(rows):
        subset[subset_rows] = number
    order = np.concatenate(rows)
    new_subset = subset[first_equal[order]]
    return [order[new_subset == number] for number in range(len(rows))]


def apply_rule(
    folder: Path,
    split: Split,
    schema: Schema,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Find the subset of each row by the rule of a split that is not random.

    Returns:
        Indices in `SUBSETS`, int8, shape (rows,); and the fold key of every row,
        float64 by time and else int64, or None if rows do not belong together.

    Raises:
        UserError: A row has no time or subset.
    """
    names = rule_columns(split, schema)
    if split.by in ("hash", "group"):
        return by_hash(stable_row_hashes(folder, names, split.seed), split)
    values = pa.concat_tables(parquet.read_parts(folder, names))[0]
    if values.null_count:
        raise UserError(
            f"column {names[0]}: expected a value in every row, got"
            f" {values.null_count} empty cells. split.by: {split.by} needs them.",
        )
    if split.by == "time":
        return by_time(values.to_numpy(), split)
    fold_keys = None
    if schema.group:
        hashes = stable_row_hashes(folder, [schema.group], split.seed)
        _, fold_keys = by_hash(hashes, split)
    return by_name(values.to_pylist(), names[0]), fold_keys


def rule_columns(split: Split, schema: Schema) -> list[str]:
    """Return the columns that a rule reads."""
    if split.by == "file":
        return [parquet.FILE_SUBSET]
    if key := KEYS_OF_RULES.get(split.by):
        return [schema.roles[key]]
    return [name for name in schema.columns if name not in schema.ignore]


def by_hash(
    hashes: np.ndarray,
    split: Split,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the subset of each row by its hash.

    A row keeps its subset when the table grows.

    Args:
        hashes: Hash of each row, uint64, shape (rows,).

    Returns:
        Indices in `SUBSETS`, int8, and fold keys, int64; both of shape (rows,).
    """
    fraction = (hashes // HALF) / HALF  # from 0 to 1
    validation_end = split.test_size + split.validation_size * (1 - split.test_size)
    subset = np.full(len(hashes), TRAIN, np.int8)
    subset[fraction < validation_end] = VALIDATION
    subset[fraction < split.test_size] = TEST
    return subset, (hashes % HALF).astype(np.int64)


def by_time(
    times: np.ndarray,
    split: Split,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the latest rows for test and the latest remaining rows for validation.

    All rows of one time are in the same subset.

    Args:
        times: Time of each row, of any type that can be sorted, shape (rows,).

    Returns:
        Indices in `SUBSETS`, int8; and fold keys, float64: the share of the training
        rows that are earlier. Both have shape (rows,).

    Examples:
        >>> split = Split(by="time", test_size=0.3, validation_size=0, seed=0)
        >>> subset, fold_keys = by_time(np.array([2021, 2025, 2023]), split)
        >>> [SUBSETS[number] for number in subset]
        ['train', 'test', 'train']
        >>> fold_keys
        array([0. , 1. , 0.5])
    """
    subset = np.full(len(times), TRAIN, np.int8)
    sizes = {TEST: split.test_size, VALIDATION: split.validation_size}
    for number, size in sizes.items():
        is_remaining = subset == TRAIN
        sorted_times = np.sort(times[is_remaining])
        n_latest = math.ceil(size * len(sorted_times))
        if n_latest:
            is_late = times >= sorted_times[-n_latest]
            subset[is_remaining & is_late] = number
    train_times = np.sort(times[subset == TRAIN])
    earlier_rows = np.searchsorted(train_times, times)
    return subset, earlier_rows / max(len(train_times), 1)


def by_name(names: list[str], column: str) -> np.ndarray:
    """Convert the names of subsets to indices in `SUBSETS`: int8, shape (rows,).

    Args:
        names: Name of the subset of each row.
        column: Column that has the names, for the message.

    Raises:
        UserError: A row names another subset.
    """
    unknown = sorted(repr(name) for name in set(names) - set(SUBSETS))
    if unknown:
        raise UserError(
            f"column {column}: expected {format_list(SUBSETS)}, got"
            f" {format_list(unknown)}",
        )
    return np.array([SUBSETS.index(name) for name in names], np.int8)


class NewPart(NamedTuple):
    """A part of a subset that is to be written.

    Attributes:
        subset: Name of the subset.
        number: Number of the part.
        rows: Numbers of its rows in the whole table.
    """

    subset: str
    number: int
    rows: np.ndarray


def write_subsets(
    table: Path,
    assignment: Assignment,
    rows_per_file: int,
    folder: Path,
) -> None:
    """Write the subsets of a table to `folder`, each in parts of `rows_per_file` rows.

    An empty subset is one empty part. Only the test rows keep the columns of
    `origin_names`. A worker reads the whole table part by part, and takes the rows of
    several new parts from it.
    """
    new_parts = []
    for subset, rows in zip(SUBSETS, assignment.rows, strict=True):
        starts = range(0, max(len(rows), 1), rows_per_file)
        for number, start in enumerate(starts):
            part_rows = rows[start : start + rows_per_file]
            new_parts.append(NewPart(subset, number, part_rows))
    step = max(MAX_TAKEN_ROWS // rows_per_file, 1)
    starts = range(0, len(new_parts), step)
    batches = [new_parts[start : start + step] for start in starts]
    write = partial(
        write_new_parts,
        table=table,
        keys=assignment.fold_keys,
        folder=folder,
    )
    for _ in ordered_map(write, batches):
        pass


def write_new_parts(
    parts: list[NewPart],
    table: Path,
    keys: np.ndarray | None,
    folder: Path,
) -> None:
    """Take the rows of some new parts from a table, and write them with fold keys."""
    from pyarrow.dataset import dataset  # takes a twentieth of a second

    rows = np.concatenate([part.rows for part in parts])
    source = dataset([str(path) for path in parquet.part_paths(table)])
    # Less is read ahead, to save memory.
    selected = source.take(pa.array(rows), fragment_readahead=1, batch_readahead=2)
    origins = parquet.origin_names(selected.column_names)
    start = 0
    for part in parts:
        whole = selected[start : start + len(part.rows)].combine_chunks()
        start += len(part.rows)
        columns = whole.drop_columns(origins)
        if keys is not None:
            fold_keys = pa.array(keys[part.rows])
            columns = columns.append_column(parquet.FOLD_KEY, fold_keys)
        if part.subset == SUBSETS[TEST]:
            for name in origins:
                columns = columns.append_column(name, whole[name])
        parquet.write_part(folder / part.subset, part.number, columns)
