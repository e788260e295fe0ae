"""The sections of `params.yaml` but `train`: policies, the split, what is scored and searched."""

import math
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self, assert_never

from pydantic import BeforeValidator, Field, model_validator

from tabular.config.typed_yaml import Count, Section, Seed, Share, Value
from tabular.core.metrics import flatten


class Ingest(Section):
    """How a table is cut into Parquet parts, here and by split."""

    rows_per_part: Count = 500_000


Policy = Literal["error", "warn"]
RowPolicy = Literal["error", "drop", "warn"]


class Validate(Section):
    """What a failed check does: `error` stops, `drop` sets the rows aside, `warn` records it."""

    missing: RowPolicy = "error"
    missing_target: RowPolicy = "drop"
    range: RowPolicy = "error"
    values: RowPolicy = "error"
    unique: RowPolicy = "error"
    duplicate_rows: RowPolicy = "warn"
    constant_column: Policy = "warn"
    empty_column: Policy = "error"
    leak: Policy = "error"
    rare_class: Policy = "error"
    min_class_rows: Count = 5


SplitRule = Literal["random", "hash", "group", "time", "column", "file"]


class Split(Section):
    """How the rows are split: by what, the shares, and the seed of a draw or a hash."""

    by: SplitRule = "random"
    test_size: Share
    validation_size: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
    stratify: bool = False
    equal_rows: Literal["auto", "together", "drawn"] = "auto"

    @property
    def role(self) -> str | None:
        """The key of the schema that names the column of the rule; None where it needs none."""
        match self.by:
            case "group" | "time":
                return self.by
            case "column":
                return "split"
            case "random" | "hash" | "file":
                return None
        assert_never(self.by)


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
            high = math.nextafter(_seconds(high) + DAY, -math.inf)
        return low, high

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.ends[0] > self.ends[1]:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


DAY = 86_400  # seconds


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


def _by_dotted_key(limits: Any) -> Any:
    """`{test: {accuracy: 0.7}}` as `{test.accuracy: 0.7}`."""
    return dict(flatten(limits)) if isinstance(limits, dict) else limits


Limits = Annotated[dict[str, float], BeforeValidator(_by_dotted_key)]


class Gate(Section):
    """What a run has to hold to be accepted; the limits are by key of the metrics."""

    lowest: Limits = Field(default_factory=dict)
    highest: Limits = Field(default_factory=dict)
    worse_than_last: Limits = Field(default_factory=dict)
    beat_baselines: tuple[Literal["constant", "linear", "boosted"], ...] = ()


class Drift(Section):
    """From where on new rows are no longer as the training rows, and what that does."""

    distance: Share = 0.1
    importance: Share = 0.02
    policy: Literal["error", "warn"] = "error"


class Candidates(Section):
    """What a search tries for one key of `train`: a list of values, or all from `low` to `high`."""

    values: tuple[Any, ...] | None = None
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_a_list(cls, found: Any) -> Any:
        if not isinstance(found, list | tuple | dict):
            raise ValueError("expected a list of values, or low and high")
        return {"values": found} if isinstance(found, list | tuple) else found

    @model_validator(mode="after")
    def _one_way_or_the_other(self) -> Self:
        if (self.values is None) != (self.low is not None and self.high is not None):
            raise ValueError("expected a list of values, or low and high")
        if self.values is not None and (not self.values or self.low is not None or self.log):
            raise ValueError("expected a list of one value or more, without low, high and log")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError("expected low below high")
        if self.log and self.low is not None and self.low <= 0:
            raise ValueError("expected low above 0 where log is true")
        return self

    @property
    def limits(self) -> tuple[Any, ...]:
        """All values of a list; the two ends of a range."""
        return (self.low, self.high) if self.values is None else self.values


class Search(Section):
    """What a search tries, and by which score it chooses."""

    trials: Count = 30
    round: Count = 1
    seed: Seed = 1
    score: str = "loss"
    folds: Annotated[int, Field(strict=True, ge=2)] | None = None
    space: dict[str, Candidates]
