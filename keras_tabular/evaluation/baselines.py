"""The baselines of scikit-learn, with which a network is compared."""

from collections.abc import Mapping
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import is_classifier
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from keras_tabular.config.schema import Schema, part_name
from keras_tabular.core.parallel import ordered_map
from keras_tabular.evaluation.scores import Baselines
from keras_tabular.table.arrays import labels, row_weights
from keras_tabular.table.cells import as_float64, time_zone
from keras_tabular.table.parquet import read_parts, regroup_rows
from keras_tabular.tasks.task import Task

# Limits time and memory; more rows hardly improve a linear model.
MAX_TRAINING_ROWS = 200_000
HASH_BUCKETS = 2**16  # of the words of texts
MAX_CHARACTERS = 2**12  # of each text
MAX_CATEGORIES = 50  # with a column of their own in the linear model
# Chosen by cross-validation on 22 public tables, see docs/scores.md. There is no early
# stopping: it fails for a class of one row, and draws its validation rows without
# regard to groups.
BOOSTING = {
    "learning_rate": 0.1,
    "max_iter": 150,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 10,
    "l2_regularization": 1.0,
    "early_stopping": False,
}
DATE_PARTS = ("year", "month", "day", "day_of_week", "day_of_year", "hour")

Folds = Mapping[str, np.ndarray]  # fold of each training row by row set, shape (rows,)
Job = tuple[str, str, int]  # name of a baseline, row set, and number of a fold
# Features, labels and weights.
TrainingRows = tuple[pd.DataFrame, np.ndarray, np.ndarray]


def predict_baselines(
    split: Path,
    folds: Folds,
    schema: Schema,
    loss: str,
    tests: Path | None = None,
) -> Baselines:
    """Fit every baseline, and predict the test rows and the training rows of the folds.

    For the test rows, a baseline learns from the training and the validation rows, but
    from at most `MAX_TRAINING_ROWS` of them. (The rows of the parts are shuffled.) For
    a fold of cross-validation it learns from the other folds of these rows, and for one
    of forward chaining from the earlier ones.

    Args:
        split: Folder with the tables train, validation and test.
        folds: Fold of the training rows, -1 for none, by row set.
        loss: The loss that the model was trained with, see `build_baselines`.
        tests: Folder of the test rows; by default the one in `split`.

    Returns:
        The predictions by name of the baseline and row set, shape (rows, outputs).
    """
    names = list(build_baselines(schema, loss))
    folds = {row_set: fold[:MAX_TRAINING_ROWS] for row_set, fold in folds.items()}
    numbers = {
        row_set: np.unique(fold[fold >= 0]).tolist() for row_set, fold in folds.items()
    }
    numbers["test"] = [0]
    jobs: list[Job] = []
    for name, row_set in product(names, numbers):
        jobs += [(name, row_set, number) for number in numbers[row_set]]
    rows = read_training_rows(split, schema, MAX_TRAINING_ROWS)

    def work(job: Job) -> np.ndarray:
        return fit_and_predict(job, rows, folds, schema, loss, tests or split / "test")

    # The limit is that of the whole process; Ray's workers start with one.
    with threadpool_limits(1, "blas"):
        y_pred = dict(zip(jobs, ordered_map(work, jobs), strict=True))
    predictions = {name: {"test": y_pred[name, "test", 0]} for name in names}
    for name, (row_set, fold) in product(names, folds.items()):
        fold_predictions = np.zeros((len(fold), schema.learning_task.n_outputs))
        for number in numbers[row_set]:
            fold_predictions[fold == number] = y_pred[name, row_set, number]
        predictions[name][row_set] = fold_predictions[fold >= 0]
    return predictions


def fit_and_predict(
    job: Job,
    rows: TrainingRows,
    folds: Folds,
    schema: Schema,
    loss: str,
    tests: Path,
) -> np.ndarray:
    """Fit one baseline, and predict the rows of one fold, or the test rows."""
    name, row_set, number = job
    x, y, weight = rows
    task = schema.learning_task
    estimator = build_baselines(schema, loss)[name]
    # The limit is that of this thread; other jobs run at the same time.
    with threadpool_limits(1, "openmp"):
        if row_set in folds:
            fold = folds[row_set]
            is_training = (
                fold < number if row_set == "forward_chaining" else fold != number
            )
            training = np.flatnonzero(is_training)
            held_out = np.flatnonzero(fold == number)
            x_held_out = x.iloc[held_out]
            x = x.iloc[training]
            fitted = fit(estimator, x, y[training], weight[training])
            return predict(fitted, x_held_out, task)
        fitted = fit(estimator, x, y, weight)
        parts = (feature_frame(part, schema) for part in read_parts(tests))
        return np.concatenate([predict(fitted, part, task) for part in parts])


