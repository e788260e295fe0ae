"""The section `train`: preprocessing, networks and fit, in Keras's words."""

from functools import reduce
from operator import getitem
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from tabular.config.schema import MAX_LENGTH
from tabular.config.typed_yaml import Count, Section, Seed, Value

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
Loss = Literal[
    "auto", "binary_crossentropy", "binary_focal_crossentropy", "huber", "log_cosh",
    "mean_absolute_error", "mean_squared_error", "sparse_categorical_crossentropy",
]  # fmt: skip
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
    learning_rate_schedule: Literal["constant", "cosine", "cycles"] = "constant"
    epochs: Annotated[Count, Field(le=1_000_000)] | Auto
    batch_size: Annotated[Count, Field(le=2**30)] | Auto
    early_stopping: EarlyStopping | None = None


class Members(Section):
    """So many networks of a kind, each with its own seed, for every fold."""

    network: str
    count: Count = 1


class Train(Section):
    """What the saved model is made with."""

    seed: Seed
    imputation: Literal["mean", "median", "none"]
    missing_indicators: bool
    max_categories: Count = 50
    target_statistics: Count | None = None
    text_buckets: Annotated[int, Field(strict=True, ge=16, le=2**20)] = 2**15
    text_length: Annotated[int, Field(strict=True, ge=16, le=MAX_LENGTH)] = 512
    normalization: Literal["standard", "min_max", "none"]
    loss: Loss = "auto"
    class_weight: Literal["balanced"] | dict[Value, Annotated[float, Field(gt=0)]] | None = None
    exact: bool = True
    folds: Count | Auto
    forward_chaining: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    members: tuple[Members, ...] | Auto
    networks: dict[str, Network]

    def changed(self, changes: dict[str, Any]) -> Self:
        """The same with other values for some dotted keys.

        Raises:
            ValidationError: a value is not one that its key may have.
        """
        found = self.model_dump()
        for key, value in changes.items():
            *path, last = key.split(".")
            reduce(getitem, path, found)[last] = value
        return self.model_validate(found)

    def value(self, key: str) -> Any:
        """The value of a dotted key."""
        return reduce(getitem, key.split("."), self.model_dump())

    def resolved(self, rows: int, task: str, columns: int) -> "Resolved":
        """The same with a value for every `auto`: the one place that says what it means.

        The rules were chosen on 22 public tables, see docs/benchmarks.md.

        Args:
            rows: to learn from.
            columns: to read.
        """
        regression, small = task == "regression", rows <= 2_500
        names = list(self.networks)[: None if small else 1]
        wide = columns > 100
        batch_size = 128 if small else 64 if rows <= 10_000 else 256 if rows <= 50_000 else 1024
        found = self.model_dump()
        fill_auto(
            found,
            folds=10 if rows <= 10_000 else 5 if rows <= 100_000 else 3,
            members=[{"network": name} for name in names],
        )
        for network in found["networks"].values():
            fill_auto(
                network,
                embedding={"bins": 16, "units": 4} if wide else {"bins": 48, "units": 8},
                dropout=0.3 if small else 0.1,
                learning_rate=(0.04 if regression else 0.02) / (2 if small else 1),
                batch_size=batch_size,
            )
            steps = 2_000 if wide or rows > 50_000 else 4_000  # six cycles, or seven
            size = min(network["batch_size"], rows)
            fill_auto(network, epochs=max(steps * size // rows, 16))
        return Resolved.model_validate(found)


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


class Resolved(Train):
    """The section without `auto`."""

    folds: int
    members: tuple[Members, ...]
    networks: dict[str, ResolvedNetwork]  # type: ignore[assignment]
