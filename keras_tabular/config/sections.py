"""The sections of params.yaml, typed."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pydantic.types import JsonValue, NonNegativeFloat, PositiveFloat

from keras_tabular.config.schema import MAX_LENGTH
from keras_tabular.core.typed_yaml import (
    Count,
    Section,
    Seed,
    Share,
    Value,
    flatten,
    parse_section,
)
from keras_tabular.tasks.task import CostMatrix, Label, Task

ShareOrZero = Annotated[float, Field(ge=0, lt=1)]
CostsByClass = dict[Value, dict[Value, float]]  # by actual, then by predicted class
Auto = Literal["auto"]
# The names that Keras gives them. A test trains with each.
Activation = Literal[
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
]
Initializer = Literal[
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "random_normal",
    "random_uniform",
    "truncated_normal",
]
Optimizer = Literal[
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "ftrl",
    "lion",
    "nadam",
    "rmsprop",
    "sgd",
]
# Arguments of Keras's optimizers that change each weight by itself. A norm of all
# gradients, as for `global_clipnorm`, is a sum that depends on the CPU.
OptimizerArgument = Literal[
    "amsgrad",
    "beta_1",
    "beta_2",
    "centered",
    "clipvalue",
    "epsilon",
    "momentum",
    "nesterov",
    "rho",
]
SplitRule = Literal["auto", "random", "hash", "group", "time", "column", "file"]
# The keys of the schema that rules of the split need; `auto` takes the first one.
KEYS_OF_RULES = {
    "file": "test_files",
    "column": "split",
    "time": "time",
    "group": "group",
}
# What happens if a check of the table fails, see `Validate`.
Policy = Literal["error", "warn"]
RowPolicy = Literal["error", "drop", "warn"]


def rule_of_auto(schema: Mapping[str, Any]) -> str:
    """Return the rule of the split that `auto` stands for, by the keys of a schema."""
    rules = [rule for rule, key in KEYS_OF_RULES.items() if schema.get(key)]
    return [*rules, "random"][0]


class Costs(Section):
    """The costs of a false negative and a false positive."""

    false_negative: PositiveFloat
    false_positive: PositiveFloat


def _form_of_costs(costs: Any) -> str:
    """Return the form of costs, so that a mistake is explained for this form alone."""
    names = Costs.model_fields.keys()
    is_pair = isinstance(costs, Costs) or not names.isdisjoint(costs)
    return "pair" if is_pair else "matrix"


CostRule = Annotated[
    Annotated[Costs, Tag("pair")] | Annotated[CostsByClass, Tag("matrix")],
    Discriminator(_form_of_costs),
]


class ThresholdRule(Section):
    """How the threshold is chosen: by the one key that is not None.

    Attributes:
        best: The score to maximize.
        cost: The costs to minimize, of two classes or by actual and predicted class. A
            gain is a negative cost, and a cost that is left out is 0. With more than
            two classes, there is no threshold, and the class with the lowest expected
            cost is predicted.
        recall, precision: The smallest value that is accepted.
    """

    best: Literal["accuracy", "balanced_accuracy", "f1"] | None = None
    recall: Share | None = None
    precision: Share | None = None
    cost: CostRule | None = None

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError(
                "expected a number or one of best, recall, precision and cost",
            )
        return self

    def cost_matrix(self, classes: Sequence[Label]) -> CostMatrix:
        """Return the cost of each predicted class, by actual class.

        Args:
            classes: The classes in the order of the rows and columns of the matrix.
        """
        if isinstance(self.cost, Costs):
            return (0.0, self.cost.false_positive), (self.cost.false_negative, 0.0)
        costs_by_class = self.cost or {}
        matrix = []
        for actual in classes:
            costs = costs_by_class.get(actual, {})
            matrix.append(tuple(costs.get(predicted, 0.0) for predicted in classes))
        return tuple(matrix)


class EarlyStopping(Section):
    """Arguments of `keras.callbacks.EarlyStopping`."""

    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    patience: Count
    min_delta: NonNegativeFloat = 0.0
    restore_best_weights: bool = True


class Embedding(Section):
    """Piecewise-linear embedding of each number column, with bins at its quantiles."""

    bins: Annotated[Count, Field(le=1024)]
    units: Annotated[Count, Field(le=1024)]


class Network(Section):
    """The architecture of a network, and how it is trained.

    Attributes:
        options: Keys of its owner, which `build` in network.py reads.
    """

    robust_scaling: bool = False
    embedding: Embedding | Auto | None = None
    learnt_scale: bool = False
    units: tuple[Annotated[Count, Field(le=2**20)], ...]
    activation: Activation
    kernel_initializer: Initializer
    parametrization: Literal["standard", "ntk"] = "standard"
    l2: NonNegativeFloat = 0.0
    dropout: ShareOrZero | Auto = 0.0
    optimizer: Optimizer
    optimizer_arguments: dict[OptimizerArgument, bool | float] = Field(
        default_factory=dict,
    )
    weight_decay: NonNegativeFloat = 0.0
    learning_rate: PositiveFloat | Auto
    learning_rate_schedule: Literal["constant", "cosine", "cosine_restarts"] = (
        "constant"
    )
    epochs: Annotated[Count, Field(le=1_000_000)] | Auto
    batch_size: Annotated[Count, Field(le=2**30)] | Auto
    early_stopping: EarlyStopping | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def trains_in_cycles(self) -> bool:
        """Whether training proceeds in cycles of the learning rate, not in epochs."""
        return self.learning_rate_schedule == "cosine_restarts"


class Members(Section):
    """The number of networks of one architecture in each fold, with different seeds."""

    network: str
    count: Count = 1


class Train(Section):
    """How the model is trained."""

    seed: Seed
    imputation: Literal["mean", "median", "none"]
    missing_indicators: bool
    ignore: tuple[str, ...] = ()
    max_categories: Count = 200
    max_tokens: Annotated[Count, Field(ge=16, le=2**20)] = 2**15
    text_length: Annotated[Count, Field(ge=16, le=MAX_LENGTH)] = 512
    normalization: Literal["standard", "min_max", "none"]
    loss: str = "auto"
    class_weight: Literal["balanced"] | dict[Value, PositiveFloat] | None = None
    exact: bool = True
    folds: Count | Auto
    forward_chaining: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    members: tuple[Members, ...] | Auto
    networks: dict[str, Network]

    def with_values(self, changes: dict[str, Any]) -> Self:
        """Return a copy of the section with other values for some keys.

        Args:
            changes: The new values, by key.

        Raises:
            UserError: A key does not allow its value.
        """
        return parse_section(self.model_dump() | changes, type(self), "train")


class ResolvedNetwork(Network):
    """The section of a network after every `auto` was replaced by a value.

    Attributes:
        categories: Where the 0/1 columns of each category column begin and end in the
            last tensor that `build` gets.
    """

    categories: dict[str, tuple[int, int]] = Field(default_factory=dict, exclude=True)
    embedding: Embedding | None = None
    learning_rate: float
    epochs: int
    batch_size: int
    dropout: float


class ResolvedTrain(Train):
    """The section `train` after every `auto` was replaced by a value."""

    folds: int
    members: tuple[Members, ...]
    networks: dict[str, ResolvedNetwork]  # type: ignore[assignment]


class Ingest(Section):
    """The size of the Parquet files that the stages `ingest` and `split` write."""

    rows_per_file: Count = 500_000


class Validate(Section):
    """What happens if a check of the table fails.

    `error` stops the pipeline, `drop` moves the rows to data/rejected, `warn` records
    the failure.
    """

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


class Split(Section):
    """How the rows are split into training, validation and test rows."""

    by: SplitRule = "random"
    test_size: Share
    validation_size: ShareOrZero
    seed: Seed
    stratify: bool = False
    duplicates: Literal["auto", "together", "drawn"] = "auto"


class Range(Section):
    """The values from `low` to `high`, including both.

    Without `low` or `high`, the range is open at that end. One of them is required. The
    ends of a range of dates are days in UTC.
    """

    low: float | date | None = None
    high: float | date | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends as numbers: dates in seconds since 1970, open ends as infinity."""
        low = -math.inf if self.low is None else self.low
        if isinstance(low, date):
            low = datetime.combine(low, time.min, UTC).timestamp()
        high = math.inf if self.high is None else self.high
        if isinstance(high, date):
            high = datetime.combine(high, time.max, UTC).timestamp()
        return low, high

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("expected low, high or both, or a list of values")
        if self.ends[0] > self.ends[1]:
            raise ValueError("expected low below high")
        return self


