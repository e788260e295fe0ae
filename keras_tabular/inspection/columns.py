"""The columns of the training and the test rows: histograms, and how far they are apart."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Column, Schema
from keras_tabular.model_file.bins import (
    Bins,
    drop_missing,
    format_value,
    is_among,
    missing_mask,
    numeric_values,
)
from keras_tabular.model_file.column_summary import ColumnSummary, total_variation

BARS, CATEGORIES = 12, 6  # of a picture
MIN_ATTRIBUTION, MIN_SHARE_OUTSIDE = 0.02, 0.1  # of a column; of the test rows
PICTURED_QUANTILES = (0.005, 0.995)  # of the training rows, where the picture begins and ends


def describe_columns(
    train: pa.Table, test: pa.Table, schema: Schema, group_size: float = 1.0
) -> dict[str, Any]:
    """Compute what `metrics/columns.json` holds of the columns that the model reads and the target.

    A column has `moved` if its `distance` is larger than chance explains (`total_variation`).
    """
    description = {}
    for name in (schema.target, *schema.features):
        columns = (train[name], test[name], schema.columns[name])
        summary = ColumnSummary.from_values(train[name], schema.columns[name])
        counts = summary.bins(schema.columns[name]).counts(test[name])
        distance, by_chance = total_variation(np.array(summary.counts), counts, group_size)
        description[name] = histogram(*columns) | {
            "distance": distance,
            "by_chance": by_chance,
            "moved": distance > by_chance,
            "outside": share_outside(*columns),
        }
    return description


def share_outside(train: pa.ChunkedArray, test: pa.ChunkedArray, column: Column) -> float:
    """Compute the share of test values outside the training values, or of unseen categories."""
    present = drop_missing(test, column)
    if column.feature_type == "text" or not len(present):
        return 0.0
    if column.feature_type == "category":
        return 1 - float(is_among(present, train.unique()).mean())
    values, seen = numeric_values(present, column), numeric_values(train, column)
    if not len(seen):
        return 1.0
    return float(np.mean((values < seen.min()) | (values > seen.max())))


def outside_training(
    columns: Mapping[str, Mapping[str, Any]], attribution: Mapping[str, float]
) -> dict[str, float]:
    """Return the columns in which many test rows lie outside what training saw, and their share.

    Columns that hardly move the predictions are left out; the ones that move them most come first.

    Args:
        columns: What `describe_columns` returns.
        attribution: Share of attribution of each column.
    """
    shares = {
        name: columns[name]["outside"]
        for name, share in attribution.items()
        if share >= MIN_ATTRIBUTION and columns.get(name, {}).get("outside", 0) >= MIN_SHARE_OUTSIDE
    }
    return dict(sorted(shares.items(), key=lambda item: -attribution[item[0]]))


def histogram(train: pa.ChunkedArray, test: pa.ChunkedArray, column: Column) -> dict[str, Any]:
    """Count the rows in each bar of a picture, whose bars have `names` or lie between two numbers.

    The bars of numbers are equally wide; the first and the last one also hold what lies beyond.
    """
    tables = {"train": train, "test": test}
    content: dict[str, Any] = {
        "missing": {name: int(missing_mask(v, column).sum()) for name, v in tables.items()},
        "rows": {name: len(values) for name, values in tables.items()},
    }
    if column.feature_type == "category":
        bins = Bins.from_values(train, column, CATEGORIES)
        counts = {name: bins.counts(values)[:-1] for name, values in tables.items()}
        bars = len(bins.categories) + any(rows[-1] for rows in counts.values())  # with the others
        content["names"] = bins.names[:bars]
        return content | {name: rows[:bars].tolist() for name, rows in counts.items()}
    numbers = {name: numeric_values(values, column) for name, values in tables.items()}
    if not len(numbers["train"]):
        return content
    distinct = np.unique(numbers["train"])
    low, high = np.quantile(numbers["train"], PICTURED_QUANTILES, method="nearest")
    if low == high:
        low, high = distinct[0], distinct[-1]
    if len(distinct) <= BARS:
        edges = (distinct[1:] + distinct[:-1]) / 2
        content["names"] = [format_value(value, column) for value in distinct]
    else:
        edges = np.linspace(low, high, BARS + 1)[1:-1]
        content |= {"from": float(low), "to": float(high)}
    for name, values in numbers.items():
        places = np.searchsorted(edges, values, side="right")
        content[name] = np.bincount(places, minlength=len(edges) + 1).tolist()
    return content
