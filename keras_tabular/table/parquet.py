"""Tables between stages: folders of Parquet parts with the declared column types."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_file
from keras_tabular.core.parallel import ordered_map
from keras_tabular.core.process import without_packages

Item = TypeVar("Item")
BATCH = 65_536  # rows that are read at a time
# A column of the training rows whose rows of one value are in one fold: int64, or int32, numbers of
# groups; or float64 from 0 to 1, places in time.
FOLD_KEY = "__fold__"
FILE_SUBSET = "__share__"  # train or test, by the file that a row stands in


def hide_pandas() -> None:
    """Let Arrow look for pandas now, and not find it: a stage starts 0.2 s sooner.

    Objects of pandas must not be given to `pa.array` before some `to_pandas()`.
    """
    with without_packages("pandas"):
        pa.array([])


def part_paths(folder: Path) -> list[Path]:
    """Return the paths of the parts of a table, in order.

    Raises:
        UserError: The folder is missing or holds no part.
    """
    paths = sorted(folder.glob("part-*.parquet"))
    if not paths:
        raise UserError(f"{folder}: no Parquet parts here; run `dvc repro` to make them")
    return paths


def read_rows(folder: Path, rows: int) -> pa.Table:
    """Read at most so many of the first rows of a table."""
    batches: list[pa.RecordBatch] = []
    for path in part_paths(folder):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(min(rows, BATCH)):
                batches.append(batch[:rows])
                rows -= len(batches[-1])
                if not rows:
                    return pa.Table.from_batches(batches)
    schema = pq.read_schema(part_paths(folder)[0])
    return pa.Table.from_batches(batches, schema if not batches else None)


def read_parts(folder: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield the parts of a table in order, with `columns` or all columns."""
    for path in part_paths(folder):
        yield pq.read_table(path, columns=columns)


def count_rows(folder: Path) -> list[int]:
    """Return the number of rows of each part, from the files' footers."""
    return [pq.read_metadata(path).num_rows for path in part_paths(folder)]


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, and make the next one in a thread while the caller works on the last."""
    making = iter(items)
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, making, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, making, None)
            yield item


def regroup_rows(tables: Iterator[pa.Table], sizes: Iterable[int]) -> Iterator[pa.Table]:
    """Yield the rows of some tables as tables of these sizes, until there are no more rows.

    The last one may be smaller.
    """
    waiting: list[pa.Table] = []
    for size in sizes:
        while sum(map(len, waiting)) < size and (table := next(tables, None)) is not None:
            waiting.append(table)
        if not any(map(len, waiting)) and size:
            return
        rows = pa.concat_tables(waiting)
        yield rows[:size].combine_chunks()  # pages of a file depend on the chunks
        waiting = [rows[size:]]


def write_parts(folder: Path, parts: Iterable[pa.Table]) -> int:
    """Write the parts of a table, several at a time, and return how many there were."""
    return sum(1 for _ in ordered_map(partial(_write_numbered, folder=folder), enumerate(parts)))


def _write_numbered(numbered: tuple[int, pa.Table], folder: Path) -> None:
    write_part(folder, *numbered)


def write_part(folder: Path, number: int, part: pa.Table) -> None:
    """Write one part of a table; the numbers begin with 0."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / f"part-{number:05d}.parquet") as partial:
        pq.write_table(part, partial)
