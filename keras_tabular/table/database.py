"""DuckDB in this process, and hashes that tell which rows are equal."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from keras_tabular.core.parallel import worker_count

MEMORY_LIMIT = "1GB"


def connect() -> Any:
    """Return a connection to an empty database in memory."""
    import duckdb  # takes a fifth of a second

    return duckdb.connect(
        config={
            "threads": worker_count(),
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": "",
            "autoinstall_known_extensions": False,
        }
    )


def row_hashes(parts: Iterable[pa.Table]) -> np.ndarray:
    """Return a hash of the values of each row of a table in parts: uint64, (rows,).

    Rows are equal if all their values are equal; two missing values are equal. Hashes of different
    tables can be compared within a run, but a later version of DuckDB may compute other hashes.
    """
    remaining = iter(parts)
    first = next(remaining)
    names = [f"column{n}" for n in range(first.num_columns)]  # names in DuckDB ignore the case
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
    """Find the first row with the same hash as each row: int32, (rows,), or None if all differ."""
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    return None if len(first) == len(hashes) else first.astype(np.int32)[inverse]
