"""The subset of each row of a table: train, validation or test; and where a row comes from."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Split
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
TRAIN, VALIDATION, TEST = range(3)
HALF = (
    2**32
)  # a hash has 64 bits: the high half decides the subset, the low half is the fold key


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
    """Yield a message for each declaration of the schema that the split does not use."""
    declarations = {
        "group": (
            ("group", "column", "file"),
            "a group may have both training and test rows",
        ),
        "time": (
            ("time", "column", "file"),
            "later rows may train a model for earlier test rows",
        ),
        "split": (("column",), "the subsets that it names are mixed"),
        "test_files": (("file",), "rows of these files may become training rows"),
    }
    for key, (rules, consequence) in declarations.items():
        if getattr(schema, key) and split.by not in rules:
            problem = (
                f"data/schema.yaml declares {key}, but split.by: {split.by} does not"
                " use it"
            )
            yield f"{problem}: {consequence}."


def find_duplicates(
    folder: Path,
    split: Split,
    schema: Schema,
) -> tuple[np.ndarray | None, str]:
    """Find the rows that a random split keeps together because their features are equal.

    Returns:
        The first equal row of each row, see `equal_feature_rows`, or None if rows are
        drawn one by one; and a message about equal rows, empty if there are none.
    """
    keeps_together = split.by == "random" and split.duplicates != "drawn"
    first_equal = equal_feature_rows(folder, schema) if keeps_together else None
    if first_equal is None:
        return None, ""
    repeated = int((first_equal != np.arange(len(first_equal))).sum())
    message = (
        f"{repeated:,} of {len(first_equal):,} rows repeat the features of an earlier"
        " row."
    )
    if split.duplicates == "auto" and repeated > MAX_SHARE_REPEATED * len(first_equal):
        return (
            None,
            (
                f"warn: {message} These are too many to be copies: each is drawn by"
                " itself."
            ),
        )
    return first_equal, f"{message} They join its subset and its fold."


def assign_rows(
    folder: Path,
    split: Split,
    schema: Schema,
    first: np.ndarray | None,
) -> Assignment:
    """Assign the rows of a table to the subsets, each in an order that is drawn with the seed.

    Args:
        folder: Folder of the Parquet parts of the table.
        first: For each row the first row with equal features, shape (rows,); None if a
            random split draws each row by itself.

    Raises:
        UserError: Train or test gets no row, or a row has no time or subset.
    """
    if split.by == "random":
        rows = draw_rows(folder, split, schema)
        fold_keys = first
        if first is not None:
            order = np.concatenate(rows)
            subset = np.empty(len(first), np.int8)
            subset[order] = np.repeat(range(len(rows)), list(map(len, rows)))
            new_subset = subset[
                first[order]
            ]  # each row follows the first one with equal features
            rows = [order[new_subset == number] for number in range(len(rows))]
    else:
        subset, fold_keys = apply_rule(folder, split, schema)
        rng = np.random.RandomState(split.seed)
        in_order = (np.flatnonzero(subset == number) for number in range(len(SUBSETS)))
        rows = [
            rng.permutation(subset_rows.astype(np.int32)) for subset_rows in in_order
        ]
    if not len(rows[TRAIN]) or not len(rows[TEST]):
        sizes = f"{len(rows[TRAIN])} training rows and {len(rows[TEST])} test rows"
        raise UserError(
            f"split.by: {split.by} gives {sizes}. Expected at least one row in both.",
        )
    return Assignment(rows, fold_keys)


def draw_rows(folder: Path, split: Split, schema: Schema) -> list[np.ndarray]:
    """Draw the rows of each subset of a table."""
    classes = None
    if split.stratify:
        target = pa.concat_tables(parquet.read_parts(folder, [schema.target]))
        labels(target, schema)  # raises if a row has no class
        classes = target[0].to_numpy()
    return random_split(sum(parquet.count_rows(folder)), split, classes)


def random_split(
    rows: int,
    split: Split,
    classes: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Draw the rows of train, validation and test as scikit-learn's `train_test_split` does.

    The test rows are drawn from the whole table and the validation rows from the
    remaining rows, both with `split.seed`.

    Args:
        rows: Number of rows.
        classes: Class of each row, shape (rows,), for a stratified draw.

    Returns:
        The rows of each subset in the order of the draw, int32.

    Raises:
        UserError: A class is too rare to stratify.
    """

    def draw(rows: np.ndarray, size: float) -> list[np.ndarray]:
        if classes is not None:
            from sklearn.model_selection import train_test_split

            strata = classes[rows]
            return train_test_split(
                rows,
                test_size=size,
                random_state=split.seed,
                stratify=strata,
            )
        # What train_test_split does; its import takes longer than to split a million
        # rows.
        shuffled = np.random.RandomState(split.seed).permutation(rows)
        test_rows = math.ceil(size * len(rows))
        return [shuffled[test_rows:], shuffled[:test_rows]]

    try:
        train, test = draw(np.arange(rows, dtype=np.int32), split.test_size)
        validation = train[:0]
        if split.validation_size:
            train, validation = draw(train, split.validation_size)
    except ValueError as error:
        raise UserError(
            f"split in params.yaml does not fit {rows} rows: {error}",
        ) from None
    return [train, validation, test]


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
        problem = f"expected a value in every row, got {values.null_count} empty cells"
        raise UserError(
            f"column {names[0]}: {problem}. split.by: {split.by} needs them.",
        )
    if split.by == "time":
        return by_time(values.to_numpy(), split)
    fold_keys = None
    if schema.group is not None:
        _, fold_keys = by_hash(
            stable_row_hashes(folder, [schema.group], split.seed),
            split,
        )
    return by_name(values.to_pylist(), names[0]), fold_keys


