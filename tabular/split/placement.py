"""Where each row of a table goes: to which file of which subset, and at which place in it."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tabular.config.schema import Schema
from tabular.config.sections import Split
from tabular.core.engine import ordered_map
from tabular.split.rules import (
    HASHED,
    SUBSETS,
    check_subsets,
    count_subsets,
    hashed_subsets,
    ordered_rows,
    rule_columns,
)
from tabular.split.shuffle import Placed, positions
from tabular.table.parquet import FOLD_KEY, count_rows, part_paths


class Placement(NamedTuple):
    """How the parts of a table become those of its subsets.

    `files` the subset of each output part and its number there; `parts` what `place` takes, one for
    each part of the table.
    """

    files: list[tuple[str, int]]
    parts: Iterator[Any]
    place: Callable[[Any], Placed]


def placement(
    folder: Path, split: Split, schema: Schema, size: int, equal: np.ndarray | None = None
) -> Placement:
    """The placement of a table by the rule of the split.

    Args:
        size: rows of an output part.
        equal: see `rules.ordered_rows`.
    """
    if split.by in HASHED:
        return by_hash(folder, split, schema, size)
    return by_order(folder, split, schema, size, equal)


def output_files(counts: np.ndarray, size: int) -> list[int]:
    """How many files each subset has: one at least."""
    return [max(-(-rows // size), 1) for rows in counts.tolist()]


def named(files: list[int]) -> list[tuple[str, int]]:
    """The subset and the number of each file."""
    return [(subset, n) for subset, count in zip(SUBSETS, files, strict=True) for n in range(count)]


def by_hash(folder: Path, split: Split, schema: Schema, size: int) -> Placement:
    """Each row by its own hash: no more than a few parts are in memory."""
    paths, starts = part_paths(folder), np.cumsum([0, *count_rows(folder)])
    names = rule_columns(split, schema)
    of_parts = np.array(list(ordered_map(partial(count_subsets, names=names, split=split), paths)))
    counts = of_parts.sum(axis=0)
    check_subsets(counts, split)
    files = output_files(counts, size)
    before = np.cumsum(of_parts, axis=0) - of_parts
    parts = (
        HashedPart(number, path, int(first), of_part)
        for number, (path, first, of_part) in enumerate(
            zip(paths, starts[:-1], before, strict=True)
        )
    )
    return Placement(
        named(files), parts, partial(place_by_hash, names=names, files=files, split=split)
    )


def by_order(
    folder: Path, split: Split, schema: Schema, size: int, equal: np.ndarray | None
) -> Placement:
    """Each row by its place in a drawn order of all rows."""
    paths, starts = part_paths(folder), np.cumsum([0, *count_rows(folder)])
    order, keys, counts = ordered_rows(folder, split, schema, equal)
    files = output_files(counts, size)
    ends = [
        int(first + min(number * size, rows))
        for first, rows, of_subset in zip(np.cumsum([0, *counts[:-1]]), counts, files, strict=True)
        for number in range(1, of_subset + 1)
    ]
    where = positions(order)
    parts = (
        Part(path, where[a:b], None if keys is None else keys[a:b])
        for path, a, b in zip(paths, starts[:-1], starts[1:], strict=True)
    )
    return Placement(named(files), parts, partial(place, ends=ends))


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
    """A part to place by hash: its number, its first row, and how many rows each subset has before.

    `before` is int64, shape (subsets,).
    """

    number: int
    path: Path
    first: int
    before: np.ndarray


def place_by_hash(part: HashedPart, names: list[str], files: list[int], split: Split) -> Placed:
    """The rows of a part with their fold keys, dealt to the files of their subset.

    In an order drawn with the seed, so that the files of a subset differ by one row at most.

    Args:
        files: how many files each subset has.
    """
    rows = pq.read_table(part.path)
    subset, keys = hashed_subsets(rows.select(names), split)
    rng = np.random.default_rng([split.seed, part.number])
    order, outputs = rng.permutation(len(rows)), np.empty(len(rows), np.uint32)
    for number, of_subset in enumerate(files):
        dealt = order[subset[order] == number]
        turn = (part.before[number] + np.arange(len(dealt))) % of_subset
        outputs[dealt] = sum(files[:number]) + turn
    drawn = rng.integers(0, 2**32, len(rows), np.uint64) << np.uint64(32)
    row = np.arange(part.first, part.first + len(rows), dtype=np.uint64)
    rows = rows.append_column(FOLD_KEY, pa.array(keys))
    return Placed(rows, outputs, drawn | row % np.uint64(2**32))
