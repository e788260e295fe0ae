"""Tables between stages: folders of Parquet parts with the declared column types."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.lib.params import Column, Data, input_name
from stages.lib.stage import UserError

ARROW_TYPES = {
    "real": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "category": pa.string(),
}
INPUT_TYPES = {"real": "float64", "integer": "float64", "boolean": "float64", "category": "string"}


def arrow_schema(data: Data) -> pa.Schema:
    """The declared columns in declared order, each with its Arrow type."""
    return pa.schema([(name, ARROW_TYPES[column.kind]) for name, column in data.columns.items()])


def is_missing(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Where `values` is empty or one of the column's `missing_values`; bool, same length."""
    missing = pc.is_null(values)
    if column.markers:
        for marker in pa.array(column.markers).cast(values.type):
            missing = pc.or_kleene(missing, pc.equal(values, marker))
    return missing


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


def ahead(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same parts, each made in a second thread while the caller is at the one before it."""
    making = iter(parts)
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, making, None)
        while (part := following.result()) is not None:
            following = thread.submit(next, making, None)
            yield part


def write_part(folder: Path, number: int, part: pa.Table) -> None:
    """Write `part` as the table's part `number` (from 0)."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(part, folder / f"part-{number:05d}.parquet")


def feature_arrays(part: pa.Table, data: Data) -> dict[str, np.ndarray]:
    """The columns as the model reads them, by `input_name`, each of shape (rows,).

    A category is text, "" for an empty cell; all others are float64, NaN for an empty cell.
    """
    arrays = {}
    for name, column in data.features.items():
        if column.kind == "category":
            values = pc.fill_null(part[name], "").to_numpy(zero_copy_only=False)
        else:
            numbers = part[name].cast(pa.float64(), safe=False).combine_chunks()
            values = numbers.to_numpy(zero_copy_only=False)  # which it is without gaps
        arrays[input_name(name)] = values
    return arrays


def labels(part: pa.Table, data: Data) -> np.ndarray:
    """The target, float64, shape (rows, 1): the place in `data.classes`, or the value itself.

    Raises:
        UserError: a row has none.
    """
    target = part[data.target]
    if data.task != "regression":
        target = pc.index_in(target, value_set=pa.array(data.classes, target.type))
    if target.null_count:
        raise UserError(
            f"column {data.target}: {target.null_count} of {len(part)} rows have no value that "
            "data.columns declares; set missing and values of validate to error or drop"
        )
    return target.to_numpy().astype(np.float64)[:, None]
