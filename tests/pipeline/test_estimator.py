"""The estimators train the pipeline's models, and scikit-learn's tools use them."""

import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.base import clone
from sklearn.utils import estimator_checks

import keras_tabular
from keras_tabular.config.schema import load_schema
from keras_tabular.core.workers import WORKERS
from keras_tabular.table.parquet import FOLD_KEY
from network import build
from tests.commands import check_output
from tests.helpers import PROJECT
from tests.projects import LONGER_TRAINING
from tests.tables import load_table

# All checks and more tools of scikit-learn are in tests/nightly.
QUICK_CHECKS = (
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimators_unfitted",
    "check_fit_idempotent",
    "check_n_features_in_after_fitting",
    "check_supervised_y_no_nan",
)
CLASSIFIER = keras_tabular.TabularClassifier(**LONGER_TRAINING)
ESTIMATORS = [CLASSIFIER, keras_tabular.TabularRegressor(**LONGER_TRAINING)]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("check", QUICK_CHECKS)
def test_scikit_learn_accepts_the_estimators(estimator: Any, check: str) -> None:
    getattr(estimator_checks, check)(type(estimator).__name__, estimator)


def read_project(project: Path) -> tuple[Any, pd.DataFrame, pd.Series, Any]:
    """Return an estimator with a project's parameters, and its training rows."""
    schema = load_schema(project / "data/schema.yaml")
    train = yaml.safe_load((project / "params.yaml").read_text())["train"]
    rows = pd.read_parquet(project / "data/split/train")
    groups = rows[FOLD_KEY] if FOLD_KEY in rows and not schema.time else None
    X = rows.drop(columns=[schema.target, FOLD_KEY], errors="ignore")
    if schema.classes:
        estimator: Any = keras_tabular.TabularClassifier(schema=schema, **train)
    else:
        del train["class_weight"]
        estimator = keras_tabular.TabularRegressor(schema=schema, **train)
    return estimator, X, rows[schema.target], groups


@pytest.mark.parametrize("name", ["mixed_binary", "wine", "shops"])
def test_the_model_is_that_of_the_pipeline(
    name: str,
    trained_project: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    project = trained_project(name)
    estimator, X, y, groups = read_project(project)
    estimator.fit(X, y, groups=groups).save(tmp_path / "model.keras")
    model = project / "models/model.keras"
    assert (tmp_path / "model.keras").read_bytes() == model.read_bytes()
    oof = pd.read_parquet(project / "data/oof/part-00000.parquet")
    if name == "wine":
        expected = oof.drop(columns="fold")
        np.testing.assert_allclose(estimator.oof_predictions_, expected, rtol=1e-6)


PREDICT = """
import pickle, sys
import tensorflow as tf
tf.constant(1.0) + 1
X, estimator = pickle.load(open(sys.argv[1], "rb"))
print(estimator.predict_proba(X).tobytes().hex())
"""


def test_the_default_model_and_its_copies_are_that_of_the_pipeline(
    reproduced: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also in another process, in which TensorFlow has computed something before."""
    _, X, y, _ = read_project(reproduced)
    schema = reproduced / "data/schema.yaml"
    estimator = keras_tabular.TabularClassifier(schema=schema).fit(X, y)
    monkeypatch.setenv(WORKERS, "1")
    copy = clone(estimator).fit(X, y)
    model = (reproduced / "models/model.keras").read_bytes()
    file = tmp_path / "file"
    for each in (estimator, copy):
        each.save(file)
        assert file.read_bytes() == model
    file.write_bytes(pickle.dumps((X, copy)))
    printed = check_output(PROJECT, sys.executable, "-c", PREDICT, str(file))
    assert printed.strip() == estimator.predict_proba(X).tobytes().hex()


@pytest.fixture(scope="module")
def wine() -> tuple[pd.DataFrame, pd.Series]:
    """A table of three classes."""
    rows = load_table("wine")
    return rows.iloc[:, :3].assign(odd=rows.index % 2 == 1), rows.iloc[:, -1]


def test_columns_are_known_by_their_names(wine: tuple[pd.DataFrame, pd.Series]) -> None:
    X, y = wine
    day = pd.date_range("2024-01-01", periods=len(X), tz="Europe/Berlin")
    colour = X["odd"].map({True: "red", False: None}).astype("category")
    X = X.assign(day=day, colour=colour)
    X.columns = pd.Index(range(6))
    X.iloc[3, 0] = np.nan
    numpy_state: Any = np.random.get_state()
    random_state = random.getstate()
    estimator = clone(CLASSIFIER).set_params(build=lambda *args: build(*args))
    estimator.fit(X, y, groups=y)
    y_pred = estimator.predict(X)
    assert random.getstate() == random_state
    np.testing.assert_equal(np.random.get_state(), numpy_state)
    np.testing.assert_equal(estimator.predict(X[X.columns[::-1]]), y_pred)
    kinds = [column.kind for column in estimator.schema_.columns.values()]
    assert kinds[3:6] == ["boolean", "datetime", "category"]
    with pytest.raises(ValueError, match="missing: 2"):
        estimator.predict(X.drop(columns=2))
    with pytest.raises(ValueError, match=r"plain\.unit: .* 'units'"):
        clone(CLASSIFIER).set_params(networks__plain__unit=[2]).fit(X, y)
