"""What the preprocessing learns from the training rows, and the parts of a date."""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Column, Schema, part_name
from keras_tabular.config.sections import ResolvedTrain, Train
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.network import texts
from keras_tabular.network.backend import keras
from keras_tabular.network.texts import Vocabulary
from keras_tabular.table.cells import time_zone
from keras_tabular.table.profile import (
    SECONDS_PER_DAY,
    Summary,
    most_frequent,
    numeric_values,
)

ops = keras.ops

# Between these years, the model knows the changes of a time zone's offset.
FIRST_OFFSET_YEAR = 1900
LAST_OFFSET_YEAR = 2100
# Days from the first of March of year 0 to 1970, and from the first day of year 1.
DAYS_FROM_MARCH_OF_YEAR_0 = 719_468
DAYS_FROM_YEAR_1 = 719_162
PARTS_OF_DAYS = ("year", "month", "day", "day of the year", "weekday")
# Parts that begin again after their last value, and the number of their values.
PERIODS = {"month": 12, "weekday": 7, "time of day": 24 * 60}
# What `describe_steps` says of each `train.normalization`.
SCALED_AS = {
    "standard": "standardised",
    "min_max": "scaled to 0 to 1",
    "none": "as it is",
}
# Reads the parts of a table, with some of its columns; None stands for all of them.
ReadParts = Callable[[list[str] | None], Iterable[pa.Table]]


def compute_parts(
    seconds: Any,
    timezone: str | None,
    first: float,
) -> dict[str, Any]:
    """Compute the parts of datetimes.

    They are the `time` in days since `first`; `year`, `month` (from 1), `day` of the
    month and `day of the year` (from 1), `weekday` (from 0, a Monday) and the `time of
    day` in minutes, in the time zone.

    Args:
        seconds: Seconds since 1970 began, UTC, none of them missing: float64, shape
            (rows, 1).
        timezone: Name of the time zone; None for UTC.
        first: First day of the training rows, in seconds since 1970 began.

    Returns:
        Each part by its name: float64, shape (rows, 1).
    """
    timestamp = ops.cast(ops.floor(seconds), "int64")
    days_since_first = (seconds - first) * (1 / SECONDS_PER_DAY)
    if timezone:
        changes, offsets = zone_offsets(timezone)
        flat = ops.reshape(timestamp, (-1,))
        index = ops.searchsorted(changes, flat, side="right")
        offset = ops.take(offsets, index)
        timestamp += ops.reshape(offset, (-1, 1))
    days = timestamp // SECONDS_PER_DAY  # since 1970 began
    calendar = calendar_parts(days)
    calendar["time of day"] = (timestamp - days * SECONDS_PER_DAY) // 60
    parts = {"time": days_since_first}
    for name, part in calendar.items():
        parts[name] = ops.cast(part, "float64")
    return parts


def calendar_parts(days: Any) -> dict[str, Any]:
    """Compute the parts of dates from the days since 1970 began.

    The formulas are Hinnant's, "chrono-compatible low-level date algorithms" (2014).
    They count in eras of 400 years, and in years from March to February, so that a leap
    day is the last day.

    Args:
        days: Integers of any shape.

    Returns:
        Integers of this shape by the name of the part.

    Example:
        >>> calendar_parts(np.array([0, 19_782]))["day of the year"].tolist()
        [1, 60]
    """
    day_from_year_0 = days + DAYS_FROM_MARCH_OF_YEAR_0
    era = day_from_year_0 // 146_097
    day = day_from_year_0 - era * 146_097
    year_of_era = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day_from_march = day - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_from_march + 2) // 153
    is_next_year = month_from_march // 10  # 1 in January and February
    year = year_of_era + era * 400 + is_next_year
    last_year = year - 1
    new_year = (
        365 * last_year
        + last_year // 4
        - last_year // 100
        + last_year // 400
        - DAYS_FROM_YEAR_1
    )
    return {
        "year": year,
        "month": month_from_march + 3 - 12 * is_next_year,
        "day": day_from_march - (153 * month_from_march + 2) // 5 + 1,
        "day of the year": days - new_year + 1,
        "weekday": (days + 3) % 7,
    }


