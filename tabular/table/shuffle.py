"""The rows of a table in another order, through files, so that memory does not grow with rows."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tabular.engine import ordered_map

POSITION = "__position__"


class _Cut(NamedTuple):
    """The rows of a part by their output parts, in a file; `ends` are the rows up to each one."""

    path: Path
    ends: np.ndarray


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
    cuts = list(ordered_map(cut, parts))
    gather = partial(_gather, write=write)
    outputs = (
        (
            number,
            start,
            [(c.path, *(c.ends[number : number + 2].tolist())) for c in cuts],
        )
        for number, start in enumerate([0, *ends[:-1]])
    )
    # Of one part there is too little to do for several workers.
    for _ in ordered_map(gather, outputs) if len(sizes) > 1 else map(gather, outputs):
        pass


def _cut(
    numbered: tuple[int, np.ndarray],
    read: Callable[[int], pa.Table],
    ends: list[int],
    scratch: Path,
) -> _Cut:
    number, positions = numbered
    outputs = np.searchsorted(ends, positions, side="right").astype(
        np.uint16 if len(ends) < 2**16 else np.uint32
    )
    rows = read(number).append_column(POSITION, pa.array(positions))
    if len(ends) > 1:
        rows = rows.take(pa.array(np.argsort(outputs, kind="stable")))
    path = scratch / f"{number}.arrow"
    rows = rows.combine_chunks()
    with pa.ipc.new_file(str(path), rows.schema) as file:
        file.write_table(rows)
    return _Cut(path, np.append(0, np.cumsum(np.bincount(outputs, minlength=len(ends)))))


def _gather(
    output: tuple[int, int, list[tuple[Path, int, int]]], write: Callable[[int, pa.Table], None]
) -> None:
    number, first, cuts = output
    rows = _slices(cuts)
    place = np.empty(len(rows), np.int32)
    place[rows[POSITION].to_numpy() - first] = np.arange(len(rows), dtype=np.int32)
    rows = rows.drop_columns(POSITION).take(pa.array(place))
    write(number, rows)


def _slices(cuts: list[tuple[Path, int, int]]) -> pa.Table:
    """Some rows of each file, in memory."""
    slices = []
    for path, start, end in cuts:
        rows = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        slices.append(rows[start:end])
    return pa.concat_tables(slices).combine_chunks()
