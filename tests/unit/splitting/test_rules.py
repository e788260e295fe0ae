"""The rows of each subset are those of scikit-learn, in its order."""

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from keras_tabular.config.sections import Split
from keras_tabular.core.errors import UserError
from keras_tabular.splitting.rules import random_split, rule_columns
from tests.helpers import build_schema


@pytest.mark.parametrize("stratify", [False, True])
def test_validation_rows_are_drawn_from_what_the_test_rows_leave(stratify: bool) -> None:
    classes = np.random.default_rng(0).integers(0, 3, 103)
    split = Split(test_size=0.33, validation_size=0.2, seed=9, stratify=stratify)
    given = classes if stratify else None
    rest, test = train_test_split(np.arange(103), test_size=0.33, random_state=9, stratify=given)
    train, validation = train_test_split(
        rest, test_size=0.2, random_state=9, stratify=classes[rest] if stratify else None
    )
    for rows, expected in zip(
        random_split(103, split, given), (train, validation, test), strict=True
    ):
        np.testing.assert_array_equal(rows, expected)
    without = split.model_copy(update={"validation_size": 0.0})
    for rows, expected in zip(random_split(103, without, given), (rest, [], test), strict=True):
        np.testing.assert_array_equal(rows, expected)


def test_a_class_too_rare_to_stratify_is_an_error() -> None:
    split = Split(test_size=0.5, validation_size=0.0, seed=1, stratify=True)
    with pytest.raises(UserError, match=r"cannot split 10 rows.*stratify True"):
        random_split(10, split, np.repeat([0, 1], [9, 1]))


def test_rows_that_differ_in_an_ignored_column_alone_stay_together_by_hash() -> None:
    schema = build_schema("regression", x={"kind": "real"}, id={"kind": "integer"})
    split = Split(by="hash", test_size=0.3, validation_size=0.0, seed=1, stratify=False)
    assert rule_columns(split, schema) == ["x", "id", "y"]
    assert rule_columns(split, schema.model_copy(update={"ignore": ("id",)})) == ["x", "y"]
