"""Where the rows of a table come from: their file, their line, and their identifiers."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.table.parquet import FILE, LINE, read_parts
from keras_tabular.table.rows import text_columns
from keras_tabular.table.source import column_types, read_rows, readable_names, row_lines


def row_origins(rows: np.ndarray, rejected: Path, files: list[Path], schema: Schema) -> pa.Table:
    """Find the file and the line of some rows of the validated table, and their identifiers.

    Args:
        rows: Numbers of the rows, shape (rows,).
        rejected: Folder of the rows that `validate` has set aside.
        files: The files of the table.

    Returns:
        The columns `FILE`, `LINE` (of a Parquet file, the number of the row), and as texts the
        columns that the schema ignores without a description, if all files have them.
    """
    rejected_lines = defaultdict[str, list[int]](list)
    for part in read_parts(rejected, ["rejected_line"]):
        for place in part[0].to_pylist():
            file, _, line = place.rpartition(", ")
            rejected_lines[file].append(int(line.split()[1]))
    lines = {str(file): row_lines(file, schema) for file in files}
    is_rejected = [np.isin(numbers, rejected_lines[file]) for file, numbers in lines.items()]
    source_rows = np.flatnonzero(~np.concatenate(is_rejected))[rows]

    file_numbers = np.repeat(np.arange(len(lines), dtype=np.int32), [*map(len, is_rejected)])
    columns = {
        FILE: pa.DictionaryArray.from_arrays(file_numbers[source_rows], [*lines]),
        LINE: np.concatenate([*lines.values()])[source_rows],
    }
    ignored = [name for name in schema.ignore if name not in schema.columns]
    names = [n for n in ignored if all(n in readable_names(column_types(f, schema)) for f in files)]
    if names:
        first, order = 0, np.sort(source_rows)
        chosen = []
        for raw in (raw for file in files for raw in read_rows(file, schema, names)):
            texts, end = text_columns(raw, {}), first + len(raw.cells)
            start, stop = np.searchsorted(order, [first, end])
            chosen.append(texts.take(order[start:stop] - first))
            first = end
        in_order = pa.concat_tables(chosen).take(np.searchsorted(order, source_rows))
        columns |= dict(zip(in_order.column_names, in_order.columns, strict=True))
    return pa.table(columns)
