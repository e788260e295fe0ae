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

    config: dict[str, Any] = {"memory_limit": MEMORY_LIMIT, "temp_directory": ""}
    config |= {"threads": worker_count(), "autoinstall_known_extensions": False}
    return duckdb.connect(config=config)


def row_hashes(parts: Iterable[pa.Table]) -> np.ndarray:
    """Return a hash of the values of each row of a table in parts: uint64, (rows,).

    Rows are equal if all their values are equal; two missing values are equal. Hashes of different
    tables can be compared within a run, but a later version of DuckDB may compute other hashes.
    """
    remaining = iter(parts)
    first = next(remaining)
    names = [f"column{n}" for n in range(first.num_columns)]  # names in DuckDB ignore the case
    tables = (part.rename_columns(names) for part in chain([first], remaining))
    batches = (batch for table in tables for batch in table.to_batches())
    schema = first.rename_columns(names).schema
    rows = connect().from_arrow(pa.RecordBatchReader.from_batches(schema, batches))
    hashes: np.ndarray = rows.project(f"hash({', '.join(names)}) AS h").fetchnumpy()["h"]
    return hashes
