"""Measure how often `drift` gives a false alarm, and what it finds.

Nothing is trained: ten columns of training rows and of the rows after them are drawn by
`benchmarks.rows`. They are numbers with 3 % of missing values, categories, and numbers
of which 90 % are 0. Rows in groups are in other groups than the training rows.

- *Alarms* are new rows without drift whose verdict is not `pass`.
- A column is *found* if it is shifted by half a standard deviation, or has 12 % of
  missing values.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy.special import ndtri

from benchmarks.rows import DEPENDENT, KINDS, Rows
from benchmarks.simulations import Measurement, Simulations, build_schema
from keras_tabular.config.sections import Drift
from keras_tabular.model.drift import DriftReport, RowCounts, find_drift
from keras_tabular.network.record import TrainingRows
from keras_tabular.table.groups import mean_group_size
from keras_tabular.table.profile import NUMBER_BINS, ColumnSummary

NEW_ROWS = (30, 100, 500, 2000)
TRAINING_ROWS = (500, 5000)
ONLY_FEW_ROWS = ("four clusters", "short AR 0.97")
MISSING = 0.03
SHIFT = 0.5
MORE_MISSING = 0.12
CATEGORIES = [f"c{number}" for number in range(5)]
CATEGORY_EDGES = ndtri(np.cumsum([0.4, 0.2, 0.2, 0.1]))
KINDS_OF_COLUMNS = ("number", "number", "number", "category", "zeros") * 2
COLUMNS = {
    f"{kind}{number}": {"kind": "category" if kind == "category" else "real"}
    for number, kind in enumerate(KINDS_OF_COLUMNS)
}
CHANGED = "number0"
SCHEMA = build_schema("regression", **COLUMNS)


class Column:
    """A column of training rows, and the same column of the rows after them."""

    def __init__(self, name: str, rows: Rows, training_rows: int) -> None:
        self.name = name
        self.rng = rows.rng
        self.values = rows.draw()
        self.is_missing = rows.draw() < ndtri(MISSING)
        train = self.values[:training_rows]
        if name.startswith("zeros"):
            self.values = np.maximum(self.values - ndtri(0.9), 0)
            train = self.values[:training_rows]
        if name.startswith("category"):
            self.edges = CATEGORY_EDGES
        else:
            tenths = np.quantile(train, np.linspace(0, 1, NUMBER_BINS + 1))
            above_highest = np.nextafter(train.max(), np.inf)
            self.edges = np.unique(np.r_[tenths[:-1], above_highest])
        self.train = self.count(slice(training_rows))

    def count(
        self,
        rows: slice,
        shift: float = 0.0,
        missing: float = 0.0,
    ) -> np.ndarray:
        """Count the rows in each bin after a change, shape (bins,)."""
        codes = np.searchsorted(self.edges, self.values[rows] + shift, side="right")
        is_lost = self.rng.random(len(codes)) < missing
        codes[self.is_missing[rows] | is_lost] = len(self.bins) - 1
        return np.bincount(codes, minlength=len(self.bins))

    @property
    def bins(self) -> list[str]:
        """Names of the bins."""
        if self.name.startswith("category"):
            return [*CATEGORIES, "others", "missing"]
        return [""] * (len(self.edges) + 2)

    @property
    def summary(self) -> ColumnSummary:
        """What the file of a model contains about the training rows."""
        is_category = self.name.startswith("category")
        return ColumnSummary(
            feature_type="category" if is_category else "number",
            edges=() if is_category else tuple(self.edges.tolist()),
            categories=tuple(CATEGORIES) if is_category else (),
            counts=tuple(self.train.tolist()),
        )


def compare(
    columns: list[Column],
    training_rows: int,
    new: dict[str, np.ndarray],
    group: np.ndarray | None,
) -> DriftReport:
    """Compare counts of new rows with the training rows.

    Args:
        new: Number of new rows in each bin, by column.
        group: Group of each new row.
    """
    trained_on = TrainingRows(
        rows=training_rows,
        md5="",
        packages={},
        summaries={column.name: column.summary for column in columns},
        attribution={column.name: 1 / len(columns) for column in columns},
    )
    rows = int(new[CHANGED].sum())
    counts = RowCounts(new, rows, Counter(), Counter(), [])
    return find_drift(trained_on, counts, SCHEMA, Drift(), mean_group_size(group))


def measure_drift(name: str, draws: int) -> Iterator[Measurement]:
    """Yield the false alarms, and what is found, by the number of new rows."""
    kind = KINDS[name]
    for training_rows in TRAINING_ROWS:
        rng = np.random.default_rng(training_rows)
        counts = Counter[tuple[str, int]]()
        for _ in range(draws):
            rows = Rows(rng, kind, training_rows + max(NEW_ROWS))
            columns = [Column(column, rows, training_rows) for column in COLUMNS]
            first = columns[0]
            for new_rows in NEW_ROWS:
                part = slice(training_rows, training_rows + new_rows)
                group = rows.cluster if kind.is_declared else None
                group = None if group is None else group[part]
                new = {column.name: column.count(part) for column in columns}
                report = compare(columns, training_rows, new, group)
                counts["alarm", new_rows] += report.verdict != "pass"
                is_named = "more values are missing" in report.reason
                counts["missing", new_rows] += is_named
                if training_rows == max(TRAINING_ROWS):
                    new[CHANGED] = first.count(part, shift=SHIFT)
                    report = compare(columns, training_rows, new, group)
                    counts["shift", new_rows] += report.columns[CHANGED].moved
                    new[CHANGED] = first.count(part, missing=MORE_MISSING)
                    report = compare(columns, training_rows, new, group)
                    is_named = report.columns[CHANGED].more_missing
                    counts["missing values", new_rows] += is_named
        for what, new_rows in product(("alarm", "missing"), NEW_ROWS):
            claim = {
                "alarm": f"false alarm, {new_rows:,} new rows",
                "missing": "more values are missing: wrong",
            }[what]
            where = f"{name}, {training_rows} training rows, {new_rows} new ones"
            limit = 0.02 if kind.family in ("independent", "groups") else None
            share = counts[what, new_rows] / draws
            yield Measurement(claim, kind.family, where, share, limit)
    for what, new_rows in product(("shift", "missing values"), NEW_ROWS):
        claim = f"found: {what}, {new_rows:,} new rows"
        share = counts[what, new_rows] / draws
        yield Measurement(claim, kind.family, name, share, None, True)


SIMULATIONS: Simulations = {
    measure_drift: [name for name in DEPENDENT if name not in ONLY_FEW_ROWS],
}