def read_training_rows(split: Path, schema: Schema, limit: int) -> TrainingRows:
    """Read features, labels and weights of the first rows of train and validation."""
    parts = chain(read_parts(split / "train"), read_parts(split / "validation"))
    rows = next(regroup_rows(parts, [limit]))
    return (
        feature_frame(rows, schema),
        labels(rows, schema)[:, 0],
        row_weights(rows, schema),
    )


def build_baselines(schema: Schema, loss: str) -> dict[str, Any]:
    """Build the estimators of scikit-learn, by their key in the metrics.

    The linear model reads numbers that are imputed by the mean and standardised, with
    indicators of missing values; categories one-hot encoded; and texts as TF-IDF of
    hashed words. The boosted trees read missing values and categories as they are, and
    only the length of a text. Both read a timestamp as parts of the calendar.

    Args:
        loss: The loss that the model was trained with. If it is the mean absolute
            error, models are compared by it, and the trees minimise it. The linear
            model remains a ridge regression: the linear models of scikit-learn that
            minimise absolute errors are too slow for many rows, or fail on some tables.
    """
    features = schema.features.items()
    categories = [
        name for name, column in features if column.feature_type == "category"
    ]
    texts = [name for name, column in features if column.feature_type == "text"]
    numbers = make_column_selector(dtype_include="number")
    imputer = SimpleImputer(add_indicator=True, keep_empty_features=True)
    imputed = make_pipeline(imputer, StandardScaler())
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=MAX_CATEGORIES,
    )
    hashed = HashingVectorizer(n_features=HASH_BUCKETS, alternate_sign=False, norm=None)
    words = make_pipeline(hashed, TfidfTransformer())
    for_linear = make_column_transformer(
        (imputed, numbers),
        (one_hot, categories),
        *((words, name) for name in texts),
    )
    # The trees distinguish 255 categories: the rarer ones are one category, new ones
    # are missing.
    ordinal = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        max_categories=254,
    )
    for_trees = make_column_transformer(
        ("passthrough", numbers),
        (ordinal, categories),
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    boosting = {**BOOSTING, "categorical_features": categories, "random_state": 0}
    if schema.classes:
        linear = LogisticRegression(max_iter=1000)
        trees = HistGradientBoostingClassifier(**boosting)
    else:
        linear = Ridge()
        error = "absolute" if loss == "mean_absolute_error" else "squared"
        trees = HistGradientBoostingRegressor(loss=f"{error}_error", **boosting)
    return {
        "linear": make_pipeline(for_linear, linear),
        "gradient_boosting": make_pipeline(for_trees, trees),
    }


def feature_frame(part: pa.Table, schema: Schema) -> pd.DataFrame:
    """Build the columns that scikit-learn reads: float64, or text with gaps."""
    columns = {}
    for name, column in schema.features.items():
        values = part[name]
        match column.feature_type:
            case "text":
                values = pc.utf8_slice_codeunits(values, 0, MAX_CHARACTERS)
                columns[name] = values.fill_null("").to_numpy(zero_copy_only=False)
                lengths = pc.fill_null(pc.utf8_length(values), 0)
                columns[f"{name}\x1flength"] = lengths.to_numpy()
            case "datetime":
                days = pc.divide(as_float64(values, column), 86_400.0)
                columns[part_name(name, "time")] = days.to_numpy(zero_copy_only=False)
                zone = time_zone(column.timezone or "UTC")
                local = values.to_pandas().dt.tz_convert(zone)
                for date_part in DATE_PARTS:
                    parts = getattr(local.dt, date_part)
                    columns[part_name(name, date_part)] = parts.astype(np.float64)
            case "number":
                numbers = as_float64(values, column)
                columns[name] = numbers.to_numpy(zero_copy_only=False)
            case "category":
                columns[name] = values.to_numpy(zero_copy_only=False)
    return pd.DataFrame(columns)


def fit(
    estimator: Any,
    x: pd.DataFrame,
    y: np.ndarray,
    weight: np.ndarray,
) -> Any:
    """Fit an estimator and return it; a constant if all rows are of one class.

    No linear model can learn a single class. The trees cannot read a column without
    values, so that its missing values are replaced by a number, which they never use.
    """
    empty = [name for name in x.columns[x.isna().all()] if x[name].dtype == np.float64]
    x = x.fillna(dict.fromkeys(empty, 0.0)) if empty else x
    if is_classifier(estimator) and len(np.unique(y)) < 2:
        estimator = make_pipeline(DummyClassifier(strategy="prior"))
    weights = {}
    if (weight != 1).any():
        weights[f"{estimator.steps[-1][0]}__sample_weight"] = weight
    return estimator.fit(x, y, **weights)


def predict(fitted: Any, x: pd.DataFrame, task: Task) -> np.ndarray:
    """Predict rows with a fitted baseline as a network does: shape (rows, outputs)."""
    if not task.classes:
        return np.asarray(fitted.predict(x))[:, None]
    probabilities = np.zeros((len(x), len(task.classes)))
    probabilities[:, fitted.classes_.astype(int)] = fitted.predict_proba(x)
    return probabilities[:, list(task.output_classes)]
