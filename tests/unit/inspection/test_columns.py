"""Tests of the share of test rows that lie outside the training rows."""

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
def test_share_of_test_values_outside_training(
    kind: str, train: list[object], test: list[object], share: float
) -> None:
    column = Column.model_validate({"kind": kind, "nullable": True})
    train_values = pa.chunked_array([train])
    test_values = pa.chunked_array([pa.array(test, train_values.type)])
    assert share_outside(train_values, test_values, column) == pytest.approx(share)


def test_columns_without_attribution_or_share_outside_are_left_out() -> None:
    shares = {"month": 1.0, "hour": 0.3, "noise": 1.0, "price": 0.05}
    attribution = {"hour": 0.2, "month": 0.5, "noise": 0.01, "price": 0.29}
    columns = {name: {"outside": share} for name, share in shares.items()}
    assert list(outside_training(columns, attribution).items()) == [("month", 1.0), ("hour", 0.3)]
