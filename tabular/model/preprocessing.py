"""Preprocessing of raw columns as Keras layers, adapted to the training rows."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.errors import UserError
from tabular.model.backend import keras
from tabular.params.train import Train
from tabular.schema import Column, Schema, input_name
from tabular.table.arrays import INPUT_TYPES
from tabular.table.cells import is_missing
from tabular.table.summary import Summary

Parts = Callable[[], Iterable[pa.Table]]


@dataclass(frozen=True)
class Scaling:
    """What becomes of the value of a number column: gaps filled, `shift` taken away, divided."""

    fill: float
    shift: float
    scale: float


@dataclass(frozen=True)
class Statistics:
    """What the preprocessing takes from the training rows, by column."""

    scalings: dict[str, Scaling]
    vocabularies: dict[str, list[str]]
    encoded: dict[str, list[str]]  # all categories of the columns that get target statistics
    with_gaps: set[str]
    target: Scaling
    target_range: tuple[float, float]

    @property
    def categories(self) -> dict[str, list[str]]:
        """What each category column holds in the training rows, but rare ones that none encodes."""
        return {n: self.encoded.get(n, known) for n, known in self.vocabularies.items()}


def adapt(parts: Parts, schema: Schema, train: Train) -> Statistics:
    """Statistics of the training rows, a part at a time (a median: a column at a time).

    Raises:
        UserError: a column has no value, or it has gaps and nothing says how to fill them.
    """
    numbers = {name: c for name, c in schema.features.items() if c.kind != "category"}
    summaries = dict.fromkeys(schema.columns, Summary())
    counts = {name: Counter[str]() for name in schema.features if name not in numbers}
    for part in parts():
        for name, column in schema.columns.items():
            summaries[name] = summaries[name].merge(Summary.of(part[name], column))
            if train.imputation == "none" and name in numbers and part[name].null_count:
                raise UserError(
                    f"column {name} has empty cells in the training rows and train.imputation is "
                    "none; set it to mean or median"
                )
        for name in counts:
            counts[name] += count_categories(part[name], schema.columns[name])
    for name, summary in summaries.items():
        if not summary.count:
            raise UserError(
                f"column {name} is empty in every training row; take it out of columns in "
                "data/schema.yaml"
            )
    target = summaries[schema.target]
    return Statistics(
        scalings={
            name: Scaling(
                fill=median(parts, name, column)
                if train.imputation == "median"
                else summaries[name].mean,
                shift={"standard": summaries[name].mean, "min_max": summaries[name].min}.get(
                    train.normalization, 0.0
                ),
                scale=scale(summaries[name], train.normalization),
            )
            for name, column in numbers.items()
        },
        vocabularies={name: vocabulary(found, train) for name, found in counts.items()},
        encoded={
            name: sorted(found)
            for name, found in counts.items()
            if train.target_statistics and len(found) >= train.target_statistics
        },
        with_gaps={name for name in schema.features if summaries[name].missing},
        target=Scaling(fill=0.0, shift=target.mean, scale=scale(target, "standard"))
        if schema.task == "regression"
        else Scaling(fill=0.0, shift=0.0, scale=1.0),
        target_range=(target.min, target.max),
    )


def scale(summary: Summary, normalization: str) -> float:
    """The width that becomes 1; a constant column is not scaled."""
    widths = {"standard": summary.variance**0.5, "min_max": summary.max - summary.min}
    return widths.get(normalization, 1.0) or 1.0


def median(parts: Parts, name: str, column: Column) -> float:
    """The median of the values of one column that are not missing."""
    present = [
        part[name]
        .filter(pc.invert(is_missing(part[name], column)))
        .cast(pa.float64(), safe=False)
        .to_numpy()
        for part in parts()
    ]
    return float(np.median(np.concatenate(present)))


def count_categories(values: pa.ChunkedArray, column: Column) -> Counter[str]:
    present = values.filter(pc.invert(is_missing(values, column)))
    return Counter({pair["values"]: pair["counts"] for pair in present.value_counts().to_pylist()})


def vocabulary(counts: Counter[str], train: Train) -> list[str]:
    """The most frequent categories, at most `train.max_categories`, in alphabetical order."""
    by_frequency = sorted(counts, key=lambda value: (-counts[value], value))
    return sorted(by_frequency[: train.max_categories])


def build(
    statistics: Statistics, schema: Schema, train: Train
) -> tuple[dict[str, keras.KerasTensor], list[keras.KerasTensor]]:
    """The preprocessing as a Keras model, called on the inputs of the model to be.

    It is a model within the model, so that a column may have the name of any layer.

    Returns:
        The inputs by `input_name` of the column, each of shape (rows, 1): text for a category
        ("" is missing), else float64 in the column's own units (NaN is missing); and the
        preprocessed columns, float32, (rows, width), those of numbers first; and where there are
        columns with target statistics their categories, int32, (rows, columns): 0 for one that
        training never saw, then `Statistics.encoded`, then a gap.
    """
    within_names = {name: f"column {n}" for n, name in enumerate(schema.features, start=1)}

    def inputs(names: dict[str, str]) -> dict[str, keras.KerasTensor]:
        return {
            column: keras.Input((1,), name=name, dtype=INPUT_TYPES[schema.columns[column].kind])
            for column, name in names.items()
        }

    within = inputs(within_names)
    parts = scaled_numbers(within, statistics, schema, train) if statistics.scalings else []
    parts += [
        one_hot_category(within[name], known, name in statistics.with_gaps, schema.columns[name])
        for name, known in statistics.vocabularies.items()
    ]
    outputs = [parts[0] if len(parts) == 1 else keras.layers.Concatenate()(parts)]
    if statistics.encoded:
        lookups = [
            keras.layers.StringLookup(vocabulary=[*known, "", *schema.columns[name].sentinels])
            for name, known in statistics.encoded.items()
        ]
        codes = [
            keras.ops.minimum(lookup(within[name]), len(known) + 1)
            for lookup, (name, known) in zip(lookups, statistics.encoded.items(), strict=True)
        ]
        codes = codes[0] if len(codes) == 1 else keras.layers.Concatenate()(codes)
        outputs.append(keras.ops.cast(codes, "int32"))
    preprocessing = keras.Model(
        {within_names[name]: tensor for name, tensor in within.items()},
        outputs,
        name="preprocessing",
    )
    raw = inputs({name: input_name(name) for name in schema.features})
    return (
        {input_name(name): tensor for name, tensor in raw.items()},
        keras.tree.flatten(preprocessing({within_names[name]: raw[name] for name in raw})),
    )


def scaled_numbers(
    inputs: dict[str, keras.KerasTensor], statistics: Statistics, schema: Schema, train: Train
) -> list[keras.KerasTensor]:
    """All number columns side by side, and a 0/1 column for each one that has gaps."""
    ops = keras.ops
    names = list(statistics.scalings)
    fill, shift, scales = (
        np.array([getattr(scaling, key) for scaling in statistics.scalings.values()])
        for key in ("fill", "shift", "scale")
    )
    columns = [inputs[name] for name in names]
    numbers = columns[0]
    if len(columns) > 1:
        numbers = keras.layers.Concatenate(dtype="float64")(columns)
    missing = ops.isnan(numbers)
    for sentinel in sorted({float(m) for name in names for m in schema.columns[name].sentinels}):
        marked = np.array([sentinel in schema.columns[name].sentinels for name in names])
        missing = ops.logical_or(missing, ops.logical_and(ops.equal(numbers, sentinel), marked))
    if train.imputation != "none":
        numbers = ops.where(missing, fill, numbers)
    if train.normalization != "none":
        numbers = keras.layers.Normalization(
            dtype="float64", mean=shift, variance=np.square(scales)
        )(numbers)
    preprocessed = [ops.cast(numbers, "float32")]
    gaps = [index for index, name in enumerate(names) if name in statistics.with_gaps]
    if train.missing_indicators and gaps:
        preprocessed.append(ops.cast(ops.take(missing, np.array(gaps), axis=1), "float32"))
    return preprocessed


def one_hot_category(
    text: keras.KerasTensor, known: list[str], with_gaps: bool, column: Column
) -> keras.KerasTensor:
    """A 0/1 column for each known category, and one for a gap where training had gaps.

    A category that training never saw gets zeros.
    """
    ops = keras.ops
    lookup = keras.layers.StringLookup(vocabulary=[*known, "", *column.sentinels])
    # 0 is an unseen category, then come the known ones, then everything that means missing.
    position = ops.minimum(lookup(text), len(known) + 1)
    last = len(known) + (2 if with_gaps else 1)
    one_hot = ops.one_hot(ops.reshape(position, (-1,)), len(known) + 2)
    return one_hot[:, 1:last]
