"""The rows of a table in another order, through files, so that memory does not grow with rows."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from tabular.engine import ordered_map

POSITION = "__position__"


def shuffle(
    sizes: list[int],
    read: Callable[[int], pa.Table],
    order: np.ndarray,
    ends: list[int],
    scratch: Path,
    write: Callable[[int, pa.Table], None],
) -> None:
    """The rows of a table in another order; few parts are in memory, `order` and its inverse are.

    Each part is first written with its rows by their output parts, then each of these gathers its
    rows from all files and puts them in order.

    Args:
        sizes: rows of each part of the table.
        read: the part of a number; row `i` counts over all parts.
        order: shape (rows,), int32; row `order[k]` comes out as row `k`.
        ends: where each output part ends, ascending; the last one is `len(order)`.
        scratch: an empty folder.
        write: takes each output part with its number; several at the same time, as `read`.
    """
    position = np.empty_like(order)
    step = 2**20
    for start in range(0, len(order), step):
        some = order[start : start + step]
        position[some] = np.arange(start, start + len(some), dtype=order.dtype)
    starts = np.cumsum([0, *sizes])
    parts = ((n, position[starts[n] : starts[n + 1]]) for n in range(len(sizes)))
    cut = partial(_cut, read=read, ends=ends, scratch=scratch)
    paths = list(ordered_map(cut, parts))
    gather = partial(_gather, paths=paths, write=write)
    outputs = enumerate([0, *ends[:-1]])
    # Of one part there is too little to do for several workers.
    for _ in ordered_map(gather, outputs) if len(sizes) > 1 else map(gather, outputs):
        pass


def _cut(
    numbered: tuple[int, np.ndarray],
    read: Callable[[int], pa.Table],
    ends: list[int],
    scratch: Path,
) -> Path:
    """Write the rows of a part to a file, those of each output part as a batch."""
    number, positions = numbered
    outputs = np.searchsorted(ends, positions, side="right").astype(np.uint32)
    rows = read(number).append_column(POSITION, pa.array(positions))
    if len(ends) > 1:
        small = outputs.astype(np.uint16) if len(ends) < 2**16 else outputs
        rows = rows.take(pa.array(np.argsort(small, kind="stable")))  # by radix
    batches = rows.combine_chunks().to_batches()
    batch = batches[0] if batches else pa.RecordBatch.from_pylist([], rows.schema)
    path, first = scratch / f"{number}.arrow", 0
    with pa.ipc.new_file(str(path), batch.schema) as file:
        for count in np.bincount(outputs, minlength=len(ends)).tolist():
            file.write_batch(batch[first : first + count])
            first += count
    return path


def _gather(
    output: tuple[int, int], paths: list[Path], write: Callable[[int, pa.Table], None]
) -> None:
    """Write an output part, of which the number and the first row are given."""
    number, first = output
    batches = []
    for path in paths:
        with pa.OSFile(str(path)) as file:
            batches.append(pa.ipc.open_file(file).get_batch(number))
    rows = pa.Table.from_batches(batches).combine_chunks()
    place = np.empty(len(rows), np.int32)
    place[rows[POSITION].to_numpy() - first] = np.arange(len(rows), dtype=np.int32)
    rows = rows.drop_columns(POSITION).take(pa.array(place))
    write(number, rows)
