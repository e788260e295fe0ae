"""Write the rows of a table to the tables train, validation and test, in the order of the split."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tabular.split.rules import SUBSETS, Assignment
from tabular.table.database import sort_rows
from tabular.table.parquet import FOLD_KEY, part_paths, take_rows, write_part


def write_subsets(table: Path, assignment: Assignment, size: int, folder: Path) -> None:
    """Write the subsets of a table to `folder`, each as parts of `size` rows.

    The rows are sorted outside of memory where they do not fit into it.

    Args:
        table: Folder of the parts of the table.
    """
    place = np.empty_like(assignment.order)
    place[assignment.order] = np.arange(len(place), dtype=place.dtype)
    files = [
        (subset, number, min(size, count - start))
        for subset, count in zip(SUBSETS, assignment.counts.tolist(), strict=True)
        for number, start in enumerate(range(0, max(count, 1), size))  # one part at least
    ]
    rows = sort_rows(_parts(table, assignment.fold_keys), place, folder)
    parts = take_rows(rows, [count for _, _, count in files])
    for (subset, number, _), part in zip(files, parts, strict=True):
        write_part(folder / subset, number, part)


def _parts(table: Path, fold_keys: np.ndarray | None) -> Iterator[pa.Table]:
    """Yield the parts of a table, with the fold key of each row if there are folds."""
    start = 0
    for path in part_paths(table):
        part = pq.read_table(path)
        if fold_keys is not None:
            keys = pa.array(fold_keys[start : start + len(part)])
            part = part.append_column(FOLD_KEY, keys)
        start += len(part)
        yield part
