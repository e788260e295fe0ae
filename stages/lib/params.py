"""`params.yaml`: its sections, what each key may hold, and a clear answer to a wrong one."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from stages.lib.stage import UserError

Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]


def _share(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError("expected a number above 0 and below 1")
    return value


Share = Annotated[float, AfterValidator(_share)]
Policy = Literal["error", "warn"]
RowPolicy = Literal["error", "drop", "warn"]
Value = bool | int | float | str

# Keras's own names; a test compares each list with Keras.
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
Loss = Literal[
    "auto", "binary_crossentropy", "binary_focal_crossentropy", "huber", "log_cosh",
    "mean_absolute_error", "mean_squared_error", "sparse_categorical_crossentropy",
]  # fmt: skip

MAIN_SCORE = {"binary": "accuracy", "multiclass": "accuracy", "regression": "mae"}
# The scores of each task in metrics.json, and those of which less is better.
SCORES = {
    "binary": (
        "accuracy", "average_precision", "brier", "f1", "loss", "precision", "recall", "roc_auc",
    ),
    "multiclass": (
        "accuracy", "loss", "macro.f1", "macro.precision", "macro.recall", "macro.roc_auc",
        "weighted.f1", "weighted.precision", "weighted.recall",
    ),
    "regression": ("loss", "mae", "r2", "rmse"),
}  # fmt: skip
LOWER_IS_BETTER = ("brier", "loss", "mae", "rmse")
SCORED_ROWS = ("test", "cross_validation", "validation", "train")
BASELINES = {
    "binary": {"constant": "majority", "linear": "logistic_regression"},
    "multiclass": {"constant": "majority", "linear": "logistic_regression"},
    "regression": {"constant": "mean", "linear": "ridge"},
}
# Keys that a search leaves alone: a seed's score is luck, and other folds give another score.
FIXED = {"seed", "ensemble", "members"}


class Section(BaseModel):
    """A part of `params.yaml`: no unknown keys, nothing changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Column(Section):
    """One column of the table."""

    kind: Literal["real", "integer", "boolean", "category"]
    min: float | None = None
    max: float | None = None
    values: tuple[Value, ...] | None = None
    missing_values: tuple[Value, ...] = ()
    nullable: bool = False
    unique: bool = False

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind not in ("real", "integer") and (self.min, self.max) != (None, None):
            raise ValueError(
                f"min and max are for real and integer columns; this one is {self.kind}"
            )
        return self

    @property
    def markers(self) -> tuple[Value, ...]:
        """The `missing_values` as the typed column holds them, without texts for numbers."""
        if self.kind == "category":
            return tuple(map(str, self.missing_values))
        return tuple(value for value in self.missing_values if not isinstance(value, str))


def input_name(column: str) -> str:
    """The name of the model's input for a column; Keras allows no slash in names."""
    return column.replace("/", "_")


class Data(Section):
    """The table: where it is, how it is written, what its columns hold."""

    source: str
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8"
    task: Literal["binary", "multiclass", "regression"]
    target: str
    positive: Value | None = None
    rows_per_part: Count = 500_000
    columns: dict[str, Column]
    ignore: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _target_fits_the_task(self) -> Self:
        if self.target not in self.columns:
            raise ValueError(
                f"data.target: found {self.target!r}, which is not among data.columns: "
                f"{', '.join(self.columns)}"
            )
        if len(self.columns) < 2:
            raise ValueError("data.columns: needs the target and at least one more column")
        names: dict[str, str] = {}
        for name in self.features:
            other = names.setdefault(input_name(name), name)
            if other != name:
                raise ValueError(
                    f"data.columns: {other!r} and {name!r} are both {input_name(name)!r} in the "
                    "model; rename one of them here and in the table"
                )
        target = self.columns[self.target]
        where = f"data.columns.{self.target}"
        if target.nullable:
            raise ValueError(f"{where}.nullable: found true; rows without a target teach nothing")
        if self.task == "regression":
            if target.kind not in ("real", "integer"):
                raise ValueError(f"{where}.kind: found {target.kind!r}; regression needs a number")
            return self
        if target.kind == "real":
            raise ValueError(
                f"{where}.kind: found 'real'; classes are integer, boolean or category"
            )
        classes = target.values or ()
        if len(set(classes)) != len(classes) or len(classes) < (2 if self.task == "binary" else 3):
            needed = "two different classes" if self.task == "binary" else "three or more classes"
            raise ValueError(f"{where}.values: found {list(classes)}; {self.task} needs {needed}")
        if self.task == "binary" and (len(classes) != 2 or self.positive not in classes):
            raise ValueError(
                f"data.positive: found {self.positive!r}; expected one of the two {where}.values: "
                f"{list(classes)}"
            )
        return self

    @property
    def features(self) -> dict[str, Column]:
        """The columns that the model reads, in declared order."""
        return {name: column for name, column in self.columns.items() if name != self.target}

    @property
    def classes(self) -> tuple[Value, ...]:
        """The values of the target in the order of the model's outputs; the positive one last."""
        values = self.columns[self.target].values or ()
        if self.task != "binary":
            return values
        return tuple(sorted(values, key=lambda value: value == self.positive))


