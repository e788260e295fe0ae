"""How the values of each column are distributed in the training and the test rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Column, Schema
from keras_tabular.table.profile import (
    MAX_P_VALUE,
    Bins,
    ColumnSummary,
    compare_counts,
    format_edge,
    numeric_values,
    share_outside,
)

# Bars of a histogram.
MAX_BARS = 12
MAX_CATEGORY_BARS = 6
# Quantiles of the training rows at the ends of a histogram.
HISTOGRAM_QUANTILES = (0.005, 0.995)
# A warning names columns with this share of attribution, of which this share of the
# test rows is outside training.
MIN_ATTRIBUTION = 0.02
MIN_SHARE_OUTSIDE = 0.1


def describe_columns(
    train: pa.Table,
    test: pa.Table,
    schema: Schema,
    limit: float,
    group_size: float = 1.0,
) -> dict[str, Any]:
    """Compute the content of `metrics/columns.json` for the target and the features.

    A column has `moved` if its `distance` is above the limit, and larger than chance
    explains.

    Args:
        limit: The key `drift.distance` of params.yaml.
        group_size: Number of rows that depend on each other, see
            `groups.mean_group_size`.
    """
    description = {}
    names = (schema.target, *schema.features)
    for name in names:
        column = schema.columns[name]
        summary = ColumnSummary.from_values(train[name], column)
        distance, p_value = compare_counts(
            np.array(summary.counts),
            summary.bins(column).counts(test[name]),
            len(names),
            group_size,
        )
        outside = 0.0
        if name != schema.time:  # later times are always outside of the earlier ones
            outside = share_outside(train[name], test[name], column)
        description[name] = {
            **histogram(train[name], test[name], column),
            "distance": distance,
            "p_value": p_value,
            "moved": distance > limit and p_value < MAX_P_VALUE,
            "outside": outside,
        }
    return description


def histogram(
    train: pa.ChunkedArray,
    test: pa.ChunkedArray,
    column: Column,
) -> dict[str, Any]:
    """Count the rows in each bar of a histogram.

    The bars either have `names`, or divide the range between two numbers into equal
    parts. The first and the last bar then also contain the values beyond the range.
    """
    if column.feature_type == "category":
        return _category_histogram(train, test, column)
    numbers = numeric_values(train, column)
    if not len(numbers):
        return {}
    content = {}
    distinct = np.unique(numbers)
    if len(distinct) <= MAX_BARS:
        edges = (distinct[1:] + distinct[:-1]) / 2
        content["names"] = [format_edge(value, column) for value in distinct]
    else:
        low, high = np.quantile(numbers, HISTOGRAM_QUANTILES, method="nearest")
        if low == high:
            low, high = distinct[[0, -1]]
        edges = np.linspace(low, high, MAX_BARS + 1)[1:-1]
    bars = Bins(column, edges, ())
    for name, values in (("train", train), ("test", test)):
        *counts, _missing = bars.counts(values).tolist()
        content[name] = counts
    return content


def _category_histogram(
    train: pa.ChunkedArray,
    test: pa.ChunkedArray,
    column: Column,
) -> dict[str, Any]:
    """Count the rows of the most frequent categories, and of all others together."""
    bars = Bins.from_values(train, column, MAX_BARS, MAX_CATEGORY_BARS)
    train_counts = bars.counts(train)
    test_counts = bars.counts(test)
    n_bars = len(bars.categories)
    if train_counts[n_bars] or test_counts[n_bars]:  # rows with other categories
        n_bars += 1
    return {
        "names": bars.names[:n_bars],
        "train": train_counts[:n_bars].tolist(),
        "test": test_counts[:n_bars].tolist(),
    }


def outside_training(
    columns: Mapping[str, Mapping[str, Any]],
    attribution: Mapping[str, float],
) -> dict[str, float]:
    """Return the columns of which a large share of the test rows is outside training.

    Columns that hardly affect the predictions are left out, unless most test rows are
    outside. The others are sorted by their share of attribution, the largest first.

    Args:
        columns: The result of `describe_columns`.
        attribution: Share of attribution of each column.

    Returns:
        The share of the test rows by column.

    Examples:
        >>> outside = {"month": 1.0, "hour": 0.3, "noise": 1.0, "price": 0.05}
        >>> columns = {name: {"outside": share} for name, share in outside.items()}
        >>> attribution = {"hour": 0.2, "month": 0.5, "noise": 0.01, "price": 0.29}
        >>> outside_training(columns, attribution)
        {'month': 1.0, 'hour': 0.3, 'noise': 1.0}
    """
    shares = {}
    for name in sorted(attribution, key=lambda name: -attribution[name]):
        outside = columns[name]["outside"]
        is_read = attribution[name] >= MIN_ATTRIBUTION
        if outside > 0.5 or (is_read and outside >= MIN_SHARE_OUTSIDE):
            shares[name] = outside
    return shares
