"""The score that predictions imply."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.prediction.expected_score import compute_row_scores, summarize
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


def test_interval_is_that_of_a_poisson_binomial_distribution() -> None:
    """Equal rows in groups of four count as a quarter of the rows."""
    probabilities = np.random.default_rng(1).uniform(0.5, 1, 400)
    deviation = np.sqrt((probabilities * (1 - probabilities)).sum()) / 400
    for group_size, half in ((1.0, 1.96 * deviation), (4.0, 3.92 * deviation)):
        score = summarize([probabilities[:9], probabilities[9:]], 410, group_size, None)
        assert score.left_out == 10
        mean = probabilities.mean()
        assert score.interval == pytest.approx((mean - half, mean + half))
    with pytest.raises(UserError, match="no row can be predicted"):
        summarize([probabilities[:0]], 1, 1.0, None)
