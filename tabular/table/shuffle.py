"""The rows of a table in another order, through files, so that memory does not grow with rows."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

POSITION = "__position__"


def shuffle(
    parts: Iterable[pa.Table], order: np.ndarray, ends: list[int], scratch: Path
) -> Iterator[pa.Table]:
    """The rows of a table in another order, in memory for two parts, whatever the rows.

    Each row is first appended to a file of its output part, then each of these is put in order.

    Args:
        parts: the table; row `i` counts over all parts.
        order: shape (rows,), int32; row `order[k]` comes out as row `k`.
        ends: where each output part ends, ascending; the last one is `len(order)`.
        scratch: an empty folder.
    """
    position = np.empty_like(order)
    position[order] = np.arange(len(order), dtype=order.dtype)
    paths = [scratch / f"{number}.arrow" for number in range(len(ends))]
    first = 0
    with ExitStack() as stack:
        writers: list[pa.ipc.RecordBatchFileWriter] = []
        for part in parts:
            if not writers:
                schema = part.schema.append(pa.field(POSITION, pa.int32()))
                writers = [
                    stack.enter_context(pa.ipc.new_file(str(path), schema)) for path in paths
                ]
            positions = position[first : first + len(part)]
            first += len(part)
            sorting = np.argsort(positions)
            rows = part.append_column(POSITION, pa.array(positions)).take(sorting)
            cuts = np.searchsorted(positions[sorting], [0, *ends])
            for writer, start, end in zip(writers, cuts[:-1], cuts[1:], strict=True):
                if end > start:
                    writer.write_table(rows[start:end])
    for path, start in zip(paths, [0, *ends], strict=False):
        with pa.memory_map(str(path)) as file:
            rows = pa.ipc.open_file(file).read_all()
            sorting = np.empty(len(rows), order.dtype)
            sorting[rows[POSITION].to_numpy() - start] = np.arange(len(rows), dtype=order.dtype)
            yield rows.drop_columns(POSITION).take(sorting)
        path.unlink()
