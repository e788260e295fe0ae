"""The sections of `params.yaml`, in the words of Keras, scikit-learn and DVC."""

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import reduce
from operator import getitem
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from keras_tabular.config.schema import MAX_LENGTH
from keras_tabular.config.typed_yaml import Count, Section, Seed, Share, Value
from keras_tabular.core.nested import flatten

# Keras's own names; a test trains with each of them.
Activation = Literal[
    "celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign",
    "squareplus", "swish", "tanh", "tanh_shrink",
]  # fmt: skip
Initializer = Literal[
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal",
    "lecun_uniform", "random_normal", "random_uniform", "truncated_normal",
]  # fmt: skip
Optimizer = Literal[
    "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "ftrl", "lion",
    "nadam", "rmsprop", "sgd",
]  # fmt: skip
# The losses that fit each task; the first one is what `auto` means.
LOSSES = {
    "binary": ("binary_crossentropy", "binary_focal_crossentropy", "mean_squared_error"),
    "multiclass": ("sparse_categorical_crossentropy",),
    "regression": ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh"),
}
Auto = Literal["auto"]
NotNegative = Annotated[float, Field(ge=0)]


class EarlyStopping(Section):
    """Arguments of `keras.callbacks.EarlyStopping`."""

    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    patience: Count
    min_delta: NotNegative = 0.0
    restore_best_weights: bool = True


class Embedding(Section):
    """A piecewise-linear embedding of each number column."""

    bins: Annotated[Count, Field(le=1024)]
    units: Annotated[Count, Field(le=1024)]


class Network(Section):
    """One kind of network, and how it learns."""

    robust_scaling: bool = False
    embedding: Embedding | Auto | None = None
    learnt_scale: bool = False
    units: tuple[Annotated[Count, Field(le=2**20)], ...]
    activation: Activation
    kernel_initializer: Initializer
    parametrization: Literal["standard", "ntk"] = "standard"
    l2: NotNegative = 0.0
    dropout: Annotated[float, Field(ge=0, lt=1)] | Auto = 0.0
    optimizer: Optimizer
    weight_decay: NotNegative = 0.0
    learning_rate: Annotated[float, Field(gt=0)] | Auto
    learning_rate_schedule: Literal["constant", "cosine", "cosine_restarts"] = "constant"
    epochs: Annotated[Count, Field(le=1_000_000)] | Auto
    batch_size: Annotated[Count, Field(le=2**30)] | Auto
    early_stopping: EarlyStopping | None = None

    @property
    def trains_in_cycles(self) -> bool:
        """Whether a round of its training is a cycle of the learning rate, and not an epoch."""
        return self.learning_rate_schedule == "cosine_restarts"


class Members(Section):
    """Number of networks of one architecture for each fold, each with its own seed."""

    network: str
    count: Count = 1


