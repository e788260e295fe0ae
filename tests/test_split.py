"""The rows of each share are those of scikit-learn, in its order, whatever the parts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.model_selection import train_test_split

from stages.lib.params import Split
from stages.lib.reorder import reorder
from stages.lib.stage import UserError
from stages.split import draw


def test_the_shares_are_those_of_train_test_split(reproduced: Path) -> None:
    table = pd.read_csv(reproduced / "data/raw/diabetes.csv")
    train, test = train_test_split(table, test_size=0.33, random_state=9)
    for name, expected in {"train": train, "validation": train[:0], "test": test}.items():
        rows = pd.read_parquet(reproduced / "data/split" / name)
        np.testing.assert_array_equal(rows, expected)
    assert len(test) == 254


@pytest.mark.parametrize("stratify", [False, True])
def test_validation_rows_are_drawn_from_what_the_test_rows_leave(stratify: bool) -> None:
    classes = np.random.default_rng(0).integers(0, 3, 103)
    split = Split(test_size=0.33, validation_size=0.2, seed=9, stratify=stratify)
    shares = draw(103, split, classes if stratify else None)
    rest, test = train_test_split(
        np.arange(103), test_size=0.33, random_state=9, stratify=classes if stratify else None
    )
    train, validation = train_test_split(
        rest, test_size=0.2, random_state=9, stratify=classes[rest] if stratify else None
    )
    for name, expected in {"train": train, "validation": validation, "test": test}.items():
        np.testing.assert_array_equal(shares[name], expected)


def test_stratified_shares_keep_the_classes_in_proportion() -> None:
    classes = np.repeat([0, 1], [90, 10])
    shares = draw(100, Split(test_size=0.3, validation_size=0.0, seed=1, stratify=True), classes)
    assert classes[shares["test"]].sum() == 3
    assert len(shares["validation"]) == 0


def test_a_class_too_rare_to_stratify_is_an_error() -> None:
    split = Split(test_size=0.5, validation_size=0.0, seed=1, stratify=True)
    with pytest.raises(UserError, match=r"cannot split 10 rows.*stratify True"):
        draw(10, split, np.repeat([0, 1], [9, 1]))


def test_reordered_parts_are_the_rows_of_take(tmp_path: Path) -> None:
    table = pa.table({"a": np.arange(100), "b": [str(i) for i in range(100)]})
    order = np.random.default_rng(0).permutation(100)[:90].astype(np.int32)
    whole = np.concatenate([order, np.setdiff1d(np.arange(100), order)]).astype(np.int32)
    parts = [table[:33], table[33:66], table[66:]]
    out = list(reorder(parts, whole, [40, 40, 90, 100], tmp_path))
    assert [len(part) for part in out] == [40, 0, 50, 10]
    assert pa.concat_tables(out).combine_chunks() == table.take(pa.array(whole)).combine_chunks()
    assert list(tmp_path.iterdir()) == []
