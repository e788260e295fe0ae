"""Where each row of a table goes, and its way there through files, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tabular.config.schema import Schema
from tabular.config.sections import Split
from tabular.core.engine import ordered_map
from tabular.core.errors import UserError
from tabular.core.files import atomic_file
from tabular.split.rules import (
    HASHED,
    SUBSETS,
    check_subsets,
    count_subsets,
    hashed_subsets,
    ordered_rows,
    rule_columns,
)
from tabular.table.parquet import FOLD_KEY, count_rows, part_paths

KEY = "__key__"
Item = TypeVar("Item")


class Placed(NamedTuple):
    """Some rows of a table, and where they go.

    `outputs`: the output part of each row, uint32, (rows,); `keys`: by which an output part is
    sorted, whole numbers of which no two are equal in it, (rows,).
    """

    rows: pa.Table
    outputs: np.ndarray
    keys: np.ndarray


def positions(order: np.ndarray) -> np.ndarray:
    """Where each row goes, int32, (rows,), if row `order[k]` comes out as row `k`."""
    found = np.empty_like(order)
    step = 2**20  # of rows, for little memory beside the two
    for start in range(0, len(order), step):
        some = order[start : start + step]
        found[some] = np.arange(start, start + len(some), dtype=order.dtype)
    return found


def shuffle(
    parts: Iterable[Item],
    read: Callable[[Item], Placed],
    outputs: int,
    scratch: Path,
    write: Callable[[int, pa.Table], None],
) -> None:
    """The rows of a table in other parts; few parts are in memory at a time.

    Each part is first written with its rows by their output parts, then each of these gathers its
    rows from all files and sorts them.

    Args:
        parts: what `read` takes, one for each part.
        outputs: how many output parts there are.
        scratch: an empty folder.
        write: takes each output part with its number; several at the same time, as `read`.
    """
    cut = partial(_cut, read=read, outputs=outputs, scratch=scratch)
    paths = list(ordered_map(cut, enumerate(parts)))
    gather = partial(_gather, paths=paths, write=write)
    # Of one part there is too little to do for several workers.
    maps = ordered_map if len(paths) > 1 else map
    for _ in maps(gather, range(outputs)):
        pass


def _cut(
    numbered: tuple[int, Item], read: Callable[[Item], Placed], outputs: int, scratch: Path
) -> Path:
    """Write the rows of a part to a file, those of each output part as a batch."""
    number, part = numbered
    rows, output_of, keys = read(part)
    rows = rows.append_column(KEY, pa.array(keys))
    if outputs > 1:
        small = output_of.astype(np.uint16) if outputs < 2**16 else output_of
        rows = rows.take(pa.array(np.argsort(small, kind="stable")))  # by radix
    batches = rows.combine_chunks().to_batches()
    if len(batches) > 1:
        raise UserError(
            f"part {number} holds more than 2 GiB in a category column; set "
            "ingest.rows_per_part in params.yaml lower"
        )
    batch = batches[0] if batches else pa.RecordBatch.from_pylist([], rows.schema)
    path, first = scratch / f"{number}.arrow", 0
    with atomic_file(path) as whole, pa.ipc.new_file(str(whole), batch.schema) as file:
        for count in np.bincount(output_of, minlength=outputs).tolist():
            file.write_batch(batch[first : first + count])
            first += count
    return path


def _gather(number: int, paths: list[Path], write: Callable[[int, pa.Table], None]) -> None:
    """Write the output part of a number."""
    batches = []
    for path in paths:
        with pa.OSFile(str(path)) as file:
            batches.append(pa.ipc.open_file(file).get_batch(number))
    rows = pa.Table.from_batches(batches).combine_chunks()
    order = np.argsort(rows[KEY].to_numpy())
    rows = rows.drop_columns(KEY).take(pa.array(order))
    write(number, rows)


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
