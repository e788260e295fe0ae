"""The rows of a table in another order, through files, so that memory does not grow with rows."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

from tabular.engine import ordered_map

POSITION = "__position__"


def shuffle(
    parts: Iterable[pa.Table],
    order: np.ndarray,
    ends: list[int],
    scratch: Path,
    write: Callable[[int, pa.Table], None],
) -> None:
    """The rows of a table in another order, in memory for few parts, whatever the rows.

    Each row is first appended to a file of its output part, then each of these is put in order.

    Args:
        parts: the table; row `i` counts over all parts.
        order: shape (rows,), int32; row `order[k]` comes out as row `k`.
        ends: where each output part ends, ascending; the last one is `len(order)`.
        scratch: an empty folder.
        write: takes each output part with its number, several at the same time.
    """
    position = np.empty_like(order)
    position[order] = np.arange(len(order), dtype=order.dtype)
    paths = [scratch / f"{number}.arrow" for number in range(len(ends))]

    def cut(numbered: tuple[int, pa.Table]) -> tuple[pa.Table, np.ndarray]:
        """The rows of a part in the order of their output parts, and where each of these begins."""
        first, part = numbered
        positions = position[first : first + len(part)]
        sorting = np.argsort(positions)
        rows = part.append_column(POSITION, pa.array(positions)).take(sorting)
        return rows, np.searchsorted(positions[sorting], [0, *ends])

    def put_in_order(numbered: tuple[int, tuple[Path, int]]) -> None:
        number, (path, start) = numbered
        with pa.memory_map(str(path)) as file:
            rows = pa.ipc.open_file(file).read_all()
            sorting = np.empty(len(rows), order.dtype)
            sorting[rows[POSITION].to_numpy() - start] = np.arange(len(rows), dtype=order.dtype)
            write(number, rows.drop_columns(POSITION).take(sorting))
        path.unlink()

    with ExitStack() as stack:
        writers: list[pa.ipc.RecordBatchFileWriter] = []
        for rows, cuts in ordered_map(cut, with_first_row(parts)):
            if not writers:
                writers = [
                    stack.enter_context(pa.ipc.new_file(str(path), rows.schema)) for path in paths
                ]
            for writer, start, end in zip(writers, cuts[:-1], cuts[1:], strict=True):
                if end > start:
                    writer.write_table(rows[start:end])
    for _ in ordered_map(put_in_order, enumerate(zip(paths, [0, *ends], strict=False))):
        pass


def with_first_row(parts: Iterable[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    """The parts, each with the number of its first row in the table."""
    first = 0
    for part in parts:
        yield first, part
        first += len(part)
