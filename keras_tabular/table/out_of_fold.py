"""Out-of-fold predictions, by networks that have not learnt from a row: `data/oof`."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from keras_tabular.table.parquet import read_parts, write_part

# Folder of these predictions in the folder of cross-validation.
LATER_BLOCKS = "forward_chaining"


class FoldPredictions(NamedTuple):
    """Predictions for the first training rows, by networks that do not know the row.

    Attributes:
        all_rows: Predictions, float32, shape (rows, outputs); NaN for a row without.
        fold: Fold of each row, int32, shape (rows,); -1 for a row without a prediction.
    """

    all_rows: np.ndarray
    fold: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """The numbers of the rows that have a prediction, shape (n,)."""
        return np.flatnonzero(self.fold >= 0)

    @property
    def y_pred(self) -> np.ndarray:
        """The predictions for these rows, shape (n, outputs)."""
        return self.all_rows[self.rows]

    @property
    def row_folds(self) -> np.ndarray:
        """The fold of each of these rows, shape (n,); one fold becomes two halves.

        With ties in the time, all later rows may be in one block:

        >>> fold = np.array([-1, -1, 1, 1, 1, 1])
        >>> FoldPredictions(np.zeros((6, 1)), fold).row_folds.tolist()
        [0, 1, 0, 1]
        """
        fold = self.fold[self.rows]
        if len(np.unique(fold)) > 1:
            return fold
        return np.arange(len(fold)) % 2

    def write(self, folder: Path, part_rows: Sequence[int]) -> None:
        """Write the columns `output_0`, ... and `fold`, in parts of these sizes."""
        start = 0
        for number, n_rows in enumerate(part_rows):
            part = slice(start, start + n_rows)
            outputs = self.all_rows[part].T
            columns = {f"output_{n}": values for n, values in enumerate(outputs)}
            columns["fold"] = self.fold[part]
            write_part(folder, number, pa.table(columns))
            start += n_rows

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` has written."""
        columns = pa.concat_tables(read_parts(folder)).columns
        *outputs, fold = [column.to_numpy() for column in columns]
        return cls(np.column_stack(outputs), fold)


class OutOfFold(NamedTuple):
    """All out-of-fold predictions of a training, by row set.

    Attributes:
        cross_validation: Predictions of the folds; without rows if there are no folds.
        forward_chaining: Predictions for later rows, if `train.forward_chaining` is
            set.
    """

    cross_validation: FoldPredictions
    forward_chaining: FoldPredictions | None = None

    @property
    def by_row_set(self) -> dict[str, FoldPredictions]:
        """The predictions by their key in `metrics.ROW_SETS`."""
        return {
            name: folds for name, folds in self._asdict().items() if folds is not None
        }

    @property
    def unseen(self) -> FoldPredictions:
        """The predictions by which a threshold and intervals are chosen."""
        return self.forward_chaining or self.cross_validation

    def write(self, folder: Path, part_rows: Sequence[int]) -> None:
        """Write the predictions to `data/oof`.

        Args:
            part_rows: Number of rows of each part of the training rows.
        """
        has_folds = len(self.cross_validation.fold) > 0
        self.cross_validation.write(folder, part_rows if has_folds else [0])
        if self.forward_chaining:
            self.forward_chaining.write(folder / LATER_BLOCKS, part_rows)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` has written."""
        later = folder / LATER_BLOCKS
        later_blocks = FoldPredictions.read(later) if later.is_dir() else None
        return cls(FoldPredictions.read(folder), later_blocks)
