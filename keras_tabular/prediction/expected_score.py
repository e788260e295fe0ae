"""The accuracy of rows without labels, as the predictions for them imply it.

If the probabilities are calibrated, the probability of the predicted class is the probability that
the prediction is right. Its mean over the rows is the expected accuracy, and the number of right
predictions has a Poisson binomial distribution: Kivimäki, Białek, Nurminen and Kuberski,
"Confidence-based Estimators for Predictive Performance in Model Monitoring" (2024).

Probabilities are calibrated on a limited number of rows, so their mean may be too high or too low
for any rows. The test rows show by how much: the difference between their accuracy and their
expected accuracy is added, and the interval contains the uncertainty of this difference.
"""

from typing import TYPE_CHECKING

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.config.typed_yaml import Section
from keras_tabular.core.errors import UserError
from keras_tabular.core.numbers import format_number
from keras_tabular.evaluation.summary import format_estimate, format_interval
from keras_tabular.scoring.evaluation import Evaluation, Interval, Score
from keras_tabular.table.arrays import feature_arrays
from keras_tabular.table.rows import CheckedRows

if TYPE_CHECKING:  # TensorFlow starts after the arguments are checked
    from keras_tabular.model_file.saved_model import SavedModel

CONDITION = (
    "This holds if rows with the same values have the same outcomes as before (no concept drift). "
    "Only labelled rows show whether they do; score some when you can."
)
NO_INTERVAL = "(no interval, because this folder has no scores of the model on enough test rows)"


class ExpectedScore(Section):
    """The score that the predictions for new rows imply.

    Attributes:
        value: The score.
        interval: The ends of the 95% interval of the score that the rows will have once they are
            labelled; None if no test rows tell how right the probabilities are.
        left_out: Number of rows of which it is not the score: those that fail a check whose policy
            is not `warn`, and those for which the model has no prediction.
        test: The score of the test rows, if it is known.
    """

    value: float
    interval: Interval | None = None
    left_out: int
    test: Score | None = None

    @property
    def message(self) -> str:
        """The scores, the condition, and the number of rows that are left out."""
        test = ""
        if self.test and self.test.interval:
            test = f"; test rows: {format_estimate(self.test.value, self.test.interval)}"
        interval = format_interval(*self.interval) if self.interval else NO_INTERVAL
        text = f"Expected accuracy: {format_number(self.value)} {interval}{test}. {CONDITION}"
        left_out = f" {self.left_out:,} rows cannot be predicted and are left out."
        return text + left_out if self.left_out else text


def compute_row_scores(model: "SavedModel", batch: CheckedRows, schema: Schema) -> np.ndarray:
    """Compute the expected score of each row that can be predicted, float64, shape (rows,).

    This is the probability that the predicted class is right, see `Task.expected_scores`.
    """
    y_pred, metadata = model.predict(feature_arrays(batch.features, schema)), model.metadata
    failed = [failure.row for failure in batch.failures if failure.policy != "warn"]
    y_pred = np.delete(y_pred, failed, axis=0)
    y_pred = y_pred[np.isfinite(y_pred).all(axis=1)]
    return schema.learning_task.expected_scores(y_pred, metadata.decision, metadata.class_weights)


def summarize(
    scores: list[np.ndarray], rows: int, group_size: float, evaluation: Evaluation | None
) -> ExpectedScore:
    """Average the expected scores of rows, corrected by what the test rows tell.

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
    value, interval, test = float(expected.mean()), None, None
    if evaluation:
        test, error = evaluation.score("test", "accuracy"), evaluation.expected_accuracy_error
    if evaluation and error:
        variance = (expected * (1 - expected)).mean() * group_size / len(expected)
        half = np.hypot(1.96 * np.sqrt(variance), (error.high - error.low) / 2)
        value = float(np.clip(value + error.value, 0, 1))
        interval = (max(value - half, 0.0), min(value + half, 1.0))
    return ExpectedScore(value=value, interval=interval, left_out=rows - len(expected), test=test)
