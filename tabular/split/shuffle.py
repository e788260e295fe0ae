"""The rows of a table in another order, through files, so that memory does not grow with rows."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from tabular.core.engine import ordered_map
from tabular.core.errors import UserError
from tabular.core.files import atomic_file

KEY = "__key__"
Item = TypeVar("Item")


class Placed(NamedTuple):
    """Some rows of a table, and where they go.

    `outputs`: the output part of each row, uint32, (rows,); `keys`: by which an output part is
    sorted, whole numbers of which no two are equal in it, (rows,).
    """

    rows: pa.Table
    outputs: np.ndarray
    keys: np.ndarray


def positions(order: np.ndarray) -> np.ndarray:
    """Where each row goes, int32, (rows,), if row `order[k]` comes out as row `k`."""
    found = np.empty_like(order)
    step = 2**20  # of rows, for little memory beside the two
    for start in range(0, len(order), step):
        some = order[start : start + step]
        found[some] = np.arange(start, start + len(some), dtype=order.dtype)
    return found


def shuffle(
    parts: Iterable[Item],
    read: Callable[[Item], Placed],
    outputs: int,
    scratch: Path,
    write: Callable[[int, pa.Table], None],
) -> None:
    """The rows of a table in other parts; few parts are in memory at a time.

    Each part is first written with its rows by their output parts, then each of these gathers its
    rows from all files and sorts them.

    Args:
        parts: what `read` takes, one for each part.
        outputs: how many output parts there are.
        scratch: an empty folder.
        write: takes each output part with its number; several at the same time, as `read`.
    """
    cut = partial(_cut, read=read, outputs=outputs, scratch=scratch)
    paths = list(ordered_map(cut, enumerate(parts)))
    gather = partial(_gather, paths=paths, write=write)
    # Of one part there is too little to do for several workers.
    maps = ordered_map if len(paths) > 1 else map
    for _ in maps(gather, range(outputs)):
        pass


def _cut(
    numbered: tuple[int, Item], read: Callable[[Item], Placed], outputs: int, scratch: Path
) -> Path:
    """Write the rows of a part to a file, those of each output part as a batch."""
    number, part = numbered
    rows, output_of, keys = read(part)
    rows = rows.append_column(KEY, pa.array(keys))
    if outputs > 1:
        small = output_of.astype(np.uint16) if outputs < 2**16 else output_of
        rows = rows.take(pa.array(np.argsort(small, kind="stable")))  # by radix
    batches = rows.combine_chunks().to_batches()
    if len(batches) > 1:
        raise UserError(
            f"part {number} holds more than 2 GiB in a category column; set "
            "ingest.rows_per_part in params.yaml lower"
        )
    batch = batches[0] if batches else pa.RecordBatch.from_pylist([], rows.schema)
    path, first = scratch / f"{number}.arrow", 0
    with atomic_file(path) as whole, pa.ipc.new_file(str(whole), batch.schema) as file:
        for count in np.bincount(output_of, minlength=outputs).tolist():
            file.write_batch(batch[first : first + count])
            first += count
    return path


def _gather(number: int, paths: list[Path], write: Callable[[int, pa.Table], None]) -> None:
    """Write the output part of a number."""
    batches = []
    for path in paths:
        with pa.OSFile(str(path)) as file:
            batches.append(pa.ipc.open_file(file).get_batch(number))
    rows = pa.Table.from_batches(batches).combine_chunks()
    order = np.argsort(rows[KEY].to_numpy())
    rows = rows.drop_columns(KEY).take(pa.array(order))
    write(number, rows)
