"""scikit-learn estimators that a network has to beat, on the test rows and on its own folds."""

from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tabular.evaluation.scores import Scores, paired_difference, row_scores
from tabular.metrics import TASKS, metric
from tabular.schema import Schema
from tabular.table.arrays import labels
from tabular.table.cells import is_missing
from tabular.table.parquet import read_parts

MAX_ROWS = 200_000  # to learn from: enough for a linear model, and bounded in time and memory


class Baseline(NamedTuple):
    """Predictions of one baseline, in the shape of the network's outputs.

    `test` (test rows, outputs); `oof` (n, outputs), out-of-fold for the first n training rows,
    none without folds.
    """

    test: np.ndarray
    oof: np.ndarray


def predict_baselines(split: Path, fold: np.ndarray, schema: Schema) -> dict[str, Baseline]:
    """The predictions of every baseline, by its key in the metrics.

    For the test rows they learn from the rows that the network saw while it was trained, train
    and validation, up to `MAX_ROWS` of them (the rows lie shuffled in the parts); out of fold from
    as many training rows of the other folds.

    Args:
        split: the folder of the tables train, validation and test.
        fold: of each training row, int32, shape (rows,); empty without folds.
    """
    x, y = learning_rows(split, schema, MAX_ROWS)
    test = [feature_frame(part, schema) for part in read_parts(split / "test")]
    fold = fold[:MAX_ROWS]
    predictions = {}
    for name, estimator in baselines(schema).items():
        oof = np.zeros((len(fold), schema.outputs))
        for number in np.unique(fold):
            others, own = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            fitted = fit(estimator, x.iloc[others], y[others])
            oof[own] = predict(fitted, x.iloc[own], schema)
        fitted = fit(estimator, x, y)
        outputs = [predict(fitted, part, schema) for part in test]
        predictions[name] = Baseline(np.concatenate(outputs), oof)
    return predictions


def baselines(schema: Schema) -> dict[str, Any]:
    """scikit-learn estimators by their key in the metrics, with its default settings.

    The linear one sees the columns imputed by the mean, with indicators of gaps, standardised;
    categories one-hot. The boosted one sees gaps and categories as they are.
    """
    numbers = [name for name, column in schema.features.items() if column.kind != "category"]
    categories = [name for name in schema.features if name not in numbers]
    filled = make_pipeline(
        SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler()
    )
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=50)
    # The trees take up to 255 categories: the rarer ones are one, and new ones are missing.
    ordinal = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=254
    )
    constant, linear, boosted = (
        (DummyRegressor(), Ridge(), HistGradientBoostingRegressor)
        if schema.task == "regression"
        else (
            DummyClassifier(strategy="prior"),
            LogisticRegression(max_iter=1000),
            HistGradientBoostingClassifier,
        )
    )
    names = TASKS[schema.task].baselines
    return {
        names["constant"]: constant,
        names["linear"]: make_pipeline(
            make_column_transformer((filled, numbers), (one_hot, categories)), linear
        ),
        names["boosted"]: make_pipeline(
            make_column_transformer(("passthrough", numbers), (ordinal, categories)),
            boosted(
                categorical_features=np.arange(len(schema.features)) >= len(numbers),
                random_state=0,
            ),
        ),
    }


def learning_rows(
    split: Path, schema: Schema, limit: int | None
) -> tuple[pd.DataFrame, np.ndarray]:
    """The first `limit` rows of train and validation, and their labels, shape (rows,)."""
    frames, y, rows = [], [], 0
    for part in chain(read_parts(split / "train"), read_parts(split / "validation")):
        part = part[: None if limit is None else limit - rows]
        rows += len(part)
        frames.append(feature_frame(part, schema))
        y.append(labels(part, schema)[:, 0])
    return pd.concat(frames, ignore_index=True), np.concatenate(y)


def feature_frame(part: pa.Table, schema: Schema) -> pd.DataFrame:
    """A part as scikit-learn reads it: float64 or text, empty where a value is missing."""
    columns = {}
    for name, column in schema.features.items():
        present = pc.if_else(is_missing(part[name], column), None, part[name])
        if column.kind != "category":
            present = present.cast(pa.float64(), safe=False)
        columns[name] = present.to_numpy(zero_copy_only=False)
    return pd.DataFrame(columns)


def fit(estimator: Any, x: pd.DataFrame, y: np.ndarray) -> Any:
    """A fitted copy; of rows of one class, which no linear model can learn, a constant one."""
    if not is_classifier(estimator) or len(np.unique(y)) > 1:
        return clone(estimator).fit(x, y)
    return DummyClassifier(strategy="prior").fit(x, y)


def predict(fitted: Any, x: pd.DataFrame, schema: Schema) -> np.ndarray:
    """What a fitted baseline predicts, in the shape of the network's outputs."""
    if schema.task == "regression":
        return np.asarray(fitted.predict(x))[:, None]
    probabilities = np.zeros((len(x), len(schema.classes)))
    probabilities[:, fitted.classes_.astype(int)] = fitted.predict_proba(x)
    return probabilities[:, 1:] if schema.task == "binary" else probabilities


def ahead(
    y: np.ndarray,
    outputs: np.ndarray,
    others: dict[str, np.ndarray],
    schema: Schema,
    threshold: float,
) -> list[str]:
    """The baselines whose main score is better beyond the interval of the paired difference.

    Args: see `difference_from_best`.
    """
    mine = row_scores(y, outputs, schema, threshold)
    worse = -1 if metric(TASKS[schema.task].main).greater_is_better else 1
    found = []
    for name, other in others.items():
        theirs = row_scores(y[: len(other)], other, schema, threshold)
        difference = paired_difference(mine[: len(other)], theirs)
        if min(worse * difference["low"], worse * difference["high"]) > 0:
            found.append(name)
    return found


def difference_from_best(
    y: np.ndarray,
    outputs: np.ndarray,
    others: dict[str, np.ndarray],
    schema: Schema,
    threshold: float,
) -> Scores:
    """The `baseline` of the best main score, and the paired difference of the network's from it.

    Args:
        y: labels, shape (rows,).
        outputs: of the network, shape (rows, outputs).
        others: of the baselines, for the first n of these rows.
    """
    of_rows = {
        name: row_scores(y[: len(other)], other, schema, threshold)
        for name, other in others.items()
    }
    sign = 1 if metric(TASKS[schema.task].main).greater_is_better else -1
    best = max(of_rows, key=lambda name: sign * of_rows[name].mean())
    mine = row_scores(y, outputs, schema, threshold)[: len(of_rows[best])]
    return {"baseline": best} | paired_difference(mine, of_rows[best])
