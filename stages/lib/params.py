"""`params.yaml`: its sections, what each key may hold, and a clear answer to a wrong one."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from stages.lib.stage import UserError

Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]


def _share(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError("expected a number above 0 and below 1")
    return value


Share = Annotated[float, AfterValidator(_share)]
Policy = Literal["error", "warn"]
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
Loss = Literal["auto", "binary_crossentropy", "binary_focal_crossentropy", "mean_squared_error"]


class Section(BaseModel):
    """A part of `params.yaml`: no unknown keys, nothing changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Column(Section):
    """One column of the table."""

    kind: Literal["real", "integer", "boolean"]
    min: float | None = None
    max: float | None = None
    values: tuple[Value, ...] | None = None
    missing_values: tuple[Value, ...] = ()
    nullable: bool = False


class Data(Section):
    """The table: where it is, how it is written, what its columns hold."""

    source: str
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8"
    target: str
    positive: Value = 1
    rows_per_part: Count = 500_000
    columns: dict[str, Column]

    @model_validator(mode="after")
    def _target_is_a_column(self) -> Self:
        if self.target not in self.columns:
            raise ValueError(
                f"data.target: found {self.target!r}, which is not among data.columns: "
                f"{', '.join(self.columns)}"
            )
        if len(self.columns) < 2:
            raise ValueError("data.columns: needs the target and at least one more column")
        return self

    @property
    def features(self) -> dict[str, Column]:
        """The columns that the model reads, in declared order."""
        return {name: column for name, column in self.columns.items() if name != self.target}


class Validate(Section):
    """What happens when rows fail a check: `error` stops the pipeline, `warn` records it."""

    missing: Policy = "error"
    range: Policy = "error"
    values: Policy = "error"
    duplicate_rows: Policy = "warn"
    constant_column: Policy = "warn"


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
    class_weight: Literal["balanced"] | dict[int, float] | None = None
    early_stopping: EarlyStopping | None = None
    ensemble: Count = 1
    members: Literal["folds", "seeds"] = "folds"

    @property
    def folds(self) -> int:
        """Into how many folds the training rows are cut; 1 where they are not."""
        return self.ensemble if self.members == "folds" else 1


class Evaluate(Section):
    """How probabilities become classes."""

    threshold: Share = 0.5


class Params(Section):
    """The whole of `params.yaml`."""

    data: Data
    validate_: Annotated[Validate, Field(alias="validate")]
    split: Split
    train: Train
    evaluate: Evaluate

    @model_validator(mode="after")
    def _early_stopping_has_rows(self) -> Self:
        watched = self.split.validation_size > 0 or self.train.folds > 1
        if self.train.early_stopping and not watched:
            raise ValueError(
                "train.early_stopping watches the validation rows, but split.validation_size is 0; "
                "set train.early_stopping to null, split.validation_size above 0, or "
                "train.ensemble above 1 with train.members: folds"
            )
        return self


def load_params(path: Path = Path("params.yaml")) -> Params:
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
            problem = mistake["ctx"]["error"]
            return str(problem) if isinstance(found, dict) else f"{key}: found {found!r}; {problem}"
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
