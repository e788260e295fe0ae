"""scikit-learn estimators that a network has to beat, on the test rows and on its own folds."""

from functools import lru_cache, partial
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from keras_tabular.config.schema import Column, Schema
from keras_tabular.core.metrics import TASKS
from keras_tabular.core.parallel import ordered_map
from keras_tabular.evaluation.scores import Baselines, Folds
from keras_tabular.table.arrays import labels, row_weights
from keras_tabular.table.cells import as_float64, is_missing, time_zone
from keras_tabular.table.parquet import read_parts

MAX_ROWS = 200_000  # to learn from: enough for a linear model, and bounded in time and memory

BUCKETS, MAX_TEXT = 2**16, 2**12  # of hashed words; characters of a text that are read
# Chosen by cross-validation on 22 public tables, see docs/scores.md. There is no early stopping: it
# fails for a class of one row, and it draws its validation rows without regard to groups.
BOOSTING = {
    "learning_rate": 0.1, "max_iter": 150, "max_leaf_nodes": 8, "min_samples_leaf": 10,
    "l2_regularization": 1.0, "early_stopping": False,
}  # fmt: skip
DATE_PARTS = ("year", "month", "day", "day_of_week", "day_of_year", "hour")


Job = tuple[str, str, int]  # name of a baseline, set of rows, and number of a fold


def predict_baselines(
    split: Path, folds: Folds, schema: Schema, loss: str, tests: Path | None = None
) -> Baselines:
    """Compute the predictions of every baseline, by its name and the set of rows.

    For the test rows they learn from the rows that the network saw while it was trained, train
    and validation, up to `MAX_ROWS` of them (the rows lie shuffled in the parts). For a fold of
    cross-validation they learn from as many training rows of the other folds, and for one of
    forward chaining from those of the earlier ones.

    Args:
        split: Folder of the tables train, validation and test.
        folds: Fold of the training rows by set of rows.
        loss: The loss that the model was trained with; see `baselines`.
        tests: Folder of the test rows; that of the split by default.
    """
    names, folds = list(baselines(schema, loss)), {k: fold[:MAX_ROWS] for k, fold in folds.items()}
    numbers = {k: np.unique(fold[fold >= 0]).tolist() for k, fold in folds.items()} | {"test": [0]}
    jobs = [(name, k, number) for name in names for k in numbers for number in numbers[k]]
    _learning_rows(split.absolute(), schema.model_dump_json())  # once, for all threads
    tests = tests or split / "test"
    work = partial(fit_and_predict, split=split, folds=folds, schema=schema, loss=loss, tests=tests)
    with threadpool_limits(1, "blas"):  # of the whole process; Ray starts its own so
        outputs = dict(zip(jobs, ordered_map(work, jobs), strict=True))
    predictions = {name: {"test": outputs[name, "test", 0]} for name in names}
    for name, (k, fold) in product(names, folds.items()):
        y_pred = np.zeros((len(fold), schema.outputs))
        for number in numbers[k]:
            y_pred[fold == number] = outputs[name, k, number]
        predictions[name][k] = y_pred[fold >= 0]
    return predictions


def fit_and_predict(
    job: Job, split: Path, folds: Folds, schema: Schema, loss: str, tests: Path
) -> np.ndarray:
    """Return what a baseline predicts for a fold that it has not seen, or for the test rows."""
    name, rows, number = job
    x, y, weight = _learning_rows(split.absolute(), schema.model_dump_json())
    estimator = baselines(schema, loss)[name]
    with threadpool_limits(1, "openmp"):  # of this thread, beside others
        if rows in folds:
            fold = folds[rows]
            is_learnt = fold < number if rows == "forward_chaining" else fold != number
            learnt, predicted = np.flatnonzero(is_learnt), np.flatnonzero(fold == number)
            fitted = fit(estimator, x.iloc[learnt], y[learnt], weight[learnt])
            return predict(fitted, x.iloc[predicted], schema)
        fitted = fit(estimator, x, y, weight)
        parts = (feature_frame(part, schema) for part in read_parts(tests))
        return np.concatenate([predict(fitted, part, schema) for part in parts])


