"""A threshold is chosen on predictions for rows that were not learnt from."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import expit

from keras_tabular.config.sections import Evaluate
from keras_tabular.config.thresholds import ThresholdRule
from keras_tabular.evaluation import calibration
from keras_tabular.evaluation.calibration import UnseenRows, choose_threshold
from keras_tabular.evaluation.intervals import fit_intervals
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.scoring.scores import Predictions
from keras_tabular.table.parquet import write_parts
from keras_tabular.training.out_of_fold import FoldPredictions, OutOfFold
from tests.helpers import BINARY, build_arrow_schema, build_schema

RNG = np.random.default_rng(0)

RULES: list[dict[str, Any]] = [
    *({"best": name} for name in ("accuracy", "balanced_accuracy", "f1")),
    {"cost": {"false_negative": 5, "false_positive": 1}},
    {"cost": {1: {0: 5, 1: -2}, 0: {0: -1, 1: 3}}},
    *({key: content} for key in ("recall", "precision") for content in (0.3, 0.9)),
]


def rate_threshold(
    rule: ThresholdRule, y: np.ndarray, y_pred: np.ndarray, weight: np.ndarray
) -> tuple[bool, float]:
    """Return whether the required share is reached, and the value to maximise."""
    rest, alarms, misses, hits = np.bincount(2 * y + y_pred, weight, 4)
    recall, precision = hits / max(hits + misses, 1), hits / max(hits + alarms, 1)
    if required := rule.recall or rule.precision:
        share, gain = (recall, -alarms) if rule.recall else (precision, recall)
        return share >= required, gain if share >= required else share
    if rule.cost:
        (of_rest, of_alarm), (of_miss, of_hit) = rule.cost_matrix((0, 1))
        return True, -(rest * of_rest + alarms * of_alarm + misses * of_miss + hits * of_hit)
    scores = {
        "accuracy": (hits + rest) / weight.sum(),
        "balanced_accuracy": (recall + rest / max(alarms + rest, 1)) / 2,
        "f1": 2 * hits / max(2 * hits + alarms + misses, 1),
    }
    return True, round(scores[str(rule.best)], 9)


def build_predictions(y: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> Predictions:
    return Predictions(BINARY, y, probability[:, None], weight)


ROW = st.tuples(st.integers(0, 1), st.integers(0, 20), st.integers(1, 3))


@given(st.lists(ROW, min_size=1, max_size=40))
def test_no_other_threshold_is_better(rows: list[tuple[int, int, int]]) -> None:
    y, place, weight = np.array(rows).T
    probability = place / 20
    for content in RULES:
        rule = ThresholdRule.model_validate(content)
        rows_to_rate = build_predictions(y, probability, weight.astype(float))
        costs = rule.cost_matrix((0, 1)) if rule.cost else None
        rows_to_rate = rows_to_rate._replace(costs=costs)
        threshold, is_reached = choose_threshold(rule, rows_to_rate)
        rating = rate_threshold(rule, y, probability >= threshold, weight)
        assert is_reached == rating[0]
        for other in [*np.unique(probability), 1.1]:
            assert rating >= rate_threshold(rule, y, probability >= other, weight)


def test_a_number_is_used_as_it_is_and_a_rule_has_one_key() -> None:
    y, probability, precise = np.array([1, 0]), np.array([0.9, 0.2]), ThresholdRule(precision=0.9)
    for rule, threshold in ((0.3, 0.3), (precise, 0.55)):
        rows = build_predictions(y, probability, np.ones(2))
        assert choose_threshold(rule, rows)[0] == pytest.approx(threshold)
    for wrong in ({"best": "f1", "recall": 0.9}, {}, {"recall": 1.5}, 1.0):
        with pytest.raises(ValidationError):
            Evaluate.model_validate({"threshold": wrong})


def test_the_threshold_separates_neighbours_of_float32() -> None:
    upper, rule = np.float32(0.7), ThresholdRule(best="accuracy")
    probability = np.array([upper, np.nextafter(upper, np.float32(0))])
    rows = build_predictions(np.array([1, 0]), probability, np.ones(2))
    threshold, _ = choose_threshold(rule, rows)
    assert (probability >= threshold).tolist() == [True, False]


def test_a_cross_fitted_threshold_is_chosen_on_the_other_folds() -> None:
    probability, fold = expit(1.5 * RNG.normal(size=2000)), np.arange(2000) % 5
    is_positive = (RNG.random(2000) < probability).astype(float)
    rows = build_predictions(is_positive, probability, np.ones(2000))
    rule = ThresholdRule(precision=0.7)
    cross_fitted = calibration.cross_fit(rule, rows, fold)
    for number in range(5):
        is_in_fold = fold == number
        threshold, _ = choose_threshold(rule, rows.select(~is_in_fold))
        in_fold = cross_fitted.select(is_in_fold)
        assert np.unique(in_fold.threshold).tolist() == [threshold]
        np.testing.assert_array_equal(
            in_fold.predicted_classes, cross_fitted.predicted_classes[is_in_fold]
        )
    assert calibration.cross_fit(None, rows, fold).threshold == 0.5


def test_rows_of_a_single_fold_are_two_halves() -> None:
    """With ties in the time, all later rows may be in the second block of forward chaining."""
    rows = FoldPredictions(np.zeros((6, 1)), np.array([-1, -1, 1, 1, 1, 1]))
    assert rows.row_folds.tolist() == [0, 1, 0, 1]


STAGE_ROWS = 900


def read_rows(folder: Path, task: str, y: np.ndarray, **predictions: FoldPredictions) -> UnseenRows:
    """Write training rows with these targets, and join predictions by row set with them."""
    schema = build_schema(task)
    target = y if task == "regression" else y.astype(int)
    table = pa.table({"x": np.arange(STAGE_ROWS) / 9, "y": target}, build_arrow_schema(schema))
    write_parts(folder, [table[:400], table[400:]])
    return calibration.read_unseen_rows(OutOfFold(**predictions), folder, schema)


def build_oof(y_pred: np.ndarray, fold: np.ndarray) -> FoldPredictions:
    return FoldPredictions(y_pred.astype(np.float32)[:, None], fold.astype(np.int32))


@pytest.mark.parametrize("blocks", [1, 2])
def test_only_predictions_of_forward_chaining_are_used_if_there_are_any(
    tmp_path: Path, blocks: int
) -> None:
    """The halves of a single block are used as folds."""
    block = np.arange(STAGE_ROWS) * (blocks + 1) // STAGE_ROWS - 1
    later = block >= 0
    fold = block[later] if blocks > 1 else np.arange(later.sum()) % 2
    y = RNG.normal(size=STAGE_ROWS)
    chained = build_oof(np.where(later, RNG.random(STAGE_ROWS), np.nan), block)
    y_pred = chained.y_pred[:, 0]
    folds = build_oof(y, np.arange(STAGE_ROWS) % 3)  # much too good
    oof = {"cross_validation": folds, "forward_chaining": chained}
    params = Evaluate(threshold=ThresholdRule(recall=0.9))
    is_positive = (y > 0).astype(float)
    rows = read_rows(tmp_path / "binary", "binary", is_positive, **oof)
    threshold = calibration.calibrate_threshold(rows, params, ModelMetadata()).threshold
    chained_rows = build_predictions(is_positive[later], y_pred, np.ones(later.sum()))
    assert threshold == choose_threshold(params.threshold, chained_rows)[0]
    rows = read_rows(tmp_path / "regression", "regression", y, **oof)
    expected = fit_intervals(y[later] - y_pred, y_pred, fold, params.coverage)
    assert calibration.calibrate_intervals(rows, params, ModelMetadata()) == expected
