"""Histograms of the training and the test rows of each column, and the distance between them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from keras_tabular.column_statistics.bins import Bins, format_value, numeric_values, share_outside
from keras_tabular.column_statistics.summary import MAX_P_VALUE, ColumnSummary, compare_counts
from keras_tabular.config.schema import Column, Schema

MAX_BARS, MAX_CATEGORIES = 12, 6  # of a histogram
HISTOGRAM_QUANTILES = (0.005, 0.995)  # of the training rows: the ends of a histogram
MIN_ATTRIBUTION, MIN_SHARE_OUTSIDE = 0.02, 0.1  # for a warning


def describe_columns(
    train: pa.Table, test: pa.Table, schema: Schema, limit: float, group_size: float = 1.0
) -> dict[str, Any]:
    """Compute the content of `metrics/columns.json` for the target and the features.

    A column has `moved` if its `distance` is above the limit, and larger than chance explains.

    Args:
        limit: The key `drift.distance` of params.yaml.
        group_size: Number of rows that depend on each other, see `groups.mean_group_size`.
    """
    description, names = {}, (schema.target, *schema.features)
    for name in names:
        column, values = schema.columns[name], (train[name], test[name])
        summary = ColumnSummary.from_values(train[name], column)
        counts = np.array(summary.counts), summary.bins(column).counts(test[name])
        distance, p_value = compare_counts(*counts, len(names), group_size)
        description[name] = histogram(*values, column) | {
            "distance": distance,
            "p_value": p_value,
            "moved": distance > limit and p_value < MAX_P_VALUE,
            # Later times are always outside of the earlier ones.
            "outside": 0.0 if name == schema.time else share_outside(*values, column),
        }
    return description


def histogram(train: pa.ChunkedArray, test: pa.ChunkedArray, column: Column) -> dict[str, Any]:
    """Count the rows in each bar of a histogram.

    The bars either have `names`, or divide the range between two numbers into equal parts. The
    first and the last bar then also contain the values beyond the range.
    """
    tables = {"train": train, "test": test}
    content: dict[str, Any] = {
        "missing": {name: values.null_count for name, values in tables.items()},
        "rows": {name: len(values) for name, values in tables.items()},
    }
    if column.feature_type == "category":
        bars = Bins.from_values(train, column, MAX_BARS, MAX_CATEGORIES)
        content["names"] = bars.names[:-1]
    else:
        numbers = numeric_values(train, column)
        if not len(numbers):
            return content
        distinct = np.unique(numbers)
        if len(distinct) <= MAX_BARS:
            edges = (distinct[1:] + distinct[:-1]) / 2
            content["names"] = [format_value(value, column) for value in distinct]
        else:
            low, high = np.quantile(numbers, HISTOGRAM_QUANTILES, method="nearest")
            if low == high:
                low, high = distinct[0], distinct[-1]
            edges = np.linspace(low, high, MAX_BARS + 1)[1:-1]
            content |= {"from": float(low), "to": float(high)}
        bars = Bins(column, edges, ())
    counts = {name: bars.counts(values)[:-1].tolist() for name, values in tables.items()}
    if column.feature_type == "category" and not any(rows[-1] for rows in counts.values()):
        content["names"].pop()  # no other categories
        counts = {name: rows[:-1] for name, rows in counts.items()}
    return content | counts


def outside_training(
    columns: Mapping[str, Mapping[str, Any]], attribution: Mapping[str, float]
) -> dict[str, float]:
    """Return the share of the test rows outside training for each column with a large share.

    Columns that hardly affect the predictions are left out. The others are sorted by their share
    of attribution, the largest first.

    Args:
        columns: The result of `describe_columns`; empty if that failed.
        attribution: Share of attribution of each column.
    """
    shares = {
        name: columns[name]["outside"]
        for name, share in attribution.items()
        if columns and share >= MIN_ATTRIBUTION and columns[name]["outside"] >= MIN_SHARE_OUTSIDE
    }
    return dict(sorted(shares.items(), key=lambda item: -attribution[item[0]]))
