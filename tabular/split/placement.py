"""Write the rows of a table to the tables train, validation and test, in the order of the split."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tabular.core.engine import ordered_map
from tabular.split.rules import SUBSETS, Assignment
from tabular.table.parquet import FOLD_KEY, count_rows, part_paths, write_part


def write_subsets(table: Path, assignment: Assignment, size: int, folder: Path) -> None:
    """Write the subsets of a table to `folder`, each as parts of `size` rows.

    Each part gathers its rows from all parts of the table, of which one is in memory at a time.
    """
    outputs = []
    start = 0
    for subset, count in zip(SUBSETS, assignment.counts.tolist(), strict=True):
        for number, first in enumerate(range(0, max(count, 1), size)):  # one part at least
            rows = assignment.order[start + first : start + min(first + size, count)]
            outputs.append((subset, number, rows))
        start += count
    starts = np.cumsum([0, *count_rows(table)])
    write = partial(
        _write_output,
        paths=part_paths(table),
        starts=starts,
        fold_keys=assignment.fold_keys,
        folder=folder,
    )
    for _ in ordered_map(write, outputs):
        pass


def _write_output(
    output: tuple[str, int, np.ndarray],
    paths: list[Path],
    starts: np.ndarray,
    fold_keys: np.ndarray | None,
    folder: Path,
) -> None:
    subset, number, rows = output
    part_numbers = np.searchsorted(starts, rows, side="right") - 1
    gathered, places = list[pa.Table](), list[np.ndarray]()
    for part_number, path in enumerate(paths):
        place = np.flatnonzero(part_numbers == part_number)
        if len(place) or not gathered:  # without rows, the columns of the first part
            part = pq.read_table(path)
            gathered.append(part.take(pa.array(rows[place] - starts[part_number])))
            places.append(place)
    order = np.argsort(np.concatenate(places))
    part = pa.concat_tables(gathered).take(pa.array(order)).combine_chunks()
    if fold_keys is not None:
        part = part.append_column(FOLD_KEY, pa.array(fold_keys[rows]))
    write_part(folder / subset, number, part)
