"""Every fold has training rows, and `folds: auto` chooses a number of folds that ensures this."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.table.parquet import FOLD_KEY, write_part
from keras_tabular.training.folds import deal_rows, draw_folds, possible_folds
from tests.helpers import BINARY, load_train_params


@pytest.mark.parametrize("sizes", [[1] * 12, [5, 5, 2], [3, 8, 1], [12]])
def test_folds_have_equal_sizes_also_with_small_parts(sizes: list[int]) -> None:
    classes = [np.zeros(size) for size in sizes]
    folds = np.concatenate(deal_rows(classes, 5, seed=1))
    assert sorted(np.bincount(folds, minlength=5)) == [2, 2, 2, 3, 3]
    with pytest.raises(UserError, match=r"train\.folds is 13.*12 training rows"):
        draw_folds(classes, [], 13, 0)


def test_every_fold_has_rows_of_a_rare_class() -> None:
    y = np.random.default_rng(0).permutation(np.repeat([0.0, 1.0, 2.0], [80, 5, 7]))
    (folds,) = deal_rows([y], 5, seed=1)
    assert np.ptp(np.bincount(folds)) <= 1
    for rare_class in (1, 2):
        assert set(folds[y == rare_class]) == set(range(5))


@pytest.mark.parametrize(
    ("keys", "expected_folds"),
    [
        (np.repeat(np.arange(9) / 9, 20), 9),
        (np.repeat(np.arange(9), 20), 9),
        (np.repeat(np.arange(40) / 40, 3), 10),
        (np.repeat([0.1, 0.9], 30), 2),
        (np.full(30, 0.5), 1),
    ],
)
def test_auto_is_the_largest_number_of_folds_that_the_groups_fill(
    keys: np.ndarray, expected_folds: int, tmp_path: Path
) -> None:
    write_part(tmp_path, 0, pa.table({FOLD_KEY: keys}))
    possible, classes = possible_folds(tmp_path), [np.zeros(len(keys))]
    train = load_train_params(folds="auto").resolve_auto(len(keys), BINARY, 8, possible)
    assert train.folds == expected_folds
    for folds in possible:
        assert set(draw_folds(classes, [keys], folds, 1)[0]) == set(range(folds))
    with pytest.raises(UserError, match=r"Set train\.folds to \d+ or less, or to auto"):
        draw_folds(classes, [keys], 41, 1)


@pytest.mark.parametrize(
    ("keys", "max_size_difference"),
    [
        (np.r_[np.arange(999), 0], 2),  # one row repeats another
        (np.random.default_rng(0).integers(0, 300, 1000), 20),
    ],
)
def test_groups_stay_together_and_each_fold_has_its_share_of_the_classes(
    keys: np.ndarray, max_size_difference: int
) -> None:
    y = np.random.default_rng(1).permutation((np.arange(1000) < 40).astype(float))
    fold = np.concatenate(draw_folds(np.array_split(y, 3), np.array_split(keys, 3), 5, 1))
    assert len(np.unique(np.column_stack([keys, fold]), axis=0)) == len(np.unique(keys))
    assert np.ptp(np.bincount(fold[y == 1])) <= 2
    assert np.ptp(np.bincount(fold)) <= max_size_difference


def test_folds_of_times_are_periods() -> None:
    times = np.random.default_rng(0).permutation(np.arange(100) / 99)
    (folds,) = draw_folds([np.zeros(100)], [times], 5, 1)
    assert (np.diff(folds[np.argsort(times)]) >= 0).all()
    assert np.ptp(np.bincount(folds)) <= 1
