"""The estimators pass the checks of scikit-learn, and its tools use them."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

from tests.pipeline import test_estimator
from tests.pipeline.test_estimator import CLASSIFIER, ESTIMATORS

wine = test_estimator.wine  # a fixture

FAILING_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": (
        "folds and batches are dealt by row, so a weight of 2 is not two rows"
    ),
}


@parametrize_with_checks(
    ESTIMATORS,
    expected_failed_checks=lambda _: FAILING_CHECKS,
    xfail_strict=True,
)
def test_all_checks_of_scikit_learn_pass(
    estimator: Any,
    check: Callable[[Any], None],
) -> None:
    check(estimator)


def test_the_tools_of_scikit_learn_use_an_estimator(
    wine: tuple[pd.DataFrame, pd.Series],
) -> None:
    X, y = wine
    estimator = clone(CLASSIFIER)
    encoder = make_column_transformer((OneHotEncoder(), ["odd"]), remainder="drop")
    pipeline = make_pipeline(encoder, estimator)
    assert cross_val_score(pipeline, X, y, cv=2, n_jobs=2).min() > 0
    grid = {"networks__plain__units": [[2], [8]]}
    search = GridSearchCV(estimator, grid, cv=2).fit(X, y)
    networks = search.best_estimator_.networks
    assert networks["plain"] == estimator.networks["plain"] | {"units": [8]}
    calibrated = CalibratedClassifierCV(estimator, cv=2).fit(X, y)
    assert calibrated.score(X, y) > 0.5