class Validate(Section):
    """What a failed check does: `error` stops, `drop` sets the rows aside, `warn` records it."""

    missing: RowPolicy = "error"
    range: RowPolicy = "error"
    values: RowPolicy = "error"
    unique: RowPolicy = "error"
    duplicate_rows: RowPolicy = "warn"
    constant_column: Policy = "warn"
    empty_column: Policy = "error"
    leak: Policy = "error"
    rare_class: Policy = "error"
    min_class_rows: Count = 5


class Split(Section):
    """Shares and seed of scikit-learn's `train_test_split`."""

    test_size: Share
    validation_size: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
    stratify: bool = False


class EarlyStopping(Section):
    """Arguments of `keras.callbacks.EarlyStopping`."""

    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    patience: Count
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    restore_best_weights: bool = True


class Train(Section):
    """Preparation, network and fit, in Keras's words."""

    seed: Seed
    imputation: Literal["mean", "median", "none"]
    missing_indicators: bool
    max_categories: Count = 50
    normalization: Literal["standard", "min_max", "none"]
    units: tuple[Count, ...]
    activation: Activation
    kernel_initializer: Initializer
    l2: Annotated[float, Field(ge=0)] = 0.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    loss: Loss = "auto"
    optimizer: Optimizer
    learning_rate: Annotated[float, Field(gt=0)]
    epochs: Count
    batch_size: Count
    class_weight: Literal["balanced"] | dict[Value, float] | None = None
    early_stopping: EarlyStopping | None = None
    ensemble: Count = 1
    members: Literal["folds", "seeds"] = "folds"

    @property
    def folds(self) -> int:
        """Into how many folds the training rows are cut; 1 where they are not."""
        return self.ensemble if self.members == "folds" else 1


def _by_dotted_key(limits: Any) -> Any:
    """`{test: {accuracy: 0.7}}` as `{test.accuracy: 0.7}`."""
    if not isinstance(limits, dict):
        return limits
    found: dict[str, Any] = {}
    for key, value in limits.items():
        inner = _by_dotted_key(value)
        found |= (
            {f"{key}.{k}": v for k, v in inner.items()} if isinstance(inner, dict) else {key: value}
        )
    return found


Limits = Annotated[dict[str, float], BeforeValidator(_by_dotted_key)]


class Gate(Section):
    """What a run has to hold to be accepted; the limits are by key of the metrics."""

    lowest: Limits = {}
    highest: Limits = {}
    worse_than_last: Limits = {}
    beat_baselines: tuple[Literal["constant", "linear"], ...] = ()


class Evaluate(Section):
    """How probabilities become classes, and which scores are good enough."""

    threshold: Share = 0.5
    gate: Gate = Gate()


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
    seed: Seed = 1
    score: str = "loss"
    folds: Annotated[int, Field(strict=True, ge=2)] | None = None
    space: dict[str, Candidates]


