"""Write the rows of a table to the tables train, validation and test, in the order of the split."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from keras_tabular.core.parallel import ordered_map
from keras_tabular.splitting.rules import SUBSETS, TEST, Assignment
from keras_tabular.table.parquet import FOLD_KEY, part_paths, write_part

MAX_TAKEN_ROWS = 1_000_000  # that a worker takes in one pass over the table, if parts are smaller
# The name of its subset, its number, its rows by their number in the whole table, and the columns
# that are added to these rows.
NewPart = tuple[str, int, np.ndarray, pa.Table]


def write_subsets(
    table: Path, assignment: Assignment, test_columns: pa.Table, rows_per_part: int, folder: Path
) -> None:
    """Write the subsets of a table to `folder`, each in parts of `rows_per_part` rows.

    An empty subset is one empty part.
    A worker reads the whole table part by part, and takes the rows of several new parts from it.

    Args:
        test_columns: Columns to add to the test rows, in their order.
    """
    added = {SUBSETS[TEST]: test_columns}
    new_parts = [
        (subset, number, rows[chunk], added.get(subset, pa.table({}))[chunk])
        for subset, rows in zip(SUBSETS, assignment.rows, strict=True)
        for number, start in enumerate(range(0, max(len(rows), 1), rows_per_part))
        for chunk in [slice(start, start + rows_per_part)]
    ]
    step = max(MAX_TAKEN_ROWS // rows_per_part, 1)
    groups = [new_parts[start : start + step] for start in range(0, len(new_parts), step)]
    write = partial(write_parts, table=table, keys=assignment.fold_keys, folder=folder)
    for _ in ordered_map(write, groups):
        pass


def write_parts(parts: list[NewPart], table: Path, keys: np.ndarray | None, folder: Path) -> None:
    """Take the rows of some new parts from a table, and write each part with its fold keys."""
    from pyarrow.dataset import dataset  # takes a twentieth of a second

    rows = pa.array(np.concatenate([part_rows for *_, part_rows, _ in parts]))
    source = dataset([str(path) for path in part_paths(table)])
    selected = source.take(rows, fragment_readahead=1, batch_readahead=2)  # for less memory
    end = 0
    for subset, number, part_rows, added in parts:
        start, end = end, end + len(part_rows)
        part = selected[start:end].combine_chunks()
        if keys is not None:
            part = part.append_column(FOLD_KEY, pa.array(keys[part_rows]))
        for name in added.column_names:
            part = part.append_column(name, added[name].combine_chunks())
        write_part(folder / subset, number, part)
