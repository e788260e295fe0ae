"""Tables between stages: folders of Parquet parts with the declared column types."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tabular.errors import UserError
from tabular.schema import Schema
from tabular.table.cells import ARROW_TYPES

Item = TypeVar("Item")
FILE_SHARE = "__share__"  # train or test, by the file that a row stands in


def arrow_schema(schema: Schema) -> pa.Schema:
    """The declared columns in declared order, each with its Arrow type, and `FILE_SHARE`."""
    fields = [(name, ARROW_TYPES[column.kind]) for name, column in schema.columns.items()]
    return pa.schema([*fields, *([(FILE_SHARE, pa.string())] if schema.test_files else [])])


def part_paths(folder: Path) -> list[Path]:
    """The parts of a table, in order.

    Raises:
        UserError: the folder is missing or holds no part.
    """
    paths = sorted(folder.glob("part-*.parquet"))
    if not paths:
        raise UserError(f"{folder}: no Parquet parts here; run `dvc repro` to make them")
    return paths


def read_parts(folder: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The parts of a table one after the other, `columns` or all of them."""
    for path in part_paths(folder):
        yield pq.read_table(path, columns=columns)


def count_rows(folder: Path) -> list[int]:
    """The number of rows of each part, from the files' footers."""
    return [pq.read_metadata(path).num_rows for path in part_paths(folder)]


def in_parts(tables: Iterable[pa.Table], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """The same rows as parts of exactly `rows` rows, the last one shorter.

    A table without rows is one part without rows, so that its columns are known.
    """
    waiting = schema.empty_table()
    first = True
    for table in tables:
        waiting = pa.concat_tables([waiting, table])
        while len(waiting) >= rows:
            yield waiting[:rows]
            waiting, first = waiting[rows:], False
    if len(waiting) or first:
        yield waiting


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each made in a second thread while the caller works on the one before it."""
    making = iter(items)
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, making, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, making, None)
            yield item


def write_part(folder: Path, number: int, part: pa.Table) -> None:
    """Write `part` as the table's part `number` (from 0)."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(part, folder / f"part-{number:05d}.parquet")
