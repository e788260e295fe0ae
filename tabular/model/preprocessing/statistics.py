"""What the preprocessing takes from the training rows."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.config.schema import Column, Schema
from tabular.config.sections import Resolved, Train
from tabular.core.errors import UserError
from tabular.model.backend import keras
from tabular.model.preprocessing import dates, texts
from tabular.table.cells import as_float64, is_missing
from tabular.table.profile import Summary

Parts = Callable[[], Iterable[pa.Table]]


@dataclass(frozen=True)
class Scaling:
    """What becomes of the value of a number column: gaps filled, `shift` taken away, divided."""

    fill: float
    shift: float
    scale: float


@dataclass(frozen=True)
class Date:
    """What becomes of a datetime column: gaps filled, then those `dates.parts` that vary."""

    fill: float
    first: float  # the first day of training, in seconds as the moments are
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Statistics:
    """What the preprocessing takes from the training rows, by column.

    Attributes:
        scalings: of the number columns, and of the parts of dates by `part_name`.
        vocabularies: the most frequent categories of a column, in alphabetical order.
    """

    scalings: dict[str, Scaling]
    dates: dict[str, Date]
    texts: dict[str, texts.Vocabulary]
    vocabularies: dict[str, list[str]]
    with_gaps: set[str]
    target: Scaling
    target_range: tuple[float, float]


def adapt(parts: Parts, schema: Schema, train: Train) -> Statistics:
    """Compute the statistics of the training rows a part at a time (a median: a column at a time).

    Raises:
        UserError: a column has no value, or it has gaps and nothing says how to fill them.
    """
    summaries, categories = summarise(parts, schema, train)
    scalings, part_scalings, dates_ = dict[str, Scaling](), dict[str, Scaling](), dict[str, Date]()
    for name, column in schema.features.items():
        summary = summaries[name]
        if column.feature_type == "number":
            fill = median(parts, name, column) if train.imputation == "median" else summary.mean
            scalings[name] = scaling(summary, train.normalization, fill)
        elif column.feature_type == "datetime":
            first = summary.min // dates.DAY * dates.DAY
            of_parts = summarise_dates(parts, name, column, first)
            varying = [part for part, s in of_parts.items() if s.max > s.min] or ["time"]
            dates_[name] = Date(round(summary.mean), first, tuple(varying))
            for part in varying:
                part_scalings[part_name(name, part)] = scaling(of_parts[part], train.normalization)
    target = summaries[schema.target]
    return Statistics(
        scalings=scalings | part_scalings,
        dates=dates_,
        texts={
            name: texts.fit_vocabulary(
                texts.read_texts(parts(), name, train.text_length),
                train.max_tokens,
                train.text_length,
            )
            for name, column in schema.features.items()
            if column.feature_type == "text"
        },
        vocabularies={
            name: most_frequent(counts, train.max_categories) for name, counts in categories.items()
        },
        with_gaps={name for name in schema.features if summaries[name].missing},
        target=scaling(target, "standard") if schema.task == "regression" else Scaling(0, 0, 1),
        target_range=(target.min, target.max),
    )


def summarise(
    parts: Parts, schema: Schema, train: Train
) -> tuple[dict[str, Summary], dict[str, Counter[str]]]:
    """Summarize each column, and count the values of each category column.

    Raises:
        UserError: see `adapt`.
    """
    columns = {name: column for name, column in schema.columns.items() if name not in schema.ignore}
    summaries = dict.fromkeys(columns, Summary())
    features = schema.features.items()
    categories = {n: Counter[str]() for n, column in features if column.feature_type == "category"}
    for part in parts():
        for name, column in columns.items():
            summaries[name] = summaries[name].merge(Summary.from_column(part[name], column))
            imputed = name in schema.features and not column.is_string
            if train.imputation == "none" and imputed and part[name].null_count:
                raise UserError(
                    f"column {name} has empty cells in the training rows and train.imputation is "
                    "none; set it to mean or median"
                )
        for name, counts in categories.items():
            is_present = pc.invert(is_missing(part[name], schema.columns[name]))
            for pair in part[name].filter(is_present).value_counts().to_pylist():
                counts[pair["values"]] += pair["counts"]
    for name, summary in summaries.items():
        if not summary.count:
            raise UserError(
                f"column {name} is empty in every training row; take it out of columns in "
                "data/schema.yaml"
            )
    return summaries, categories


def describe_preprocessing(
    statistics: Statistics, schema: Schema, train: Resolved
) -> dict[str, str]:
    """Describe in words what the model does with each column."""
    scaled = {"standard": "standardised", "min_max": "scaled to 0 to 1"}
    scaling_steps = [scaled.get(train.normalization, "as it is")]
    for name in dict.fromkeys(members.network for members in train.members):
        if embedding := train.networks[name].embedding:
            scaling_steps.append(f"up to {embedding.bins} bins in {name}")
    descriptions = {}
    for name, column in schema.features.items():
        gaps = name in statistics.with_gaps
        if column.feature_type == "category":
            steps = [f"one-hot of {len(statistics.vocabularies[name])} categories"]
        elif column.feature_type == "text":
            steps = ["words and character runs, weighted by what they say of the target"]
        elif column.feature_type == "datetime":
            first, *bins = scaling_steps
            steps = [f"{', '.join(statistics.dates[name].parts)}, {first}", *bins]
        else:
            steps = scaling_steps.copy()
            if gaps and train.imputation != "none":
                steps.insert(1, f"gaps become {statistics.scalings[name].fill:.5g}")
        if gaps and (column.is_string or train.missing_indicators):
            steps.append("an input says where gaps are")
        descriptions[name] = "; ".join(steps)
    return descriptions


def most_frequent(counts: Counter[str], most: int) -> list[str]:
    """Return the most frequent categories in alphabetical order, at most so many."""
    by_frequency = sorted(counts, key=lambda value: (-counts[value], value))
    return sorted(by_frequency[:most])


def part_name(name: str, part: str) -> str:
    """What a part of a datetime column is called, unlike any column."""
    return f"{name}\x1f{part}"


def summarise_dates(parts: Parts, name: str, column: Column, first: float) -> dict[str, Summary]:
    """Summarize each part of a datetime column, see `dates.parts`."""
    summaries: dict[str, Summary] = {}
    for part in parts():
        seconds = as_float64(part[name].drop_null(), column).to_numpy()[:, None]
        if len(seconds):
            values = dates.parts(keras.ops.convert_to_tensor(seconds), column.timezone, first)
            for key, value in values.items():
                summary = Summary.from_numbers(np.asarray(value)[:, 0])
                summaries[key] = summaries.get(key, Summary()).merge(summary)
    return summaries


def scaling(summary: Summary, normalization: str, fill: float = 0.0) -> Scaling:
    """What the normalization makes of a column; a constant one is not scaled."""
    shift = {"standard": summary.mean, "min_max": summary.min}.get(normalization, 0.0)
    width = summary.max - summary.min
    widths = {"standard": math.sqrt(summary.variance) if width else 0.0, "min_max": width}
    return Scaling(fill, shift, widths.get(normalization, 1.0) or 1.0)


def median(parts: Parts, name: str, column: Column) -> float:
    """The median of the values of one column that are not missing."""
    present = [
        as_float64(part[name].filter(pc.invert(is_missing(part[name], column))), column).to_numpy()
        for part in parts()
    ]
    return float(np.median(np.concatenate(present)))
