"""The accuracy of rows without labels, as the predictions for them imply it.

If the probabilities are calibrated, the probability of the predicted class is the probability that
the prediction is right. Its mean over the rows is the expected accuracy, and the number of right
predictions has a Poisson binomial distribution: Kivimäki, Białek, Nurminen and Kuberski,
"Confidence-based Estimators for Predictive Performance in Model Monitoring" (2024).
"""

from typing import TYPE_CHECKING

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.config.typed_yaml import Section
from keras_tabular.core.errors import UserError
from keras_tabular.evaluation.summary import format_estimate
from keras_tabular.scoring.evaluation import Evaluation, Interval, Score
from keras_tabular.table.arrays import feature_arrays
from keras_tabular.table.rows import CheckedRows

if TYPE_CHECKING:  # TensorFlow starts after the arguments are checked
    from keras_tabular.model_file.saved_model import SavedModel

CONDITION = (
    "This holds if rows with the same values have the same outcomes as before (no concept drift). "
    "Only labelled rows show whether they do; score some when you can."
)


class ExpectedScore(Section):
    """The score that the predictions for new rows imply.

    Attributes:
        value: The score.
        interval: The ends of the 95% interval of the score that the rows will have once they are
            labelled.
        left_out: Number of rows of which it is not the score: those that fail a check whose policy
            is not `warn`, and those for which the model has no prediction.
        test: The score of the test rows, if it is known.
    """

    value: float
    interval: Interval
    left_out: int
    test: Score | None = None

    @property
    def message(self) -> str:
        """The scores, the condition, and the number of rows that are left out."""
        test = ""
        if self.test and self.test.interval:
            test = f"; test rows: {format_estimate(self.test.value, self.test.interval)}"
        expected = format_estimate(self.value, self.interval)
        text = f"Expected accuracy: {expected}{test}. {CONDITION}"
        left_out = f" {self.left_out:,} rows cannot be predicted and are left out."
        return text + left_out if self.left_out else text


def compute_row_scores(model: "SavedModel", batch: CheckedRows, schema: Schema) -> np.ndarray:
    """Compute the expected score of each row that can be predicted, float64, shape (rows,).

    This is the probability that the predicted class is right.
    """
    y_pred, metadata = model.predict(feature_arrays(batch.features, schema)), model.metadata
    failed = [failure.row for failure in batch.failures if failure.policy != "warn"]
    y_pred = np.delete(y_pred, failed, axis=0)
    y_pred = y_pred[np.isfinite(y_pred).all(axis=1)]
    predicted = schema.learning_task.predicted_classes(y_pred, metadata.threshold)
    probabilities = schema.learning_task.true_probabilities(y_pred, metadata.class_weights)
    return probabilities[np.arange(len(predicted)), predicted]


def summarize(
    scores: list[np.ndarray], rows: int, group_size: float, evaluation: Evaluation | None
) -> ExpectedScore:
    """Average the expected scores of rows.

    Args:
        scores: Result of `compute_row_scores` for each batch of rows.
        rows: Number of rows, also of those that cannot be predicted.
        group_size: Number of rows that depend on each other, see `groups.mean_group_size`.
        evaluation: Evaluation of the same model, if it is known.

    Raises:
        UserError: No row can be predicted.
    """
    expected = np.concatenate(scores)
    if not len(expected):
        raise UserError("There is no expected score, because no row can be predicted.")
    value = float(expected.mean())
    test = evaluation.score("test", "accuracy") if evaluation else None
    half = 1.96 * np.sqrt((expected * (1 - expected)).mean() * group_size / len(expected))
    low, high = np.clip([value - half, value + half], 0, 1)
    left_out = rows - len(expected)
    return ExpectedScore(value=value, interval=(low, high), left_out=left_out, test=test)
