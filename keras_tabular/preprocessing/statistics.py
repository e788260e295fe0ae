"""Statistics of the training rows that the preprocessing is built from."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Column, Schema
from keras_tabular.config.sections import ResolvedTrain, Train
from keras_tabular.core.errors import UserError
from keras_tabular.model_file.bins import drop_missing, most_frequent, numeric_values
from keras_tabular.networks.backend import keras
from keras_tabular.preprocessing import dates, texts
from keras_tabular.table.profile import Summary

# Reads the parts of a table, with some of its columns; None stands for all of them.
ReadParts = Callable[[list[str] | None], Iterable[pa.Table]]


@dataclass(frozen=True)
class Scaling:
    """How a number column is scaled: (value - shift) / scale, with `fill` for a missing value."""

    fill: float
    shift: float
    scale: float


@dataclass(frozen=True)
class Date:
    """How a datetime column becomes number columns.

    Attributes:
        fill: Datetime that stands for a missing value, in seconds.
        first: First day of the training rows, in seconds.
        parts: Names of the results of `dates.parts` that vary in the training rows.
    """

    fill: float
    first: float
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Statistics:
    """Statistics of the training rows by column.

    Attributes:
        scalings: Scaling of each number column, and of each part of a date by `part_name`.
        dates: How each datetime column becomes number columns.
        texts: Vocabulary of each text column.
        vocabularies: The most frequent categories of each category column, in alphabetical order.
        columns_with_missing: Columns that have missing values.
        target: Scaling of the target of a regression.
        target_range: Lowest and highest value of the target of a regression.
    """

    scalings: dict[str, Scaling]
    dates: dict[str, Date]
    texts: dict[str, texts.Vocabulary]
    vocabularies: dict[str, list[str]]
    columns_with_missing: set[str]
    target: Scaling
    target_range: tuple[float, float]


def adapt(read_parts: ReadParts, schema: Schema, train: Train) -> Statistics:
    """Compute the statistics of the training rows.

    Not all rows have to fit into memory: a pass over the parts summarizes all columns, then one
    column is read at a time.

    Args:
        read_parts: Reads the parts of the training rows.

    Raises:
        UserError: A column has no value, or it has gaps and nothing says how to fill them.
    """
    summaries = summarize_parts(read_parts, schema, train)
    scalings, part_scalings = dict[str, Scaling](), dict[str, Scaling]()
    date_columns, vocabularies = dict[str, Date](), dict[str, list[str]]()
    text_vocabularies = dict[str, texts.Vocabulary]()
    for name, column in schema.features.items():
        summary, length = summaries[name], train.text_length
        match column.feature_type:
            case "number":
                fill = summary.mean
                if train.imputation == "median":
                    fill = float(np.median(numeric_values(_read(read_parts, name), column)))
                scalings[name] = scaling(summary, train.normalization, fill)
            case "datetime":
                first = summary.min // dates.DAY * dates.DAY
                of_parts = summarize_dates(read_parts([name]), name, column, first)
                varying = [part for part, s in of_parts.items() if s.max > s.min] or ["time"]
                date_columns[name] = Date(round(summary.mean), first, tuple(varying))
                for part in varying:
                    scaled = scaling(of_parts[part], train.normalization)
                    part_scalings[part_name(name, part)] = scaled
            case "category":
                counts = most_frequent(drop_missing(_read(read_parts, name), column))
                frequent = counts[: train.max_categories]
                vocabularies[name] = sorted(category for category, _ in frequent)
            case "text":
                cells = texts.read_texts(read_parts([name]), name, length)
                text_vocabularies[name] = texts.fit_vocabulary(cells, train.max_tokens, length)
    target = summaries[schema.target]
    return Statistics(
        scalings=scalings | part_scalings,
        dates=date_columns,
        texts=text_vocabularies,
        vocabularies=vocabularies,
        columns_with_missing={name for name in schema.features if summaries[name].missing},
        target=scaling(target, "standard") if schema.task == "regression" else Scaling(0, 0, 1),
        target_range=(target.min, target.max),
    )


def summarize_parts(read_parts: ReadParts, schema: Schema, train: Train) -> dict[str, Summary]:
    """Summarize each column.

    Raises:
        UserError: See `adapt`.
    """
    columns = {name: column for name, column in schema.columns.items() if name not in schema.ignore}
    summaries = dict.fromkeys(columns, Summary())
    for part in read_parts(None):
        for name, column in columns.items():
            summaries[name] = summaries[name].merge(Summary.from_column(part[name], column))
            is_filled = name in schema.features and not column.is_string
            if train.imputation == "none" and is_filled and part[name].null_count:
                raise UserError(
                    f"column {name} has empty cells in the training rows and train.imputation is "
                    "none; set it to mean or median"
                )
    for name, summary in summaries.items():
        if not summary.count:
            raise UserError(
                f"column {name} is empty in every training row; take it out of columns in "
                "data/schema.yaml"
            )
    return summaries


def _read(read_parts: ReadParts, name: str) -> pa.ChunkedArray:
    return pa.concat_tables(read_parts([name]))[name]


def summarize_dates(
    parts: Iterable[pa.Table], name: str, column: Column, first: float
) -> dict[str, Summary]:
    """Summarize each part of a datetime column, see `dates.parts`."""
    summaries = defaultdict[str, Summary](Summary)
    for table in parts:
        seconds = numeric_values(table[name], column)[:, None]
        if len(seconds):
            values = dates.parts(keras.ops.convert_to_tensor(seconds), column.timezone, first)
            for part, value in values.items():
                summary = Summary.from_numbers(np.asarray(value)[:, 0])
                summaries[part] = summaries[part].merge(summary)
    return summaries


def part_name(name: str, part: str) -> str:
    """Return the name of a part of a datetime column, which no column of a table can have."""
    return f"{name}\x1f{part}"


def scaling(summary: Summary, normalization: str, fill: float = 0.0) -> Scaling:
    """Return the scaling of a column by `train.normalization`; a constant one is only shifted."""
    width = summary.max - summary.min
    shift, scale = 0.0, 1.0
    if normalization == "standard":
        shift, scale = summary.mean, math.sqrt(summary.variance) if width else 0.0
    elif normalization == "min_max":
        shift, scale = summary.min, width
    return Scaling(fill, shift, scale or 1.0)


def describe_preprocessing(
    statistics: Statistics, schema: Schema, train: ResolvedTrain
) -> dict[str, str]:
    """Describe in words what the model does with each column."""
    scaled = {"standard": "standardised", "min_max": "scaled to 0 to 1"}
    scaled_as = scaled.get(train.normalization, "as it is")
    embeddings = {
        members.network: train.networks[members.network].embedding for members in train.members
    }
    bins = [f"up to {e.bins} bins in {network}" for network, e in embeddings.items() if e]
    descriptions = {}
    for name, column in schema.features.items():
        has_gaps = name in statistics.columns_with_missing
        match column.feature_type:
            case "category":
                steps = [f"one-hot of {len(statistics.vocabularies[name])} categories"]
            case "text":
                steps = ["words and character runs, weighted by what they say of the target"]
            case "datetime":
                steps = [f"{', '.join(statistics.dates[name].parts)}, {scaled_as}", *bins]
            case "number":
                steps = [scaled_as, *bins]
                if has_gaps and train.imputation != "none":
                    steps.insert(1, f"gaps become {statistics.scalings[name].fill:.5g}")
        if has_gaps and (column.is_string or train.missing_indicators):
            steps.append("an input says where gaps are")
        descriptions[name] = "; ".join(steps)
    return descriptions
