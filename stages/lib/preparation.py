"""Preparation of raw columns as Keras layers, learnt from the training rows."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.backend import keras
from stages.lib.params import Column, Data, Train
from stages.lib.stage import UserError
from stages.lib.summary import Summary
from stages.lib.table import is_missing

Parts = Callable[[], Iterable[pa.Table]]


@dataclass(frozen=True)
class Statistics:
    """What the preparation takes from the training rows: one value a column, float64.

    A missing value becomes `fill`; then `shift` is taken away and the rest divided by `scale`.
    """

    fill: np.ndarray
    shift: np.ndarray
    scale: np.ndarray
    has_gaps: np.ndarray


def learn(parts: Parts, data: Data, train: Train) -> Statistics:
    """Statistics of the training rows, a part at a time (a median: a column at a time).

    Raises:
        UserError: a column has no value, or it has gaps and nothing says how to fill them.
    """
    summaries = dict.fromkeys(data.features, Summary())
    for part in parts():
        for name, column in data.features.items():
            summaries[name] = summaries[name].merge(Summary.of(part[name], column))
            if train.imputation == "none" and part[name].null_count:
                raise UserError(
                    f"column {name} has empty cells in the training rows and train.imputation is "
                    "none; set it to mean or median"
                )
    for name, summary in summaries.items():
        if not summary.count:
            raise UserError(
                f"column {name} is empty in every training row; take it out of data.columns"
            )
    fill, shift, scale = [], [], []
    for name, s in summaries.items():
        match train.imputation:
            case "mean":
                fill.append(s.mean)
            case "median":
                fill.append(median(parts, name, data.columns[name]))
            case "none":
                fill.append(0.0)
        match train.normalization:
            case "standard":
                shift.append(s.mean)
                scale.append(s.variance**0.5)
            case "min_max":
                shift.append(s.min)
                scale.append(s.max - s.min)
            case "none":
                shift.append(0.0)
                scale.append(1.0)
    return Statistics(
        fill=np.array(fill),
        shift=np.array(shift),
        scale=np.array([value or 1.0 for value in scale]),  # a constant column stays near 0
        has_gaps=np.array([s.missing > 0 for s in summaries.values()]),
    )


def median(parts: Parts, name: str, column: Column) -> float:
    """The median of the values of one column that are not missing."""
    present = [
        part[name].filter(pc.invert(is_missing(part[name], column))).cast(pa.float64()).to_numpy()
        for part in parts()
    ]
    return float(np.median(np.concatenate(present)))


def prepare(statistics: Statistics, data: Data, train: Train) -> tuple[dict[str, Any], Any]:
    """The preparation as a graph of Keras layers and operations.

    Returns:
        The inputs by column name, each float64 of shape (rows, 1) and in the column's own units
        (NaN is missing), and the prepared float32 tensor of shape (rows, columns + indicators).
    """
    ops = keras.ops
    inputs = {name: keras.Input((1,), name=name, dtype="float64") for name in data.features}
    columns = list(inputs.values())
    raw = columns[0]
    if len(columns) > 1:
        raw = keras.layers.Concatenate(name="columns", dtype="float64")(columns)
    missing = ops.isnan(raw)
    markers = {float(v) for column in data.features.values() for v in column.missing_values}
    if train.imputation != "none":
        for marker in sorted(markers):
            marked = [marker in column.missing_values for column in data.features.values()]
            missing = ops.logical_or(
                missing, ops.logical_and(ops.equal(raw, marker), np.array(marked))
            )
        raw = ops.where(missing, statistics.fill, raw)
    if train.normalization != "none":
        raw = keras.layers.Normalization(
            name="normalization",
            dtype="float64",
            mean=statistics.shift,
            variance=np.square(statistics.scale),
        )(raw)
    prepared = ops.cast(raw, "float32")
    if train.missing_indicators and statistics.has_gaps.any():
        indicators = ops.take(missing, np.flatnonzero(statistics.has_gaps), axis=1)
        indicators = ops.cast(indicators, "float32")
        prepared = keras.layers.Concatenate(name="prepared")([prepared, indicators])
    return inputs, prepared
