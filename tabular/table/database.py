"""DuckDB in this process, and the hashes by which it compares rows."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tabular.core.engine import workers

if TYPE_CHECKING:  # its import takes a fifth of a second
    from duckdb import DuckDBPyConnection

MEMORY_LIMIT = "1GB"


def connect() -> "DuckDBPyConnection":
    """Return a connection to an empty database in memory."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": workers(),
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": "",
        "autoinstall_known_extensions": False,
    }
    return duckdb.connect(config=settings)


def row_hashes(columns: list[pa.ChunkedArray]) -> np.ndarray:
    """Return a hash of the values of each row, uint64, shape (rows,).

    Rows are equal if all their values are; a missing value equals a missing value. The hashes are
    the same for all tables within a run, and may differ in a later version of DuckDB.
    """
    # DuckDB's names ignore the case.
    table = pa.table(columns, [f"column{n}" for n in range(len(columns))])
    hashed = connect().from_arrow(table).project(f"hash({', '.join(table.column_names)}) AS h")
    values: np.ndarray = hashed.to_arrow_table()["h"].to_numpy()
    return values


def first_equal_rows(hashes: np.ndarray) -> np.ndarray | None:
    """Find for each row the first one with the same hash: int32, (rows,); None if all differ."""
    ordered = np.sort(hashes)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(repeated):
        return None
    first_rows = np.arange(len(hashes), dtype=np.int32)
    rows = np.flatnonzero(np.isin(hashes, repeated))  # few, so that little memory is needed
    _, first, inverse = np.unique(hashes[rows], return_index=True, return_inverse=True)
    first_rows[rows] = rows[first][inverse]
    return first_rows
