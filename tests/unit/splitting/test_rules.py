"""A random split draws the rows that scikit-learn draws, in the same order."""

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from keras_tabular.config.sections import Split
from keras_tabular.core.errors import UserError
from keras_tabular.splitting.rules import random_split, rule_columns
from tests.helpers import build_schema


@pytest.mark.parametrize("stratify", [False, True])
@pytest.mark.parametrize("validation_size", [0.0, 0.2])
def test_validation_rows_are_drawn_from_the_rows_that_are_not_for_test(
    stratify: bool, validation_size: float
) -> None:
    classes = np.random.default_rng(0).integers(0, 3, 103) if stratify else None
    split = Split(test_size=0.33, validation_size=validation_size, seed=9, stratify=stratify)
    train, test = train_test_split(np.arange(103), test_size=0.33, random_state=9, stratify=classes)
    validation = train[:0]
    if validation_size:
        stratify_by = None if classes is None else classes[train]
        train, validation = train_test_split(
            train, test_size=0.2, random_state=9, stratify=stratify_by
        )
    rows = random_split(103, split, classes)
    for subset_rows, expected in zip(rows, (train, validation, test), strict=True):
        np.testing.assert_array_equal(subset_rows, expected)


def test_a_class_too_rare_to_stratify_is_an_error() -> None:
    split = Split(test_size=0.5, validation_size=0.0, seed=1, stratify=True)
    with pytest.raises(UserError, match=r"10 rows cannot be split by split in params.yaml: "):
        random_split(10, split, np.repeat([0, 1], [9, 1]))


def test_the_hash_of_a_row_leaves_out_ignored_columns() -> None:
    schema = build_schema("regression", x={"kind": "real"}, id={"kind": "integer"})
    split = Split(by="hash", test_size=0.3, validation_size=0.0, seed=1, stratify=False)
    assert rule_columns(split, schema) == ["x", "id", "y"]
    assert rule_columns(split, schema.model_copy(update={"ignore": ("id",)})) == ["x", "y"]
