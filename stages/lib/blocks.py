"""The prepared rows of a table as a sequence of blocks, one for each Parquet part."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from stages.lib.backend import keras, tf
from stages.lib.loop import Rows
from stages.lib.params import Data
from stages.lib.preparation import Scaling
from stages.lib.table import count_rows, feature_arrays, labels, part_paths, read_parts

KEPT_BYTES = 2**28  # of prepared rows that stay in memory; a larger table is read each epoch


def all_labels(folder: Path, data: Data) -> np.ndarray:
    """The labels of a whole table: float64, shape (rows, outputs)."""
    return np.concatenate([labels(part, data) for part in read_parts(folder, [data.target])])


class TableBlocks:
    """Block `i` is part `i` of a table, read and prepared when it is asked for.

    Parts without rows are left out. A table whose prepared rows take up to `KEPT_BYTES` is read
    once.

    Args:
        folder: the Parquet parts.
        preparing: from the columns that the model reads to the prepared columns.
        target: what is taken from the labels and what they are divided by.
        weight: of each row, float32, shape (rows,); 1 where it is not given.
    """

    def __init__(
        self,
        folder: Path,
        data: Data,
        preparing: keras.Model,
        target: Scaling,
        weight: np.ndarray | None = None,
    ) -> None:
        counts = dict(zip(part_paths(folder), count_rows(folder), strict=True))
        self.paths = [path for path, count in counts.items() if count]
        self.sizes = [count for count in counts.values() if count]
        # One pass instead of one for each operation; to compile it takes as long as three blocks.
        # XLA knows no texts.
        compiles = len(self.paths) > 2 and all(i.dtype != "string" for i in preparing.inputs)
        self._preparing = tf.function(preparing, jit_compile=True) if compiles else preparing
        self._data, self._target = data, target
        rows = sum(self.sizes)
        weight = np.ones(rows, np.float32) if weight is None else weight
        self._weights = np.split(weight, np.cumsum(self.sizes)[:-1])
        self._keep = rows * preparing.output_shape[-1] * 4 <= KEPT_BYTES
        self._kept: dict[int, Rows] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Rows:
        if number in self._kept:
            return self._kept[number]
        part = pq.read_table(self.paths[number])
        x = self._preparing(feature_arrays(part, self._data))
        y = (labels(part, self._data) - self._target.shift) / self._target.scale
        rows = Rows(x, tf.constant(y, tf.float32), tf.constant(self._weights[number]))
        if self._keep:
            self._kept[number] = rows
        return rows


class ChosenRows:
    """The same blocks with some of their rows; a block of which none is chosen is left out.

    Args:
        blocks: of all rows.
        chosen: for each block the numbers of its rows to use, int32.
    """

    def __init__(self, blocks: TableBlocks, chosen: list[np.ndarray]) -> None:
        self._blocks = blocks
        self._chosen = [(number, rows) for number, rows in enumerate(chosen) if len(rows)]

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, number: int) -> Rows:
        block, chosen = self._chosen[number]
        return self._blocks[block]._replace(chosen=chosen)
