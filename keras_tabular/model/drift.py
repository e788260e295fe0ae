"""Compare new rows with the summaries of the training rows in a model's file."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import NUMBER_KINDS, Schema
from keras_tabular.config.sections import Drift
from keras_tabular.core.errors import format_list, quote
from keras_tabular.core.typed_yaml import Section
from keras_tabular.network.record import TrainingRows
from keras_tabular.table import groups, profile
from keras_tabular.table.rows import CheckedRows, Failure

MAX_UNKNOWN_SHOWN = 5  # unknown categories of a column in the report
# A number is far outside of a range if its distance from it is more than the width of
# the range, or this multiple of columns / rows if that is larger: by chance, a new row
# is outside in about 2 * columns / rows of the columns.
FAR_BY_CHANCE = 10
UnknownCategories = Counter[tuple[str, str]]  # number of rows by column and category


class Shares(Section):
    """A share of the training rows, and the same share of the new rows."""

    train: float
    new: float

    def __str__(self) -> str:
        return f"{self.new:.1%} (training {self.train:.1%})"


class ColumnDrift(Section):
    """How much the new rows differ from the training rows in one column.

    Attributes:
        attribution: Share of the attribution of predictions to columns, see
            `TrainingRows`.
        distance: Total variation distance between the two distributions, as observed.
            Few rows differ by chance alone.
        p_value: Probability that chance alone makes any of the columns differ as much.
        moved: Whether the column has drifted: the distance is above the limit, and the
            p-value is below `MAX_P_VALUE`.
        missing, outside, unknown: Shares of missing values, of values outside the range
            of the training rows, and of categories that the model does not know.
        more_missing: Whether the share of missing values has risen significantly.
        failed_checks: Number of new rows whose cell fails a check.
        bins: Name of each bin; `train` and `new` are the numbers of rows in them.
    """

    attribution: float
    distance: float
    p_value: float
    moved: bool
    missing: Shares
    more_missing: bool
    outside: Shares | None = None
    unknown: Shares | None = None
    unknown_values: dict[str, int] | None = None
    failed_checks: int
    bins: list[str]
    train: list[int]
    new: list[int]


class DriftReport(Section):
    """The verdict on new rows and the comparisons behind it, as in the JSON file."""

    verdict: Literal["pass", "warn", "fail"]
    reason: str
    rows: int
    training_rows: int
    limits: Drift
    columns: dict[str, ColumnDrift]


class RowCounts(NamedTuple):
    """Counts of new rows. The counts of two batches can be merged.

    Attributes:
        bins: Number of rows in each bin of the training rows, shape (bins,), by column.
        rows: Number of rows.
        unknown: Number of rows with a category that the model does not know.
        failed: Number of rows whose cell fails a check, by column.
        groups: Hashes of the group of each row, see `groups.row_groups`.
    """

    bins: dict[str, np.ndarray]
    rows: int
    unknown: UnknownCategories
    failed: Counter[str]
    groups: list[np.ndarray]

    def merge(self, other: "RowCounts") -> "RowCounts":
        """Add the counts of other rows."""
        bins = {name: rows + other.bins[name] for name, rows in self.bins.items()}
        return RowCounts(
            bins,
            self.rows + other.rows,
            self.unknown + other.unknown,
            self.failed + other.failed,
            self.groups + other.groups,
        )


def count_batch(
    batch: CheckedRows,
    trained_on: TrainingRows,
    categories: dict[str, list[str]],
    schema: Schema,
) -> RowCounts:
    """Count the rows of a batch; `categories` are those that the model knows."""
    features = batch.features
    counts = {}
    for name, summary in trained_on.summaries.items():
        bins = summary.bins(schema.columns[name])
        counts[name] = bins.counts(features[name])
    group_columns = features  # equal rows are a group
    if schema.group and schema.group in batch.texts.column_names:
        group_columns = batch.texts.select([schema.group])
    return RowCounts(
        counts,
        len(features),
        unknown_categories(features, categories),
        Counter(failure.column for failure in batch.failures),
        [groups.equality_hashes([group_columns])],
    )


def find_drift(
    trained_on: TrainingRows,
    counts: RowCounts,
    schema: Schema,
    limits: Drift,
    group_size: float,
) -> DriftReport:
    """Compare new rows with the training rows.

    A column has drifted if its distance from the training rows is above
    `limits.distance` and not explained by chance, see `compare_counts`. The verdict is
    `pass` if no column has drifted, `fail` if these columns have at least the share
    `limits.attribution` of the attribution, and `warn` otherwise. Datetimes do not
    count for that, because new rows are usually later. Cells that fail a check turn
    `pass` into `warn`.

    Args:
        group_size: Number of rows that depend on each other, see
            `groups.mean_group_size`.
    """
    columns = {
        name: column_drift(name, trained_on, counts, schema, limits, group_size)
        for name in schema.features
    }
    columns = dict(
        sorted(
            columns.items(),
            key=lambda item: (not item[1].moved, -item[1].attribution),
        ),
    )
    moved = [name for name, column in columns.items() if column.moved]
    dates = [name for name in moved if schema.columns[name].kind == "datetime"]
    share = sum(columns[name].attribution for name in moved if name not in dates)
    n_far = sum(column.distance > limits.distance for column in columns.values())
    verdict: Literal["pass", "warn", "fail"] = "pass"
    reason = f"no column differs by more than {limits.distance:g}"
    if moved:
        verdict = "fail" if share >= limits.attribution else "warn"
        have = "have drifted; they have" if len(moved) > 1 else "has drifted; it has"
        reason = (
            f"{format_list(moved)} {have} {share:.1%} of the attribution, which is the"
            " effect of columns on predictions"
        )
    elif n_far:
        reason = (
            f"{n_far} of {len(columns)} columns differ by more than"
            f" {limits.distance:g}, which may be chance"
        )
    if dates:
        reason += "; dates do not count, because new rows are usually later"
    more_missing = [name for name, column in columns.items() if column.more_missing]
    if more_missing:
        reason += f"; more values are missing: {format_list(more_missing)}"
    failed = sum(counts.failed.values())
    if failed:
        verdict = "warn" if verdict == "pass" else verdict
        reason += f"; cells that fail a check: {failed:,}"
    return DriftReport(
        verdict=verdict,
        reason=reason,
        rows=counts.rows,
        training_rows=trained_on.rows,
        limits=limits,
        columns=columns,
    )


def column_drift(
    name: str,
    trained_on: TrainingRows,
    counts: RowCounts,
    schema: Schema,
    limits: Drift,
    group_size: float,
) -> ColumnDrift:
    """Compare the new rows with the training rows in one column."""
    summary = trained_on.summaries[name]
    train = np.array(summary.counts)
    new = counts.bins[name]
    n_columns = len(schema.features)
    distance, p_value = profile.compare_counts(train, new, n_columns, group_size)
    both = np.stack([train, new])  # (2, bins)
    rows = both.sum(axis=1)
    p_missing = profile.binomial_p_value(
        both[:, -1:] / group_size,
        share=rows[1] / rows.sum(),
    )

    def shares(bins: list[int]) -> Shares:
        train_share, new_share = (both[:, bins].sum(axis=1) / rows).tolist()
        return Shares(train=train_share, new=new_share)

    outside = None
    if summary.edges and summary.feature_type != "text":
        outside = shares([0, -2])  # the last bin is for missing values
    is_category = summary.feature_type == "category"
    unknown = unknown_by_column(counts.unknown).get(name, {})
    new_share = sum(unknown.values()) / max(counts.rows, 1)
    return ColumnDrift(
        attribution=trained_on.attribution[name],
        distance=distance,
        p_value=p_value,
        moved=distance > limits.distance and p_value < profile.MAX_P_VALUE,
        missing=shares([-1]),
        more_missing=n_columns * p_missing < profile.MAX_P_VALUE,
        outside=outside,
        unknown=Shares(train=summary.unknown, new=new_share) if is_category else None,
        unknown_values=(
            dict([*unknown.items()][:MAX_UNKNOWN_SHOWN]) if is_category else None
        ),
        failed_checks=counts.failed[name],
        bins=summary.bins(schema.columns[name]).names,
        train=train.tolist(),
        new=new.tolist(),
    )


def unknown_categories(
    features: pa.Table,
    categories: dict[str, list[str]],
) -> UnknownCategories:
    """Count the rows with each category that is not among those that the model knows.

    Args:
        categories: The categories that the model knows, by column.
    """
    counts = UnknownCategories()
    for name, known_categories in categories.items():
        values = features[name]
        is_unknown = pa.array(profile.unknown_mask(values, known_categories))
        unknown = values.filter(is_unknown).to_pylist()
        counts.update((name, value) for value in unknown)
    return counts


def far_numbers(
    features: pa.Table,
    trained_on: TrainingRows,
    schema: Schema,
) -> Iterator[Failure]:
    """Yield a failure for each number that is far outside of the training range."""
    by_chance = FAR_BY_CHANCE * len(schema.features) / trained_on.rows
    for name, column in schema.features.items():
        edges = trained_on.summaries[name].edges
        # A constant column has only two edges, and one without values has none.
        if column.kind in NUMBER_KINDS and len(edges) > 2:
            low, *_, high = edges
            numbers = features[name].to_numpy()
            distance = np.maximum(low - numbers, numbers - high)
            is_far = distance > max(1, by_chance) * (high - low)
            expected = f"about {low:.15g} to {high:.15g}, as in training"
            for row in np.flatnonzero(is_far).tolist():
                got = f"{numbers[row]:.15g}"
                yield Failure(row, name, "far", expected, got, "warn")


def unknown_by_column(unknown: UnknownCategories) -> dict[str, dict[str, int]]:
    """Return the number of rows with each unknown category, by column.

    The most frequent category is the first one.
    """
    by_column: dict[str, dict[str, int]] = {name: {} for name, _ in unknown}
    for name, value in sorted(unknown, key=lambda cell: (-unknown[cell], cell)):
        by_column[name][value] = unknown[name, value]
    return by_column


def unknown_lines(unknown: UnknownCategories, rows: int) -> Iterator[str]:
    """Yield a line about the unknown categories of each column."""
    for name, counts in unknown_by_column(unknown).items():
        examples = format_list(
            f"{quote(value)} ({count})" for value, count in counts.items()
        )
        yield (
            f"{name}: {sum(counts.values())} of {rows} rows have a category that the"
            f" model does not know: {examples}"
        )