Slice = dict[str, Range | tuple[Value, ...]]  # conditions by column


def _check_test_file(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.(csv|csv\.gz|xlsx|ods|parquet)", name):
        raise ValueError(
            "expected letters, digits, _ or -, then .csv, .csv.gz, .xlsx, .ods or"
            " .parquet",
        )
    return name


class Evaluate(Section):
    """How classes and intervals are predicted, and which rows have separate scores.

    Attributes:
        metric: The primary metric: `auto`, a key of `Task.metrics`, `cost`, or
            `custom.` and a name.
        tests: Files in data/tests. The name before the ending is the key of their
            scores.
        slices: Named sets of rows. The rows of a slice meet its condition for each
            column.
    """

    metric: str = "auto"
    threshold: Share | ThresholdRule = 0.5
    coverage: Share = 0.9
    tests: tuple[Annotated[str, AfterValidator(_check_test_file)], ...] = ()
    slices: dict[str, Slice] = Field(default_factory=dict)

    @property
    def threshold_rule(self) -> ThresholdRule | None:
        """The rule by which the threshold is chosen, if it is."""
        return self.threshold if isinstance(self.threshold, ThresholdRule) else None

    def costs(self, task: Task) -> CostMatrix | None:
        """Return the costs by which classes are predicted, if there are any."""
        rule = self.threshold_rule
        return rule.cost_matrix(task.classes) if rule and rule.cost else None


def _flatten_limits(limits: Any) -> Any:
    """Turn {test: {accuracy: 0.7}} into {test.accuracy: 0.7}."""
    return dict(flatten(limits)) if isinstance(limits, dict) else limits


Limits = Annotated[dict[str, float], BeforeValidator(_flatten_limits)]


class Gate(Section):
    """The conditions under which the gate accepts a run.

    Attributes:
        base: The run to compare with: `last`, or a revision such as `model#prod`.
        margin: Share of a baseline's loss by which the loss of the model may be higher.
        min_gain: Share of the best constant's score. A gain that is significantly
            smaller fails.
    """

    min: Limits = Field(default_factory=dict)
    max: Limits = Field(default_factory=dict)
    worse_than_base: Limits = Field(default_factory=dict)
    base: str = "last"
    beat_baselines: tuple[Literal["dummy", "linear", "gradient_boosting"], ...] = ()
    margin: Share | None = None
    min_gain: ShareOrZero = 0.05


class Drift(Section):
    """When the command `drift` reports that new rows differ from the training rows."""

    distance: Share = 0.1
    attribution: Share = 0.02
    policy: Policy = "error"
