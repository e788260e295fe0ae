"""Whether new rows still look like the training rows, by the summaries in a model's file."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Drift
from keras_tabular.config.typed_yaml import Section
from keras_tabular.core.errors import format_list, quote
from keras_tabular.model_file.bins import OTHERS, Bins, most_frequent, unknown_mask
from keras_tabular.model_file.column_summary import ColumnSummary, total_variation
from keras_tabular.model_file.metadata import TrainingRows
from keras_tabular.table.database import row_hashes
from keras_tabular.table.rows import CheckedRows

MAX_UNKNOWN_COUNTED = 100  # categories of a column that are counted by themselves, in some rows
MAX_UNKNOWN_SHOWN = 5  # of a column
UnknownCategories = Counter[tuple[str, str]]  # number of rows by column and category


class RowCounts(NamedTuple):
    """How the rows of a file lie in the bins of the training rows; pieces can be merged.

    Attributes:
        rows: Number of rows.
        bins: Number of rows in each bin, (bins,), by column.
        unknown: Number of rows with a category that the model does not know.
        failed: Number of rows whose cell fails a check, by column.
        groups: Hashes of the group of each row, see `groups.row_groups`.
    """

    rows: int
    bins: dict[str, np.ndarray]
    unknown: UnknownCategories
    failed: Counter[str]
    groups: list[np.ndarray]

    @classmethod
    def from_batch(
        cls,
        batch: CheckedRows,
        bins: Mapping[str, Bins],
        categories: Mapping[str, list[str]],
        schema: Schema,
    ) -> Self:
        """Count the rows of a batch; `categories` are those that the model knows."""
        features, grouped = batch.features, schema.group in batch.texts.column_names
        return cls(
            len(features),
            {name: of_column.counts(features[name]) for name, of_column in bins.items()},
            unknown_categories(features, categories, schema),
            Counter(failure.column for failure in batch.failures),
            [row_hashes([batch.texts.select([schema.group]) if grouped else features])],
        )

    def merge(self, other: Self) -> Self:
        """Add the counts of other rows."""
        return type(self)(
            self.rows + other.rows,
            {name: counts + other.bins[name] for name, counts in self.bins.items()},
            self.unknown + other.unknown,
            self.failed + other.failed,
            self.groups + other.groups,
        )


def unknown_categories(
    features: pa.Table, categories: Mapping[str, list[str]], schema: Schema
) -> UnknownCategories:
    """Count the rows with a category that is not among those that the model knows."""
    counts = UnknownCategories()
    for name, of_model in categories.items():
        values = features[name]
        unknown = values.filter(pa.array(unknown_mask(values, of_model, schema.columns[name])))
        frequent = most_frequent(unknown)[:MAX_UNKNOWN_COUNTED]
        counts.update({(name, value): count for value, count in frequent})
        if rest := len(unknown) - sum(count for _, count in frequent):
            counts[name, OTHERS] += rest
    return counts


def unknown_by_column(unknown: UnknownCategories) -> dict[str, list[tuple[str, int]]]:
    """List the unknown categories of each column with their rows, most frequent first."""
    by_column: dict[str, list[tuple[str, int]]] = {}
    for (name, value), count in unknown.items():
        by_column.setdefault(name, []).append((value, count))
    for counts in by_column.values():
        counts.sort(key=lambda pair: (-pair[1], pair[0]))
    return by_column


def unknown_lines(unknown: UnknownCategories, rows: int) -> list[str]:
    """Describe the unknown categories of each column."""
    lines = []
    for name, counts in unknown_by_column(unknown).items():
        total = sum(count for _, count in counts)
        examples = format_list(f"{quote(value)} ({count})" for value, count in counts)
        text = "rows hold a category that the model does not know"
        lines.append(f"{name}: {total} of {rows} {text}: {examples}")
    return lines


class Shares(Section):
    """A share of the training rows and of the new rows."""

    train: float
    new: float


class ColumnDrift(Section):
    """How far the new rows of a column are from its training rows.

    Attributes:
        attribution: Share of attribution, see `TrainingRows`.
        distance: Total variation distance; chance explains up to `by_chance` of it.
        moved: Whether the distance is larger than the limit and than chance explains.
        missing, outside, unknown: Shares of missing values, of values outside the range of the
            training rows, and of categories that the model does not know.
        failed_checks: Number of new rows whose cell is not as declared.
        bins: What each bin holds, with the number of rows in `train` and in `new`.
    """

    attribution: float
    distance: float
    by_chance: float
    moved: bool
    missing: Shares
    outside: Shares | None = None
    unknown: Shares | None = None
    unknown_values: dict[str, int] | None = None
    failed_checks: int
    bins: list[str]
    train: list[int]
    new: list[int]


class DriftReport(Section):
    """The verdict on new rows and how it comes about: the content of the JSON file."""

    verdict: Literal["pass", "warn", "fail"]
    reason: str
    rows: int
    training_rows: int
    limits: Drift
    columns: dict[str, ColumnDrift]


def find_drift(
    trained_on: TrainingRows, counts: RowCounts, schema: Schema, params: Drift, group_size: float
) -> DriftReport:
    """Compare new rows with the training rows.

    A column has moved if it is further from the training rows than `params.distance` and than
    chance explains. The verdict is `pass` if none has moved, and `fail` if the share of attribution
    of the moved columns is at least `params.attribution`, else `warn`. Datetimes do not count for
    that, since new rows are later. Cells that are not as declared are at least a `warn`.

    Args:
        group_size: Number of rows that depend on each other, see `groups.mean_group_size`.
    """
    columns = {
        name: column_drift(name, trained_on, counts, schema, params, group_size)
        for name in schema.features
    }
    columns = dict(sorted(columns.items(), key=lambda item: _order(item[1])))
    moved = [name for name, column in columns.items() if column.moved]
    dates = [name for name in moved if schema.columns[name].feature_type == "datetime"]
    share = sum(columns[name].attribution for name in moved if name not in dates)
    verdict: Literal["pass", "warn", "fail"] = "pass"
    reason = "no column is further from the training rows than chance and the limit allow"
    if moved:
        verdict = "fail" if share >= params.attribution else "warn"
        have = "they have" if len(moved) > 1 else "it has"
        reason = f"{format_list(moved)} moved; {have} {share:.1%} of the attribution"
    if dates:
        reason += ", dates not counted, since new rows are later"
    if failed := sum(counts.failed.values()):
        verdict = "warn" if verdict == "pass" else verdict
        reason += f"; {failed:,} cells are not as declared"
    return DriftReport(
        verdict=verdict,
        reason=reason,
        rows=counts.rows,
        training_rows=trained_on.rows,
        limits=params,
        columns=columns,
    )


def _order(column: ColumnDrift) -> tuple[bool, float]:
    """Put moved columns first, then those that move the predictions most."""
    weight = column.distance if column.moved else 1
    return not column.moved, -column.attribution * weight


def column_drift(
    name: str,
    trained_on: TrainingRows,
    counts: RowCounts,
    schema: Schema,
    params: Drift,
    group_size: float,
) -> ColumnDrift:
    """Compare the new rows of one column with its training rows."""
    summary: ColumnSummary = trained_on.summaries[name]
    train, new = np.array(summary.counts), counts.bins[name]
    distance, by_chance = total_variation(train, new, group_size)

    def share(bins: list[int]) -> Shares:
        shares = [float(rows[bins].sum() / max(rows.sum(), 1)) for rows in (train, new)]
        return Shares(train=shares[0], new=shares[1])

    optional: dict[str, Any] = {}
    if summary.feature_type == "category":
        values = unknown_by_column(counts.unknown).get(name, [])
        new_share = sum(rows for _, rows in values) / max(counts.rows, 1)
        optional["unknown"] = Shares(train=summary.unknown, new=new_share)
        optional["unknown_values"] = dict(values[:MAX_UNKNOWN_SHOWN])
    elif summary.feature_type != "text" and summary.edges:
        optional["outside"] = share([0, -2])
    return ColumnDrift(
        attribution=trained_on.attribution[name],
        distance=distance,
        by_chance=by_chance,
        moved=distance > max(by_chance, params.distance),
        missing=share([-1]),
        failed_checks=counts.failed[name],
        bins=summary.bins(schema.columns[name]).names,
        train=train.tolist(),
        new=new.tolist(),
        **optional,
    )
