"""The baselines of scikit-learn, with which a network is compared."""

import logging
from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import skew
from sklearn.base import clone, is_classifier
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from keras_tabular.config.schema import Schema, part_name
from keras_tabular.core.parallel import ordered_map
from keras_tabular.evaluation.scores import BaselineParams, Baselines, FittedBaselines
from keras_tabular.table.arrays import labels, round_for_comparison, row_weights
from keras_tabular.table.cells import as_float64, time_zone
from keras_tabular.table.parquet import read_parts, regroup_rows
from keras_tabular.tasks.task import Task

# Limits time and memory; more rows hardly improve a linear model.
MAX_TRAINING_ROWS = 200_000
HASH_BUCKETS = 2**16  # of the words of texts
MAX_CHARACTERS = 2**12  # of each text
MAX_CATEGORIES = 50  # with a column of their own in the linear model
# Chosen by cross-validation on 21 public tables, see docs/scores.md. Scikit-learn's
# early stopping fails for a class of one row, and draws its validation rows without
# regard to groups.
BOOSTING = {
    "learning_rate": 0.1,
    "max_iter": 150,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 10,
    "l2_regularization": 1.0,
    "early_stopping": False,
}
# Newton's method corrects its own rounding errors, which differ between CPUs with the
# order of the additions in a matrix product. L-BFGS amplifies them until probabilities
# differ in the second digit, and so does a solver that stops early.
NEWTON = {"solver": "newton-cholesky", "tol": 1e-8}
# Needs no matrix of second derivatives, but more accuracy, and cannot always reach it.
NEWTON_CG = {"solver": "newton-cg", "tol": 1e-13}
MAX_NEWTON_SIZE = 100  # features times outputs, above which the matrix is too large
RIDGE_TOLERANCE = 1e-14  # of conjugate gradients, the solver for sparse features
# The folds choose one of these penalties of the linear model, and one of these numbers
# of rounds of the trees. The first penalty leaves a constant, and one round nearly so.
PENALTIES = (1e9, 1e4, 1e3, 1e2, 1e1, 1e0, 1e-1, 1e-2)
ROUNDS = (1, 15, 50, 150, 300)
MIN_SKEWNESS = 2.0  # of a target for which the trees also try Poisson's loss
MANY_CLASSES = 10  # above which the largest number of rounds is left out
DATE_PARTS = ("year", "month", "day", "day_of_week", "day_of_year", "hour")

# Features, labels and weights.
TrainingRows = tuple[pd.DataFrame, np.ndarray, np.ndarray]


def predict_baselines(
    split: Path,
    folds: Mapping[str, np.ndarray],
    schema: Schema,
    loss: str,
    tests: Path | None = None,
    chosen: BaselineParams | None = None,
) -> FittedBaselines:
    """Fit every baseline, and predict the test rows and the training rows of the folds.

    For the test rows, a baseline learns from the training and the validation rows, but
    from at most `MAX_TRAINING_ROWS` of them. (The rows of the parts are shuffled.) For
    a fold of cross-validation it learns from the other folds of these rows, and for one
    of forward chaining from the earlier ones.

    In each row set, a baseline has the parameters with the lowest mean loss over all
    folds, see `list_settings`. For the test rows, it has those of the last row set. Its
    scores on the folds are slightly too good, because they are the best of several.

    Args:
        split: Folder with the tables train, validation and test.
        folds: Fold of the training rows, -1 for none, by row set; shape (rows,).
        loss: The loss that the model was trained with, see `build_baselines`.
        tests: Folder of the test rows; by default the one in `split`.
        chosen: The parameters for the test rows, if `folds` does not choose them.
    """
    rows = read_training_rows(split, schema, MAX_TRAINING_ROWS)
    _, y, weight = rows
    task = schema.learning_task
    predictions: Baselines = {}
    chosen = chosen or {}
    # Solvers warn that they cannot be more accurate. Send this to a logger that nobody
    # reads: scikit-learn replaces filters of warnings in each thread, for all threads.
    logging.captureWarnings(True)
    # The limit of BLAS is that of the whole process; Ray's workers start with one.
    with threadpool_limits(1):
        for name, estimator in build_baselines(schema, loss).items():
            predictions[name] = {}
            settings = list_settings(estimator[-1], y, task)
            for row_set, all_folds in folds.items():
                fold = all_folds[:MAX_TRAINING_ROWS]
                work = partial(predict_fold, estimator, rows, row_set, fold, task)
                numbers = np.unique(fold[fold >= 0])
                if not len(numbers):
                    continue
                y_pred = np.concatenate([*ordered_map(work, numbers)], axis=1)
                order = np.argsort(fold, kind="stable")[-y_pred.shape[1] :]
                losses = [task.row_losses(y[order], each, loss) for each in y_pred]
                means = map(round_for_comparison, losses @ weight[order])
                best = np.argmin([*means])
                predictions[name][row_set] = y_pred[best, np.argsort(order)]
                chosen[name] = settings[best]
            estimator[-1].set_params(**chosen.get(name, {}))
            fitted = fit(estimator, *rows)
            parts = read_parts(tests or split / "test")
            frames = (feature_frame(part, schema) for part in parts)
            y_test = [predict(fitted, frame, task) for frame in frames]
            predictions[name]["test"] = np.concatenate(y_test)
    logging.captureWarnings(False)
    return FittedBaselines(predictions, chosen)


