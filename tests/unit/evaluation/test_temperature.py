"""A temperature is chosen for probabilities that are too certain, and not for correct ones."""

from itertools import cycle

import numpy as np
import pytest
from scipy.special import softmax

from keras_tabular.evaluation import calibration
from keras_tabular.evaluation.calibration import choose_temperature, scale_by_temperature
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.table.arrays import row_losses
from tests.helpers import build_schema

ROWS = 2000
RNG = np.random.default_rng(0)
FOLD = np.arange(ROWS) % 5


def draw_predictions(task: str, factor: float) -> Predictions:
    """Draw classes, and predict them with probabilities whose logits are multiplied by a factor."""
    logits = RNG.normal(size=(ROWS, 3 if task == "multiclass" else 1)) * 1.5
    if task == "binary":
        logits = np.column_stack([np.zeros(ROWS), logits])
    true, predicted = (softmax(scale * logits, axis=1) for scale in (1, factor))
    y = (RNG.random((ROWS, 1)) > true.cumsum(axis=1)).sum(axis=1).astype(float)
    predicted = predicted[:, 1:] if task == "binary" else predicted
    return Predictions(y, predicted.astype(np.float32), np.ones(ROWS))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_temperature_is_the_factor_of_the_logits(task: str, factor: float) -> None:
    predictions = draw_predictions(task, factor)
    calibration = choose_temperature(predictions, FOLD, build_schema(task))
    temperature = calibration["temperature"]
    if factor == 1:
        assert temperature == 1
    assert temperature == pytest.approx(factor, rel=0.15)
    assert (calibration["loss_change_high"] < 0) == (factor != 1)
    scaled = scale_by_temperature(predictions.y_pred, temperature)
    assert scaled.dtype == np.float32
    assert scaled.shape == predictions.y_pred.shape
    np.testing.assert_array_equal(scaled.argmax(axis=1), predictions.y_pred.argmax(axis=1))
    assert scale_by_temperature(np.array([[0.0], [1.0]]), 2.0).tolist() == [[0.0], [1.0]]


@pytest.mark.parametrize("towards", [-np.inf, np.inf])
def test_the_first_of_equally_good_temperatures_is_chosen_on_every_cpu(
    towards: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The losses of two temperatures differ only in the last bits, in either direction."""
    directions = cycle([-towards, towards])
    monkeypatch.setattr(
        calibration, "row_losses", lambda *args: np.nextafter(row_losses(*args), next(directions))
    )
    monkeypatch.setattr(calibration, "TEMPERATURES", np.array([2.0, np.nextafter(2.0, 3)]))
    chosen = choose_temperature(draw_predictions("binary", 2.0), FOLD, build_schema("binary"))
    assert chosen["temperature"] == 2.0
