"""The section `evaluate`."""

from datetime import date
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


Slice = dict[str, Range | tuple[Value, ...]]  # for each column its range, or its values


class Evaluate(Section):
    """How probabilities become classes, and which rows have scores of their own."""

    threshold: Share | Choice = 0.5
    slices: dict[str, Slice] = Field(default_factory=dict)
