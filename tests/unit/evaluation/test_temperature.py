"""A temperature is taken where probabilities are too bold, and not where they are right."""

from typing import Any

import numpy as np
import pytest

from keras_tabular.evaluation import calibration
from keras_tabular.evaluation.calibration import choose_temperature, scale_by_temperature
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.table.arrays import row_losses
from tests.helpers import build_schema

ROWS = 2000
RNG = np.random.default_rng(0)
FOLD = np.arange(ROWS) % 5


def drawn(task: str, bold: float) -> tuple[np.ndarray, np.ndarray]:
    """Classes, and probabilities whose logits are so many times too large."""
    logits = RNG.normal(size=(ROWS, 3 if task == "multiclass" else 1)) * 1.5
    every = np.column_stack([np.zeros(ROWS), logits]) if task == "binary" else logits
    right = np.exp(every) / np.exp(every).sum(axis=1, keepdims=True)
    y = (RNG.random((ROWS, 1)) > right.cumsum(axis=1)).sum(axis=1).astype(float)
    said = np.exp(bold * every) / np.exp(bold * every).sum(axis=1, keepdims=True)
    return y, (said[:, 1:] if task == "binary" else said).astype(np.float32)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("bold", [0.5, 1.0, 2.0])
def test_it_is_what_the_logits_were_multiplied_by_or_one(task: str, bold: float) -> None:
    y, outputs = drawn(task, bold)
    found = choose_temperature(Predictions(y, outputs, np.ones(ROWS)), FOLD, build_schema(task))
    assert found.temperature == pytest.approx(bold, rel=0.15)
    if bold == 1:
        assert found.temperature == 1
        assert (found.loss_change_high or 0) > 0
    else:
        assert (found.loss_change_high or 0) < 0
    cooler = scale_by_temperature(outputs, found.temperature)
    assert cooler.dtype == np.float32
    assert cooler.shape == outputs.shape
    np.testing.assert_array_equal(cooler.argmax(axis=1), outputs.argmax(axis=1))


def test_certain_probabilities_stay_numbers() -> None:
    np.testing.assert_array_equal(
        scale_by_temperature(np.array([[0.0], [1.0]]), 2.0), [[0.0], [1.0]]
    )


@pytest.mark.parametrize("towards", [-np.inf, np.inf])
def test_of_equally_good_temperatures_the_first_is_chosen_on_every_cpu(
    towards: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The losses of neighbouring temperatures differ in the last bits alone."""
    y, outputs = drawn("binary", 2.0)
    calls: list[float] = []

    def losses_of_a_cpu(*arguments: Any) -> np.ndarray:
        calls.append(towards if len(calls) % 2 else -towards)
        return np.nextafter(row_losses(*arguments), calls[-1])

    monkeypatch.setattr(calibration, "row_losses", losses_of_a_cpu)
    monkeypatch.setattr(calibration, "TEMPERATURES", np.array([2.0, np.nextafter(2.0, 3)]))
    rows = Predictions(y, outputs, np.ones(ROWS))
    assert choose_temperature(rows, FOLD, build_schema("binary")).temperature == 2.0
