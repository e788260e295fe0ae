"""Tables between stages: folders of Parquet parts with the declared column types."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_file
from keras_tabular.core.parallel import Item, ordered_map

# Column of the split tables. Training rows with the same value get the same fold. It is
# an integer that the rows of a group share (int64 or int32), or, in a split by time,
# the share of the training rows that are earlier (float64 from 0 to 1).
FOLD_KEY = "__fold__"
# Column with train or test, depending on the file of the row.
FILE_SUBSET = "__share__"
# The file of a row, and its line or, in a Parquet file, its number. The identifiers of
# a row follow these two columns. Of the split tables, only the test rows have them.
FILE = "__file__"
LINE = "__line__"
ADDED_COLUMNS = {FOLD_KEY, FILE_SUBSET, FILE, LINE}


def is_parquet(file: Path) -> bool:
    """Return whether a file is Parquet, by its name."""
    return file.suffix == ".parquet"


def part_paths(folder: Path) -> list[Path]:
    """Return the paths of the parts of a table, in order.

    Raises:
        UserError: The folder does not exist or has no parts.
    """
    paths = sorted(folder.glob("part-*.parquet"))
    if not paths:
        raise UserError(f"{folder}: expected Parquet files, got none. Run `dvc repro`.")
    return paths


def origin_names(names: list[str]) -> list[str]:
    """Return which of these columns of a table say where a row comes from."""
    return names[names.index(FILE) :] if FILE in names else []


def hash_parts(folder: Path) -> str:
    """Return the MD5 hash of a table, by which a model knows its training rows."""
    digest = hashlib.md5(usedforsecurity=False)
    for path in part_paths(folder):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read_first_rows(folder: Path, rows: int) -> pa.Table:
    """Read the first rows of a table that is not empty, at most `rows`."""
    return next(regroup_rows(read_parts(folder), [rows]))


def read_parts(folder: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield the parts of a table in order, with some columns or all."""
    for path in part_paths(folder):
        yield pq.read_table(path, columns=columns)


def count_rows(folder: Path) -> list[int]:
    """Return the number of rows of each part, from the files' footers."""
    return [pq.read_metadata(path).num_rows for path in part_paths(folder)]


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items; a thread computes the next one while the caller uses an item."""
    remaining = iter(items)
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(next, remaining, None)
        while (item := future.result()) is not None:
            future = thread.submit(next, remaining, None)
            yield item


def regroup_rows(
    tables: Iterator[pa.Table],
    sizes: Iterable[int],
) -> Iterator[pa.Table]:
    """Yield the rows of tables in tables of other sizes; the last may be smaller."""
    waiting: list[pa.Table] = []
    for size in sizes:
        n_rows = sum(len(table) for table in waiting)
        while n_rows < size:
            table = next(tables, None)
            if table is None:
                break
            waiting.append(table)
            n_rows += len(table)
        if size and not n_rows:
            return
        rows = pa.concat_tables(waiting)
        # The pages of a Parquet file depend on the chunks.
        yield rows[:size].combine_chunks()
        waiting = [rows[size:]]


def write_parts(folder: Path, parts: Iterable[pa.Table]) -> int:
    """Write the parts of a table, several at the same time, and return their number."""
    written = ordered_map(lambda item: write_part(folder, *item), enumerate(parts))
    return len(list(written))


def write_part(folder: Path, number: int, part: pa.Table) -> None:
    """Write a part of a table; the numbers of the parts begin with 0."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / f"part-{number:05d}.parquet") as partial:
        pq.write_table(part, partial)
