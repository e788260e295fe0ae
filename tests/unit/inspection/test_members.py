"""The scores vary between trainings as much as the networks of the folds make them vary."""

import numpy as np
import pytest

from keras_tabular.inspection.members import PICKS, training_deviation
from keras_tabular.model_file.metadata import Ensemble, ModelMetadata
from keras_tabular.scoring.scores import Predictions
from tests.helpers import BINARY, REGRESSION

FOLDS = {"b": tuple(range(20)), "a": tuple(range(20))}


def build_metadata(target_range: tuple[float, float]) -> ModelMetadata:
    ensemble = Ensemble(weights={"b": 0.75, "a": 0.25}, folds=FOLDS, target_range=target_range)
    return ModelMetadata(ensemble=ensemble)


def test_the_deviation_is_the_standard_error_of_the_mean_of_the_folds() -> None:
    constants = np.random.default_rng(0).normal(1, 0.5, (2, 20)).astype(np.float32)
    a, b = constants  # the mean absolute error of a constant is linear in it
    y_pred = np.full((60, 1), a.mean() / 4 + b.mean() * 3 / 4)
    members = np.hstack([y_pred, np.tile(constants.ravel(), (60, 1))])
    test = Predictions(REGRESSION, np.full(99, -9.0), np.zeros((99, 1)), np.ones(99))
    deviation = training_deviation(members, test, build_metadata((-9.0, 9.0)))
    variance = (a / 4 + b * 3 / 4).var(ddof=1) / 20 + 3 / 16 / PICKS * (a.mean() - b.mean()) ** 2
    assert deviation["mae"] == pytest.approx(variance**0.5, rel=0.15)
    assert training_deviation(members, test, build_metadata((-9.0, 9.0))) == deviation
    assert training_deviation(members, test, ModelMetadata()) == {}


def test_undefined_scores_have_no_deviation_and_equal_networks_none_at_all() -> None:
    y, members = np.repeat([0.0, 1.0], 30), np.full((60, 41), 0.3, np.float32)
    test = Predictions(BINARY, y, members[:, :1], np.ones(60))
    deviation = training_deviation(members, test, build_metadata((0.0, 1.0)))
    assert "precision" not in deviation
    assert deviation["loss"] == pytest.approx(0)
