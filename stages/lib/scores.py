"""Scores of predictions with the uncertainty of few rows, and baselines to hold them against."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import binomtest
from sklearn import metrics
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from stages.lib.params import BASELINES, Data
from stages.lib.table import is_missing, labels, read_parts

MAX_BASELINE_ROWS = 200_000  # enough for a linear model, and bounded in time and memory

Scores = dict[str, Any]


def score(y: np.ndarray, predicted: np.ndarray, data: Data, threshold: float) -> Scores:
    """The scores of the task; only `rows` where there are no rows.

    Args:
        y: shape (rows,); the place of the class in `data.classes`, or the value.
        predicted: shape (rows, outputs); the probability of the positive class, of each class, or
            the value.
        threshold: of a binary task; a probability from here on counts as positive.
    """
    scores: Scores = {"rows": len(y)}
    if not len(y):
        return scores
    match data.task:
        case "binary":
            scores |= binary_scores(y, predicted[:, 0], threshold)
        case "multiclass":
            scores |= multiclass_scores(y, predicted)
        case "regression":
            scores |= regression_scores(y, predicted[:, 0])
    return scores | {"loss": loss(y, predicted, data)}


def loss(y: np.ndarray, predicted: np.ndarray, data: Data) -> float:
    """The mean cross-entropy, probabilities kept 1e-7 from 0 as in Keras, or squared error.

    The arguments are those of `score`, of one row at least.
    """
    predicted = predicted.astype(np.float64)
    if data.task == "regression":
        return float(np.square(predicted[:, 0] - y).mean())
    if data.task == "binary":
        predicted = np.column_stack([1 - predicted, predicted])
    kept = np.clip(predicted, 1e-7, 1)
    return float(-np.log(kept[np.arange(len(y)), y.astype(int)] / kept.sum(axis=1)).mean())


def binary_scores(y: np.ndarray, probability: np.ndarray, threshold: float) -> Scores:
    """`roc_auc` and `average_precision` are left out where all rows are of one class."""
    guess = probability >= threshold
    scores = {
        "accuracy": float(metrics.accuracy_score(y, guess)),
        "precision": float(metrics.precision_score(y, guess, zero_division=0)),
        "recall": float(metrics.recall_score(y, guess, zero_division=0)),
        "f1": float(metrics.f1_score(y, guess, zero_division=0)),
        "brier": float(np.square(probability.astype(np.float64) - y).mean()),
    }
    if 0 < y.sum() < len(y):
        scores["roc_auc"] = float(metrics.roc_auc_score(y, probability))
        scores["average_precision"] = float(metrics.average_precision_score(y, probability))
    return scores


def multiclass_scores(y: np.ndarray, probabilities: np.ndarray) -> Scores:
    """Precision, recall and F1 as `macro` (each class alike) and `weighted` (each row alike).

    `macro.roc_auc` is the mean over the classes of one against the rest; it is left out where a
    class has no row.
    """
    guess = probabilities.argmax(axis=1)
    classes = np.arange(probabilities.shape[1])
    scores: Scores = {"accuracy": float(metrics.accuracy_score(y, guess))}
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            y, guess, labels=classes, average=average, zero_division=0
        )
        scores[average] = {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
    if len(np.unique(y)) == len(classes):
        each = [metrics.roc_auc_score(y == k, probabilities[:, k]) for k in classes]
        scores["macro"]["roc_auc"] = float(np.mean(each))
    return scores


def regression_scores(y: np.ndarray, value: np.ndarray) -> Scores:
    """`mae` and `rmse` in the target's units; `r2` is left out where all rows have one value."""
    scores = {
        "rmse": float(metrics.root_mean_squared_error(y, value)),
        "mae": float(metrics.mean_absolute_error(y, value)),
    }
    if len(np.unique(y)) > 1:
        scores["r2"] = float(metrics.r2_score(y, value))
    return scores


def accuracy_interval(accuracy: float, rows: int) -> tuple[float, float]:
    """The 95% Wilson score interval of an accuracy over `rows` independent rows.

    Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    """
    interval = binomtest(round(accuracy * rows), rows).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mae_interval(y: np.ndarray, value: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean absolute error, by the normal law of means; at least 0."""
    errors = np.abs(y - value)
    half = 1.959964 * errors.std(ddof=1) / len(errors) ** 0.5 if len(errors) > 1 else 0.0
    return max(float(errors.mean() - half), 0.0), float(errors.mean() + half)


def feature_frame(part: pa.Table, data: Data) -> pd.DataFrame:
    """The columns as scikit-learn reads them: float64 or text, empty where a value is missing."""
    columns = {}
    for name, column in data.features.items():
        present = pc.if_else(is_missing(part[name], column), None, part[name])
        if column.kind != "category":
            present = present.cast(pa.float64(), safe=False)
        columns[name] = present.to_numpy(zero_copy_only=False)
    return pd.DataFrame(columns)


def baselines(data: Data) -> dict[str, Any]:
    """scikit-learn estimators that a network has to beat, by their key in the metrics.

    The linear one sees the columns imputed by the mean, with indicators of gaps, standardised;
    categories one-hot.
    """
    numbers = [name for name, column in data.features.items() if column.kind != "category"]
    categories = [name for name in data.features if name not in numbers]
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=50), categories),
    )
    constant, linear = (
        (DummyRegressor(), Ridge())
        if data.task == "regression"
        else (DummyClassifier(strategy="prior"), LogisticRegression(max_iter=1000))
    )
    names = BASELINES[data.task]
    return {names["constant"]: constant, names["linear"]: make_pipeline(columns, linear)}


def predict(estimator: Any, x: Any, data: Data) -> np.ndarray:
    """What a fitted baseline says, in the shape of the network's output."""
    if data.task == "regression":
        return np.asarray(estimator.predict(x))[:, None]
    probabilities = np.zeros((len(x), len(data.classes)))
    probabilities[:, estimator.classes_.astype(int)] = estimator.predict_proba(x)
    return probabilities[:, 1:] if data.task == "binary" else probabilities


def score_baselines(split: Path, data: Data, threshold: float) -> dict[str, Any]:
    """The scores of each baseline on the test rows.

    They learn from the rows that the network saw while it was trained, train and validation, up
    to `MAX_BASELINE_ROWS` of them (the rows lie shuffled in the parts).
    """
    seen, y_seen, rows = [], [], 0
    for part in chain(read_parts(split / "train"), read_parts(split / "validation")):
        part = part[: MAX_BASELINE_ROWS - rows]
        rows += len(part)
        seen.append(feature_frame(part, data))
        y_seen.append(labels(part, data)[:, 0])
    x, y = pd.concat(seen, ignore_index=True), np.concatenate(y_seen)
    test = list(read_parts(split / "test"))
    y_test = np.concatenate([labels(part, data)[:, 0] for part in test])
    result = {}
    for name, estimator in baselines(data).items():
        estimator.fit(x, y)
        guesses = [predict(estimator, feature_frame(part, data), data) for part in test]
        result[name] = score(y_test, np.concatenate(guesses), data, threshold)
    return result
