"""What each column holds in the training and in the test rows, and how far these lie apart."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tabular.config.schema import Column, Schema
from tabular.inspection.bins import (
    Bins,
    drop_missing,
    format_value,
    is_among,
    missing_mask,
    numeric_values,
)
from tabular.inspection.sketch import Sketch, total_variation

BARS, CATEGORIES = 12, 6  # of a picture
MATTERS, MANY = 0.02, 0.1  # a share of the importance, of the test rows
EDGES = (0.005, 0.995)  # quantiles of the training rows, where the picture begins and ends


def describe_columns(train: pa.Table, test: pa.Table, schema: Schema) -> dict[str, Any]:
    """Each column that the model reads, and the target: what `metrics/columns.json` holds.

    See `sketch.total_variation`; a column has `moved` where it is further than by chance.
    """
    found = {}
    for name in (schema.target, *schema.features):
        of = (train[name], test[name], schema.columns[name])
        found[name] = histogram(*of) | column_shift(*of) | {"outside": share_outside(*of)}
    return found


def share_outside(train: pa.ChunkedArray, test: pa.ChunkedArray, column: Column) -> float:
    """The share of test values beyond the training values, or of categories not among them."""
    known = drop_missing(test, column)
    if column.feature_type == "text" or not len(known):
        return 0.0
    if column.feature_type == "category":
        return 1 - float(is_among(known, train.unique()).mean())
    values, seen = numeric_values(known, column), numeric_values(train, column)
    if not len(seen):
        return 1.0
    return float(np.mean((values < seen.min()) | (values > seen.max())))


def outside_training(
    columns: Mapping[str, Mapping[str, Any]], importance: Mapping[str, float]
) -> dict[str, float]:
    """The share of test rows outside of what training saw, by column; the most important first.

    Of columns that matter, where it is many; see `describe_columns`.
    """
    found = {
        name: columns[name]["outside"]
        for name, share in importance.items()
        if share >= MATTERS and columns.get(name, {}).get("outside", 0) >= MANY
    }
    return dict(sorted(found.items(), key=lambda of: -importance[of[0]]))


def column_shift(train: pa.ChunkedArray, test: pa.ChunkedArray, column: Column) -> dict[str, Any]:
    """How far the test rows of a column are from its training rows, and what chance would do."""
    histograms = Sketch.of(train, column).histograms.values()
    found = [total_variation(of.counts, of.bins.counts(test)) for of in histograms]
    most, limit = max(found, key=lambda of: of[0] - of[1])
    return {"distance": most, "by_chance": limit, "moved": most > limit}


def histogram(train: pa.ChunkedArray, test: pa.ChunkedArray, column: Column) -> dict[str, Any]:
    """The histogram of a column: `names` or `from` and `to`, and the rows in each bar.

    The bars of numbers are equally wide; the first and the last one hold what lies beyond.
    """
    tables = {"train": train, "test": test}
    found: dict[str, Any] = {
        "missing": {name: int(missing_mask(of, column).sum()) for name, of in tables.items()},
        "rows": {name: len(of) for name, of in tables.items()},
    }
    if column.feature_type == "category":
        bins = Bins.of(train, column, CATEGORIES)
        counts = {name: bins.counts(of).astype(int)[:-1] for name, of in tables.items()}
        shown = len(bins.categories) + any(of[-1] for of in counts.values())  # others too
        bars = {name: of[:shown].tolist() for name, of in counts.items()}
        return found | {"names": bins.names[:shown]} | bars
    values = {name: numeric_values(of, column) for name, of in tables.items()}
    if not len(values["train"]):
        return found
    different = np.unique(values["train"])
    low, high = np.quantile(values["train"], EDGES, method="nearest")
    if low == high:
        low, high = different[0], different[-1]
    if len(different) <= BARS:
        middles = (different[1:] + different[:-1]) / 2
        found["names"] = [format_value(value, column) for value in different]
    else:
        middles = np.linspace(low, high, BARS + 1)[1:-1]
        found |= {"from": float(low), "to": float(high)}
    for name, of_rows in values.items():
        places = np.searchsorted(middles, of_rows, side="right")
        found[name] = np.bincount(places, minlength=len(middles) + 1).tolist()
    return found
