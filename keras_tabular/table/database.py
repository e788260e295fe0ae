"""DuckDB in this process, and the hashes by which it compares rows."""

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from keras_tabular.core.parallel import worker_count

if TYPE_CHECKING:  # its import takes a fifth of a second
    from duckdb import DuckDBPyConnection

MEMORY_LIMIT = "1GB"


def connect() -> "DuckDBPyConnection":
    """Return a connection to an empty database in memory."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": worker_count(),
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": "",
        "autoinstall_known_extensions": False,
    }
    return duckdb.connect(config=settings)


def row_hashes(parts: Iterable[pa.Table]) -> np.ndarray:
    """Return a hash of the values of each row of a table in parts, uint64, shape (rows,).

    Rows are equal if all their values are; a missing value equals a missing value. The hashes are
    the same for all tables within a run, and may differ in a later version of DuckDB.
    """
    remaining = iter(parts)
    first = next(remaining)
    names = [f"column{n}" for n in range(first.num_columns)]  # DuckDB's names ignore the case
    batches = (
        batch
        for part in chain([first], remaining)
        for batch in pa.table(part.columns, names).to_batches()
    )
    schema = pa.schema(zip(names, first.schema.types, strict=True))
    rows = connect().from_arrow(pa.RecordBatchReader.from_batches(schema, batches))
    hashes: np.ndarray = rows.project(f"hash({', '.join(names)}) AS h").fetchnumpy()["h"]
    return hashes


def first_equal_rows(hashes: np.ndarray) -> np.ndarray | None:
    """Find for each row the first one with the same hash: int32, (rows,); None if all differ."""
    ordered = np.sort(hashes)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered  # of a large table, each of these arrays takes much memory
    if not len(repeated):
        return None
    place = np.searchsorted(repeated, hashes).clip(max=len(repeated) - 1)
    rows = np.flatnonzero(repeated[place] == hashes)
    first_rows = np.arange(len(hashes), dtype=np.int32)
    _, first, inverse = np.unique(hashes[rows], return_index=True, return_inverse=True)
    first_rows[rows] = rows[first][inverse]
    return first_rows