def predict_fold(
    estimator: Pipeline,
    rows: TrainingRows,
    row_set: str,
    fold: np.ndarray,
    task: Task,
    number: int,
) -> np.ndarray:
    """Predict the rows of one fold with all settings: (settings, rows, outputs)."""
    x, y, weight = rows
    is_training = fold < number if row_set == "forward_chaining" else fold != number
    training = np.flatnonzero(is_training)
    columns, model = clone(estimator[:-1]), clone(estimator[-1:])
    y_pred = []
    with threadpool_limits(1, "openmp"):  # of this thread; others work as well
        features = columns.fit_transform(x.iloc[training])
        held_out = columns.transform(x.iloc[np.flatnonzero(fold == number)])
        for setting in list_settings(estimator[-1], y, task):
            model[-1].set_params(**setting)
            fitted = fit(model, features, y[training], weight[training])
            y_pred.append(predict(fitted, held_out, task))
    return np.array(y_pred)


def list_settings(model: Any, y: np.ndarray, task: Task) -> list[dict[str, Any]]:
    """List the parameters of a baseline from which the folds choose.

    With `warm_start`, a fit goes on from the one before. For a skewed target that is
    never negative, the trees also try Poisson's loss. It is chosen by the same loss as
    all others.
    """
    if isinstance(model, LogisticRegression):
        return [{"C": 1 / penalty} for penalty in PENALTIES]
    if isinstance(model, Ridge):
        return [{"alpha": penalty} for penalty in PENALTIES]
    rounds = ROUNDS[:-1] if task.n_outputs > MANY_CLASSES else ROUNDS
    losses = [model.loss]
    if model.loss == "squared_error" and y.min() >= 0 and skew(y) > MIN_SKEWNESS:
        losses.append("poisson")
    return [
        {"loss": loss, "max_iter": number, "warm_start": number > rounds[0]}
        for loss in losses
        for number in rounds
    ]


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
        size = len(schema.features) * schema.learning_task.n_outputs
        is_large = texts or size > MAX_NEWTON_SIZE
        solver = NEWTON_CG if is_large else NEWTON
        linear = LogisticRegression(**solver, warm_start=True)
        trees = HistGradientBoostingClassifier(**boosting)
    else:
        linear = Ridge(tol=RIDGE_TOLERANCE)
        error = "absolute" if loss == "mean_absolute_error" else "squared"
        trees = HistGradientBoostingRegressor(loss=f"{error}_error", **boosting)
    return {
        "linear": make_pipeline(for_linear, linear),
        "gradient_boosting": make_pipeline(for_trees, trees),
    }


def feature_frame(part: pa.Table, schema: Schema) -> pd.DataFrame:
    """Build the columns that scikit-learn reads: float64, or text with gaps.

    The schema's time is left out except for its calendar parts, because no row to be
    predicted has a time that was learnt from.
    """
    columns = {}
    for name, column in schema.features.items():
        values = part[name]
        match column.feature_type:
            case "text":
                values = pc.utf8_slice_codeunits(values, 0, MAX_CHARACTERS)
                columns[name] = values.fill_null("").to_numpy()
                lengths = pc.fill_null(pc.utf8_length(values), 0)
                columns[f"{name}\x1flength"] = lengths.to_numpy()
            case "datetime":
                days = pc.divide(as_float64(values, column), 86_400.0)
                columns[part_name(name, "time")] = days.to_numpy()
                zone = time_zone(column.timezone or "UTC")
                local = values.to_pandas().dt.tz_convert(zone)
                for date_part in DATE_PARTS:
                    parts = getattr(local.dt, date_part)
                    columns[part_name(name, date_part)] = parts.astype(np.float64)
            case "number":
                columns[name] = as_float64(values, column).to_numpy()
            case "category":
                columns[name] = values.to_numpy()
    if schema.time and len(columns) > 1:
        columns.pop(schema.time, None)
        columns.pop(part_name(schema.time, "time"), None)
    return pd.DataFrame(columns)


def fit(estimator: Any, x: Any, y: np.ndarray, weight: np.ndarray) -> Any:
    """Fit an estimator and return it; a constant if all rows have the same target.

    No linear model can learn a single class, and no trees a Poisson mean of 0. The
    trees cannot read a column without values, so that its missing values are replaced
    by a number, which they never use.
    """
    if isinstance(x, pd.DataFrame):
        is_empty = x.isna().all() & (x.dtypes == np.float64)
        x = x.fillna(dict.fromkeys(x.columns[is_empty], 0.0))
    if len(np.unique(y)) < 2:
        constant = DummyClassifier() if is_classifier(estimator) else DummyRegressor()
        estimator = make_pipeline(constant)
    weights = {}
    if (weight != 1).any():
        weights[f"{estimator.steps[-1][0]}__sample_weight"] = weight
    return estimator.fit(x, y, **weights)


def predict(fitted: Any, x: Any, task: Task) -> np.ndarray:
    """Predict rows with a fitted baseline as a network does: shape (rows, outputs).

    Probabilities are rounded, so that those of equal rows are equal on any CPU.
    """
    if not task.classes:
        return np.asarray(fitted.predict(x))[:, None]
    probabilities = np.zeros((x.shape[0], len(task.classes)))
    probabilities[:, fitted.classes_.astype(int)] = fitted.predict_proba(x)
    return probabilities[:, list(task.output_classes)].round(10)
