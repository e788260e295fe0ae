"""Scores of predictions with the uncertainty of few rows, and baselines to hold them against."""

from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn import metrics
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

Scores = dict[str, float | int]


def binary_scores(y: np.ndarray, probability: np.ndarray, threshold: float) -> Scores:
    """Scores of the probabilities of class 1.

    Args:
        y: shape (rows,), 0 or 1.
        probability: shape (rows,), 0 to 1.
        threshold: a probability from here on counts as class 1.

    Returns:
        `loss` is the mean binary cross-entropy (Keras's, probabilities kept 1e-7 from 0 and 1);
        `roc_auc` and `average_precision` are left out where all rows are of one class; only
        `rows` is there where there are none.
    """
    scores: Scores = {"rows": len(y)}
    if not len(y):
        return scores
    predicted = probability >= threshold
    scores |= {
        "accuracy": metrics.accuracy_score(y, predicted),
        "precision": metrics.precision_score(y, predicted, zero_division=0),
        "recall": metrics.recall_score(y, predicted, zero_division=0),
        "f1": metrics.f1_score(y, predicted, zero_division=0),
        "loss": metrics.log_loss(y, np.clip(probability, 1e-7, 1 - 1e-7), labels=[0, 1]),
        "brier": metrics.brier_score_loss(y, probability),
    }
    if 0 < y.sum() < len(y):
        scores["roc_auc"] = metrics.roc_auc_score(y, probability)
        scores["average_precision"] = metrics.average_precision_score(y, probability)
    return {name: score if name == "rows" else float(score) for name, score in scores.items()}


def accuracy_interval(accuracy: float, rows: int) -> tuple[float, float]:
    """The 95% Wilson score interval of an accuracy over `rows` independent rows.

    Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    """
    interval = binomtest(round(accuracy * rows), rows).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def baselines() -> dict[str, Any]:
    """scikit-learn classifiers that a network has to beat, by their key in the metrics."""
    logistic: Pipeline = make_pipeline(
        SimpleImputer(add_indicator=True), StandardScaler(), LogisticRegression(max_iter=1000)
    )
    return {"majority": DummyClassifier(strategy="prior"), "logistic_regression": logistic}
