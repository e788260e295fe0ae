"""The section `evaluate`."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tabular.typed_yaml import Section, Share, Value

Cost = Annotated[float, Field(gt=0)]


class Costs(Section):
    """What each kind of wrong answer costs; only their ratio matters."""

    false_negative: Cost
    false_positive: Cost


class Choice(Section):
    """By what a threshold is chosen: one of the keys."""

    best: Literal["accuracy", "balanced_accuracy", "f1"] | None = None
    recall: Share | None = None
    precision: Share | None = None
    cost: Costs | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError(f"expected a number or one of {', '.join(Choice.model_fields)}")
        return self


class Range(Section):
    """Values from `low` to `high`, both included; a moment is a day, in UTC."""

    low: float | date | None = None
    high: float | date | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends as a column measures them, moments in seconds; infinite where there is none."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if isinstance(low, date):
            low = _seconds(low)
        if isinstance(high, date):  # the day is in it to its end
            high = math.nextafter(_seconds(high + timedelta(days=1)), -math.inf)
        return low, high

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.ends[0] > self.ends[1]:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


def _seconds(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


Slice = dict[str, Range | tuple[Value, ...]]  # for each column its range, or its values


# A file of data/tests; what comes before the ending is its key among the scores.
Labelled = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.(csv|csv\.gz|parquet)$")]


class Evaluate(Section):
    """How probabilities become classes, how wide intervals are, which rows are scored apart."""

    threshold: Share | Choice = 0.5
    temperature: Literal["auto"] | Annotated[float, Field(ge=0.1, le=10)] = "auto"
    coverage: Share = 0.9
    tests: tuple[Labelled, ...] = ()
    slices: dict[str, Slice] = Field(default_factory=dict)