@cache
def zone_offsets(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Find the times when the offset of a time zone from UTC changes.

    Returns:
        When the offset changes, in seconds since 1970 began, UTC: int64, shape
        (changes,). The offset before the first change, between changes and after the
        last one, in seconds: int64, shape (changes + 1,).
    """
    zone = time_zone(name)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    def offset_at(seconds: int) -> int:
        local = (epoch + timedelta(seconds=seconds)).astimezone(zone)
        return round((local.utcoffset() or timedelta()).total_seconds())

    def is_after_change(seconds: int) -> bool:
        return offset_at(seconds) != offsets[-1]

    first = datetime(FIRST_OFFSET_YEAR, 1, 1, tzinfo=UTC) - epoch
    last = datetime(LAST_OFFSET_YEAR, 1, 1, tzinfo=UTC) - epoch
    changes = []
    offsets = [offset_at(first.days * SECONDS_PER_DAY)]
    for day in range(first.days, last.days):
        start = day * SECONDS_PER_DAY
        end = start + SECONDS_PER_DAY
        if is_after_change(end):
            # The first second of the day with another offset.
            second = bisect_left(range(start, end), True, key=is_after_change)
            changes.append(start + second)
            offsets.append(offset_at(end))
    return np.array(changes, np.int64), np.array(offsets)


def cyclic_encoding(part: Any, name: str) -> Any:
    """Compute sine and cosine of a part that begins again after its last value.

    They are looked up in a table, since a sine may differ from CPU to CPU.

    Args:
        part: Values of the part, shape (rows, 1).
        name: Key of the part in `PERIODS`.

    Returns:
        Float32, shape (rows, 2).
    """
    period = PERIODS[name]
    angles = 2 * np.pi * np.arange(period + 1) / period
    sines = np.sin(angles)
    cosines = np.cos(angles)
    circle = np.column_stack([sines, cosines])  # (period + 1, 2)
    table = circle.round(6).astype(np.float32)
    position = ops.cast(part, "int32")
    encoded = ops.take(table, position, axis=0)  # (rows, 1, 2)
    return ops.reshape(encoded, (-1, 2))


class Scaling(NamedTuple):
    """Scaling of a number column: (value - shift) / scale.

    Attributes:
        fill: Value that stands for a missing one.
        shift: Becomes 0.
        scale: Becomes 1, after the shift.
    """

    fill: float
    shift: float
    scale: float

    @classmethod
    def from_summary(
        cls,
        summary: Summary,
        normalization: str,
        fill: float = 0.0,
    ) -> Self:
        """Build the scaling by `train.normalization`.

        A constant column is only shifted.
        """
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
        parts: Names of the results of `compute_parts` that vary in the training rows.
    """

    fill: float
    first: float
    parts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics of the training rows by column.

    Attributes:
        scalings: Scaling of each number column, and of each part of a date by
            `part_name`.
        dates: How each datetime column becomes number columns.
        texts: Vocabulary of each text column.
        vocabularies: The most frequent categories of each category column, in
            alphabetical order.
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
        """Names of category columns, from the fewest to the most one-hot columns.

        So those that are looked up are neighbours.
        """
        return sorted(self.vocabularies, key=self.one_hot_size)


def adapt(read_parts: ReadParts, schema: Schema, train: Train) -> Statistics:
    """Compute the statistics of the training rows.

    Not all rows have to fit into memory: a pass over the parts summarizes all columns,
    then one column is read at a time.

    Args:
        read_parts: Reads the parts of the training rows.

    Raises:
        UserError: A column has no value, or it has missing values that
            `train.imputation` does not fill.
    """
    summaries = summarize_parts(read_parts, schema, train)
    target = summaries[schema.target]
    with_missing = {name for name in schema.features if summaries[name].missing}
    statistics = Statistics(
        columns_with_missing=with_missing,
        target=Scaling.from_summary(target, "none" if schema.classes else "standard"),
        target_range=(target.min, target.max),
    )
    date_names = []
    for name, column in schema.features.items():
        summary = summaries[name]
        parts = read_parts([name])
        match column.feature_type:
            case "number":
                fill = summary.mean
                if train.imputation == "median":
                    values = pa.concat_tables(parts)[name]
                    fill = float(np.median(numeric_values(values, column)))
                scaling = Scaling.from_summary(summary, train.normalization, fill)
                statistics.scalings[name] = scaling
            case "datetime":
                date_names.append(name)
            case "category":
                counts = most_frequent(pa.concat_tables(parts)[name].drop_null())
                frequent = counts[: train.max_categories]
                statistics.vocabularies[name] = sorted(word for word, _ in frequent)
            case "text":
                cells = texts.read_texts(parts, name, train.text_length)
                statistics.texts[name] = texts.fit_vocabulary(
                    cells,
                    train.max_tokens,
                    train.text_length,
                )
    # The scalings of number columns come before those of the parts of dates.
    for name in date_names:
        first = summaries[name].min // SECONDS_PER_DAY * SECONDS_PER_DAY
        parts = read_parts([name])
        by_part = summarize_dates(parts, schema.columns[name], first)
        varying = tuple(part for part, s in by_part.items() if s.max > s.min)
        varying = varying or ("time",)
        fill = round(summaries[name].mean)
        statistics.dates[name] = Date(fill, first, varying)
        for part in varying:
            scaling = Scaling.from_summary(by_part[part], train.normalization)
            statistics.scalings[part_name(name, part)] = scaling
    return statistics


def summarize_parts(
    read_parts: ReadParts,
    schema: Schema,
    train: Train,
) -> dict[str, Summary]:
    """Summarize the features and the target, and refuse what `adapt` does."""
    columns = {
        name: column
        for name, column in schema.columns.items()
        if name not in schema.ignore
    }
    summaries = {name: Summary() for name in columns}
    for part in read_parts(None):
        for name, column in columns.items():
            of_part = Summary.from_column(part[name], column)
            summaries[name] = summaries[name].merge(of_part)
            needs_filling = name in schema.features and not column.is_string
            if train.imputation == "none" and needs_filling and summaries[name].missing:
                message = (
                    f"column {name} has missing values, but train.imputation is none."
                    " Set train.imputation to mean or median."
                )
                if column.sentinels:
                    message += (
                        " In data/schema.yaml, its missing_values are"
                        f" {format_list(map(str, column.sentinels))}."
                    )
                raise UserError(message)
    for name, summary in summaries.items():
        if not summary.count:
            raise UserError(
                f"column {name} has no value in any training row. Remove it from"
                " columns in data/schema.yaml.",
            )
    return summaries


def summarize_dates(
    parts: Iterable[pa.Table],
    column: Column,
    first: float,
) -> dict[str, Summary]:
    """Summarize each of the `compute_parts` of a datetime column.

    Args:
        parts: Tables that have this column alone.
        column: The column of the schema.
        first: First day of the training rows, in seconds.
    """
    summaries = defaultdict[str, Summary](Summary)
    for table in parts:
        seconds = numeric_values(table[0], column)[:, None]
        if not len(seconds):
            continue
        tensor = ops.convert_to_tensor(seconds)  # (rows, 1)
        for part, value in compute_parts(tensor, column.timezone, first).items():
            summary = Summary.from_numbers(np.asarray(value)[:, 0])
            summaries[part] = summaries[part].merge(summary)
    return summaries


def describe_steps(
    statistics: Statistics,
    schema: Schema,
    train: ResolvedTrain,
) -> dict[str, str]:
    """Describe in words what the model does with each column."""
    scaled_as = SCALED_AS[train.normalization]
    bins = describe_bins(train)
    descriptions = {}
    for name, column in schema.features.items():
        has_missing = name in statistics.columns_with_missing
        match column.feature_type:
            case "category":
                steps = [f"one-hot of {len(statistics.vocabularies[name])} categories"]
            case "text":
                steps = [
                    "words and character runs, weighted by what they say of the target",
                ]
            case "datetime":
                parts = statistics.dates[name].parts
                steps = [f"{', '.join(parts)}, {scaled_as}", *bins]
                constant = ", ".join(p for p in PARTS_OF_DAYS if p not in parts)
                if constant:
                    steps.append(f"without {constant}: the same in all training rows")
            case "number":
                steps = [scaled_as, *bins]
                if has_missing and train.imputation != "none":
                    steps.insert(1, f"gaps become {statistics.scalings[name].fill:.5g}")
        if has_missing and (column.is_string or train.missing_indicators):
            steps.append("an input says where gaps are")
        descriptions[name] = "; ".join(steps)
    return descriptions


def describe_bins(train: ResolvedTrain) -> list[str]:
    """Describe how many bins a number has in each architecture that embeds numbers."""
    descriptions = []
    for name in dict.fromkeys(member.network for member in train.members):
        if embedding := train.networks[name].embedding:
            descriptions.append(f"up to {embedding.bins} bins in {name}")
    return descriptions
