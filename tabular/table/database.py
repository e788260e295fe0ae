"""What DuckDB does for tables: hash rows, and sort more of them than fit into memory."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tabular.core.engine import workers

if TYPE_CHECKING:  # its import takes a fifth of a second
    from duckdb import DuckDBPyConnection

MEMORY_LIMIT = "1GB"  # above it, DuckDB writes to `scratch`
ROWS_PER_BATCH = 65_536
PLACE = "place"


def connect(scratch: Path | None = None) -> "DuckDBPyConnection":
    """Return a connection to an empty database in memory.

    Args:
        scratch: Folder for what does not fit into `MEMORY_LIMIT`.
    """
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": workers(),
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": str(scratch) if scratch else "",
        "autoinstall_known_extensions": False,
    }
    return duckdb.connect(config=settings)


def row_hashes(columns: list[pa.ChunkedArray]) -> np.ndarray:
    """Return a hash of the values of each row, uint64, shape (rows,).

    Rows are equal if all their values are; a missing value equals a missing value. The hashes are
    the same for all tables within a run, and may differ in a later version of DuckDB.
    """
    table = numbered_columns(columns)
    hashed = connect().from_arrow(table).project(f"hash({', '.join(table.column_names)}) AS h")
    values: np.ndarray = hashed.to_arrow_table()["h"].to_numpy()
    return values


def first_equal_rows(hashes: np.ndarray) -> np.ndarray | None:
    """Find for each row the first one with the same hash: int32, (rows,); None if all differ."""
    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():
        return None
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int32)


def sort_rows(parts: Iterable[pa.Table], place: np.ndarray, scratch: Path) -> Iterator[pa.Table]:
    """Yield the rows of a table in another order, some at a time.

    Args:
        parts: The parts of the table, all with the same columns.
        place: Place of each row in the new order, whole numbers, shape (rows,).
        scratch: Folder for what does not fit into memory.
    """
    remaining = iter(parts)
    first = next(remaining)

    def batches() -> Iterator[pa.RecordBatch]:
        row, part = 0, first
        while part is not None:
            places = pa.chunked_array([place[row : row + len(part)]])
            table = numbered_columns(part.columns).append_column(PLACE, places)
            yield from table.combine_chunks().to_batches()
            row, part = row + len(part), next(remaining, None)

    numbered = numbered_columns(first.columns)
    schema = numbered.schema.append(pa.field(PLACE, pa.from_numpy_dtype(place.dtype)))
    reader = pa.RecordBatchReader.from_batches(schema, batches())
    in_order = connect(scratch).from_arrow(reader).order(PLACE)
    columns = in_order.project(", ".join(numbered.column_names))
    for batch in columns.to_arrow_reader(ROWS_PER_BATCH):
        yield pa.table(batch.columns, first.column_names).cast(first.schema)


def numbered_columns(columns: list[pa.ChunkedArray]) -> pa.Table:
    """Return a table whose columns are called c0, c1, ...: DuckDB's names ignore the case."""
    return pa.table(columns, [f"c{n}" for n in range(len(columns))])
