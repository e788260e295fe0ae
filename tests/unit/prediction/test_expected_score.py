"""The score that predictions imply."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.prediction.expected_score import compute_row_scores, summarize
from keras_tabular.scoring.evaluation import Difference, Evaluation
from keras_tabular.table.rows import CheckedRows
from tests.helpers import build_schema

BINARY = [[0.9], [0.4], [0.2]]
THREE_CLASSES = [[0.6, 0.3, 0.1], [0.2, 0.4, 0.4], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("task", "y_pred", "metadata", "probabilities"),
    [
        ("binary", BINARY, {}, [0.9, 0.6, 0.8]),
        ("binary", BINARY, {"threshold": 0.3}, [0.9, 0.4, 0.8]),
        ("binary", BINARY, {"class_weights": [1.0, 3.0]}, [0.75, 0.6 / (0.6 + 0.4 / 3), 12 / 13]),
        ("multiclass", THREE_CLASSES, {}, [0.6, 0.4, 1.0]),
    ],
)
def test_score_is_the_probability_of_the_predicted_class(
    task: str, y_pred: list[list[float]], metadata: dict[str, Any], probabilities: list[float]
) -> None:
    schema = build_schema(task, a={"kind": "real"})
    outputs = np.array(y_pred, np.float32)
    model: Any = SimpleNamespace(predict=lambda _: outputs, metadata=ModelMetadata(**metadata))
    features = pa.table({"a": [1.0, 2.0, 3.0]})
    scores = compute_row_scores(model, CheckedRows(features, features, []), schema)
    np.testing.assert_allclose(scores, probabilities, rtol=1e-6)


def test_interval_is_that_of_a_poisson_binomial_distribution_and_of_the_test_rows() -> None:
    """Equal rows in groups of four count as a quarter of the rows."""
    probabilities = np.random.default_rng(1).uniform(0.5, 1, 400)
    deviation = np.sqrt((probabilities * (1 - probabilities)).sum()) / 400
    error = Difference(value=-0.02, low=-0.06, high=0.02)
    evaluation = Evaluation(primary_metrics=("accuracy",), scores=(), expected_accuracy_error=error)
    for group_size, half in ((1.0, 1.96 * deviation), (4.0, 3.92 * deviation)):
        score = summarize([probabilities[:9], probabilities[9:]], 410, group_size, evaluation)
        assert score.left_out == 10
        mean, width = probabilities.mean() - 0.02, np.hypot(half, 0.04)
        assert score.value == pytest.approx(mean)
        assert score.interval == pytest.approx((mean - width, mean + width))


def test_without_test_rows_there_is_no_interval() -> None:
    evaluation = Evaluation(primary_metrics=("roc_auc",), scores=())
    for found_evaluation in (None, evaluation):
        score = summarize([np.array([0.9, 0.7])], 2, 1.0, found_evaluation)
        assert (score.value, score.interval) == (0.8, None)
        assert "Expected accuracy: 0.800 (no interval, because" in score.message
    with pytest.raises(UserError, match="no row can be predicted"):
        summarize([np.empty(0)], 1, 1.0, None)