class Params(Section):
    """The whole of `params.yaml`."""

    data: Data
    validate_: Annotated[Validate, Field(alias="validate")]
    split: Split
    train: Train
    evaluate: Evaluate
    search: Search

    @model_validator(mode="after")
    def _sections_fit_each_other(self) -> Self:
        self._check_train()
        self._check_search()
        return self

    def _check_train(self) -> None:
        train, task = self.train, self.data.task
        watched = self.split.validation_size > 0 or train.folds > 1
        if train.early_stopping and not watched:
            raise ValueError(
                "train.early_stopping watches the validation rows, but split.validation_size is 0; "
                "set train.early_stopping to null, split.validation_size above 0, or "
                "train.ensemble above 1 with train.members: folds"
            )
        if train.loss not in ("auto", *LOSSES[task]):
            raise ValueError(
                f"train.loss: found {train.loss!r}, which does not fit data.task {task}. "
                f"Allowed: auto, {', '.join(LOSSES[task])}"
            )
        scores = {f"{rows}.{score}" for rows in SCORED_ROWS for score in SCORES[task]}
        for name in ("lowest", "highest", "worse_than_last"):
            for key in set(getattr(self.evaluate.gate, name)) - scores:
                near = difflib.get_close_matches(key, scores, n=1)
                raise ValueError(
                    f"evaluate.gate.{name}: found {key!r}, which is no score of data.task {task}."
                    f"{f' Did you mean {near[0]!r}?' if near else ''} "
                    f"Allowed: of {', '.join(SCORED_ROWS)} each of {', '.join(SCORES[task])}"
                )
        if task != "regression":
            weighted = train.class_weight if isinstance(train.class_weight, dict) else {}
            unknown = [value for value in weighted if value not in self.data.classes]
            if unknown:
                raise ValueError(
                    f"train.class_weight: found {unknown}; classes are {list(self.data.classes)}"
                )
            return
        for key, wrong in {
            "train.class_weight": train.class_weight is not None,
            "split.stratify": self.split.stratify,
            "train.early_stopping.monitor": train.early_stopping is not None
            and train.early_stopping.monitor == "val_accuracy",
        }.items():
            if wrong:
                raise ValueError(f"{key} is for classes, and data.task is regression")

    def _check_search(self) -> None:
        scores, keys = SCORES[self.data.task], sorted(set(Train.model_fields) - FIXED)
        if self.search.score not in scores:
            allowed = _allowed(self.search.score, list(scores))
            raise ValueError(f"search.score: found {self.search.score!r}.{allowed}")
        for key, candidates in self.search.space.items():
            if key not in keys:
                raise ValueError(f"search.space.{key}: no key to search.{_allowed(key, keys)}")
            for value in candidates.limits:
                try:
                    self.with_train({key: value})
                except ValidationError as error:
                    mistakes = [m | {"loc": ("train", *m["loc"])} for m in error.errors()]
                    lines = [f"search.space{_explain(m).removeprefix('train')}" for m in mistakes]
                    raise ValueError("\n".join(lines)) from None
                except ValueError as error:
                    message = str(error).removeprefix("train")
                    raise ValueError(f"search.space{message}") from None

    def with_train(self, changes: dict[str, Any]) -> "Params":
        """The same with other values for keys of `train`.

        Raises:
            ValidationError: a value is not one that its key may have; a `ValueError`, as are those
                of values that do not fit the other sections.
        """
        train = Train.model_validate(self.train.model_dump() | changes)
        changed = self.model_copy(update={"train": train})
        changed._check_train()
        return changed


PARAMS = Path("params.yaml")


def load_params(path: Path = PARAMS) -> Params:
    """Read and check the whole file.

    Raises:
        UserError: the file is missing, is not YAML, or a key or value is wrong. One line for each
            mistake: the key, the value found, what is allowed and the nearest right name.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; run from the project's folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    try:
        return Params.model_validate(found)
    except ValidationError as error:
        lines = [f"{path}: {_explain(mistake)}" for mistake in error.errors()]
        raise UserError("\n".join(lines)) from None


def _explain(mistake: Any) -> str:
    """One line for one of pydantic's errors."""
    location = [str(part) for part in mistake["loc"]]
    key, found = ".".join(location), mistake["input"]
    match mistake["type"]:
        case "extra_forbidden":
            allowed = sorted(_fields(location[:-1]))
            return f"{key}: unknown key (found {found!r}).{_allowed(location[-1], allowed)}"
        case "missing":
            return f"{key}: this key is missing"
        case "value_error":
            problem = str(mistake["ctx"]["error"])
            return problem if problem.startswith(key) else f"{key}: found {found!r}; {problem}"
        case "literal_error":
            allowed = mistake["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            return f"{key}: found {found!r}.{_allowed(str(found), allowed)}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            (bound,) = mistake["ctx"].items()
            words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
            return f"{key}: found {found!r}; expected a number {words[bound[0]]} {bound[1]}"
    expected = mistake["msg"].removeprefix("Input should be ").replace("tuple", "list")
    return f"{key}: found {found!r}; expected {expected}"


def _allowed(found: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(found, allowed, n=1)
    return f"{f' Did you mean {near[0]!r}?' if near else ''} Allowed: {', '.join(allowed)}"


def _fields(location: list[str]) -> dict[str, Any]:
    """The keys of the section at `location`, each with its pydantic field."""
    section: Any = Params
    for part in location:
        fields = {field.alias or name: field for name, field in section.model_fields.items()}
        if part not in fields:  # the name of a column, whose section the step before it found
            continue
        candidates = [fields[part].annotation, *get_args(fields[part].annotation)]
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, Section))
    return {field.alias or name: field for name, field in section.model_fields.items()}
