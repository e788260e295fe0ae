"""Write the rows of a table to the tables train, validation and test, in the order of the split."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.core.parallel import ordered_map, worker_count
from keras_tabular.splitting.rules import SUBSETS, Assignment
from keras_tabular.table.parquet import FOLD_KEY, count_rows, part_paths, write_part

GATHERED_BYTES = 2**28  # of the parts that all workers gather at a time


class NewPart(NamedTuple):
    """A part to write: its table, its number, and the rows of the whole table that are in it."""

    subset: str
    number: int
    rows: np.ndarray


def new_parts(assignment: Assignment, size: int) -> Iterator[NewPart]:
    """Cut each subset into parts of `size` rows, one at least."""
    ends = np.cumsum([0, *assignment.counts])
    for subset, (start, end) in zip(SUBSETS, pairwise(ends.tolist()), strict=True):
        for number, first in enumerate(range(start, max(end, start + 1), size)):
            yield NewPart(subset, number, assignment.order[first : min(first + size, end)])


def write_subsets(table: Path, assignment: Assignment, size: int, folder: Path) -> None:
    """Write the subsets of a table to `folder`, each as parts of `size` rows.

    A worker reads all parts of the table, one at a time, and gathers the rows of some new parts.
    """
    new = list(new_parts(assignment, size))
    first = pq.read_table(part_paths(table)[0])
    part_bytes = max(first.nbytes * size // max(len(first), 1), 1)
    count = min(
        max(GATHERED_BYTES // worker_count() // part_bytes, 1), -(-len(new) // worker_count())
    )
    groups = [new[n : n + count] for n in range(0, len(new), count)]
    write = partial(write_new_parts, table=table, fold_keys=assignment.fold_keys, folder=folder)
    for _ in ordered_map(write, groups):
        pass


def write_new_parts(
    new: list[NewPart], table: Path, fold_keys: np.ndarray | None, folder: Path
) -> None:
    """Gather the rows of some new parts from the parts of a table, and write them."""
    paths, ends = part_paths(table), np.cumsum([0, *count_rows(table)])
    gathered = [[pq.read_schema(paths[0]).empty_table()] for _ in new]
    places: list[list[np.ndarray]] = [[] for _ in new]
    for path, (start, end) in zip(paths, pairwise(ends), strict=True):
        part = pq.read_table(path)
        for number, (_, _, rows) in enumerate(new):
            place = np.flatnonzero((rows >= start) & (rows < end))
            gathered[number].append(part.take(pa.array(rows[place] - start)))
            places[number].append(place)
    for (subset, number, rows), tables, of_tables in zip(new, gathered, places, strict=True):
        order = pa.array(np.argsort(np.concatenate(of_tables)))
        part = pa.concat_tables(tables).take(order).combine_chunks()
        if fold_keys is not None:
            part = part.append_column(FOLD_KEY, pa.array(fold_keys[rows]))
        write_part(folder / subset, number, part)
