"""The tasks: two classes, several classes and regression, with what depends on them.

Nowhere else is the name of a task compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


TaskName = Literal["binary", "multiclass", "regression"]
Label = bool | int | float | str
# The cost of each predicted class, by actual class.
CostMatrix = tuple[tuple[float, ...], ...]
# What turns probabilities into classes. Of two classes, the lowest probability that
# counts as positive: one for all rows, or one for each, shape (rows,). Of several
# classes, their costs, or a number, with which the most probable class is predicted.
Threshold = float | np.ndarray | CostMatrix
MIN_PROBABILITY = 1e-7  # to which probabilities are clipped in a loss, as in Keras
# A class with a smaller share of the rows is rare. With more than five classes, the
# limit is half the share that each class has in a balanced table.
MAX_RARE_SHARE = 0.1


@dataclass(frozen=True)
class Task:
    """What a model predicts for each row.

    The methods of this class are those of classes; `Regression` replaces them.

    Attributes:
        classes: The classes in the order of their codes, the positive one last; empty
            for a regression.
        label: How the report calls the task.
        target_kinds: Kinds that the target column may have.
        class_limits: The smallest and the largest number of classes; 0 and 0 for a
            regression.
        losses: Names of the losses of Keras that can be minimised, the default first.
        learning_rate: The default of tables that are not small.
        output_activation, output_name: Activation and name of the output layer.
        metrics: Keys of the scores.
        main_metric: The first main metric after the primary one, unless a class is
            rare.
        second_metric: The metric that a summary shows after the main one.
        rare_metrics: These take the place of the main metric if a class is rare.
        loss_label: Name of the loss that is reported.
        leak_metric: The metric that shows a leak if it is not the primary one.
        baselines: The label of each baseline, by its name in parameters and metrics
            files.
        has_threshold: Whether a threshold decides which class is predicted.
    """

    classes: tuple[Label, ...] = ()

    name: ClassVar[TaskName]
    label: ClassVar[str]
    target_kinds: ClassVar[tuple[str, ...]] = ("integer", "boolean", "category")
    class_limits = (3, np.inf)
    losses: ClassVar[tuple[str, ...]]
    learning_rate = 0.02
    output_activation: ClassVar[str]
    output_name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    loss_label = "Log loss"
    main_metric = "accuracy"
    second_metric: ClassVar[str]
    rare_metrics: ClassVar[tuple[str, ...]] = ()
    leak_metric: ClassVar[str | None] = None
    baselines: ClassVar[Mapping[str, str]] = {
        "dummy": "best constant",  # a different one for each metric
        "linear": "logistic regression",
        "gradient_boosting": "gradient boosting",
    }
    has_threshold = False

    @property
    def output_classes(self) -> tuple[int, ...]:
        """The code of the class whose probability each output of the model is."""
        return tuple(range(len(self.classes)))

    @property
    def n_outputs(self) -> int:
        """The number of outputs of the model for a row: 1 for a regression."""
        return max(len(self.output_classes), 1)

    @classmethod
    def from_values(cls, values: Sequence[Label], positive: Label | None) -> Self:
        """Build the task from the values of the target column.

        Args:
            values: The classes; for a regression, no values or those that are allowed.
            positive: The positive class of two; otherwise None.
        """
        classes = sorted(
            values,
            key=lambda value: cls.has_threshold and value == positive,
        )
        return cls(tuple(classes))

    def main_metrics(self, rows: Sequence[float]) -> tuple[str, ...]:
        """Return the keys of the metrics that a summary shows after the primary one.

        This is the main metric. If a class is rare, accuracy hardly depends on it, and
        the metrics are those that judge the ranking of the rows.

        Args:
            rows: Number of rows of each class; empty for a regression.

        Examples:
            A class is rare with less than a tenth of the rows, or less than half of an
            equal share.

            >>> two_classes = Binary((False, True))
            >>> two_classes.main_metrics([90, 10]), two_classes.main_metrics([9, 91])
            (('accuracy',), ('roc_auc', 'average_precision'))
            >>> three_classes = Multiclass(("a", "b", "c"))
            >>> [three_classes.main_metrics([50, 50 - n, n])[0] for n in (10, 9)]
            ['accuracy', 'macro.roc_auc']
            >>> [three_classes.main_metrics([*[10] * 20, n])[0] for n in (5, 4)]
            ['accuracy', 'macro.roc_auc']
            >>> Regression().main_metrics([])
            ('mae',)
        """
        if not rows:
            return (self.main_metric,)
        min_share = min(MAX_RARE_SHARE, 0.5 / len(rows))
        has_rare_class = min(rows) < min_share * sum(rows)
        return self.rare_metrics if has_rare_class else (self.main_metric,)

    def encode(self, target: "pa.ChunkedArray") -> "pa.ChunkedArray":
        """Return the codes of classes, or the values; null if a value is no class."""
        import pyarrow as pa
        import pyarrow.compute as pc

        return pc.index_in(target, value_set=pa.array(self.classes, target.type))

    def indicators(self, y: np.ndarray) -> np.ndarray:
        """Return the values that the outputs of the model should have.

        Args:
            y: Codes of classes, or values, shape (rows, 1).

        Returns:
            Float64, shape (rows, outputs).
        """
        return (y == np.array(self.output_classes)).astype(np.float64)

    def probabilities(self, y_pred: np.ndarray) -> np.ndarray:
        """Return the probability of each class: float64, shape (rows, classes)."""
        return y_pred.astype(np.float64)

    def predicted_classes(self, y_pred: np.ndarray, threshold: Threshold) -> np.ndarray:
        """Return the code of the predicted class of each row: int64, shape (rows,).

        With costs, this is the class with the lowest expected cost.

        Args:
            y_pred: Predictions, shape (rows, outputs).
            threshold: See `Threshold`.

        Examples:
            >>> Binary((False, True)).predicted_classes(np.array([[0.2], [0.7]]), 0.5)
            array([0, 1])
            >>> costs = ((0, 1, 1), (1, 0, 1), (9, 9, 0))
            >>> y_pred = np.array([[0.8, 0.1, 0.1], [0.6, 0.1, 0.3]])
            >>> Multiclass(("a", "b", "c")).predicted_classes(y_pred, costs)
            array([2, 2])
        """
        if not isinstance(threshold, tuple):
            return y_pred.argmax(axis=1)
        # A product of matrices would not add in the same order on every CPU.
        probabilities = y_pred.astype(np.float64).T  # (classes, rows)
        costs_by_prediction = np.array(threshold).T  # (predicted, actual classes)
        expected_costs = [
            sum(probabilities * costs[:, None]) for costs in costs_by_prediction
        ]
        return np.argmin(expected_costs, axis=0)

    def row_losses(
        self,
        y: np.ndarray,
        y_pred: np.ndarray,
        loss: str = "auto",
    ) -> np.ndarray:
        """Compute the loss of each row: cross-entropy, squared or absolute error.

        Args:
            y: Codes of classes, or values, shape (rows,).
            y_pred: Predictions, shape (rows, outputs).
            loss: Value of `train.loss`. With mean_absolute_error, the errors are
                absolute.

        Returns:
            Float64, shape (rows,).

        Examples:
            >>> y_pred = np.array([[0.8], [0.8]])
            >>> Binary((False, True)).row_losses(np.array([1, 0]), y_pred).round(3)
            array([0.223, 1.609])
        """
        probabilities = np.clip(self.probabilities(y_pred), MIN_PROBABILITY, 1)
        likelihoods = probabilities[np.arange(len(y)), y.astype(int)]  # (rows,)
        return -np.log(likelihoods / probabilities.sum(axis=1))

    def row_scores(
        self,
        y: np.ndarray,
        y_pred: np.ndarray,
        threshold: Threshold,
    ) -> np.ndarray:
        """Return the values whose mean is the main metric: float64, shape (rows,).

        A row has 1 if its class is predicted correctly, and 0 if not. For a regression,
        it is the absolute error.
        """
        is_correct = self.predicted_classes(y_pred, threshold) == y
        return is_correct.astype(np.float64)

    def prediction_columns(
        self,
        y_pred: np.ndarray,
        threshold: Threshold,
        ends: np.ndarray | None = None,
    ) -> dict[str, "pa.Array"]:
        """Build the columns of predictions by name.

        For classes, these are `predicted` and `probability_CLASS` for each output; for
        a regression, `predicted`, and `low` and `high` if there are intervals.

        Args:
            y_pred: Predictions, float32, shape (rows, outputs).
            threshold: See `Threshold`.
            ends: Ends of the prediction interval of each row, float32, shape (rows, 2).
        """
        import pyarrow as pa

        classes = pa.array(self.classes)
        codes = pa.array(self.predicted_classes(y_pred, threshold))
        columns = {"predicted": classes.take(codes)}
        names = classes.cast("string").to_pylist()
        for output, code in enumerate(self.output_classes):
            columns[f"probability_{names[code]}"] = pa.array(y_pred[:, output])
        return columns


class Binary(Task):
    """Two classes; the model predicts the probability of the positive one."""

    name = "binary"
    label = "Two classes"
    class_limits = (2, 2)
    losses = ("binary_crossentropy", "binary_focal_crossentropy", "mean_squared_error")
    output_activation = "sigmoid"
    output_name = "output-probability"
    metrics = (
        "accuracy",
        "average_precision",
        "balanced_accuracy",
        "brier",
        "f1",
        "loss",
        "precision",
        "recall",
        "roc_auc",
    )
    second_metric = "roc_auc"
    rare_metrics = ("roc_auc", "average_precision")
    has_threshold = True

    @property
    def output_classes(self) -> tuple[int, ...]:
        """The code of the positive class."""
        return (1,)

    def probabilities(self, y_pred: np.ndarray) -> np.ndarray:
        """Return the probabilities of both classes: float64, shape (rows, 2)."""
        y_pred = y_pred.astype(np.float64)
        return np.column_stack([1 - y_pred, y_pred])

    def predicted_classes(self, y_pred: np.ndarray, threshold: Threshold) -> np.ndarray:
        """Return 1 for each row whose probability reaches the threshold, else 0."""
        return (y_pred[:, 0] >= np.asarray(threshold)).astype(np.int64)


class Multiclass(Task):
    """Three or more classes; the model predicts the probability of each."""

    name = "multiclass"
    label = "Several classes"
    losses = ("sparse_categorical_crossentropy",)
    output_activation = "softmax"
    output_name = "output-probabilities"
    metrics = (
        "accuracy",
        "balanced_accuracy",
        "loss",
        "macro.average_precision",
        "macro.f1",
        "macro.precision",
        "macro.recall",
        "macro.roc_auc",
        "weighted.f1",
        "weighted.precision",
        "weighted.recall",
    )
    second_metric = "macro.roc_auc"
    rare_metrics = ("macro.roc_auc", "macro.average_precision")


class Regression(Task):
    """A number; the networks learn it standardised."""

    name = "regression"
    label = "Regression"
    loss_label = "Mean squared error"
    target_kinds = ("real", "integer")
    class_limits = (0, 0)
    losses = ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh")
    learning_rate = 0.04
    output_activation = "linear"
    output_name = "output-standardised"
    metrics = ("loss", "mae", "mape", "r2", "rmse", "rmsle")
    main_metric = "mae"
    second_metric = "r2"
    leak_metric = "r2"
    baselines: ClassVar[Mapping[str, str]] = {
        **Task.baselines,
        "linear": "ridge regression",
    }

    @classmethod
    def from_values(cls, values: Sequence[Label], positive: Label | None) -> Self:
        """Return the task, which has no classes."""
        return cls()

    def encode(self, target: "pa.ChunkedArray") -> "pa.ChunkedArray":
        """Return the values as they are."""
        return target

    def indicators(self, y: np.ndarray) -> np.ndarray:
        """Return the values as they are."""
        return y

    def row_losses(
        self,
        y: np.ndarray,
        y_pred: np.ndarray,
        loss: str = "auto",
    ) -> np.ndarray:
        """Compute the squared or absolute error of each row: float64, shape (rows,)."""
        errors = y_pred[:, 0].astype(np.float64) - y
        if loss == "mean_absolute_error":
            return np.abs(errors)
        return np.square(errors)

    def row_scores(
        self,
        y: np.ndarray,
        y_pred: np.ndarray,
        threshold: Threshold,
    ) -> np.ndarray:
        """Return the absolute error of each row, shape (rows,)."""
        return np.abs(y - y_pred[:, 0])

    def prediction_columns(
        self,
        y_pred: np.ndarray,
        threshold: Threshold,
        ends: np.ndarray | None = None,
    ) -> dict[str, "pa.Array"]:
        """Build the column `predicted`, with intervals also `low` and `high`."""
        import pyarrow as pa

        columns = {"predicted": pa.array(y_pred[:, 0])}
        if ends is not None:
            columns["low"] = pa.array(ends[:, 0])
            columns["high"] = pa.array(ends[:, 1])
        return columns


TASKS: dict[TaskName, type[Task]] = {
    task.name: task for task in (Binary, Multiclass, Regression)
}
