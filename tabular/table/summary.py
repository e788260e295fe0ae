"""Summaries of columns that merge, so that a table is described a part at a time."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.schema import Column
from tabular.table.cells import TEXTS, is_missing, numbers


@dataclass(frozen=True)
class Summary:
    """Count, moments and extremes of the values of one column that are not missing.

    A category or a text has a count alone.
    """

    count: int = 0
    missing: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared differences from the mean
    min: float = np.inf
    max: float = -np.inf

    @classmethod
    def of(cls, values: pa.ChunkedArray, column: Column) -> Self:
        """Summarise one part of a column."""
        gaps = is_missing(values, column)
        present = values.filter(pc.invert(gaps)) if pc.any(gaps).as_py() else values
        missing = len(values) - len(present)
        if not len(present) or column.kind in TEXTS:
            return cls(count=len(present), missing=missing)
        return replace(cls.of_numbers(numbers(present, column).to_numpy()), missing=missing)

    @classmethod
    def of_numbers(cls, values: np.ndarray) -> Self:
        """Summarise float64 of shape (n,), one at least, none of them missing."""
        mean = values.mean()
        differences = values - mean
        np.square(differences, out=differences)
        return cls(
            count=len(values),
            mean=float(mean),
            squares=float(differences.sum()),
            min=float(values.min()),
            max=float(values.max()),
        )

    def merge(self, other: "Summary") -> "Summary":
        """The summary of both parts together.

        Mean and squares: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for
        computing sample variances" (1979).
        """
        count = self.count + other.count
        share = other.count / count if count else 0.0
        step = other.mean - self.mean
        return Summary(
            count=count,
            missing=self.missing + other.missing,
            mean=self.mean + step * share,
            squares=self.squares + other.squares + step * step * self.count * share,
            min=min(self.min, other.min),
            max=max(self.max, other.max),
        )

    @property
    def variance(self) -> float:
        """Of the values as a population: divided by the count."""
        return self.squares / self.count if self.count else 0.0

    @property
    def standard_deviation(self) -> float:
        """Of the values as a sample, as pandas gives it: divided by the count less one."""
        return float((self.squares / max(self.count - 1, 1)) ** 0.5)