@lru_cache(1)
def _learning_rows(split: Path, schema: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    return training_frame(split, Schema.model_validate_json(schema), MAX_ROWS)


def baselines(schema: Schema, loss: str) -> dict[str, Any]:
    """Build the scikit-learn estimators, by their key in the metrics.

    The linear model reads the columns imputed by the mean, with indicators of missing values, and
    standardised; categories one-hot; the hashed words of texts by TF-IDF. The boosted trees read
    missing values and categories as they are, and only the length of a text. Both read a timestamp
    as the parts of the calendar.

    Args:
        loss: The loss that the model was trained with. If it is the mean absolute error, by which
            the model is then compared, the constant is the median, and the trees minimise absolute
            errors. The linear model remains a ridge regression: those of scikit-learn that
            minimise absolute errors take too long for many rows, or fail on some tables.
    """
    features = schema.features.items()
    categories = [name for name, column in features if column.feature_type == "category"]
    texts = [name for name, column in features if column.feature_type == "text"]
    columns = [key for name, column in features for key in number_names(name, column)]
    filled = make_pipeline(
        SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler()
    )
    words = make_pipeline(
        HashingVectorizer(n_features=BUCKETS, alternate_sign=False, norm=None), TfidfTransformer()
    )
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=50)
    # The trees take up to 255 categories: the rarer ones are one, and new ones are missing.
    ordinal = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=254
    )
    by_linear = make_column_transformer(
        (filled, columns), (one_hot, categories), *((words, name) for name in texts)
    )
    by_trees = make_column_transformer(("passthrough", columns), (ordinal, categories))
    are_categories = np.arange(len(columns) + len(categories)) >= len(columns)
    boosting = {**BOOSTING, "categorical_features": are_categories, "random_state": 0}
    if schema.task != "regression":
        constant, linear = DummyClassifier(strategy="prior"), LogisticRegression(max_iter=1000)
        trees = HistGradientBoostingClassifier(**boosting)
    else:
        absolute = loss == "mean_absolute_error"
        average, error = ("median", "absolute") if absolute else ("mean", "squared")
        constant, linear = DummyRegressor(strategy=average), Ridge()
        trees = HistGradientBoostingRegressor(loss=f"{error}_error", **boosting)
    names = TASKS[schema.task].baselines
    return {
        names["constant"]: constant,
        names["linear"]: make_pipeline(by_linear, linear),
        names["boosted"]: make_pipeline(by_trees, trees),
    }


def training_frame(
    split: Path, schema: Schema, limit: int
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Read the first `limit` rows of train and validation: columns, labels and weights."""
    frames, y, weight, rows = [], [], [], 0
    for part in chain(read_parts(split / "train"), read_parts(split / "validation")):
        part = part[: limit - rows]
        rows += len(part)
        frames.append(feature_frame(part, schema))
        y.append(labels(part, schema)[:, 0])
        weight.append(row_weights(part, schema))
    return pd.concat(frames, ignore_index=True), np.concatenate(y), np.concatenate(weight)


def feature_frame(part: pa.Table, schema: Schema) -> pd.DataFrame:
    """Build the columns that scikit-learn reads: float64 or text, empty if a value is missing."""
    columns = {}
    for name, column in schema.features.items():
        present = pc.if_else(is_missing(part[name], column), None, part[name])
        match column.feature_type:
            case "text":
                present = pc.utf8_slice_codeunits(present, 0, MAX_TEXT)
                columns[name] = present.fill_null("").to_numpy(zero_copy_only=False)
                (length,) = number_names(name, column)
                columns[length] = pc.fill_null(pc.utf8_length(present), 0).to_numpy()
            case "datetime":
                days = pc.divide(as_float64(present, column), 86_400.0)
                local = present.to_pandas().dt.tz_convert(time_zone(column.timezone or "UTC"))
                parts = [days.to_numpy(zero_copy_only=False)]
                for part_name in DATE_PARTS:
                    values = getattr(local.dt, part_name)
                    parts.append(values.to_numpy(np.float64, na_value=np.nan))
                columns |= dict(zip(number_names(name, column), parts, strict=True))
            case "number":
                columns[name] = as_float64(present, column).to_numpy(zero_copy_only=False)
            case "category":
                columns[name] = present.to_numpy(zero_copy_only=False)
    return pd.DataFrame(columns)


def number_names(name: str, column: Column) -> list[str]:
    """List the number columns of `feature_frame` for one: a text's length, parts of a datetime."""
    if column.feature_type == "number":
        return [name]
    parts = {"datetime": ("days", *DATE_PARTS), "text": ("length",)}
    return [f"{name}\x1f{part}" for part in parts.get(column.feature_type, ())]


def fit(estimator: Any, x: pd.DataFrame, y: np.ndarray, weight: np.ndarray) -> Any:
    """Fit a copy; for rows of one class, which no linear model can learn, fit a constant.

    Trees cannot bin a column without values, so its gaps become one value, which they never use.
    """
    empty = [name for name in x.columns[x.isna().all()] if x[name].dtype == np.float64]
    x = x.fillna(dict.fromkeys(empty, 0.0)) if empty else x
    if is_classifier(estimator) and len(np.unique(y)) < 2:
        estimator = DummyClassifier(strategy="prior")
    if (weight == 1).all():
        return clone(estimator).fit(x, y)
    steps = getattr(estimator, "steps", [])
    key = f"{steps[-1][0]}__sample_weight" if steps else "sample_weight"
    return clone(estimator).fit(x, y, **{key: weight})


def predict(fitted: Any, x: pd.DataFrame, schema: Schema) -> np.ndarray:
    """Return what a fitted baseline predicts, in the shape of the network's outputs."""
    if schema.task == "regression":
        return np.asarray(fitted.predict(x))[:, None]
    probabilities = np.zeros((len(x), len(schema.classes)))
    probabilities[:, fitted.classes_.astype(int)] = fitted.predict_proba(x)
    return probabilities[:, 1:] if schema.task == "binary" else probabilities
