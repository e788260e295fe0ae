"""The estimators pass all checks of scikit-learn that their folds allow."""

from collections.abc import Callable
from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from tests.pipeline.test_estimator import ESTIMATORS

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
