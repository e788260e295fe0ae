"""The interval of a regression's answer, by CV+ from what its folds got wrong.

Barber, Candès, Ramdas and Tibshirani, "Predictive inference with the jackknife+" (2021): where the
rows are exchangeable it holds the true value of about the share of rows that is asked for; it is
proven that no more than twice the other rows are outside, whatever the model.
"""

from typing import Any, NamedTuple, Self

import numpy as np

KEPT = 200  # residuals of each fold, evenly between the least and the largest
CELLS = 2**21  # sums that are sorted at a time


class Residuals(NamedTuple):
    """How far off each fold's networks were for the rows that they left out.

    `coverage` the share of rows that intervals shall hold; `sizes` (folds,), the rows of each fold;
    `sorted` for each fold some of its absolute residuals, ascending, in the units of the target.
    """

    coverage: float
    sizes: tuple[int, ...]
    sorted: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, residuals: np.ndarray, fold: np.ndarray, coverage: float) -> Self:
        """Those of out-of-fold predictions.

        Args:
            residuals: true minus predicted, shape (rows,).
            fold: of each row, shape (rows,).
        """
        groups = [np.abs(residuals[fold == number]) for number in np.unique(fold)]
        kept = [
            np.quantile(group, (np.arange(size) + 0.5) / size, method="nearest")
            for group in groups
            for size in [min(len(group), KEPT)]
        ]
        return cls(
            coverage,
            tuple(len(group) for group in groups),
            tuple(tuple(np.round(values, 6).tolist()) for values in kept),
        )

    @classmethod
    def read(cls, found: Any) -> Self:
        """Of a model's file.

        Raises:
            ValueError: it is something else.
        """
        try:
            coverage = float(found["coverage"])
            sizes = tuple(int(size) for size in found["sizes"])
            kept = tuple(tuple(float(value) for value in of_fold) for of_fold in found["sorted"])
        except (TypeError, KeyError) as error:
            raise ValueError(f"residuals: {error!r}") from None
        if not (0 < coverage < 1 and len(sizes) == len(kept) and all(map(len, kept))):
            raise ValueError("residuals: expected a coverage, and values for each fold")
        return cls(coverage, sizes, kept)

    def interval(self, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lower and the upper end for each row: float64, (rows,).

        Args:
            answers: of each fold's networks for each row, shape (rows, folds).
        """
        counts = [len(values) for values in self.sorted]
        fold, residuals = np.repeat(np.arange(len(counts)), counts), np.concatenate(self.sorted)
        weight = np.divide(self.sizes, counts)[fold]
        rows = sum(self.sizes)
        # The new row is one more of the rows, and as likely as each of them to be the furthest off.
        reached = min(self.coverage * (rows + 1), rows)
        at_a_time, low, high = max(CELLS // len(residuals), 1), [np.empty(0)], [np.empty(0)]
        for start in range(0, len(answers), at_a_time):
            of_rows = answers[start : start + at_a_time, fold].astype(np.float64)
            low.append(-_reaches(residuals - of_rows, weight, reached))
            high.append(_reaches(residuals + of_rows, weight, reached))
        return np.concatenate(low), np.concatenate(high)


def _reaches(sums: np.ndarray, weight: np.ndarray, reached: float) -> np.ndarray:
    """The least sum of each row that so much weight is at or below; (rows, sums) to (rows,)."""
    order = np.argsort(sums, axis=1, kind="stable")
    place = np.argmax(np.cumsum(weight[order], axis=1) >= reached - 1e-9, axis=1)
    return np.take_along_axis(sums, np.take_along_axis(order, place[:, None], 1), 1)[:, 0]
