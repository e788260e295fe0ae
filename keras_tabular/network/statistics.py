"""Statistics of the training rows that the preprocessing is built from."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Column, Schema, part_name
from keras_tabular.config.sections import ResolvedTrain, Train
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.network import dates, texts
from keras_tabular.network.backend import keras
from keras_tabular.network.texts import Vocabulary
from keras_tabular.table.profile import Summary, most_frequent, numeric_values

# Reads the parts of a table, with some of its columns; None stands for all of them.
ReadParts = Callable[[list[str] | None], Iterable[pa.Table]]
SCALED_AS = {"standard": "standardised", "min_max": "scaled to 0 to 1", "none": "as it is"}


class Scaling(NamedTuple):
    """Scaling of a number column: (value - shift) / scale, with `fill` for a missing value."""

    fill: float
    shift: float
    scale: float

    @classmethod
    def from_summary(cls, summary: Summary, normalization: str, fill: float = 0.0) -> Self:
        """Build the scaling by `train.normalization`; a constant column is only shifted."""
        width = summary.max - summary.min
        if normalization == "standard":
            scale = math.sqrt(summary.variance) if width else 0.0
            return cls(fill, summary.mean, scale or 1.0)
        if normalization == "min_max":
            return cls(fill, summary.min, width or 1.0)
        return cls(fill, 0.0, 1.0)


class Date(NamedTuple):
    """How a datetime column becomes number columns.

    Attributes:
        fill: Datetime that stands for a missing value, in seconds.
        first: First day of the training rows, in seconds.
        parts: Names of the results of `dates.compute_parts` that vary in the training rows.
    """

    fill: float
    first: float
    parts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
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

    scalings: dict[str, Scaling] = field(default_factory=dict)
    dates: dict[str, Date] = field(default_factory=dict)
    texts: dict[str, Vocabulary] = field(default_factory=dict)
    vocabularies: dict[str, list[str]] = field(default_factory=dict)
    columns_with_missing: set[str]
    target: Scaling
    target_range: tuple[float, float]

    def one_hot_size(self, name: str) -> int:
        """Return the number of one-hot columns of a category column."""
        return len(self.vocabularies[name]) + (name in self.columns_with_missing)

    @property
    def one_hot_order(self) -> list[str]:
        """Names of category columns; those with most one-hot columns, which are looked up, last."""
        return sorted(self.vocabularies, key=self.one_hot_size)


def adapt(read_parts: ReadParts, schema: Schema, train: Train) -> Statistics:
    """Compute the statistics of the training rows.

    Not all rows have to fit into memory: a pass over the parts summarizes all columns, then one
    column is read at a time.

    Args:
        read_parts: Reads the parts of the training rows.

    Raises:
        UserError: A column has no value, or it has missing values that `train.imputation` does not
            fill.
    """
    summaries, part_scalings = summarize_parts(read_parts, schema, train), dict[str, Scaling]()
    target = summaries[schema.target]
    statistics = Statistics(
        columns_with_missing={name for name in schema.features if summaries[name].missing},
        target=Scaling.from_summary(target, "none" if schema.classes else "standard"),
        target_range=(target.min, target.max),
    )
    for name, column in schema.features.items():
        summary, parts = summaries[name], read_parts([name])
        match column.feature_type:
            case "number":
                fill = summary.mean
                if train.imputation == "median":
                    values = pa.concat_tables(parts)[name]
                    fill = float(np.median(numeric_values(values, column)))
                scaling = Scaling.from_summary(summary, train.normalization, fill)
                statistics.scalings[name] = scaling
            case "datetime":
                first = summary.min // dates.SECONDS_PER_DAY * dates.SECONDS_PER_DAY
                by_part = summarize_dates(parts, column, first)
                varying = [p for p in by_part if by_part[p].max > by_part[p].min] or ["time"]
                statistics.dates[name] = Date(round(summary.mean), first, tuple(varying))
                for part in varying:
                    scaling = Scaling.from_summary(by_part[part], train.normalization)
                    part_scalings[part_name(name, part)] = scaling
            case "category":
                counts = most_frequent(pa.concat_tables(parts)[name].drop_null())
                frequent = counts[: train.max_categories]
                statistics.vocabularies[name] = sorted(category for category, _ in frequent)
            case "text":
                cells = texts.read_texts(parts, name, train.text_length)
                vocabulary = texts.fit_vocabulary(cells, train.max_tokens, train.text_length)
                statistics.texts[name] = vocabulary
    statistics.scalings.update(part_scalings)  # after all number columns
    return statistics


def summarize_parts(read_parts: ReadParts, schema: Schema, train: Train) -> dict[str, Summary]:
    """Summarize the features and the target, and refuse what `adapt` does."""
    columns = {name: column for name, column in schema.columns.items() if name not in schema.ignore}
    summaries = dict.fromkeys(columns, Summary())
    for part in read_parts(None):
        for name, column in columns.items():
            summaries[name] = summaries[name].merge(Summary.from_column(part[name], column))
            needs_filling = name in schema.features and not column.is_string
            if train.imputation == "none" and needs_filling and summaries[name].missing:
                problem = f"column {name} has missing values, but train.imputation is none"
                advice = "Set train.imputation to mean or median."
                if column.sentinels:
                    values = format_list(map(str, column.sentinels))
                    advice += f" In data/schema.yaml, its missing_values are {values}."
                raise UserError(f"{problem}. {advice}")
    for name, summary in summaries.items():
        if not summary.count:
            problem = f"column {name} has no value in any training row"
            raise UserError(f"{problem}. Remove it from columns in data/schema.yaml.")
    return summaries


def summarize_dates(parts: Iterable[pa.Table], column: Column, first: float) -> dict[str, Summary]:
    """Summarize each of the `dates.compute_parts` of a datetime column, which is read alone."""
    summaries = defaultdict[str, Summary](Summary)
    for table in parts:
        seconds = numeric_values(table[0], column)[:, None]
        if len(seconds):
            tensor = keras.ops.convert_to_tensor(seconds)
            for part, value in dates.compute_parts(tensor, column.timezone, first).items():
                summary = Summary.from_numbers(np.asarray(value)[:, 0])
                summaries[part] = summaries[part].merge(summary)
    return summaries


def describe_steps(statistics: Statistics, schema: Schema, train: ResolvedTrain) -> dict[str, str]:
    """Describe in words what the model does with each column."""
    scaled_as, descriptions = SCALED_AS[train.normalization], {}
    embeddings = {m.network: train.networks[m.network].embedding for m in train.members}
    bins = [f"up to {e.bins} bins in {network}" for network, e in embeddings.items() if e]
    for name, column in schema.features.items():
        has_missing = name in statistics.columns_with_missing
        match column.feature_type:
            case "category":
                steps = [f"one-hot of {len(statistics.vocabularies[name])} categories"]
            case "text":
                steps = ["words and character runs, weighted by what they say of the target"]
            case "datetime":
                steps = [f"{', '.join(statistics.dates[name].parts)}, {scaled_as}", *bins]
            case "number":
                steps = [scaled_as, *bins]
                if has_missing and train.imputation != "none":
                    steps.insert(1, f"gaps become {statistics.scalings[name].fill:.5g}")
        if has_missing and (column.is_string or train.missing_indicators):
            steps.append("an input says where gaps are")
        descriptions[name] = "; ".join(steps)
    return descriptions