class Train(Section):
    """What the saved model is made with."""

    seed: Seed
    imputation: Literal["mean", "median", "none"]
    missing_indicators: bool
    max_categories: Count = 200
    max_tokens: Annotated[int, Field(strict=True, ge=16, le=2**20)] = 2**15
    text_length: Annotated[int, Field(strict=True, ge=16, le=MAX_LENGTH)] = 512
    normalization: Literal["standard", "min_max", "none"]
    loss: str = "auto"
    class_weight: Literal["balanced"] | dict[Value, Annotated[float, Field(gt=0)]] | None = None
    exact: bool = True
    folds: Count | Auto
    forward_chaining: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    members: tuple[Members, ...] | Auto
    networks: dict[str, Network]

    def with_values(self, changes: dict[str, Any]) -> Self:
        """Return the section with other values for some dotted keys.

        Raises:
            ValidationError: A value is not one that its key may have.
        """
        content = self.model_dump()
        for key, value in changes.items():
            *path, last = key.split(".")
            reduce(getitem, path, content)[last] = value
        return self.model_validate(content)

    def value(self, key: str) -> Any:
        """The value of a dotted key."""
        return reduce(getitem, key.split("."), self.model_dump())

    def resolve_auto(
        self, rows: int, task: str, columns: int, possible_folds: Iterable[int] = range(2, 11)
    ) -> "ResolvedTrain":
        """Return the section with a value for every `auto`; only this method says what it means.

        The rules were chosen on 22 public tables, see docs/benchmarks.md.

        Args:
            rows: Number of training rows.
            columns: Number of columns that the model reads.
            possible_folds: Numbers of folds of which each fold has rows.
        """
        most_folds = 10 if rows <= 10_000 else 5 if rows <= 100_000 else 3
        regression, small = task == "regression", rows <= 2_500
        one_of_each = [{"network": name} for name in self.networks]
        two_of_the_first = [{"network": name, "count": 2} for name in self.networks][:1]
        wide = columns > 100
        batch_size = 128 if small else 64 if rows <= 10_000 else 256 if rows <= 50_000 else 1024
        content = self.model_dump()
        fill_auto(
            content,
            loss=LOSSES[task][0],
            folds=max((n for n in possible_folds if n <= most_folds), default=1),
            members=one_of_each if small else two_of_the_first,
        )
        for network in content["networks"].values():
            fill_auto(
                network,
                embedding=None if wide else {"bins": 48, "units": 8 if columns <= 20 else 4},
                dropout=0.3 if small else 0.1,
                learning_rate=(0.04 if regression else 0.02) / (2 if small else 1),
                batch_size=batch_size,
            )
            steps = 2_000 if wide or rows > 50_000 else 4_000  # six cycles, or seven
            size = min(network["batch_size"], rows)
            fill_auto(network, epochs=max(steps * size // rows, 16))
        return ResolvedTrain.model_validate(content)


def fill_auto(section: dict[str, Any], **rules: Any) -> None:
    """Put these values where a section says `auto`."""
    section.update({key: value for key, value in rules.items() if section.get(key) == "auto"})


class ResolvedNetwork(Network):
    """A network without `auto`."""

    embedding: Embedding | None = None
    learning_rate: float
    epochs: int
    batch_size: int
    dropout: float


class ResolvedTrain(Train):
    """The section without `auto`."""

    folds: int
    members: tuple[Members, ...]
    networks: dict[str, ResolvedNetwork]  # type: ignore[assignment]


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
    leak_threshold: Annotated[float, Field(gt=0, le=1)] = 0.99
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
        return {"group": "group", "time": "time", "column": "split"}.get(self.by)


Cost = Annotated[float, Field(gt=0)]


class Costs(Section):
    """What each kind of wrong answer costs; only their ratio matters."""

    false_negative: Cost
    false_positive: Cost


class ThresholdRule(Section):
    """What a threshold is chosen by: one of the keys."""

    best: Literal["accuracy", "balanced_accuracy", "f1"] | None = None
    recall: Share | None = None
    precision: Share | None = None
    cost: Costs | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError(f"expected a number or one of {', '.join(ThresholdRule.model_fields)}")
        return self


class Range(Section):
    """Values from `low` to `high`, both included; a timestamp is a day, in UTC."""

    low: float | date | None = None
    high: float | date | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends in the unit of the column, timestamps in seconds; infinite if there is none."""
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

    threshold: Share | ThresholdRule = 0.5
    temperature: Literal["auto"] | Annotated[float, Field(ge=0.1, le=10)] = "auto"
    coverage: Share = 0.9
    tests: tuple[Labelled, ...] = ()
    slices: dict[str, Slice] = Field(default_factory=dict)


# {test: {accuracy: 0.7}} is read as {test.accuracy: 0.7}.
Limits = Annotated[
    dict[str, float],
    BeforeValidator(lambda limits: dict(flatten(limits)) if isinstance(limits, dict) else limits),
]


class Gate(Section):
    """What a run has to hold to be accepted; the limits are by key of the metrics.

    `margin` is the share of a baseline's loss by which the model may be worse.
    """

    lowest: Limits = Field(default_factory=dict)
    highest: Limits = Field(default_factory=dict)
    worse_than_last: Limits = Field(default_factory=dict)
    beat_baselines: tuple[Literal["constant", "linear", "boosted"], ...] = ()
    margin: Share | None = None


class Drift(Section):
    """Limits beyond which new rows differ from the training rows, and what happens then."""

    distance: Share = 0.1
    attribution: Share = 0.02
    policy: Literal["error", "warn"] = "error"


class Candidates(Section):
    """What a search tries for one key of `train`: a list of values, or all from `low` to `high`."""

    values: tuple[Any, ...] | None = None
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_a_list(cls, content: Any) -> Any:
        return {"values": content} if isinstance(content, list | tuple) else content

    @model_validator(mode="after")
    def _one_way_or_the_other(self) -> Self:
        if not self.values and (self.low is None or self.high is None):
            raise ValueError("expected a list of one value or more, or low and high")
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
    seed: Seed = 1
    score: str = "loss"
    folds: Annotated[int, Field(strict=True, ge=2)] | None = None
    space: dict[str, Candidates]
