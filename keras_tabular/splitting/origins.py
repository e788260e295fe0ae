"""Where the rows of a table come from: their file, their line, and their identifiers."""

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
    lines = {str(file): row_lines(file, schema) for file in files}
    starts = dict(zip(lines, np.cumsum([0, *map(len, lines.values())]).tolist(), strict=False))
    is_valid = np.ones(sum(map(len, lines.values())), bool)
    for part in read_parts(rejected, ["rejected_line"]):
        for place in part[0].to_pylist():
            file, _, line = place.rpartition(", ")
            row = int(np.searchsorted(lines[file], int(line.split()[1])))
            is_valid[starts[file] + row] = False
    source_rows = np.flatnonzero(is_valid)[rows]

    file_numbers = np.searchsorted([*starts.values()], source_rows, side="right") - 1
    columns = {
        FILE: pa.DictionaryArray.from_arrays(file_numbers.astype(np.int32), [*lines]),
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