def rule_columns(split: Split, schema: Schema) -> list[str]:
    """Return the columns that a rule reads."""
    if split.by == "file":
        return [parquet.FILE_SUBSET]
    if split.role:
        return [schema.roles[split.role]]
    return [name for name in schema.columns if name not in schema.ignore]


def by_hash(hashes: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Choose the subset of each row by its hash, so that a row keeps it when the table grows.

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


def by_time(times: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Choose the latest rows for test and the latest remaining rows for validation.

    All rows of one time are in the same subset.

    Args:
        times: Time of each row, of any type that can be sorted, shape (rows,).

    Returns:
        Indices in `SUBSETS`, int8; and fold keys, float64: the share of the training
        rows that are earlier. Both have shape (rows,).
    """
    subset = np.full(len(times), TRAIN, np.int8)
    for number, size in ((TEST, split.test_size), (VALIDATION, split.validation_size)):
        remaining = np.flatnonzero(subset == TRAIN)
        if size and len(remaining):
            first_latest = len(remaining) - math.ceil(size * len(remaining))
            start = np.sort(times[remaining])[first_latest]
            subset[remaining[times[remaining] >= start]] = number
    train_times = np.sort(times[subset == TRAIN])
    return subset, np.searchsorted(train_times, times) / max(len(train_times), 1)


def by_name(names: list[str], column: str) -> np.ndarray:
    """Convert the names of subsets to indices in `SUBSETS`: int8, shape (rows,).

    Args:
        names: Name of the subset of each row.
        column: Column that has the names, for the message.

    Raises:
        UserError: A row names another subset.
    """
    unknown = sorted({repr(name) for name in names} - {repr(name) for name in SUBSETS})
    if unknown:
        expected = format_list(SUBSETS)
        raise UserError(
            f"column {column}: expected {expected}, got {format_list(unknown)}",
        )
    return np.array([SUBSETS.index(name) for name in names], np.int8)


MAX_TAKEN_ROWS = (
    1_000_000  # that a worker takes in one pass over the table, if parts are smaller
)
# The name of its subset, its number, and its rows by their number in the whole table.
NewPart = tuple[str, int, np.ndarray]


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
    new_parts = [
        (subset, number, rows[start : start + rows_per_file])
        for subset, rows in zip(SUBSETS, assignment.rows, strict=True)
        for number, start in enumerate(range(0, max(len(rows), 1), rows_per_file))
    ]
    step = max(MAX_TAKEN_ROWS // rows_per_file, 1)
    groups = [
        new_parts[start : start + step] for start in range(0, len(new_parts), step)
    ]
    write = partial(
        write_new_parts,
        table=table,
        keys=assignment.fold_keys,
        folder=folder,
    )
    for _ in ordered_map(write, groups):
        pass


def write_new_parts(
    parts: list[NewPart],
    table: Path,
    keys: np.ndarray | None,
    folder: Path,
) -> None:
    """Take the rows of some new parts from a table, and write each part with its fold keys."""
    from pyarrow.dataset import dataset  # takes a twentieth of a second

    rows = pa.array(np.concatenate([part_rows for *_, part_rows in parts]))
    source = dataset([str(path) for path in parquet.part_paths(table)])
    selected = source.take(
        rows,
        fragment_readahead=1,
        batch_readahead=2,
    )  # for less memory
    end = 0
    origins = parquet.origin_names(selected.column_names)
    for subset, number, part_rows in parts:
        start = end
        end = end + len(part_rows)
        whole = selected[start:end].combine_chunks()
        part = whole.drop_columns(origins)
        if keys is not None:
            part = part.append_column(parquet.FOLD_KEY, pa.array(keys[part_rows]))
        for name in origins if subset == SUBSETS[TEST] else ():
            part = part.append_column(name, whole[name])
        parquet.write_part(folder / subset, number, part)
