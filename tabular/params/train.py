"""The section `train`: preprocessing, network and fit, in Keras's words."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from tabular.typed_yaml import Count, Section, Seed, Value

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


class EarlyStopping(Section):
    """Arguments of `keras.callbacks.EarlyStopping`."""

    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    patience: Count
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    restore_best_weights: bool = True


class Train(Section):
    """What the saved model is made with."""

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

    def changed(self, changes: dict[str, Any]) -> Self:
        """The same with other values for some keys.

        Raises:
            ValidationError: a value is not one that its key may have.
        """
        return self.model_validate(self.model_dump() | changes)
