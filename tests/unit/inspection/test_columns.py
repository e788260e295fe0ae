"""Test rows beyond what training saw are told where the column matters."""

import pyarrow as pa
import pytest

from keras_tabular.config.schema import Column
from keras_tabular.inspection.columns import outside_training, share_outside


@pytest.mark.parametrize(
    ("kind", "train", "test", "share"),
    [
        ("real", [1.0, 2.0, None], [0.5, 1.5, 2.5, None], 2 / 3),
        ("integer", [1, 9], [2, 9], 0.0),
        ("category", ["a", "b"], ["a", "c", None, "d", "b"], 0.5),
        ("text", ["some words"], ["others"], 0.0),
        ("real", [1.0], [None], 0.0),
    ],
)
def test_the_share_of_values_that_training_has_not_seen(
    kind: str, train: list[object], test: list[object], share: float
) -> None:
    column = Column.model_validate({"kind": kind, "nullable": True})
    of_train = pa.chunked_array([train])
    of_test = pa.chunked_array([pa.array(test, of_train.type)])
    assert share_outside(of_train, of_test, column) == pytest.approx(share)


def test_columns_that_hardly_matter_or_are_hardly_outside_are_not_told() -> None:
    columns = {"month": 1.0, "hour": 0.3, "noise": 1.0, "price": 0.05}
    importance = {"hour": 0.2, "month": 0.5, "noise": 0.01, "price": 0.29}
    outside = {name: {"outside": share} for name, share in columns.items()}
    assert list(outside_training(outside, importance).items()) == [("month", 1.0), ("hour", 0.3)]
